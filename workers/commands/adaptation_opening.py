"""A configuration to the files of adaptation; shared by the verbs that work beside a running line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from pipeline.adaptation.lifecycle.audit_log import AuditLog, AuditRecord
from pipeline.adaptation.lifecycle.journal import Journal
from pipeline.adaptation.lifecycle.states import RunState, State
from pipeline.adaptation.support.store import SupportStore
from pipeline.errors import ConfigError, DataError
from pipeline.types import EncoderInfo
from workers.adaptation.files import AdaptationFiles
from workers.config.adaptation import AdaptationConfig
from workers.config.line import LineConfig

ConfigOption = Annotated[Path, typer.Option(help="The line's configuration file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
ByOption = Annotated[str, typer.Option(help="Who answers for it.")]

IN_WORDS = {
    State.COMMISSIONING: "no reference yet: nothing is watched (make one with `clearline drift reference`)",
    State.MONITORING: "watching; all is well",
    State.SUSPECT: "watching; a chart warns",
    State.DIAGNOSE: "a chart alarms; looking for the cause",
    State.BLOCKED: "the sensor is at fault: nothing is learned until it is good again",
    State.REBASELINE: "a harmless change: a person has to approve the new normal (`clearline drift approve`)",
    State.LABELLING: "waiting for labels (`clearline labels queue`)",
    State.TRAINING: "fitting a challenger",
    State.GATING: "a challenger is tried in the shadow",
    State.APPROVAL: "the gate says yes: a person has to approve the new head (`clearline drift approve`)",
    State.PROBATION: "a new head decides, on probation",
    State.ROLLED_BACK: "going back to the old head",
    State.COOLDOWN: "resting after a run that gave no new head",
    State.HOLD: "on hold: nothing changes until a person thaws it (`clearline head thaw`)",
}


def adaptation_of(config: LineConfig) -> tuple[AdaptationConfig, AdaptationFiles]:
    """The section and its files. Raises ConfigError where there is none."""
    if config.adaptation is None:
        raise ConfigError("adaptation: expected the section, got none; add `adaptation: {}` to the configuration")
    return config.adaptation, AdaptationFiles(config.adaptation.folder)


def head_folder(config: LineConfig) -> Path:
    """Where the versions of the line's head lie."""
    return config.head.registry / config.head.name


@contextmanager
def opened_store(files: AdaptationFiles, *, encoder: EncoderInfo) -> Iterator[SupportStore]:
    """The support store, beside whoever else uses it."""
    with SupportStore(files.support, encoder=encoder) as store:
        yield store


def read_state(files: AdaptationFiles) -> RunState | None:
    """Where the line stands; None before the first run. Raises DataError where the journal is damaged."""
    return Journal(files.state).read()


def needed_state(files: AdaptationFiles) -> RunState:
    """The same. Raises DataError before the first run too."""
    state = read_state(files)
    if state is None:
        raise DataError(f"{files.state}: expected the state of a line, got none; start one with `clearline run` first")
    return state


def record(files: AdaptationFiles, *, at: float, actor: str, kind: str, payload: dict[str, Any]) -> AuditRecord:
    """One record in the audit log; only with the lock held."""
    log = AuditLog(files.audit, at=at)
    try:
        return log.append(at=at, actor=actor, kind=kind, payload=payload)
    finally:
        log.close()


def read_audit(path: Path) -> list[AuditRecord]:
    """All records, as far as they can be read; whether they are genuine says `verify`."""
    found = []
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            found.append(AuditRecord(**orjson.loads(line)))
        except (ValueError, TypeError):
            continue  # torn or changed; `drift audit` names it
    return found


def say(plain: dict[str, Any], *, text: Iterator[str], as_json: bool) -> None:
    """One JSON object, or lines for people."""
    if as_json:
        print(orjson.dumps(plain).decode())
        return
    for line in text:
        print(line)
