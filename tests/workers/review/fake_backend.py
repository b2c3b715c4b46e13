"""A line in memory for the review page; passes the contract suite of ReviewBackend."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import cv2
import numpy as np

from pipeline.adaptation.drift.causes import Cause
from pipeline.adaptation.gate.values import Check, GateDecision, GateReport
from pipeline.adaptation.lifecycle.states import State
from pipeline.adaptation.support.intake import Outcome
from pipeline.adaptation.support.labels import parse_label
from pipeline.errors import DataError
from pipeline.types import Decision
from workers.capture import SourceState
from workers.review.backend import (
    CameraTile,
    ClassRow,
    ConfusionDay,
    DriftLine,
    Harm,
    HeadRow,
    Heads,
    HeadStatus,
    LabelAnswer,
    NearPicture,
    NearText,
    Queue,
    QueueItem,
    Why,
)

NOON = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC
CLASSES = (
    ClassRow("clean_plate", "clean plate", good=True),
    ClassRow("scratched_plate", "scratched plate", good=False),
    ClassRow("dented_plate", "dented plate", good=False),
    ClassRow("gear", "gear", good=True),
    ClassRow("broken_gear", "broken gear", good=False),
)
TEXTS = (NearText("a thin dark line across the metal", "scratched_plate", 0.31, 1.24),)


def jpeg(value: int = 128, *, kind: str = ".jpg") -> bytes:
    image = np.full((48, 64, 3), value, np.uint8)
    return bytes(cv2.imencode(kind, image)[1].tobytes())


def gate_report(*, decision: GateDecision = GateDecision.PROMOTE, champion: int = 6, challenger: int = 7) -> GateReport:
    return GateReport(
        run="run-12",
        champion=champion,
        challenger=challenger,
        frames=18_240,
        disagreements=529,
        labelled=128,
        ignored={"not blind": 2},
        log_e_cost=4.9,
        log_e_worse=-1.2,
        log_e_needed=4.6,
        log_e_acc=2.1,
        cost_gain=0.031,
        escape_introduced=0,
        escape_removed=2,
        escape_bound=0.0008,
        flip_rate=0.029,
        golden={"clean_plate": 0.0, "scratched_plate": 1.5, "dented_plate": -0.6, "gear": 0.0, "broken_gear": 0.9},
        honeypot={"wrong": 1, "total": 16},
        screens={},
        checks=(
            Check("G2/G3 labels", True, "no label batch is in quarantine"),
            Check("G4 static", True, "static checks passed"),
            Check("G5 golden", True, "no class falls by more than the tolerance"),
            Check("G6 cost", True, "log evidence 4.90 of 4.61 that it costs less"),
            Check("G7 escapes", True, "0 escapes introduced, 2 removed, at most 0.08% of frames more, limit 0.10%"),
            Check("G9 shadow", None if decision is GateDecision.CONTINUE else True, "18240 frames of 2000"),
            Check("G13 promotions", decision is not GateDecision.REJECT, "0 promotions today of 2 allowed"),
        ),
        decision=decision,
        reason="all conditions hold: it costs less on 128 labelled disagreements",
        labels_sha="0" * 64,
    )


HEADS = Heads(
    rows=(
        HeadRow(
            7, HeadStatus.AWAITS_APPROVAL, "deconfusion", NOON - 3600, gate_report(), may_approve=True, may_promote=True
        ),
        HeadRow(6, HeadStatus.LIVE, "deconfusion", NOON - 86_400, gate_report(champion=5, challenger=6)),
        HeadRow(5, HeadStatus.RETIRED, "deconfusion", NOON - 400_000, None, may_promote=True),
        HeadRow(4, HeadStatus.REJECTED, "coder", NOON - 500_000, gate_report(decision=GateDecision.REJECT)),
    ),
    live=6,
    roll_back_to=5,
)


@dataclass
class FakeQuestion:
    """One part to label, with the stream that no labeller may see."""

    item: QueueItem
    hidden_model_label: str  # what the line had said
    answers: dict[str, str] = field(default_factory=dict)  # by labeller
    skipped: set[str] = field(default_factory=set)


class FakeBackend:
    """Changes only when it is told to; `calls` are the changes to heads, with who made them."""

    def __init__(self, *, n_questions: int = 12, classes: Sequence[ClassRow] = CLASSES) -> None:
        self._lock = threading.Lock()
        self._classes = tuple(classes)
        self.pictures: dict[str, bytes] = {f"cap-0{n}-1-77-full": jpeg(40 * n) for n in (1, 2, 3)}
        self.tiles = [
            CameraTile(f"cap-0{n}", SourceState.STREAMING, f"cap-0{n}-1-77-full", name, confidence, decision, 0.2)
            for n, (name, confidence, decision) in enumerate(
                (
                    ("clean_plate", 0.97, Decision.ACCEPT),
                    ("scratched_plate", 0.91, Decision.REJECT),
                    ("dented_plate", 0.52, Decision.REVIEW),
                ),
                start=1,
            )
        ]
        self.tiles.append(CameraTile("cap-04", SourceState.BACKOFF))
        self.questions = [self._question(n) for n in range(n_questions)]
        self.lines = [
            DriftLine("cap-01", State.MONITORING, since=NOON - 9000),
            DriftLine("cap-02", State.COMMISSIONING, n_parts=81_250, n_parts_needed=300_000),
            DriftLine(
                "cap-03",
                State.LABELLING,
                since=NOON - 500,
                cause=Cause.LIGHTING_POSITION,
                harm=Harm.NONE_SO_FAR,
                n_labels=23,
                n_labels_needed=64,
            ),
            DriftLine("cap-04", State.BLOCKED, since=NOON - 90, cause=Cause.SENSOR_FAULT),
        ]
        self.known_heads = HEADS
        self.calls: list[tuple[str, int | str | None, str]] = []
        self.taken: list[Mapping[str, Any]] = []
        self.day = ConfusionDay(
            date(2023, 11, 14),
            tuple(row.class_id for row in self._classes[:3]),
            ((212, 1, 0), (0, 31, 2), (3, 4, 18)),
        )

    def wall(self) -> tuple[CameraTile, ...]:
        with self._lock:
            return tuple(self.tiles)

    def picture(self, event_id: str) -> bytes | None:
        return self.pictures.get(event_id)

    def classes(self) -> tuple[ClassRow, ...]:
        return self._classes

    def queue(self, labeller: str, *, limit: int) -> Queue:
        with self._lock:
            items = [one.item for one in self.questions if not one.answers and labeller not in one.skipped]
        return Queue(tuple(items[:limit]), n_waiting=len(items))

    def answer(self, event_id: str, *, label: str, labeller: str) -> LabelAnswer:
        if label not in {row.class_id for row in self._classes}:
            raise DataError(f"{event_id}: expected a known class, got {label}; choose one of the list")
        with self._lock:
            question = self._asked(event_id)
            if question.answers and labeller not in question.answers:
                raise DataError(f"{event_id}: expected an open question, got one that is answered; skip it")
            outcome = Outcome.CORRECTED if labeller in question.answers else Outcome.ACCEPTED
            question.answers[labeller] = label
        return LabelAnswer(event_id, outcome)

    def skip(self, event_id: str, *, labeller: str) -> None:
        with self._lock:
            self._asked(event_id).skipped.add(labeller)

    def take_labels(self, labels: Sequence[Mapping[str, Any]], *, sender: str) -> tuple[LabelAnswer, ...]:
        return tuple(self._take(one) for one in labels)

    def why(self, event_id: str) -> Why | None:
        with self._lock:
            is_blind = any(
                one.item.event_id == event_id and one.item.blind and not one.answers for one in self.questions
            )
        if is_blind or event_id not in self.pictures:
            return None
        tile = next((one for one in self.tiles if one.event_id == event_id), self.tiles[1])
        label = tile.label or "scratched_plate"
        return Why(
            event_id=event_id,
            camera=tile.camera,
            captured_at=NOON,
            label=label,
            confidence=tile.confidence or 0.91,
            decision=tile.decision,
            rival="clean_plate" if label == "dented_plate" else "dented_plate",
            rival_confidence=0.06,
            margin=1.8,
            raw_margin=-0.4,
            head_version=6,
            texts=TEXTS,
            support=(
                NearPicture(next(iter(self.pictures)), "scratched_plate", 0.93, 0.61),
                NearPicture(None, "dented_plate", 0.88, -0.22),
            ),
        )

    def confusion(self, day: date) -> ConfusionDay:
        if day == self.day.day:
            return self.day
        nothing = tuple((0,) * len(self.day.classes) for _ in self.day.classes)
        return replace(self.day, day=day, counts=nothing)

    def drift(self) -> tuple[DriftLine, ...]:
        return tuple(self.lines)

    def heads(self) -> Heads:
        with self._lock:
            return self.known_heads

    def change_product(self, product: str, *, who: str) -> None:
        if not product.strip():
            raise DataError("product: expected a name, got none")
        self.calls.append(("product", product, who))

    def approve(self, version: int, *, who: str) -> None:
        self._lead(version, status=HeadStatus.PROBATION)
        self.calls.append(("approve", version, who))

    def promote(self, version: int, *, who: str) -> None:
        if not any(row.version == version and row.may_promote for row in self.known_heads.rows):
            raise DataError(f"head {version}: expected one that may be promoted, got none; look at the list")
        self._lead(version, status=HeadStatus.LIVE)
        self.calls.append(("promote", version, who))

    def roll_back(self, who: str) -> None:
        version = self.known_heads.roll_back_to
        if version is None:
            raise DataError("roll back: expected an earlier head, got none; promote one")
        self._lead(version, status=HeadStatus.LIVE)
        with self._lock:
            self.known_heads = replace(self.known_heads, roll_back_to=None)
        self.calls.append(("roll_back", version, who))

    def freeze(self, who: str) -> None:
        with self._lock:
            self.known_heads = replace(self.known_heads, frozen=True, frozen_by=who, frozen_reason="by hand")
        self.calls.append(("freeze", None, who))

    def thaw(self, who: str) -> None:
        with self._lock:
            self.known_heads = replace(self.known_heads, frozen=False, frozen_by="", frozen_reason="")
        self.calls.append(("thaw", None, who))

    def said(self, event_id: str) -> dict[str, str]:
        """Labeller to label, of one question."""
        return self._asked(event_id).answers

    def _question(self, n: int) -> FakeQuestion:
        event_id, blind = f"cap-02-1-{100 + n}-full", n % 2 == 0
        self.pictures[event_id] = jpeg(20 + 15 * (n % 14))
        item = QueueItem(event_id, "cap-02", NOON - 60.0 * n, blind)
        if not blind:
            item = replace(item, model_label="dented_plate", model_confidence=0.61)
        return FakeQuestion(item, hidden_model_label="dented_plate")

    def _asked(self, event_id: str) -> FakeQuestion:
        found = next((one for one in self.questions if one.item.event_id == event_id), None)
        if found is None:
            raise DataError(f"{event_id}: expected an open question, got none; load the questions again")
        return found

    def _take(self, row: Mapping[str, Any]) -> LabelAnswer:
        try:
            label = parse_label(row)
        except DataError as error:
            return LabelAnswer("", Outcome.MALFORMED, str(error), quarantined=True)
        if label.event_id not in self.pictures:
            return LabelAnswer(label.event_id, Outcome.UNKNOWN_EVENT, "nobody remembers it", quarantined=True)
        self.taken.append(row)
        return LabelAnswer(label.event_id, Outcome.ACCEPTED)

    def _lead(self, version: int, *, status: HeadStatus) -> None:
        with self._lock:
            known = self.known_heads
            if version not in {row.version for row in known.rows}:
                raise DataError(f"head {version}: expected a version of this line, got none; look at the list")
            rows = tuple(
                replace(row, status=status, may_approve=False, may_promote=False)
                if row.version == version
                else replace(row, status=HeadStatus.RETIRED, may_promote=True)
                if row.version == known.live
                else row
                for row in known.rows
            )
            self.known_heads = replace(known, rows=rows, live=version, roll_back_to=known.live)
