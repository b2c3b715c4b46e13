"""The catalogue, the registry of one process, and what a scrape looks like."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, replace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.conftest import need
from tests.exercised import exercise_rest
from tests.fakes import FakeClock
from tests.making import make_prediction, make_ref
from workers.ledger import Ledger
from workers.metrics import registry as metrics_module
from workers.metrics.registry import CATALOGUE, Metrics, Reading


def _made() -> Metrics:
    return Metrics(clock=FakeClock(), version="0.1.0")


def _samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = metrics.expose()[0].decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_text(text)
        for sample in family.samples
    }


def _value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return _samples(metrics).get((f"clearline_{name}", tuple(sorted(labels.items()))))


@dataclass(frozen=True)
class _Balance:
    captured: int
    delivered: int
    dropped: dict[str, int]
    dead_lettered: dict[str, int]
    in_flight: int
    error: int


def _exercised() -> Metrics:
    metrics = _made()
    metrics.source_state("cap-01", "streaming")
    metrics.bind_ledger(
        lambda: {one: _Balance(3, 1, {"queue_full": 1}, {"undecodable": 1}, 0, 0) for one in ("cap-01", "cap-02")}
    )
    metrics.frame_came("cap-01")
    metrics.reconnected("cap-01")
    metrics.batch(4, 3, [0.001, 0.002, 0.003], 0.01)
    metrics.predicted(make_prediction())
    metrics.sink_attempted("jsonl", 1, 0.001)
    metrics.sink_attempted("jsonl", 1, None)
    metrics.kafka("frames", "lag", 12)
    metrics.kafka("frames", "rebalances", 1)
    metrics.kafka("frames", "commit_failures", 1)
    metrics.bind_outbox("kafka", lambda: (3, 1000, 2.5))
    metrics.outbox_shed("kafka", 2, "age")
    metrics.head("demo", 1, "ab")
    metrics.bind_ready(lambda: True)
    exercise_rest(metrics)
    return metrics


def test_promtool_finds_nothing_to_say_about_the_names() -> None:
    promtool = shutil.which("promtool")
    need(promtool is not None, what="promtool", how="apt-get install prometheus")
    metrics = _exercised()
    text = b"".join(line for line in metrics.expose()[0].splitlines(keepends=True) if b"clearline_" in line)
    command = [str(promtool), "check", "metrics"]
    said = subprocess.run(command, input=text, capture_output=True, timeout=30, check=False)
    assert (said.returncode, said.stdout, said.stderr) == (0, b"", b"")


def test_the_catalogue_says_what_each_family_means_and_what_to_do() -> None:
    assert len({spec.name for spec in CATALOGUE}) == len(CATALOGUE)
    for spec in CATALOGUE:
        assert spec.name.startswith("clearline_")
        assert spec.meaning.endswith(".")
        assert spec.action.endswith(".")
        assert spec.name.endswith("_total") == (spec.kind == "counter")
        assert (len(spec.buckets) > 0) == (spec.kind == "histogram")
        if spec.unit in ("seconds", "ratio"):
            assert spec.name.removesuffix("_total").endswith(f"_{spec.unit}")


def test_every_family_of_the_catalogue_is_exposed_and_nothing_else() -> None:
    metrics = _exercised()
    text = metrics.expose()[0].decode()
    exposed = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE clearline_")}
    assert exposed == {spec.name for spec in CATALOGUE}
    with_samples = {name for name, _ in _samples(metrics)}
    for spec in CATALOGUE:
        assert (f"{spec.name}_count" if spec.kind == "histogram" else spec.name) in with_samples


def test_what_was_told_is_what_is_scraped() -> None:
    metrics = _exercised()
    assert _value(metrics, "captured_total", source="cap-01") == 3
    assert _value(metrics, "dropped_total", source="cap-01", reason="queue_full") == 1
    assert _value(metrics, "delivered_total", source="cap-01") == 1
    assert _value(metrics, "dead_lettered_total", source="cap-01", reason="undecodable") == 1
    assert _value(metrics, "source_reconnects_total", source="cap-01") == 1
    assert _value(metrics, "source_last_frame_timestamp_seconds", source="cap-01") == FakeClock().utc()
    assert _value(metrics, "batch_items_total") == 3
    assert _value(metrics, "batch_padding_ratio_sum") == 0.25
    assert _value(metrics, "queue_wait_seconds_count") == 3
    assert _value(metrics, "inference_seconds_sum", size="4") == 0.01
    assert _value(metrics, "results_total", source="cap-01", label="ok", decision="accept", head="demo") == 1
    assert _value(metrics, "confidence_ratio_sum", head="demo") == 0.9
    assert _value(metrics, "decision_latency_seconds_sum", source="cap-01") == 1.0
    assert _value(metrics, "sink_delivered_total", sink="jsonl") == 1
    assert _value(metrics, "sink_failures_total", sink="jsonl") == 1
    assert _value(metrics, "ready") == 1


def test_the_age_of_a_frame_is_counted_from_when_it_was_taken_but_not_for_files() -> None:
    metrics, prediction = _made(), make_prediction()
    taken = replace(prediction.ref, captured_at=FakeClock().utc_offset + 998.5)
    metrics.predicted(replace(prediction, ref=taken))
    metrics.predicted(replace(prediction, ref=replace(taken, capture_time_source="file")))
    assert _value(metrics, "frame_age_seconds_count", source="cap-01") == 1
    assert _value(metrics, "frame_age_seconds_sum", source="cap-01") == 2.5


def test_a_source_is_in_exactly_one_state_and_up_only_while_streaming() -> None:
    metrics = _made()
    for state, up in (("connecting", 0), ("streaming", 1), ("backoff", 0), ("ended", 0)):
        metrics.source_state("cap-01", state)
        states = {s: _value(metrics, "source_state", source="cap-01", state=s) for s in metrics_module.SOURCE_STATES}
        assert [s for s, value in states.items() if value == 1] == [state]
        assert _value(metrics, "source_up", source="cap-01") == up
    with pytest.raises(ValueError, match="expected one of connecting"):
        metrics.source_state("cap-01", "sleeping")


def test_the_ledger_gives_all_frame_counters_in_one_reading() -> None:
    metrics, ledger = _made(), Ledger()
    metrics.bind_ledger(ledger.counts)
    ledger.register("cap-01", ack=lambda position: None)
    for sequence in range(3):
        ledger.captured((make_ref(sequence),))
    ledger.delivered(make_ref(0))
    ledger.dropped(make_ref(1), reason="queue_full")
    assert _value(metrics, "captured_total", source="cap-01") == 3
    assert _value(metrics, "delivered_total", source="cap-01") == 1
    assert _value(metrics, "dropped_total", source="cap-01", reason="queue_full") == 1
    assert _value(metrics, "in_flight", source="cap-01") == 1
    assert _value(metrics, "conservation_error", source="cap-01") == 0


def test_a_frame_counted_twice_shows_as_a_conservation_error() -> None:
    metrics, ledger = _made(), Ledger()
    metrics.bind_ledger(ledger.counts)
    ledger.register("cap-01", ack=lambda position: None)
    ledger.captured((make_ref(0),))
    ledger.delivered(make_ref(0))
    ledger.delivered(make_ref(0))
    assert _value(metrics, "conservation_error", source="cap-01") == -1


def test_a_forgotten_source_leaves_no_series_and_may_come_back() -> None:
    metrics = _exercised()
    metrics.source_state("cap-02", "streaming")
    metrics.forget_source("cap-01")
    assert b"cap-01" not in metrics.expose()[0]
    assert _value(metrics, "source_up", source="cap-02") == 1
    metrics.source_state("cap-01", "connecting")
    assert _value(metrics, "captured_total", source="cap-01") == 3


def test_only_the_live_version_of_a_head_is_shown() -> None:
    metrics = _made()
    metrics.head("demo", 1, "ab")
    metrics.head("demo", 2, "cd")
    shown = [dict(labels) for name, labels in _samples(metrics) if name == "clearline_head_info"]
    assert shown == [{"head": "demo", "version": "2", "sha256": "cd"}]


def test_a_verdict_counts_as_a_close_call_from_half_of_its_probability_on() -> None:
    metrics, sure = _made(), make_prediction()
    metrics.predicted(sure)
    assert _value(metrics, "close_calls_total", head="demo", label="ok", rival="scratch") is None
    metrics.predicted(replace(sure, confidence=0.6, probabilities={"ok": 0.6, "scratch": 0.3}))
    metrics.predicted(replace(sure, confidence=0.6, probabilities={"ok": 0.6, "scratch": 0.29}))
    assert _value(metrics, "close_calls_total", head="demo", label="ok", rival="scratch") == 1


def test_pairs_of_classes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "MAX_PAIRS", 3)
    metrics, one = _made(), make_prediction()
    for number in range(10):
        metrics.predicted(replace(one, label=f"class-{number}", confidence=0.1))
    assert _value(metrics, "close_calls_total", head="other", label="other", rival="other") == 7


def test_readings_are_taken_at_each_scrape() -> None:
    metrics, values = _made(), [0.25, 0.5]
    metrics.bind_readings(lambda: [Reading("spc_value_ratio", ("cap-01",), values.pop(0))])
    assert _value(metrics, "spc_value_ratio", source="cap-01") == 0.25
    assert _value(metrics, "spc_value_ratio", source="cap-01") == 0.5


def test_a_reading_of_a_forgotten_source_is_left_out() -> None:
    metrics = _made()
    metrics.bind_readings(lambda: [Reading("spc_value_ratio", ("cap-01",), 0.25)])
    metrics.forget_source("cap-01")
    assert _value(metrics, "spc_value_ratio", source="cap-01") is None


def test_counters_that_matter_at_their_first_step_begin_at_zero() -> None:
    metrics = _made()
    metrics.bind_ledger(lambda: {"cap-01": _Balance(0, 0, {}, {}, 0, 0)})
    metrics.bind_outbox("kafka", lambda: (0, 0, 0.0))
    metrics.sink_attempted("jsonl", 1, 0.001)
    assert _value(metrics, "dropped_total", source="cap-01", reason="queue_full") == 0
    assert _value(metrics, "dead_lettered_total", source="cap-01", reason="undecodable") == 0
    assert _value(metrics, "outbox_shed_total", sink="kafka", reason="age") == 0
    assert _value(metrics, "sink_failures_total", sink="jsonl") == 0


def test_label_sets_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "MAX_SERIES", 3)
    metrics = _made()
    for number in range(10):
        metrics.outbox_shed(f"sink-{number}", 1, "age")
    series = [labels for name, labels in _samples(metrics) if name == "clearline_outbox_shed_total"]
    assert len(series) == 4
    assert _value(metrics, "outbox_shed_total", sink="other", reason="other") == 7


def test_two_instances_share_nothing() -> None:
    one, two = _made(), _made()
    one.reconnected("cap-01")
    assert _value(one, "source_reconnects_total", source="cap-01") == 1
    assert _value(two, "source_reconnects_total", source="cap-01") is None


def test_openmetrics_is_given_to_who_asks_and_is_well_formed() -> None:
    metrics = _exercised()
    body, content_type = metrics.expose("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert "clearline_captured" in {family.name for family in parse_openmetrics(body.decode())}
    assert metrics.expose()[1].startswith("text/plain")
    assert b"_created" not in body
