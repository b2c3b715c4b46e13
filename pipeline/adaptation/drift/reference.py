"""Fit what a line in control looks like, from one contiguous recording."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pipeline.adaptation.drift.blocks import CHARTS, MAX_BLOCK, Float64Array, Projection
from pipeline.adaptation.drift.chart_limits import ChartSpec, fit_chart
from pipeline.adaptation.drift.context import Context
from pipeline.adaptation.drift.profile import ReferenceProfile, ReferenceRules
from pipeline.adaptation.drift.profile_file import sealed
from pipeline.adaptation.drift.projection import PartScatter, fit_projection, recording_blocks
from pipeline.errors import DataError
from pipeline.types import Float32Array

VIEW_SHARE = 0.25  # first part of the recording: class means and directions; everything else comes from the rest
MAX_LAG_SHARE = 4  # autocorrelation is read up to a quarter of the recording
NOISE_Z = 3.0  # an autocorrelation below so many deviations of a white series' is none


def fit_reference(
    embeddings: npt.NDArray[np.floating],  # (N, D) unit rows, in the order of the line
    *,
    probabilities: Float32Array,  # (N, C), calibrated
    context: Context,
    first_at: float,
    last_at: float,
    parts_per_alarm: float,
    rules: ReferenceRules | None = None,
) -> ReferenceProfile:
    """Fit all charts; those whose recording is too short come out advisory. Raises DataError below the shortest."""
    rules = rules or ReferenceRules()
    _check(embeddings, probabilities=probabilities, rules=rules)
    n_blocks = len(embeddings) // rules.block
    view, end = int(n_blocks * VIEW_SHARE) * rules.block, n_blocks * rules.block
    projection, scatter = fit_projection(embeddings, probabilities=probabilities, n_view=view)
    numbers = recording_blocks(
        projection, embeddings=embeddings[view:end], probabilities=probabilities[view:end], block=rules.block
    )
    correlation = correlation_parts(numbers[:, : projection.n_location], block=rules.block)
    charts = _fit_charts(numbers, projection=projection, scatter=scatter, rules=rules, parts_per_alarm=parts_per_alarm)
    standing = _advisory(len(embeddings), correlation=correlation, rules=rules)
    profile = ReferenceProfile(
        context=context,
        rules=rules,
        projection=projection,
        charts=tuple(replace(spec, advisory=late) for spec, late in zip(charts, standing, strict=True)),
        n_parts=len(embeddings),
        first_at=first_at,
        last_at=last_at,
        correlation_parts=correlation,
        parts_per_alarm=parts_per_alarm,
    )
    return sealed(profile)


def correlation_parts(location: Float64Array, *, block: int) -> float:
    """Parts after which the slowest direction of the block means has forgotten all but 1/e of itself.

    The direction is the first eigenvector of the symmetrised lag-1 covariance; lag 0 is left out, for the parts' own
    scatter is in it.
    """
    z = location - location.mean(axis=0)
    lagged = z[1:].T @ z[:-1] / len(z)
    slow = z @ np.linalg.eigh((lagged + lagged.T) / 2.0)[1][:, -1]
    n = len(slow)
    padded = np.fft.rfft(slow, 2 * n)
    acf = np.fft.irfft(padded * padded.conj())[:n]
    acf /= acf[0]
    if n < MAX_LAG_SHARE or acf[1] < NOISE_Z / np.sqrt(n):
        return float(block)
    low = np.flatnonzero(acf[1 : n // MAX_LAG_SHARE] < acf[1] / np.e)
    if low.size == 0:
        return float(block * n // MAX_LAG_SHARE)
    after = int(low[0]) + 1  # first lag below; between it and the one before, the crossing
    before, beneath, level = acf[after - 1], acf[after], acf[1] / np.e
    crossing = after - 1 + (before - level) / (before - beneath)
    return float(block * max(1.0, crossing - 1.0))


def _fit_charts(
    numbers: Float64Array,
    *,
    projection: Projection,
    scatter: PartScatter,
    rules: ReferenceRules,
    parts_per_alarm: float,
) -> list[ChartSpec]:
    arl = parts_per_alarm / rules.block * len(CHARTS)
    ends = np.cumsum(projection.widths)
    return [
        fit_chart(
            numbers[:, end - width : end],
            name=name,
            weight=weight,
            arl_blocks=arl,
            independent_sd=scatter.block_sd(name, block=rules.block),
        )
        for name, width, end, weight in zip(CHARTS, projection.widths, ends, rules.weights(), strict=True)
    ]


def _advisory(n_parts: int, *, correlation: float, rules: ReferenceRules) -> list[bool]:
    too_short = n_parts < rules.correlation_times * correlation
    return [
        too_short
        or n_parts < (rules.mix_active_parts if name == "mix" else rules.active_parts)
        or n_parts < rules.memories * rules.block / weight
        for name, weight in zip(CHARTS, rules.weights(), strict=True)
    ]


def _check(embeddings: npt.NDArray[np.floating], *, probabilities: Float32Array, rules: ReferenceRules) -> None:
    n = len(embeddings)
    if embeddings.ndim != 2 or probabilities.ndim != 2 or n != len(probabilities) or probabilities.shape[1] < 2:
        got = f"{embeddings.shape} and {probabilities.shape}"
        raise DataError(f"drift reference: expected embeddings (n, D) and probabilities (n, C >= 2), got {got}")
    if n < rules.advisory_parts:
        raise DataError(
            f"drift reference: expected at least {rules.advisory_parts:,} parts in a row, got {n:,}; record longer"
        )
    if not 1 <= rules.block <= MAX_BLOCK or not 0.0 < min(rules.weights()) <= max(rules.weights()) <= 1.0:
        got = f"{rules.block} and {rules.weights()}"
        raise DataError(f"drift reference: expected a block of 1 to {MAX_BLOCK} and weights in (0, 1], got {got}")
