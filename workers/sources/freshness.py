"""Decides whether a picture just taken from a camera's buffer is still the newest one."""

from __future__ import annotations

AT_ONCE_RATIO = 0.25  # of the interval; a grab below this did not wait for the camera, it only decoded
RECHECK_S = 10.0  # without a waited grab for so long, empty the buffer once: the two clocks may have drifted apart
USUAL_INTERVAL_S = 0.04  # where the stream does not say its frame rate


class FreshnessGate:
    """A grab that waited gives a fresh picture and ties stream time to host time; later ages are told from that.

    Without the tie every reader that is a little slower than its camera would lose half of its frames: the picture
    that came while it worked looks buffered although no newer one exists. Owned by the reading thread.
    """

    def __init__(self) -> None:
        self._offset_s: float | None = None  # host minus stream time of the last picture that was waited for
        self._waited_at = 0.0

    def is_stale(self, *, grab_s: float, now: float, stream_s: float, interval_s: float) -> bool:
        """True when a newer picture must already lie in the buffer.

        `stream_s` is the picture's own time, 0 where unknown; `interval_s` the time between two pictures.
        """
        interval_s = interval_s if interval_s > 0 else USUAL_INTERVAL_S
        if grab_s >= AT_ONCE_RATIO * interval_s:
            self._offset_s = now - stream_s if stream_s > 0 else None
            self._waited_at = now
            return False
        if self._offset_s is None or stream_s <= 0 or now - self._waited_at > RECHECK_S:
            return True
        age_s = now - stream_s - self._offset_s
        return age_s > interval_s
