"""The walk: from a camera's URL to an alert, with the README's commands and nothing else known."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson
import yaml

from pipeline.texts.dictionary import load_dictionary
from tests.conftest import ROOT
from tests.deploy.test_grafana import expressions, has_number
from tests.faults.test_alerts import shortened
from tests.servers.kafka import KafkaBroker
from tests.servers.ports import free_port
from tests.servers.prometheus import Prometheus, running_prometheus, until
from tests.servers.rtsp import RtspServer
from tests.walk.person import Eye, label_all
from tests.walk.record import Record, WalkError

TEXTS = "configs/texts/demo.yaml"
NAME, PASSWORD = "sato", "one key each"
JOB = "clearline-line"
SERVES = "status and metrics at"
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
GOOD = [
    "clean_plate",
    "slim_bolt",
    "thick_bolt",
    "labelled_carton",
    "gear",
    "washer",
    "nut",
    "bottle_cap",
    "empty_belt",
]
COSTS = {"escape": 40, "overkill": 2, "mix_up": 1, "review": 0.5, "currency": "EUR"}
SLOW = "clearline_spc_"  # the p' chart has limits after 4,500 parts
TRUTH = "clearline_accuracy_ratio"  # of sources that know it: no camera does
DOUBT = "clearline_close_calls_total"  # a good head may have none
ALERT_S = 150.0


@dataclass(frozen=True, slots=True)
class Scale:
    """How long the walk is."""

    shots: int = 8
    fps: int = 25
    recording_s: int = 40
    size: str = "640x480"
    n_results: int = 200  # read back from Kafka
    panels_s: float = 300.0
    as_shipped: bool = True  # the rules with their own waits, and the panels that need 4,500 parts


SHORT = Scale(shots=2, fps=15, recording_s=12, size="320x240", n_results=50, panels_s=120.0, as_shipped=False)


class Walk:
    """One line in one folder, and the real servers around it."""

    def __init__(self, folder: Path, *, scale: Scale) -> None:
        self.record = Record(folder)
        self._folder, self._scale = folder, scale
        self._port = free_port()
        self._classes = load_dictionary(ROOT / TEXTS).class_ids
        (folder / "configs").symlink_to(ROOT / "configs")
        (folder / "secrets").mkdir()
        (folder / "secrets" / NAME).write_text(PASSWORD)

    def go(self) -> Record:
        """All of it. Raises WalkError, or whatever a server of the walk says."""
        with ExitStack() as servers:
            camera = servers.enter_context(self._plant())
            self._attach(camera)
            self._label()
            self._fit()
            broker = servers.enter_context(self._broker())
            self._run(camera, broker=broker)
        return self.record

    @contextmanager
    def _plant(self) -> Iterator[RtspServer]:
        """The camera: a rendered line, sent for ever by a real RTSP server as H.264."""
        scale = self._scale
        self.record.type(
            "A plant, for whoever has none",
            f"clearline simulate --out plant --seconds {scale.recording_s} --size {scale.size} --labels plant.csv",
        )
        with RtspServer(frames=str(self._folder / "plant"), fps=scale.fps) as camera:
            (self._folder / "secrets" / "cap-01-url").write_text(camera.url)
            yield camera

    def _attach(self, camera: RtspServer) -> None:
        said = self.record.type("Attach the camera", f"clearline probe {camera.url} --snapshot first.png")
        if not (self._folder / "first.png").is_file():
            raise WalkError(f"expected first.png, got none: {said}")
        since = time.monotonic()
        text = self._write(head={"kind": "zero_shot"}, review=self._review())
        self.record.note("Write a configuration, without any picture yet", did="line.yaml", saw=text, since=since)
        self.record.type("Check it", "clearline validate line.yaml")

    def _label(self) -> None:
        pictures = self._folder / "runs" / "labelled"
        eye = Eye(self._folder / "plant", truth=self._folder / "plant.csv")

        def counts() -> dict[str, int]:
            return {name: len(list((pictures / name).glob("*.jpg"))) for name in self._classes}

        with self.record.typed("Run it on the class names alone", "clearline run line.yaml", until=SERVES):
            since = time.monotonic()
            n, spent_s = label_all(
                f"http://127.0.0.1:{self._port}",
                name=NAME,
                password=PASSWORD,
                eye=eye,
                is_done=lambda: min(counts().values()) >= self._scale.shots,
            )
            self.record.note(
                f"Label {self._scale.shots} pictures per class on the page, by keyboard",
                did=f"http://127.0.0.1:{self._port}/review/queue in Chromium, as {NAME}, one key per picture",
                saw=f"{n} keys in {spent_s:.0f} s; pictures per class: {counts()}",
                since=since,
            )

    def _fit(self) -> None:
        since = time.monotonic()
        self._write(head={})
        self.record.note(
            "Take a fitted head instead",
            did="line.yaml: without `kind: zero_shot` and without `review`",
            saw="head.kind is auto then",
            since=since,
        )
        self.record.type("Fit a head on them", "clearline head fit runs/labelled --config line.yaml")

    @contextmanager
    def _broker(self) -> Iterator[KafkaBroker]:
        since = time.monotonic()
        with KafkaBroker(self._folder / "kafka") as broker:
            did = "$ make kafka (its script on a free port)"
            self.record.note("A broker", did=did, saw=f"serves at {broker.bootstrap}", since=since)
            yield broker

    def _run(self, camera: RtspServer, *, broker: KafkaBroker) -> None:
        since = time.monotonic()
        more = {"kafka": {"bootstrap": broker.bootstrap}, "sinks": [self._jsonl(), {"type": "kafka"}]}
        text = self._write(head={}, **more)
        self.record.note("Add Kafka and the costs to the configuration", did="line.yaml", saw=text, since=since)
        self.record.type("Make the topics", "clearline kafka init --config line.yaml")
        rules = RULES.read_text() if self._scale.as_shipped else shortened(RULES.read_text())
        (self._folder / "alerts.yml").write_text(rules)
        with (
            self.record.typed("Run it with the fitted head", "clearline run line.yaml", until=SERVES),
            running_prometheus(self._folder, ports={JOB: self._port}, rules=self._folder / "alerts.yml") as prometheus,
        ):
            self._read_kafka(broker)
            self._panels(prometheus)
            self._fault(prometheus, camera=camera)

    def _read_kafka(self, broker: KafkaBroker) -> None:
        command = f"kcat -C -b {broker.bootstrap} -t clearline.results.v1 -o beginning -c {self._scale.n_results} -q"
        lines = self.record.type("See results on Kafka", command).splitlines()
        results = [orjson.loads(line) for line in lines]
        heads = {(one["model"]["head"], one["model"]["head_version"]) for one in results}
        if len(results) != self._scale.n_results or heads != {("capline", 1)}:
            raise WalkError(f"expected {self._scale.n_results} results of capline 1, got {len(results)} of {heads}")

    def _panels(self, prometheus: Prometheus) -> None:
        since = time.monotonic()
        left_out = (TRUTH, DOUBT) if self._scale.as_shipped else (TRUTH, DOUBT, SLOW)
        everything = expressions(needs=False)
        wanted = [one for one in everything if not any(name in one for name in left_out)]
        empty = list(wanted)

        def filled() -> bool | None:
            empty[:] = [expr for expr in empty if not has_number(prometheus, expr)]
            return None if empty else True

        try:
            until(filled, what="panels", timeout_s=self._scale.panels_s)
        except AssertionError:
            raise WalkError("panels without data: " + "\n".join(empty)) from None
        saw = f"{len(wanted)} of {len(everything)} give numbers; left out: all with {' or '.join(left_out)}"
        did = "every expression of deploy/grafana/dashboards that needs nothing but a line, asked of Prometheus"
        self.record.note("Panels fill", did=did, saw=saw, since=since)

    def _fault(self, prometheus: Prometheus, *, camera: RtspServer) -> None:
        alert = ("SourceDown", JOB, "cap-01")
        if alert in prometheus.alerts():
            raise WalkError("SourceDown fires before the fault")
        since = time.monotonic()
        camera.kill()
        until(lambda: alert in prometheus.alerts() or None, what="SourceDown fires", timeout_s=ALERT_S)
        waited = "rules as shipped" if self._scale.as_shipped else "waits and windows of the rules shortened"
        self.record.note("The camera dies", did="kill -9", saw=f"SourceDown fires ({waited})", since=since)
        since = time.monotonic()
        camera.start()
        until(lambda: alert not in prometheus.alerts() or None, what="SourceDown resolves", timeout_s=ALERT_S)
        self.record.note("The camera comes back", did="power on", saw="SourceDown is resolved", since=since)

    def _review(self) -> dict[str, object]:
        user = {"name": NAME, "role": "labeller", "password_file": f"secrets/{NAME}"}
        return {"per_class": self._scale.shots, "users": [user]}

    def _jsonl(self) -> dict[str, str]:
        return {"type": "jsonl", "path": "runs/results.jsonl"}

    def _write(self, *, head: dict[str, str], **sections: object) -> str:
        """line.yaml as in the README; its text."""
        content = {
            "version": 1,
            "cameras": [{"id": "cap-01", "source": {"type": "camera", "url_file": "secrets/cap-01-url"}}],
            "encoder": {"model": "demo_clip"},
            "head": {"name": "capline", "texts": TEXTS, **head},
            "decision": {"good_classes": GOOD, "costs": COSTS} if "kafka" in sections else {"good_classes": GOOD},
            "sinks": [self._jsonl()],
            "server": {"port": self._port},
            **sections,
        }
        text = yaml.safe_dump(content, sort_keys=False, width=110)
        (self._folder / "line.yaml").write_text(text)
        return text
