"""What a viewer may open: wall, pictures, why, confusion, drift, heads."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from starlette.responses import Response

from pipeline.types import Decision
from workers.capture import SourceState
from workers.review import sentences
from workers.review.backend import CameraTile, ConfusionDay, ReviewBackend, Why
from workers.review.rendering import Renderer, as_json, as_picture
from workers.review.visit import Refusal, Visit
from workers.review.wording import Words

STALE_S = 10.0  # an older picture says nothing about the line now
_EVENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,255}")  # of a picture that was labelled: class/name
_MARKS = {Decision.ACCEPT: "✓", Decision.REJECT: "✕", Decision.REVIEW: "?", Decision.UNKNOWN: "◇"}
_FEW_COLUMNS = ((1, 1), (4, 2), (9, 3), (16, 4))  # up to so many cameras: so many columns
_MOST_COLUMNS = 5
_SHADES = 8
_TOP_PAIRS = 5


@dataclass(frozen=True, slots=True)
class Tile:
    """A camera as the wall shows it."""

    camera: str
    event_id: str
    label: str
    confidence: str
    decision: str  # accept, reject, review, unknown or none: what it looks like
    mark: str
    word: str  # the decision, or what is wrong with the camera
    age: str
    is_stale: bool


@dataclass(frozen=True, slots=True)
class Pair:
    """One kind of mix-up."""

    truth: str
    called: str
    n: int
    kind: str  # escape, overkill or empty


class Pages:
    """Handlers; any thread may call them."""

    def __init__(self, backend: ReviewBackend, *, renderer: Renderer) -> None:
        self._backend = backend
        self._renderer = renderer

    def wall(self, visit: Visit) -> Response:
        """All cameras."""
        tiles = self._tiles(visit.words)
        columns = next((wide for most, wide in _FEW_COLUMNS if len(tiles) <= most), _MOST_COLUMNS)
        return self._renderer.page(visit, template="wall.html", tab="wall", tiles=tiles, columns=columns)

    def wall_json(self, visit: Visit) -> Response:
        """The same for the script."""
        tiles = self._tiles(visit.words)
        return as_json({"tiles": [{name: getattr(tile, name) for name in Tile.__slots__} for tile in tiles]})

    def picture(self, visit: Visit) -> Response:
        """Of an event; headers say nothing of it."""
        return as_picture(self._backend.picture(checked_event_id(visit.arguments["event_id"])))

    def why(self, visit: Visit) -> Response:
        """The reasons for one answer."""
        found = self._backend.why(checked_event_id(visit.arguments["event_id"]))
        if found is None:
            words = visit.words
            return self._renderer.page(
                visit, template="message.html", code=404, title=words("why_none"), text=words("why_none_text")
            )
        names = self._names()
        return self._renderer.page(
            visit,
            template="why.html",
            why=found,
            names=names,
            sentence=sentences.margin_sentence(found, names=names, words=visit.words),
            bars=margin_bars(found),
            mark=_MARKS[found.decision] if found.decision else "",
            time=visit.words.clock(found.captured_at, now=visit.now),
        )

    def confusion(self, visit: Visit) -> Response:
        """Of the day asked for, else of today."""
        today = visit.words.local(visit.now).date()
        day = _day(visit.query.get("day", ""), today=today)
        found = self._backend.confusion(day)
        rows = self._backend.classes()
        return self._renderer.page(
            visit,
            template="confusion.html",
            tab="confusion",
            found=found,
            day=visit.words("date", year=day.year, month=day.month, day=day.day),
            before=str(day - timedelta(days=1)),
            after=str(day + timedelta(days=1)) if day < today else None,
            names=self._names(),
            matrix=shaded(found),
            right=sum(found.counts[i][i] for i in range(len(found.classes))),
            pairs=pairs(found, names=self._names(), good={row.class_id for row in rows if row.good}),
        )

    def drift(self, visit: Visit) -> Response:
        """One sentence per camera."""
        words = visit.words
        lines = [
            {
                "line": line,
                "word": sentences.state_word(line.state, words=words),
                "tone": sentences.tone(line),
                "sentence": sentences.drift_sentence(line, words=words, now=visit.now),
                "go_to": sentences.page_to_go_to(line),
                "meter": sentences.drift_meter(line, words=words),
            }
            for line in self._backend.drift()
        ]
        return self._renderer.page(visit, template="drift.html", tab="drift", lines=lines)

    def heads(self, visit: Visit) -> Response:
        """All versions with what may be done about them."""
        done = visit.query.get("done", "")
        version = visit.query.get("version", "")
        said = visit.words(f"done_{done}", version=version) if _is_done(done, version=version) else ""
        return self._renderer.page(
            visit,
            template="heads.html",
            tab="heads",
            heads=self._backend.heads(),
            said=said,
            names=self._names(),
            **gate_tools(visit.words),
        )

    def _tiles(self, words: Words) -> list[Tile]:
        names = self._names()
        return [_tile(one, names=names, words=words) for one in self._backend.wall()]

    def _names(self) -> dict[str, str]:
        return {row.class_id: row.name for row in self._backend.classes()}


def gate_tools(words: Words) -> dict[str, Any]:
    """What the template of a gate report calls."""
    return {
        "gate_facts": lambda report: sentences.gate_facts(report, words=words),
        "check_name": lambda check: sentences.check_name(check, words=words),
        "check_state": sentences.check_state,
    }


def checked_event_id(text: str) -> str:
    """Raises Refusal for anything that could be a path."""
    if not _EVENT_ID.fullmatch(text) or ".." in text:
        raise Refusal(404, "refused_missing")
    return text


def margin_bars(why: Why) -> list[tuple[str, float, float, bool]]:
    """Before and after: (key of its name, left, width, leads), per cent of the axis, zero in the middle."""
    most = max(abs(why.raw_margin), abs(why.margin), 1e-9)
    bars = []
    for key, margin in (("why_before", why.raw_margin), ("why_after", why.margin)):
        width = 46 * abs(margin) / most
        bars.append((key, round(50 - width if margin < 0 else 50, 2), round(max(width, 0.4), 2), margin >= 0))
    return bars


def shaded(found: ConfusionDay) -> list[list[tuple[int, int]]]:
    """Counts with a shade of 0 to 8, of the row's share: 3 of 3 wrong is darker than 3 of 300."""
    rows = []
    for row in found.counts:
        total = max(sum(row), 1)
        rows.append([(n, max(1, round(_SHADES * n / total)) if n else 0) for n in row])
    return rows


