"""One thread per source: connect with backoff, read, cut the regions, hand over; account for every frame."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypedDict

import structlog

from pipeline.errors import BadFrame, SourceExhausted, SourceUnavailable
from pipeline.interfaces import Clock, Source
from pipeline.types import DeadLetter, Frame, FrameOrigin, FrameRef, SourceFrame, UInt8Array
from workers.backoff import Backoff
from workers.channel import Channel, ChannelClosed
from workers.encoded import as_jpeg
from workers.ledger import Ledger

log = structlog.get_logger()

Cut = Callable[[UInt8Array], UInt8Array]  # (H,W,3) BGR -> (S,S,3) RGB of one region
Item = Frame | DeadLetter  # letters travel among the frames, so that a source's order holds to the sinks


class _Identity(TypedDict, total=False):
    source_id: str
    epoch: int
    sequence: int
    roi_id: str
    carrier: str
    ticket: int


class SourceState(enum.StrEnum):
    """What a source is doing, for metrics and /status."""

    CONNECTING = "connecting"
    STREAMING = "streaming"
    BACKOFF = "backoff"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class CaptureStatus:
    """What an observer may know of one source; replaced as a whole by the capture thread."""

    state: SourceState = SourceState.CONNECTING
    n_reconnects: int = 0
    last_frame_at: float | None = None  # UTC
    last_error: str | None = None


class Capture:
    """Runs one source to its end. `run` belongs to one thread; `close` and `status` may be used from any."""

    def __init__(
        self,
        source: Source,
        *,
        cuts: Callable[[str], Mapping[str, Cut]],
        frames: Channel[Item],
        ledger: Ledger,
        backoff: Backoff,
        clock: Clock,
        drop_oldest: bool,
        on_state: Callable[[str, str], None],
        on_frame: Callable[[str], None],
        evidence_quality: int | None = None,
        on_wait: Callable[[float], None] | None = None,
        evidence_every_s: float = 0.0,
    ) -> None:
        """`cuts(camera)` gives the regions of a camera.

        With `evidence_quality` a picture that comes without its JPEG is encoded here, one in `evidence_every_s`.

        `on_state(source_id, state)` is told of every change, `on_frame(source_id)` of every picture, `on_wait(seconds)`
        of every time that the source stood still because its queue was full.
        """
        self.source = source
        self.status = CaptureStatus()
        self._cuts = cuts
        self._frames = frames
        self._ledger = ledger
        self._backoff = backoff
        self._clock = clock
        self._drop_oldest = drop_oldest
        self._on_state = on_state
        self._on_frame = on_frame
        self._evidence_quality, self._evidence_every_s = evidence_quality, evidence_every_s
        self._encoded_at = float("-inf")
        self._on_wait = on_wait
        self._epoch = int(clock.utc() * 1e9)
        self._n_taken = 0
        self._closing = False
        ledger.register(source.source_id, ack=source.ack)

    def run(self) -> None:
        """Return when the source is exhausted or `close` was called; raise what no reconnect would cure."""
        try:
            while not self._closing:
                try:
                    self._connect_and_stream()
                except SourceUnavailable as error:
                    self._wait_to_reconnect(error)
                except (SourceExhausted, ChannelClosed):
                    return
        finally:
            self.source.close()
            self._enter(SourceState.ENDED)

    def close(self) -> None:
        """Stop soon: wakes a blocked read."""
        self._closing = True
        self.source.close()

    def _connect_and_stream(self) -> None:
        self._enter(SourceState.CONNECTING)
        self.source.open()
        while not self._closing:
            try:
                taken = self.source.read()
            except BadFrame as bad:
                self._dead_letter(bad)
                continue
            if taken is not None:
                self._backoff.reset()
                self._hand_over(taken)

    def _wait_to_reconnect(self, error: SourceUnavailable) -> None:
        if self._closing:
            return
        self.source.close()
        delay_s = self._backoff.next_delay()
        log.warning("source lost", source=self.source.source_id, cause=str(error), retry_in_s=round(delay_s, 2))
        self._enter(SourceState.BACKOFF)
        self.status = replace(self.status, n_reconnects=self.status.n_reconnects + 1, last_error=str(error))
        self._clock.wait(delay_s)

    def _hand_over(self, taken: SourceFrame) -> None:
        cuts = self._cuts(self.source.source_id if taken.origin is None else taken.origin.source_id)
        for n, reason in ((taken.skipped, "stale"), (taken.lost, "lost")):
            if n:
                self._ledger.skipped(self.source.source_id, n * len(cuts), reason=reason)
                self._n_taken += n
        refs = tuple(self._ref(taken, roi_id, n_regions=len(cuts)) for roi_id in cuts)
        self._n_taken += 1
        self._ledger.captured(refs)
        if self.status.state is not SourceState.STREAMING:
            self._enter(SourceState.STREAMING)
        self.status = replace(self.status, last_frame_at=taken.captured_at)
        self._on_frame(self.source.source_id)
        evidence = self._evidence(taken)
        for ref, cut in zip(refs, cuts.values(), strict=True):
            try:
                frame = Frame(ref, cut(taken.image), evidence)
            except BadFrame as bad:
                self._put_letter(bad, ref)
                continue
            self._put(frame)

    def _evidence(self, taken: SourceFrame) -> bytes | None:
        if taken.evidence is not None or self._evidence_quality is None:
            return taken.evidence
        now = self._clock.monotonic()
        if now - self._encoded_at < self._evidence_every_s:
            return None
        self._encoded_at = now
        return as_jpeg(taken.image, quality=self._evidence_quality)

    def _enter(self, state: SourceState) -> None:
        self.status = replace(self.status, state=state)
        self._on_state(self.source.source_id, state.value)

    def _put(self, item: Item) -> None:
        lane = self.source.source_id
        try:
            if not self._drop_oldest:
                waited_s = self._frames.put(item, lane=lane)
                if waited_s and self._on_wait is not None:
                    self._on_wait(waited_s)
            elif (oldest := self._frames.put_evicting(item, lane=lane)) is not None:
                self._ledger.dropped(oldest.ref, reason="queue_full")
        except ChannelClosed:
            self._ledger.dropped(item.ref, reason="shutdown")

    def _dead_letter(self, bad: BadFrame) -> None:
        camera = self.source.source_id if bad.origin is None else bad.origin.source_id
        ref = FrameRef(
            **self._identity(bad.origin, roi_id=next(iter(self._cuts(camera)))),
            captured_at=self._clock.utc(),
            capture_time_source="host",
            received_at=self._clock.monotonic(),
            position=bad.position,
        )
        self._n_taken += 1
        self._ledger.captured((ref,))
        self._put_letter(bad, ref)

    def _put_letter(self, bad: BadFrame, ref: FrameRef) -> None:
        self._put(
            DeadLetter(source_id=ref.source_id, reason=bad.reason, message=str(bad), original=bad.original, ref=ref)
        )

    def _ref(self, taken: SourceFrame, roi_id: str, *, n_regions: int) -> FrameRef:
        height, width = taken.image.shape[:2]
        return FrameRef(
            **self._identity(taken.origin, roi_id=roi_id),
            captured_at=taken.captured_at,
            capture_time_source=taken.capture_time_source,
            received_at=taken.received_at,
            position=taken.position,
            truth=taken.truth,
            width=width,
            height=height,
            name=taken.name,
            n_regions=n_regions,
            part=taken.part,
        )

    def _identity(self, origin: FrameOrigin | None, *, roi_id: str) -> _Identity:
        """Its own frames are numbered here; those it carries for others keep the names they came with."""
        own = self.source.source_id
        if origin is None:
            return {"source_id": own, "epoch": self._epoch, "sequence": self._n_taken, "roi_id": roi_id}
        return {
            "source_id": origin.source_id,
            "epoch": origin.epoch,
            "sequence": origin.sequence,
            "roi_id": roi_id,
            "carrier": own,
            "ticket": self._n_taken,
        }
