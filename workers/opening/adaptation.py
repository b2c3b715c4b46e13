"""The loop beside the line, from the section `adaptation`: its files, its terms, and what it may do to the line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.adaptation.drift.limits import FalseAlarmBudget
from pipeline.adaptation.drift.profile import ReferenceRules
from pipeline.adaptation.gate.conditions import GateSettings
from pipeline.adaptation.gate.costs import CostMatrix
from pipeline.adaptation.gate.probation import ProbationSettings
from pipeline.adaptation.lifecycle.journal import Journal
from pipeline.adaptation.lifecycle.states import LifecycleSettings
from pipeline.adaptation.support.recording import EmbeddingRecording
from pipeline.adaptation.support.store import SupportStore
from pipeline.encoders.build import EncoderBundle
from pipeline.errors import ConfigError
from pipeline.heads.bundles import registry
from pipeline.heads.bundles.bundle import HeadBundle
from pipeline.interfaces import Clock
from workers.adaptation.acting import Acting, Doing, Terms, safe_policy
from workers.adaptation.asking import HOUR_S, Asking
from workers.adaptation.audits import Audits
from workers.adaptation.chain import current_product
from workers.adaptation.files import AdaptationFiles
from workers.adaptation.lock import AdaptationLock
from workers.adaptation.loop import TICK_S, AdaptationLoop, Beside
from workers.adaptation.pictures import PictureStore
from workers.adaptation.references import References
from workers.adaptation.sensors import EVERY_S, Sensors
from workers.adaptation.tap import Tap
from workers.adaptation.training import Child
from workers.adaptation.trial import INCLUSION
from workers.adaptation.watch import Watch
from workers.config.adaptation import AdaptationConfig, DriftConfig
from workers.config.decision import CostsConfig
from workers.config.line import LineConfig
from workers.live_head import LiveHead
from workers.metrics.registry import Metrics
from workers.opening.adaptation_head import POOL_ROWS, LineHead, promised_shares
from workers.opening.decision import cost_matrix

PICTURE_BYTES = 500_000_000
SAFE_LEAST = 0.9  # of P(label) while a drift is open; below it a person looks
DAY_S = 86_400.0
MAX_FLIP_RATE = 0.5  # a drift that costs a fifth of the accuracy needs a third of the decisions changed
LOCK_WAIT_S = 10.0  # for a command that is just writing


@dataclass(frozen=True, slots=True)
class Pace:
    """How soon things happen; tests and demonstrations have less patience than a factory."""

    tick_s: float = TICK_S
    sensor_every_s: float = EVERY_S
    approvals_before_auto: int = 5
    pool_rows: int = POOL_ROWS  # unlabelled rows that a challenger may learn from; 0: none
    rules: ReferenceRules | None = None  # None: as configured
    known: Path | None = None  # folder of the pictures the first head was fitted on: parts of known class


def open_adaptation(
    config: LineConfig,
    *,
    encoder: EncoderBundle,
    tap: Tap,
    swap: Callable[[LiveHead], None],
    clock: Clock,
    metrics: Metrics,
    announce: Callable[[str, dict[str, Any]], None] = lambda _kind, _told: None,
    pace: Pace | None = None,
) -> AdaptationLoop:
    """Everything built and checked, nothing started. Raises ConfigError for a head that needs more than embeddings."""
    given = _section(config)
    files = AdaptationFiles(given.folder)
    lock = AdaptationLock(files, clock=clock, wait_s=LOCK_WAIT_S)
    try:
        return _Opening(config, given=given, files=files, encoder=encoder, pace=pace or Pace()).loop(
            tap=tap, swap=swap, clock=clock, metrics=metrics, announce=announce, lock=lock
        )
    except BaseException:
        lock.close()
        raise


class _Opening:
    """One pass over the section; the parts know nothing of each other's settings."""

    def __init__(
        self,
        config: LineConfig,
        *,
        given: AdaptationConfig,
        files: AdaptationFiles,
        encoder: EncoderBundle,
        pace: Pace,
    ) -> None:
        self._config, self._given, self._files, self._encoder, self._pace = config, given, files, encoder, pace
        self._rules = pace.rules or rules_of(given.drift)
        self._product, self._product_since = current_product(files.audit, configured=given.product)

    def loop(
        self,
        *,
        tap: Tap,
        swap: Callable[[LiveHead], None],
        clock: Clock,
        metrics: Metrics,
        announce: Callable[[str, dict[str, Any]], None],
        lock: AdaptationLock,
    ) -> AdaptationLoop:
        head = self._head(clock)
        live = head.load(registry.live_version(head.registry)[0])
        _check(live[1])
        asking = self._asking(head, live[1], clock=clock)
        beside = Beside(
            watch=self._watch(metrics),
            sensors=Sensors(self._files.folder / "sensors.json", every_s=self._pace.sensor_every_s),
            audits=self._audits(asking, live[1]),
            references=self._references(head, asking=asking),
            asking=asking,
        )
        doing = self._doing(head, beside=beside, swap=swap, announce=announce)
        acting = self._acting(doing, asking=asking, live=live, clock=clock, metrics=metrics)
        return AdaptationLoop(
            tap=tap,
            beside=beside,
            acting=acting,
            files=self._files,
            journal=Journal(self._files.state, settings=acting.terms.lifecycle),
            context=self._config.head.name,
            champion=live[1].version,
            clock=clock,
            metrics=metrics,
            on_close=lock.close,
            tick_s=self._pace.tick_s,
        )

    def _head(self, clock: Clock) -> LineHead:
        return LineHead(
            self._config,
            encoder=self._encoder,
            files=self._files,
            product=self._product,
            pool_rows=self._pace.pool_rows,
            clock=clock,
        )

    def _doing(
        self,
        head: LineHead,
        *,
        beside: Beside,
        swap: Callable[[LiveHead], None],
        announce: Callable[[str, dict[str, Any]], None],
    ) -> Doing:
        return Doing(
            load=head.load,
            promote=head.promote,
            swap=swap,
            safe=lambda one: safe_policy(one, least=SAFE_LEAST),
            job=lambda: head.job(store=beside.asking.store),
            gather=lambda number: _gather(number, references=beside.references, watch=beside.watch),
            covered=beside.watch.covers,
            renewed=lambda bundle, at: beside.audits.restart(at=at, promised=self._promised(bundle)),
            announce=announce,
        )

    def _acting(
        self, doing: Doing, *, asking: Asking, live: tuple[LiveHead, HeadBundle], clock: Clock, metrics: Metrics
    ) -> Acting:
        return Acting(
            terms=self._terms(),
            doing=doing,
            asking=asking,
            child=Child("workers.adaptation.refit", folder=self._files.folder / "training"),
            files=self._files,
            costs=self._costs(live[1]),
            live=live,
            clock=clock,
            metrics=metrics,
        )

    def _watch(self, metrics: Metrics) -> Watch:
        kept = self._given.recording
        recording = EmbeddingRecording(
            self._files.recording,
            encoder=self._encoder.image.info,
            max_bytes=int(kept.max_gb * 1e9),
            max_age_s=kept.max_age_days * DAY_S,
        )
        return Watch(
            recording,
            references=self._files.references,
            state=self._files.folder / "charts.json",
            encoder=self._encoder.image.info,
            product=self._product,
            gather_parts=self._given.drift.gather_parts,
            gauge=metrics.adaptation,
        )

    def _asking(self, head: LineHead, live: HeadBundle, *, clock: Clock) -> Asking:
        store = SupportStore(self._files.support, encoder=self._encoder.image.info)
        pictures = PictureStore(self._files.pictures, max_bytes=PICTURE_BYTES)
        if not store.counts():
            store.add_founders(head.founders(live), at=clock.utc())
        if self._pace.known is not None:
            head.show_founders(live, folder=self._pace.known, pictures=pictures)
        labels = self._given.labels
        return Asking(
            store,
            pictures=pictures,
            encoder=self._encoder.image.info,
            product=self._product,
            product_since=self._product_since,
            teach=labels.teach,
            per_hour=labels.per_hour,
            expire_s=labels.expire_hours * HOUR_S,
            audit_accepted=labels.audit_accepted,
            audit_rejected=labels.audit_rejected,
            seed=live.version,
        )

    def _audits(self, asking: Asking, live: HeadBundle) -> Audits:
        return Audits(
            asking.store,
            good=self._config.decision.good_classes,
            source_of=lambda event_id: asking.context_of(event_id).source,
            since=0.0,
            promised=self._promised(live),
        )

    def _promised(self, bundle: HeadBundle) -> tuple[float, float]:
        return promised_shares(bundle, good=frozenset(self._config.decision.good_classes))

    def _references(self, head: LineHead, *, asking: Asking) -> References:
        rules = self._rules
        budget = budget_of(self._given.drift)
        return References(
            self._files.normal,
            child=Child("workers.adaptation.rereference", folder=self._files.folder / "training"),
            job=lambda number, since: head.reference_job(
                number, product=asking.product, since=max(since, asking.product_since), rules=rules, budget=budget
            ),
            milestones=(rules.advisory_parts, rules.active_parts, rules.mix_active_parts),
        )

    def _costs(self, live: HeadBundle) -> CostMatrix:
        decision = self._config.decision
        classes = live.head.classes
        costs = cost_matrix(decision.costs or CostsConfig(), classes=classes, good=decision.good_classes)
        good = tuple(name in decision.good_classes for name in classes)
        return CostMatrix(np.asarray(costs.array, np.float64), good)

    def _terms(self) -> Terms:
        gate, labels = self._given.gate, self._given.labels
        return Terms(
            lifecycle=LifecycleSettings(
                auto_promote=gate.auto_promote,
                approvals_before_auto=self._pace.approvals_before_auto,
                cooldown_s=gate.cooldown_minutes * 60.0,
                labelling_limit_s=labels.expire_hours * HOUR_S,
            ),
            gate=GateSettings(
                alpha=gate.alpha,
                escape_limit=gate.escape_limit,
                min_frames=gate.min_frames,
                max_labels=labels.gate,
                max_hours=gate.max_hours,
                max_flip_rate=MAX_FLIP_RATE,
                golden_min_per_class=1,  # small classes are judged together
                inclusion_floor=INCLUSION,
                accept_inclusion_floor=INCLUSION,
            ),
            probation=ProbationSettings(
                min_parts=gate.probation_parts, min_hours=gate.probation_hours, inclusion_floor=INCLUSION
            ),
            teach=labels.teach,
        )


def rules_of(drift: DriftConfig) -> ReferenceRules:
    """How long a recording must be."""
    return ReferenceRules(
        advisory_parts=drift.advisory_parts,
        active_parts=drift.active_parts,
        mix_active_parts=drift.mix_active_parts,
        correlation_times=drift.correlation_times,
    )


def budget_of(drift: DriftConfig) -> FalseAlarmBudget:
    """How often a healthy camera may call somebody."""
    return FalseAlarmBudget(drift.false_alarms, drift.false_alarm_days)


def _gather(number: int, *, references: References, watch: Watch) -> None:
    watch.ignore(number)
    references.gather(number)


def _section(config: LineConfig) -> AdaptationConfig:
    if config.adaptation is None:
        raise ConfigError("adaptation: expected the section adaptation, got none; see configs/example.yaml")
    return config.adaptation


def _check(live: HeadBundle) -> None:
    if live.head.n_levels:
        raise ConfigError(
            f"adaptation: expected a head fitted on embeddings alone, got {live.head.name} version "
            f"{live.version} with {live.head.n_levels} levels; fit it again with adaptation in the configuration"
        )
