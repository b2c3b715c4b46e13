"""What the loop does with versions of the line's head: load, promote, founders, and the jobs of its children."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np

from pipeline.adaptation.drift.limits import FalseAlarmBudget
from pipeline.adaptation.drift.profile import ReferenceRules
from pipeline.adaptation.support.exemplars import Caps, Exemplar, SupportContext, as_fp16
from pipeline.adaptation.support.replaying import RecordingReader
from pipeline.adaptation.support.store import SupportStore
from pipeline.decision import Decider, HeadIdentity
from pipeline.encoders.build import EncoderBundle
from pipeline.heads.bundles import registry
from pipeline.heads.bundles.bundle import HeadBundle
from pipeline.heads.bundles.recipe import rows_sha256
from pipeline.heads.simple.zero_shot import ZeroShotHead
from pipeline.interfaces import Clock
from pipeline.preprocess import Preprocessor
from pipeline.texts.bank import build_zero_shot
from pipeline.texts.dictionary import load_dictionary
from pipeline.types import Float32Array, Roi
from workers.adaptation.facts import FOUNDER
from workers.adaptation.files import AdaptationFiles
from workers.adaptation.pictures import PictureStore
from workers.adaptation.refit import Job, job_to_json
from workers.adaptation.rereference import ReferenceJob
from workers.config.line import LineConfig
from workers.live_head import LiveHead
from workers.opening.decision import decision_policy

POOL_ROWS = 20_000


class LineHead:
    """The registry of one line's head as the loop uses it. One thread."""

    def __init__(
        self,
        config: LineConfig,
        *,
        encoder: EncoderBundle,
        files: AdaptationFiles,
        product: str,
        pool_rows: int,
        clock: Clock,
    ) -> None:
        self._config, self._encoder, self._files, self._clock = config, encoder, files, clock
        self._product, self._pool_rows = product, pool_rows
        self._info = encoder.image.info
        self.registry = config.head.registry / config.head.name
        self._text, self._texts_sha256 = self._class_vectors()

    def load(self, number: int) -> tuple[LiveHead, HeadBundle]:
        """A version, verified, with the policy of this configuration. Raises BundleError."""
        bundle = registry.load(self.registry, encoder=self._info, version=number)
        policy = decision_policy(
            self._config.decision,
            classes=bundle.head.classes,
            held_out=bundle.evidence.held_out,
            temperature=bundle.temperature,
        )
        identity = HeadIdentity(self._config.head.name, bundle.version, bundle.sha256, self._info.name)
        decider = Decider(
            classes=bundle.head.classes, temperature=bundle.temperature, policy=policy.policy, identity=identity
        )
        return LiveHead(bundle.head, decider), bundle

    def promote(self, number: int) -> None:
        """The pointer on disk; the same again changes nothing."""
        if registry.live_version(self.registry)[0] != number:
            registry.promote(self.registry, version=number, encoder=self._info)

    def founders(self, bundle: HeadBundle) -> list[Exemplar]:
        """Images the first head was fitted on, as many of a class as the store keeps for ever."""
        support = bundle.evidence.support
        if support is None:
            return []
        context = SupportContext("founders", "full", self._product, self._info.sha256, self._info.preprocessing_sha256)
        return [
            Exemplar(
                event_id=f"{FOUNDER}{name}",
                label=bundle.head.classes[int(label)],
                context=context,
                embedding=as_fp16(support.image[row]),
                part=name,
            )
            for row, (name, label) in enumerate(zip(support.names, support.labels, strict=True))
            if (support.labels[:row] == label).sum() < Caps().founders
        ]

    def show_founders(self, bundle: HeadBundle, *, folder: Path, pictures: PictureStore) -> None:
        """Pictures of the founders that are still there, so that they can be hidden among questions."""
        support, cut = bundle.evidence.support, Preprocessor(self._info, Roi())
        for name in () if support is None else support.names:
            image = cv2.imread(str(folder / name.removeprefix(FOUNDER)))
            if image is not None:
                event_id = f"{FOUNDER}{name.removeprefix(FOUNDER)}"
                pictures.keep(event_id, image=cut(np.asarray(image, np.uint8)))
                pictures.pin(event_id)

    def job(self, *, store: SupportStore) -> str:
        """A snapshot of the store and the unlabelled rows recorded since the line changed."""
        self._files.snapshots.mkdir(parents=True, exist_ok=True)
        rows = store.rows()
        final = self._files.snapshot(rows.sha256)
        store.snapshot(final)
        live = registry.load(self.registry, encoder=self._info)
        job = Job(
            snapshot=str(final),
            pool=self._kept_pool(),
            text=self._kept_text(),
            classes=live.head.classes,
            registry=str(self.registry),
            encoder=asdict(self._info),
            code_version=version("clearline"),
            texts_sha256=self._texts_sha256,
            created_at=datetime.fromtimestamp(self._clock.utc(), UTC).isoformat(timespec="seconds"),
        )
        return job_to_json(job)

    def reference_job(
        self, number: int, *, product: str, since: float, rules: ReferenceRules, budget: FalseAlarmBudget
    ) -> ReferenceJob:
        """References of a version from the recording."""
        return ReferenceJob(
            recording=str(self._files.recording),
            references=str(self._files.references),
            registry=str(self.registry),
            version=number,
            product=product,
            since=since,
            encoder=asdict(self._info),
            rules=asdict(rules),
            budget=asdict(budget),
        )

    def _kept_pool(self) -> str | None:
        if not self._pool_rows:
            return None
        reader = RecordingReader(self._files.recording, encoder=self._info)
        rows = reader.pool(since=self._since(), max_rows=self._pool_rows)
        if not len(rows):
            return None
        kept: Float32Array = rows.astype(np.float16).astype(np.float32)
        path = self._files.pool(str(rows_sha256(kept)))
        if not path.is_file():
            with (self._files.snapshots / ".pool.npy").open("wb") as file:
                np.save(file, kept.astype(np.float16))
            (self._files.snapshots / ".pool.npy").replace(path)
        return str(path)

    def _since(self) -> float:
        """When the line changed, see `References`."""
        try:
            return float(json.loads((self._files.folder / "normal.json").read_bytes())["since"])
        except (OSError, ValueError, KeyError):
            return 0.0

    def _kept_text(self) -> str | None:
        if self._text is None:
            return None
        path = self._files.folder / "training" / "text.npz"
        np.savez(path, prototypes=self._text.prototypes, scale=self._text.scale)
        return str(path)

    def _class_vectors(self) -> tuple[ZeroShotHead | None, str | None]:
        texts, tower = self._config.head.texts, self._encoder.text
        if texts is None or tower is None:
            return None, None
        classes = registry.load(self.registry, encoder=self._info).head.classes
        dictionary = load_dictionary(texts).ordered_as(classes, folder=str(self.registry))
        return build_zero_shot(dictionary, encoder=tower), dictionary.sha256


def promised_shares(bundle: HeadBundle, *, good: frozenset[str]) -> tuple[float, float]:
    """Defects among what the head accepts, and good parts among what it rejects, on rows it was not fitted on."""
    rows = bundle.evidence.held_out
    if rows is None:
        return 0.0, 0.0
    is_good = np.array([name in good for name in bundle.head.classes])
    accepted, truly = is_good[rows.logits.argmax(axis=1)], is_good[rows.labels]
    escapes, overkills = (~truly)[accepted], truly[~accepted]
    return (float(escapes.mean()) if escapes.size else 0.0, float(overkills.mean()) if overkills.size else 0.0)
