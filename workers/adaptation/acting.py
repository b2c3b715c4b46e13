"""What the life cycle asks for, done: questions, fits, the gate, the pointer, probation; and what came of them."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from pipeline.adaptation.gate.conditions import GateSettings
from pipeline.adaptation.gate.costs import CostMatrix
from pipeline.adaptation.gate.label_screens import screen_batch
from pipeline.adaptation.gate.probation import ProbationReport, ProbationSettings, Verdict
from pipeline.adaptation.gate.values import GateDecision, GateReport, LabelStream
from pipeline.adaptation.lifecycle import effects as do
from pipeline.adaptation.lifecycle import events as ev
from pipeline.adaptation.lifecycle.states import LifecycleSettings, RunState, State
from pipeline.errors import ClearlineError, DataError
from pipeline.heads.bundles.atomic import write_atomic
from pipeline.heads.bundles.bundle import HeadBundle
from pipeline.interfaces import Clock
from workers.adaptation.asking import Asking
from workers.adaptation.book import RunBook
from workers.adaptation.chain import Chain
from workers.adaptation.facts import candidate_facts
from workers.adaptation.files import AdaptationFiles
from workers.adaptation.proving import GateRun, ProbationRun, screens_for
from workers.adaptation.questions import Questions, as_batch
from workers.adaptation.requests import Request
from workers.adaptation.tap import Seen
from workers.adaptation.training import Child
from workers.live_head import LiveHead
from workers.metrics.registry import Metrics

log = structlog.get_logger()

DAY_S = 86_400.0
LEAST_FLIP_RATE = 1e-3
TEACH_POOL = 4  # times as many frames as are asked about, to choose from


@dataclass(frozen=True, slots=True)
class Terms:
    """What a challenger has to prove, and how long things may take."""

    lifecycle: LifecycleSettings
    gate: GateSettings
    probation: ProbationSettings
    teach: int


@dataclass(frozen=True, slots=True)
class Doing:
    """What the loop does to the line and its files; plain functions, so that tests own them."""

    load: Callable[[int], tuple[LiveHead, HeadBundle]]  # a version of the head, verified
    promote: Callable[[int], None]  # the pointer on disk
    swap: Callable[[LiveHead], None]  # the line, from the next batch on
    safe: Callable[[LiveHead], LiveHead]  # the same head with a wider review band
    job: Callable[[], str]  # what to fit on
    gather: Callable[[int], None]  # a reference of this head, from the line as it is now
    covered: Callable[[int], bool]  # is there a reference of this head?
    renewed: Callable[[HeadBundle, float], None]  # another head decides since then
    announce: Callable[[str, dict[str, Any]], None]  # to whoever listens (topics)


class Acting:
    """One thread. Each effect may be asked for twice: after a crash it will be."""

    def __init__(
        self,
        *,
        terms: Terms,
        doing: Doing,
        asking: Asking,
        child: Child,
        files: AdaptationFiles,
        costs: CostMatrix,
        live: tuple[LiveHead, HeadBundle],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self.terms = terms
        self._doing, self._asking, self.child, self._files = doing, asking, child, files
        self._costs, self._live, self._clock, self._metrics = costs, live, clock, metrics
        self._chain = Chain(files.audit, clock=clock)
        self._teach: Questions | None = None
        self._wants_labels = False
        self._gate: GateRun | None = None
        self.report: GateReport | None = None  # of the gate's last look
        self.judged: ProbationReport | None = None  # of the probation's
        self._probation: ProbationRun | None = None
        self._safe = False
        self._state = RunState("", champion=0, entered_at=0.0, last_at=0.0)  # of the effect being carried out
        self._came: ev.Event | None = None  # of it

    @property
    def live(self) -> LiveHead:
        """The head that decides. Any thread may ask."""
        return self._live[0]

    def carry_out(self, effect: do.Effect, *, state: RunState) -> ev.Event | None:
        """What happened because of it. Raises ClearlineError or OSError."""
        self._state, self._came = state, None
        self._do(effect)
        return self._came

    def see(self, seen: Seen, *, at: float) -> None:
        """A batch for whoever compares two heads."""
        if self._gate is not None:
            self._gate.take(seen, at=at)
        if self._probation is not None:
            self._probation.take(seen, at=at)

    def look(self, state: RunState, *, at: float) -> list[ev.Event]:
        """What children and people have come to since. Raises ClearlineError or OSError."""
        self._chain.settle()
        said = self.child.poll()
        if state.run is None:
            return []
        if said is not None:
            version = said.get("version")
            return [ev.CandidateBuilt(at, state.run, version or 0, version is not None, str(said.get("error", "")))]
        if state.state is State.LABELLING:
            return self._look_at_teaching(state.run, state.step, at)
        if state.state is State.GATING and self._gate is not None:
            return self._look_at_gate(state.run, at)
        if state.on_probation and self._probation is not None:
            judged = self.judged = self._probation.look(at=at)
            self._metrics.adaptation("probation_log_e_worse", judged.log_e_worse)
            if judged.verdict is not Verdict.WATCH:
                return [ev.ProbationJudged(at, state.run, judged.verdict, judged.reason)]
        return []

    def note(self, kind: str, *, by: str, payload: Mapping[str, Any], at: float) -> None:
        """A record in the chain."""
        self._chain.append(at=at, actor=by, kind=kind, payload=payload)

    def announce(self, kind: str, told: dict[str, Any]) -> None:
        """To whoever listens."""
        self._doing.announce(kind, told)

    def condemn(self, reason: str) -> None:
        """Labels of the audit speak against a head on probation."""
        if self._probation is not None:
            self._probation.alarm(reason)

    def promote(self, request: Request, *, state: RunState, at: float) -> ev.Event | None:
        """By a person, past the gate: log, pointer, then state, as `clearline head promote` does it. None: refused."""
        version = request.values.get("version")
        if state.state is State.HOLD or not isinstance(version, int) or version == state.champion:
            return None
        self.note("request promote", by=request.by, payload={"version": version}, at=at)
        try:
            self._needs_embedding_alone(version)
            self.move_pointer(version)
        except ClearlineError as error:
            log.warning("head not promoted", version=version, by=request.by, cause=str(error))
            return None
        return ev.PromotedByHand(at, version, request.by)

    def move_pointer(self, version: int) -> None:
        """That version decides from the next batch on. Raises BundleError for one that does not fit."""
        live = self._doing.load(version)
        self._doing.promote(version)
        changed = self._live[1].version != version
        self._live = live
        self._swap()
        if changed:
            self._doing.renewed(live[1], self._clock.utc())
        if not self._doing.covered(version):
            self._doing.gather(version)

    def close(self) -> None:
        """End what still goes on."""
        self.child.stop()
        self._chain.close()

    def _book(self, run: str) -> RunBook:
        return RunBook(self._files.gates / f"{run}.jsonl")

    def _look_at_teaching(self, run: str, step: int, at: float) -> list[ev.Event]:
        """Ask when there are frames to choose from; fit when the answers are in and believed."""
        index = {name: number for number, name in enumerate(self._live[1].head.classes)}
        if self._wants_labels and self._asking.n_recent >= TEACH_POOL * self.terms.teach:
            self._teach = self._asking.teach(name=f"teach-{step}", index=index, seed=step, at=at)
            self._book(run).write("teach", **self._teach.to_plain())
            self._wants_labels = False
            log.info("labels asked for", run=run, n=len(self._teach.parts), honeypots=len(self._teach.honeypots))
        answers = None if self._teach is None else self._asking.answers(self._teach, at=at)
        if self._teach is None or answers is None:
            return []
        batch = as_batch(self._teach, answers=answers, index=index, stream=LabelStream.TEACH)
        report = screen_batch(batch, settings=screens_for(self._asking))
        if report.quarantined and not (batch.double_labelled and report.honeypot_errors <= 1):
            if at < self._teach.expires_at and not batch.double_labelled:
                log.warning("labels doubted, a second person is asked", run=run, reasons=report.reasons)
                self._asking.second_opinion(self._teach, at=at)
                return []
            self._teach = None
            return [ev.Frozen(at, "adaptation", f"labels not believed: {'; '.join(report.reasons)}")]
        n_new = self._asking.learn({part.event_id for part in batch.parts}, at=at)
        log.info("labels taken", run=run, n=n_new)
        return [ev.LabelsReady(at, run)] if n_new else []

    def _look_at_gate(self, run: str, at: float) -> list[ev.Event]:
        assert self._gate is not None
        report = self.report = self._gate.look(at=at)
        self._tell(report)
        content = report.to_json().encode()
        path = self._files.gate(run)
        if not path.is_file() or path.read_bytes() != content:
            write_atomic(path, content=content, durable=report.decision is not GateDecision.CONTINUE)
        if report.decision is GateDecision.CONTINUE:
            return []
        return [ev.GateDecided(at, run, report.decision, report.reason)]

    def _tell(self, report: GateReport) -> None:
        self._metrics.adaptation("gate_log_e", report.log_e_cost, "cost")
        self._metrics.adaptation("gate_log_e", report.log_e_worse, "worse")
        self._metrics.adaptation("gate_log_e_needed", report.log_e_needed)
        self._metrics.adaptation("gate_labels", report.labelled, "counted")
        self._metrics.adaptation("shadow_disagreement_ratio", report.flip_rate)

    @functools.singledispatchmethod
    def _do(self, effect: do.Effect) -> None:
        """Nothing to be done: Diagnose waits for the charts, AskPerson for a request."""

    @_do.register
    def _(self, effect: do.Announce) -> None:
        told = {"context": effect.context, "step": effect.step, "run": effect.run, "reason": effect.reason}
        told |= {"before": effect.before.value, "after": effect.after.value, "champion": self._state.champion}
        log.info("adaptation", state=effect.after.value, reason=effect.reason)
        self._doing.announce("heads", told)
        if effect.after not in (State.GATING, State.APPROVAL):
            self._gate = None
        if not self._state.on_probation:
            self._probation = None
        if effect.after is not State.LABELLING:
            self._teach, self._wants_labels = None, False
        self._chain.append_once(at=self._clock.utc(), actor="clearline", kind="state", payload=told)

    @_do.register
    def _(self, effect: do.SetSafePolicy) -> None:
        if effect.on != self._safe:
            self._safe = effect.on
            self._swap()

    @_do.register
    def _(self, effect: do.AskLabels) -> None:
        asked = self._book(effect.run).read("teach")
        self._teach = Questions.from_plain(asked[-1]) if asked else None
        self._wants_labels = not asked

    @_do.register
    def _(self, effect: do.Train) -> None:
        log.info("fitting a challenger", run=effect.run)
        self.child.start(self._doing.job())

    @_do.register
    def _(self, effect: do.OpenGate) -> None:
        challenger, bundle = self._doing.load(effect.candidate)
        now = self._clock.utc()
        today = sum(now - one < DAY_S for one in self._state.promoted_at)
        self._gate = GateRun(
            challenger,
            champion=self._live[0],
            run=effect.run,
            classes=self._live[1].head.classes,
            costs=self._costs,
            settings=self.terms.gate,
            facts=candidate_facts(bundle, champion=self._live[1], promotions_today=today, clock=self._clock),
            asking=self._asking,
            book=self._book(effect.run),
            opened_at=self._state.entered_at,
        )

    @_do.register
    def _(self, effect: do.MovePointer) -> None:
        self.move_pointer(effect.version)
        self._came = ev.PointerMoved(self._clock.utc(), effect.version)

    @_do.register
    def _(self, effect: do.WatchProbation) -> None:
        previous, bundle = self._doing.load(effect.previous)
        self._probation = ProbationRun(
            previous,
            new=self._live[0],
            classes=bundle.head.classes,
            costs=self._costs,
            settings=self.terms.probation,
            gate_flip_rate=self._gate_flip_rate(effect.run),
            asking=self._asking,
            book=self._book(effect.run),
            opened_at=self._state.entered_at,
        )

    @_do.register
    def _(self, effect: do.StartReference) -> None:
        if self._state.came_from is State.REBASELINE or not self._doing.covered(effect.head):
            self._doing.gather(effect.head)

    @_do.register
    def _(self, effect: do.Alert) -> None:
        log.warning("adaptation alert", severity=effect.severity, text=effect.text)

    def _needs_embedding_alone(self, version: int) -> None:
        head = self._doing.load(version)[0].head
        if head.n_levels:
            raise DataError(f"head {version}: expected one that uses the embedding alone, got {head.n_levels} levels")

    def _swap(self) -> None:
        self._doing.swap(self._doing.safe(self._live[0]) if self._safe else self._live[0])

    def _gate_flip_rate(self, run: str) -> float:
        """What the gate saw; of a head that a person made live by hand, the gate saw nothing."""
        try:
            return max(float(json.loads(self._files.gate(run).read_bytes())["flip_rate"]), LEAST_FLIP_RATE)
        except (OSError, ValueError, KeyError):
            return self.terms.gate.max_flip_rate


def safe_policy(live: LiveHead, *, least: float) -> LiveHead:
    """The same head; what it is not very sure of goes to review until the drift is settled."""
    policy = live.decider.policy
    wider = replace(
        policy,
        review_below=max(policy.review_below, least),
        thresholds={name: max(value, least) for name, value in policy.thresholds.items()},
        accept_at_least=max(policy.accept_at_least, least),
    )
    return LiveHead(live.head, live.decider.with_policy(wider), safe=True)
