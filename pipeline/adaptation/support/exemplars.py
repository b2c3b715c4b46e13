"""Exemplars: labelled embeddings that stand for a class in one context, and the role each of them has."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError
from pipeline.types import EncoderInfo, Features

Float16Array = npt.NDArray[np.float16]
LABEL_FELL = "label no longer stands"  # removed for that reason, an exemplar may come back with its label
NORM_TOLERANCE = 0.05  # fp16 alone costs 0.001


class Role(enum.StrEnum):
    """Why an exemplar is kept."""

    FOUNDER = "founder"  # from commissioning, immutable
    HERD = "herd"  # together closest to the class mean
    RECENT = "recent"  # a fair draw from the last 90 days
    HARD = "hard"  # nearest to another class, and two people agree on it


@dataclass(frozen=True, slots=True)
class Caps:
    """How many exemplars a class may have in one context, by role."""

    founders: int = 32
    herd: int = 128
    recent: int = 64
    hard: int = 32
    recent_age_s: float = 90 * 86_400.0

    @property
    def total(self) -> int:
        """Of all roles."""
        return self.founders + self.herd + self.recent + self.hard


@dataclass(frozen=True, slots=True, order=True)
class SupportContext:
    """Where an exemplar was seen, and by what."""

    source: str
    roi: str
    product: str
    encoder_sha256: str
    preprocessing_sha256: str


@dataclass(frozen=True, slots=True, eq=False)
class Exemplar:
    """A labelled embedding as it is handed to the store."""

    event_id: str  # or the hash of the image, for founders that no line ever saw
    label: str
    context: SupportContext
    embedding: Float16Array  # (D,), unit norm
    levels: Float16Array | None = None  # (sum of level widths,), one after the other
    part: str = ""  # names the source image: rows of one part are never split between folds; empty means event_id
    margin: float | None = None  # top-two gap of the head that saw it; the lowest are the hard ones
    evidence: str | None = None  # where its picture lies

    @property
    def group(self) -> str:
        """What `groups` numbers."""
        return self.part or self.event_id


@dataclass(frozen=True, slots=True, eq=False)
class StoredExemplar:
    """An exemplar as the store holds it, living or removed."""

    exemplar: Exemplar
    role: Role
    added_at: float  # UTC, seconds since 1970
    removed_at: float | None
    removed_why: str | None


def exemplar_of(
    features: Features,
    *,
    row: int,
    event_id: str,
    label: str,
    context: SupportContext,
    part: str = "",
    margin: float | None = None,
    evidence: str | None = None,
) -> Exemplar:
    """One row of the encoder's output as an exemplar, in fp16."""
    return Exemplar(
        event_id=event_id,
        label=label,
        context=context,
        embedding=as_fp16(features.image[row]),
        levels=as_fp16(np.concatenate([level[row] for level in features.levels])) if features.levels else None,
        part=part,
        margin=margin,
        evidence=evidence,
    )


def as_fp16(values: npt.NDArray[np.float32]) -> Float16Array:
    """Clipped to what fp16 holds; NaN stays and is refused by the store."""
    limit = np.finfo(np.float16).max
    return np.clip(values, -limit, limit).astype(np.float16)


def check_exemplar(exemplar: Exemplar, *, encoder: EncoderInfo) -> None:
    """Raises DataError naming the event where an exemplar is not what this encoder makes."""
    where, context = f"exemplar {exemplar.event_id}", exemplar.context
    if (context.encoder_sha256, context.preprocessing_sha256) != (encoder.sha256, encoder.preprocessing_sha256):
        raise DataError(
            f"{where}: expected an embedding of encoder {encoder.sha256[:16]} with preprocessing "
            f"{encoder.preprocessing_sha256[:16]}, got {context.encoder_sha256[:16]} with "
            f"{context.preprocessing_sha256[:16]}; encode its image again"
        )
    embedding, levels = exemplar.embedding, exemplar.levels
    if embedding.dtype != np.float16 or embedding.shape != (encoder.embedding_dim,):
        expected = f"({encoder.embedding_dim},) float16"
        raise DataError(f"{where}: expected an embedding {expected}, got {embedding.shape} {embedding.dtype}")
    width = sum(encoder.level_dims)
    if levels is not None and (levels.dtype != np.float16 or levels.shape != (width,)):
        raise DataError(f"{where}: expected levels ({width},) float16, got {levels.shape} {levels.dtype}")
    if not np.isfinite(embedding).all() or (levels is not None and not np.isfinite(levels).all()):
        raise DataError(f"{where}: expected finite features, got NaN or infinity; encode its image again")
    norm = float(np.linalg.norm(embedding.astype(np.float64)))
    if abs(norm - 1.0) > NORM_TOLERANCE:
        raise DataError(f"{where}: expected an embedding of length one, got {norm:.3f}; divide it by its length")
    if not exemplar.event_id or not exemplar.label:
        raise DataError(f"{where}: expected an event id and a label, got none")
