"""`clearline drift`: references, where the line stands, the audit chain, and a person's yes or no."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from pipeline.adaptation.drift.profile_file import load_profile
from pipeline.adaptation.lifecycle.audit_log import verify
from pipeline.adaptation.lifecycle.states import RunState, State
from pipeline.adaptation.support.label_queue import LabelQueue
from pipeline.errors import DataError
from workers.adaptation.chain import current_product
from workers.adaptation.files import AdaptationFiles
from workers.adaptation.lock import held_unless_running
from workers.adaptation.requests import RequestKind, product_name, submit, waiting
from workers.adaptation.rereference import MAX_MISSING
from workers.clock import SystemClock
from workers.commands.adaptation_opening import (
    IN_WORDS,
    ByOption,
    ConfigOption,
    JsonOption,
    adaptation_of,
    needed_state,
    opened_store,
    read_audit,
    read_state,
    record,
    say,
)
from workers.commands.drift_demo import demo
from workers.commands.drift_reference import as_text, make_references
from workers.config.line import LineConfig, load_config
from workers.opening.line import open_encoder

app = typer.Typer(help="References, state, audit log, approvals.", no_args_is_help=True)
app.command("demo")(demo)
DAY_S = 86_400.0
N_ALARMS = 5
BROKEN = 1  # exit code


@dataclass(frozen=True, slots=True)
class ReferenceRow:
    """One reference that lies in the folder."""

    path: str
    source: str = ""
    roi: str = ""
    product: str = ""
    head_version: int = 0
    n_parts: int = 0
    age_days: float = 0.0  # since its last part
    active: tuple[str, ...] = ()  # charts that may call somebody
    advisory: tuple[str, ...] = ()
    approved_by: str | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """Where a line stands; `state` is None before its first run with adaptation."""

    product: str
    running: bool
    state: str | None
    in_words: str
    reason: str
    since: float | None
    champion: int | None
    candidate: int | None
    run: str | None
    gate: dict[str, Any] | None
    references: tuple[ReferenceRow, ...]
    open_labels: dict[str, int]
    alarms: tuple[dict[str, Any], ...]
    n_requests: int  # that no line has taken yet


@app.command("reference")
def drift_reference(
    *,
    config: ConfigOption,
    approved_by: Annotated[
        str | None, typer.Option(help="Who answers for it: the line was good then. Without it nothing is written.")
    ] = None,
    max_missing: Annotated[
        int, typer.Option(min=0, help="Frames that may be missing at one place of a contiguous run.")
    ] = MAX_MISSING,
    as_json: JsonOption = False,
) -> None:
    """Fit what a line in control looks like, from the longest contiguous run recorded of each camera and region."""
    loaded, at = load_config(config), SystemClock().utc()
    adaptation_of(loaded)
    info = open_encoder(loaded).image.info
    made = make_references(loaded, encoder=info, approved_by=approved_by, at=at, max_missing=max_missing)
    say({"references": [asdict(one) for one in made]}, text=as_text(made), as_json=as_json)
    if all(one.fault for one in made):
        raise typer.Exit(DataError.exit_code)


@app.command("status")
def drift_status(*, config: ConfigOption, as_json: JsonOption = False) -> None:
    """Say where the line stands: state, references and their age, open labels, the last alarms."""
    status = status_of(load_config(config), at=SystemClock().utc())
    say(asdict(status), text=_told(status), as_json=as_json)


@app.command("audit")
def drift_audit(*, config: ConfigOption, as_json: JsonOption = False) -> None:
    """Verify the chain of hashes over all that was changed; exit code 1 where it is broken."""
    _, files = adaptation_of(load_config(config))
    found = verify(files.audit)
    if not found.ok:
        found = verify(files.audit)  # a line may have written between reading the log and reading its end
    text = f"{files.audit}: {found.n_records} records, {found.reason}"
    if not found.ok:
        text = f"{files.audit}: broken at record {found.first_broken}: {found.reason}; keep the file as evidence"
    say({**asdict(found), "path": str(files.audit)}, text=iter((text,)), as_json=as_json)
    if not found.ok:
        raise typer.Exit(BROKEN)


@app.command("approve")
def drift_approve(*, config: ConfigOption, by: ByOption, as_json: JsonOption = False) -> None:
    """Say yes to what the line asks: a new head, or a new normal."""
    _answer(config=load_config(config), approved=True, by=by, as_json=as_json)


@app.command("refuse")
def drift_refuse(*, config: ConfigOption, by: ByOption, as_json: JsonOption = False) -> None:
    """Say no to what the line asks: a new head, or a new normal."""
    _answer(config=load_config(config), approved=False, by=by, as_json=as_json)


@app.command("changeover")
def drift_changeover(
    product: Annotated[str, typer.Argument(help="What is on the belt from now on.")],
    *,
    config: ConfigOption,
    by: ByOption,
    as_json: JsonOption = False,
) -> None:
    """Say that another product is on the belt: the line picks its references, and no drift is seen in it."""
    _, files = adaptation_of(load_config(config))
    name, at = product_name(product), SystemClock().utc()
    with held_unless_running(files) as mine:
        if mine:
            record(files, at=at, actor=by, kind=RequestKind.CHANGEOVER.value, payload={"product": name})
        else:
            submit(files, kind=RequestKind.CHANGEOVER, by=by, at=at, product=name)
    text = f"product {name} from now on" + ("" if mine else ", as soon as the running line looks")
    say({"product": name, "running": not mine}, text=iter((text,)), as_json=as_json)


def answer(files: AdaptationFiles, *, approved: bool, by: str, at: float) -> RequestKind:
    """Leave the answer for the line. Raises DataError where nothing is asked."""
    state = needed_state(files)
    kinds = {
        (State.APPROVAL, True): RequestKind.APPROVE,
        (State.APPROVAL, False): RequestKind.REFUSE,
        (State.REBASELINE, True): RequestKind.REBASELINE_APPROVE,
        (State.REBASELINE, False): RequestKind.REBASELINE_REFUSE,
    }
    kind = kinds.get((state.state, approved))
    if kind is None:
        raise DataError(
            f"drift {'approve' if approved else 'refuse'}: expected a line that waits for a person, got one in state "
            f"{state.state}: {IN_WORDS[state.state]}"
        )
    submit(files, kind=kind, by=by, at=at, run=state.run, step=state.step)
    return kind


def status_of(config: LineConfig, *, at: float) -> Status:
    """Everything `drift status` tells; opens the encoder where there is a support store. Blocks."""
    given, files = adaptation_of(config)
    with held_unless_running(files) as mine:
        running = not mine
    state = read_state(files)
    words = "no line has run with adaptation yet; start one with `clearline run`"
    return Status(
        product=current_product(files.audit, configured=given.product)[0],
        running=running,
        state=None if state is None else state.state.value,
        in_words=words if state is None else IN_WORDS[state.state],
        reason="" if state is None else state.reason,
        since=None if state is None else state.entered_at,
        champion=None if state is None else state.champion,
        candidate=None if state is None else state.candidate,
        run=None if state is None else state.run,
        gate=_gate(files, state=state),
        references=tuple(_references(files, at=at)),
        open_labels=_open_labels(config, files=files, at=at),
        alarms=tuple(_alarms(files)),
        n_requests=waiting(files),
    )


def _answer(*, config: LineConfig, approved: bool, by: str, as_json: bool) -> None:
    kind = answer(adaptation_of(config)[1], approved=approved, by=by, at=SystemClock().utc())
    text = f"told the line: {kind.value.replace('_', ' ')}, by {by}; see `clearline drift status`"
    say({"kind": kind.value, "by": by}, text=iter((text,)), as_json=as_json)


def _references(files: AdaptationFiles, *, at: float) -> Iterator[ReferenceRow]:
    for path in sorted(files.references.glob("reference-*")) if files.references.is_dir() else ():
        try:
            profile = load_profile(path)
        except DataError as error:
            yield ReferenceRow(str(path), fault=str(error))
            continue
        context, charts = profile.context, profile.charts
        yield ReferenceRow(
            path=str(path),
            source=context.source,
            roi=context.roi,
            product=context.product,
            head_version=context.head_version,
            n_parts=profile.n_parts,
            age_days=(at - profile.last_at) / DAY_S,
            active=tuple(spec.name for spec in charts if not spec.advisory),
            advisory=tuple(spec.name for spec in charts if spec.advisory),
            approved_by=profile.approved_by,
        )


def _open_labels(config: LineConfig, *, files: AdaptationFiles, at: float) -> dict[str, int]:
    if not files.support.is_file():
        return {}
    with opened_store(files, encoder=open_encoder(config).image.info) as store:
        return {stream.value: n for stream, n in LabelQueue(store.database).n_open(at=at).items()}


def _alarms(files: AdaptationFiles) -> list[dict[str, Any]]:
    """The last entries into the state that follows an alarm."""
    entered = [one for one in read_audit(files.audit) if one.payload.get("after") == State.DIAGNOSE.value]
    return [{"at": one.at, "reason": str(one.payload.get("reason", ""))} for one in entered[-N_ALARMS:]]


def _gate(files: AdaptationFiles, *, state: RunState | None) -> dict[str, Any] | None:
    """The report a person has to look at."""
    if state is None or state.run is None:
        return None
    try:
        report: dict[str, Any] = json.loads(files.gate(state.run).read_bytes())
    except (OSError, ValueError):
        return None
    return report


def _told(status: Status) -> Iterator[str]:
    line = "a line runs" if status.running else "no line runs"
    yield f"product {status.product}; {line}: {status.in_words}"
    if status.since is not None:
        yield f"since {_time(status.since)}: {status.reason or 'started'}; head {status.champion} decides"
    if status.gate is not None:
        gate = status.gate
        yield f"gate of run {status.run}, head {status.candidate}: {gate.get('decision')}: {gate.get('reason')}"
    if not status.references:
        yield "no reference: nothing is watched; make one with `clearline drift reference`"
    for one in status.references:
        if one.fault:
            yield f"reference {one.path} cannot be used: {one.fault}"
            continue
        yield (
            f"reference {one.source}/{one.roi}, product {one.product}, head {one.head_version}: {one.n_parts:,} parts, "
            f"{one.age_days:.1f} days old, approved by {one.approved_by or 'nobody'}; active: "
            f"{', '.join(one.active) or 'none'}; advisory: {', '.join(one.advisory) or 'none'}"
        )
    total = sum(status.open_labels.values())
    yield f"{total} open questions to labellers; {status.n_requests} requests not yet taken by a line"
    for alarm in status.alarms:
        yield f"{_time(alarm['at'])}: {alarm['reason']}"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="seconds")
