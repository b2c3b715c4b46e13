"""Where the frames are and how long they take: the conservation law, stages, sinks, Kafka, the process."""

from __future__ import annotations

from panels import GREEN, RED, Dashboard, Panel, Query

CAMERA = 'source=~"$camera"'
WINDOW = "$__rate_interval"
QUANTILES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


def quantiles(name: str, *, by: str = "", where: str = "") -> tuple[Query, ...]:
    """p50, p95 and p99 of a histogram."""
    inside = f"sum by ({', '.join(filter(None, ('le', by)))}) (rate(clearline_{name}_bucket{{{where}}}[{WINDOW}]))"
    legend = f"{{{{{by}}}}} " if by else ""
    return tuple(Query(f"histogram_quantile({q}, {inside})", legend + word) for word, q in QUANTILES)


def rate(name: str, *, by: str, where: str = "") -> Query:
    """Per second, summed over the rest."""
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return Query(f"sum by ({by}) (rate(clearline_{name}_total{{{where}}}[{WINDOW}]))", legend)


def mean(name: str, *, by: str = "") -> str:
    """Of a histogram."""
    group = f"sum by ({by})" if by else "sum"
    top, bottom = (f"{group} (rate(clearline_{name}_{part}[{WINDOW}]))" for part in ("sum", "count"))
    return f"{top} / {bottom}"


