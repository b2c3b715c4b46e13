"""Every frame ends once, and only finished prefixes are acknowledged."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.making import make_ref
from workers.ledger import Ledger


def ledger_with_acks() -> tuple[Ledger, list[object]]:
    acks: list[object] = []
    ledger = Ledger()
    ledger.register("cap-01", ack=acks.append)
    return ledger, acks


def test_the_balance_is_zero_while_frames_are_in_flight() -> None:
    ledger, _ = ledger_with_acks()
    refs = [make_ref(sequence) for sequence in range(5)]
    for ref in refs:
        ledger.captured((ref,))
    ledger.delivered(refs[0])
    ledger.dropped(refs[1], reason="queue_full")
    ledger.dead_lettered(refs[2], reason="undecodable")
    counts = ledger.counts()["cap-01"]
    assert (counts.captured, counts.delivered, counts.in_flight, counts.error) == (5, 1, 2, 0)
    assert counts.dropped == {"queue_full": 1}
    assert counts.dead_lettered == {"undecodable": 1}


def test_a_frame_that_ends_twice_shows_as_an_error() -> None:
    ledger, _ = ledger_with_acks()
    ref = make_ref(0)
    ledger.captured((ref,))
    ledger.delivered(ref)
    ledger.dropped(ref, reason="queue_full")
    assert ledger.total().error == -1


def test_a_frame_that_was_never_captured_shows_as_an_error() -> None:
    ledger, _ = ledger_with_acks()
    ledger.delivered(make_ref(3))
    assert ledger.total().error == -1


def test_acknowledgement_waits_for_everything_before_it() -> None:
    ledger, acks = ledger_with_acks()
    refs = [make_ref(sequence) for sequence in range(3)]
    for ref in refs:
        ledger.captured((ref,))
    ledger.delivered(refs[1])
    ledger.delivered(refs[2])
    assert acks == []
    ledger.delivered(refs[0])
    assert acks == [0, 1, 2]


def test_a_picture_is_acknowledged_after_its_last_region() -> None:
    ledger, acks = ledger_with_acks()
    left, right = make_ref(0, roi_id="left"), make_ref(0, roi_id="right")
    ledger.captured((left, right))
    ledger.delivered(left)
    assert acks == []
    ledger.dropped(right, reason="queue_full")
    assert acks == [0]


def test_skipped_frames_are_captured_and_dropped_at_once() -> None:
    ledger, _ = ledger_with_acks()
    ledger.skipped("cap-01", 3, reason="stale")
    total = ledger.total()
    assert (total.captured, total.dropped, total.in_flight, total.error) == (3, {"stale": 3}, 0, 0)


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["delivered", "dropped", "dead"])), max_size=10))
def test_any_order_of_ends_keeps_the_balance_and_the_order_of_acknowledgements(ends: list[tuple[int, str]]) -> None:
    ledger, acks = ledger_with_acks()
    open_refs = {sequence: make_ref(sequence) for sequence in range(10)}
    for ref in open_refs.values():
        ledger.captured((ref,))
    for sequence, end in ends:
        ref = open_refs.pop(sequence, None)
        if ref is None:
            continue
        if end == "delivered":
            ledger.delivered(ref)
        elif end == "dropped":
            ledger.dropped(ref, reason="queue_full")
        else:
            ledger.dead_lettered(ref, reason="undecodable")
    total = ledger.total()
    assert total.error == 0
    assert total.in_flight == len(open_refs)
    assert acks == list(range(min(open_refs, default=10)))
