"""Charts: state is small, exact, and does not depend on how the parts came."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adaptation.drift.blocks import CHARTS
from pipeline.adaptation.drift.charts import ChartReading, Charts
from pipeline.adaptation.drift.profile import ReferenceProfile
from pipeline.errors import DataError
from tests.adaptation.streams import Camera, Drift
from tests.adaptation.trials import world

BLOCK = 64
World = tuple[Camera, ReferenceProfile]
SMALL = world(0)  # one for all examples of the property test


def fed(profile: ReferenceProfile, x: np.ndarray, p: np.ndarray, *, batch: int) -> tuple[Charts, list[ChartReading]]:
    charts, readings = Charts(profile), []
    for at in range(0, len(x), batch):
        readings += charts.update(x[at : at + batch], probabilities=p[at : at + batch])
    return charts, readings


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.permutations(range(BLOCK)), st.permutations(range(BLOCK)))
def test_parts_in_another_order_within_a_block_leave_an_identical_state(first: list[int], second: list[int]) -> None:
    x, p, _ = SMALL[0].branch(1).parts(2 * BLOCK + 10)
    order = [*first, *(BLOCK + i for i in second), *range(2 * BLOCK, 2 * BLOCK + 10)]
    one, _ = fed(SMALL[1], x, p, batch=len(x))
    other, _ = fed(SMALL[1], x[order], p[order], batch=len(x))
    assert one.snapshot() == other.snapshot()


@pytest.mark.parametrize("batch", [1, 7, 64, 100, 1_000])
def test_any_batches_give_the_same_readings(line: World, batch: int) -> None:
    x, p, _ = line[0].branch(2).parts(1_000)
    reference, whole = fed(line[1], x, p, batch=1_000)
    charts, pieces = fed(line[1], x, p, batch=batch)
    assert [r.block for r in pieces] == list(range(1, 16))
    assert charts.snapshot() == reference.snapshot()
    assert np.array([r.statistics for r in pieces]) == pytest.approx(np.array([r.statistics for r in whole]))


def test_the_state_is_at_most_a_kilobyte_and_does_not_grow(line: World) -> None:
    x, p, _ = line[0].branch(3).parts(5_000)
    charts, _ = fed(line[1], x[:100], p[:100], batch=100)
    before = charts.state_bytes
    charts.update(x, probabilities=p)
    assert charts.state_bytes == before <= 1_024


def test_a_snapshot_through_json_goes_on_exactly(line: World) -> None:
    x, p, _ = line[0].branch(4).parts(1_000)
    whole, readings = fed(line[1], x, p, batch=500)
    half, first = fed(line[1], x[:500], p[:500], batch=500)
    restored = Charts.restored(line[1], snapshot=json.loads(json.dumps(half.snapshot())))
    assert first + restored.update(x[500:], probabilities=p[500:]) == readings
    assert restored.snapshot() == whole.snapshot()


def test_a_snapshot_of_another_reference_is_refused(lines: list[World]) -> None:
    snapshot = Charts(lines[0][1]).snapshot()
    with pytest.raises(DataError, match="expected a snapshot of reference"):
        Charts.restored(lines[1][1], snapshot=snapshot)


def test_parts_that_are_not_finite_are_left_out_and_counted(line: World) -> None:
    x, p, _ = line[0].branch(5).parts(130)
    broken_x, broken_p = np.insert(x, 10, np.nan, axis=0), np.insert(p, 10, 0.1, axis=0)
    broken_p[100] = np.nan
    charts, _ = fed(line[1], broken_x, broken_p, batch=131)
    other, _ = fed(line[1], np.delete(x, 99, axis=0), np.delete(p, 99, axis=0), batch=129)
    assert charts.n_unusable == 2
    assert charts.snapshot() | {"n_unusable": 0} == other.snapshot()


def test_embeddings_of_another_width_are_refused_and_change_nothing(line: World) -> None:
    charts = Charts(line[1])
    before = charts.snapshot()
    with pytest.raises(DataError, match=r"expected embeddings \(n, 64\)"):
        charts.update(np.zeros((5, 32), np.float32), probabilities=np.zeros((5, 8), np.float32))
    assert charts.snapshot() == before


def test_no_parts_are_no_news(line: World) -> None:
    charts = Charts(line[1])
    assert charts.update(np.zeros((0, 64), np.float16), probabilities=np.zeros((0, 8), np.float32)) == []


def test_a_blur_lowers_the_expected_accuracy_and_raises_the_far_share(line: World) -> None:
    x, p, _ = line[0].branch(6).parts(3_000, drift=Drift(blur=0.5))
    last = fed(line[1], x, p, batch=3_000)[1][-1]
    assert last.expected_accuracy < line[1].expected_accuracy - 0.02
    assert last.far_share > 0.3
    assert not last.rising[CHARTS.index("confidence")]