_LAW = (
    Panel(
        "conservation_error",
        (Query(f"clearline_conservation_error{{{CAMERA}}}", "{{source}}"),),
        width=12,
        steps=((GREEN, None), (RED, 1)),
    ),
    Panel(
        "captured",
        (
            rate("captured", by="source", where=CAMERA),
            Query(f"sum by (source) (rate(clearline_delivered_total{{{CAMERA}}}[{WINDOW}]))", "{{source}} delivered"),
        ),
        title="Captured and delivered",
        width=12,
        rate=True,
    ),
    Panel("dropped", (rate("dropped", by="source, reason", where=CAMERA),), rate=True),
    Panel("dead_lettered", (rate("dead_lettered", by="source, reason", where=CAMERA),), rate=True),
    Panel("in_flight", (Query(f"clearline_in_flight{{{CAMERA}}}", "{{source}}"),)),
    Panel(
        "source_reconnects",
        (Query(f"increase(clearline_source_reconnects_total{{{CAMERA}}}[15m])", "{{source}}"),),
        aspect="last 15 minutes",
        width=12,
    ),
    Panel(
        "source_last_frame_timestamp_seconds",
        (Query(f"time() - clearline_source_last_frame_timestamp_seconds{{{CAMERA}}}", "{{source}}"),),
        title="Since the last frame",
        width=12,
    ),
)
_TIME = (
    Panel("frame_age_seconds", quantiles("frame_age_seconds", by="source", where=CAMERA), aspect="p50, p95, p99"),
    Panel(
        "decision_latency_seconds",
        quantiles("decision_latency_seconds", by="source", where=CAMERA),
        aspect="p50, p95, p99",
    ),
    Panel("queue_wait_seconds", quantiles("queue_wait_seconds"), aspect="p50, p95, p99"),
)
_BATCHES = (
    Panel("batch_items", (Query(f"sum(rate(clearline_batch_items_total[{WINDOW}]))", "frames"),), rate=True, width=6),
    Panel(
        "batch_padding_ratio",
        (
            Query(mean("batch_padding_ratio"), "padding"),
            Query(f"1 - {mean('batch_padding_ratio')}", "fill"),
        ),
        title="Fill and padding of a batch",
        width=6,
    ),
    Panel(
        "batch_items",
        (
            Query(
                f"sum(rate(clearline_batch_items_total[{WINDOW}])) "
                f"/ sum(rate(clearline_batch_padding_ratio_count[{WINDOW}]))",
                "frames",
            ),
        ),
        title="Frames in a batch",
        width=6,
    ),
    Panel(
        "inference_seconds",
        (Query(mean("inference_seconds", by="size"), "{{size}}"),),
        title="Encoder and head, for one batch, by batch size: mean",
        width=6,
    ),
)
_SINKS = (
    Panel("sink_delivered", (rate("sink_delivered", by="sink"),), rate=True),
    Panel("sink_failures", (rate("sink_failures", by="sink"),), rate=True),
    Panel("sink_delivery_seconds", quantiles("sink_delivery_seconds", by="sink"), aspect="p50, p95, p99"),
)
_KAFKA = (
    Panel("kafka_lag", (Query("sum by (source) (clearline_kafka_lag)", "{{source}}"),), needs="kafka"),
    Panel(
        "kafka_rebalances",
        (Query("sum by (instance) (increase(clearline_kafka_rebalances_total[15m]))", "{{instance}}"),),
        aspect="last 15 minutes",
        needs="kafka",
    ),
    Panel("kafka_commit_failures", (rate("kafka_commit_failures", by="source"),), rate=True, needs="kafka"),
    Panel("outbox_rows", (Query("clearline_outbox_rows", "{{sink}} {{instance}}"),), needs="outbox", width=6),
    Panel("outbox_bytes", (Query("clearline_outbox_bytes", "{{sink}} {{instance}}"),), needs="outbox", width=6),
    Panel(
        "outbox_age_seconds", (Query("clearline_outbox_age_seconds", "{{sink}} {{instance}}"),), needs="outbox", width=6
    ),
    Panel("outbox_shed", (rate("outbox_shed", by="sink, reason"),), rate=True, needs="outbox", width=6),
)
_ARCHIVE = (
    Panel("archive_kept", (rate("archive_kept", by="decision"),), rate=True, needs="archive", width=6),
    Panel("archive_missed", (rate("archive_missed", by="reason"),), rate=True, needs="archive", width=6),
    Panel("archive_shed", (rate("archive_shed", by="reason"),), rate=True, needs="archive", width=6),
    Panel(
        "archive_bytes",
        (
            Query("clearline_archive_bytes", "{{instance}}"),
            Query("clearline_archive_queue_bytes", "{{instance}} waiting"),
        ),
        needs="archive",
        width=6,
    ),
)
_PROCESS = (
    Panel(
        "build_info",
        (Query('process_resident_memory_bytes{job=~"clearline.*"}', "{{instance}}"),),
        title="Memory of the process",
        unit="bytes",
        width=6,
    ),
    Panel(
        "build_info",
        (Query(f'rate(process_cpu_seconds_total{{job=~"clearline.*"}}[{WINDOW}])', "{{instance}}"),),
        title="CPUs in use",
        unit="short",
        width=6,
    ),
    Panel(
        "build_info",
        (Query('process_open_fds{job=~"clearline.*"}', "{{instance}}"),),
        title="Open files and sockets",
        unit="short",
        width=6,
    ),
    Panel(
        "gpu_memory_bytes",
        (Query("clearline_gpu_memory_bytes", "{{instance}} {{device}} {{kind}}"),),
        needs="gpu",
        width=6,
    ),
    Panel(
        "build_info",
        (Query("clearline_build_info"),),
        title="Versions",
        kind="table",
        width=12,
        height=6,
    ),
    Panel(
        "adaptation_left_out",
        (Query(f"sum by (instance) (rate(clearline_adaptation_left_out_total[{WINDOW}]))", "{{instance}}"),),
        rate=True,
        width=12,
        height=6,
    ),
)

PIPELINE_FLOW = Dashboard(
    uid="clearline-pipeline",
    title="Clearline: pipeline",
    description="Where every frame is, and how long each stage takes.",
    rows=(
        ("Conservation", _LAW),
        ("Time", _TIME),
        ("Batches", _BATCHES),
        ("Sinks", _SINKS),
        ("Kafka and outbox", _KAFKA),
        ("Archive", _ARCHIVE),
        ("Process", _PROCESS),
    ),
)
