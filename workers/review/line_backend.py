"""The review page over a running line: its wall, its questions, its heads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.adaptation.gate.values import Check, GateDecision, GateReport
from pipeline.adaptation.lifecycle.states import RunState, State
from pipeline.errors import ClearlineError, DataError
from pipeline.explain import explain
from pipeline.heads import registry
from pipeline.heads.bundle import HeadBundle
from pipeline.interfaces import Clock
from pipeline.types import Decision, Features, Float32Array
from workers.adaptation_files import AdaptationFiles
from workers.adaptation_requests import RequestKind, product_name, submit
from workers.capture import SourceState
from workers.inference import LiveHead
from workers.review.answers import Answers, camera_of
from workers.review.backend import (
    CameraTile,
    ClassRow,
    ConfusionDay,
    DriftLine,
    HeadRow,
    Heads,
    HeadStatus,
    LabelAnswer,
    NearPicture,
    NearText,
    Queue,
    Why,
)
from workers.review.first_pictures import FirstPictures
from workers.wall import Wall

Picture = Callable[[str], bytes | None]


class LineBackend:
    """With adaptation its questions are asked (`answers`), else pictures for a first head (`first`), if anything."""

    def __init__(
        self,
        *,
        wall: Wall,
        sources: Callable[[], Mapping[str, Mapping[str, Any]]],
        live: Callable[[], LiveHead],
        state: Callable[[], RunState | None],
        answers: Answers | None,
        first: FirstPictures | None,
        picture: Picture,
        archived: Picture,
        files: AdaptationFiles | None,
        heads: Path,
        names: Mapping[str, str],
        good: frozenset[str],
        teach: int,
        clock: Clock,
    ) -> None:
        """`sources` is /status's; `picture` what is kept of parts, `archived` what may lie further away.

        `names` is what people call the classes.
        """
        self._wall, self._sources, self._live, self._state = wall, sources, live, state
        self._answers, self._first, self._archived = answers, first, archived
        self._picture, self._files, self._heads = picture, files, heads
        self._names, self._good, self._teach, self._clock = names, good, teach, clock
        self._bundle: HeadBundle | None = None

    def wall(self) -> tuple[CameraTile, ...]:
        """One tile per camera."""
        last, now = self._wall.last(), self._clock.monotonic()
        tiles = []
        for camera, status in self._sources().items():
            own = {name: one for name, one in last.items() if name == camera} or (
                last if len(self._sources()) == 1 else {}  # one topic carries the cameras
            )
            for name, one in own.items() or [(camera, None)]:
                state = SourceState(status["state"])
                if one is None:
                    tiles.append(CameraTile(name, state))
                    continue
                age = max(0.0, now - one.ref.received_at)
                tiles.append(CameraTile(name, state, one.ref.event_id, one.label, one.confidence, one.decision, age))
        return tuple(tiles)

    def picture(self, event_id: str) -> bytes | None:
        """As it is kept, else as the wall shows it; a distant archive is asked last, and may take its time."""
        return self._picture(event_id) or self._wall.picture(event_id) or self._archived(event_id)

    def classes(self) -> tuple[ClassRow, ...]:
        """Of the head that decides."""
        return tuple(
            ClassRow(name, self._names.get(name, name), name in self._good) for name in self._live().head.classes
        )

    def queue(self, labeller: str, *, limit: int) -> Queue:
        """Empty where nobody labels."""
        asking = self._answers or self._first
        return Queue((), 0) if asking is None else asking.queue(labeller, limit=limit)

    def answer(self, event_id: str, *, label: str, labeller: str) -> LabelAnswer:
        """Raises DataError where nobody labels."""
        return self._asking().answer(event_id, label=label, labeller=labeller)

    def skip(self, event_id: str, *, labeller: str) -> None:
        """Raises DataError where nobody labels."""
        self._asking().skip(event_id, labeller=labeller)

    def take_labels(self, labels: Sequence[Mapping[str, Any]], *, sender: str) -> tuple[LabelAnswer, ...]:
        """The sender is the labeller of labels that name none."""
        return self._asking().take([{"labeller": sender, **one} for one in labels])

    def why(self, event_id: str) -> Why | None:
        """Explained with the live head."""
        asking = self._answers or self._first
        if asking is None or asking.is_blind(event_id):
            return None
        embedding = asking.embedding(event_id)
        return None if embedding is None else self._explained(event_id, embedding=embedding)

    def confusion(self, day: date) -> ConfusionDay:
        """Zeros without adaptation."""
        if self._answers is None:
            names = self._live().head.classes
            return ConfusionDay(day, names, tuple((0,) * len(names) for _ in names))
        return self._answers.confusion(day)

    def drift(self) -> tuple[DriftLine, ...]:
        """The line has one head, so its cameras share one state."""
        state = self._state()
        if state is None:
            return ()
        n = 0 if self._answers is None else self._answers.n_answered(since=state.entered_at)
        one = DriftLine(
            camera="",
            state=state.state,
            since=state.entered_at,
            n_labels=n,
            n_labels_needed=self._teach,
            head_version=state.candidate or state.champion,
            hold_reason=state.hold_reason,
        )
        return tuple(replace(one, camera=camera) for camera in self._sources())

    def heads(self) -> Heads:
        """Versions in the registry, the newest first."""
        state, live = self._state(), self._live().decider.identity.version
        rows = [self._row(number, live=live, state=state) for number in reversed(registry.versions(self._heads))]
        back = None if state is None else state.previous
        frozen = state is not None and state.state is State.HOLD
        return Heads(tuple(rows), live, back, frozen, frozen_reason="" if state is None else state.hold_reason)

    def approve(self, version: int, *, who: str) -> None:
        """Raises DataError where that version does not wait for approval."""
        state = self._state()
        if state is None or state.state is not State.APPROVAL or state.candidate != version:
            raise DataError(f"head {version}: expected one that waits for approval, got another state; load the page")
        self._submit(RequestKind.APPROVE, who=who, run=state.run or "")

    def promote(self, version: int, *, who: str) -> None:
        """By a person's decision, past the gate; it is written in the audit log by whoever runs the line."""
        raise DataError(
            f"head {version}: promotion past the gate is done with `clearline head promote {version} --by {who}`"
        )

    def roll_back(self, who: str) -> None:
        """Raises DataError without adaptation."""
        self._submit(RequestKind.ROLLBACK, who=who, reason="asked for on the review page")

    def freeze(self, who: str) -> None:
        """Raises DataError without adaptation."""
        self._submit(RequestKind.FREEZE, who=who, reason="asked for on the review page")

    def thaw(self, who: str) -> None:
        """Raises DataError without adaptation."""
        self._submit(RequestKind.THAW, who=who)

    def change_product(self, product: str, *, who: str) -> None:
        """Raises DataError without adaptation, or for a name that is none."""
        self._submit(RequestKind.CHANGEOVER, who=who, product=product_name(product))

    def _asking(self) -> Answers | FirstPictures:
        asking = self._answers or self._first
        if asking is None:
            raise DataError("labels: expected people who label in review.users, got none; see configs/example.yaml")
        return asking

    def _submit(self, kind: RequestKind, *, who: str, **values: str) -> None:
        if self._files is None:
            raise DataError("heads: expected adaptation in the configuration, got none; see configs/example.yaml")
        submit(self._files, kind=kind, by=who, at=self._clock.utc(), **values)

    def _deciding(self) -> HeadBundle | None:
        """The bundle of the head that decides, read again when that is another; None where the texts decide."""
        identity = self._live().decider.identity
        if identity.version == 0:
            return None
        if self._bundle is None or self._bundle.sha256 != identity.bundle_sha256:
            self._bundle = registry.load(self._heads, encoder=None, version=identity.version)
        return self._bundle

    def _row(self, number: int, *, live: int, state: RunState | None) -> HeadRow:
        bundle = registry.load(self._heads, encoder=None, version=number)
        status = _status(number, live=live, state=state)
        made_at = datetime.fromisoformat(bundle.manifest.provenance["created_at"]).timestamp()
        gate = None if state is None or state.candidate != number else self._gate(state.run)
        return HeadRow(
            number,
            status,
            bundle.head.name,
            made_at,
            gate,
            may_approve=status is HeadStatus.AWAITS_APPROVAL,
        )

    def _gate(self, run: str | None) -> GateReport | None:
        if run is None or self._files is None:
            return None
        try:
            return gate_report(self._files.gate(run).read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _explained(self, event_id: str, *, embedding: Float32Array) -> Why | None:
        bundle = self._deciding()
        if bundle is None:
            return None
        image = embedding / max(float(np.linalg.norm(embedding)), 1e-6)
        try:
            told = explain(
                bundle.head,
                features=Features(image=image[None].astype(np.float32)),
                temperature=bundle.temperature,
                evidence=bundle.evidence,
            )
        except ClearlineError:
            return None
        return Why(
            event_id=event_id,
            camera=camera_of(event_id),
            captured_at=self._clock.utc(),
            label=told.winner,
            confidence=told.confidence,
            decision=Decision.ACCEPT if told.winner in self._good else Decision.REJECT,
            rival=told.rival,
            rival_confidence=told.rival_confidence,
            margin=told.margin,
            raw_margin=told.raw_margin,
            head_version=bundle.version,
            texts=tuple(NearText(t.phrase, t.class_id, t.cosine, t.contribution) for t in told.texts),
            support=tuple(NearPicture(s.name, s.class_id, s.cosine, s.contribution) for s in told.support),
            support_is_exact=told.support_is_exact,
        )


def _status(number: int, *, live: int, state: RunState | None) -> HeadStatus:
    if number == live:
        return HeadStatus.PROBATION if state is not None and state.on_probation else HeadStatus.LIVE
    if state is not None and state.candidate == number:
        return HeadStatus.AWAITS_APPROVAL if state.state is State.APPROVAL else HeadStatus.SHADOW
    return HeadStatus.RETIRED if number < live else HeadStatus.CANDIDATE


def gate_report(text: str) -> GateReport:
    """What `GateReport.to_json` wrote."""
    fields = json.loads(text)
    checks = tuple(Check(**one) for one in fields.pop("checks"))
    decision = GateDecision(fields.pop("decision"))
    screens = {name: tuple(why) for name, why in fields.pop("screens").items()}
    return GateReport(**fields, checks=checks, decision=decision, screens=screens)
