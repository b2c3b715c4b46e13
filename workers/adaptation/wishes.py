"""What a person asked for, as an event of the life cycle."""

from __future__ import annotations

from pipeline.adaptation.lifecycle import events as ev
from pipeline.adaptation.lifecycle.states import RunState
from workers.adaptation.requests import Request, RequestKind


def event_of(request: Request, *, state: RunState, at: float) -> ev.Event | None:
    """The event of a request; None where the run or the step it names is over."""
    fields, by, kind = request.values, request.by, request.kind
    reason = str(fields.get("reason") or "asked for")
    if fields.get("step") is not None and fields["step"] != state.step:
        return None
    if kind in (RequestKind.APPROVE, RequestKind.REFUSE):
        return ev.ApprovalAnswered(at, str(fields.get("run") or ""), kind is RequestKind.APPROVE, by)
    if kind in (RequestKind.REBASELINE_APPROVE, RequestKind.REBASELINE_REFUSE):
        return ev.RebaselineAnswered(at, kind is RequestKind.REBASELINE_APPROVE, by)
    if kind is RequestKind.ROLLBACK:
        return ev.RollbackAsked(at, by, reason)
    if kind is RequestKind.FREEZE:
        return ev.Frozen(at, by, reason)
    return ev.Thawed(at, by) if kind is RequestKind.THAW else None
