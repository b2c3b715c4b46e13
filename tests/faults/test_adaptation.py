"""Kill -9 at any point of the loop beside the line, and heads that change while frames pour in."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.adaptation.lifecycle.audit_log import verify
from pipeline.adaptation.lifecycle.states import State
from pipeline.batcher import Batcher
from pipeline.decision import Decider, HeadIdentity
from pipeline.decision.policy import DecisionPolicy
from pipeline.encoders.ladder import measure_cost
from pipeline.heads.bundles import registry
from pipeline.preprocess import Preprocessor
from pipeline.types import Roi, SourceFrame
from tests.conftest import ROOT
from tests.fakes import FakeEncoder, FakeHead, FakeSink, FakeSource
from tests.workers.adaptation.world import INFO, World
from workers.captures import Feed
from workers.clock import SystemClock
from workers.line import Line
from workers.live_head import LiveHead
from workers.metrics.registry import Metrics

KILLS = 5
SWAPS, SWAP_S = 15, 0.2
NOT_AFTER_A_KILL = (State.HOLD,)  # a person would have to come


def test_killed_at_random_points_the_loop_goes_on_and_chain_and_pointer_are_whole(tmp_path: Path) -> None:
    world = World(tmp_path / "world")
    world.commission()
    world.close()
    points = random.Random(7)
    nursery = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.adaptation_child", str(world.folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    for _ in range(KILLS):
        run_and_kill(nursery, after_batches=points.randint(1, 60))
        assert verify(world.files.audit).ok
        live, _ = registry.live_version(world.heads)
        registry.load(world.heads, encoder=INFO)
        assert live in registry.versions(world.heads)
    nursery.communicate(timeout=30.0)
    again = World(world.folder)
    assert again.state not in NOT_AFTER_A_KILL, again.loop.state.reason
    assert again.loop.state.champion == again.live_version
    again.close()


def run_and_kill(nursery: subprocess.Popen[str], *, after_batches: int) -> None:
    """Have a line started, read so many of its batches, and kill it; one that has come to its end is fine too."""
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    print("go", file=nursery.stdin, flush=True)
    pid, n, killed = None, 0, False
    for said in nursery.stdout:
        word = said.strip()
        if word.isdigit():
            pid = int(word)
        elif word == "dead":
            break
        n += word in set(State)
        if pid is not None and n >= after_batches and not killed:
            os.kill(pid, signal.SIGKILL)
            killed = True
    assert pid is not None
    assert n > 0


def test_heads_swapped_under_load_lose_no_frame_and_no_result_names_a_head_that_was_not_live() -> None:
    ended, sink, encoder = threading.Event(), FakeSink(), FakeEncoder()
    heads = [live_head(version) for version in (1, 2)]
    line = make_line(encoder, first=heads[0], sink=sink, frames=until(ended))
    clock = SystemClock()
    began = [(1, clock.monotonic())]  # version, from when it may be met
    line.start()
    for n in range(1, SWAPS + 1):
        line.wait(SWAP_S)
        began.append((1 + n % 2, clock.monotonic()))
        line.swap(heads[n % 2])
        began.append((1 + n % 2, clock.monotonic()))
    ended.set()
    line.wait(30.0)
    line.stop(timeout_s=30.0)
    counts = line.ledger.total()
    assert counts.captured == counts.delivered == len(sink.delivered) > 0
    assert counts.in_flight == 0
    for one in sink.delivered:
        started_at = one.decided_at - one.timing.infer_s
        assert one.head_version in possible(began, since=started_at, until=one.decided_at)


def possible(began: list[tuple[int, float]], *, since: float, until: float) -> set[int]:
    """Versions that were live at some instant of the span."""
    before = [version for version, at in began if at <= since]
    return {before[-1] if before else began[0][0], *(version for version, at in began if since <= at <= until)}


def live_head(version: int) -> LiveHead:
    head = FakeHead(seed=version)
    identity = HeadIdentity("fake", version, str(version) * 64, "fake")
    policy = DecisionPolicy(good_classes=frozenset({"ok"}))
    return LiveHead(head, Decider(classes=head.classes, temperature=1.0, policy=policy, identity=identity))


def until(ended: threading.Event) -> Iterator[SourceFrame]:
    """Frames as fast as they are read."""
    clock, image = SystemClock(), np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    while not ended.is_set():
        yield SourceFrame(image, clock.utc(), "simulated", clock.monotonic())


def make_line(encoder: FakeEncoder, *, first: LiveHead, sink: FakeSink, frames: Iterator[SourceFrame]) -> Line:
    cut, sizes = Preprocessor(encoder.info, Roi()), (1, 8, 32)
    clock = SystemClock()
    feed = Feed(
        source=FakeSource(frames),
        cuts=lambda _camera: {"full": cut},
        drop_oldest=False,
        queue_frames=64,
        backoff_initial_s=0.1,
        backoff_cap_s=0.1,
    )
    return Line(
        feeds=[feed],
        encoder=encoder,
        live=first,
        batcher=Batcher(
            sizes=sizes, image_size=encoder.info.image_size, max_wait_s=0.001, cost=measure_cost(encoder, sizes)
        ),
        sinks=[sink],
        metrics=Metrics(clock=clock, version="test"),
        capture_clock=clock,
        queue_batches=8,
    )
