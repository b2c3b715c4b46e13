"""A folder of labelled images and a configuration to what heads are fitted on; shared by the verbs of `head`."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.adaptation.support.exemplars import as_fp16
from pipeline.adaptation.support.replaying import RecordingReader
from pipeline.adaptation.support.segments import SUFFIX
from pipeline.encoders.build import EncoderBundle
from pipeline.errors import DataError
from pipeline.heads.bundles.evidence import Evidence, SupportIndex, TextIndex
from pipeline.heads.bundles.feature_cache import FeatureCache
from pipeline.heads.coder.head import CoderHead, make_coder_head
from pipeline.heads.fitted import FittedHead, LabelledFeatures, Material
from pipeline.heads.folds import shots_per_class
from pipeline.heads.simple.zero_shot import ZeroShotHead, unit_rows
from pipeline.heads.support import IMAGE_SUFFIXES, SupportFolder, SupportSet, encode_support, list_support
from pipeline.preprocess import Preprocessor
from pipeline.texts.bank import build_zero_shot
from pipeline.texts.coding import CodedTexts, encode_dictionary
from pipeline.texts.dictionary import TextDictionary, load_dictionary
from pipeline.types import Features, Float32Array
from workers.config.cameras import common_roi
from workers.config.line import LineConfig
from workers.opening.line import open_encoder

Progress = Callable[[str, float], None]
MAX_RECORDED = 20_000  # rows of a recording that a fit looks at; it keeps 160 a class at most


@dataclass(frozen=True, eq=False)
class Texts:
    """A dictionary's classes as vectors; all None where there are no texts or no tower to read them."""

    dictionary: TextDictionary | None = None
    names: ZeroShotHead | None = None
    coder: CoderHead | None = None
    index: TextIndex | None = None


@dataclass(frozen=True, eq=False)
class OpenedSupport:
    """Labelled images as features, and what else a fit needs."""

    encoder: EncoderBundle
    support: SupportSet
    texts: Texts


def open_support(
    images: Path,
    *,
    config: LineConfig,
    shots: int | None = None,
    seed: int = 0,
    encoder: EncoderBundle | None = None,
    progress: Progress = lambda _what, _share: None,
) -> OpenedSupport:
    """Read, cut and encode (from the cache where known). Raises DataError naming folder, file and class. Blocks."""
    found = list_support(images, seed=seed)
    dictionary = _dictionary(config, classes=found.classes, images=images)
    encoder = encoder or open_encoder(config)
    texts = _texts(dictionary, encoder=encoder)
    support = _encoded(found, config=config, encoder=encoder, shots=shots, what="encoding", progress=progress)
    return OpenedSupport(encoder=encoder, support=support, texts=texts)


def refuse_lone_images(support: SupportSet, *, folder: Path) -> None:
    """Raises DataError for a class of one image among classes of several: no fold could tell how it fares.

    One image of every class is a one-shot fit, which says of itself that nothing was held out.
    """
    features = support.features
    shots = shots_per_class(features.labels, groups=features.groups, n_classes=len(features.classes))
    usual = int(np.median(shots))
    lone = np.flatnonzero(shots == 1)
    if usual == 1 or not lone.size:
        return
    class_id = features.classes[int(lone[0])]
    file = support.files[int(np.flatnonzero(features.labels == lone[0])[0])]
    others = ", ".join(features.classes[int(c)] for c in lone[1:])
    raise DataError(
        f"{folder / class_id}: expected at least two different images of class {class_id}, as a fold holds one of them "
        f"back, got {file.name} alone (classes here have {usual}); add one, or take one image of every class by "
        "--shots 1" + (f"; also alone: {others}" if others else "")
    )


