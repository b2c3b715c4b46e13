"""`clearline head list|promote|rollback|freeze|thaw`: which version decides, and who says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from pipeline.adaptation.lifecycle.events import Event, Frozen, Thawed
from pipeline.adaptation.lifecycle.journal import Journal
from pipeline.adaptation.lifecycle.machine import changed_by_hand, step
from pipeline.adaptation.lifecycle.states import RunState, State
from pipeline.errors import BundleError, ConfigError, DataError
from pipeline.heads.bundles import registry
from pipeline.types import EncoderInfo
from workers.adaptation.files import AdaptationFiles
from workers.adaptation.lock import held_unless_running
from workers.adaptation.requests import RequestKind, submit
from workers.clock import SystemClock
from workers.commands.adaptation_opening import (
    ByOption,
    ConfigOption,
    JsonOption,
    adaptation_of,
    head_folder,
    needed_state,
    read_state,
    record,
    say,
)
from workers.config.line import LineConfig, load_config
from workers.opening.line import open_encoder

NEXT_START = "a line that runs without adaptation takes it up at its next start"
ReasonOption = Annotated[str, typer.Option(help="Why, for the audit log.")]


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version of a head as `head list` shows it."""

    version: int
    live: bool
    status: str  # live, on probation, previous, candidate, or empty
    kind: str
    classes: tuple[str, ...]
    accuracy: float | None  # out of fold, 0 to 1
    n_judged: int
    created_at: str
    sha256: str
    fault: str = ""  # why it cannot be loaded


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of a wish to change the head."""

    version: int | None  # that is live now; None where the line was asked
    before: int | None
    asked: bool  # of the running line, which answers by itself
    by: str


def head_list(*, config: ConfigOption, as_json: JsonOption = False) -> None:
    """List the versions of the line's head: kind, accuracy out of fold, when it was made, which one is live."""
    loaded = load_config(config)
    rows = list_versions(loaded)
    plain = {"folder": str(head_folder(loaded)), "versions": [asdict(row) for row in rows]}
    say(plain, text=_listed(rows, folder=head_folder(loaded)), as_json=as_json)


def head_promote(
    version: Annotated[int, typer.Argument(min=1, help="The version that is to decide.")],
    *,
    config: ConfigOption,
    by: ByOption,
    as_json: JsonOption = False,
) -> None:
    """Make a version live, after verifying it against the configured encoder."""
    moved = promote_version(version, config=load_config(config), by=by)
    text = f"version {moved.version} is live (before: {moved.before or 'none'}); {NEXT_START}"
    if moved.asked:
        text = f"asked the running line to decide with version {version}; see `clearline drift status`"
    say(asdict(moved), text=iter((text,)), as_json=as_json)


def head_rollback(
    *, config: ConfigOption, by: ByOption, reason: ReasonOption = "asked for", as_json: JsonOption = False
) -> None:
    """Go back to the version that was live before."""
    moved = roll_back(load_config(config), by=by, reason=reason)
    text = f"back to version {moved.version} (from {moved.before}); {NEXT_START}"
    if moved.asked:
        text = "asked the running line to go back to the head before; see `clearline drift status`"
    say(asdict(moved), text=iter((text,)), as_json=as_json)


def head_freeze(
    *, config: ConfigOption, by: ByOption, reason: ReasonOption = "asked for", as_json: JsonOption = False
) -> None:
    """Hold all automatic changes of the head until it is thawed."""
    _hold(load_config(config), kind=RequestKind.FREEZE, by=by, reason=reason, as_json=as_json)


def head_thaw(*, config: ConfigOption, by: ByOption, as_json: JsonOption = False) -> None:
    """Let automatic changes go on; a head that was on probation when all was held goes."""
    _hold(load_config(config), kind=RequestKind.THAW, by=by, reason="", as_json=as_json)


def list_versions(config: LineConfig) -> list[VersionRow]:
    """All versions, oldest first; one that cannot be loaded is listed with the reason."""
    folder = head_folder(config)
    state = None if config.adaptation is None else read_state(AdaptationFiles(config.adaptation.folder))
    try:
        live = registry.live_version(folder)[0]
    except BundleError:
        live = 0
    return [_row(folder, version=version, live=live, state=state) for version in registry.versions(folder)]


def promote_version(version: int, *, config: LineConfig, by: str, encoder: EncoderInfo | None = None) -> Moved:
    """Verify and make live, by the running line where one adapts; audit log and state follow. Blocks.

    Raises BundleError for a version that does not fit.
    """
    info = encoder or open_encoder(config).image.info
    if config.adaptation is None:
        return _moved(head_folder(config), version=version, encoder=info, by=by)
    files = AdaptationFiles(config.adaptation.folder)
    with held_unless_running(files) as mine:
        _needs_embedding_alone(head_folder(config), version=version, encoder=info)
        if not mine:
            submit(files, kind=RequestKind.PROMOTE, by=by, at=SystemClock().utc(), version=version)
            return Moved(None, None, asked=True, by=by)
        return _recorded(config, files=files, version=version, encoder=info, by=by, kind="promote", reason="")


