"""What every peer's script shares; standard library only, because it runs in the peer's own environment."""

import json
import resource
import time

SIDE = 224
SLEEP_BATCH_S = 0.010  # of the sleeping encoder, per batch; the same figures as in workers/bench/host_cost.py
SLEEP_ROW_S = 0.010  # per picture


def encode(n: int) -> list[int]:
    """The encoder of all contestants: it only takes its time."""
    time.sleep(SLEEP_BATCH_S + SLEEP_ROW_S * n)
    return [0] * n


def cpu_s() -> float:
    """User and system seconds of this process, all threads, and of children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def report(**figures: float) -> None:
    """The last line of a script."""
    print(json.dumps(figures), flush=True)
