"""Labels to start with: parts of a line that has no support store, and the folder that the first head is fitted on."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import structlog

from pipeline.adaptation.support.intake import QUARANTINED, Outcome
from pipeline.adaptation.support.labels import parse_label
from pipeline.errors import DataError
from pipeline.interfaces import Clock
from pipeline.types import Batch, Features, Float32Array, FrameRef, Prediction, Roi
from workers.encoded import as_jpeg, decode
from workers.review.backend import LabelAnswer, Queue, QueueItem
from workers.review.candidates import Candidate, Candidates, choose
from workers.review.labelled_folder import LabelledFolder

log = structlog.get_logger()

EVERY_S = 0.1  # of one region: more is no more to choose from
QUALITY = 95  # of the JPEG of a region, and of a picture that came as none
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
RegionOf = Callable[[FrameRef], Roi]


@dataclass(frozen=True, slots=True, eq=False)
class _Answered:
    """Of a part that was labelled since the start."""

    labeller: str
    label: str
    line_said: str
    embedding: Float32Array


class FirstPictures:
    """`see` belongs to the inference thread; the rest may be called from any.

    The line's answer is hidden in every question: the texts alone mistake look-alike classes, and people who see a
    likely answer agree with it too often.
    """

    def __init__(
        self,
        folder: LabelledFolder,
        *,
        classes: Sequence[str],
        region: RegionOf,
        is_cut_by_fit: bool,
        n_wanted: int,
        clock: Clock,
    ) -> None:
        """`region` is what people are shown; kept is the whole picture where `head fit` cuts, else the region."""
        self.folder, self._classes, self._region, self._is_cut_by_fit = folder, tuple(classes), region, is_cut_by_fit
        self._n_wanted, self._clock = n_wanted, clock
        self._candidates = Candidates()
        self._taken_at: dict[tuple[str, str], float] = {}
        self._answered: dict[str, _Answered] = {}  # by event id
        self._skipped: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def see(self, batch: Batch, features: Features, predictions: Sequence[Prediction]) -> None:
        """Take what is due and has its whole picture with it."""
        now = self._clock.monotonic()
        for row, (one, picture) in enumerate(zip(predictions, batch.evidence, strict=False)):
            place = (one.ref.source_id, one.ref.roi_id)
            if picture is None or now - self._taken_at.get(place, -EVERY_S) < EVERY_S:
                continue
            if ".." in one.ref.event_id or not FILE_NAME.fullmatch(one.ref.event_id):
                continue
            self._taken_at[place] = now
            candidate = Candidate(one.ref, one.label, features.image[row].copy(), picture)
            with self._lock:
                self._candidates.add(candidate, at=now)

    def queue(self, labeller: str, *, limit: int) -> Queue:
        """What is likeliest to be of a class that is short of pictures, from all cameras in turn."""
        now = self._clock.monotonic()
        with self._lock:
            left_out = self._skipped.get(labeller, set()) | self.folder.event_ids()
            free = self._candidates.free(left_out=left_out)
            counts = self.folder.counts()
            chosen = choose(
                free,
                n=limit,
                missing={name: max(0, self._n_wanted - counts[name]) for name in self._classes},
                chances=self._chances(),
                near_to=[one.embedding for one in self._answered.values()],
            )
            self._candidates.hold(chosen, at=now)
        return Queue(tuple(map(_item, chosen)), len(free), counts, self._n_wanted)

    def answer(self, event_id: str, *, label: str, labeller: str) -> LabelAnswer:
        """Raises DataError where there is no such question or class, or where somebody else has answered it."""
        if label not in self._classes:
            raise DataError(f"label: expected one of {', '.join(self._classes)}, got {label}")
        with self._lock:
            outcome = self._keep(event_id, label=label, labeller=labeller)
        log.info("picture labelled", event_id=event_id, label=label, labeller=labeller, outcome=outcome.value)
        return LabelAnswer(event_id, outcome)

    def skip(self, event_id: str, *, labeller: str) -> None:
        """Until the process ends."""
        with self._lock:
            if self._candidates.get(event_id) is None:
                raise _gone(event_id)
            self._skipped.setdefault(labeller, set()).add(event_id)

    def take(self, labels: Sequence[Mapping[str, Any]]) -> tuple[LabelAnswer, ...]:
        """Labels that were not asked for here."""
        return tuple(map(self._take, labels))

    def picture(self, event_id: str) -> bytes | None:
        """The region of a part as large as the camera gave it."""
        with self._lock:
            candidate = self._candidates.get(event_id)
            labelled = self.folder.find(event_id) if candidate is None else None
        if candidate is not None:
            return cut_out(candidate.picture, region=self._region(candidate.ref))
        try:
            return None if labelled is None else labelled[1].read_bytes()
        except OSError:
            return None

    def is_blind(self, event_id: str) -> bool:
        """Somebody has it on the page, and nobody has answered yet."""
        with self._lock:
            return event_id not in self._answered and self._candidates.is_held(event_id, at=self._clock.monotonic())

    def _chances(self) -> Callable[[str], Mapping[str, float]]:
        """What people said where the line gave an answer; that answer itself counts as said once."""
        said = Counter((one.line_said, one.label) for one in self._answered.values())

        def chances(line_says: str) -> Mapping[str, float]:
            told = {name: said[line_says, name] + (name == line_says) for name in self._classes}
            return {name: n / max(1, sum(told.values())) for name, n in told.items()}

        return chances

    def _keep(self, event_id: str, *, label: str, labeller: str) -> Outcome:
        answered, labelled = self._answered.get(event_id), self.folder.find(event_id)
        if answered is not None and answered.labeller != labeller:
            raise DataError(f"{event_id}: expected an open question, got one that somebody else has answered")
        if labelled is not None:
            if labelled[0] == label:
                return Outcome.DUPLICATE
            self.folder.move(labelled[1], label=label)
            if answered is not None:
                self._answered[event_id] = replace(answered, label=label)
            return Outcome.CORRECTED
        candidate = self._candidates.get(event_id)
        if candidate is None:
            raise _gone(event_id)
        region = Roi() if self._is_cut_by_fit else self._region(candidate.ref)
        self.folder.keep(event_id, label=label, picture=cut_out(candidate.picture, region=region))
        self._answered[event_id] = _Answered(labeller, label, candidate.label, candidate.embedding)
        return Outcome.ACCEPTED

    def _take(self, given: Mapping[str, Any]) -> LabelAnswer:
        event_id = str(given.get("event_id", ""))
        try:
            label = parse_label(given)
        except DataError as error:
            return _refused(event_id, Outcome.MALFORMED, str(error))
        if label.label not in self._classes:
            return _refused(event_id, Outcome.UNKNOWN_CLASS, f"expected one of {', '.join(self._classes)}")
        with self._lock:
            known = self._candidates.get(event_id) is not None or self.folder.find(event_id) is not None
        if not known:
            return _refused(event_id, Outcome.UNKNOWN_EVENT, "its picture is not kept")
        try:
            return self.answer(event_id, label=label.label, labeller=label.labeller)
        except DataError as error:
            return _refused(event_id, Outcome.CONTRADICTION, str(error))


def cut_out(picture: bytes, *, region: Roi) -> bytes:
    """A region of an encoded picture, encoded again; the picture itself where the region is all of it."""
    if not region.width:
        return picture
    image = decode(picture, where="evidence")[region.y : region.y + region.height, region.x : region.x + region.width]
    cut = as_jpeg(np.ascontiguousarray(image), quality=QUALITY)
    assert cut is not None  # the capture thread has cut the same region
    return cut


def _gone(event_id: str) -> DataError:
    return DataError(f"{event_id}: expected an open question, got none; load the queue again")


def _refused(event_id: str, outcome: Outcome, reason: str) -> LabelAnswer:
    return LabelAnswer(event_id, outcome, reason, quarantined=outcome in QUARANTINED)


def _item(one: Candidate) -> QueueItem:
    return QueueItem(one.ref.event_id, one.ref.source_id, one.ref.captured_at, blind=True)
