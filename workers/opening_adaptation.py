"""The loop beside the line, from the section `adaptation`: its files, its terms, and what it may do to the line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np

from pipeline.adaptation.gate.conditions import GateSettings
from pipeline.adaptation.gate.costs import CostMatrix
from pipeline.adaptation.gate.probation import ProbationSettings
from pipeline.adaptation.lifecycle.states import LifecycleSettings, RunState
from pipeline.adaptation.support.exemplars import Exemplar, SupportContext, as_fp16
from pipeline.adaptation.support.recording import EmbeddingRecording
from pipeline.adaptation.support.replaying import RecordingReader
from pipeline.adaptation.support.store import SupportStore
from pipeline.decision import Decider, HeadIdentity
from pipeline.encoders.build import EncoderBundle
from pipeline.errors import ConfigError
from pipeline.heads import registry
from pipeline.heads.bundle import HeadBundle
from pipeline.heads.zero_shot import ZeroShotHead
from pipeline.texts.bank import build_zero_shot
from pipeline.texts.dictionary import load_dictionary
from workers.adaptation.asking import HOUR_S, Asking
from workers.adaptation.loop import AdaptationLoop, Doing, Terms, safe_policy
from workers.adaptation.pictures import PictureStore
from workers.adaptation.refit import Job
from workers.adaptation.tap import Tap
from workers.adaptation.training import Training
from workers.adaptation.watch import Watch
from workers.adaptation_files import AdaptationFiles
from workers.clock import SystemClock
from workers.config import LineConfig
from workers.config_adaptation import AdaptationConfig
from workers.config_decision import CostsConfig
from workers.inference import LiveHead
from workers.metrics import Metrics
from workers.opening_decision import cost_matrix, decision_policy

PICTURE_BYTES = 500_000_000
SAFE_LEAST = 0.9  # of P(label) while a drift is open; below it a person looks
DRAW = 16  # disagreements that are asked about at a time
POOL_ROWS = 20_000
DAY_S = 86_400.0


def open_adaptation(
    config: LineConfig,
    *,
    encoder: EncoderBundle,
    tap: Tap,
    swap: Callable[[LiveHead], None],
    clock: SystemClock,
    metrics: Metrics,
) -> AdaptationLoop:
    """Everything built and checked, nothing started. Raises ConfigError for a head that needs more than embeddings."""
    given = _section(config)
    files = AdaptationFiles(given.folder)
    files.folder.mkdir(parents=True, exist_ok=True)
    opened = _Opened(config, encoder=encoder, files=files, clock=clock)
    live = opened.load(registry.live_version(opened.registry)[0])
    if live[1].head.n_levels:
        raise ConfigError(
            f"adaptation: expected a head fitted on embeddings alone, got {live[1].head.name} version "
            f"{live[1].version} with {live[1].head.n_levels} levels; fit it again with adaptation in the configuration"
        )
    store = SupportStore(files.support, encoder=encoder.image.info)
    if not store.counts():
        store.add_founders(opened.founders(live[1]), at=clock.utc())
    pictures = PictureStore(files.folder / "pictures", max_bytes=PICTURE_BYTES)
    costs = cost_matrix(
        config.decision.costs or CostsConfig(), classes=live[1].head.classes, good=config.decision.good_classes
    )
    good = tuple(name in config.decision.good_classes for name in live[1].head.classes)
    return AdaptationLoop(
        tap=tap,
        watch=_watch(given, files=files, encoder=encoder, metrics=metrics),
        asking=_asking(given, store=store, pictures=pictures, encoder=encoder),
        training=opened.training,
        files=files,
        costs=CostMatrix(np.asarray(costs.array, np.float64), good),
        doing=Doing(
            load=opened.load,
            promote=opened.promote,
            swap=swap,
            safe=lambda head: safe_policy(head, least=SAFE_LEAST),
            job=lambda state: opened.job(state, store=store),
            announce=lambda _kind, _told: None,
        ),
        terms=_terms(given),
        live=live,
        context=config.head.name,
        clock=clock,
        metrics=metrics,
    )


def _section(config: LineConfig) -> AdaptationConfig:
    if config.adaptation is None:
        raise ConfigError("adaptation: expected the section adaptation, got none; see configs/example.yaml")
    return config.adaptation


def _watch(given: AdaptationConfig, *, files: AdaptationFiles, encoder: EncoderBundle, metrics: Metrics) -> Watch:
    recording = EmbeddingRecording(
        files.recording,
        encoder=encoder.image.info,
        max_bytes=int(given.recording.max_gb * 1e9),
        max_age_s=given.recording.max_age_days * DAY_S,
    )
    return Watch(
        recording,
        references=files.references,
        encoder=encoder.image.info,
        product=given.product,
        gather_parts=given.drift.gather_parts,
        gauge=metrics.adaptation,
    )


def _asking(given: AdaptationConfig, *, store: SupportStore, pictures: PictureStore, encoder: EncoderBundle) -> Asking:
    return Asking(
        store,
        pictures=pictures,
        encoder=encoder.image.info,
        product=given.product,
        teach=given.labels.teach,
        per_hour=given.labels.per_hour,
        expire_s=given.labels.expire_hours * HOUR_S,
        audit_accepted=given.labels.audit_accepted,
        audit_rejected=given.labels.audit_rejected,
        seed=0,
    )


def _terms(given: AdaptationConfig) -> Terms:
    gate = given.gate
    return Terms(
        lifecycle=LifecycleSettings(auto_promote=gate.auto_promote, cooldown_s=gate.cooldown_minutes * 60.0),
        gate=GateSettings(
            alpha=gate.alpha,
            escape_limit=gate.escape_limit,
            min_frames=gate.min_frames,
            max_labels=given.labels.gate,
            max_hours=gate.max_hours,
            golden_min_per_class=1,  # held-out founders; their number is what commissioning gave
            inclusion_floor=0.01,
            accept_inclusion_floor=0.01,
        ),
        probation=ProbationSettings(
            min_parts=gate.probation_parts, min_hours=gate.probation_hours, inclusion_floor=0.01
        ),
        teach=given.labels.teach,
        draw=DRAW,
    )


class _Opened:
    """What loading, promoting and refitting need of the configuration."""

    def __init__(
        self, config: LineConfig, *, encoder: EncoderBundle, files: AdaptationFiles, clock: SystemClock
    ) -> None:
        self._config, self._encoder, self._files, self._clock = config, encoder, files, clock
        self.registry = config.head.registry / config.head.name
        self.training = Training(files.folder / "training")
        self._text = self._class_vectors()

    def load(self, number: int) -> tuple[LiveHead, HeadBundle]:
        """A version, verified, with the policy of this configuration. Raises BundleError."""
        config, info = self._config, self._encoder.image.info
        bundle = registry.load(self.registry, encoder=info, version=number)
        policy = decision_policy(
            config.decision,
            classes=bundle.head.classes,
            held_out=bundle.evidence.held_out,
            temperature=bundle.temperature,
        )
        identity = HeadIdentity(config.head.name, bundle.version, bundle.sha256, info.name)
        decider = Decider(
            classes=bundle.head.classes, temperature=bundle.temperature, policy=policy.policy, identity=identity
        )
        return LiveHead(bundle.head, decider), bundle

    def promote(self, number: int) -> None:
        """The pointer on disk; the same again changes nothing."""
        registry.promote(self.registry, version=number, encoder=self._encoder.image.info)

    def founders(self, bundle: HeadBundle) -> list[Exemplar]:
        """The images the first head was fitted on: they never change."""
        support = bundle.evidence.support
        if support is None:
            return []
        info, product = self._encoder.image.info, _section(self._config).product
        context = SupportContext("founders", "full", product, info.sha256, info.preprocessing_sha256)
        return [
            Exemplar(
                event_id=f"founder-{name}",
                label=bundle.head.classes[int(label)],
                context=context,
                embedding=as_fp16(support.image[row]),
                part=name,
            )
            for row, (name, label) in enumerate(zip(support.names, support.labels, strict=True))
        ]

    def job(self, state: RunState, *, store: SupportStore) -> Job:
        """A snapshot of the store and the unlabelled rows recorded since the run began."""
        self._files.snapshots.mkdir(parents=True, exist_ok=True)
        path = self._files.snapshots / f"{state.run}.safetensors"
        rows = store.snapshot(path)
        final = self._files.snapshot(rows.sha256)
        path.replace(final)
        info = self._encoder.image.info
        reader = RecordingReader(self._files.recording, encoder=info)
        pool = reader.pool(since=state.entered_at - HOUR_S, until=self._clock.utc(), source=None, max_rows=POOL_ROWS)
        live = registry.load(self.registry, encoder=info)
        return Job(
            snapshot=str(final),
            pool=self.training.keep_pool(pool) if len(pool) else None,
            text=None if self._text is None else self.training.keep_text(self._text),
            classes=live.head.classes,
            registry=str(self.registry),
            encoder=_plain(asdict(info)),
            parent=state.champion,
            code_version=version("clearline"),
            texts_sha256=live.manifest.provenance.get("texts_sha256"),
            created_at=datetime.fromtimestamp(self._clock.utc(), UTC).isoformat(timespec="seconds"),
        )

    def _class_vectors(self) -> ZeroShotHead | None:
        texts, tower = self._config.head.texts, self._encoder.text
        if texts is None or tower is None:
            return None
        classes = registry.load(self.registry, encoder=self._encoder.image.info).head.classes
        return build_zero_shot(load_dictionary(texts).ordered_as(classes, folder=str(self.registry)), encoder=tower)


def _plain(values: dict[str, Any]) -> dict[str, object]:
    return dict(values)
