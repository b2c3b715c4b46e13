"""A recording to references: the longest contiguous run of every camera and region, scored by the live head."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.adaptation.drift.context import Context
from pipeline.adaptation.drift.profile import ReferenceProfile
from pipeline.adaptation.drift.profile_file import save_profile, sealed
from pipeline.adaptation.support.replaying import RecordingReader
from pipeline.errors import ConfigError
from pipeline.heads.bundles import registry
from pipeline.types import EncoderInfo
from workers.adaptation.chain import current_product
from workers.adaptation.lock import held_unless_running
from workers.adaptation.references import normal_of
from workers.adaptation.requests import RequestKind, submit
from workers.adaptation.rereference import MAX_MISSING, Fit, fit_place
from workers.commands.adaptation_opening import adaptation_of, head_folder, record
from workers.config.line import LineConfig
from workers.opening.adaptation import budget_of, rules_of


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
    product, since = current_product(files.audit, configured=given.product)
    since = max(since, normal_of(files.normal)[0])
    reader = RecordingReader(files.recording, encoder=encoder)
    configured = {(camera.id, roi.id) for camera in config.cameras for roi in camera.rois}
    found = []
    for source, roi in sorted(configured.union(reader.places())):
        sums = (encoder.sha256, encoder.preprocessing_sha256)
        context = Context(source, roi, product, *sums, head_version=bundle.version)
        found.append(
            fit_place(
                context,
                reader=reader,
                bundle=bundle,
                since=since,
                rules=rules_of(given.drift),
                budget=budget_of(given.drift),
                max_missing=max_missing,
            )
        )
    return [_kept(one, config=config, approved_by=approved_by, at=at) for one in found]


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
    context, profile, run = fit.context, fit.profile, fit.run
    n_parts, hours = (0, 0.0) if run is None else (run.n_frames, (run.last_at - run.first_at) / 3600.0)
    if profile is None:
        return Made(context.source, context.roi, n_parts, hours, None, (), None, "", fit.fault)
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
