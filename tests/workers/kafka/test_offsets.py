"""What may be committed: only what has come to an end, of partitions that are still here."""

from __future__ import annotations

import itertools
import threading

import pytest

from pipeline.types import FrameRef
from tests.making import make_ref
from workers.kafka.message import KafkaPosition
from workers.kafka.offsets import OffsetBook
from workers.ledger import Ledger

A, B = ("frames", 0), ("frames", 1)


@pytest.fixture
def book() -> OffsetBook:
    made = OffsetBook(numbers=itertools.count(1))
    made.assign([A, B])
    return made


def hand_out(book: OffsetBook, *offsets: int, partition: tuple[str, int] = A) -> None:
    tenure = book.arrived(partition, offset=offsets[0])
    assert tenure is not None
    for _ in offsets:
        assert book.hand_out(partition, tenure=tenure)


def end(book: OffsetBook, offset: int, *, partition: tuple[str, int] = A) -> None:
    tenure = book.tenure(partition)
    assert tenure is not None
    book.ended(partition, offset=offset, tenure=tenure)


def test_a_commit_says_one_past_the_last_that_ended(book: OffsetBook) -> None:
    hand_out(book, 40, 41, 42)
    assert book.due() == {}
    end(book, 40)
    end(book, 41)
    assert book.due() == {A: 42}
    assert not book.wait_drained(timeout_s=0.0)


def test_what_is_committed_is_not_due_again_until_more_ends(book: OffsetBook) -> None:
    hand_out(book, 0, 1)
    end(book, 0)
    book.committed({A: 1})
    assert book.due() == {}
    end(book, 1)
    assert book.due() == {A: 2}


def test_partitions_are_counted_apart(book: OffsetBook) -> None:
    hand_out(book, 5)
    hand_out(book, 9, partition=B)
    end(book, 9, partition=B)
    assert (book.due(), book.due([A])) == ({B: 10}, {})
    assert not book.wait_drained(timeout_s=0.0, partitions=[A])
    assert book.wait_drained(timeout_s=0.0, partitions=[B])


def test_what_was_read_under_an_earlier_tenure_counts_for_nothing(book: OffsetBook) -> None:
    hand_out(book, 5)
    before = book.tenure(A)
    assert before is not None
    book.revoke([A])
    book.assign([A])
    assert book.tenure(A) != before
    book.ended(A, offset=5, tenure=before)
    assert book.due() == {}
    assert not book.hand_out(A, tenure=before)
    assert book.wait_drained(timeout_s=0.0)


def test_an_assignment_of_what_is_here_already_keeps_its_tenure(book: OffsetBook) -> None:
    hand_out(book, 5)
    book.assign([A, B])
    end(book, 5)
    assert book.due() == {A: 6}


def test_nothing_arrives_for_a_partition_that_has_left(book: OffsetBook) -> None:
    book.revoke([A])
    assert book.arrived(A, offset=0) is None
    assert book.tenure(A) is None


def test_the_next_offset_is_the_first_fetched_until_something_ended(book: OffsetBook) -> None:
    assert book.next_offset(A) is None
    hand_out(book, 7, 8)
    assert book.next_offset(A) == 7
    end(book, 7)
    assert book.next_offset(A) == 8


def test_a_wait_ends_with_the_last_message_that_is_out(book: OffsetBook) -> None:
    hand_out(book, 0)
    hand_out(book, 3, partition=B)
    assert not book.wait_drained(timeout_s=0.0, partitions=[A])
    ending = threading.Thread(target=end, args=(book, 0))
    ending.start()
    assert book.wait_drained(timeout_s=10.0, partitions=[A])
    assert not book.wait_drained(timeout_s=0.0)
    ending.join()


def test_a_wait_ends_when_the_partition_leaves(book: OffsetBook) -> None:
    hand_out(book, 0)
    book.revoke([A])
    assert book.wait_drained(timeout_s=0.0, partitions=[A])


def test_with_the_ledger_only_the_contiguous_prefix_is_due_and_nothing_after_a_line_cut_short(book: OffsetBook) -> None:
    ledger = Ledger()
    ledger.register("topic", ack=lambda position: end(book, position.offset))  # type: ignore[attr-defined]
    refs = [_ref(offset) for offset in range(4)]
    hand_out(book, 0, 1, 2, 3)
    for ref in refs:
        ledger.captured((ref,))
    ledger.delivered(refs[1])
    assert book.due() == {}
    ledger.delivered(refs[0])
    assert book.due() == {A: 2}
    ledger.dropped(refs[2], reason="shutdown")
    ledger.delivered(refs[3])
    assert book.due() == {A: 2}


def _ref(offset: int) -> FrameRef:
    position = KafkaPosition("frames", 0, offset, 1, 0, None, ())
    made = make_ref(offset)
    return FrameRef(
        source_id=made.source_id,
        epoch=made.epoch,
        sequence=offset,
        roi_id="full",
        captured_at=made.captured_at,
        capture_time_source="host",
        received_at=made.received_at,
        position=position,
        carrier="topic",
        ticket=offset,
    )
