"""Which frames belong to one part, and when a part is complete; bounded, fed with time, knows no head."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pipeline.types import BatchTiming, Features, FrameRef, UInt8Array

CLOSED_KEPT = 64  # ids of closed parts remembered per camera and region, to know a late frame by
MOST_PLACES = 4096  # cameras times regions remembered: a topic may name cameras without end

Place = tuple[str, str]  # source id, region id
Key = tuple[int, int]  # epoch, sequence: a frame of a place


@dataclass(frozen=True, slots=True)
class PartRule:
    """How the frames of a camera become parts: by the part id they carry, or by the time they were taken."""

    max_frames: int  # closes a part when it has so many
    close_after_s: float  # closes it so long after its first frame was received, complete or not
    window_s: float | None = None  # parts by time: what was taken so long after the first frame belongs to it
    correlation: float | None = None  # of the logit errors of a part's frames, 0 to 1; None: measured


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """A frame of a part as the encoder left it."""

    ref: FrameRef
    features: Features  # one row, its own memory
    evidence: bytes | None
    timing: BatchTiming  # of the batch it was encoded in
    pixels: UInt8Array | None = None  # (S, S, 3) RGB, kept of the first member alone


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Complete: what one decision is made of. `members` is never empty; its first frame names the decision."""

    members: tuple[Member, ...]
    rule: PartRule
    closed_by: str  # full | next | deadline | drain | crowded | rewound


@dataclass(slots=True)
class _Open:
    part_id: str | None
    rule: PartRule
    members: list[Member]

    @property
    def due_at(self) -> float:
        return self.members[0].ref.received_at + self.rule.close_after_s


@dataclass(slots=True)
class _Place:
    """What is remembered of one region of one camera."""

    closed: OrderedDict[str, frozenset[Key]] = field(default_factory=OrderedDict)  # newest parts with their frames
    part_id: str | None = None  # of the newest part
    began_at: float = float("-inf")  # when its first frame was taken, UTC


class Assembler:
    """At most one part is open per camera and region, so its decisions come in the order of its frames. One thread.

    A part is closed by its `max_frames`-th frame, by a frame of another part of the same camera and region, by its
    deadline, or by `drain`. The deadline holds for when frames were received, not for when they get here: behind a
    slow encoder a part still gets all frames that came in time. So a deadline closes a part when a later frame of the
    same source gets here (sources are read in order), or by `due` when nothing of that source is under way.

    A frame whose part is closed is late: it is not taken. The last CLOSED_KEPT parts of a place are known. A frame that
    was taken before is not late: its source was set back (a topic's partition came back), so parts begin anew.
    """

    def __init__(self) -> None:
        self._places: OrderedDict[Place, _Place] = OrderedDict()  # the one used longest ago first
        self._open: dict[Place, _Open] = {}

    @property
    def n_open(self) -> int:
        """Parts that wait for frames."""
        return len(self._open)

    def add(self, member: Member, *, rule: PartRule) -> tuple[list[Part], bool]:
        """Parts that this frame closed, in order, and whether it was taken (False: it is late)."""
        ref = member.ref
        parts = self._overdue(ref)
        place = (ref.source_id, ref.roi_id)
        known = self._place(place, parts=parts)
        if self._was_taken(ref, known=known, place=place):
            parts += [self._close(place, by="rewound")] if place in self._open else []
            known.closed.clear()
            known.part_id = None
        if rule.window_s is not None:
            ref, member = self._windowed(member, known=known, window_s=rule.window_s)
        if ref.part is not None and ref.part in known.closed:
            return parts, False
        if place in self._open and self._open[place].part_id != ref.part:
            parts.append(self._close(place, by="next"))
        if place in self._open:
            self._open[place].members.append(replace(member, pixels=None))
        else:
            self._open[place] = _Open(ref.part, rule, [member])
            known.part_id, known.began_at = ref.part, ref.captured_at
        if ref.part is None or len(self._open[place].members) >= rule.max_frames:
            parts.append(self._close(place, by="full"))
        return parts, True

    def due(self, now: float, *, quiet: Callable[[str], bool]) -> list[Part]:
        """Close what is over its deadline at `now` (monotonic seconds), where nothing of its source is under way."""
        over = [place for place, one in self._open.items() if one.due_at <= now and quiet(one.members[0].ref.account)]
        return [self._close(place, by="deadline") for place in over]

    def next_due_at(self) -> float | None:
        """Monotonic seconds; None where no part is open."""
        return min((one.due_at for one in self._open.values()), default=None)

    def drain(self) -> list[Part]:
        """Close all: no more frames will come."""
        return [self._close(place, by="drain") for place in list(self._open)]

    def _overdue(self, ref: FrameRef) -> list[Part]:
        """What frames of this source that were received before `ref` did not complete in time."""
        over = [
            place
            for place, one in self._open.items()
            if one.due_at < ref.received_at and one.members[0].ref.account == ref.account
        ]
        return [self._close(place, by="deadline") for place in over]

    def _was_taken(self, ref: FrameRef, *, known: _Place, place: Place) -> bool:
        waiting = self._open[place].members if place in self._open else []
        return any(_key(ref) in keys for keys in known.closed.values()) or any(
            _key(ref) == _key(one.ref) for one in waiting
        )

    def _windowed(self, member: Member, *, known: _Place, window_s: float) -> tuple[FrameRef, Member]:
        """The frame with the id of its window, which is named after the first frame in it."""
        ref = member.ref
        inside = known.part_id is not None and abs(ref.captured_at - known.began_at) <= window_s
        ref = replace(ref, part=known.part_id if inside else f"{ref.epoch}-{ref.sequence}")
        return ref, replace(member, ref=ref)

    def _place(self, place: Place, *, parts: list[Part]) -> _Place:
        known = self._places.pop(place, None) or _Place()
        self._places[place] = known
        if len(self._places) > MOST_PLACES:
            oldest, _ = self._places.popitem(last=False)
            if oldest in self._open:
                parts.append(self._close(oldest, by="crowded"))
        return known

    def _close(self, place: Place, *, by: str) -> Part:
        one = self._open.pop(place)
        if one.part_id is not None and place in self._places:
            closed = self._places[place].closed
            closed[one.part_id] = frozenset(_key(member.ref) for member in one.members)
            while len(closed) > CLOSED_KEPT:
                closed.popitem(last=False)
        return Part(tuple(one.members), one.rule, by)


def _key(ref: FrameRef) -> Key:
    return ref.epoch, ref.sequence
