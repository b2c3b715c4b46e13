"""The simulation behind SIZING.md shares partitions and places cameras as kafka-python does, and adds up."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyAssignmentExecutor, StickyAssignorMemberMetadataV1
from kafka.partitioner import DefaultPartitioner
from kafka.structs import TopicPartition

from tests.benchmarks.sizing import (
    Group,
    Plant,
    after_failure,
    camera_name,
    camera_places,
    camera_rates,
    simulate,
    worker_loads,
)

TOPIC = "clearline.frames.v1"
SIZES = [(16, 4), (24, 5), (30, 7), (12, 12)]  # partitions, workers


def topic_of(n_partitions: int) -> SimpleNamespace:
    """What the client's parts ask of a cluster."""
    numbers = set(range(n_partitions))
    return SimpleNamespace(
        topics=lambda: {TOPIC},
        partitions_for_topic=lambda _: numbers,
        available_partitions_for_topic=lambda _: numbers,
    )


def as_kafka_shares(owned: dict[int, list[int]], *, n_partitions: int) -> dict[int, set[int]]:
    """What kafka-python's assignor makes of a group whose members own this now."""
    cluster = topic_of(n_partitions)
    members = {
        f"member-{worker:04d}": StickyAssignorMemberMetadataV1(
            partitions=[TopicPartition(TOPIC, one) for one in mine], generation=1 if mine else -1, subscription=[TOPIC]
        )
        for worker, mine in owned.items()
    }
    executor = StickyAssignmentExecutor(cluster, members)
    executor.perform_initial_assignment()
    executor.balance()
    return {
        worker: {one for _, ones in executor.get_final_assignment(f"member-{worker:04d}") for one in ones}
        for worker in owned
    }


def counts(owned: dict[int, list[int]] | dict[int, set[int]]) -> list[int]:
    return sorted(map(len, owned.values()))


@pytest.mark.parametrize(("n_partitions", "n_workers"), SIZES)
def test_a_new_group_shares_partitions_as_kafka_does(n_partitions: int, n_workers: int) -> None:
    group = Group.fresh(n_partitions=n_partitions, n_workers=n_workers)
    kafka = as_kafka_shares({worker: [] for worker in range(n_workers)}, n_partitions=n_partitions)
    assert {worker: set(owned) for worker, owned in group.owned.items()} == kafka


@pytest.mark.parametrize(("n_partitions", "n_workers"), SIZES)
def test_only_the_partitions_of_a_dead_worker_move_as_in_kafka(n_partitions: int, n_workers: int) -> None:
    group = Group.fresh(n_partitions=n_partitions, n_workers=n_workers)
    orphans = set(group.fail(1))
    survivors = {worker: [one for one in owned if one not in orphans] for worker, owned in group.owned.items()}
    kafka = as_kafka_shares(survivors, n_partitions=n_partitions)
    assert counts(group.owned) == counts(kafka)
    assert all(set(mine) <= kafka[worker] for worker, mine in survivors.items())


@pytest.mark.parametrize(("n_partitions", "n_workers"), [(16, 3), (24, 5), (30, 6)])
def test_a_worker_that_joins_takes_its_share_and_no_more_as_in_kafka(n_partitions: int, n_workers: int) -> None:
    group = Group.fresh(n_partitions=n_partitions, n_workers=n_workers)
    before = {worker: set(owned) for worker, owned in group.owned.items()}
    kafka = as_kafka_shares({**{w: sorted(owned) for w, owned in before.items()}, 99: []}, n_partitions=n_partitions)
    moved = group.join(99)
    assert counts(group.owned) == counts(kafka)
    assert len(moved) == len(kafka[99])
    assert all(kafka[worker] <= owned for worker, owned in before.items())


def test_cameras_are_placed_as_the_producer_places_them() -> None:
    names = [camera_name(index, seed=4) for index in range(1000)]
    partitioner, cluster = DefaultPartitioner(), topic_of(7)
    kafka = [partitioner.partition(TOPIC, name, name.encode(), None, None, cluster) for name in names]
    assert [place % 7 for place in camera_places(1000, placement="hashed", seed=4)] == kafka


@pytest.mark.parametrize("kind", ["equal", "skewed"])
def test_no_frame_is_lost_between_cameras_partitions_and_workers(kind: str) -> None:
    plant = Plant(
        places=camera_places(300, placement="hashed", seed=3), rates=camera_rates(300, fps=2.0, kind=kind, seed=3)
    )
    group = Group.fresh(n_partitions=40, n_workers=9)
    assert sum(worker_loads(group, partitions=plant.loads(40)).values()) == pytest.approx(600.0)
    group.fail(4)
    assert sum(worker_loads(group, partitions=plant.loads(40)).values()) == pytest.approx(600.0)


def test_several_partitions_per_worker_spread_the_load_of_a_dead_one() -> None:
    single = after_failure([10.0] * 8, n_workers=8, worker_fps=15.0)
    several = after_failure([2.5] * 32, n_workers=8, worker_fps=15.0)
    assert single["max_load_after_failure"] == 20.0
    assert several["max_load_after_failure"] == 12.5
    assert single["catch_up_s"] == float("inf")
    assert several["catch_up_s"] == pytest.approx(45 * 2.5 / (15.0 - 12.5))


def test_the_busiest_worker_stays_below_the_utilisation_asked_for() -> None:
    found = simulate(200, fps=1.0, placement="hashed", rates="equal", worker_fps=50.0, each=4, utilisation=0.6)
    assert found is not None
    assert found.max_load <= 30.0
    assert found.n_workers >= 200 / 30.0


def test_a_camera_that_no_worker_can_carry_is_said_and_not_sized() -> None:
    assert simulate(10, fps=9.0, placement="dealt", rates="equal", worker_fps=9.4, each=4, utilisation=0.7) is None
