"""Fits references of a head from the recording: `python -m workers.adaptation.rereference JOB.json`.

The recording holds embeddings, not what this head said of them: they are scored again.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pipeline.adaptation.drift.context import Context
from pipeline.adaptation.drift.profile import ReferenceRules
from pipeline.adaptation.drift.profile_file import save_profile
from pipeline.adaptation.drift.reference import fit_reference
from pipeline.adaptation.support.replaying import RecordedFrames, RecordingReader
from pipeline.decision.probabilities import softmax
from pipeline.errors import ClearlineError
from pipeline.heads import registry
from pipeline.heads.bundle import HeadBundle
from pipeline.types import EncoderInfo, Features, Float32Array

CHUNK = 8_192


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
    false_alarms_per_s: float  # design rate, per camera

    def to_json(self) -> str:
        """For the child's file."""
        return json.dumps(asdict(self))


def run_job(job: ReferenceJob) -> dict[str, int]:
    """Parts per place, of places long enough; their references are written."""
    encoder = encoder_of(job.encoder)
    bundle = registry.load(Path(job.registry), encoder=encoder, version=job.version)
    rules = ReferenceRules(**job.rules)  # type: ignore[arg-type]  # written by to_json
    frames = RecordingReader(Path(job.recording), encoder=encoder).frames(since=job.since)
    made = {}
    for number, (source, roi) in enumerate(frames.places):
        own = RecordedFrames(frames.records[frames.records["place"] == number], frames.places)
        if len(own) < rules.advisory_parts:
            continue
        context = Context(source, roi, job.product, encoder.sha256, encoder.preprocessing_sha256, job.version)
        at = own.captured_at
        rate = len(own) / max(float(at[-1] - at[0]), 1.0)  # parts per second
        profile = fit_reference(
            own.embeddings,
            probabilities=_scored(bundle, own),
            context=context,
            first_at=float(at[0]),
            last_at=float(at[-1]),
            parts_per_alarm=rate / job.false_alarms_per_s,
            rules=rules,
        )
        save_profile(profile, folder=Path(job.references))
        made[f"{source}/{roi}"] = len(own)
    return made


def _scored(bundle: HeadBundle, frames: RecordedFrames) -> Float32Array:
    parts = []
    for start in range(0, len(frames), CHUNK):
        rows = frames.records["embedding"][start : start + CHUNK].astype(np.float32)
        logits = bundle.head.score(Features(image=rows)).logits
        parts.append(softmax(logits / np.float32(bundle.temperature)))
    return np.concatenate(parts)


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
