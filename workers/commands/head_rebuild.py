"""`clearline head rebuild`: fit a version again from what it was fitted on, and compare the bytes."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from pipeline.adaptation.support.rows import load_snapshot
from pipeline.encoders.build import EncoderBundle
from pipeline.errors import BundleError, DataError
from pipeline.heads import registry
from pipeline.heads.bundle import HeadBundle, Provenance, bundle_bytes, load_bundle
from pipeline.heads.evidence import Evidence, SupportIndex
from pipeline.heads.fit import fit_head
from pipeline.heads.fitted import FittedHead, LabelledFeatures, Material
from pipeline.heads.zero_shot import ZeroShotHead
from pipeline.texts.bank import build_zero_shot
from pipeline.texts.dictionary import load_dictionary
from pipeline.types import Features, Float32Array
from workers.adaptation_files import AdaptationFiles
from workers.commands.adaptation_opening import ConfigOption, JsonOption, head_folder, say
from workers.commands.head_recipe import Recipe, evidence_of, fit_recipe, pool_sha256, recipe_of
from workers.commands.head_support import Progress, open_pool, open_support, progress_shown
from workers.config import LineConfig, load_config
from workers.opening import open_encoder


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Two files that should be one."""

    version: int
    sha256: str  # of the bundle as it lies there
    rebuilt_sha256: str
    fitted_from: str
    differs_in: tuple[str, ...]  # parts of the manifest, by name; empty where all bytes are the same

    @property
    def same(self) -> bool:
        """To the last byte."""
        return self.sha256 == self.rebuilt_sha256


