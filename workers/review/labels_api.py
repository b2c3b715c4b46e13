"""POST /labels: labels from other programs, one or many, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from pipeline.adaptation.support.labels import Stream
from workers.review.access import Role
from workers.review.backend import LabelAnswer, ReviewBackend
from workers.review.rendering import as_json
from workers.review.visit import Door, Refusal, Visit

MAX_LABELS = 1000  # in one request
REFUSED = "refused"  # the one outcome that is not the intake's: this user may not send such a label
_ASKED_STREAMS = frozenset(Stream) - {Stream.TEACH}  # what they prove rests on who was asked, and how he was chosen


class LabelsApi:
    """Takes a JSON object, or a list of them, as `parse_label` reads them; `labeller` may be left out."""

    def __init__(self, backend: ReviewBackend, *, door: Door) -> None:
        """`door` charges every label after a request's first."""
        self._backend = backend
        self._door = door

    def take(self, visit: Visit) -> Response:
        """Handler; any thread may call it."""
        rows = _rows(visit.content)
        self._door.charge(visit, n=len(rows) - 1.0)
        refused = [_refused(row, visit=visit) for row in rows]
        good = [place for place, answer in enumerate(refused) if answer is None]
        named = [{**rows[place], "labeller": rows[place].get("labeller") or visit.user.name} for place in good]
        taken = dict(zip(good, self._backend.take_labels(named, sender=visit.user.name), strict=True))
        answers = [answer or taken[place] for place, answer in enumerate(refused)]
        return as_json({"labels": [_as_dict(one) for one in answers]})


def _rows(content: Any) -> list[dict[str, Any]]:
    rows = content if isinstance(content, list) else [content]
    if not 0 < len(rows) <= MAX_LABELS:
        raise Refusal(422, "refused_body", why=f"expected 1 to {MAX_LABELS} labels, got {len(rows)}")
    for place, row in enumerate(rows):
        if not isinstance(row, dict):
            raise Refusal(422, "refused_body", why=f"label {place}: expected an object, got {type(row).__name__}")
    return rows


def _refused(row: Mapping[str, Any], *, visit: Visit) -> LabelAnswer | None:
    """A person speaks for himself, to teach; only an approver's program brings in what others said, or evidence."""
    if visit.may(Role.APPROVER):
        return None
    name, stream, event_id = row.get("labeller"), row.get("stream"), row.get("event_id")
    if name and name != visit.user.name:
        reason = f"labeller: expected {visit.user.name}, whose token this is, got {str(name)[:64]!r}; leave it out"
    elif stream in _ASKED_STREAMS:
        reason = f"stream: expected {Stream.TEACH}, got {stream}: an approver sends those, or the line asks for them"
    else:
        return None
    return LabelAnswer(event_id if isinstance(event_id, str) else "", REFUSED, reason)


def _as_dict(one: LabelAnswer) -> dict[str, Any]:
    return {name: getattr(one, name) for name in LabelAnswer.__slots__}
