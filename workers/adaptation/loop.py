"""The thread beside the line: one state machine for its head, driven by charts, labels, people and time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from pipeline.adaptation.drift.causes import RESPONSES, Cause, likely_cause
from pipeline.adaptation.drift.episodes import EpisodeEvent, EventKind
from pipeline.adaptation.drift.sensor import SensorCheck
from pipeline.adaptation.lifecycle import effects as do
from pipeline.adaptation.lifecycle import events as ev
from pipeline.adaptation.lifecycle.journal import Journal
from pipeline.adaptation.lifecycle.machine import step
from pipeline.adaptation.lifecycle.states import RunState, State
from pipeline.errors import ClearlineError
from pipeline.interfaces import Clock
from workers.adaptation.acting import Acting
from workers.adaptation.asking import Asking
from workers.adaptation.audits import Audits
from workers.adaptation.files import AdaptationFiles
from workers.adaptation.references import References
from workers.adaptation.requests import Request, RequestKind, take_all
from workers.adaptation.sensors import Sensors
from workers.adaptation.tap import Seen, Tap
from workers.adaptation.watch import Place, Watch
from workers.adaptation.wishes import event_of
from workers.metrics.registry import Metrics

log = structlog.get_logger()

TICK_S = 1.0  # how often people, children and timers are looked at
SAVE_TICKS = 30  # between two writings of where the charts stand
CHOOSING = (State.SUSPECT, State.DIAGNOSE, State.LABELLING)  # frames are kept that people may be asked about
HEALTHY = (State.COMMISSIONING, State.MONITORING)
DENSER_ON_PROBATION = 4.0
CALM_CAUSES = {Cause.CLASS_MIX}  # the stream changed, its errors did not: a person decides what is normal
EVENTS = {EventKind.WARN: ev.Warned, EventKind.CLEARED: ev.ChartsClear}
TROUBLE = (ClearlineError, OSError)  # a full disk, a broken store: nothing is learned until a person thaws it


@dataclass(frozen=True, slots=True)
class Beside:
    """What looks at the stream."""

    watch: Watch
    sensors: Sensors
    audits: Audits
    references: References
    asking: Asking


class AdaptationLoop:
    """`run` belongs to one thread; `close` may be called from any. Tests call `begin`, `see` and `tick` themselves."""

    def __init__(
        self,
        *,
        tap: Tap,
        beside: Beside,
        acting: Acting,
        files: AdaptationFiles,
        journal: Journal,
        context: str,
        champion: int,
        clock: Clock,
        metrics: Metrics,
        on_close: Callable[[], None],
        tick_s: float = TICK_S,
    ) -> None:
        self._tap, self.acting, self.files, self._journal = tap, acting, files, journal
        self._watch, self._sensors, self._audits = beside.watch, beside.sensors, beside.audits
        self.references, self.asking = beside.references, beside.asking
        self._clock, self._metrics, self._on_close, self._tick_s = clock, metrics, on_close, tick_s
        now = clock.utc()
        first = RunState(context, champion=champion, entered_at=now, last_at=now)
        self.state, effects = journal.open(first, at=now)
        self._resumed = list(effects)
        self._inbox: deque[ev.Event] = deque()
        self._busy = False
        self._stuck = ""  # why the state cannot be written down: until then nothing changes at all
        self._still = False  # the alarm being taken is of a drift that was marked before
        self._lost = ""  # why parts are not recorded
        self._n_ticks = 0
        self._tick_at = float("-inf")
        self._left_out = 0

    def run(self) -> None:
        """Return when the tap is closed and empty."""
        try:
            self.begin()
            while not self._tap.batches.exhausted:
                for seen in self._tap.batches.take(timeout_s=self._tick_s):
                    self.see(seen)
                if self._clock.monotonic() >= self._tick_at:
                    self._tick_at = self._clock.monotonic() + self._tick_s
                    self.tick()
        finally:
            self.references.stop()
            self.acting.close()
            self.asking.store.close()
            self._watch.close()
            self._on_close()

    def begin(self) -> None:
        """Do again what the state on disk asks for."""
        self._tap.wants_pictures = True  # the audit may draw any part
        self._carry_out(self._resumed)
        self._drain()

    def close(self) -> None:
        """End after what is in the tap."""
        self._tap.close()

    @property
    def ratios(self) -> tuple[float, ...]:
        """Statistic over limit of the newest block of any place; () where nothing is charted. Any thread may ask."""
        return self._watch.ratios

    @property
    def is_charted(self) -> bool:
        """Is there a reference of the live head, for the product on the belt?"""
        return self._watch.covers(self.state.champion)

    @property
    def n_left_out(self) -> int:
        """Parts the loop was too slow for; their results went out all the same."""
        return self._tap.n_left_out

    def see(self, seen: Seen) -> None:
        """One decided batch."""
        now = self._clock.utc()
        self._record(seen, now)
        self._guarded(lambda: self._look_at(seen, now))

    def tick(self) -> None:
        """People, children and time; about once a second."""
        now = self._clock.utc()
        self._n_ticks += 1
        if self._stuck:
            self._try_again(now)
        if not self._stuck:
            self._guarded(lambda: self._each_second(now))
        self._tell_metrics(now)

    def take(self, event: ev.Event) -> None:
        """Write the new state down, then do what it asks for, then take what came of that."""
        self._inbox.append(event)
        self._drain()

    def _drain(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            while self._inbox and not self._stuck:
                self._take(self._inbox.popleft())
        finally:
            self._busy = False

    def _take(self, event: ev.Event) -> None:
        before = self.state
        state, effects = step(before, event, settings=self.acting.terms.lifecycle)
        if state.step != before.step or state.promoted_at != before.promoted_at:
            try:
                self._journal.write(state)
            except TROUBLE as error:
                self._stuck = f"journal: {error}"
                self._inbox.clear()
                log.error("adaptation holds, and cannot write that down", cause=str(error))
                return
        self.state = state
        if state.state is State.DIAGNOSE and before.state is not State.DIAGNOSE and not self._still:
            self._guarded(lambda: self.references.mark(at=event.at))
        if state.state is State.SUSPECT and before.state is State.MONITORING:
            self.asking.forget_recent()
        self._carry_out(list(effects))

    def _carry_out(self, effects: list[do.Effect]) -> None:
        for effect in effects:
            try:
                came = self.acting.carry_out(effect, state=self.state)
            except TROUBLE as error:
                self._hold(f"{type(effect).__name__}: {error}")
                return
            if came is not None:
                self._inbox.append(came)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except TROUBLE as error:
            self._hold(str(error))

    def _hold(self, why: str) -> None:
        if self.state.state is not State.HOLD:
            log.error("adaptation holds", cause=why)
            self.take(ev.Frozen(self._clock.utc(), "adaptation", why))

    def _try_again(self, now: float) -> None:
        try:
            self._journal.write(self.state)
        except TROUBLE:
            return
        why, self._stuck = self._stuck, ""
        self.take(ev.Frozen(now, "adaptation", why))

    def _record(self, seen: Seen, now: float) -> None:
        """Where the disk refuses, charts and people go on; what is not recorded cannot become a reference."""
        try:
            self._watch.record(seen, at=now)
            self._lost = ""
        except TROUBLE as error:
            if not self._lost:
                log.error("parts are not recorded", cause=str(error))
                self._lost = str(error)
                self._hold(self._lost)

    def _look_at(self, seen: Seen, now: float) -> None:
        state = self.state.state
        if state in CHOOSING:
            self.asking.remember(seen)
        if state is not State.HOLD:
            self.asking.audit(seen, at=now, denser=DENSER_ON_PROBATION if state is State.PROBATION else 1.0)
        self.references.count(seen)
        for place in self._sensors.update(seen, at=now, healthy=state in HEALTHY):
            self._name(place, Cause.SENSOR_FAULT, ", ".join(self._sensors.faults(place)))
        for place, event in self._watch.update(seen):
            self._on_episode(place, event)
        self.acting.see(seen, at=now)

    def _on_episode(self, place: Place, event: EpisodeEvent) -> None:
        now = self._clock.utc()
        if event.kind in EVENTS:
            self.take(EVENTS[event.kind](now))
        elif event.kind is EventKind.ALARM:
            self.take(ev.Alarmed(now, f"{place[0]}/{place[1]}: {_in_words(event)}"))
        elif event.kind is EventKind.DIAGNOSED:
            self._diagnose(place, event)

    def _diagnose(self, place: Place, event: EpisodeEvent) -> None:
        odd = self._sensors.odd(place)
        cause = likely_cause(
            event.charts,
            far_share=event.far_share,
            sensor_odd=odd,
            sensor_faults={*self._sensors.faults(place), *({SensorCheck.FROZEN} & {*odd})},  # no chance repeats one
            soft=self._sensors.soft(place),
        )
        self._name(place, cause, _in_words(event))

    def _name(self, place: Place, cause: Cause, seen_in: str) -> None:
        """A cause is known: counted, told, and answered as the machine answers it."""
        self._metrics.adaptation("drift_alarms_total", 1, place[0], cause.value)
        told = {"source_id": place[0], "roi_id": place[1], "cause": cause.value, "seen_in": seen_in}
        self.acting.announce("drift", told)
        log.warning("drift", **told)
        said = f"{place[0]}/{place[1]}: {RESPONSES[cause].summary} ({seen_in})"
        self.take(ev.Diagnosed(self._clock.utc(), diagnosis_of(cause), said))

    def _each_second(self, now: float) -> None:
        for request in take_all(self.files):
            self._on_request(request)
        if self.references.tick():
            self._watch.reload()
        if self.state.state is State.COMMISSIONING and self.is_charted:
            self.take(ev.ReferenceReady(now))
        if self.state.state is State.BLOCKED and self._sensors.is_well:
            self.take(ev.FaultCleared(now))
        if self.state.state in HEALTHY:
            self._alarm_again(now)
        harm = self._audits.update(now=now)
        if harm is not None:
            self._on_harm(harm, now)
        for came in self.acting.look(self.state, at=now):
            self.take(came)
        self.take(ev.Ticked(now))
        if self._n_ticks % SAVE_TICKS == 0:
            self._watch.save()

    def _alarm_again(self, now: float) -> None:
        """What a run has not settled; the line is what it has been since the first alarm of it."""
        self._still = True
        for place, event in self._watch.standing():
            self.take(ev.Alarmed(now, f"{place[0]}/{place[1]} still: {_in_words(event)}"))
            self._diagnose(place, event)
        self._still = False

    def _on_harm(self, harm: str, now: float) -> None:
        """Labels of random parts say that more goes wrong than was promised."""
        self.acting.condemn(f"audit: more {harm} than promised")
        if self.state.state in (State.MONITORING, State.SUSPECT):
            self.take(ev.Alarmed(now, f"audit: more {harm} than promised"))
            self._name(("audit", harm), likely_cause({}, far_share=0.0, audit_alarm=True), f"labels: {harm}")

    def _on_request(self, request: Request) -> None:
        """What a person asked for on a page or in a terminal; what they looked at must still be the case."""
        now, by, kind, fields = self._clock.utc(), request.by, request.kind, request.values
        if kind is RequestKind.CHANGEOVER:
            product = str(fields["product"])
            self.acting.note("changeover", by=by, payload={"product": product}, at=now)
            self._watch.change_product(product)
            self.asking.change_product(product, at=now)
            if self.state.state is State.SUSPECT:
                self.take(ev.ChartsClear(now))  # what warned was another product
        elif kind is RequestKind.REFERENCE:
            self._watch.reload()
        elif kind is RequestKind.PROMOTE and (made := self.acting.promote(request, state=self.state, at=now)):
            self.take(made)
        else:
            event = event_of(request, state=self.state, at=now)
            self.acting.note(f"request {kind.value}", by=by, payload=dict(fields), at=now)
            if event is None:
                log.warning("request left out: what it was about has passed", kind=kind.value, by=by)
            else:
                self.take(event)

    def _tell_metrics(self, now: float) -> None:
        metrics = self._metrics.adaptation
        held = bool(self._stuck)
        for state in State:
            on = state is (State.HOLD if held else self.state.state)
            metrics("recal_state", float(on), state.value.replace(" ", "_"))
        metrics("recording_bytes", self._watch.recorded_bytes)
        metrics("adaptation_left_out_total", self._tap.n_left_out - self._left_out)
        self._left_out = self._tap.n_left_out
        if held:
            return
        try:
            for stream, n in self.asking.queue.n_open(at=now).items():
                metrics("labels_open", n, stream.value)
            self._audits.tell(metrics, now=now)
        except TROUBLE as error:
            self._hold(str(error))


def _in_words(event: EpisodeEvent) -> str:
    return ", ".join(f"{name} {peak.ratio:.1f}" for name, peak in event.charts.items())


def diagnosis_of(cause: Cause) -> ev.Diagnosis:
    """What the machine does about a cause."""
    if cause is Cause.SENSOR_FAULT:
        return ev.Diagnosis.SENSOR_FAULT
    if cause is Cause.CONCEPT:
        return ev.Diagnosis.CONCEPT
    return ev.Diagnosis.BENIGN if cause in CALM_CAUSES else ev.Diagnosis.DRIFT
