"""Fits a challenger in a process of its own: `python -m workers.adaptation.refit JOB.json`.

Everything it needs is in the job and in the files the job names, so the same job gives the same bundle.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pipeline.adaptation.support.rows import SupportRows, load_snapshot
from pipeline.errors import DataError
from pipeline.heads.bundles import registry
from pipeline.heads.bundles.bundle import Provenance, bundle_bytes
from pipeline.heads.bundles.evidence import Evidence, SupportIndex
from pipeline.heads.bundles.recipe import Recipe, fit_recipe, rows_sha256
from pipeline.heads.fitted import LabelledFeatures, Material
from pipeline.heads.simple.zero_shot import ZeroShotHead
from pipeline.types import EncoderInfo, Features

SEED_BITS = 0x7FFF_FFFF


@dataclass(frozen=True, slots=True)
class Job:
    """What to fit, on what, and where to put it; paths as text."""

    snapshot: str  # of the support store
    pool: str | None  # .npy of unlabelled rows (M, D), in the order of time
    text: str | None  # .npz with prototypes (C, D) and scale
    classes: tuple[str, ...]
    registry: str  # folder of the head
    encoder: dict[str, object]  # EncoderInfo's fields
    code_version: str
    texts_sha256: str | None
    created_at: str


def run_job(job: Job) -> int:
    """Fit twice, compare, write the next version beside the live one, and return its number. Raises DataError."""
    rows = load_snapshot(Path(job.snapshot))
    support, names = _support(rows, classes=job.classes)
    pool = None if job.pool is None else np.load(job.pool).astype(np.float32)
    material = Material(text=_text(job), pool=pool)
    recipe = Recipe(kind="auto", seed=rows.seed & SEED_BITS, embedding_alone=True, pool_sha256=rows_sha256(pool))
    fitted, again = (fit_recipe(support, material=material, recipe=recipe) for _ in range(2))
    provenance = Provenance(
        texts_sha256=job.texts_sha256,
        support_sha256=rows.sha256,
        code_version=job.code_version,
        created_at=job.created_at,
        recipe=recipe.to_json(),
    )
    encoder = EncoderInfo(**job.encoder)  # type: ignore[arg-type]  # checked by job_from_json
    index = SupportIndex(support.features.image, support.labels, names)
    contents = {
        bundle_bytes(
            one,
            encoder=encoder,
            version=1,
            provenance=provenance,
            evidence=Evidence(held_out=one.held_out, support=index),
        )
        for one in (fitted, again)
    }
    if len(contents) > 1:
        raise DataError("refit: expected two fits of the same rows to be the same, got two heads; nothing was written")
    return registry.save(
        fitted,
        folder=Path(job.registry),
        encoder=encoder,
        provenance=provenance,
        evidence=Evidence(held_out=fitted.held_out, support=index),
        live=False,
    ).version


def _support(rows: SupportRows, *, classes: tuple[str, ...]) -> tuple[LabelledFeatures, tuple[str, ...]]:
    arrays = rows.as_support(classes)
    names = tuple(one.evidence or one.event_id for one in rows.exemplars if one.label in classes)
    return (
        LabelledFeatures(Features(image=arrays.embeddings), arrays.labels, arrays.groups, arrays.classes),
        names,
    )


def _text(job: Job) -> ZeroShotHead | None:
    if job.text is None:
        return None
    with np.load(job.text) as content:
        return ZeroShotHead(classes=job.classes, prototypes=content["prototypes"], scale=float(content["scale"]))


def job_to_json(job: Job) -> str:
    """For the child's file."""
    return json.dumps(asdict(job))


def job_from_json(text: str) -> Job:
    """Raises DataError on anything else."""
    try:
        fields = json.loads(text)
        encoder = {**fields["encoder"]}
        for name in ("level_dims", "mean", "std"):
            encoder[name] = tuple(encoder[name])
        return Job(**{**fields, "classes": tuple(fields["classes"]), "encoder": encoder})
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"refit: expected a job file, got: {error}") from error


def main(path: str) -> int:
    """Writes one JSON object to stdout: the version, or the error."""
    said: dict[str, object]
    try:
        said = {"version": run_job(job_from_json(Path(path).read_text(encoding="utf-8")))}
    except Exception as error:  # noqa: BLE001  # whatever it is, the parent has to be told in words
        said = {"error": f"{type(error).__name__}: {error}"}
    sys.stdout.write(json.dumps(said) + "\n")
    return int("error" in said)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
