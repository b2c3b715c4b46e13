"""Files are played whole, in order, at the right pace, and every way in which they can be wrong is said clearly."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import BadFrame, ConfigError, SourceError, SourceExhausted
from pipeline.types import SourceFrame
from tests.fakes import FakeClock
from tests.servers.videos import picture, write_picture, write_video
from workers.sources.replay import ReplaySource


def opened(path: Path, **options: object) -> ReplaySource:
    source = ReplaySource("cap-01", path=path, **{"clock": FakeClock(), **options})  # type: ignore[arg-type]
    source.open()
    return source


def play(source: ReplaySource, *, limit: int = 1000) -> list[SourceFrame | BadFrame]:
    played: list[SourceFrame | BadFrame] = []
    while len(played) < limit:
        try:
            frame = source.read()
        except BadFrame as bad:
            played.append(bad)
            continue
        except SourceExhausted:
            return played
        if frame is not None:
            played.append(frame)
    return played


def frames_of(source: ReplaySource, *, limit: int = 1000) -> list[SourceFrame]:
    return [one for one in play(source, limit=limit) if isinstance(one, SourceFrame)]


@pytest.mark.parametrize("name", ["belt.mp4", "belt.avi"])
def test_a_video_gives_all_its_frames_in_order(tmp_path: Path, name: str) -> None:
    frames = frames_of(opened(write_video(tmp_path / name, n_frames=12)))
    assert [frame.position for frame in frames] == list(range(12))
    for index, frame in enumerate(frames):
        assert np.abs(frame.image.astype(int) - picture(index)).mean() < 8
        assert (frame.name, frame.capture_time_source, frame.evidence) == (name, "file", None)


def test_real_gifs_and_videos_play(shared_data: Path) -> None:
    gif = frames_of(opened(shared_data / "line-videos" / "bolt-multi-size-detection.gif"))
    assert len(gif) == 37
    assert gif[0].image.shape == (270, 480, 3)
    mp4 = frames_of(opened(shared_data / "line-videos" / "bottle-detection.mp4"), limit=50)
    assert mp4[0].image.shape == (360, 640, 3)


def test_real_photos_in_class_folders_carry_their_truth(shared_data: Path) -> None:
    frames = frames_of(opened(shared_data / "trashnet-subset", labels="folders"))
    assert len(frames) > 50
    assert {frame.truth for frame in frames} == {"cardboard", "glass", "metal", "paper", "plastic", "trash"}


def test_a_video_keeps_its_own_pace_at_real_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "belt.mp4", n_frames=6, fps=4.0)
    frames = frames_of(opened(path, speed="real_time"))
    steps = [after.received_at - before.received_at for before, after in pairwise(frames)]
    assert steps == pytest.approx([0.25] * 5)


def test_pictures_are_paced_by_fps_and_a_long_wait_is_cut_into_reads_without_a_frame(tmp_path: Path) -> None:
    for index in range(3):
        write_picture(tmp_path / f"{index}.png", index)
    source = opened(tmp_path, speed="real_time", fps=0.8)
    assert source.read() is not None
    assert source.read() is None
    assert source.read() is None
    frame = source.read()
    assert frame is not None
    assert frame.received_at == pytest.approx(1000.0 + 1.25)
    assert frame.position == 1


def test_as_fast_never_waits(tmp_path: Path) -> None:
    clock = FakeClock()
    frames_of(opened(write_video(tmp_path / "belt.mp4"), clock=clock))
    assert clock.waits == []


def test_a_late_reader_makes_the_recording_slip_instead_of_bursting(tmp_path: Path) -> None:
    clock = FakeClock()
    source = opened(write_video(tmp_path / "belt.mp4", n_frames=12, fps=10.0), clock=clock, speed="real_time")
    source.read()
    clock.advance(5.0)
    late = frames_of(source)
    assert [after.received_at - before.received_at for before, after in pairwise(late)] == pytest.approx([0.1] * 10)


def test_a_closing_clock_wakes_a_paced_read(tmp_path: Path) -> None:
    class ClosingClock(FakeClock):
        def wait(self, seconds: float) -> bool:
            return True

    source = opened(write_video(tmp_path / "belt.mp4"), clock=ClosingClock(), speed="real_time")
    assert source.read() is not None
    assert source.read() is None


@pytest.mark.parametrize("kind", ["video", "folder"])
def test_a_loop_begins_again_at_the_end(tmp_path: Path, kind: str) -> None:
    if kind == "video":
        path = write_video(tmp_path / "belt.avi", n_frames=3)
    else:
        path = tmp_path
        for index in range(3):
            write_picture(tmp_path / f"{index}.png", index)
    frames = frames_of(opened(path, loop=True), limit=8)
    assert [frame.position for frame in frames] == list(range(8))
    assert np.array_equal(frames[0].image, frames[3].image)
    assert not np.array_equal(frames[0].image, frames[1].image)


def test_a_folder_is_played_in_natural_order_through_subfolders_without_hidden_files(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/10.png", "a/1.jpg", "0.png", ".hidden/1.png", "a/.x.png"):
        write_picture(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture")
    frames = frames_of(opened(tmp_path, labels="folders"))
    assert [frame.name for frame in frames] == ["0.png", "a/1.jpg", "b/2.png", "b/10.png"]
    assert [frame.truth for frame in frames] == [None, "a", "b", "b"]


def test_without_labels_a_folder_name_is_no_truth(tmp_path: Path) -> None:
    write_picture(tmp_path / "ok" / "1.png")
    assert frames_of(opened(tmp_path))[0].truth is None


def test_a_folder_may_hold_videos_beside_pictures(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    write_video(tmp_path / "b.mp4", n_frames=3)
    assert [frame.name for frame in frames_of(opened(tmp_path))] == ["a.png", "b.mp4", "b.mp4", "b.mp4"]


def test_pictures_carry_the_bytes_they_were_decoded_from(tmp_path: Path) -> None:
    jpeg = write_picture(tmp_path / "1.jpg")
    write_picture(tmp_path / "2.bmp")
    first, second = frames_of(opened(tmp_path))
    assert first.evidence == jpeg.read_bytes()
    assert second.evidence is None  # neither JPEG nor PNG


def test_one_corrupt_picture_is_a_bad_frame_with_its_bytes_and_play_goes_on(tmp_path: Path) -> None:
    for index in range(3):
        write_picture(tmp_path / f"{index}.jpg", index)
    whole = (tmp_path / "1.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(whole[:200])
    first, bad, last = play(opened(tmp_path))
    assert isinstance(first, SourceFrame)
    assert isinstance(bad, BadFrame)
    assert isinstance(last, SourceFrame)
    assert (bad.original, bad.position, bad.reason) == (whole[:200], 1, "cut")
    assert "1.jpg" in str(bad)
    assert last.position == 2


def test_a_picture_that_vanishes_meanwhile_is_a_bad_frame(tmp_path: Path) -> None:
    write_picture(tmp_path / "1.png")
    gone = write_picture(tmp_path / "2.png")
    source = opened(tmp_path)
    gone.unlink()
    good, bad = play(source)
    assert isinstance(good, SourceFrame)
    assert isinstance(bad, BadFrame)
    assert bad.reason == "unreadable"


def test_a_broken_video_among_others_is_a_bad_frame(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"this is no video" * 50)
    write_video(tmp_path / "b.mp4", n_frames=2)
    played = play(opened(tmp_path))
    assert isinstance(played[0], BadFrame)
    assert len(played) == 3


def test_a_loop_over_nothing_but_broken_pictures_ends_with_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"broken")
    source = opened(tmp_path, loop=True)
    with pytest.raises(BadFrame):
        source.read()
    with pytest.raises(SourceError, match="none of its 1 files"):
        source.read()


def test_a_missing_path_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cap-01: .*nothing\.mp4: expected a file or folder, found nothing there"):
        opened(tmp_path / "nothing.mp4")


def test_an_empty_video_is_said(tmp_path: Path) -> None:
    (tmp_path / "belt.mp4").touch()
    with pytest.raises(SourceError, match="got an empty file"):
        opened(tmp_path / "belt.mp4")


def test_a_video_that_is_none_or_was_cut_short_is_said(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "belt.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="cut short has no index"):
        opened(tmp_path / "cut.mp4")


def test_an_empty_picture_alone_is_a_bad_frame(tmp_path: Path) -> None:
    (tmp_path / "1.png").touch()
    (bad,) = play(opened(tmp_path / "1.png"))
    assert isinstance(bad, BadFrame)


def test_a_folder_without_pictures_is_said(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing here")
    with pytest.raises(SourceError, match=r"expected pictures or videos.*\.jpg"):
        opened(tmp_path)


def test_a_16_bit_grey_picture_becomes_8_bit_bgr(tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "deep.png"), np.full((40, 60), 40_000, np.uint16))
    (frame,) = frames_of(opened(tmp_path / "deep.png"))
    assert frame.image.shape == (40, 60, 3)
    assert frame.image.dtype == np.uint8


def test_an_impossible_frame_rate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fps must be above 0"):
        ReplaySource("cap-01", path=tmp_path, clock=FakeClock(), fps=0.0)
