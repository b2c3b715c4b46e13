"""Frame accounting: every captured frame ends exactly once as delivered, dropped or dead-lettered, or is in flight."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.types import FrameRef

CUT_SHORT = ("shutdown", "undelivered")  # reasons of a line that ends: whoever reads next has to have the frame


@dataclass(frozen=True, slots=True)
class Counts:
    """One source's balance. `in_flight` is counted on its own, not derived, so that `error` can fail."""

    captured: int
    delivered: int
    dropped: dict[str, int]  # by reason
    dead_lettered: dict[str, int]  # by reason
    in_flight: int

    @property
    def error(self) -> int:
        """Must be zero: captured - delivered - dropped - dead-lettered - in flight."""
        return (
            self.captured
            - self.delivered
            - sum(self.dropped.values())
            - sum(self.dead_lettered.values())
            - self.in_flight
        )


@dataclass(slots=True)
class _Open:
    """A picture whose regions have not all come to an end."""

    position: object
    regions: set[str]


@dataclass(slots=True)
class _Account:
    ack: Callable[[object], None]
    acknowledges: bool = True
    captured: int = 0
    delivered: int = 0
    n_open: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    dead_lettered: Counter[str] = field(default_factory=Counter)
    open: OrderedDict[int, _Open] = field(default_factory=OrderedDict)  # by number, in order of capture
    lock: threading.Lock = field(default_factory=threading.Lock)


class Ledger:
    """Counts frames per source and acknowledges the contiguous prefix of finished pictures.

    Any thread may call it. `ack` of a source runs under its lock, in order, once per picture: it must be quick.
    """

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}

    def register(self, source_id: str, *, ack: Callable[[object], None]) -> None:
        """Open an account before its first frame."""
        self._accounts[source_id] = _Account(ack=ack)

    def captured(self, refs: tuple[FrameRef, ...]) -> None:
        """The regions of one picture come into being; their number is above all before it."""
        account = self._accounts[refs[0].account]
        with account.lock:
            account.captured += len(refs)
            account.n_open += len(refs)
            account.open[refs[0].number] = _Open(refs[0].position, {ref.roi_id for ref in refs})

    def skipped(self, source_id: str, n: int, *, reason: str) -> None:
        """`n` frames the source let pass on purpose: captured and dropped at once, never in flight."""
        account = self._accounts[source_id]
        with account.lock:
            account.captured += n
            account.dropped[reason] += n

    def delivered(self, ref: FrameRef) -> None:
        """Every sink has it."""
        account = self._accounts[ref.account]
        with account.lock:
            account.delivered += 1
            self._settle(account, ref)

    def dropped(self, ref: FrameRef, *, reason: str) -> None:
        """Given up by policy, or because the line ended first: then it is not acknowledged, nor what came after it."""
        account = self._accounts[ref.account]
        with account.lock:
            account.dropped[reason] += 1
            if reason in CUT_SHORT:
                account.acknowledges = False
            self._settle(account, ref)

    def dead_lettered(self, ref: FrameRef, *, reason: str) -> None:
        """Kept aside with its bytes."""
        account = self._accounts[ref.account]
        with account.lock:
            account.dead_lettered[reason] += 1
            self._settle(account, ref)

    def unfinished(self, source_id: str) -> list[tuple[object, frozenset[str]]]:
        """Positions of the source's pictures of which regions are still under way, oldest first, with those regions."""
        account = self._accounts[source_id]
        with account.lock:
            return [(one.position, frozenset(one.regions)) for one in account.open.values() if one.regions]

    def counts(self) -> dict[str, Counts]:
        """A consistent balance per source."""
        return {source_id: self._counts(account) for source_id, account in self._accounts.items()}

    def total(self) -> Counts:
        """All sources together."""
        every = self.counts().values()
        return Counts(
            captured=sum(one.captured for one in every),
            delivered=sum(one.delivered for one in every),
            dropped=dict(sum((Counter(one.dropped) for one in every), Counter())),
            dead_lettered=dict(sum((Counter(one.dead_lettered) for one in every), Counter())),
            in_flight=sum(one.in_flight for one in every),
        )

    @staticmethod
    def _counts(account: _Account) -> Counts:
        with account.lock:
            return Counts(
                captured=account.captured,
                delivered=account.delivered,
                dropped=dict(account.dropped),
                dead_lettered=dict(account.dead_lettered),
                in_flight=account.n_open,
            )

    @staticmethod
    def _settle(account: _Account, ref: FrameRef) -> None:
        """Close one region; a second end of the same one leaves the balance wrong on purpose, and so visible."""
        picture = account.open.get(ref.number)
        if picture is None or ref.roi_id not in picture.regions:
            return
        picture.regions.remove(ref.roi_id)
        account.n_open -= 1
        while account.open:
            first = next(iter(account.open))
            if account.open[first].regions:
                return
            ended = account.open.pop(first)
            if account.acknowledges:
                account.ack(ended.position)
