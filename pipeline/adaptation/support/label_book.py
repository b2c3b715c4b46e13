"""All labels ever given and what was set aside, in the store's file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from pipeline.adaptation.support.database import Database
from pipeline.adaptation.support.exemplars import LABEL_FELL
from pipeline.adaptation.support.labels import Label, Standing, Stream, standing_of

_COLUMNS = "event_id, label, labeller, labelled_at, stream, inclusion_probability, blind, model_label"
MAX_CONTENT = 4_096  # bytes kept of one quarantined item


class LabelBook:
    """Labels and quarantine, append-only. One thread uses it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, label: Label, *, at: float) -> None:
        """Keep a label for ever; the same label twice is one row."""
        self._database.execute(
            f"INSERT OR IGNORE INTO labels ({_COLUMNS}, taken_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            label.event_id,
            label.label,
            label.labeller,
            label.labelled_at,
            label.stream.value,
            label.inclusion_probability,
            int(label.blind),
            label.model_label,
            at,
        )

    def of(self, event_id: str) -> tuple[Label, ...]:
        """All labels of one event, in the order they were given."""
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM labels WHERE event_id = ? ORDER BY labelled_at, labeller, label", event_id
        )
        return tuple(_label(row) for row in rows)

    def standing(self, event_id: str) -> Standing:
        """What they say together."""
        return standing_of(self.of(event_id), event_id=event_id)

    def since(self, instant: float, *, stream: Stream | None = None) -> Iterator[Label]:
        """Labels given since an instant, oldest first; of one stream, or of all."""
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM labels WHERE labelled_at >= ? ORDER BY labelled_at, event_id, labeller", instant
        )
        return (one for one in map(_label, rows) if stream in (None, one.stream))

    def waiting_to_teach(self, *, at: float) -> tuple[Standing, ...]:
        """Events whose labels may teach by now, and which were never an exemplar of that class."""
        found = self._database.execute(
            "SELECT DISTINCT event_id FROM labels AS l WHERE stream <> 'honeypot' AND NOT EXISTS "
            "(SELECT 1 FROM exemplars AS e WHERE e.event_id = l.event_id AND e.label = l.label "
            "AND e.removed_why IS NOT ?) ORDER BY event_id",
            LABEL_FELL,
        )
        standings = (self.standing(str(event_id)) for (event_id,) in found)
        return tuple(one for one in standings if one.teaches(at=at) and not self._was_exemplar(one))

    def count(self) -> int:
        """Labels kept."""
        return int(self._database.execute("SELECT count(*) FROM labels")[0][0])

    def quarantine(self, content: Mapping[str, Any], *, outcome: str, reason: str, at: float) -> None:
        """Set aside, whatever it is; the same again only counts up."""
        text = orjson.dumps(dict(content), default=repr, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
        self._database.execute(
            "INSERT INTO quarantine (content, outcome, reason, first_at, last_at, times) VALUES (?, ?, ?, ?, ?, 1) "
            "ON CONFLICT (content, outcome) DO UPDATE SET times = times + 1, last_at = excluded.last_at, "
            "released_at = NULL",
            text[:MAX_CONTENT].decode(errors="replace"),
            outcome,
            reason,
            at,
            at,
        )

    def quarantined(self) -> dict[str, int]:
        """How many different items are set aside now, by outcome."""
        rows = self._database.execute(
            "SELECT outcome, count(*) FROM quarantine WHERE released_at IS NULL GROUP BY outcome ORDER BY outcome"
        )
        return {str(outcome): int(n) for outcome, n in rows}

    def quarantined_rows(self, outcome: str) -> list[tuple[int, dict[str, Any], str]]:
        """(row id, content, reason) of what is set aside now; only for outcomes whose content could be read."""
        rows = self._database.execute(
            "SELECT id, content, reason FROM quarantine WHERE outcome = ? AND released_at IS NULL ORDER BY id", outcome
        )
        return [(int(row_id), orjson.loads(content), str(reason)) for row_id, content, reason in rows]

    def release(self, row_id: int, *, at: float) -> None:
        """It turned out to be good; the row stays, with the instant."""
        self._database.execute("UPDATE quarantine SET released_at = ? WHERE id = ?", at, row_id)

    def _was_exemplar(self, standing: Standing) -> bool:
        sql = "SELECT 1 FROM exemplars WHERE event_id = ? AND label = ? AND removed_why IS NOT ? LIMIT 1"
        return bool(self._database.execute(sql, standing.event_id, standing.label, LABEL_FELL))


def _label(row: tuple[Any, ...]) -> Label:
    event_id, label, labeller, labelled_at, stream, probability, blind, model_label = row
    return Label(event_id, label, labeller, labelled_at, Stream(stream), probability, bool(blind), model_label)
