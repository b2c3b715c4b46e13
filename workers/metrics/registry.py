"""What the line says about itself to Prometheus; the catalogue is `CATALOGUE`."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from pipeline.interfaces import Clock
from pipeline.types import Prediction
from workers.metrics.catalogue import CATALOGUE, PREFIX, SOURCE_STATES, MetricSpec

__all__ = ["CATALOGUE", "SOURCE_STATES", "Balance", "MetricSpec", "Metrics", "Reading"]

MAX_SERIES = 20_000  # label sets per family: beyond, values fold into one series rather than fill the memory
MAX_PAIRS = 500  # of classes that are told apart only just
CLOSE_RATIO = 0.5  # of the rival's probability to the label's: from here on the label is a close call
OVERFLOW = "other"
_BY_NAME = {spec.name.removeprefix(PREFIX): spec for spec in CATALOGUE}
_ACCOUNTS = ("captured_total", "delivered_total", "dropped_total", "dead_lettered_total")
_BALANCES = ("in_flight", "conservation_error")
_NO_DROPS = {"queue_full": 0, "stale": 0}  # there from the start, so a rate can see the first
_NO_LETTERS = {"undecodable": 0}
_SHED_REASONS = ("bytes", "age", "corrupt")


class Balance(Protocol):
    """One source's account, read at one moment."""

    @property
    def captured(self) -> int: ...
    @property
    def delivered(self) -> int: ...
    @property
    def dropped(self) -> Mapping[str, int]: ...
    @property
    def dead_lettered(self) -> Mapping[str, int]: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def error(self) -> int: ...


class Reading(NamedTuple):
    """A gauge at one moment."""

    name: str  # without the prefix
    labels: tuple[str, ...]
    value: float


ReadLedger = Callable[[], Mapping[str, Balance]]


class _Family:
    """One metric with its label children kept, so that a call per frame is one dictionary look-up."""

    def __init__(self, spec: MetricSpec, *, registry: CollectorRegistry) -> None:
        self.spec = spec
        self.metric = _build(spec, registry=registry)
        self._children: dict[tuple[str, ...], Any] = {}

    def at(self, *labels: str, most: int | None = None) -> Any:
        child = self._children.get(labels)
        if child is not None:
            return child
        if len(self._children) >= (MAX_SERIES if most is None else most):
            labels = (OVERFLOW,) * len(labels)
        child = self._children[labels] = self.metric.labels(*labels)
        return child

    def forget(self, value: str, *, label: str) -> None:
        if label not in self.spec.labels:
            return
        index = self.spec.labels.index(label)
        for labels in [known for known in list(self._children) if known[index] == value]:
            del self._children[labels]
            self.metric.remove(*labels)


class _Accounts(Collector):
    """The frame counters, from the ledger at each scrape: one consistent reading per source."""

    def __init__(self) -> None:
        self.read: ReadLedger = dict
        self.forgotten: set[str] = set()

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        balances = {source: one for source, one in self.read().items() if source not in self.forgotten}
        captured, delivered, dropped, dead = (_counter_family(name) for name in _ACCOUNTS)
        in_flight, error = (_gauge_family(name) for name in _BALANCES)
        for source, balance in balances.items():
            captured.add_metric([source], balance.captured)
            delivered.add_metric([source], balance.delivered)
            in_flight.add_metric([source], balance.in_flight)
            error.add_metric([source], balance.error)
            for family, by_reason, zero in (
                (dropped, balance.dropped, _NO_DROPS),
                (dead, balance.dead_lettered, _NO_LETTERS),
            ):
                for reason, n in {**zero, **by_reason}.items():
                    family.add_metric([source, reason], n)
        yield from (captured, delivered, dropped, dead, in_flight, error)


