"""What a bundle keeps beside the head: rows that judged it, images and texts that explain it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.decision.held_out import HeldOut
from pipeline.heads.whitening import Labels
from pipeline.types import Float32Array

PREFIX = "evidence."  # of tensors in a bundle

Stored = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class SupportIndex:
    """The labelled images an explanation may point at."""

    image: Float32Array  # (N, D), unit rows; float16 on disk
    labels: Labels  # (N,)
    names: tuple[str, ...]  # N, the files they came from


@dataclass(frozen=True, eq=False)
class TextIndex:
    """The texts an explanation may point at."""

    vectors: Float32Array  # (M, D), unit rows; float16 on disk
    class_of: Labels  # (M,)
    phrases: tuple[str, ...]  # M


@dataclass(frozen=True, eq=False)
class Evidence:
    """Nothing of it is needed to score; thresholds and explanations are made from it."""

    held_out: HeldOut | None = None
    support: SupportIndex | None = None
    texts: TextIndex | None = None


NO_EVIDENCE = Evidence()


def evidence_to_parts(evidence: Evidence) -> tuple[dict[str, Any], Stored]:
    """Plain values and arrays, all under `evidence.`."""
    settings: dict[str, Any] = {}
    arrays: Stored = {}
    if (rows := evidence.held_out) is not None:
        arrays |= {"held_out.logits": rows.logits, "held_out.labels": rows.labels}
        given = {"held_out.novelty": rows.novelty, "held_out.text_margin": rows.text_margin}
        arrays |= {name: values for name, values in given.items() if values is not None}
    if (support := evidence.support) is not None:
        settings["names"] = list(support.names)
        arrays |= {"support.image": support.image.astype(np.float16), "support.labels": support.labels}
    if (texts := evidence.texts) is not None:
        settings["phrases"] = list(texts.phrases)
        arrays |= {"texts.vectors": texts.vectors.astype(np.float16), "texts.class_of": texts.class_of}
    return settings, {f"{PREFIX}{name}": np.ascontiguousarray(values) for name, values in arrays.items()}


def evidence_from_parts(settings: dict[str, Any], *, arrays: Stored) -> Evidence:
    """The evidence again; raises KeyError on a missing part."""
    own = {name.removeprefix(PREFIX): values for name, values in arrays.items()}
    held_out = support = texts = None
    if "held_out.logits" in own:
        held_out = HeldOut(
            logits=own["held_out.logits"],
            labels=own["held_out.labels"],
            novelty=own.get("held_out.novelty"),
            text_margin=own.get("held_out.text_margin"),
        )
    if "support.image" in own:
        image = own["support.image"].astype(np.float32)
        support = SupportIndex(image, own["support.labels"], tuple(settings["names"]))
    if "texts.vectors" in own:
        vectors = own["texts.vectors"].astype(np.float32)
        texts = TextIndex(vectors, own["texts.class_of"], tuple(settings["phrases"]))
    return Evidence(held_out=held_out, support=support, texts=texts)
