"""An archive and a webhook behind a real line, from its configuration."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.texts.dictionary import load_dictionary
from tests.lines import TEXTS, fit_head_in, simulated, write_config
from tests.servers.webhook import webhook_server
from workers.app import Pipeline
from workers.config import ConfigFileError, load_config
from workers.encoded import decode
from workers.sinks.archive_index import ArchiveIndex
from workers.sinks.archive_reader import ArchiveReader
from workers.sinks.archive_store import LocalStore

KEY = "a key of both sides"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archived")
    fit_head_in(folder, classes=load_dictionary(TEXTS).class_ids)
    return folder


def _archive(folder: Path, **more: Any) -> dict[str, Any]:
    return {"type": "archive", "folder": str(folder / "archive"), "min_free_gb": 0, **more}


def test_the_whole_picture_of_every_reject_and_doubt_is_in_the_archive(home: Path) -> None:
    path = write_config(home, sources=[simulated(20)], sinks=[_archive(home, audit_share=0)])
    with Pipeline.from_config(path) as pipeline:
        results = list(pipeline.results())
    wanted = [one for one in results if one.decision.value != "accept"]
    assert wanted
    with ArchiveIndex(home / "archive") as index:
        kept = index.newest(n=100)
    assert {one.event_id: one.label for one in kept} == {one.ref.event_id: one.label for one in wanted}
    reader = ArchiveReader(LocalStore(home / "archive"), index=home / "archive")
    picture = reader.read(wanted[0].ref.event_id)
    assert picture is not None
    assert decode(picture, where="test").shape == (128, 160, 3)
    assert "clearline_archive_bytes 0.0" not in pipeline._metrics.expose()[0].decode()


def test_every_result_reaches_the_webhook_signed(home: Path, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    with webhook_server(secret=KEY) as server:
        sink = {"type": "webhook", "url": server.url, "secret_file": str(tmp_path / "key")}
        sink |= {"outbox": {"path": str(tmp_path / "webhook.sqlite")}}
        with Pipeline.from_config(write_config(home, sources=[simulated(20)], sinks=[sink])) as pipeline:
            results = [one.ref.event_id for one in pipeline.results()]
        assert server.event_ids == results
        assert Counter(server.verdicts) == {"genuine": len(server.verdicts)}


def _problems(folder: Path, *sinks: dict[str, Any]) -> str:
    path = write_config(folder, sources=[simulated(1)], sinks=list(sinks))
    with pytest.raises(ConfigFileError) as caught:
        load_config(path)
    return str(caught.value)


def test_sections_that_cannot_work_are_refused_without_showing_a_secret(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    key = {"type": "webhook", "secret_file": str(tmp_path / "key")}
    assert "keep" in _problems(tmp_path, _archive(tmp_path, keep=["accept"]))
    assert "must have different decisions" in _problems(tmp_path, _archive(tmp_path, keep=["reject", "reject"]))
    assert "must have different types" in _problems(tmp_path, _archive(tmp_path), _archive(tmp_path / "b"))
    assert "needs exactly one of url and url_file, got none" in _problems(tmp_path, key)
    said = _problems(tmp_path, {**key, "url": "ftp://token-7@host/"})
    assert "begins with https:// or http://" in said
    assert "token-7" not in said
    gone = {"type": "webhook", "url": "https://h/", "secret_file": str(tmp_path / "gone")}
    assert "must name a readable file" in _problems(tmp_path, gone)


def test_the_defaults_are_those_of_the_example(tmp_path: Path) -> None:
    example = yaml.safe_load((Path(__file__).parents[2] / "configs" / "example.yaml").read_text())
    given = next(sink for sink in example["sinks"] if sink["type"] == "archive")
    written = write_config(tmp_path, sources=[simulated(1)], sinks=[{"type": "archive"}])
    assert load_config(written).sinks[0].model_dump(mode="json") == given