@dataclass(frozen=True, slots=True)
class _WithoutCreated:
    """A registry's metrics without the `_created` series, which double the size of a scrape and say nothing here."""

    registry: CollectorRegistry

    def collect(self) -> Iterable[Metric]:
        for metric in self.registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class Metrics:
    """All metrics of one process on a registry of its own. Any thread may call any method; none blocks."""

    def __init__(self, *, clock: Clock, version: str) -> None:
        self._clock = clock
        self._utc_offset = clock.utc() - clock.monotonic()
        registry = self._registry = CollectorRegistry(auto_describe=False)
        by_ledger = {*_ACCOUNTS, *_BALANCES}
        self._families = {
            name: _Family(spec, registry=registry) for name, spec in _BY_NAME.items() if name not in by_ledger
        }
        self._accounts = _Accounts()
        registry.register(self._accounts)
        ProcessCollector(registry=registry)
        self._last_frame = self._families["source_last_frame_timestamp_seconds"]
        self._readings: list[Callable[[], Iterable[Reading]]] = []
        self._results = self._families["results_total"]
        self._close_calls = self._families["close_calls_total"]
        self._confidence = self._families["confidence_ratio"]
        self._latency = self._families["decision_latency_seconds"]
        self._age = self._families["frame_age_seconds"]
        self._items = self._families["batch_items_total"].metric
        self._padding = self._families["batch_padding_ratio"].metric
        self._queue_wait = self._families["queue_wait_seconds"].metric
        self._inference = self._families["inference_seconds"]
        self._families["build_info"].at(version, platform.python_version()).set(1)

    def frame_came(self, source_id: str) -> None:
        """A picture came just now; it is counted by the ledger."""
        self._last_frame.at(source_id).set(self._clock.utc())

    def bind_ledger(self, read: ReadLedger) -> None:
        """Take all frame counters from `read` at each scrape, with in flight and the conservation error."""
        self._accounts.read = read

    def source_state(self, source_id: str, state: str) -> None:
        """One of SOURCE_STATES."""
        if state not in SOURCE_STATES:
            raise ValueError(f"expected one of {', '.join(SOURCE_STATES)}, got {state!r}")
        self._accounts.forgotten.discard(source_id)
        for known in SOURCE_STATES:
            self._families["source_state"].at(source_id, known).set(known == state)
        self._families["source_up"].at(source_id).set(state == "streaming")
        self._families["source_reconnects_total"].at(source_id)  # there from the start, so a rate can see the first

    def reconnected(self, source_id: str) -> None:
        """A lost source is back."""
        self._families["source_reconnects_total"].at(source_id).inc()

    def forget_source(self, source_id: str) -> None:
        """Remove all series of a source that left the line; call it when its thread has ended."""
        self._accounts.forgotten.add(source_id)
        for family in self._families.values():
            family.forget(source_id, label="source")

    def batch(self, size: int, n_real: int, queue_waits_s: Sequence[float], infer_s: float) -> None:
        """One batch of `size` rows with `n_real` frames went through encoder and head."""
        self._items.inc(n_real)
        self._padding.observe(1.0 - n_real / size)
        self._inference.at(str(size)).observe(infer_s)
        for wait in queue_waits_s:
            self._queue_wait.observe(wait)

    def predicted(self, prediction: Prediction) -> None:
        """One verdict."""
        ref, newest = prediction.ref, prediction.refs[-1]
        self._results.at(ref.source_id, prediction.label, prediction.decision.value, prediction.head).inc()
        self._confidence.at(prediction.head).observe(prediction.confidence)
        self._latency.at(ref.source_id).observe(prediction.decided_at - newest.received_at)
        rival = prediction.confusion.rival
        if prediction.probabilities.get(rival, 0.0) >= CLOSE_RATIO * prediction.confidence:
            self._close_calls.at(prediction.head, prediction.label, rival, most=MAX_PAIRS).inc()
        if ref.capture_time_source != "file":
            self._age.at(ref.source_id).observe(prediction.decided_at + self._utc_offset - newest.captured_at)

    def sink_attempted(self, sink: str, n: int, seconds: float | None) -> None:
        """The sink took `n` results in one call of so many seconds, or (None) refused them."""
        failures = self._families["sink_failures_total"].at(sink)  # there from the start, so a rate can see the first
        if seconds is None:
            failures.inc()
            return
        self._families["sink_delivered_total"].at(sink).inc(n)
        self._families["sink_delivery_seconds"].at(sink).observe(seconds)

    def kafka(self, source_id: str, what: str, value: float) -> None:
        """Something a topic's reader noticed: lag (messages now), rebalances, commit_failures (so many more)."""
        if what == "lag":
            self._families["kafka_lag"].at(source_id).set(value)
        else:
            self._families[f"kafka_{what}_total"].at(source_id).inc(value)

    def bind_outbox(self, sink: str, read: Callable[[], tuple[int, int, float]]) -> None:
        """Ask `read` at each scrape for the rows, bytes and seconds of age that wait on disk."""
        for index, name in enumerate(("outbox_rows", "outbox_bytes", "outbox_age_seconds")):
            self._families[name].at(sink).set_function(lambda index=index: read()[index])
        for reason in _SHED_REASONS:
            self._families["outbox_shed_total"].at(sink, reason)

    def outbox_shed(self, sink: str, n: int, reason: str) -> None:
        """So many messages were given up."""
        self._families["outbox_shed_total"].at(sink, reason).inc(n)

    def adaptation(self, name: str, value: float, *labels: str) -> None:
        """A metric of the loop beside the line: a gauge is set, a counter grows by `value`."""
        family = self._families[name]
        child = family.at(*labels) if family.spec.labels else family.metric
        if family.spec.kind == "counter":
            child.inc(value)
        else:
            child.set(value)

    def expected_cost(self, source_id: str, currency: str, amount: float) -> None:
        """A verdict is expected to cost so much more."""
        self._families["expected_cost_total"].at(source_id, currency).inc(amount)

    def bind_readings(self, read: Callable[[], Iterable[Reading]]) -> None:
        """Ask `read` at each scrape for gauges that cost something to know."""
        self._readings.append(read)

    def head(self, name: str, version: int, sha256: str) -> None:
        """This head is live, and no other of its name."""
        info = self._families["head_info"]
        info.forget(name, label="head")
        info.at(name, str(version), sha256).set(1)

    def bind_ready(self, read: Callable[[], bool]) -> None:
        """Ask `read` at each scrape whether the line takes frames."""
        self._families["ready"].metric.set_function(read)

    def expose(self, accept: str | None = None) -> tuple[bytes, str]:
        """A scrape and its content type; OpenMetrics where the Accept header asks for it."""
        for read in self._readings:
            for name, labels, value in read():
                if labels[0] not in self._accounts.forgotten:
                    self._families[name].at(*labels).set(value)
        encode, content_type = choose_encoder(accept or "")
        return encode(_WithoutCreated(self._registry)), content_type


def _build(spec: MetricSpec, *, registry: CollectorRegistry) -> Any:
    about = f"{spec.meaning} {spec.action}"
    if spec.kind == "counter":
        return Counter(spec.name, about, spec.labels, registry=registry)
    if spec.kind == "gauge":
        return Gauge(spec.name, about, spec.labels, registry=registry)
    return Histogram(spec.name, about, spec.labels, buckets=spec.buckets, registry=registry)


def _counter_family(name: str) -> CounterMetricFamily:
    spec = _BY_NAME[name]
    return CounterMetricFamily(spec.name, f"{spec.meaning} {spec.action}", labels=spec.labels)


def _gauge_family(name: str) -> GaugeMetricFamily:
    spec = _BY_NAME[name]
    return GaugeMetricFamily(spec.name, f"{spec.meaning} {spec.action}", labels=spec.labels)
