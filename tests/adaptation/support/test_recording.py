"""The recording is appended to, bounded, read back exactly, and mended after a crash."""

from __future__ import annotations

import os
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adaptation.support.recording import EmbeddingRecording
from pipeline.adaptation.support.replaying import RecordedFrames, RecordingReader
from pipeline.adaptation.support.segments import record_type
from pipeline.errors import DataError, SinkError
from pipeline.types import EncoderInfo, FrameRef
from tests.adaptation.support.making_support import DAY, DIM, NOW, encoder, unit

SMALL = 4_096  # bytes of a segment in these tests


def recorder(folder: Path, **change: float) -> EmbeddingRecording:
    bounds = {"max_bytes": 1 << 20, "segment_bytes": SMALL, "max_age_s": DAY} | change
    return EmbeddingRecording(folder / "rec", encoder=encoder(), **bounds)  # type: ignore[arg-type]


def reader(folder: Path, *, info: EncoderInfo | None = None) -> RecordingReader:
    return RecordingReader(folder / "rec", encoder=info or encoder())


def ref(
    sequence: int, *, source: str = "cap-01", roi: str = "full", epoch: int = 5, at: float | None = None
) -> FrameRef:
    return FrameRef(source, epoch, sequence, roi, NOW + sequence if at is None else at, "host", 0.0)


def append(recording: EmbeddingRecording, refs: list[FrameRef], *, head_version: int = 3, at: float = NOW) -> None:
    numbers = np.asarray([one.sequence for one in refs])
    recording.append(
        refs,
        embeddings=np.stack([unit(one.sequence) for one in refs]),
        labels=numbers % 3,
        confidences=(numbers % 7 / 7).astype(np.float32),
        head_version=head_version,
        at=at,
    )


def check_rows(frames: RecordedFrames, *, sequences: list[int]) -> None:
    assert frames.records["sequence"].tolist() == sequences
    for row, sequence in zip(frames.embeddings, sequences, strict=True):
        np.testing.assert_array_equal(row, unit(sequence).astype(np.float16).astype(np.float32))
    assert frames.labels.tolist() == [s % 3 for s in sequences]


def test_what_is_appended_is_read_back_exactly(tmp_path: Path) -> None:
    refs = [ref(0), ref(1, source="cap-02", roi="left"), ref(2, source="a-b-c")]
    recording = recorder(tmp_path)
    append(recording, refs)
    frames = reader(tmp_path).frames()
    check_rows(frames, sequences=[0, 1, 2])
    assert frames.event_ids == tuple(one.event_id for one in refs)
    assert frames.captured_at.tolist() == [NOW, NOW + 1, NOW + 2]
    assert frames.head_versions.tolist() == [3, 3, 3]
    assert frames.confidences.tolist() == pytest.approx([0, 1 / 7, 2 / 7])
    recording.close()


def test_a_frame_takes_36_bytes_and_its_embedding(tmp_path: Path) -> None:
    assert record_type(512).itemsize == 36 + 2 * 512


def test_frames_are_found_by_time_source_roi_and_head(tmp_path: Path) -> None:
    recording = recorder(tmp_path)
    for start in range(0, 60, 6):
        refs = [ref(start + i, source=f"cap-{i % 2}", roi=("left", "right")[i % 3 == 0]) for i in range(6)]
        append(recording, refs, head_version=start // 30)
    read = reader(tmp_path)
    check_rows(read.frames(since=NOW + 10, until=NOW + 13), sequences=[10, 11, 12, 13])
    check_rows(read.frames(source="cap-1", until=NOW + 8), sequences=[1, 3, 5, 7])
    assert set(read.frames(roi="right").records["sequence"] % 3) == {0}
    assert len(read.frames(head_version=1)) == 30
    assert len(read.frames(source="nobody")) == 0
    recording.close()


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=20), max_size=12),
    st.integers(400, 2_000),
    st.integers(0, 3),
)
def test_any_batches_over_any_segments_and_restarts_come_back_in_order(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[str]], segment_bytes: int, restart_every: int
) -> None:
    folder, n = tmp_path_factory.mktemp("line"), 0
    recording = recorder(folder, segment_bytes=segment_bytes)
    for number, sources in enumerate(batches):
        append(recording, [ref(n + i, source=source) for i, source in enumerate(sources)])
        n += len(sources)
        if restart_every and number % restart_every == 0:
            recording.close()
            recording = recorder(folder, segment_bytes=segment_bytes)
    recording.close()
    frames = reader(folder).frames()
    check_rows(frames, sequences=list(range(n)))
    assert frames.event_ids == tuple(
        ref(i, source=s).event_id for i, s in enumerate(s for batch in batches for s in batch)
    )


