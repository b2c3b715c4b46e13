"""Capture threads of real cameras with everything behind them but the encoder, for the tests that break a camera."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from pipeline.interfaces import Clock, Source
from pipeline.types import DeadLetter, UInt8Array
from workers.backoff import Backoff
from workers.capture import Capture, Item
from workers.channel import Channel
from workers.clock import SystemClock
from workers.ledger import Counts, Ledger
from workers.sources.camera import CameraSource

READ_TIMEOUT_MS = 700
BACKOFF_CAP_S = 1.0
BACK_WITHIN_S = BACKOFF_CAP_S + 5.0
FAULTY, HEALTHY = "cap-01", "cap-02"
MakeSource = Callable[[str, Clock], Source]


def cut(image: UInt8Array) -> UInt8Array:
    """The smallest region of interest there is."""
    return np.ascontiguousarray(image[:4, :4, ::-1])


class Line:
    """Capture threads of some cameras, and one thread that delivers what they bring."""

    def __init__(self, cameras: Mapping[str, str | MakeSource]) -> None:
        """Each by its URL, or by what makes it."""
        self.clock = SystemClock()
        self.frames: Channel[Item] = Channel(capacity=4, clock=self.clock)
        self.ledger = Ledger()
        self.n_delivered: Counter[str] = Counter()
        self.failed: list[BaseException] = []
        self.captures = {one: self._capture(one, camera) for one, camera in cameras.items()}
        self._threads = [self._thread(one.run) for one in self.captures.values()]
        self._threads += [self._thread(self._deliver)]

    def _capture(self, source_id: str, camera: str | MakeSource) -> Capture:
        return Capture(
            camera(source_id, self.clock)
            if callable(camera)
            else CameraSource(
                source_id, url=camera, clock=self.clock, open_timeout_ms=2000, read_timeout_ms=READ_TIMEOUT_MS
            ),
            cuts=lambda _camera: {"full": cut},
            frames=self.frames,
            ledger=self.ledger,
            backoff=Backoff(initial_s=0.1, cap_s=BACKOFF_CAP_S, rng=random.Random(1)),
            clock=self.clock,
            drop_oldest=True,
            on_state=lambda source_id, state: None,
            on_frame=lambda source_id: None,
        )

    def _thread(self, work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                self.failed.append(error)
                raise

        return threading.Thread(target=run, daemon=True)

    def _deliver(self) -> None:
        while not self.frames.exhausted:
            for one in self.frames.take(timeout_s=0.2):
                if isinstance(one, DeadLetter):
                    self.ledger.dead_lettered(one.ref, reason=one.reason)
                    continue
                self.ledger.delivered(one.ref)
                self.n_delivered[one.ref.source_id] += 1

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> dict[str, Counts]:
        """Stop in flow order; the balances at the end."""
        for capture in self.captures.values():
            capture.close()
        self.clock.close()
        n_captures = len(self.captures)
        for thread in self._threads[:n_captures]:
            thread.join(timeout=6)
            assert not thread.is_alive(), "a capture thread does not end"
        self.frames.close()
        for thread in self._threads[n_captures:]:
            thread.join(timeout=5)
        return self.ledger.counts()

    def wait_for(self, condition: Callable[[], bool], *, within_s: float) -> float:
        """Seconds until `condition` holds."""
        started_at = time.monotonic()
        while not condition():
            assert time.monotonic() - started_at < within_s, f"not within {within_s} s"
            assert not self.failed, self.failed
            time.sleep(0.01)
        return time.monotonic() - started_at

    def wait_for_more(self, source_id: str, *, n: int, within_s: float) -> float:
        """Seconds until `n` more frames of the source are delivered."""
        goal = self.n_delivered[source_id] + n
        return self.wait_for(lambda: self.n_delivered[source_id] >= goal, within_s=within_s)


def assert_conserved(balances: dict[str, Counts]) -> None:
    for source_id, counts in balances.items():
        assert counts.error == 0, (source_id, counts)
        assert counts.in_flight == 0, (source_id, counts)
        assert counts.captured > 0, source_id
