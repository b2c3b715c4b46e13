"""Capture connects, reconnects, cuts regions and accounts for every frame, whatever its source does."""

from __future__ import annotations

import random
import threading
from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import BadFrame, SourceError, SourceUnavailable
from pipeline.types import DeadLetter, Frame, FrameOrigin, UInt8Array
from tests.fakes import FakeClock, FakeSource
from tests.making import make_source_frame
from workers.backoff import Backoff
from workers.capture import Capture, Item, SourceState
from workers.channel import Channel
from workers.encoded import decode
from workers.ledger import Ledger


class Bench:
    """A capture worker with everything around it in the open."""

    def __init__(
        self,
        source: FakeSource,
        *,
        drop_oldest: bool = False,
        capacity: int = 8,
        rois: tuple[str, ...] = ("full",),
        evidence_quality: int | None = None,
        clock: FakeClock | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.waited_s: list[float] = []
        self.states: list[str] = []
        self.frames: Channel[Item] = Channel(capacity=capacity, clock=self.clock)
        self.ledger = Ledger()
        self.capture = Capture(
            source,
            cuts=lambda _camera: {roi: self.cut for roi in rois},
            frames=self.frames,
            ledger=self.ledger,
            backoff=Backoff(initial_s=1.0, cap_s=4.0, rng=random.Random(0)),
            clock=self.clock,
            drop_oldest=drop_oldest,
            on_state=lambda source_id, state: self.states.append(state),
            on_frame=lambda source_id: None,
            evidence_quality=evidence_quality,
            on_wait=self.waited_s.append,
        )

    @staticmethod
    def cut(image: UInt8Array) -> UInt8Array:
        if image[0, 0, 0] == 66:
            raise BadFrame("region outside the picture", reason="roi")
        return np.ascontiguousarray(image[:4, :4, ::-1])


def test_a_finite_source_is_read_to_its_end_in_order() -> None:
    bench = Bench(FakeSource([make_source_frame(value) for value in range(3)]))
    bench.capture.run()
    frames = bench.frames.take()
    assert [frame.ref.sequence for frame in frames] == [0, 1, 2]
    assert [int(frame.image.max()) for frame in frames] == [0, 1, 2]
    assert bench.capture.status.state is SourceState.ENDED
    assert bench.ledger.total().in_flight == 3


def test_a_camera_that_refuses_at_start_is_tried_again_with_growing_waits() -> None:
    source = FakeSource([make_source_frame()], refusals=4)
    bench = Bench(source)
    bench.capture.run()
    assert source.n_opens == 5
    assert len(bench.clock.waits) == 4
    assert all(0.5 <= wait <= 4.0 for wait in bench.clock.waits)
    assert bench.capture.status.n_reconnects == 4
    assert "refused" in (bench.capture.status.last_error or "")
    assert len(bench.frames) == 1


def test_a_camera_lost_mid_stream_comes_back_in_the_same_sequence() -> None:
    source = FakeSource([make_source_frame(), SourceUnavailable("gone"), make_source_frame()])
    bench = Bench(source)
    bench.capture.run()
    assert [frame.ref.sequence for frame in bench.frames.take()] == [0, 1]
    assert source.n_opens == 2
    assert bench.states == ["connecting", "streaming", "backoff", "connecting", "streaming", "ended"]


def test_a_frame_resets_the_backoff_and_a_mere_connection_does_not() -> None:
    lost = SourceUnavailable("gone")
    bench = Bench(FakeSource([lost, lost, lost, make_source_frame(), lost]))
    bench.capture.run()
    assert bench.clock.waits[3] <= 1.0
    assert max(bench.clock.waits[:3]) > 1.0


def test_a_live_source_gives_up_its_oldest_frames_and_counts_them() -> None:
    bench = Bench(FakeSource([make_source_frame(value) for value in range(5)]), drop_oldest=True, capacity=2)
    bench.capture.run()
    assert [frame.ref.sequence for frame in bench.frames.take()] == [3, 4]
    total = bench.ledger.total()
    assert (total.captured, total.dropped, total.error) == (5, {"queue_full": 3}, 0)


def test_stale_pictures_that_the_source_skipped_leave_a_gap_and_are_counted_per_region() -> None:
    bench = Bench(FakeSource([make_source_frame(), make_source_frame(skipped=3)]), rois=("left", "right"))
    bench.capture.run()
    assert [frame.ref.sequence for frame in bench.frames.take()] == [0, 0, 4, 4]
    total = bench.ledger.total()
    assert (total.captured, total.dropped, total.error) == (10, {"stale": 6}, 0)


def test_pictures_that_a_camera_numbered_and_that_never_came_are_counted_as_lost() -> None:
    bench = Bench(FakeSource([make_source_frame(), make_source_frame(skipped=1, lost=2)]))
    bench.capture.run()
    assert [frame.ref.sequence for frame in bench.frames.take()] == [0, 4]
    total = bench.ledger.total()
    assert (total.captured, total.dropped, total.error) == (5, {"stale": 1, "lost": 2}, 0)


def test_a_corrupt_picture_is_dead_lettered_with_its_bytes_and_the_next_one_flows() -> None:
    bench = Bench(FakeSource([BadFrame("cut short", original=b"\xff\xd8"), make_source_frame()]))
    bench.capture.run()
    letter, frame = bench.frames.take()
    assert isinstance(letter, DeadLetter)
    assert (letter.original, letter.reason, letter.ref.sequence) == (b"\xff\xd8", "undecodable", 0)
    assert frame.ref.sequence == 1
    assert bench.ledger.total().in_flight == 2


def test_a_picture_that_cannot_be_cut_is_dead_lettered_region_by_region() -> None:
    bench = Bench(FakeSource([make_source_frame(66)]), rois=("left", "right"))
    bench.capture.run()
    taken = bench.frames.take()
    assert [letter.ref.roi_id for letter in taken if isinstance(letter, DeadLetter)] == ["left", "right"]


def test_frames_carried_for_cameras_keep_the_cameras_names_and_are_accounted_to_the_carrier() -> None:
    carried = [replace(make_source_frame(), origin=FrameOrigin(f"cap-0{n}", 7, 0)) for n in (1, 2)]
    lost = BadFrame("cut short", original=b"x", origin=FrameOrigin("cap-01", 7, 1))
    bench = Bench(FakeSource([*carried, lost], source_id="topic"))
    bench.capture.run()
    refs = [one.ref for one in bench.frames.take()]
    assert [ref.event_id for ref in refs] == ["cap-01-7-0-full", "cap-02-7-0-full", "cap-01-7-1-full"]
    assert [(ref.account, ref.number) for ref in refs] == [("topic", 0), ("topic", 1), ("topic", 2)]
    for ref in refs:
        bench.ledger.delivered(ref)
    counts = bench.ledger.counts()["topic"]
    assert (counts.delivered, counts.in_flight, counts.error) == (3, 0, 0)


def test_what_arrives_while_the_line_closes_is_dropped_and_counted() -> None:
    bench = Bench(FakeSource([]))
    bench.capture.source = FakeSource([bench.frames.close, make_source_frame()])
    bench.capture.run()
    assert bench.ledger.total().dropped == {"shutdown": 1}
    assert bench.ledger.total().error == 0


def test_what_no_reconnect_would_cure_ends_the_worker() -> None:
    bench = Bench(FakeSource([SourceError("no such codec")]))
    with pytest.raises(SourceError, match="no such codec"):
        bench.capture.run()


def test_close_ends_a_source_that_has_nothing_to_say() -> None:
    bench = Bench(FakeSource([]))
    bench.capture.source = FakeSource([None, None, bench.capture.close, None, make_source_frame()])
    bench.capture.run()
    assert len(bench.frames) == 0
    assert bench.capture.status.n_reconnects == 0


def test_a_picture_without_its_jpeg_is_encoded_only_for_an_archive_and_once_for_all_regions() -> None:
    own = replace(make_source_frame(9), evidence=b"\xff\xd8\xff as it came")
    for quality in (None, 90):
        bench = Bench(FakeSource([make_source_frame(7), own]), rois=("left", "right"), evidence_quality=quality)
        bench.capture.run()
        frames = [item for item in bench.frames.take() if isinstance(item, Frame)]
        assert [frame.evidence for frame in frames[2:]] == [own.evidence] * 2
        left, right = frames[:2]
        assert left.evidence is right.evidence
        assert (left.evidence is None) == (quality is None)
        if left.evidence is not None:
            assert int(abs(decode(left.evidence, where="test").astype(int) - 7).max()) <= 2


class TellingClock(FakeClock):
    """Tells when somebody looks at it."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_at = threading.Event()

    def monotonic(self) -> float:
        self.looked_at.set()
        return super().monotonic()


def test_a_source_that_stands_still_before_a_full_queue_says_for_how_long() -> None:
    clock = TellingClock()

    def take() -> None:
        clock.looked_at.wait(5.0)  # the second picture has begun to wait
        clock.advance(2.5)
        bench.frames.take()

    taker = threading.Thread(target=take)

    def start_taker() -> None:
        clock.looked_at.clear()
        taker.start()

    bench = Bench(FakeSource([make_source_frame(), start_taker, make_source_frame()]), capacity=1, clock=clock)
    bench.capture.run()
    taker.join()
    assert bench.waited_s == [2.5]
    assert bench.ledger.total().captured == 2


def test_a_source_that_finds_room_has_not_waited() -> None:
    bench = Bench(FakeSource([make_source_frame()] * 3))
    bench.capture.run()
    assert bench.waited_s == []
