"""`clearline texts check` and `clearline texts suggest`, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner, Result

from pipeline.errors import ConfigError, DataError
from pipeline.heads.coder.coding import unit
from pipeline.texts.coding import one_to_one_of, sentences_of
from pipeline.texts.dictionary import load_dictionary
from pipeline.texts.entries import Status
from tests.lines import simulated, write_config
from tests.pipeline.texts import making_texts as making
from tests.servers.chat import chat_server
from workers.commands.texts import app


def call(*args: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in args], catch_exceptions=False)


def features(folder: Path, *, harm: bool = False, dim: int = 64, with_texts: bool = True) -> Path:
    """A hundred labelled rows per class near the names of their classes, and the vectors of every sentence."""
    dictionary, tower = making.small(folder), making.WordTower()
    sentences = [w for s in sentences_of(dictionary) for w in s.wordings]
    sentences += [text for _, _, text in one_to_one_of(dictionary)]
    vectors = tower.encode_texts(sentences)
    if harm:
        wrong = next(i for i, s in enumerate(sentences) if "a thin line" in s)
        vectors[wrong] = tower.encode_texts(["clean clean clean clean plate"])[0]
    y = np.repeat([0, 1], 100)
    means = tower.encode_texts(["a photo of a clean plate", "a photo of a scratched plate"])
    image = unit(means[y] + np.random.default_rng(0).normal(size=(200, 64)) / 7).astype(np.float32)
    arrays = {"x": image[:, :dim], "y": y, "classnames": np.array(["ok", "scratched"])}
    if with_texts:
        arrays |= {"sentences": np.array(sentences), "text_x": vectors}
    path = folder / "features.npz"
    np.savez(path, **arrays)
    return path


def test_without_an_encoder_the_wording_is_checked(tmp_path: Path) -> None:
    file = making.write(tmp_path)
    result = call("check", file)
    assert result.exit_code == 0
    assert "scratched: one_sided: has texts against ok" in result.stdout
    assert result.stdout.splitlines()[-1] == f"{file}: 11 texts in use, 1 findings"
    assert call("check", file, "--strict").exit_code == 1


def test_json_is_one_object(tmp_path: Path) -> None:
    plain = json.loads(call("check", making.write(tmp_path), "--json").stdout)
    assert plain["n_texts"] == 11
    assert [f["problem"] for f in plain["findings"]] == ["one_sided"]
    assert plain["out_of_fold"] is None


def test_labelled_features_show_which_text_costs_accuracy(tmp_path: Path) -> None:
    file = making.write(tmp_path)
    sound = json.loads(call("check", file, "--features", features(tmp_path), "--json").stdout)
    harmed = json.loads(call("check", file, "--features", features(tmp_path, harm=True), "--json").stdout)
    assert [f["text"] for f in sound["findings"] if f["problem"] == "harmful"] == []
    assert [f["text"] for f in harmed["findings"] if f["problem"] == "harmful"] == ["a thin line"]
    judged = harmed["out_of_fold"]
    assert judged["n_judged"] == 200
    assert judged["accuracy_without"] > judged["accuracy_with"]
    text = call("check", file, "--features", features(tmp_path, harm=True)).stdout
    assert "scratched: harmful: a thin line: accuracy +" in text
    assert "out of fold, 200 images:" in text


def test_features_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    file = making.write(tmp_path)
    with pytest.raises(DataError, match="expected features of width 64 as the texts have, got 32"):
        call("check", file, "--features", features(tmp_path, dim=32))
    with pytest.raises(DataError, match=r"features\.npz: expected sentences and text_x, or an encoder by --config"):
        call("check", file, "--features", features(tmp_path, with_texts=False))


def test_the_encoder_of_the_line_reads_the_texts(tmp_path: Path) -> None:
    """The shipped small CLIP; two wordings with the same words are one text to any tower."""
    text = making.SMALL.replace('"a long mark"', '"a thin  line"')
    config = write_config(tmp_path, sources=[simulated(1)], batching={"sizes": [1]})
    plain = json.loads(call("check", making.write(tmp_path, text=text), "--config", config, "--json").stdout)
    found = [(f["problem"], f["text"]) for f in plain["findings"]]
    assert ("duplicate", "a thin  line") in found


def test_the_lists_of_the_trade_are_offered_as_drafts_in_a_new_file(tmp_path: Path) -> None:
    file = making.write(tmp_path)
    before = file.read_bytes()
    result = call("suggest", file, "--trade", "metal")
    assert result.exit_code == 0
    assert file.read_bytes() == before
    grown = load_dictionary(tmp_path / "small.drafts.yaml")
    drafts = [t for c in grown.classes for t in c.texts if t.status is Status.DRAFT and t.language == "en"]
    assert len(drafts) > 10
    assert grown.sha256 == load_dictionary(file).sha256
    assert f"{len(drafts)} drafts" in result.stdout
    assert "drafts change no head" in result.stderr


def test_only_the_wanted_classes_get_drafts(tmp_path: Path) -> None:
    out = tmp_path / "out.yaml"
    plain = json.loads(
        call("suggest", making.write(tmp_path), "--trade", "metal", "--class", "ok", "--out", out, "--json").stdout
    )
    assert plain["file"] == str(out)
    assert {d["class"] for d in plain["drafts"]} == {"ok"}
    assert len(plain["drafts"]) == plain["n_drafts"] > 0


def generator(folder: Path, *, base_url: str) -> Path:
    key = folder / "key.txt"
    key.write_text("sk-secret\n")
    given = {"base_url": base_url, "model": "small", "api_key_file": str(key), "cache": str(folder / "chat")}
    path = folder / "generator.yaml"
    path.write_text(yaml.safe_dump(given))
    return path


def test_a_chat_endpoint_is_asked_once_and_its_answers_are_drafts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    file = making.write(tmp_path)
    with chat_server(["- a shiny plate", "- a mirror face", "- a lake", "- no line"]) as server:
        options = ("--generator", generator(tmp_path, base_url=server.base_url), "--class", "ok", "--json")
        first = call("suggest", file, *options, "--against", "ok:scratched")
        again = call("suggest", file, *options, "--against", "ok:scratched")
    plain = json.loads(first.stdout)
    assert [(d["text"], d["provenance"]) for d in plain["drafts"]] == [
        ("a shiny plate", "llm"),
        ("a mirror face", "llm"),
        ("a lake", "llm"),
        ("no line", "llm"),
    ]
    assert json.loads(again.stdout) == plain
    assert len(server.requests) == 4
    assert set(server.keys) == {"Bearer sk-secret"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "expected --trade NAME"),
        (("--trade", "shoes"), "--trade must be one of bottling, electronics, metal, packaging, waste"),
        (("--trade", "metal", "--out", "small.yaml"), "whose comments would be lost"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    tmp_path: Path, options: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    making.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        call("suggest", "small.yaml", *options)


def test_a_key_that_cannot_be_read_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    path = generator(tmp_path, base_url="http://127.0.0.1:9/v1")
    (tmp_path / "key.txt").unlink()
    with pytest.raises(ConfigError, match="api_key_file must name a readable file"):
        call("suggest", making.write(tmp_path), "--generator", path)


@pytest.mark.parametrize("url", ["ftp://host/v1", "http://user:secret@host/v1"])
def test_an_address_with_a_password_or_of_another_kind_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="must start with http") as caught:
        call("suggest", making.write(tmp_path), "--generator", generator(tmp_path, base_url=url))
    assert "secret@" not in str(caught.value)


def test_a_class_is_not_told_from_itself(tmp_path: Path) -> None:
    path = generator(tmp_path, base_url="http://127.0.0.1:9/v1")
    with pytest.raises(ConfigError, match="two different classes as CLASS:RIVAL, got ok:ok"):
        call("suggest", making.write(tmp_path), "--generator", path, "--against", "ok:ok")


def test_an_unknown_class_to_tell_apart_is_named(tmp_path: Path) -> None:
    path = generator(tmp_path, base_url="http://127.0.0.1:9/v1")
    with pytest.raises(DataError, match="got rust"):
        call("suggest", making.write(tmp_path), "--generator", path, "--against", "ok:rust")
