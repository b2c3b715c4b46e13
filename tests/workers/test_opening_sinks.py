"""Archives, a webhook, MQTT and OPC UA behind a real line, from its configuration."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from asyncua import Client
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from pipeline.errors import ConfigError
from pipeline.texts.dictionary import load_dictionary
from tests.lines import TEXTS, fit_head_in, simulated, write_config
from tests.servers.ftp import FtpServer
from tests.servers.mosquitto import Mosquitto
from tests.servers.ports import free_port
from tests.servers.webhook import webhook_server
from workers.adaptation.pictures import PictureStore
from workers.app import Pipeline
from workers.clock import SystemClock
from workers.config.line import ConfigFileError, load_config
from workers.encoded import decode
from workers.ledger import Ledger
from workers.metrics.registry import Metrics
from workers.opcua.nodes import NAMESPACE
from workers.opening.line import open_encoder
from workers.opening.parts import OpenedTriggers
from workers.opening.review import RunningLine, open_answers, open_review
from workers.opening.sinks import open_sinks
from workers.review.drift_facts import DriftFacts
from workers.sinks.archive_index import ArchiveIndex
from workers.sinks.archive_reader import ArchiveReader
from workers.sinks.archive_store import LocalStore
from workers.wall import Wall

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


def test_results_reach_a_broker_and_a_plc_and_pictures_a_file_server(home: Path, tmp_path: Path) -> None:
    server, broker, port = FtpServer(tmp_path / "ftp"), Mosquitto(tmp_path / "broker"), free_port()
    (tmp_path / "options").write_text("\n".join(f"{key}: {value}" for key, value in server.options.items()))
    outbox = {"path": str(tmp_path / "mqtt.sqlite")}
    sinks = [
        {"type": "mqtt", "host": "127.0.0.1", "port": broker.port, "prefix": "plant", "outbox": outbox},
        {"type": "opcua", "port": port},
        {"type": "archive", "folder": server.url, "options_file": str(tmp_path / "options"), "audit_share": 1},
    ]
    sinks[2] |= {"index": str(tmp_path / "index")}
    camera = simulated(None, speed="real_time", fps=20)
    path = write_config(home, sources=[camera, camera], sinks=sinks)
    with server, broker:
        broker.subscribe("plant/results/#", reader="plant-reader")
        with Pipeline.from_config(path) as pipeline:
            told = pipeline.results()
            results = [next(told) for _ in range(40)]
            counters = asyncio.run(_counters(port))
        results += told
        read = broker.read("plant/results/#", n=len(results), reader="plant-reader")
    assert [json.loads(body)["event_id"] for _, body in read] == [one.ref.event_id for one in results]
    assert min(counters.values()) >= 10
    assert len(list(server.folder.rglob("*.jpg"))) == len(results)
    text = pipeline._metrics.expose()[0].decode()
    assert f'clearline_sink_delivered_total{{sink="opcua"}} {len(results)}.0' in text
    assert 'clearline_outbox_rows{sink="mqtt"} 0.0' in text
    assert "clearline_archive_queue_bytes 0.0" in text


async def _counters(port: int) -> dict[str, int]:
    async with Client(f"opc.tcp://127.0.0.1:{port}/clearline") as client:
        index = await client.get_namespace_index(NAMESPACE)
        names = [f"ns={index};s=Clearline/{camera}/full/Counter" for camera in ("cap-01", "cap-02")]
        values = [await client.get_node(name).read_value() for name in names]
    return dict(zip(("cap-01", "cap-02"), values, strict=True))


def test_the_review_page_shows_pictures_of_the_archive_and_a_label_pins_them(home: Path, tmp_path: Path) -> None:
    sink = _archive(tmp_path, audit_share=1, index=str(tmp_path / "index")) | {"folder": "memory://page"}
    path = write_config(home, sources=[simulated(5)], sinks=[sink], adaptation={"folder": str(tmp_path / "adaptation")})
    with Pipeline.from_config(path) as pipeline:
        results = list(pipeline.results())
    config, clock = load_config(path), SystemClock()
    encoder = open_encoder(config)
    line = RunningLine(
        wall=Wall(clock=clock),
        live=lambda: pipeline.line.live,
        sources=dict,
        state=lambda: None,
        first=None,
        drift=DriftFacts(clock=clock),
        by_hand=None,
    )
    page = open_review(config, encoder=encoder, line=line, clock=clock)
    assert page is not None
    client = TestClient(Starlette(routes=[Mount("/review", app=page)]), base_url="http://127.0.0.1")
    event_id = results[2].ref.event_id
    answer = client.get(f"/review/pictures/{event_id}")
    assert (answer.status_code, decode(answer.content, where="test").shape) == (200, (128, 160, 3))
    assert client.get("/review/pictures/cap-01-1-99-full").status_code == 404
    PictureStore(tmp_path / "adaptation" / "pictures", max_bytes=10**6).keep(
        event_id, image=np.zeros((8, 8, 3), np.uint8)
    )
    label = {"event_id": event_id, "label": "clean_plate", "labeller": "sato", "labelled_at": 1.0, "stream": "teach"}
    [taken] = open_answers(config, encoder=encoder, clock=clock).take([label])
    assert not taken.quarantined, taken
    with ArchiveIndex(tmp_path / "index") as index:
        assert len(index.newest(n=10)) == 5
        assert len(index.oldest(n=10)) == 4, "the labelled one is pinned"


@pytest.mark.parametrize(
    ("sink", "library"),
    [({"type": "mqtt", "host": "h"}, "paho.mqtt.client"), ({"type": "opcua"}, "workers.opcua.server")],
    ids=["mqtt", "opcua"],
)
def test_an_extra_that_is_not_installed_is_named_before_the_first_frame(
    sink: dict[str, Any], library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)  # as Python does for a module that is not there
    config = load_config(write_config(tmp_path, sources=[simulated(1)], sinks=[sink]))
    clock = SystemClock()
    metrics = Metrics(clock=clock, version="test")
    triggers = OpenedTriggers(config, clock=clock, metrics=metrics)
    with pytest.raises(ConfigError, match=rf"pip install 'clearline\[{sink['type']}\]'"):
        open_sinks(config, clock=clock, metrics=metrics, sources=[], ledger=Ledger(), triggers=triggers)


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
    assert "must have security with host: 0.0.0.0" in _problems(tmp_path, {"type": "opcua", "host": "0.0.0.0"})
    mqtt = {"type": "mqtt", "host": "h"}
    assert "must have username with password_file" in _problems(
        tmp_path, {**mqtt, "password_file": str(tmp_path / "key")}
    )
    assert "a file that exists, got" in _problems(tmp_path, {**mqtt, "tls": {"ca_file": str(tmp_path / "gone")}})
    said = _problems(tmp_path, {"type": "archive", "folder": "ftp://joe:hunter2@host/x"})
    assert "without user, password and query" in said
    assert "hunter2" not in said
    gone = {"type": "webhook", "url": "https://h/", "secret_file": str(tmp_path / "gone")}
    assert "must name a readable file" in _problems(tmp_path, gone)


def test_the_defaults_are_those_of_the_example(tmp_path: Path) -> None:
    example = yaml.safe_load((Path(__file__).parents[2] / "configs" / "example.yaml").read_text())
    given = next(sink for sink in example["sinks"] if sink["type"] == "archive")
    written = write_config(tmp_path, sources=[simulated(1)], sinks=[{"type": "archive"}])
    assert load_config(written).sinks[0].model_dump(mode="json") == given