def roll_back(config: LineConfig, *, by: str, reason: str = "asked for", encoder: EncoderInfo | None = None) -> Moved:
    """To the version that was live before: by the running line where one adapts, else directly. Blocks."""
    if config.adaptation is None:
        info = encoder or open_encoder(config).image.info
        return _moved(head_folder(config), version=_before(config, state=None), encoder=info, by=by)
    files, at = AdaptationFiles(config.adaptation.folder), SystemClock().utc()
    with held_unless_running(files) as mine:
        if not mine:
            if needed_state(files).previous is None:
                raise DataError("head rollback: expected a head before this one, got a line that knows of none")
            submit(files, kind=RequestKind.ROLLBACK, by=by, at=at, reason=reason)
            return Moved(None, None, asked=True, by=by)
        info = encoder or open_encoder(config).image.info
        version = _before(config, state=read_state(files))
        return _recorded(config, files=files, version=version, encoder=info, by=by, kind="rollback", reason=reason)


def hold(files: AdaptationFiles, *, kind: RequestKind, by: str, reason: str) -> bool:
    """Freeze or thaw; True where the running line was asked, False where it was done here."""
    state, at = needed_state(files), SystemClock().utc()
    held = state.state is State.HOLD
    if held == (kind is RequestKind.FREEZE):
        got = f"one on hold since then: {state.hold_reason}" if held else f"one that is not, but in: {state.state}"
        raise DataError(f"head {kind}: expected a line that can be {'frozen' if held else 'thawed'}, got {got}")
    with held_unless_running(files) as mine:
        if not mine:
            submit(files, kind=kind, by=by, at=at, **({"reason": reason} if reason else {}))
            return True
        event: Event = Frozen(at, by, reason) if kind is RequestKind.FREEZE else Thawed(at, by)
        record(files, at=at, actor=by, kind=kind.value, payload={"reason": reason, "step": state.step})
        Journal(files.state).write(step(state, event)[0])
    return False


def _hold(config: LineConfig, *, kind: RequestKind, by: str, reason: str, as_json: bool) -> None:
    asked = hold(adaptation_of(config)[1], kind=kind, by=by, reason=reason)
    done = "frozen: no head changes by itself" if kind is RequestKind.FREEZE else "thawed"
    text = f"asked the running line to {kind}" if asked else f"{done}, from the next start of the line on"
    say({"kind": kind.value, "asked": asked, "by": by}, text=iter((text,)), as_json=as_json)


def _recorded(
    config: LineConfig, *, files: AdaptationFiles, version: int, encoder: EncoderInfo, by: str, kind: str, reason: str
) -> Moved:
    """Log, pointer, state, in this order: a crash between them leaves a log that says what was meant."""
    at, state = SystemClock().utc(), read_state(files)
    registry.load(head_folder(config), encoder=encoder, version=version)
    record(files, at=at, actor=by, kind=kind, payload={"version": version, "reason": reason})
    moved = _moved(head_folder(config), version=version, encoder=encoder, by=by)
    if state is not None and state.champion != version:
        previous = moved.before if kind == "promote" else None
        Journal(files.state).write(
            changed_by_hand(state, to=version, previous=previous, at=at, reason=f"{by}: {kind} to head {version}")
        )
    return moved


def _moved(folder: Path, *, version: int, encoder: EncoderInfo, by: str) -> Moved:
    try:
        before = registry.live_version(folder)[0]
    except BundleError:
        before = None
    registry.promote(folder, version=version, encoder=encoder)
    return Moved(version, before, asked=False, by=by)


def _before(config: LineConfig, *, state: RunState | None) -> int:
    if state is not None and state.previous is not None:
        return state.previous
    known = registry.versions_before(head_folder(config))
    if not known:
        raise DataError(f"{head_folder(config)}: expected a head that was live before, got none; promote one by number")
    return known[-1]


def _needs_embedding_alone(folder: Path, *, version: int, encoder: EncoderInfo) -> None:
    head = registry.load(folder, encoder=encoder, version=version).head
    if head.n_levels:
        raise ConfigError(
            f"head promote: expected a head that uses the embedding alone, got {head.name} version {version} with "
            f"{head.n_levels} levels; fit it again with `clearline head fit` and adaptation on"
        )


def _row(folder: Path, *, version: int, live: int, state: RunState | None) -> VersionRow:
    status = _status(version, live=live, state=state)
    try:
        bundle = registry.load(folder, encoder=None, version=version)
    except BundleError as error:
        return VersionRow(version, version == live, status, "", (), None, 0, "", "", fault=str(error))
    judged = bundle.manifest.report["accuracy_head"]
    return VersionRow(
        version=version,
        live=version == live,
        status=status,
        kind=bundle.head.name,
        classes=bundle.head.classes,
        accuracy=judged["value"],
        n_judged=int(judged["n"]),
        created_at=str(bundle.manifest.provenance["created_at"]),
        sha256=bundle.sha256,
    )


def _status(version: int, *, live: int, state: RunState | None) -> str:
    if state is not None and state.on_probation and version == state.champion:
        return "on probation"
    if state is not None and version == state.candidate and version != state.champion:
        return "candidate"
    if version == live:
        return "live"
    return "previous" if state is not None and version == state.previous else ""


def _listed(rows: list[VersionRow], *, folder: Path) -> Iterator[str]:
    if not rows:
        yield f"{folder}: no head yet; make one with `clearline head fit`"
    for row in rows:
        if row.fault:
            yield f"{row.version:4d}  {row.status:12} cannot be loaded: {row.fault}"
            continue
        judged = "nothing held out" if row.accuracy is None else f"{100 * row.accuracy:.1f} % of {row.n_judged}"
        made = f"{row.kind}, {len(row.classes)} classes, out of fold {judged}"
        yield f"{row.version:4d}  {row.status:12} {made}, {row.created_at} ({row.sha256[:12]})"
