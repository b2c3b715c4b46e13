"""Facts become sentences: drift, margins, the gate's report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.adaptation.drift.causes import Cause
from pipeline.adaptation.gate.values import Check, GateReport
from pipeline.adaptation.lifecycle.states import CALM, State
from workers.review.backend import DriftLine, Why
from workers.review.wording import Words

_STOPPED = frozenset({State.BLOCKED, State.HOLD})
_UNDER_WAY = frozenset(
    {State.DIAGNOSE, State.TRAINING, State.GATING, State.PROBATION, State.COOLDOWN, State.ROLLED_BACK}
)
_BY_LABELS = frozenset({State.LABELLING, State.GATING})
_BY_PARTS = frozenset({State.COMMISSIONING, State.PROBATION})
_WITHOUT_CAUSE = frozenset({State.COMMISSIONING, State.MONITORING, State.HOLD})


@dataclass(frozen=True, slots=True)
class Meter:
    """How far something has come."""

    value: int
    most: int
    label: str


def tone(line: DriftLine) -> str:
    """calm: nothing to do; busy: the line is at it; ask: a person is needed; alarm: a person is needed now."""
    if line.state in CALM:
        return "calm"
    if line.state in _STOPPED:
        return "alarm"
    return "busy" if line.state in _UNDER_WAY else "ask"


def page_to_go_to(line: DriftLine) -> str:
    """The tab where a person does what this state waits for; empty where there is none."""
    return "queue" if line.state in _BY_LABELS else "heads" if line.state is State.APPROVAL else ""


def state_word(state: State, *, words: Words) -> str:
    """One or two words, for people two metres away."""
    return words("state_" + _key(state))


def drift_sentence(line: DriftLine, *, words: Words, now: float) -> str:
    """What happened, whether it did harm, what is being done."""
    n, needed = (
        (line.n_parts, line.n_parts_needed) if line.state in _BY_PARTS else (line.n_labels, line.n_labels_needed)
    )
    version = words("none") if line.head_version is None else line.head_version
    doing = words("fact_" + _key(line.state), n=f"{n:,}", needed=f"{needed:,}", version=version)
    facts = [doing]
    if line.state is State.SUSPECT:
        facts = [_cause(line, words=words, now=now), doing]
    elif line.state not in _WITHOUT_CAUSE:
        facts = [_cause(line, words=words, now=now), words("harm_" + line.harm), doing]
    return words("drift_sentence", camera=line.camera, facts=words("drift_join").join(facts))


def drift_meter(line: DriftLine, *, words: Words) -> Meter | None:
    """Of labels or parts, where the state waits for them."""
    if line.state in _BY_LABELS and line.n_labels_needed:
        return Meter(line.n_labels, line.n_labels_needed, words("drift_labels_meter"))
    if line.state in _BY_PARTS and line.n_parts_needed:
        return Meter(line.n_parts, line.n_parts_needed, words("drift_parts_meter"))
    return None


def _cause(line: DriftLine, *, words: Words, now: float) -> str:
    if line.since is None:
        return words("cause_none")
    return words("cause_" + (line.cause or Cause.UNKNOWN), time=words.clock(line.since, now=now))


def _key(state: State) -> str:
    return state.value.replace(" ", "_")


def margin_sentence(why: Why, *, names: Mapping[str, str], words: Words) -> str:
    """What deconfusion did to the lead over the rival."""
    key = "why_lost" if why.margin < 0 else "why_turned" if why.raw_margin < 0 else "why_kept"
    before = abs(why.raw_margin) if key == "why_turned" else why.raw_margin
    return words(
        key,
        winner=names.get(why.label, why.label),
        rival=names.get(why.rival, why.rival),
        before=f"{before:.1f}",
        after=f"{why.margin:.1f}",
        removed=words.number(why.margin - why.raw_margin),
    )


def gate_facts(report: GateReport, *, words: Words) -> list[tuple[str, str]]:
    """Name and value of each figure that the decision rests on."""
    wrong, total = report.honeypot.get("wrong", 0), report.honeypot.get("total", 0)
    facts = [
        ("gate_frames", _said(words, "gate_frames_of", frames=report.frames, disagreements=report.disagreements)),
        ("gate_labels", _said(words, "gate_labels_of", labelled=report.labelled, ignored=sum(report.ignored.values()))),
        (
            "gate_evidence",
            words("gate_evidence_of", have=f"{report.log_e_cost:.1f}", needed=f"{report.log_e_needed:.1f}"),
        ),
        ("gate_gain", words.number(100 * report.cost_gain) + "%"),
        (
            "gate_escapes",
            words("gate_escapes_of", introduced=report.escape_introduced, removed=report.escape_removed),
        ),
        ("gate_bound", words("gate_bound_of", share=f"{100 * report.escape_bound:.2f}")),
    ]
    if total:
        facts.append(("gate_honeypots", words("gate_honeypots_of", wrong=wrong, total=total)))
    return [(words(key), value) for key, value in facts]


def _said(words: Words, key: str, **counts: int) -> str:
    return words(key, **{name: f"{n:,}" for name, n in counts.items()})


def check_name(check: Check, *, words: Words) -> str:
    """The condition in words; its own name where we have none."""
    return words.table.get("check_" + check.name.split(" ")[0], check.name)


def check_state(check: Check) -> str:
    """passed, failed or open."""
    return "open" if check.passed is None else "passed" if check.passed else "failed"
