"""Exactly once, where it is decided: what goes into a transaction, and what after one whose end nobody knows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from pipeline.errors import SinkError
from pipeline.types import DeadLetter, Prediction
from tests.fakes import FakeClock
from tests.making import make_prediction
from workers.kafka.message import KafkaPosition
from workers.kafka.offsets import Partition
from workers.kafka.packing import Packer, Topics
from workers.outbox.store import Parcel
from workers.sinks.kafka import TransactionalKafkaSink


@dataclass
class Group:
    """As the client describes our membership."""

    generation_id: int
    group_id: str = "g"


@dataclass
class FakeProducer:
    """A broker's view; `refuses` before anything is done, `forgets` to say that it is done."""

    refuses: int = 0
    forgets: int = 0
    results: list[str] = field(default_factory=list)
    offsets: dict[Partition, int] = field(default_factory=dict)
    generations: list[int] = field(default_factory=list)
    n_asked: int = 0
    closed: bool = False

    def send_atomically(self, parcels: Sequence[Parcel], *, offsets: Mapping[Partition, int], group: Group) -> None:
        if self.refuses:
            self.refuses -= 1
            raise SinkError("refused")
        self.results += [parcel.event_id for parcel in parcels if parcel.topic != "states"]
        self.offsets.update(offsets)
        self.generations.append(group.generation_id)
        if self.forgets:
            self.forgets -= 1
            raise SinkError("no answer")

    def committed(self, partitions: Collection[Partition], *, group_id: str) -> dict[Partition, int]:
        self.n_asked += 1
        return {one: self.offsets[one] for one in partitions if one in self.offsets}

    def close(self) -> None:
        self.closed = True


class Bench:
    """A sink whose source the test plays."""

    def __init__(self) -> None:
        self.producer = FakeProducer()
        self.lost: set[int] = set()  # partitions
        self.generation = 1
        self.told: list[str] = []
        topics = Topics(results="results", states="states", dead_letters="dlq")
        packer = Packer(topics=topics, line="x", clock=FakeClock())
        self.under_way: list[tuple[KafkaPosition, frozenset[str]]] = []
        self.sink = TransactionalKafkaSink(
            packer,
            producer=self.producer,  # type: ignore[arg-type]
            owns=self._owns,
            group=self._group,
            unfinished=lambda: self.under_way,
        )

    def _owns(self, position: KafkaPosition) -> bool:
        self.told.append("owns")
        return position.partition not in self.lost

    def _group(self) -> Any:
        self.told.append("group")
        return Group(self.generation)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def at(offset: int, *, partition: int = 0, roi_id: str = "full", n_regions: int = 1) -> Prediction:
    """The prediction for one message."""
    made = make_prediction(offset, source_id=f"cap-{partition}")
    position = KafkaPosition("frames", partition, offset, 1, 0, None, ())
    ref = replace(made.ref, position=position, roi_id=roi_id, n_regions=n_regions, carrier="topic", ticket=offset)
    return replace(made, ref=ref)


def ids(*predictions: Prediction) -> list[str]:
    return [one.ref.event_id for one in predictions]


def test_results_go_with_one_past_their_last_offset(bench: Bench) -> None:
    batch = [at(4), at(5), at(9, partition=1)]
    bench.sink.deliver(batch)
    assert bench.producer.results == ids(*batch)
    assert bench.producer.offsets == {("frames", 0): 6, ("frames", 1): 10}


def test_the_group_is_looked_up_before_what_is_ours(bench: Bench) -> None:
    bench.sink.deliver([at(0)])
    assert bench.told == ["group", "owns"]


def test_what_a_partition_that_left_has_brought_is_left_to_its_new_owner(bench: Bench) -> None:
    bench.lost = {1}
    bench.sink.deliver([at(0), at(7, partition=1)])
    assert bench.producer.results == ids(at(0))
    assert bench.producer.offsets == {("frames", 0): 1}


def test_out_of_the_group_nothing_is_sent(bench: Bench) -> None:
    bench.generation = -1
    with pytest.raises(SinkError, match="expelled"):
        bench.sink.deliver([at(0)])
    assert bench.producer.results == []
    bench.lost = {0}  # as the source finds out when it joins again
    bench.generation = 3
    bench.sink.deliver([at(0)])
    assert bench.producer.results == []


def test_a_refused_transaction_is_tried_again_whole(bench: Bench) -> None:
    bench.producer.refuses = 1
    with pytest.raises(SinkError):
        bench.sink.deliver([at(0), at(1)])
    bench.generation = 2
    bench.sink.deliver([at(0), at(1)])
    assert bench.producer.results == ids(at(0), at(1))
    assert bench.producer.generations == [2]


def test_a_transaction_that_went_through_unheard_is_not_sent_again(bench: Bench) -> None:
    bench.producer.forgets = 1
    with pytest.raises(SinkError):
        bench.sink.deliver([at(0), at(3, partition=1)])
    bench.sink.deliver([at(0), at(3, partition=1)])
    bench.sink.deliver([at(1)])
    assert bench.producer.results == ids(at(0), at(3, partition=1), at(1))


