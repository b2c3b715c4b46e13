"""Pools, contiguous runs and single events come out of the recording as a drift reference and a refit need them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import DataError
from tests.adaptation.support.making_support import NOW, unit
from tests.adaptation.support.test_recording import append, check_rows, reader, recorder, ref


def test_a_pool_is_thinned_evenly_over_its_span(tmp_path: Path) -> None:
    recording = recorder(tmp_path)
    for start in range(0, 200, 10):
        append(recording, [ref(start + i, source=f"cap-{i % 2}") for i in range(10)])
    pool = reader(tmp_path).pool(since=NOW + 100, source="cap-1", max_rows=3)
    expected = [unit(sequence).astype(np.float16) for sequence in (101, 149, 199)]
    np.testing.assert_array_equal(pool[[0, 2]], np.stack(expected)[[0, 2]])
    assert pool.shape == (3, 8)
    assert reader(tmp_path).pool(since=NOW, source="cap-1").shape == (100, 8)
    assert reader(tmp_path).pool(since=NOW + 1_000).shape == (0, 8)
    recording.close()


def test_a_run_ends_where_a_frame_is_missing(tmp_path: Path) -> None:
    recording = recorder(tmp_path)
    append(recording, [ref(i) for i in range(10)])
    append(recording, [ref(i) for i in range(11, 40)])
    runs = reader(tmp_path).runs(source="cap-01")
    assert [(run.first_sequence, run.last_sequence, run.n_frames) for run in runs] == [(0, 9, 10), (11, 39, 29)]
    (joined,) = reader(tmp_path).runs(source="cap-01", max_missing=1)
    assert (joined.n_frames, joined.first_at, joined.last_at) == (39, NOW, NOW + 39)
    assert [run.n_frames for run in reader(tmp_path).runs(source="cap-01", min_frames=20)] == [29]
    recording.close()


def test_a_run_ends_at_a_new_start_and_not_at_a_new_head(tmp_path: Path) -> None:
    recording = recorder(tmp_path)
    append(recording, [ref(i) for i in range(10)])
    append(recording, [ref(i) for i in range(10, 20)], head_version=4)
    append(recording, [ref(i, epoch=6) for i in range(20, 30)], head_version=4)
    runs = reader(tmp_path).runs(source="cap-01")
    assert [(run.epoch, run.n_frames) for run in runs] == [(5, 20), (6, 10)]
    assert len(reader(tmp_path).read_run(runs[0])) == 20
    recording.close()


def test_other_cameras_in_between_do_not_break_a_run(tmp_path: Path) -> None:
    recording = recorder(tmp_path)
    for start in range(50):
        append(recording, [ref(start), ref(start, source="cap-02"), ref(start, roi="left")])
    (run,) = reader(tmp_path).runs(source="cap-01")
    check_rows(reader(tmp_path).read_run(run), sequences=list(range(50)))
    assert reader(tmp_path).runs(source="cap-03") == ()
    recording.close()


def test_labelled_events_are_found_whatever_their_source_is_called(tmp_path: Path) -> None:
    recording = recorder(tmp_path)
    refs = [ref(i, source=("cap-01", "line-2-7")[i % 2], roi=("full", "left-2")[i % 2]) for i in range(100)]
    for start in range(0, 100, 10):
        append(recording, refs[start : start + 10])
    found = reader(tmp_path).find([refs[7].event_id, refs[42].event_id, "cap-01-5-7-full", "nobody"])
    assert sorted(found) == sorted([refs[7].event_id, refs[42].event_id])
    check_rows(found[refs[7].event_id], sequences=[7])
    assert found[refs[7].event_id].event_ids == (refs[7].event_id,)
    recording.close()


def test_no_recording_is_an_error_that_says_where(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rec: expected a folder with an embedding recording"):
        reader(tmp_path).frames()
