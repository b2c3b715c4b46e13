"""A bundle that is not what it should be is refused with the reason; a kill leaves nothing torn."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from pipeline.errors import BundleError
from pipeline.heads.bundles import registry
from pipeline.heads.bundles.bundle import bundle_bytes, load_bundle
from pipeline.types import EncoderInfo
from tests.conftest import ROOT
from tests.contracts.test_head_contract import PROVENANCE
from tests.faults.head_fit_child import fake_bundle
from tests.pipeline.heads.making_folders import write_folder
from tests.pipeline.heads.making_heads import encoder_info, fitted, query

NAME = "deconfusion"
CONFIG = """
version: 1
cameras: [{{id: cam, source: {{type: simulate}}}}]
head: {{registry: {root}/heads, name: line, cache: {root}/cache}}
decision: {{good_classes: [ok]}}
"""


@pytest.fixture(scope="module")
def content() -> bytes:
    return bundle_bytes(fitted(NAME), encoder=encoder_info(), version=1, provenance=PROVENANCE)


def refusal(content: bytes, *, folder: Path, encoder: EncoderInfo | None = None, **expected: tuple[str, ...]) -> str:
    path = folder / "000001.head"
    path.write_bytes(content)
    with pytest.raises(BundleError) as caught:
        load_bundle(path, encoder=encoder or encoder_info(), **expected)  # type: ignore[arg-type]
    message = str(caught.value)
    assert message.startswith(f"{path}: expected ")
    assert ", got " in message
    assert "head fit" in message, "it says what to do"
    return message


def test_an_absent_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"expected a head bundle, got no such file.*head fit"):
        load_bundle(tmp_path / "x.head", encoder=encoder_info())


@pytest.mark.parametrize("share", [0.0, 0.00005, 0.1, 0.5, 0.999])
def test_a_truncated_bundle_is_refused_wherever_it_ends(content: bytes, tmp_path: Path, share: float) -> None:
    assert "whole safetensors file" in refusal(content[: int(share * len(content))], folder=tmp_path)


def test_trailing_bytes_are_refused(content: bytes, tmp_path: Path) -> None:
    refusal(content + b"x", folder=tmp_path)


def test_a_changed_tensor_is_refused_by_name(content: bytes, tmp_path: Path) -> None:
    changed = bytearray(content)
    changed[-5] ^= 1
    message = refusal(bytes(changed), folder=tmp_path)
    assert "expected tensor " in message
    assert "it was changed" in message


def test_any_changed_byte_is_refused(content: bytes, tmp_path: Path) -> None:
    for position in np.random.default_rng(0).integers(0, len(content), size=25):
        changed = bytearray(content)
        changed[int(position)] ^= 0x10
        path = tmp_path / "x.head"
        path.write_bytes(bytes(changed))
        with pytest.raises(BundleError):
            load_bundle(path, encoder=encoder_info())


def test_a_changed_manifest_is_refused(content: bytes, tmp_path: Path) -> None:
    temperature = f'temperature\\\\\\": {fitted(NAME).temperature}'.encode()  # JSON in JSON in JSON
    assert temperature in content
    changed = content.replace(temperature, temperature[:-1] + (b"1" if temperature[-1:] != b"1" else b"2"))
    assert "expected manifest with SHA-256" in refusal(changed, folder=tmp_path)


def test_a_tensor_of_another_shape_is_refused(content: bytes, tmp_path: Path) -> None:
    shape = b'"prior.prototypes":{"dtype":"F32","shape":[6,24]'
    assert shape in content
    assert "expected tensor prior.prototypes" in refusal(
        content.replace(shape, shape[:-6] + b"[24,6]"), folder=tmp_path
    )


def test_a_file_without_manifest_is_refused(tmp_path: Path) -> None:
    import safetensors.numpy

    plain = safetensors.numpy.save({"a": np.zeros(3, np.float32)})
    assert "without manifest" in refusal(plain, folder=tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: replace(e, sha256="b" * 64), "encoder weights"),
        (lambda e: replace(e, name="ViT-B-32/openai"), "encoder name"),
        (lambda e: replace(e, interpolation="bilinear"), "encoder preprocessing"),
        (lambda e: replace(e, resize_mode="squash"), "encoder preprocessing"),
        (lambda e: replace(e, level_dims=(12, 18)), "levels of widths"),
    ],
)
def test_another_encoder_or_preprocessing_is_refused(
    content: bytes, tmp_path: Path, change: Callable[[EncoderInfo], EncoderInfo], said: str
) -> None:
    assert said in refusal(content, folder=tmp_path, encoder=change(encoder_info()))


def test_other_classes_are_refused_and_named(content: bytes, tmp_path: Path) -> None:
    classes = (*fitted(NAME).head.classes[1:], "blister")
    message = refusal(content, folder=tmp_path, classes=classes)
    assert "lacks blister and adds class-0000" in message


def test_a_bad_version_leaves_the_live_head_as_it_was(tmp_path: Path, content: bytes) -> None:
    registry.save(fitted(NAME), folder=tmp_path, encoder=encoder_info(), provenance=PROVENANCE)
    (tmp_path / "000002.head").write_bytes(content[:1000])
    live = registry.load(tmp_path, encoder=encoder_info())
    assert live.version == 1
    np.testing.assert_array_equal(live.head.score(query(NAME)).logits, fitted(NAME).head.score(query(NAME)).logits)


def test_a_bundle_holds_no_path_and_no_code(content: bytes) -> None:
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert str(ROOT) not in json.dumps(header)
    assert b"pickle" not in content


def test_kill_9_during_head_fit_leaves_no_torn_bundle_and_a_valid_live_head(tmp_path: Path) -> None:
    images = write_folder(tmp_path / "images", per_class=2)
    config = tmp_path / "line.yaml"
    config.write_text(CONFIG.format(root=tmp_path))
    folder, encoder = tmp_path / "heads" / "line", fake_bundle().image.info
    rng, n_before = np.random.default_rng(0), 0
    nursery = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.head_fit_child", str(images), str(config)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    for attempt in range(8):
        print("fit", file=nursery.stdin, flush=True)
        pid = int(nursery.stdout.readline())
        assert nursery.stdout.readline().startswith("published"), "it is killed inside one of the following fits"
        select.select([], [], [], float(rng.uniform(0.0, 0.5)))
        os.kill(pid, signal.SIGKILL)
        assert wait_for_line(nursery.stdout, starting="dead") == "dead 9"
        live = registry.load(folder, encoder=encoder)
        assert live.version > n_before, f"attempt {attempt}: each process published at least once"
        n_before = registry.versions(folder)[-1]
        for version in registry.versions(folder):
            assert registry.load(folder, encoder=encoder, version=version).version == version
        assert live.version >= n_before - 1, "the pointer is at most one rename behind"
    nursery.communicate()
    assert nursery.returncode == 0


def wait_for_line(lines: IO[str], *, starting: str) -> str:
    return next(line.strip() for line in lines if line.startswith(starting))


@pytest.mark.parametrize("point", ["before the bundle", "after the bundle", "before the pointer"])
def test_dying_between_two_steps_of_publishing_leaves_the_old_head_live(
    point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.save(fitted(NAME), folder=tmp_path, encoder=encoder_info(), provenance=PROVENANCE)
    real = registry.write_atomic

    def dies(path: Path, *, content: bytes) -> None:
        is_pointer = path.name == registry.LIVE
        if point == "before the bundle" or (is_pointer and point == "before the pointer"):
            (path.parent / f".tmp-{path.name}-1").write_bytes(content[: len(content) // 2])
            raise KeyboardInterrupt
        real(path, content=content)
        if point == "after the bundle":
            raise KeyboardInterrupt

    monkeypatch.setattr(registry, "write_atomic", dies)
    with pytest.raises(KeyboardInterrupt):
        registry.save(fitted("prototype"), folder=tmp_path, encoder=encoder_info(), provenance=PROVENANCE)
    monkeypatch.setattr(registry, "write_atomic", real)
    assert registry.load(tmp_path, encoder=encoder_info()).version == 1
    saved = registry.save(fitted("prototype"), folder=tmp_path, encoder=encoder_info(), provenance=PROVENANCE)
    assert registry.load(tmp_path, encoder=encoder_info()).version == saved.version
