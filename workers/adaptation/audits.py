"""Audit labels as figures: how many defects the line lets through and how many good parts it throws away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

from pipeline.adaptation.drift.effect import AuditChart, AuditKind
from pipeline.adaptation.drift.spc import clopper_pearson
from pipeline.adaptation.support.labels import Stream
from pipeline.adaptation.support.store import SupportStore

ESCAPE_PROMISE, OVERKILL_PROMISE = 0.005, 0.10  # shares among audited accepted, and rejected, parts that are no news
TOLERANCE = {"escape": 0.001, "overkill": 0.02}
LARGEST_PROMISE = 0.25
LATE_S = 86_400.0  # a label may come in so long after it was given


class Audits:
    """Reads blind labels of random parts from the store as they come. One thread."""

    def __init__(
        self,
        store: SupportStore,
        *,
        good: Collection[str],
        source_of: Callable[[str], str],
        since: float,
        promised: tuple[float, float],
    ) -> None:
        """`since` is when the head that decides now began; `promised` its own shares at commissioning."""
        self._store, self._good, self._source_of = store, frozenset(good), source_of
        self._since = since
        self._promised = promised
        self._newest = float("-inf")
        self._charts = self._begun()

    def restart(self, *, at: float, promised: tuple[float, float]) -> None:
        """Another head decides: what was known of the one before says nothing about it."""
        self._since, self._promised = at, promised
        self._newest = float("-inf")
        self._charts = self._begun()

    def update(self, *, now: float) -> AuditKind | None:
        """Take labels that have come since; the kind of error that is more than promised, None where none is."""
        for label in self._store.labels.since(max(self._since, self._newest - LATE_S), stream=Stream.AUDIT):
            key = (label.event_id, label.labeller)
            if key in self._taken or label.model_label is None:
                continue
            self._taken.add(key)
            self._newest = max(self._newest, label.labelled_at)
            accepted, good = label.model_label in self._good, label.label in self._good
            kind: AuditKind = "escape" if accepted else "overkill"
            wrong = accepted != good
            self._charts[kind].update(wrong, at=label.labelled_at)
            counts = self._by_source.setdefault(self._source_of(label.event_id), Counter())
            counts[kind, wrong] += 1
        return next((kind for kind, chart in self._charts.items() if chart.reading(now=now).alarm), None)

    def tell(self, gauge: Callable[..., None], *, now: float) -> None:
        """Metrics: 95 % bounds and whether any of it is about today."""
        for source, counts in self._by_source.items():
            wrong, right = counts["escape", True], counts["escape", False]
            for bound, value in _bounds(wrong, wrong + right):
                gauge("escape_ratio", value, source, bound)
        overkill = self._charts["overkill"].reading(now=now)
        for bound, value in _bounds(overkill.n_errors, overkill.n_labels):
            gauge("overkill_ratio", value, bound)
        gauge("audit_stale", float(self._charts["escape"].reading(now=now).is_stale))

    def _begun(self) -> dict[AuditKind, AuditChart]:
        self._taken: set[tuple[str, str]] = set()
        self._by_source: dict[str, Counter[tuple[str, bool]]] = {}
        shares = {
            "escape": max(ESCAPE_PROMISE, self._promised[0]),
            "overkill": max(OVERKILL_PROMISE, self._promised[1]),
        }
        kinds: tuple[AuditKind, ...] = ("escape", "overkill")
        return {
            kind: AuditChart(kind, target_share=min(shares[kind], LARGEST_PROMISE), tolerance=TOLERANCE[kind])
            for kind in kinds
        }


def _bounds(n_wrong: int, n: int) -> tuple[tuple[str, float], ...]:
    if n == 0:
        return ()
    found = clopper_pearson(n_wrong, n=n)
    return ("lower", found.low), ("point", found.point), ("upper", found.high)