def open_pool(folder: Path, *, config: LineConfig, encoder: EncoderBundle, progress: Progress) -> Float32Array:
    """Unlabelled pictures of a folder in the order of their names, or a line's recording -> (M, D) unit rows.

    A recording is thinned evenly to at most MAX_RECORDED rows. Raises DataError. Blocks.
    """
    if folder.is_dir() and any(folder.glob(f"*{SUFFIX}")):
        return _recorded(folder, encoder=encoder)
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES) if folder.is_dir() else []
    if not files:
        raise DataError(
            f"--unlabelled {folder}: expected a folder with pictures or a line's recording (*{SUFFIX}), got neither; "
            "record some, or leave it out"
        )
    found = SupportFolder(folder=folder, files={"unlabelled": tuple(files)})
    pool = _encoded(found, config=config, encoder=encoder, shots=None, what="encoding unlabelled", progress=progress)
    return np.ascontiguousarray(pool.features.features.image)


def _recorded(folder: Path, *, encoder: EncoderBundle) -> Float32Array:
    """What the running line recorded with this encoder, in the order of time."""
    rows = RecordingReader(folder, encoder=encoder.image.info).pool(since=-math.inf, max_rows=MAX_RECORDED)
    if not rows.shape[0]:
        raise DataError(
            f"--unlabelled {folder}: expected frames recorded with the encoder {encoder.image.info.name} of this "
            "configuration, got none; another encoder or another preprocessing made them"
        )
    return unit_rows(rows)


def _encoded(
    found: SupportFolder,
    *,
    config: LineConfig,
    encoder: EncoderBundle,
    shots: int | None,
    what: str,
    progress: Progress,
) -> SupportSet:
    region = common_roi(config.cameras)
    encoded = encode_support(
        found,
        encoder=encoder.image,
        ladder=encoder.ladder,
        cut=Preprocessor(encoder.image.info, region),
        region=f"{region.x},{region.y},{region.width},{region.height}",
        cache=FeatureCache(config.head.cache / "features", encoder=encoder.image.info),
        shots=shots,
        on_progress=lambda share: progress(what, share),
    )
    return replace(encoded, features=_as_cached(encoded.features))


def _as_cached(labelled: LabelledFeatures) -> LabelledFeatures:
    """In the precision of the cache: a first fit and a later one are then the same."""
    found = labelled.features
    image, *levels = (as_fp16(part).astype(np.float32) for part in (found.image, *found.levels))
    return replace(labelled, features=Features(image=image, levels=tuple(levels)))


def material_of(opened: OpenedSupport, *, pool: Float32Array | None) -> Material:
    """What a head may be fitted with besides the pictures."""
    return Material(text=opened.texts.names, coder=opened.texts.coder, pool=pool)


def evidence_of(opened: OpenedSupport, *, fitted: FittedHead) -> Evidence:
    """What the bundle keeps beside a head fitted on these pictures."""
    labelled = opened.support.features
    names = tuple(f"{path.parent.name}/{path.name}" for path in opened.support.files)
    return Evidence(
        held_out=fitted.held_out,
        support=SupportIndex(labelled.features.image, labelled.labels, names),
        texts=opened.texts.index,
    )


def _dictionary(config: LineConfig, *, classes: tuple[str, ...], images: Path) -> TextDictionary | None:
    if config.head.texts is None:
        return None
    return load_dictionary(config.head.texts).ordered_as(classes, folder=str(images))


def _texts(dictionary: TextDictionary | None, *, encoder: EncoderBundle) -> Texts:
    if dictionary is None or encoder.text is None:
        return Texts(dictionary)
    coded = encode_dictionary(dictionary, encoder=encoder.text)
    index = TextIndex(
        np.asarray(coded.rows.vectors, np.float32), np.asarray(coded.rows.class_of, np.int64), coded.phrases
    )
    return Texts(dictionary, build_zero_shot(dictionary, encoder=encoder.text), coder_of(coded), index)


def coder_of(coded: CodedTexts) -> CoderHead:
    """CODER's classifier over all texts of a dictionary, nothing tuned."""
    return make_coder_head(
        coded.rows, classes=coded.classes, scale=coded.scale, pairs=coded.pairs, sentences=coded.phrases
    )


@contextmanager
def progress_shown() -> Iterator[Progress]:
    """A progress bar on a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress as Bars

    console = Console(file=sys.stderr)
    with Bars(console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def progress(what: str, share: float) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=1.0)
            bars.update(tasks[what], completed=share)

        yield progress
