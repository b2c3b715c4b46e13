"""Fits references of a head from the recording: `python -m workers.adaptation.rereference JOB.json`.

The recording holds embeddings, not what this head said of them: they are scored again.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.adaptation.drift.context import Context
from pipeline.adaptation.drift.limits import FalseAlarmBudget
from pipeline.adaptation.drift.profile import ReferenceProfile, ReferenceRules
from pipeline.adaptation.drift.profile_file import save_profile
from pipeline.adaptation.drift.reference import fit_reference
from pipeline.adaptation.support.replaying import RecordingReader, Run
from pipeline.decision.probabilities import softmax
from pipeline.errors import ClearlineError, DataError
from pipeline.heads.bundles import registry
from pipeline.heads.bundles.bundle import HeadBundle
from pipeline.types import EncoderInfo, Features, Float32Array

SCORED_TOGETHER = 4096  # rows
MAX_PARTS = 1_000_000  # of a reference, the newest; ten times what the charts need, and 1 GB of memory
MAX_MISSING = 8  # frames at one place: an eighth of a block cannot hide how slowly the line wanders


@dataclass(frozen=True, slots=True)
class ReferenceJob:
    """Which head, which stretch of the recording, which rules; paths as text."""

    recording: str
    references: str
    registry: str  # folder of the head
    version: int
    product: str
    since: float  # captured_at
    encoder: dict[str, object]  # EncoderInfo's fields
    rules: dict[str, object]  # ReferenceRules' fields
    budget: dict[str, float]  # FalseAlarmBudget's fields

    def to_json(self) -> str:
        """For the child's file."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Fit:
    """What came of one place."""

    context: Context
    run: Run | None  # the stretch that was looked at
    profile: ReferenceProfile | None
    fault: str = ""  # why there is no profile


def fit_place(
    context: Context,
    *,
    reader: RecordingReader,
    bundle: HeadBundle,
    since: float,
    rules: ReferenceRules,
    budget: FalseAlarmBudget,
    max_missing: int = MAX_MISSING,
) -> Fit:
    """From the longest contiguous run of a camera and region since then (captured_at)."""
    runs = reader.runs(source=context.source, roi=context.roi, since=since, max_missing=max_missing)
    if not runs:
        return Fit(context, None, None, "nothing is recorded of it")
    longest = newest_part(max(runs, key=lambda run: run.n_frames))
    if longest.n_frames < rules.advisory_parts:
        short = f"{longest.n_frames:,} parts in a row, {rules.advisory_parts:,} are needed; record longer"
        return Fit(context, longest, None, short)
    embeddings: npt.NDArray[np.floating] = reader.read_run(longest).records["embedding"]
    seconds = max(longest.last_at - longest.first_at, 1e-9)
    try:
        profile = fit_reference(
            embeddings,
            probabilities=probabilities_of(bundle, embeddings=embeddings),
            context=context,
            first_at=longest.first_at,
            last_at=longest.last_at,
            parts_per_alarm=budget.parts_per_alarm(longest.n_frames / seconds),
            rules=rules,
        )
    except DataError as error:
        return Fit(context, longest, None, str(error))
    return Fit(context, longest, profile)


def newest_part(run: Run, *, n: int = MAX_PARTS) -> Run:
    """The newest n frames of a run, by its mean rate."""
    if run.n_frames <= n:
        return run
    first_at = run.last_at - (run.last_at - run.first_at) * n / run.n_frames
    return replace(run, first_sequence=run.last_sequence - n + 1, first_at=first_at, n_frames=n)


def probabilities_of(bundle: HeadBundle, *, embeddings: npt.NDArray[np.floating]) -> Float32Array:
    """(N, D) -> (N, C), calibrated as on the line."""
    out = np.empty((len(embeddings), len(bundle.head.classes)), np.float32)
    for begin in range(0, len(embeddings), SCORED_TOGETHER):
        rows = slice(begin, begin + SCORED_TOGETHER)
        logits = bundle.head.score(Features(image=embeddings[rows].astype(np.float32))).logits
        out[rows] = softmax(logits / np.float32(bundle.temperature))
    return out


def run_job(job: ReferenceJob) -> dict[str, int]:
    """Parts per place, of places long enough; their references are written."""
    encoder = encoder_of(job.encoder)
    bundle = registry.load(Path(job.registry), encoder=encoder, version=job.version)
    reader = RecordingReader(Path(job.recording), encoder=encoder)
    made = {}
    for source, roi in reader.places(since=job.since):
        fit = fit_place(
            Context(source, roi, job.product, encoder.sha256, encoder.preprocessing_sha256, job.version),
            reader=reader,
            bundle=bundle,
            since=job.since,
            rules=ReferenceRules(**job.rules),  # type: ignore[arg-type]  # written by to_json
            budget=FalseAlarmBudget(**job.budget),
        )
        if fit.profile is not None:
            save_profile(fit.profile, folder=Path(job.references))
            made[f"{source}/{roi}"] = fit.profile.n_parts
    return made


def encoder_of(plain: dict[str, object]) -> EncoderInfo:
    """EncoderInfo again, lists as tuples."""
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
    return EncoderInfo(**fields)  # type: ignore[arg-type]  # written by asdict


def main(path: str) -> int:
    """Writes one JSON object to stdout: parts by place, or the error."""
    said: dict[str, object]
    try:
        said = {"made": run_job(ReferenceJob(**json.loads(Path(path).read_text(encoding="utf-8"))))}
    except (ClearlineError, OSError, ValueError, TypeError) as error:
        said = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(said) + "\n")
    return int("error" in said)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
