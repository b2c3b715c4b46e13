"""A source that is read all the time, and hands on only what shows a part that was announced."""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from pipeline.interfaces import Clock, Source
from pipeline.types import SourceFrame
from workers.triggers.queue import Note, Trigger, TriggerQueue

log = structlog.get_logger()


@dataclass(slots=True)
class _Active:
    """The trigger that pictures belong to at the moment."""

    trigger: Trigger
    n_given: int = 0


class TriggeredSource:
    """Hands on the first `frames` pictures taken at or after each trigger, stamped with its part id.

    The source inside is read throughout, so that its pictures are fresh; those between two parts are nobody's frames
    and are not counted. A picture belongs to the newest trigger given before it was taken. Times are compared in UTC:
    where a camera stamps its pictures itself, its clock has to be right.
    """

    def __init__(
        self, source: Source, *, triggers: TriggerQueue, frames: int, timeout_s: float, clock: Clock, note: Note
    ) -> None:
        """After `timeout_s` without a picture a trigger counts as missed, and no later picture is taken for it."""
        self._source = source
        self._triggers = triggers
        self._frames = frames
        self._timeout_s = timeout_s
        self._clock = clock
        self._note = note
        self._active: _Active | None = None

    @property
    def source_id(self) -> str:
        """As the source inside."""
        return self._source.source_id

    @property
    def live(self) -> bool:
        """As the source inside."""
        return self._source.live

    def open(self) -> None:
        """As the source inside; triggers that came too long ago are counted first."""
        self._expire()
        self._source.open()

    def read(self) -> SourceFrame | None:
        """A picture of an announced part; None for any other picture, and where the source inside says None."""
        self._expire()
        taken = self._source.read()
        if taken is None:
            return None
        while (trigger := self._triggers.take(until=taken.captured_at)) is not None:
            self._begin(trigger)
        active = self._active
        if active is None or taken.captured_at - active.trigger.at > self._timeout_s:
            return None
        active.n_given += 1
        if active.n_given == self._frames:
            self._active = None
        return replace(taken, part=active.trigger.part, skipped=0)  # what was passed over was asked for by nobody

    def ack(self, position: object) -> None:
        """As the source inside."""
        self._source.ack(position)

    def close(self) -> None:
        """As the source inside."""
        self._source.close()

    def _begin(self, trigger: Trigger) -> None:
        if self._active is not None and not self._active.n_given:
            self._miss(self._active.trigger)
        self._active = _Active(trigger)

    def _expire(self) -> None:
        """Triggers whose time is over: those without a picture are missed."""
        due = self._clock.utc() - self._timeout_s
        if self._active is not None and self._active.trigger.at < due:
            if not self._active.n_given:
                self._miss(self._active.trigger)
            self._active = None
        while (trigger := self._triggers.take(until=due)) is not None:
            self._miss(trigger)

    def _miss(self, trigger: Trigger) -> None:
        self._note(self.source_id, "missed")
        log.warning("trigger without a picture", source=self.source_id, part=trigger.part, timeout_s=self._timeout_s)