def test_the_oldest_segments_go_when_the_bytes_are_used_up(tmp_path: Path) -> None:
    recording = recorder(tmp_path, max_bytes=5 * SMALL)
    for start in range(0, 2_000, 16):
        append(recording, [ref(start + i) for i in range(16)])
        on_disk = sum(path.stat().st_size for path in (tmp_path / "rec").glob("*.rec"))
        assert recording.n_bytes == on_disk
        assert on_disk <= 5 * SMALL + 16 * record_type(DIM).itemsize + 200
    assert recording.n_removed_segments > 10
    kept = reader(tmp_path).frames().records["sequence"]
    assert kept.tolist() == list(range(int(kept[0]), 2_000)), "what is left is the newest, without a hole"
    assert len(kept) > 100
    recording.close()


def test_segments_beyond_the_age_go(tmp_path: Path) -> None:
    recording = recorder(tmp_path)
    for start in range(0, 320, 16):
        append(recording, [ref(start + i) for i in range(16)])
    append(recording, [ref(9_000, at=NOW + 3 * DAY)], at=NOW + 3 * DAY)
    recording.close()
    recording = recorder(tmp_path)
    append(recording, [ref(9_001, at=NOW + 3 * DAY)], at=NOW + 3 * DAY)
    assert reader(tmp_path).frames().records["sequence"][-2:].tolist() == [9_000, 9_001]
    assert recording.n_segments <= 2
    recording.close()


def test_a_camera_clock_that_jumps_ahead_removes_nothing(tmp_path: Path) -> None:
    recording = recorder(tmp_path)
    for start in range(0, 320, 16):
        append(recording, [ref(start + i, at=NOW + 10_000 * DAY * (start == 160)) for i in range(16)])
    assert recording.n_removed_segments == 0
    recording.close()


@pytest.mark.parametrize("cut", [1, 30, 33, 40, 400])
def test_a_torn_tail_is_cut_and_the_rest_kept(tmp_path: Path, cut: int) -> None:
    recording = recorder(tmp_path)
    for start in range(0, 48, 16):
        append(recording, [ref(start + i) for i in range(16)])
    recording.close()
    (path,) = (tmp_path / "rec").glob("*.rec")
    os.truncate(path, path.stat().st_size - cut)
    mended = recorder(tmp_path)
    assert mended.n_cut_bytes > 0
    append(mended, [ref(100)])
    mended.close()
    check_rows(reader(tmp_path).frames(), sequences=[*range(32), 100])


def test_a_last_block_of_the_right_length_and_wrong_content_is_cut(tmp_path: Path) -> None:
    recording = recorder(tmp_path)
    for start in range(0, 32, 16):
        append(recording, [ref(start + i) for i in range(16)])
    recording.close()
    (path,) = (tmp_path / "rec").glob("*.rec")
    path.write_bytes(path.read_bytes()[:-300] + bytes(300))
    mended = recorder(tmp_path)
    mended.close()
    assert mended.n_cut_bytes == 32 + 16 * record_type(DIM).itemsize
    check_rows(reader(tmp_path).frames(), sequences=list(range(16)))


def test_zeros_after_a_power_cut_are_cut(tmp_path: Path) -> None:
    recording = recorder(tmp_path)
    append(recording, [ref(i) for i in range(16)])
    recording.close()
    (path,) = (tmp_path / "rec").glob("*.rec")
    with path.open("ab") as file:
        file.write(bytes(500))
    mended = recorder(tmp_path)
    assert mended.n_cut_bytes == 500
    mended.close()
    check_rows(reader(tmp_path).frames(), sequences=list(range(16)))


