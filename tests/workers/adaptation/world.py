"""A line in embedding space with the real loop beside it: synthetic parts, a fake clock, people who know the truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pipeline.adaptation.drift.profile import ReferenceRules
from pipeline.adaptation.lifecycle.states import State
from pipeline.adaptation.support.intake import LabelIntake
from pipeline.decision.probabilities import softmax
from pipeline.encoders.build import EncoderBundle
from pipeline.heads.bundles import registry
from pipeline.heads.bundles.atomic import write_atomic
from pipeline.heads.bundles.bundle import Provenance
from pipeline.heads.bundles.evidence import Evidence, SupportIndex
from pipeline.heads.bundles.recipe import Recipe, fit_recipe
from pipeline.heads.fitted import LabelledFeatures, Material
from pipeline.types import Batch, EncoderInfo, Features, FrameRef
from tests.adaptation.streams import CI, CONFUSABLE, NONE, SHARES, Camera, Drift
from tests.fakes import FakeClock
from tests.lines import simulated, write_config
from workers.adaptation.files import AdaptationFiles
from workers.adaptation.loop import AdaptationLoop
from workers.adaptation.pictures import PictureStore
from workers.adaptation.requests import RequestKind, submit
from workers.adaptation.rereference import run_job
from workers.adaptation.tap import Seen, Tap
from workers.config.line import LineConfig, load_config
from workers.live_head import LiveHead
from workers.metrics.registry import Metrics
from workers.opening.adaptation import Pace, open_adaptation
from workers.opening.line import open_head

CLASSES = tuple(f"class-{n}" for n in range(len(SHARES)))
BATCH = 64
SIDE = 32
SHOTS = 16
PEOPLE = ("ann", "bob", "cleo")
RULES = ReferenceRules(
    advisory_parts=2_000,
    active_parts=6_000,
    mix_active_parts=8_000,
    mix_weight=0.1,
    correlation_times=10.0,
    memories=6.0,
)
REFERENCE_PARTS = 8_000
GAP_S, GAP_PARTS = 120.0, 10_000  # between the end of a world, which may be a kill, and the next in its folder
BLUR = Drift(blur=0.4)
GOOD = (CLASSES[0], CLASSES[CONFUSABLE])  # what they are confused with costs little then
INFO = EncoderInfo(
    name="synthetic",
    sha256="1" * 64,
    image_size=SIDE,
    embedding_dim=CI.dim,
    level_dims=(),
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    resize_mode="shortest",
    interpolation="bicubic",
    has_text=False,
)


class Stream(Protocol):
    """Where a world's parts come from."""

    def parts(self, n: int, *, drift: Drift = NONE) -> tuple[Any, Any, Any]: ...
    def branch(self, number: int) -> Any: ...
    def shots(self, n: int, *, rng: np.random.Generator) -> tuple[Any, Any]: ...


@dataclass(frozen=True)
class Setting:
    """A line: its classes, those that are sold, its encoder, and parts by seed."""

    classes: tuple[str, ...]
    good: tuple[str, ...]
    info: EncoderInfo
    stream: Callable[[int], Stream]
    shots: int = SHOTS


@dataclass(frozen=True)
class _Image:
    info: EncoderInfo


Says = Callable[[str, str], str]  # labeller, truth -> label


def _the_truth(_who: str, truth: str) -> str:
    return truth


