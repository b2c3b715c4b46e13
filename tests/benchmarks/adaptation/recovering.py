"""(b) Blur that costs accuracy: accuracy before, during and after, by labels, with and without the unlabelled pool."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.errors import DataError
from tests.benchmarks.adaptation.rows import Row
from workers.commands.drift_demo import Outcome, play

SECONDS = 1_500.0


def rows(numbers: list[int], *, say: Callable[[str], None]) -> Iterator[Row]:
    """One row per number of labels to teach and pool."""
    for labels in numbers:
        for pool in (True, False):
            with TemporaryDirectory() as folder:
                try:
                    outcome, _ = play(Path(folder), seconds=SECONDS, labels=labels, pool=pool, blur=0.5, say=say)
                except DataError as error:
                    yield Row("b", _what(labels, pool=pool), "promoted", f"not in time: {error}"[:160], False)
                    continue
            yield _row(outcome, pool=pool)


def _what(labels: int, *, pool: bool) -> str:
    return f"blur 0.5, {labels} labels to teach, {'with' if pool else 'without'} the pool"


def _row(told: Outcome, *, pool: bool) -> Row:
    accuracy = f"{told.accuracy_before:.1%} -> {told.accuracy_during:.1%} -> {told.accuracy_after:.1%}"
    head = "no head promoted" if told.promoted_version is None else f"head {told.promoted_version} promoted"
    measured = (
        f"alarm after {told.detected_after_parts}, {told.cause}; {head}; {accuracy}; {told.labels} answers in all"
    )
    better = told.promoted_version is not None and told.accuracy_after > told.accuracy_during
    required = told.labels_to_teach >= 64 and pool
    return Row(
        "b",
        _what(told.labels_to_teach, pool=pool),
        "better head" if required else "told",
        measured,
        better if required else None,
    )