def test_a_damaged_block_is_left_out_and_counted(tmp_path: Path) -> None:
    recording = recorder(tmp_path)
    for start in range(0, 48, 16):
        append(recording, [ref(start + i) for i in range(16)])
    recording.close()
    (path,) = (tmp_path / "rec").glob("*.rec")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    recorder(tmp_path).close()  # opening cuts nothing that is followed by whole blocks
    read = reader(tmp_path)
    check_rows(read.frames(), sequences=[*range(16), *range(32, 48)])
    assert read.n_corrupt == 1


def test_a_segment_torn_in_its_first_bytes_does_not_stop_the_line(tmp_path: Path) -> None:
    recorder(tmp_path).close()
    (tmp_path / "rec" / "000000000009.rec").write_bytes(b"CLRR")
    recording = recorder(tmp_path)
    append(recording, [ref(0)])
    assert len(reader(tmp_path).frames()) == 1
    recording.close()


def test_starting_again_and_again_leaves_no_heap_of_segments(tmp_path: Path) -> None:
    for _ in range(10):
        recorder(tmp_path).close()
    assert len(list((tmp_path / "rec").glob("*.rec"))) == 1


def test_another_encoder_records_beside_and_is_not_read_together(tmp_path: Path) -> None:
    recording = recorder(tmp_path)
    append(recording, [ref(0)])
    recording.close()
    other = replace(encoder(), sha256="b" * 64)
    second = EmbeddingRecording(tmp_path / "rec", encoder=other, max_bytes=1 << 20, segment_bytes=SMALL)
    append(second, [ref(1)])
    second.close()
    check_rows(reader(tmp_path).frames(), sequences=[0])
    check_rows(reader(tmp_path, info=other).frames(), sequences=[1])


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    recording = recorder(tmp_path)
    with pytest.raises(DataError, match="expected to be the only writer"):
        recorder(tmp_path)
    recording.close()
    recorder(tmp_path).close()


def test_a_reader_beside_the_writer_sees_whole_batches(tmp_path: Path) -> None:
    recording, read = recorder(tmp_path), reader(tmp_path)
    for start in range(0, 320, 16):
        append(recording, [ref(start + i) for i in range(16)])
        assert len(read.frames()) == start + 16
        assert read.n_corrupt == 0
    recording.close()


def test_a_full_disk_is_an_error_with_advice_and_leaves_no_half_batch(tmp_path: Path) -> None:
    recording = recorder(tmp_path, segment_bytes=1 << 19)
    append(recording, [ref(i) for i in range(16)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (recording.n_bytes + 100, hard))
    try:
        with pytest.raises(SinkError, match="cannot write: No space left on device; free space"):
            append(recording, [ref(16 + i) for i in range(16)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    append(recording, [ref(100)])
    check_rows(reader(tmp_path).frames(), sequences=[*range(16), 100])
    recording.close()


def test_rows_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    recording = recorder(tmp_path)
    with pytest.raises(DataError, match="expected 1 rows of 8 values"):
        recording.append(
            [ref(0)],
            embeddings=np.zeros((2, DIM), np.float32),
            labels=np.zeros(1, np.int64),
            confidences=np.zeros(1, np.float32),
            head_version=1,
            at=NOW,
        )
    recording.close()
    with pytest.raises(DataError, match="frames after close"):
        append(recording, [ref(0)])


def test_too_small_a_bound_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least two segments"):
        recorder(tmp_path, max_bytes=SMALL)


def test_a_segment_that_cannot_be_begun_is_an_error_and_the_next_append_tries_again(tmp_path: Path) -> None:
    recording = recorder(tmp_path)
    while recording.n_bytes < SMALL:
        append(recording, [ref(i) for i in range(16)])
    shutil.rmtree(tmp_path / "rec")
    for _ in range(2):
        with pytest.raises(SinkError, match="cannot write: No such file or directory"):
            append(recording, [ref(50)])
    (tmp_path / "rec").mkdir()
    append(recording, [ref(51)])
    check_rows(reader(tmp_path).frames(), sequences=[51])
    recording.close()
    recording.close()


def test_embeddings_that_may_not_be_written_to_are_recorded_too(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    recording, row = recorder(tmp_path), unit(0)[None]
    row.flags.writeable = False
    none, sure = np.zeros(1, np.int64), np.ones(1, np.float32)
    recording.append([ref(0)], embeddings=row, labels=none, confidences=sure, head_version=1, at=NOW)
    check_rows(reader(tmp_path).frames(), sequences=[0])
    assert not recwarn.list
    recording.close()
