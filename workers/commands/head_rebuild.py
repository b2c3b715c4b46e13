"""`clearline head rebuild`: fit a version again from what it was fitted on, and compare the bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer

from pipeline.adaptation.support.rows import load_snapshot
from pipeline.encoders.build import EncoderBundle
from pipeline.errors import BundleError, DataError
from pipeline.heads.bundles import registry
from pipeline.heads.bundles.bundle import HeadBundle, Provenance, bundle_bytes, load_bundle
from pipeline.heads.bundles.evidence import Evidence, SupportIndex
from pipeline.heads.bundles.recipe import Recipe, fit_recipe, recipe_of, rows_sha256
from pipeline.heads.fitted import FittedHead, LabelledFeatures, Material
from pipeline.heads.simple.zero_shot import ZeroShotHead
from pipeline.texts.bank import build_zero_shot
from pipeline.texts.dictionary import load_dictionary
from pipeline.types import Features, Float32Array
from workers.adaptation.files import AdaptationFiles
from workers.commands.adaptation_opening import ConfigOption, JsonOption, head_folder, say
from workers.commands.head_support import Progress, evidence_of, material_of, open_pool, open_support, progress_shown
from workers.config.line import LineConfig, load_config
from workers.opening.line import open_encoder


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
    unlabelled: Annotated[Path | None, typer.Option(help="The unlabelled pictures or recording, if any.")] = None,
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
    again = _Again(path, config=config, encoder=encoder or open_encoder(config), progress=progress)
    snapshot = again.snapshot
    if snapshot is not None:
        return again.compared(*again.from_snapshot(snapshot), source=str(snapshot))
    if images is None:
        raise DataError(f"{path}: expected what it was fitted on, got no snapshot of it; name its pictures by --images")
    return again.compared(*again.from_pictures(images, unlabelled=unlabelled), source=str(images))


class _Again:
    """One bundle, and the same steps that made it."""

    def __init__(self, path: Path, *, config: LineConfig, encoder: EncoderBundle, progress: Progress) -> None:
        self._config, self._encoder, self._progress = config, encoder, progress
        self._bundle: HeadBundle = load_bundle(path, encoder=encoder.image.info)
        self._provenance = Provenance(**self._bundle.manifest.provenance)
        self._recipe: Recipe = recipe_of(self._provenance.recipe, where=str(path))
        self._files = None if config.adaptation is None else AdaptationFiles(config.adaptation.folder)

    @property
    def snapshot(self) -> Path | None:
        """The rows it was fitted on, where they were kept."""
        path = None if self._files is None else self._files.snapshot(self._provenance.support_sha256)
        return path if path is not None and path.is_file() else None

    def from_pictures(self, images: Path, *, unlabelled: Path | None) -> tuple[FittedHead, Evidence]:
        """As `head fit` does."""
        config, encoder, recipe = self._config, self._encoder, self._recipe
        opened = open_support(
            images, config=config, shots=recipe.shots, seed=recipe.seed, encoder=encoder, progress=self._progress
        )
        pool = None
        if unlabelled is not None:
            pool = open_pool(unlabelled, config=config, encoder=encoder, progress=self._progress)
        texts = opened.texts.dictionary
        _same("pictures", expected=self._provenance.support_sha256, got=opened.support.sha256, where=images)
        _same("texts", expected=self._provenance.texts_sha256, got=None if texts is None else texts.sha256)
        _same("unlabelled pictures", expected=recipe.pool_sha256, got=rows_sha256(pool), where=unlabelled)
        fitted = fit_recipe(
            opened.support.features,
            material=material_of(opened, pool=pool),
            recipe=recipe,
            on_progress=lambda share: self._progress("fitting", share),
        )
        return fitted, evidence_of(opened, fitted=fitted)

    def from_snapshot(self, snapshot: Path) -> tuple[FittedHead, Evidence]:
        """As the loop beside the line does."""
        rows, classes = load_snapshot(snapshot), self._bundle.head.classes
        arrays = rows.as_support(classes)
        support = LabelledFeatures(Features(image=arrays.embeddings), arrays.labels, arrays.groups, classes)
        fitted = fit_recipe(
            support, material=Material(text=self._text(classes), pool=self._pool()), recipe=self._recipe
        )
        names = tuple(one.evidence or one.event_id for one in rows.exemplars if one.label in classes)
        index = SupportIndex(arrays.embeddings, arrays.labels, names)
        return fitted, Evidence(held_out=fitted.held_out, support=index)

    def compared(self, fitted: FittedHead, evidence: Evidence, *, source: str) -> Rebuilt:
        """Bytes against bytes, and where they differ the parts of the manifest."""
        before = self._bundle
        content = bundle_bytes(
            fitted,
            encoder=self._encoder.image.info,
            version=before.version,
            provenance=self._provenance,
            evidence=evidence,
        )
        with TemporaryDirectory() as folder:
            path = Path(folder) / "again.head"
            path.write_bytes(content)
            after = load_bundle(path, encoder=None)
        pair = (asdict(before.manifest), asdict(after.manifest))
        differs = tuple(name for name in pair[0] if pair[0][name] != pair[1][name])
        return Rebuilt(before.version, before.sha256, after.sha256, source, differs)

    def _text(self, classes: tuple[str, ...]) -> ZeroShotHead | None:
        expected, tower, file = self._provenance.texts_sha256, self._encoder.text, self._config.head.texts
        if file is None or tower is None:
            _same("texts", expected=expected, got=None)
            return None
        dictionary = load_dictionary(file).ordered_as(classes, folder="the head")
        _same("texts", expected=expected, got=dictionary.sha256, where=file)
        return build_zero_shot(dictionary, encoder=tower)

    def _pool(self) -> Float32Array | None:
        sha256 = self._recipe.pool_sha256
        if sha256 is None or self._files is None:
            return None
        path = self._files.pool(sha256)
        try:
            pool: Float32Array = np.load(path).astype(np.float32)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: expected the unlabelled rows of the fit, got: {error}; fit a new head") from error
        _same("unlabelled rows", expected=sha256, got=rows_sha256(pool), where=path)
        return pool


def _same(what: str, *, expected: str | None, got: str | None, where: Path | None = None) -> None:
    if expected != got:
        raise DataError(
            f"{where or 'head rebuild'}: expected the {what} the head was fitted with ({(expected or 'none')[:12]}), "
            f"got others ({(got or 'none')[:12]}); find those, or fit a new head"
        )
