"""Labels to start with: which parts are shown, and that the folder is what `head fit` reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.errors import ConfigError, DataError
from pipeline.heads.support import list_support
from pipeline.types import Batch, Features, FrameRef, Roi
from tests.fakes import FakeClock
from tests.making import make_prediction
from workers.review.candidates import MOST_PARTS, Candidate, Candidates, choose
from workers.review.first_pictures import FirstPictures, cut_out
from workers.review.labelled_folder import LabelledFolder

CLASSES = ("dent", "ok", "scratch")
LEFT = Roi("left", 0, 0, 16, 24)
AXES = np.eye(64, dtype=np.float32)


def picture(grey: int = 128, *, suffix: str = ".png") -> bytes:
    image = np.full((24, 40, 3), grey, np.uint8)
    image[:, 16:] = 255 - grey
    return bytes(cv2.imencode(suffix, image)[1].tobytes())


def candidate(n: int, *, label: str = "ok", camera: str = "cap-01", axis: int = 0) -> Candidate:
    ref = FrameRef(camera, 1, n, "full", 0.0, "host", 0.0)
    return Candidate(ref, label, AXES[axis], picture())


class Bench:
    def __init__(self, folder: Path, **more: Any) -> None:
        self.clock = FakeClock()
        self.folder = folder
        given = {"region": lambda _: Roi(), "is_cut_by_fit": True, "n_wanted": 2, **more}
        self.first = FirstPictures(LabelledFolder(folder, classes=CLASSES), classes=CLASSES, clock=self.clock, **given)
        self.n = 0

    def show(self, *labels: str, camera: str = "cap-01", content: bytes | None = None) -> list[str]:
        """The line sees parts and calls them so, one a second."""
        return [self._show(label, camera, picture() if content is None else content) for label in labels]

    def _show(self, label: str, camera: str, content: bytes) -> str:
        self.n += 1
        self.clock.advance(1.0)
        one = make_prediction(source_id=camera, sequence=self.n, label=label)
        batch = Batch(np.zeros((1, 4, 4, 3), np.uint8), (one.ref,), (content,), 0.0, 0)
        self.first.see(batch, Features(AXES[self.n % 64][None]), [one])
        return one.ref.event_id

    def ids(self, name: str = "liu", *, limit: int = 100) -> list[str]:
        return [one.event_id for one in self.first.queue(name, limit=limit).items]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "labelled")


def test_labelled_pictures_lie_as_head_fit_reads_them(bench: Bench) -> None:
    shown = bench.show("ok", "ok", "dent")
    for event_id, label in zip(shown, CLASSES, strict=True):
        assert bench.first.answer(event_id, label=label, labeller="liu").outcome == "accepted"
    support = list_support(bench.folder)
    assert {name: [path.stem for path in files] for name, files in support.files.items()} == {
        label: [event_id] for event_id, label in zip(shown, CLASSES, strict=True)
    }
    assert support.files["ok"][0].read_bytes() == picture()
    assert bench.first.queue("liu", limit=9).n_labelled == {"dent": 1, "ok": 1, "scratch": 1}


def test_pictures_that_lay_there_before_count_and_are_not_asked_about_again(bench: Bench) -> None:
    shown = bench.show("ok", "ok")
    bench.first.answer(shown[0], label="ok", labeller="liu")
    (bench.folder / "ok" / "mine.jpg").write_bytes(picture(suffix=".jpg"))
    restarted = Bench(bench.folder)
    restarted.show("ok", "ok")
    assert restarted.ids() == [shown[1]]
    assert restarted.first.queue("liu", limit=0).n_labelled["ok"] == 2


def test_a_correction_moves_the_picture_and_only_its_labeller_may_correct(bench: Bench) -> None:
    event_id = bench.show("ok")[0]
    bench.first.answer(event_id, label="ok", labeller="liu")
    assert bench.first.answer(event_id, label="ok", labeller="liu").outcome == "duplicate"
    assert bench.first.answer(event_id, label="dent", labeller="liu").outcome == "corrected"
    assert bench.first.queue("liu", limit=0).n_labelled == {"dent": 1, "ok": 0, "scratch": 0}
    with pytest.raises(DataError, match="somebody else"):
        bench.first.answer(event_id, label="scratch", labeller="aoki")


def test_with_several_regions_the_region_is_kept_else_the_whole_picture(tmp_path: Path) -> None:
    for is_cut_by_fit, width in ((True, 40), (False, 16)):
        bench = Bench(tmp_path / str(width), region=lambda _: LEFT, is_cut_by_fit=is_cut_by_fit)
        event_id = bench.show("ok")[0]
        assert _width(bench.first.picture(event_id)) == 16
        bench.first.answer(event_id, label="ok", labeller="liu")
        assert _width(next((bench.folder / "ok").iterdir()).read_bytes()) == width


def _width(content: bytes | None) -> int:
    assert content is not None
    return int(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).shape[1])


def test_a_region_is_cut_where_the_line_cuts_it() -> None:
    cut = cv2.imdecode(np.frombuffer(cut_out(picture(10), region=LEFT), np.uint8), cv2.IMREAD_COLOR)
    assert cut.shape == (24, 16, 3)
    assert int(cut.max()) < 30


def test_what_the_line_calls_each_class_comes_evenly_and_what_has_enough_comes_last(bench: Bench) -> None:
    bench.show(*["ok"] * 20, "dent", "scratch", "dent", "scratch", "dent")
    assert _answers(bench, limit=6) == Counter(ok=2, dent=2, scratch=2)
    for event_id in bench.ids()[:6]:
        bench.first.answer(event_id, label="ok", labeller="liu")
    assert bench.first.queue("liu", limit=0).n_labelled == {"dent": 0, "ok": 6, "scratch": 0}
    assert _answers(bench, limit=2) == Counter(dent=1, ok=1)  # what was called dent was none: ok is asked about again


def _answers(bench: Bench, *, limit: int) -> Counter[str]:
    chosen = bench.ids(limit=limit)
    found = [bench.first._candidates.get(one) for one in chosen]
    return Counter(one.label for one in found if one is not None)


def test_what_the_line_calls_otherwise_is_asked_about_where_people_found_what_is_short(bench: Bench) -> None:
    bench.first.answer(bench.show("ok")[0], label="scratch", labeller="liu")  # the texts take the two for each other
    for event_id in bench.show("scratch", "scratch", "scratch"):
        bench.first.answer(event_id, label="ok", labeller="liu")
    called_ok, called_scratch = bench.show("ok", "scratch")
    assert bench.ids() == [called_ok, called_scratch], "a scratch is short, and what is called so was ok three times"


def test_cameras_take_turns(bench: Bench) -> None:
    bench.show(*["ok"] * 9, camera="cap-01")
    bench.show("ok", "ok", camera="cap-02")
    cameras = [one.camera for one in bench.first.queue("liu", limit=4).items]
    assert Counter(cameras) == {"cap-01": 2, "cap-02": 2}


def test_the_odd_one_among_parts_that_look_alike_comes_first() -> None:
    free = [candidate(n, axis=0) for n in range(9)] + [candidate(9, axis=1)]
    chosen = choose(free, n=1, missing={"ok": 1}, chances=lambda _: {"ok": 1.0}, near_to=[AXES[0]])
    assert [one.ref.sequence for one in chosen] == [9]


def test_the_fullest_gives_up_its_oldest_but_not_what_somebody_looks_at() -> None:
    candidates = Candidates(most_parts=4)
    rare, first, *rest = candidate(0, label="dent"), *(candidate(n) for n in range(1, 6))
    for one in (rare, first):
        candidates.add(one, at=0.0)
    candidates.hold([first], at=0.0)
    for one in rest:
        candidates.add(one, at=1.0)
    kept = [one.ref.sequence for one in candidates.free(left_out=())]
    assert sorted(kept) == [0, 1, 4, 5]
    assert MOST_PARTS > 4


def test_bytes_are_bounded_too() -> None:
    candidates = Candidates(most_bytes=3 * len(picture()))
    for n in range(9):
        candidates.add(candidate(n), at=0.0)
    assert len(candidates.free(left_out=())) == 3


def test_parts_without_their_whole_picture_are_left_out(bench: Bench) -> None:
    one = make_prediction(label="ok")
    batch = Batch(np.zeros((1, 4, 4, 3), np.uint8), (one.ref,), (None,), 0.0, 0)
    bench.first.see(batch, Features(AXES[0][None]), [one])
    assert bench.ids() == []


def test_questions_are_blind_and_a_part_on_somebodys_page_has_no_reasons(bench: Bench) -> None:
    event_id = bench.show("ok")[0]
    assert not bench.first.is_blind(event_id)
    assert [one.blind for one in bench.first.queue("liu", limit=1).items] == [True]
    assert bench.first.is_blind(event_id)
    bench.first.answer(event_id, label="ok", labeller="liu")
    assert not bench.first.is_blind(event_id)


def test_labels_from_elsewhere_are_judged_one_by_one(bench: Bench) -> None:
    event_id = bench.show("ok")[0]
    good = {"event_id": event_id, "label": "ok", "labeller": "mes", "labelled_at": 1.6e9, "stream": "teach"}
    rows: Sequence[dict[str, Any]] = [
        {},
        {**good, "label": "crack"},
        {**good, "event_id": "../x"},
        good,
        {**good, "labeller": "liu", "label": "dent"},
    ]
    assert [one.outcome for one in bench.first.take(rows)] == [
        "malformed",
        "unknown_class",
        "unknown_event",
        "accepted",
        "contradiction",
    ]


def test_a_folder_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"review\.labelled"):
        LabelledFolder(tmp_path / "file" / "labelled", classes=CLASSES)
    with pytest.raises(ConfigError, match="name a folder"):
        LabelledFolder(tmp_path, classes=("ok", "a/b"))
