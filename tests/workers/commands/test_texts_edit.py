"""`clearline texts add` and `remove`: the file is edited, a CODER head follows as its next version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner, Result

from pipeline.errors import BundleError, ConfigError, DataError
from pipeline.heads.bundles import registry
from pipeline.heads.bundles.recipe import recipe_of
from pipeline.simulation.line import SimulatedLine
from pipeline.texts.dictionary import load_dictionary
from tests.lines import SEED, SIZE, TEXTS, simulated, write_config
from workers.commands.demo import render_labelled
from workers.commands.head import fit_folder
from workers.commands.texts import app
from workers.config.line import load_config

PHRASE = "a fine dark hair line"
SCRATCHED = ("scratched_plate", PHRASE, "--kind", "attribute")


def _fit(folder: Path, *, kind: str) -> Path:
    texts = folder / "texts.yaml"
    texts.write_bytes(TEXTS.read_bytes())
    if not (folder / "labelled").exists():
        line = SimulatedLine(SEED, **SIZE)
        for class_id in load_dictionary(texts).class_ids:
            render_labelled([line], class_id=class_id, n=2, folder=folder / "labelled")
    head = {"kind": kind, "registry": str(folder / "heads"), "cache": str(folder / "cache"), "texts": str(texts)}
    config = write_config(folder, sources=[simulated(1)], head=head)
    fit_folder(folder / "labelled", config=load_config(config))
    return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("edit")


def _call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def _json(*words: object) -> dict[str, Any]:
    done = _call(*words, "--json")
    assert done.exit_code == 0, done.exception
    return dict(orjson.loads(done.stdout))


def test_a_text_comes_and_goes_and_each_time_the_head_follows(folder: Path) -> None:
    config = _fit(folder, kind="coder")
    before = (folder / "texts.yaml").read_text()
    first = _json("add", *SCRATCHED, "--config", config)
    assert first["kept_comments"]
    assert (first["followed"]["made_from"], first["followed"]["version"]) == (1, 2)
    assert list(first["followed"]["turned"]) == ["scratched_plate"]
    assert first["followed"]["after"]["n"] == first["followed"]["before"]["n"] > 0
    assert PHRASE in load_dictionary(folder / "texts.yaml").class_texts("scratched_plate").attributes
    heads = folder / "heads" / "demo"
    added = registry.load(heads, encoder=None, version=2)
    assert PHRASE in added.head.sentences  # type: ignore[union-attr]  # a coder head, as was fitted
    assert added.evidence.held_out is not None
    assert registry.live_version(heads)[0] == 1
    with pytest.raises(BundleError, match="says how it was fitted"):
        recipe_of(added.manifest.provenance["recipe"], where="version 2")
    second = _call("remove", *SCRATCHED, "--config", config)
    assert "version 3, from version 2 without an image encoded" in second.stdout
    assert (folder / "texts.yaml").read_text() == before


def test_an_adapter_follows_too_and_says_when_nothing_was_made_with_the_file(folder: Path) -> None:
    config = _fit(folder, kind="coder_adapter")
    done = _call("add", "scratched_plate", "scored metal plate", "--kind", "synonym", "--config", config)
    assert "class vector of scratched_plate turned by" in done.stdout
    assert "not live yet: clearline head promote" in done.stdout
    texts = folder / "texts.yaml"
    texts.write_text(texts.read_text().replace("a hairline mark", "a mark by hand"))
    assert (
        "no version in"
        in _json("remove", "gear", "teeth all around", "--kind", "attribute", "--config", config)["why_not"]
    )
    assert "teeth all around" not in texts.read_text()


def test_a_head_made_of_images_does_not_follow_and_the_file_is_edited(folder: Path) -> None:
    config = _fit(folder, kind="prototype")
    done = _json("add", *SCRATCHED, "--config", config)
    assert done["followed"] is None
    assert "fit it again to use the texts" in done["why_not"]
    assert PHRASE in (folder / "texts.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("remove", "gear", "gear", "--kind", "name"), ConfigError),
        (("add", "gear", "x", "--kind", "one_to_one"), ConfigError),
        (("add", "gear", "x", "--kind", "attribute", "--against", "washer"), ConfigError),
        (("add", "gear", "teeth all around", "--kind", "attribute"), DataError),
        (("remove", "gear", "x", "--kind", "attribute"), DataError),
    ],
)
def test_a_refused_edit_changes_no_file(tmp_path: Path, words: tuple[str, ...], error: type[Exception]) -> None:
    texts = tmp_path / "texts.yaml"
    texts.write_bytes(TEXTS.read_bytes())
    config = write_config(tmp_path, sources=[simulated(1)], head={"texts": str(texts), "registry": str(tmp_path)})
    assert isinstance(_call(*words, "--config", config).exception, error)
    assert texts.read_bytes() == TEXTS.read_bytes()
