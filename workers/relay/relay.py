"""Cameras to a topic: the capture worker. Frames are encoded here, keyed by camera, and acknowledged by the broker."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import structlog

from pipeline.errors import BadFrame, SinkError
from pipeline.interfaces import Clock
from pipeline.types import DeadLetter, Frame, UInt8Array
from workers.backoff import Backoff
from workers.capture import Item
from workers.channel import Channel
from workers.kafka.message import JPEG, PNG, frame_headers
from workers.kafka.packing import Packer
from workers.kafka.producer import ParcelProducer
from workers.ledger import Ledger
from workers.outbox.store import Parcel

log = structlog.get_logger()

IDLE_S = 0.5
MAX_FRAMES = 32  # sent together: one round trip for all cameras that have something


def jpeg_cut(quality: int) -> Callable[[UInt8Array], UInt8Array]:
    """A region's cut for the wire: the whole picture (H, W, 3) BGR as the bytes of a JPEG, (n,) uint8."""

    def cut(image: UInt8Array) -> UInt8Array:
        done, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if not done:
            raise BadFrame(f"expected a picture that JPEG can hold, got {image.shape}", reason="unencodable")
        return np.asarray(encoded, np.uint8).reshape(-1)

    return cut


class Relay:
    """`run` belongs to one thread; `abandon` may be called from any."""

    def __init__(
        self,
        *,
        frames: Channel[Item],
        producer: ParcelProducer,
        packer: Packer,
        topic: str,
        ledger: Ledger,
        clock: Clock,
        backoff: Backoff,
        on_sink: Callable[[str, int, float | None], None],
    ) -> None:
        """`on_sink(sink, n, seconds)` is told of every attempt; seconds is None for one that failed."""
        self._frames = frames
        self._producer = producer
        self._packer = packer
        self._topic = topic
        self._ledger = ledger
        self._clock = clock
        self._backoff = backoff
        self._on_sink = on_sink
        self._abandoned = False
        self.failing: str | None = None

    def abandon(self) -> None:
        """Give up on a broker that does not answer: what it has not taken is dropped and counted."""
        self._abandoned = True
        self._producer.interrupt()

    def run(self) -> None:
        """Return when the frames channel is closed and empty. Upstream the policy of each source rules."""
        try:
            while True:
                items = self._frames.take(rows=lambda n: min(n, MAX_FRAMES), timeout_s=IDLE_S)
                if items:
                    self._send(items)
                elif self._frames.exhausted:
                    return
        finally:
            self._producer.close()

    def _send(self, items: Sequence[Item]) -> None:
        parcels = [parcel for one in items for parcel in self._packed(one)]
        if not self._insist(parcels):
            for one in items:
                self._ledger.dropped(one.ref, reason="undelivered")
            return
        for one in items:
            if isinstance(one, DeadLetter):
                self._ledger.dead_lettered(one.ref, reason=one.reason)
            else:
                self._ledger.delivered(one.ref)

    def _insist(self, parcels: Sequence[Parcel]) -> bool:
        """Try until the broker has them; False when abandoned first."""
        while True:
            started_at = self._clock.monotonic()
            try:
                self._producer.send(parcels)
            except SinkError as error:
                self._on_sink("frames", len(parcels), None)
                self.failing = str(error)
                if self._abandoned:
                    return False
                delay_s = self._backoff.next_delay()
                log.warning("broker refuses frames", cause=str(error), retry_in_s=round(delay_s, 2))
                self._clock.wait(delay_s)
            else:
                self.failing = None
                self._backoff.reset()
                self._on_sink("frames", len(parcels), self._clock.monotonic() - started_at)
                return True

    def _packed(self, item: Item) -> list[Parcel]:
        return self._packer.pack(item) if isinstance(item, DeadLetter) else [self._parcel(item)]

    def _parcel(self, frame: Frame) -> Parcel:
        value = frame.evidence or frame.image.tobytes()
        kind = PNG if value.startswith(b"\x89PNG") else JPEG
        headers = frame_headers(frame.ref, content_type=kind, shape=())
        return Parcel(
            key=frame.ref.source_id.encode(),
            value=value,
            headers=tuple(headers),
            topic=self._topic,
            event_id=frame.ref.event_id,
        )
