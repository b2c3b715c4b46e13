"""A recording to references: the longest contiguous run of every camera and region, scored by the live head."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.adaptation.drift.context import Context
from pipeline.adaptation.drift.limits import FalseAlarmBudget
from pipeline.adaptation.drift.profile import ReferenceProfile, ReferenceRules
from pipeline.adaptation.drift.profile_file import save_profile, sealed
from pipeline.adaptation.drift.reference import fit_reference
from pipeline.adaptation.support.replaying import RecordingReader, Run
from pipeline.decision import softmax
from pipeline.errors import ConfigError, DataError
from pipeline.heads import registry
from pipeline.heads.bundle import HeadBundle
from pipeline.types import EncoderInfo, Features, Float32Array
from workers.adaptation_lock import held_unless_running
from workers.adaptation_requests import RequestKind, submit
from workers.commands.adaptation_opening import adaptation_of, current_product, head_folder, record
from workers.commands.recorded import recorded_places
from workers.config import LineConfig
from workers.config_adaptation import DriftConfig

SCORED_TOGETHER = 4096  # rows
MAX_PARTS = 1_000_000  # of a reference, the newest; ten times what the charts need, and 1 GB of memory
MAX_MISSING = 8  # frames at one place: an eighth of a block cannot hide how slowly the line wanders


@dataclass(frozen=True, slots=True)
class ChartRow:
    """One chart of a reference."""

    name: str
    active: bool
    missing_parts: int  # until it may call somebody


@dataclass(frozen=True, slots=True)
class Made:
    """What came of one camera and region."""

    source: str
    roi: str
    n_parts: int
    hours: float
    correlation_parts: float | None
    charts: tuple[ChartRow, ...]
    path: str | None  # None: not written
    sha256: str
    fault: str = ""  # why there is no reference


def make_references(
    config: LineConfig, *, encoder: EncoderInfo, approved_by: str | None, at: float, max_missing: int = MAX_MISSING
) -> list[Made]:
    """Fit, and with a name write, record and tell the running line. Blocks, about a minute for a million parts.

    Raises ConfigError for a head that needs more than the recorded embedding.
    """
    given, files = adaptation_of(config)
    bundle = registry.load(head_folder(config), encoder=encoder)
    if bundle.head.n_levels:
        raise ConfigError(
            f"drift reference: expected a live head that uses the embedding alone, got {bundle.head.name} version "
            f"{bundle.version}; fit the head again with `clearline head fit` and adaptation on"
        )
    product, since = current_product(files, configured=given.product)
    reader = RecordingReader(files.recording, encoder=encoder)
    configured = {(camera.id, roi.id) for camera in config.cameras for roi in camera.rois}
    found = []
    for source, roi in sorted(configured | recorded_places(files.recording, encoder=encoder)):
        sums = (encoder.sha256, encoder.preprocessing_sha256)
        context = Context(source, roi, product, *sums, head_version=bundle.version)
        runs = reader.runs(source=source, roi=roi, since=since, max_missing=max_missing)
        found.append(_made(context, runs=runs, reader=reader, bundle=bundle, drift=given.drift))
    return [_kept(one, config=config, approved_by=approved_by, at=at) for one in found]


Fit = tuple[Context, ReferenceProfile | None, Run | None, str]


def _made(
    context: Context, *, runs: tuple[Run, ...], reader: RecordingReader, bundle: HeadBundle, drift: DriftConfig
) -> Fit:
    if not runs:
        return context, None, None, "nothing is recorded of it"
    longest = newest_part(max(runs, key=lambda run: run.n_frames))
    if longest.n_frames < drift.advisory_parts:
        short = f"{longest.n_frames:,} parts in a row, {drift.advisory_parts:,} are needed; record longer"
        return context, None, longest, short
    frames = reader.read_run(longest)
    embeddings: npt.NDArray[np.floating] = frames.records["embedding"]
    try:
        profile = fit_reference(
            embeddings,
            probabilities=probabilities_of(bundle, embeddings=embeddings),
            context=context,
            first_at=longest.first_at,
            last_at=longest.last_at,
            parts_per_alarm=parts_per_alarm(drift, run=longest),
            rules=rules_of(drift),
        )
    except DataError as error:
        return context, None, longest, str(error)
    return context, profile, longest, ""


def newest_part(run: Run, *, n: int = MAX_PARTS) -> Run:
    """The newest n frames of a run, by its mean rate."""
    if run.n_frames <= n:
        return run
    first_at = run.last_at - (run.last_at - run.first_at) * n / run.n_frames
    return replace(run, first_sequence=run.last_sequence - n + 1, first_at=first_at, n_frames=n)


def parts_per_alarm(drift: DriftConfig, *, run: Run) -> float:
    """Of the budget, at the rate of the recording."""
    seconds = max(run.last_at - run.first_at, 1e-9)
    return FalseAlarmBudget(drift.false_alarms, drift.false_alarm_days).parts_per_alarm(run.n_frames / seconds)


def rules_of(drift: DriftConfig) -> ReferenceRules:
    """How long a recording must be."""
    return ReferenceRules(
        advisory_parts=drift.advisory_parts,
        active_parts=drift.active_parts,
        mix_active_parts=drift.mix_active_parts,
        correlation_times=drift.correlation_times,
    )


def probabilities_of(bundle: HeadBundle, *, embeddings: npt.NDArray[np.floating]) -> Float32Array:
    """(N, D) -> (N, C), calibrated as on the line."""
    out = np.empty((len(embeddings), len(bundle.head.classes)), np.float32)
    for begin in range(0, len(embeddings), SCORED_TOGETHER):
        rows = slice(begin, begin + SCORED_TOGETHER)
        logits = bundle.head.score(Features(image=embeddings[rows].astype(np.float32))).logits
        out[rows] = softmax(logits / np.float32(bundle.temperature))
    return out


def chart_rows(profile: ReferenceProfile) -> tuple[ChartRow, ...]:
    """Which charts may call somebody, and how many parts the others lack."""
    rules, rows = profile.rules, []
    for spec, weight in zip(profile.charts, rules.weights(), strict=True):
        least = rules.mix_active_parts if spec.name == "mix" else rules.active_parts
        needed = max(least, rules.memories * rules.block / weight, rules.correlation_times * profile.correlation_parts)
        missing = max(0, int(np.ceil(needed)) - profile.n_parts)
        rows.append(ChartRow(spec.name, not spec.advisory, missing))
    return tuple(rows)


def _kept(fit: Fit, *, config: LineConfig, approved_by: str | None, at: float) -> Made:
    context, profile, run, fault = fit
    n_parts, hours = (0, 0.0) if run is None else (run.n_frames, (run.last_at - run.first_at) / 3600.0)
    if profile is None:
        return Made(context.source, context.roi, n_parts, hours, None, (), None, "", fault)
    path: Path | None = None
    if approved_by is not None:
        profile = sealed(profile, approved_by=approved_by)
        path = _saved(profile, config=config, by=approved_by, at=at)
    rows, correlation = chart_rows(profile), profile.correlation_parts
    name = None if path is None else str(path)
    return Made(context.source, context.roi, profile.n_parts, hours, correlation, rows, name, profile.sha256)


def _saved(profile: ReferenceProfile, *, config: LineConfig, by: str, at: float) -> Path:
    """File first, then the record or the request: what is told of exists."""
    _, files = adaptation_of(config)
    path = save_profile(profile, folder=files.references)
    told = {"source": profile.context.source, "roi": profile.context.roi, "sha256": profile.sha256}
    with held_unless_running(files) as mine:
        if mine:
            record(files, at=at, actor=by, kind="reference", payload=told)
        else:
            submit(files, kind=RequestKind.REFERENCE, by=by, at=at, **told)
    return path


def as_text(made: list[Made]) -> Iterator[str]:
    """For people."""
    for one in made:
        where = f"{one.source}/{one.roi}"
        if one.fault:
            yield f"{where}: no reference: {one.fault}"
            continue
        wander = f"it forgets itself in {one.correlation_parts:,.0f} parts"
        yield f"{where}: {one.n_parts:,} parts in a row, {one.hours:.1f} h; {wander}"
        for row in one.charts:
            yield f"  {row.name:10} " + (
                "active" if row.active else f"advisory, {row.missing_parts:,} parts are missing"
            )
        yield f"  written: {one.path}" if one.path else "  not written: look at it, then give --approved-by NAME"
