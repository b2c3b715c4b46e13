"""The support store: what every refit of a head starts from, bounded per class and context, on one SQLite file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from pipeline.adaptation.support.database import Database
from pipeline.adaptation.support.exemplars import (
    LABEL_FELL,
    Caps,
    Exemplar,
    Role,
    StoredExemplar,
    SupportContext,
    check_exemplar,
)
from pipeline.adaptation.support.label_book import LabelBook
from pipeline.adaptation.support.rows import SupportArrays, SupportRows, support_rows, write_snapshot
from pipeline.adaptation.support.selection import assign_roles
from pipeline.errors import DataError
from pipeline.types import EncoderInfo

_COLUMNS = (
    "event_id, label, source, roi, product, embedding, levels, part, margin, evidence, "
    "role, added_at, removed_at, removed_why"
)
_OF_CLASS = "label = ? AND source = ? AND roi = ? AND product = ? AND removed_at IS NULL"
OVER_CAP = "over cap"


@dataclass(frozen=True, slots=True)
class Added:
    """What adding did."""

    n_added: int
    n_known: int  # living exemplars already
    n_removed: int  # tombstones set to keep the caps, or because the label changed


class SupportStore:
    """Exemplars and labels. One connection, one thread; other processes may read and write beside it.

    Nothing is ever deleted: a tombstone says when and why. Founders cannot be changed by any statement. Only events
    whose labels stand at that instant can become exemplars. Raises DataError.
    """

    def __init__(
        self, path: Path, *, encoder: EncoderInfo, caps: Caps | None = None, busy_timeout_s: float = 5.0
    ) -> None:
        self.database = Database(path, encoder=encoder, busy_timeout_s=busy_timeout_s)
        self.labels = LabelBook(self.database)
        self._encoder = encoder
        self._sums = (encoder.sha256, encoder.preprocessing_sha256)
        self._caps = caps or Caps()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """May be called twice."""
        self.database.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Several changes in one transaction: all on disk, or none."""
        with self.database.writing():
            yield

    def add_founders(self, exemplars: Sequence[Exemplar], *, at: float) -> Added:
        """The exemplars of commissioning: once per class and context, and never changed again.

        The same founders again are nothing to do. Others for a class that has founders, or more than the cap, are
        refused: who could add founders could move a class without a label.
        """
        n_added, n_known = 0, 0
        with self.writing():
            for (label, context), group in _by_class(exemplars).items():
                known = {s.exemplar.event_id: s for s in self._living(label, context) if s.role is Role.FOUNDER}
                same = all(_same(e, known.get(e.event_id)) for e in group) and len(group) == len(known)
                if known and not same:
                    where = f"class {label} of {context.source}/{context.roi}/{context.product}"
                    raise DataError(f"{where}: expected no founders yet, got {len(known)}; founders are immutable")
                if len(group) > self._caps.founders:
                    limit = self._caps.founders
                    raise DataError(f"class {label}: expected at most {limit} founders, got {len(group)}; choose some")
                n_known += len(known)
                for one in group if not known else ():
                    check_exemplar(one, encoder=self._encoder)
                    self._insert(one, role=Role.FOUNDER, at=at)
                    n_added += 1
        return Added(n_added=n_added, n_known=n_known, n_removed=0)

    def add(self, exemplars: Sequence[Exemplar], *, at: float) -> Added:
        """Labelled parts become exemplars, then every class touched is brought back to its caps, in one transaction.

        Each needs labels in `labels` that stand, agree with it and may teach at that instant.
        """
        n_added, n_known, n_removed = 0, 0, 0
        with self.writing():
            for one in exemplars:
                check_exemplar(one, encoder=self._encoder)
                self._check_label(one, at=at)
                n_removed += self.withdraw_other(one.event_id, label=one.label, at=at)
                if self._lives(one.event_id):
                    n_known += 1
                    continue
                self._insert(one, role=Role.RECENT, at=at)
                n_added += 1
            for label, context in sorted(_by_class(exemplars)):
                n_removed += self._keep_caps(label, context=context, at=at)
        return Added(n_added=n_added, n_known=n_known, n_removed=n_removed)

    def withdraw_other(self, event_id: str, *, label: str | None, at: float) -> int:
        """Take out living exemplars of the event that carry another label; None takes all. Founders stay."""
        living = self.database.execute(
            "SELECT label FROM exemplars WHERE event_id = ? AND removed_at IS NULL AND role <> 'founder'", event_id
        )
        return self._remove([event_id for (had,) in living if had != label], why=LABEL_FELL, at=at)

    def withdraw(self, event_id: str, *, why: str, at: float) -> int:
        """Take out by hand, with a reason. Raises DataError on a founder."""
        with self.writing():
            return self._remove([event_id] if self._lives(event_id) else [], why=why, at=at)

    def exemplars(self, *, label: str | None = None, living: bool = True) -> tuple[StoredExemplar, ...]:
        """In the order they were added; `living=False` gives the removed ones too."""
        where = ["removed_at IS NULL"] if living else ["1"]
        values = [] if label is None else [label]
        where += [] if label is None else ["label = ?"]
        rows = self.database.execute(
            f"SELECT {_COLUMNS} FROM exemplars WHERE {' AND '.join(where)} ORDER BY id", *values
        )
        return tuple(self._stored(row) for row in rows)

    def counts(self) -> dict[tuple[str, Role], int]:
        """Living exemplars by class and role."""
        rows = self.database.execute(
            "SELECT label, role, count(*) FROM exemplars WHERE removed_at IS NULL GROUP BY label, role"
        )
        return {(str(label), Role(role)): int(n) for label, role, n in rows}

    def rows(self, *, context: SupportContext | None = None) -> SupportRows:
        """All living exemplars, or those of one context, as one state of the store."""
        living = (one.exemplar for one in self.exemplars())
        return support_rows([e for e in living if context in (None, e.context)], encoder=self._encoder)

    def content_sha256(self) -> str:
        """Hash of the living exemplars, whatever the order they were added in."""
        return self.rows().sha256

    def as_support(self, classes: tuple[str, ...]) -> SupportArrays:
        """Arrays to fit on. To keep what was fitted, use the rows that `snapshot` returns instead."""
        return self.rows().as_support(classes)

    def snapshot(self, path: Path, *, context: SupportContext | None = None) -> SupportRows:
        """Write an immutable copy of the living rows and return them: fit on these, and the head can be rebuilt."""
        rows = self.rows(context=context)
        write_snapshot(rows, path=path)
        return rows

    def _check_label(self, one: Exemplar, *, at: float) -> None:
        standing = self.labels.standing(one.event_id)
        if standing.label != one.label or not standing.teaches(at=at):
            got = "labellers who differ" if standing.contested else f"label {standing.label}"
            streams = ", ".join(sorted({label.stream.value for label in standing.labels})) or "none"
            raise DataError(
                f"exemplar {one.event_id}: expected a standing label {one.label} that may teach, got {got} "
                f"(streams: {streams}); only teach labels, and audit labels after 30 days, are trained on"
            )

    def _keep_caps(self, label: str, *, context: SupportContext, at: float) -> int:
        stored = self._living(label, context)
        others = [one for one in stored if one.role is not Role.FOUNDER]
        if not others:
            return 0
        roles = self._roles(others, founders=[one for one in stored if one.role is Role.FOUNDER], label=label, at=at)
        pairs = list(zip(others, roles, strict=True))
        self.database.execute_many(
            "UPDATE exemplars SET role = ? WHERE event_id = ? AND removed_at IS NULL",
            [(role.value, one.exemplar.event_id) for one, role in pairs if role is not None and role is not one.role],
        )
        return self._remove([one.exemplar.event_id for one, role in pairs if role is None], why=OVER_CAP, at=at)

    def _roles(
        self, others: list[StoredExemplar], *, founders: list[StoredExemplar], label: str, at: float
    ) -> tuple[Role | None, ...]:
        twice = self._double_labelled(label)
        margins = [one.exemplar.margin for one in others]
        none = np.zeros((0, self._encoder.embedding_dim), np.float16)
        return assign_roles(
            [one.exemplar.event_id for one in others],
            embeddings=np.stack([one.exemplar.embedding for one in others]),
            founders=np.stack([one.exemplar.embedding for one in founders]) if founders else none,
            margins=np.asarray([np.nan if margin is None else margin for margin in margins], np.float64),
            double_labelled=np.asarray([one.exemplar.event_id in twice for one in others], np.bool_),
            added_at=np.asarray([one.added_at for one in others], np.float64),
            at=at,
            caps=self._caps,
        )

    def _double_labelled(self, label: str) -> set[str]:
        """Of living exemplars of a class, those that two people agree on: who differs has withdrawn it already."""
        rows = self.database.execute(
            "SELECT l.event_id FROM labels AS l JOIN exemplars AS e ON e.event_id = l.event_id "
            "WHERE e.removed_at IS NULL AND e.label = ? AND l.label = e.label AND l.stream <> 'honeypot' "
            "GROUP BY l.event_id HAVING count(DISTINCT l.labeller) > 1",
            label,
        )
        return {str(event_id) for (event_id,) in rows}

    def _lives(self, event_id: str) -> bool:
        return bool(
            self.database.execute("SELECT 1 FROM exemplars WHERE event_id = ? AND removed_at IS NULL", event_id)
        )

    def _living(self, label: str, context: SupportContext) -> list[StoredExemplar]:
        place = (label, context.source, context.roi, context.product)
        rows = self.database.execute(f"SELECT {_COLUMNS} FROM exemplars WHERE {_OF_CLASS}", *place)
        return [self._stored(row) for row in rows]

    def _insert(self, one: Exemplar, *, role: Role, at: float) -> None:
        context = one.context
        self.database.execute(
            "INSERT INTO exemplars (event_id, label, source, roi, product, embedding, levels, part, margin, evidence, "
            "role, added_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            one.event_id,
            one.label,
            context.source,
            context.roi,
            context.product,
            one.embedding.tobytes(),
            None if one.levels is None else one.levels.tobytes(),
            one.part,
            one.margin,
            one.evidence,
            role.value,
            at,
        )

    def _remove(self, event_ids: Sequence[str], *, why: str, at: float) -> int:
        self.database.execute_many(
            "UPDATE exemplars SET removed_at = ?, removed_why = ? WHERE event_id = ? AND removed_at IS NULL",
            [(at, why, event_id) for event_id in event_ids],
        )
        return len(event_ids)

    def _stored(self, row: tuple[Any, ...]) -> StoredExemplar:
        event_id, label, source, roi, product, embedding, levels, part, margin, evidence, *state = row
        role, added_at, removed_at, why = state
        exemplar = Exemplar(
            event_id=event_id,
            label=label,
            context=SupportContext(source, roi, product, *self._sums),
            embedding=np.frombuffer(embedding, np.float16),
            levels=None if levels is None else np.frombuffer(levels, np.float16),
            part=part,
            margin=margin,
            evidence=evidence,
        )
        return StoredExemplar(exemplar, Role(role), added_at, removed_at, why)


def _by_class(exemplars: Sequence[Exemplar]) -> dict[tuple[str, SupportContext], list[Exemplar]]:
    groups: dict[tuple[str, SupportContext], list[Exemplar]] = {}
    for one in exemplars:
        groups.setdefault((one.label, one.context), []).append(one)
    return groups


def _same(one: Exemplar, known: StoredExemplar | None) -> bool:
    return known is not None and one.embedding.tobytes() == known.exemplar.embedding.tobytes()