def test_only_after_a_failure_the_broker_is_asked(bench: Bench) -> None:
    bench.sink.deliver([at(0)])
    bench.sink.deliver([at(1)])
    assert bench.producer.n_asked == 0
    bench.producer.refuses = 1
    with pytest.raises(SinkError):
        bench.sink.deliver([at(2)])
    bench.sink.deliver([at(2)])
    bench.sink.deliver([at(3)])
    assert bench.producer.n_asked == 1


def test_a_letter_goes_with_its_offset(bench: Bench) -> None:
    one = at(2)
    bench.sink.dead_letter(DeadLetter("cap-0", "cut", "expected more", b"\xff", one.ref))
    assert bench.producer.results == ids(one)
    assert bench.producer.offsets == {("frames", 0): 3}


def test_a_picture_waits_for_its_last_region_and_so_does_its_offset(bench: Bench) -> None:
    left, right = (at(1, roi_id=name, n_regions=2) for name in ("left", "right"))
    bench.under_way = [(left.ref.position, frozenset({"left", "right"}))]
    bench.sink.deliver([at(0), left])
    assert bench.producer.offsets == {("frames", 0): 1}
    bench.under_way = [(left.ref.position, frozenset({"right"}))]
    bench.sink.deliver([right])
    assert bench.producer.results == ids(at(0), left, right)
    assert bench.producer.offsets == {("frames", 0): 2}


def test_regions_that_were_held_survive_a_refusal(bench: Bench) -> None:
    left, right = (at(0, roi_id=name, n_regions=2) for name in ("left", "right"))
    bench.under_way = [(left.ref.position, frozenset({"left", "right"}))]
    bench.sink.deliver([left])
    bench.under_way = [(left.ref.position, frozenset({"right"}))]
    bench.producer.refuses = 1
    with pytest.raises(SinkError):
        bench.sink.deliver([right])
    bench.sink.deliver([right])
    assert bench.producer.results == ids(left, right)


def part(*offsets: int) -> Prediction:
    """The one decision of several messages."""
    first, *others = (at(offset) for offset in offsets)
    return replace(first, members=(first.ref, *(one.ref for one in others)))


def under_way(*offsets: int) -> list[tuple[KafkaPosition, frozenset[str]]]:
    return [(at(offset).ref.position, frozenset({"full"})) for offset in offsets]


def test_a_part_goes_with_the_offsets_of_all_its_frames(bench: Bench) -> None:
    bench.sink.deliver([part(3, 4, 6), at(5)])
    assert bench.producer.results == ids(at(3), at(5))
    assert bench.producer.offsets == {("frames", 0): 7}


def test_what_lies_behind_a_frame_of_an_open_part_waits_for_it(bench: Bench) -> None:
    bench.under_way = under_way(3, 4, 5)  # 3 belongs to a part that is open
    bench.sink.deliver([at(4), at(5)])
    assert bench.producer.results == []
    bench.under_way = under_way(3, 6)
    bench.sink.deliver([part(3, 6)])
    assert bench.producer.results == ids(at(4), at(5), at(3))
    assert bench.producer.offsets == {("frames", 0): 7}


def test_no_transaction_ends_inside_a_part(bench: Bench) -> None:
    bench.under_way = under_way(1, 2, 3, 4)
    bench.sink.deliver([at(1), part(2, 4)])  # 3 is under way, so 2 and 4 wait, and 1 need not
    assert bench.producer.results == ids(at(1))
    assert bench.producer.offsets == {("frames", 0): 2}
    bench.under_way = under_way(3)
    bench.sink.deliver([at(3)])
    assert bench.producer.results == ids(at(1), at(2), at(3))
    assert bench.producer.offsets == {("frames", 0): 5}


def test_what_waited_for_a_frame_that_was_dropped_goes_when_nothing_comes(bench: Bench) -> None:
    bench.under_way = under_way(3, 4)
    bench.sink.deliver([at(4)])
    bench.under_way = []  # 3 came too late for its part
    bench.sink.flush()
    assert bench.producer.results == ids(at(4))


def test_another_partition_does_not_wait(bench: Bench) -> None:
    bench.under_way = under_way(3)
    bench.sink.deliver([at(4), at(9, partition=1)])
    assert bench.producer.results == ids(at(9, partition=1))


def test_a_part_of_which_a_frame_is_no_longer_ours_is_left_to_its_new_owner(bench: Bench) -> None:
    bench.lost = {0}
    bench.sink.deliver([part(3, 4), at(9, partition=1)])
    assert bench.producer.results == ids(at(9, partition=1))


def test_parts_that_overlap_without_end_are_refused_before_they_fill_the_memory(bench: Bench) -> None:
    bench.under_way = under_way(0)
    with pytest.raises(SinkError, match="a partition of its own, or use delivery: at_least_once"):
        bench.sink.deliver([at(offset) for offset in range(1, 20_002)])