def head_rebuild(
    version: Annotated[int, typer.Argument(min=1, help="The version to fit again.")],
    *,
    config: ConfigOption,
    images: Annotated[
        Path | None, typer.Option(help="The folder it was fitted on, where it was `head fit` that made it.")
    ] = None,
    unlabelled: Annotated[Path | None, typer.Option(help="The unlabelled pictures, where there were any.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Fit a version again from its snapshot, or its pictures, and compare: nothing is written."""
    with progress_shown() as progress:
        done = rebuild(version, config=load_config(config), images=images, unlabelled=unlabelled, progress=progress)
    text = f"version {done.version}, fitted again from {done.fitted_from}: the same bytes ({done.sha256[:12]})"
    if not done.same:
        where = ", ".join(done.differs_in) or "their order"
        text = f"version {done.version}, fitted again from {done.fitted_from}: other bytes, in {where}"
    say({**asdict(done), "same": done.same}, text=iter((text,)), as_json=as_json)
    if not done.same:
        raise typer.Exit(BundleError.exit_code)


def rebuild(
    version: int,
    *,
    config: LineConfig,
    images: Path | None = None,
    unlabelled: Path | None = None,
    encoder: EncoderBundle | None = None,
    progress: Progress = lambda _what, _share: None,
) -> Rebuilt:
    """Fit again and compare; opens the configured encoder unless one is handed in. Blocks.

    Raises DataError where what it was fitted on is not there, or is not the same.
    """
    path = registry.bundle_path(head_folder(config), version=version)
    encoder = encoder or open_encoder(config)
    bundle = load_bundle(path, encoder=encoder.image.info)
    provenance = Provenance(**bundle.manifest.provenance)
    recipe = recipe_of(provenance.recipe, where=str(path))
    snapshot = None
    if config.adaptation is not None:
        snapshot = AdaptationFiles(config.adaptation.folder).snapshot(provenance.support_sha256)
    if snapshot is not None and snapshot.is_file():
        assert config.adaptation is not None
        files = AdaptationFiles(config.adaptation.folder)
        fitted, evidence = _from_snapshot(snapshot, files=files, config=config, bundle=bundle, encoder=encoder)
        source = str(snapshot)
    elif images is not None:
        fitted, evidence = _from_pictures(
            images, unlabelled=unlabelled, config=config, bundle=bundle, encoder=encoder, progress=progress
        )
        source = str(images)
    else:
        raise DataError(f"{path}: expected what it was fitted on, got no snapshot of it; name its pictures by --images")
    content = bundle_bytes(
        fitted, encoder=encoder.image.info, version=version, provenance=provenance, evidence=evidence
    )
    return _compared(content, bundle=bundle, encoder=encoder, recipe=recipe, source=source, near=path)


def _from_pictures(
    images: Path,
    *,
    unlabelled: Path | None,
    config: LineConfig,
    bundle: HeadBundle,
    encoder: EncoderBundle,
    progress: Progress,
) -> tuple[FittedHead, Evidence]:
    provenance = Provenance(**bundle.manifest.provenance)
    recipe = recipe_of(provenance.recipe, where=f"version {bundle.version}")
    opened = open_support(
        images, config=config, shots=recipe.shots, seed=recipe.seed, encoder=encoder, progress=progress
    )
    pool = None
    if unlabelled is not None:
        pool = open_pool(unlabelled, config=config, encoder=encoder, progress=progress)
    texts = opened.texts.dictionary
    _same("pictures", expected=provenance.support_sha256, got=opened.support.sha256, where=images)
    _same("texts", expected=provenance.texts_sha256, got=None if texts is None else texts.sha256, where=images)
    _same("unlabelled pictures", expected=recipe.pool_sha256, got=pool_sha256(pool), where=unlabelled)
    fitted = fit_recipe(opened, recipe=recipe, pool=pool, on_progress=lambda share: progress("fitting", share))
    return fitted, evidence_of(opened, fitted=fitted)


def _from_snapshot(
    snapshot: Path, *, files: AdaptationFiles, config: LineConfig, bundle: HeadBundle, encoder: EncoderBundle
) -> tuple[FittedHead, Evidence]:
    provenance, classes = Provenance(**bundle.manifest.provenance), bundle.head.classes
    recipe = recipe_of(provenance.recipe, where=f"version {bundle.version}")
    rows = load_snapshot(snapshot)
    arrays = rows.as_support(classes)
    text = _text(config, expected=provenance.texts_sha256, classes=classes, encoder=encoder)
    pool = None if recipe.pool_sha256 is None else _pool(files.pool(recipe.pool_sha256), sha256=recipe.pool_sha256)
    fitted = fit_head(
        LabelledFeatures(Features(image=arrays.embeddings), arrays.labels, arrays.groups, classes),
        material=Material(text=text, pool=pool),
        kind=recipe.kind,
        fusion=recipe.fusion,
        tune=recipe.tune,
        seed=recipe.seed,
    )
    names = tuple(one.evidence or one.event_id for one in rows.exemplars if one.label in classes)
    index = SupportIndex(arrays.embeddings, arrays.labels, names)
    return fitted, Evidence(held_out=fitted.held_out, support=index)


def _text(
    config: LineConfig, *, expected: str | None, classes: tuple[str, ...], encoder: EncoderBundle
) -> ZeroShotHead | None:
    if expected is None:
        return None
    if config.head.texts is None or encoder.text is None:
        raise DataError("head.texts: expected the texts the head was fitted with, got none; name them again")
    dictionary = load_dictionary(config.head.texts).ordered_as(classes, folder="the head")
    _same("texts", expected=expected, got=dictionary.sha256, where=config.head.texts)
    return build_zero_shot(dictionary, encoder=encoder.text)


def _pool(path: Path, *, sha256: str) -> Float32Array:
    try:
        pool: Float32Array = np.load(io.BytesIO(path.read_bytes())).astype(np.float32)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected the unlabelled rows of the fit, got: {error}; it cannot be repeated") from error
    _same("unlabelled rows", expected=sha256, got=pool_sha256(pool), where=path)
    return pool


def _same(what: str, *, expected: str | None, got: str | None, where: Path | None) -> None:
    if expected != got:
        raise DataError(
            f"{where or 'head rebuild'}: expected the {what} the head was fitted with ({(expected or 'none')[:12]}), "
            f"got others ({(got or 'none')[:12]}); find those, or fit a new head"
        )


def _compared(
    content: bytes, *, bundle: HeadBundle, encoder: EncoderBundle, recipe: Recipe, source: str, near: Path
) -> Rebuilt:
    """Read as any bundle is, to say where two differ."""
    import hashlib

    sha256 = hashlib.sha256(content).hexdigest()
    return Rebuilt(bundle.version, bundle.sha256, sha256, source, ())
