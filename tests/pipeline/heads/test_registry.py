"""Versions that never change, and a pointer that always names a whole one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import BundleError, DataError
from pipeline.heads.bundles import registry
from pipeline.heads.bundles.bundle import HeadBundle
from tests.contracts.test_head_contract import PROVENANCE
from tests.pipeline.heads.making_heads import encoder_info, fitted


def save(folder: Path, *, name: str = "zero_shot") -> HeadBundle:
    return registry.save(fitted(name), folder=folder, encoder=encoder_info(), provenance=PROVENANCE)


def test_each_save_is_a_new_version_and_the_newest_is_live(tmp_path: Path) -> None:
    first, second = save(tmp_path), save(tmp_path, name="prototype")
    assert (first.version, second.version) == (1, 2)
    live = registry.load(tmp_path, encoder=encoder_info())
    assert (live.version, live.sha256, live.head.name) == (2, second.sha256, "prototype")


def test_older_versions_stay_as_they_were(tmp_path: Path) -> None:
    first = save(tmp_path)
    content = registry.bundle_path(tmp_path, version=1).read_bytes()
    save(tmp_path)
    assert registry.bundle_path(tmp_path, version=1).read_bytes() == content
    assert registry.load(tmp_path, encoder=encoder_info(), version=1).sha256 == first.sha256


def test_an_older_version_can_be_made_live_again(tmp_path: Path) -> None:
    save(tmp_path)
    save(tmp_path)
    registry.promote(tmp_path, version=1, encoder=encoder_info())
    assert registry.load(tmp_path, encoder=encoder_info()).version == 1
    assert save(tmp_path).version == 3


def test_a_version_that_does_not_verify_is_not_promoted(tmp_path: Path) -> None:
    save(tmp_path)
    save(tmp_path)
    path = registry.bundle_path(tmp_path, version=1)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(BundleError):
        registry.promote(tmp_path, version=1, encoder=encoder_info())
    assert registry.load(tmp_path, encoder=encoder_info()).version == 2


def test_without_a_live_head_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"expected a live head, got none \(versions here: none\).*head fit"):
        registry.load(tmp_path / "heads", encoder=encoder_info())


def test_a_live_pointer_to_a_replaced_file_is_refused(tmp_path: Path) -> None:
    save(tmp_path)
    other = save(tmp_path / "other", name="prototype")
    content = registry.bundle_path(tmp_path / "other", version=other.version).read_bytes()
    registry.bundle_path(tmp_path, version=1).write_bytes(content)
    with pytest.raises(BundleError, match="expected the file with SHA-256"):
        registry.load(tmp_path, encoder=encoder_info())


@pytest.mark.parametrize("content", ["", "{", '{"version": "x"}', "[]"])
def test_an_unreadable_pointer_is_a_bundle_error(tmp_path: Path, content: str) -> None:
    save(tmp_path)
    (tmp_path / registry.LIVE).write_text(content)
    with pytest.raises(BundleError, match="live: expected a version"):
        registry.load(tmp_path, encoder=encoder_info())


def test_leftovers_of_a_killed_fit_are_removed_and_never_loaded(tmp_path: Path) -> None:
    save(tmp_path)
    leftover = tmp_path / ".tmp-000002.head-999"
    leftover.write_bytes(b"half")
    assert save(tmp_path).version == 2
    assert not leftover.exists()


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="expected a folder to write heads to"):
        save(tmp_path / "file" / "heads")


def test_going_back_never_returns_to_the_head_that_was_left(tmp_path: Path) -> None:
    for _ in range(3):
        save(tmp_path)
    assert registry.versions_before(tmp_path) == (1, 2)
    registry.promote(tmp_path, version=2, encoder=encoder_info())
    assert registry.versions_before(tmp_path) == (1,)
    registry.promote(tmp_path, version=2, encoder=encoder_info())
    assert registry.versions_before(tmp_path) == (1,), "the same version again changes nothing"


def test_a_folder_without_a_live_head_has_nothing_before_it(tmp_path: Path) -> None:
    assert registry.versions_before(tmp_path) == ()
