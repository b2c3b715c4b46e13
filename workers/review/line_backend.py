"""The review page over a running line: its wall, its questions, its reasons, its drift, its heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from pipeline.adaptation.lifecycle.states import RunState, State
from pipeline.adaptation.support.labels import Stream
from pipeline.errors import DataError
from pipeline.interfaces import Clock
from workers.capture import SourceState
from workers.live_head import LiveHead
from workers.review.answers import Answers, camera_of
from workers.review.backend import CameraTile, ClassRow, ConfusionDay, DriftLine, Heads, LabelAnswer, Queue, Why
from workers.review.drift_facts import DriftFacts, Needs
from workers.review.first_pictures import FirstPictures
from workers.review.line_heads import LineHeads
from workers.review.reasons import Reasons
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
        reasons: Reasons,
        drift: DriftFacts,
        needs: Needs,
        heads: LineHeads,
        names: Mapping[str, str],
        good: frozenset[str],
        clock: Clock,
    ) -> None:
        """`sources` is /status's; `picture` what is kept of parts, `archived` what may lie further away.

        `names` is what people call the classes.
        """
        self._wall, self._sources, self._live, self._state = wall, sources, live, state
        self._answers, self._first, self._picture, self._archived = answers, first, picture, archived
        self._reasons, self._drift, self._needs, self._heads = reasons, drift, needs, heads
        self._names, self._good, self._clock = names, good, clock

    def wall(self) -> tuple[CameraTile, ...]:
        """One tile per camera."""
        last, now = self._wall.last(), self._clock.monotonic()
        tiles = []
        for camera, status in self._cameras().items():
            one, state = last.get(camera), SourceState(status["state"])
            if one is None:
                tiles.append(CameraTile(camera, state))
                continue
            age = max(0.0, now - one.ref.received_at)
            tiles.append(CameraTile(camera, state, one.ref.event_id, one.label, one.confidence, one.decision, age))
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
        """What was decided then, explained with the head that decided it."""
        asking = self._answers or self._first
        if asking is not None and asking.is_blind(event_id):
            return None
        return self._reasons.of(event_id, camera=camera_of(event_id))

    def confusion(self, day: date) -> ConfusionDay:
        """Zeros without adaptation."""
        if self._answers is None:
            names = self._live().head.classes
            return ConfusionDay(day, names, tuple((0,) * len(names) for _ in names))
        return self._answers.confusion(day)

    def drift(self) -> tuple[DriftLine, ...]:
        """The line has one head, so its cameras share one state; what was found at one of them is its own."""
        state, answers = self._state(), self._answers
        if state is None or answers is None:
            return ()
        stream = Stream.GATE if state.state is State.GATING else Stream.TEACH
        return self._drift.lines(
            self._cameras(),
            state=state,
            needs=self._needs,
            n_labels=answers.n_answered(since=state.entered_at, stream=stream),
            audited=answers.audited(since=self._drift.began_at(state)),
            good=self._good,
        )

    def heads(self) -> Heads:
        """Versions in the registry, the newest first."""
        return self._heads.heads()

    def approve(self, version: int, *, who: str) -> None:
        """Raises DataError where that version does not wait for approval."""
        self._heads.approve(version, who=who)

    def promote(self, version: int, *, who: str) -> None:
        """Raises DataError for a version that may not be live."""
        self._heads.promote(version, who=who)

    def roll_back(self, who: str) -> None:
        """Raises DataError where nothing was live before."""
        self._heads.roll_back(who)

    def freeze(self, who: str) -> None:
        """Raises DataError without adaptation."""
        self._heads.freeze(who)

    def thaw(self, who: str) -> None:
        """Raises DataError without adaptation."""
        self._heads.thaw(who)

    def _cameras(self) -> dict[str, Mapping[str, Any]]:
        """State by camera: a source's own, or those whose frames one topic brings."""
        sources, last = self._sources(), self._wall.last()
        if len(sources) == 1 and last and not set(last) & set(sources):
            return dict.fromkeys(sorted(last), next(iter(sources.values())))
        return dict(sources)

    def change_product(self, product: str, *, who: str) -> None:
        """Raises DataError without adaptation, or for a name that is none."""
        self._heads.change_product(product, who=who)

    def _asking(self) -> Answers | FirstPictures:
        asking = self._answers or self._first
        if asking is None:
            raise DataError("labels: expected people who label in review.users, got none; see configs/example.yaml")
        return asking
