"""Small stores, exemplars and labels for the tests of the support store."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.adaptation.support.exemplars import Caps, Exemplar, SupportContext, as_fp16
from pipeline.adaptation.support.intake import LabelIntake
from pipeline.adaptation.support.labels import Label, Stream
from pipeline.adaptation.support.store import SupportStore
from pipeline.types import EncoderInfo, Float32Array
from tests.fakes import FakeEncoder

NOW = 1_700_000_000.0
DAY = 86_400.0
DIM = 8
CLASSES = ("ok", "scratch", "dent")


def encoder(*, n_levels: int = 0) -> EncoderInfo:
    return FakeEncoder(embedding_dim=DIM, n_levels=n_levels).info


def context(source: str = "cap-01", *, product: str = "cap") -> SupportContext:
    info = encoder()
    return SupportContext(source, "full", product, info.sha256, info.preprocessing_sha256)


def unit(seed: int, *, towards: int | None = None, noise: float = 0.2) -> Float32Array:
    """A unit vector; with `towards`, near that axis."""
    vector = np.random.default_rng(seed).normal(size=DIM).astype(np.float32)
    if towards is not None:
        vector = vector * np.float32(noise)
        vector[towards] += 1.0
    return vector / np.linalg.norm(vector)


def exemplar(
    event_id: str,
    label: str = "ok",
    *,
    seed: int = 0,
    towards: int | None = None,
    margin: float | None = None,
    where: SupportContext | None = None,
    levels: int = 0,
    part: str = "",
) -> Exemplar:
    pooled = as_fp16(np.arange(levels * DIM, dtype=np.float32) + seed) if levels else None
    vector = as_fp16(unit(seed, towards=towards))
    return Exemplar(event_id, label, where or context(), vector, levels=pooled, margin=margin, part=part)


def label(
    event_id: str,
    said: str = "ok",
    *,
    who: str = "ada",
    at: float = NOW - 60.0,
    stream: Stream = Stream.TEACH,
    blind: bool = False,
) -> Label:
    return Label(event_id, said, who, at, stream, blind=blind)


def open_store(folder: Path, *, caps: Caps | None = None, n_levels: int = 0) -> SupportStore:
    return SupportStore(folder / "support.sqlite", encoder=encoder(n_levels=n_levels), caps=caps)


def intake(store: SupportStore, *, unknown: frozenset[str] = frozenset()) -> LabelIntake:
    return LabelIntake(store, classes=CLASSES, knows_event=lambda event_id: event_id not in unknown)


def teach(store: SupportStore, exemplars: list[Exemplar], *, who: tuple[str, ...] = ("ada",), at: float = NOW) -> None:
    """Label and add, as the line would."""
    labels = [label(one.event_id, one.label, who=name, at=at - 60.0) for one in exemplars for name in who]
    intake(store).take_all(labels, at=at)
    store.add(exemplars, at=at)