def pairs(found: ConfusionDay, *, names: dict[str, str], good: set[str]) -> list[Pair]:
    """The most frequent mix-ups; `good` are class ids of parts to accept."""
    wrong = [
        (n, truth, called)
        for truth, row in zip(found.classes, found.counts, strict=True)
        for called, n in zip(found.classes, row, strict=True)
        if n and truth != called
    ]
    wrong.sort(key=lambda one: (-one[0], one[1], one[2]))
    return [
        Pair(names.get(truth, truth), names.get(called, called), n, _kind(truth in good, called_good=called in good))
        for n, truth, called in wrong[:_TOP_PAIRS]
    ]


def _kind(truth_good: bool, *, called_good: bool) -> str:
    if truth_good == called_good:
        return ""
    return "overkill" if truth_good else "escape"


def _is_done(done: str, *, version: str) -> bool:
    return done in {"approve", "promote", "roll_back", "freeze", "thaw"} and (version.isdigit() or not version)


def _day(text: str, *, today: date) -> date:
    try:
        return min(date.fromisoformat(text), today) if text else today
    except ValueError as error:
        raise Refusal(404, "refused_missing") from error


def _tile(one: CameraTile, *, names: dict[str, str], words: Words) -> Tile:
    is_stale = one.age_s is not None and one.age_s > STALE_S
    is_up = one.state is SourceState.STREAMING and one.decision is not None
    decision = one.decision if is_up and not is_stale else None
    if decision is not None:
        word = words("decision_" + decision.value)
    else:
        word = words("stale" if is_up else "source_" + one.state.value)
    return Tile(
        camera=one.camera,
        event_id=one.event_id or "",
        label=names.get(one.label or "", one.label or words("none")),
        confidence=words.percent(one.confidence),
        decision=decision.value if decision else "none",
        mark=_MARKS[decision] if decision else "!",
        word=word,
        age=words.age(one.age_s),
        is_stale=is_stale,
    )
