"""A line between two topics, in processes of its own, while its broker and its workers die, come and go.

The full size of it: `python -m tests.benchmarks.kafka_faults --size full`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kafka_faults import FaultRun, Outcome, Plan
from tests.servers.kafka import KafkaBroker


def run(broker: KafkaBroker, *, plan: Plan, folder: Path) -> Outcome:
    """Every frame has its one result, every poison its letter, every camera its order."""
    with FaultRun(broker, plan=plan, folder=folder) as one:
        outcome = one.run()
    assert outcome.faults == dict.fromkeys(outcome.faults, 0)
    assert set(outcome.exit_codes) <= {0, -9}
    return outcome


@pytest.mark.parametrize(("delivery", "worker_kills", "visits"), [("at_least_once", 1, 1), ("exactly_once", 1, 0)])
def test_nothing_is_lost_when_broker_and_workers_are_killed(
    kafka_broker: KafkaBroker, tmp_path: Path, delivery: str, worker_kills: int, visits: int
) -> None:
    plan = Plan(n_frames=2000, delivery=delivery, broker_kills=1, worker_kills=worker_kills, visits=visits)
    outcome = run(kafka_broker, plan=plan, folder=tmp_path)
    assert outcome.exit_codes[-9] == worker_kills
    if delivery == "exactly_once":
        assert outcome.n_duplicates == 0
        assert outcome.n_letter_duplicates == 0


def test_a_worker_that_comes_and_goes_in_order_causes_no_duplicate(kafka_broker: KafkaBroker, tmp_path: Path) -> None:
    plan = Plan(n_frames=1500, visits=1, encoder_s=0.001)
    outcome = run(kafka_broker, plan=plan, folder=tmp_path)
    assert (outcome.n_duplicates, outcome.n_letter_duplicates) == (0, 0)
