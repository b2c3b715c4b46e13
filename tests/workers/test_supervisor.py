"""Threads end in flow order, a dead one ends the process with its cause, and a late one is named."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from pipeline.errors import ShutdownTimeout, SourceError, WorkerDied
from tests.fakes import FakeClock
from workers.clock import SystemClock
from workers.supervisor import Stage, Supervisor


def waiting_stage(name: str, order: list[str]) -> Stage:
    stop = threading.Event()

    def run() -> None:
        stop.wait(10)
        order.append(name)

    return Stage(name, [run], stop.set)


def wait_for(stop: threading.Event) -> Callable[[], None]:
    """A thread that ends when told."""

    def run() -> None:
        stop.wait(10)

    return run


def test_stages_end_in_the_order_in_which_frames_flow() -> None:
    order: list[str] = []
    stages = [waiting_stage(name, order) for name in ("capture", "inference", "publish")]
    supervisor = Supervisor(stages, clock=SystemClock())
    supervisor.start()
    supervisor.drain(timeout_s=5)
    assert order == ["capture", "inference", "publish"]


def test_a_dead_thread_is_noticed_and_its_cause_is_raised() -> None:
    def die() -> None:
        raise RuntimeError("the device is gone")

    supervisor = Supervisor(
        [waiting_stage("capture", []), Stage("inference", [die], lambda: None)], clock=SystemClock()
    )
    supervisor.start()
    supervisor.wait(5)
    assert supervisor.finished
    with pytest.raises(WorkerDied, match="inference-0 died: RuntimeError: the device is gone") as caught:
        supervisor.drain(timeout_s=5)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_the_end_of_a_stage_closes_the_next_one_by_itself() -> None:
    stop = threading.Event()
    second = Stage("inference", [wait_for(stop)], stop.set)
    supervisor = Supervisor([Stage("capture", [lambda: None] * 3, lambda: None), second], clock=SystemClock())
    supervisor.start()
    assert stop.wait(5)
    supervisor.drain(timeout_s=5)


def test_a_dead_thread_closes_every_stage_so_that_nobody_waits_for_it() -> None:
    def die() -> None:
        raise RuntimeError("the device is gone")

    order: list[str] = []
    stages = [waiting_stage("capture", order), Stage("inference", [die], lambda: None), waiting_stage("publish", order)]
    supervisor = Supervisor(stages, clock=SystemClock())
    supervisor.start()
    for threads in supervisor._threads.values():
        for thread in threads:
            thread.join(5)
            assert not thread.is_alive()
    assert sorted(order) == ["capture", "publish"]


def test_an_error_that_says_what_to_do_is_raised_as_it_is() -> None:
    def die() -> None:
        raise SourceError("line.mp4: no such file")

    supervisor = Supervisor([Stage("capture", [die], lambda: None)], clock=SystemClock())
    supervisor.start()
    with pytest.raises(SourceError, match="no such file"):
        supervisor.drain(timeout_s=5)


def test_the_line_is_finished_when_all_sources_have_ended() -> None:
    supervisor = Supervisor([Stage("capture", [lambda: None] * 3, lambda: None)], clock=SystemClock())
    supervisor.start()
    supervisor.drain(timeout_s=5)
    assert supervisor.finished
    assert supervisor.failure is None


def test_a_stage_that_is_late_is_asked_to_give_up() -> None:
    stop = threading.Event()
    late = Stage("publish", [wait_for(stop)], lambda: None, stop.set)
    supervisor = Supervisor([late], clock=SystemClock())
    supervisor.start()
    supervisor.drain(timeout_s=0.01)
    assert stop.is_set()


def test_a_thread_that_never_ends_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.supervisor.GRACE_S", 0.01)
    stop = threading.Event()
    supervisor = Supervisor([Stage("publish", [wait_for(stop)], lambda: None)], clock=SystemClock())
    supervisor.start()
    with pytest.raises(ShutdownTimeout, match="still running: publish-0"):
        supervisor.drain(timeout_s=0.01)
    stop.set()


def test_the_time_for_last_words_is_part_of_the_time_for_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float | None] = []
    stop = threading.Event()
    stages = [
        Stage("capture", [wait_for(stop)], lambda: None),
        Stage("publish", [wait_for(stop)], lambda: None, grace_s=3.0),
    ]
    supervisor = Supervisor(stages, clock=FakeClock())
    supervisor.start()
    monkeypatch.setattr(threading.Thread, "join", lambda self, timeout: waits.append(timeout))
    with pytest.raises(ShutdownTimeout, match="capture-0, publish-0"):
        supervisor.drain(timeout_s=10.0)
    assert waits == [6.0, 1.0, 7.0, 3.0]
    with pytest.raises(ShutdownTimeout):
        supervisor.drain(timeout_s=2.0)  # too short for all of it: a quarter of it is left for the work
    assert waits[4:] == [0.5, 1.0, 0.875, 3.0]
    stop.set()
