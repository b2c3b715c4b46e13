"""The thread beside the line: one state machine for its head, driven by charts, labels, people and time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import structlog

from pipeline.adaptation.drift.causes import RESPONSES, Cause, likely_cause
from pipeline.adaptation.drift.episodes import EpisodeEvent
from pipeline.adaptation.gate.conditions import GateSettings
from pipeline.adaptation.gate.costs import CostMatrix
from pipeline.adaptation.gate.probation import ProbationSettings, Verdict
from pipeline.adaptation.gate.values import GateDecision
from pipeline.adaptation.lifecycle import effects as do
from pipeline.adaptation.lifecycle import events as ev
from pipeline.adaptation.lifecycle.audit_log import AuditLog
from pipeline.adaptation.lifecycle.journal import Journal
from pipeline.adaptation.lifecycle.machine import step
from pipeline.adaptation.lifecycle.states import LifecycleSettings, RunState, State
from pipeline.errors import ClearlineError
from pipeline.heads.bundle import HeadBundle
from pipeline.interfaces import Clock
from workers.adaptation.asking import Asking
from workers.adaptation.proving import GateRun, ProbationRun, candidate_facts
from workers.adaptation.refit import Job
from workers.adaptation.tap import Seen, Tap
from workers.adaptation.training import Training
from workers.adaptation.watch import Place, Watch
from workers.adaptation_files import AdaptationFiles
from workers.adaptation_requests import Request, RequestKind, take_all
from workers.inference import LiveHead
from workers.metrics import Metrics

log = structlog.get_logger()

TICK_S = 1.0  # how often people, children and timers are looked at
ASKING_STATES = (State.SUSPECT, State.DIAGNOSE, State.LABELLING, State.GATING, State.PROBATION)  # pictures are kept
DENSER_ON_PROBATION = 4.0
CALM_CAUSES = {Cause.CLASS_MIX}  # the stream changed, its errors did not: a person decides what is normal


@dataclass(frozen=True, slots=True)
class Terms:
    """What a challenger has to prove, and how long things may take."""

    lifecycle: LifecycleSettings
    gate: GateSettings
    probation: ProbationSettings
    teach: int
    draw: int


@dataclass(frozen=True, slots=True)
class Doing:
    """What the loop does to the line and its files; plain functions, so that tests own them."""

    load: Callable[[int], tuple[LiveHead, HeadBundle]]  # a version of the head, verified
    promote: Callable[[int], None]  # the pointer on disk
    swap: Callable[[LiveHead], None]  # the line, from the next batch on
    safe: Callable[[LiveHead], LiveHead]  # the same head with a wider review band
    job: Callable[[RunState], Job]  # what to fit on
    announce: Callable[[str, dict[str, Any]], None]  # to whoever listens (topics)


class AdaptationLoop:
    """`run` belongs to one thread; `close` may be called from any."""

    def __init__(
        self,
        *,
        tap: Tap,
        watch: Watch,
        asking: Asking,
        training: Training,
        files: AdaptationFiles,
        costs: CostMatrix,
        doing: Doing,
        terms: Terms,
        live: tuple[LiveHead, HeadBundle],
        context: str,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._tap, self._watch, self._asking, self._training = tap, watch, asking, training
        self._files, self._costs, self._doing, self._terms = files, costs, doing, terms
        self._live, self._clock, self._metrics = live, clock, metrics
        self._audit = AuditLog(files.audit, at=clock.utc())
        self._journal = Journal(files.state, settings=terms.lifecycle)
        now = clock.utc()
        first = RunState(context, champion=live[1].version, entered_at=now, last_at=now)
        self.state, effects = self._journal.open(first, at=now)
        self._effects = list(effects)
        self._asked: tuple[str, ...] = ()
        self._gate: GateRun | None = None
        self._probation: ProbationRun | None = None
        self._flip_rate = 1.0
        self._safe = False
        self._tick_at = 0.0
        self._last: dict[Place, EpisodeEvent] = {}

    def run(self) -> None:
        """Return when the tap is closed and empty."""
        try:
            self._carry_out(self._effects)
            if self._watch.has_references:
                self._take(ev.ReferenceReady(self._clock.utc()))
            while not self._tap.batches.exhausted:
                for seen in self._tap.batches.take(timeout_s=TICK_S):
                    self._guarded(lambda seen=seen: self._see(seen))  # type: ignore[misc]
                if self._clock.monotonic() >= self._tick_at:
                    self._tick_at = self._clock.monotonic() + TICK_S
                    self._guarded(self._tick)
        finally:
            self._training.stop()
            self._asking.store.close()
            self._audit.close()

    def _guarded(self, work: Callable[[], None]) -> None:
        """A full disk or a broken store must not stop the line: nothing is learned until a person thaws it."""
        try:
            work()
        except ClearlineError as error:
            self._hold(str(error))

    def _hold(self, why: str) -> None:
        if self.state.state is not State.HOLD:
            log.error("adaptation holds", cause=why)
            self._take(ev.Frozen(self._clock.utc(), "adaptation", why))

    def close(self) -> None:
        """End after what is in the tap."""
        self._tap.close()

    def _see(self, seen: Seen) -> None:
        now = self._clock.utc()
        self._watch.record(seen, at=now)
        self._asking.remember(seen, pictures=self.state.state in ASKING_STATES)
        denser = DENSER_ON_PROBATION if self.state.state is State.PROBATION else 1.0
        self._asking.audit(seen, at=now, denser=denser)
        for place, event in self._watch.update(seen):
            self._on_episode(place, event)
        if self._gate is not None:
            self._gate.take(seen, asking=self._asking, at=now)
        if self._probation is not None and seen.head_version == self.state.champion:
            self._probation.take(seen, asking=self._asking, at=now)
        self._tap.wants_pictures = True  # the audit may draw any part

    def _on_episode(self, place: Place, event: EpisodeEvent) -> None:
        now, where = self._clock.utc(), f"{place[0]}/{place[1]}"
        self._last[place] = event
        if event.kind == "warn":
            self._take(ev.Warned(now))
        elif event.kind == "cleared":
            self._take(ev.ChartsClear(now))
        elif event.kind == "alarm":
            charts = ", ".join(f"{name} {peak.ratio:.1f}" for name, peak in event.charts.items())
            self._take(ev.Alarmed(now, f"{where}: {charts}"))
        elif event.kind == "diagnosed":
            cause = likely_cause(event.charts, far_share=event.far_share)
            self._metrics.adaptation("drift_alarms_total", 1, place[0], cause.value)
            self._doing.announce("drift", {"source_id": place[0], "roi_id": place[1], "cause": cause.value})
            self._take(ev.Diagnosed(now, diagnosis_of(cause), f"{where}: {RESPONSES[cause].summary}"))

    def _tick(self) -> None:
        now = self._clock.utc()
        for request in take_all(self._files):
            self._on_request(request)
        self._asking.learn(at=now)
        self._look_at_labels(now)
        done = self._training.poll()
        if done is not None and self.state.run is not None:
            passed, reason = done.version is not None, done.error
            self._take(ev.CandidateBuilt(now, self.state.run, done.version or 0, passed, reason))
        self._take(ev.Ticked(now))
        self._tell_metrics(now)

    def _look_at_labels(self, now: float) -> None:
        run = self.state.run
        if run is None:
            return
        if self.state.state is State.LABELLING and self._asked:
            n = len(self._asking.answered(self._asked))
            if n >= min(self._terms.teach, len(self._asked)):
                self._take(ev.LabelsReady(now, run))
        elif self.state.state is State.GATING and self._gate is not None:
            report = self._gate.look(asking=self._asking, at=now)
            self._files.gates.mkdir(parents=True, exist_ok=True)
            self._files.gate(run).write_text(report.to_json(), encoding="utf-8")
            self._metrics.adaptation("gate_log_e", report.log_e_cost, "cost")
            self._metrics.adaptation("gate_log_e", report.log_e_worse, "worse")
            self._metrics.adaptation("gate_log_e_needed", report.log_e_needed)
            self._metrics.adaptation("gate_labels", report.labelled, "counted")
            self._metrics.adaptation("shadow_disagreement_ratio", report.flip_rate)
            self._flip_rate = max(report.flip_rate, 1e-3)
            if report.decision is not GateDecision.CONTINUE:
                self._take(ev.GateDecided(now, run, report.decision, report.reason))
        elif self.state.state is State.PROBATION and self._probation is not None:
            judged = self._probation.look(asking=self._asking, at=now)
            self._metrics.adaptation("probation_log_e_worse", judged.log_e_worse)
            if judged.verdict is not Verdict.WATCH:
                self._take(ev.ProbationJudged(now, run, judged.verdict, judged.reason))

    def _on_request(self, request: Request) -> None:
        """What a person asked for on a page or in a terminal; what they looked at must still be the case."""
        now, by, kind = self._clock.utc(), request.by, request.kind
        if kind is RequestKind.CHANGEOVER:
            self._watch.change_product(str(request.values["product"]))
            self._asking.product = str(request.values["product"])
        elif kind is RequestKind.REFERENCE:
            self._watch.reload()
            self._take(ev.ReferenceReady(now))
        elif kind in (RequestKind.APPROVE, RequestKind.REFUSE):
            run = str(request.values.get("run") or self.state.run or "")
            self._take(ev.ApprovalAnswered(now, run, kind is RequestKind.APPROVE, by))
        elif kind in (RequestKind.REBASELINE_APPROVE, RequestKind.REBASELINE_REFUSE):
            self._take(ev.RebaselineAnswered(now, kind is RequestKind.REBASELINE_APPROVE, by))
        elif kind is RequestKind.ROLLBACK:
            self._take(ev.RollbackAsked(now, by, str(request.values.get("reason") or "asked for")))
        elif kind is RequestKind.FREEZE:
            self._take(ev.Frozen(now, by, str(request.values.get("reason") or "asked for")))
        else:
            self._take(ev.Thawed(now, by))

    def _take(self, event: ev.Event) -> None:
        """Write the new state down, then do what it asks for."""
        before = self.state
        self.state, effects = step(before, event, settings=self._terms.lifecycle)
        if self.state.step != before.step:
            self._journal.write(self.state)
        self._carry_out(list(effects))

    def _carry_out(self, effects: list[do.Effect]) -> None:
        for effect in effects:
            try:
                self._do(effect)
            except ClearlineError as error:
                self._hold(f"{type(effect).__name__}: {error}")

    @functools.singledispatchmethod
    def _do(self, effect: do.Effect) -> None:
        """Nothing to be done: Diagnose waits for the charts, AskPerson for a request, StartReference for a person."""

    @_do.register
    def _(self, effect: do.Announce) -> None:
        told = {"context": effect.context, "step": effect.step, "run": effect.run, "reason": effect.reason}
        told |= {"before": effect.before.value, "after": effect.after.value}
        self._audit.append_once(at=self._clock.utc(), actor="clearline", kind="state", payload=told)
        log.info("adaptation", state=effect.after.value, reason=effect.reason)
        self._doing.announce("heads", {**told, "champion": self.state.champion})

    @_do.register
    def _(self, effect: do.SetSafePolicy) -> None:
        if effect.on != self._safe:
            self._safe = effect.on
            self._doing.swap(self._doing.safe(self._live[0]) if effect.on else self._live[0])

    @_do.register
    def _(self, effect: do.AskLabels) -> None:
        self._asked = self._asking.teach(seed=self.state.step, at=self._clock.utc())
        log.info("labels asked for", run=effect.run, n=len(self._asked))

    @_do.register
    def _(self, effect: do.Train) -> None:
        log.info("fitting a challenger", run=effect.run, n_new=self._asking.learn(at=self._clock.utc()))
        self._training.start(self._doing.job(self.state))

    @_do.register
    def _(self, effect: do.OpenGate) -> None:
        challenger, bundle = self._doing.load(effect.candidate)
        today = sum(self._clock.utc() - one < 86_400.0 for one in self.state.promoted_at)
        self._gate = GateRun(
            challenger,
            run=effect.run,
            version=effect.candidate,
            champion=self.state.champion,
            classes=self._live[1].head.classes,
            costs=self._costs,
            settings=self._terms.gate,
            facts=candidate_facts(bundle, champion=self._live[1], promotions_today=today, rebuilt=True),
            draw=self._terms.draw,
            opened_at=self._clock.utc(),
        )

    @_do.register
    def _(self, effect: do.MovePointer) -> None:
        self._gate = None
        self._live = self._doing.load(effect.version)
        self._doing.promote(effect.version)
        self._doing.swap(self._doing.safe(self._live[0]) if self._safe else self._live[0])
        self._take(ev.PointerMoved(self._clock.utc(), effect.version))

    @_do.register
    def _(self, effect: do.WatchProbation) -> None:
        previous, bundle = self._doing.load(effect.previous)
        self._probation = ProbationRun(
            previous,
            classes=bundle.head.classes,
            costs=self._costs,
            settings=self._terms.probation,
            gate_flip_rate=self._flip_rate,
            draw=self._terms.draw,
            opened_at=self._clock.utc(),
            seed=effect.head,
        )

    @_do.register
    def _(self, effect: do.Alert) -> None:
        log.warning("adaptation alert", severity=effect.severity, text=effect.text)

    def _tell_metrics(self, now: float) -> None:
        for state in State:
            self._metrics.adaptation("recal_state", float(state is self.state.state), state.value.replace(" ", "_"))
        for stream, n in self._asking.queue.n_open(at=now).items():
            self._metrics.adaptation("labels_open", n, stream.value)
        if self.state.state not in (State.GATING, State.APPROVAL):
            self._gate = None
        if not self.state.on_probation:
            self._probation = None


def diagnosis_of(cause: Cause) -> ev.Diagnosis:
    """What the machine does about a cause."""
    if cause is Cause.SENSOR_FAULT:
        return ev.Diagnosis.SENSOR_FAULT
    if cause is Cause.CONCEPT:
        return ev.Diagnosis.CONCEPT
    return ev.Diagnosis.BENIGN if cause in CALM_CAUSES else ev.Diagnosis.DRIFT


def safe_policy(live: LiveHead, *, least: float) -> LiveHead:
    """The same head; what it is not very sure of goes to review until the drift is settled."""
    policy = live.decider.policy
    wider = replace(
        policy,
        review_below=max(policy.review_below, least),
        thresholds={name: max(value, least) for name, value in policy.thresholds.items()},
        accept_at_least=max(policy.accept_at_least, least),
    )
    return LiveHead(live.head, live.decider.with_policy(wider))
