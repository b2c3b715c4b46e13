"""A line with the real loop, store, registry and journal behind the page; its clock belongs to the test."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from datetime import date
from pathlib import Path

from pipeline.adaptation.support.choosing import Choice
from pipeline.adaptation.support.labels import Stream
from pipeline.encoders.build import EncoderBundle
from pipeline.heads.bundles import registry
from pipeline.types import Batch, Features
from tests.adaptation.streams import NONE, Drift
from tests.fakes import FakeClock
from tests.workers.adaptation.world import BATCH, INFO, World, _Image
from workers.adaptation.asking import Part
from workers.adaptation.tap import Seen
from workers.opening.review import RunningLine, open_backend
from workers.review.drift_facts import DriftFacts
from workers.wall import Wall

N_TEACH = 4  # questions that show the line's answer; those of the audit do not
HEALTHY_BATCHES = 6


class ReviewedLine:
    """One camera that has run for a while: heads 1 (live) and 2, questions of both kinds, some audit labels."""

    def __init__(self, folder: Path) -> None:
        clock = FakeClock()
        self.drift = DriftFacts(clock=clock)
        shutil.copytree(_with_two_heads(), folder / "line")
        self.world = World(folder / "line", clock=clock, hear=self.drift.hear)
        self.wall = Wall(clock=clock)
        line = RunningLine(
            wall=self.wall,
            live=lambda: self.world.live,
            sources=lambda: {"cap-01": {"state": "streaming"}},
            state=lambda: self.world.loop.state,
            first=None,
            drift=self.drift,
            by_hand=_not_without_the_loop,
        )
        encoder = EncoderBundle(_Image(INFO), None, (BATCH,), None, None)  # type: ignore[arg-type]  # never encodes
        self.backend = open_backend(self.world.config, encoder=encoder, line=line, clock=clock)
        self.feed(HEALTHY_BATCHES)
        self.world.answer(limit=100)
        self.day = date.fromtimestamp(clock.utc())
        self.feed(HEALTHY_BATCHES)
        self._teach(self.feed(1))

    @property
    def n_questions(self) -> int:
        return sum(self.world.loop.asking.queue.n_open(at=self.world.clock.utc()).values())

    def feed(self, n_batches: int, *, drift: Drift = NONE) -> Seen:
        """Batches go by, through line, wall and loop; the last one."""
        for _ in range(n_batches):
            seen = self.world._seen(drift, pictures=True)
            assert seen.pixels is not None
            refs = tuple(one.ref for one in seen.predictions)
            batch = Batch(seen.pixels, refs, (None,) * BATCH, 0.0, 0)
            self.wall.see(batch, Features(seen.image), seen.predictions)
            self.drift.count(seen.predictions)
            self.world.loop.see(seen)
            self.world.clock.advance(BATCH * 0.05)
            self.world.tick()
        return seen

    def settle(self) -> None:
        """Two seconds pass: the loop takes what it was asked for, and what came of that."""
        for _ in range(2):
            self.world.clock.advance(1.0)
            self.world.tick()

    def _teach(self, seen: Seen) -> None:
        assert seen.pixels is not None
        parts = {
            one.ref.event_id: Part(one, seen.image[row], seen.pixels[row])
            for row, one in enumerate(seen.predictions[-N_TEACH:], start=BATCH - N_TEACH)
        }
        choices = [Choice(event_id, Stream.TEACH, "margin", 1.0) for event_id in parts]
        self.world.loop.asking._ask(choices, parts=parts, at=self.world.clock.utc())


@functools.cache
def _with_two_heads() -> Path:
    """A line's folder, made once: the fits take the time."""
    folder = Path(tempfile.mkdtemp(prefix="clearline-reviewed-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    world = World(folder)
    world._fit()
    registry.promote(world.heads, version=1, encoder=INFO)
    world.close()
    return folder


def _not_without_the_loop(version: int) -> None:
    raise AssertionError(f"head {version} was moved beside the loop")