@dataclass(eq=False)
class World:
    """One camera, its line and its people. `open` again is a restart."""

    folder: Path
    seed: int = 1
    auto: bool = True
    clock: FakeClock = field(default_factory=FakeClock)
    truth: dict[str, str] = field(default_factory=dict)
    states: list[State] = field(default_factory=list)
    swaps: list[int] = field(default_factory=list)
    says: Says = _the_truth
    setting: Setting = field(default_factory=lambda: SYNTHETIC)
    good: tuple[str, ...] = ()  # instead of the setting's
    honeypots: bool = True  # there are pictures of parts of known class
    dark: bool = False  # the lamp is out
    gap_s: float = GAP_S
    n_labels: int = 0
    hear: Callable[[str, dict[str, Any]], None] = lambda _kind, _told: None  # what the loop announces

    def __post_init__(self) -> None:
        self.camera = self.setting.stream(self.seed)
        self.good = self.good or self.setting.good
        self.folder.mkdir(parents=True, exist_ok=True)
        self.files = AdaptationFiles(self.folder / "adaptation")
        self._pixels = np.random.default_rng(0)
        self._next = 0
        self.config = self._configured()
        self._go_on()
        self.heads = self.folder / "heads" / "demo"
        if not registry.versions(self.heads):
            self._fit()
        self.open()

    def open(self) -> AdaptationLoop:
        """Start, or start again."""
        self.metrics = Metrics(clock=self.clock, version="test")
        encoder = EncoderBundle(_Image(self.setting.info), None, (BATCH,), None, None)  # type: ignore[arg-type]  # never encodes
        self.live = open_head(self.config, encoder=encoder).live
        self.loop = open_adaptation(
            self.config,
            encoder=encoder,
            tap=Tap(clock=self.clock),
            swap=self._swap,
            clock=self.clock,
            metrics=self.metrics,
            announce=self.hear,
            pace=Pace(sensor_every_s=0.0, approvals_before_auto=0, rules=RULES),
        )
        self.loop.begin()
        self._note()
        return self.loop

    def close(self) -> None:
        """End in order."""
        self.loop.close()
        self.loop.run()
        self.keep_truth()

    def keep_truth(self) -> None:
        """For the people and the clock of a world that goes on from this folder."""
        kept = {"truth": self.truth, "now": self.clock.now, "next": self._next}
        write_atomic(self.folder / "truth.json", content=json.dumps(kept).encode(), durable=False)

    def _go_on(self) -> None:
        path = self.folder / "truth.json"
        if path.is_file():
            kept = json.loads(path.read_bytes())
            self.truth.update(kept["truth"])
            self.clock.now = kept["now"] + self.gap_s
            self._next = kept["next"] + GAP_PARTS

    @property
    def state(self) -> State:
        return self.loop.state.state

    def commission(self) -> None:
        """A healthy recording, and a reference from it."""
        self.feed(REFERENCE_PARTS, people=False)
        job = self.loop.references.job(1, 0.0)
        run_job(job)
        submit(self.files, kind=RequestKind.REFERENCE, by="ann", at=self.clock.utc())
        self.tick()

    def feed(
        self, n: int, *, drift: Drift = NONE, until: tuple[State, ...] = (), people: bool = True, picture: bool = True
    ) -> int:
        """Parts go by until one of the states, at most n; how many did."""
        for start in range(0, n, BATCH):
            self.loop.see(self._seen(drift, pictures=picture))
            self.clock.advance(BATCH * 0.05)
            self.tick()
            if people:
                self.answer()
            if self.state in until:
                return start + BATCH
        return n

    def feed_until_charted(self, n: int, *, drift: Drift = NONE) -> None:
        """Parts go by until the live head has a reference, at most n."""
        for _ in range(0, n, BATCH):
            self.feed(BATCH, drift=drift)
            self.loop.references.wait(timeout_s=120.0)
            if self.loop.is_charted:
                return

    def tick(self) -> None:
        """A second passes; children are waited for."""
        self.loop.tick()
        self._note()
        if self.state is State.TRAINING:
            self.loop.acting.child.wait(timeout_s=120)
            self.loop.tick()
            self._note()

    def answer(self, limit: int = 6) -> None:
        """Everybody answers some questions."""
        asking = self.loop.asking
        store, at = asking.store, self.clock.utc()
        intake = LabelIntake(store, classes=self.setting.classes, knows_event=asking.queue.knows)
        for who in PEOPLE:
            for question in asking.queue.questions(labeller=who, at=at, limit=limit):
                truth = self._truth_of(question.event_id)
                if truth is None:
                    continue  # a kill came between the question and what people know of it: nobody answers
                said = self.says(who, truth)
                intake.take_label(asking.queue.answer(question.request_id, label=said, labeller=who, at=at), at=at)
                self.n_labels += 1

    def accuracy(self, version: int, *, drift: Drift, n: int = 4_000) -> float:
        """Of a head on fresh parts."""
        x, _, y = self.camera.branch(7).parts(n, drift=drift)
        bundle = registry.load(self.heads, encoder=self.setting.info, version=version)
        return float((bundle.head.score(Features(image=x.astype(np.float32))).logits.argmax(axis=1) == y).mean())

    @property
    def live_version(self) -> int:
        return registry.live_version(self.heads)[0]

    def _truth_of(self, event_id: str) -> str | None:
        if event_id in self.truth:
            return self.truth[event_id]
        rows = self.loop.asking.store.database.execute("SELECT label FROM exemplars WHERE event_id = ?", event_id)
        return str(rows[0][0]) if rows else None

    def _note(self) -> None:
        if not self.states or self.states[-1] is not self.state:
            self.states.append(self.state)

    def _swap(self, live: LiveHead) -> None:
        self.live = live
        self.swaps.append(live.decider.identity.version)

    def _seen(self, drift: Drift, *, pictures: bool) -> Seen:
        x16, _, y = self.camera.parts(BATCH, drift=drift)
        x = x16.astype(np.float32)
        now, first = self.clock.utc(), self._next
        refs = tuple(
            FrameRef("cap-01", 7, first + i, "full", now + i * 0.05, "host", received_at=0.0) for i in range(BATCH)
        )
        self._next += BATCH
        pixels = self._pixels.integers(0, 200, (BATCH, SIDE, SIDE, 3), dtype=np.uint8) // (20 if self.dark else 1)
        live = self.live
        scores = live.head.score(Features(image=x))
        batch = Batch(pixels, refs, (None,) * BATCH, 0.0, 0)
        predictions = live.decider.decide(scores, batch=batch, decided_at=0.0, infer_s=0.0)
        for ref, label in zip(refs, y.tolist(), strict=True):
            self.truth[ref.event_id] = self.setting.classes[label]
        return Seen(
            predictions=predictions,
            image=x,
            probabilities=softmax(scores.logits / np.float32(live.decider.temperature)),
            labels=scores.logits.argmax(axis=1).astype(np.int64),
            novelty=scores.novelty,
            pixels=pixels if pictures else None,
            head_version=live.decider.identity.version,
        )

    def _configured(self) -> LineConfig:
        path = write_config(
            self.folder,
            sources=[simulated(1)],
            head={"kind": "auto", "registry": str(self.folder / "heads"), "texts": None},
            decision={"good_classes": list(self.good), "review_below": 0.0, "unknown_novelty": None},
            adaptation={
                "folder": str(self.files.folder),
                "labels": {"teach": 64, "gate": 300, "per_hour": 2_000},
                "gate": {
                    "auto_promote": self.auto,
                    "min_frames": 1_500,
                    "escape_limit": 0.02,
                    "probation_parts": 2_000,
                    "probation_hours": 0.01,
                    "cooldown_minutes": 1.0,
                },
            },
        )
        return load_config(path)

    def _fit(self) -> None:
        x, labels = self.camera.shots(self.setting.shots, rng=np.random.default_rng((self.seed, 3)))
        names = self.fit(x, labels)
        pictures = PictureStore(self.files.pictures, max_bytes=10_000_000)
        for name in names if self.honeypots else ():
            pictures.keep(f"founder-{name}", image=np.zeros((SIDE, SIDE, 3), np.uint8))

    def fit(self, x: Any, labels: Any) -> tuple[str, ...]:
        """The next version of the head, live; names of the pictures it was fitted on."""
        classes = self.setting.classes
        rows = LabelledFeatures(Features(image=x), labels, np.arange(labels.size), classes)
        recipe = Recipe(kind="auto", seed=1, embedding_alone=True)
        fitted = fit_recipe(rows, material=Material(text=None, pool=None), recipe=recipe)
        names = tuple(f"{classes[label]}/{n:03d}.png" for n, label in enumerate(labels.tolist()))
        index = SupportIndex(rows.features.image, labels, names)
        registry.save(
            fitted,
            folder=self.heads,
            encoder=self.setting.info,
            provenance=Provenance(None, "0" * 64, "test", "2026-01-01T00:00:00+00:00", recipe.to_json()),
            evidence=Evidence(held_out=fitted.held_out, support=index),
        )
        return names


SYNTHETIC = Setting(CLASSES, GOOD, INFO, lambda seed: Camera(seed, CI, "iid"))
