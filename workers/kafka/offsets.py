"""Which messages are out, which have come to an end, and what may be committed; knows no client."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

Partition = tuple[str, int]  # topic, partition


@dataclass(slots=True)
class _Tenure:
    """One stay of a partition with this process."""

    number: int
    n_out: int = 0
    first: int | None = None  # offset of the first message of this stay
    next_offset: int | None = None  # one past the last that came to an end; what a commit says
    committed: int | None = None


class OffsetBook:
    """Thread-safe. A message read under an earlier tenure of its partition counts for nothing any more."""

    def __init__(self, *, numbers: Iterator[int]) -> None:
        """`numbers` never repeats, over all books of a source: a tenure has one of its own."""
        self._tenures: dict[Partition, _Tenure] = {}
        self._numbers = numbers
        self._changed = threading.Condition()

    def assign(self, partitions: Iterable[Partition]) -> None:
        """Partitions come in; those that were here already keep their tenure."""
        with self._changed:
            for partition in partitions:
                if partition not in self._tenures:
                    self._tenures[partition] = _Tenure(next(self._numbers))

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """Partitions are gone: nothing of them is waited for or committed."""
        with self._changed:
            for partition in partitions:
                self._tenures.pop(partition, None)
            self._changed.notify_all()

    def tenure(self, partition: Partition) -> int | None:
        """The present one; None when the partition is somewhere else."""
        held = self._tenures.get(partition)
        return None if held is None else held.number

    def arrived(self, partition: Partition, *, offset: int) -> int | None:
        """Messages from `offset` on have been fetched: the tenure they belong to; None when it has left meanwhile."""
        with self._changed:
            held = self._tenures.get(partition)
            if held is None:
                return None
            if held.first is None:
                held.first = offset
            return held.number

    def hand_out(self, partition: Partition, *, tenure: int) -> bool:
        """A message leaves for the line; False when its partition has left meanwhile, and nobody may have it."""
        with self._changed:
            held = self._tenures.get(partition)
            if held is None or held.number != tenure:
                return False
            held.n_out += 1
            return True

    def ended(self, partition: Partition, *, offset: int, tenure: int) -> None:
        """Everything up to `offset` of the partition has come to an end."""
        with self._changed:
            held = self._tenures.get(partition)
            if held is None or held.number != tenure:
                return
            held.n_out -= 1
            held.next_offset = offset + 1
            self._changed.notify_all()

    def due(self, partitions: Iterable[Partition] | None = None) -> dict[Partition, int]:
        """Offsets that a commit would move forward, of all partitions or of some."""
        with self._changed:
            chosen = self._tenures if partitions is None else partitions
            held = ((one, self._tenures[one]) for one in chosen if one in self._tenures)
            return {
                one: tenure.next_offset
                for one, tenure in held
                if tenure.next_offset is not None and tenure.next_offset != tenure.committed
            }

    def next_offset(self, partition: Partition) -> int | None:
        """Of the first message that has not come to an end; None before the first was fetched."""
        held = self._tenures.get(partition)
        if held is None:
            return None
        return held.first if held.next_offset is None else held.next_offset

    def committed(self, offsets: Mapping[Partition, int]) -> None:
        """The broker has them."""
        with self._changed:
            for partition, offset in offsets.items():
                if partition in self._tenures:
                    self._tenures[partition].committed = offset

    def wait_drained(self, *, timeout_s: float, partitions: Iterable[Partition] | None = None) -> bool:
        """Block until none of them is out; False after `timeout_s`."""
        chosen = None if partitions is None else list(partitions)
        with self._changed:
            return self._changed.wait_for(lambda: not self._count(chosen), timeout_s)

    def _count(self, partitions: Iterable[Partition] | None) -> int:
        chosen = self._tenures if partitions is None else partitions
        return sum(self._tenures[one].n_out for one in chosen if one in self._tenures)
