"""Every metric there is: name, kind, unit, meaning, and what to do when it looks wrong. Dashboards are made from it."""

from __future__ import annotations

from workers.metrics.adaptation import ADAPTATION
from workers.metrics.archive import ARCHIVE
from workers.metrics.parts import PARTS
from workers.metrics.quality import QUALITY
from workers.metrics.spec import PREFIX, MetricSpec, counter, gauge, histogram

__all__ = ["CATALOGUE", "PREFIX", "SOURCE_STATES", "MetricSpec"]

SOURCE_STATES = ("connecting", "streaming", "backoff", "ended")

_LATENCY_S = (0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 10.0)
_INFERENCE_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5)
_WRITE_S = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
_AGE_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0)
_SHARE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_PADDING = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)


CATALOGUE: tuple[MetricSpec, ...] = (
    gauge(
        "source_up",
        "",
        labels="source",
        meaning="1 while frames come from the source.",
        action="At 0: look at clearline_source_state, the cable, the camera's power, and `clearline probe URL`.",
    ),
    gauge(
        "source_state",
        "",
        labels="source state",
        meaning="1 for the state the source is in: connecting, streaming, backoff or ended.",
        action="In backoff for long: the camera is unreachable; the log names the reason.",
    ),
    counter(
        "captured",
        "frames",
        labels="source",
        meaning="Frames that came from the source, one per region.",
        action="A rate below the camera's: look at reconnects and at the CPU.",
    ),
    counter(
        "delivered",
        "frames",
        labels="source",
        meaning="Frames whose result every sink has.",
        action="Behind captured: look at dropped, dead letters and sink failures.",
    ),
    counter(
        "dropped",
        "frames",
        labels="source reason",
        meaning="Frames given up by policy, or numbered by the camera and never received (lost), by reason.",
        action="Growing: the encoder is slower than the cameras; lower fps or add workers. Lost: look at the network.",
    ),
    counter(
        "dead_lettered",
        "frames",
        labels="source reason",
        meaning="Items that could not be decided, kept with their bytes, by reason.",
        action="Look into the dead letters: a damaged file or a camera that sends broken pictures.",
    ),
    gauge(
        "in_flight",
        "frames",
        labels="source",
        meaning="Frames captured whose fate is still open.",
        action="Constant at the queue's size: the encoder or a sink is the bottleneck.",
    ),
    gauge(
        "conservation_error",
        "frames",
        labels="source",
        meaning="Captured - delivered - dropped - dead-lettered - in flight: must be zero.",
        action="Not zero: a frame was lost or counted twice; this is a defect of Clearline, report it.",
    ),
    counter(
        "source_reconnects",
        "",
        labels="source",
        meaning="Times a lost source was connected again.",
        action="Growing: an unstable network, or read_timeout_ms and stall_ms too short for the camera.",
    ),
    gauge(
        "source_last_frame_timestamp_seconds",
        "seconds",
        labels="source",
        meaning="When the last frame came, seconds since 1970.",
        action="Old while the source is up: the camera stands still.",
    ),
    histogram(
        "frame_age_seconds",
        "seconds",
        buckets=_AGE_S,
        labels="source",
        meaning="From the time the picture was taken (the newest of a part) to the verdict; not for files.",
        action="Growing: frames wait; lower queue_frames. Negative or hours: the clocks differ.",
    ),
    counter(
        "batch_items",
        "frames",
        meaning="Frames that went through the encoder, padding left out.",
        action="Its rate is the throughput of the line.",
    ),
    histogram(
        "batch_padding_ratio",
        "ratio",
        buckets=_PADDING,
        meaning="Share of padding rows in a batch.",
        action="High: add sizes to batching.sizes, or raise max_wait_ms.",
    ),
    histogram(
        "queue_wait_seconds",
        "seconds",
        buckets=_LATENCY_S,
        meaning="From arrival of a frame to its batch.",
        action="Above max_wait_ms: the encoder is the bottleneck.",
    ),
    histogram(
        "inference_seconds",
        "seconds",
        buckets=_INFERENCE_S,
        labels="size",
        meaning="Encoder and head, for one batch, by batch size with padding.",
        action="Slower than at the start: the CPU is shared or too hot; compare with `clearline bench`.",
    ),
    counter(
        "results",
        "frames",
        labels="source label decision head",
        meaning="Verdicts by camera, label and decision; one per frame, or per part where frames are fused.",
        action="A sudden change of the mix: the process, the light or the camera has changed.",
    ),
    histogram(
        "confidence_ratio",
        "ratio",
        buckets=_SHARE,
        labels="head",
        meaning="Calibrated probability of the label.",
        action="Sinking: drift, or a class the head does not know.",
    ),
    histogram(
        "decision_latency_seconds",
        "seconds",
        buckets=_LATENCY_S,
        labels="source",
        meaning="From arrival of a frame (the newest of a part) to its verdict.",
        action="Too long for the reject gate: lower max_wait_ms and queue_frames.",
    ),
    counter(
        "sink_delivered",
        "frames",
        labels="sink",
        meaning="Results the sink has taken.",
        action="Stands still while frames come: look at the failures.",
    ),
    counter(
        "sink_failures",
        "",
        labels="sink",
        meaning="Deliveries the sink refused.",
        action="Growing: the log names the reason: a full disk, rights, a broker that is away.",
    ),
    histogram(
        "sink_delivery_seconds",
        "seconds",
        buckets=_WRITE_S,
        labels="sink",
        meaning="One delivery of a batch of results to the sink.",
        action="Slow: a slow disk; use fsync: interval.",
    ),
    gauge(
        "kafka_lag",
        "messages",
        labels="source",
        meaning="Messages on this worker's partitions that have not come to an end yet.",
        action="Growing: add workers (up to the number of partitions), or look at the encoder's time.",
    ),
    counter(
        "kafka_rebalances",
        "",
        labels="source",
        meaning="Times partitions were taken away from this worker.",
        action="Often without workers coming or going: session_timeout_ms is too short for this machine.",
    ),
    counter(
        "kafka_commit_failures",
        "",
        labels="source",
        meaning="Commits of offsets that the broker refused; what is not committed is read again.",
        action="Growing: the broker is away, or the group has lost this worker; the log names the reason.",
    ),
    gauge(
        "outbox_rows",
        "messages",
        labels="sink",
        meaning="Messages that wait on disk because their destination is away.",
        action="Growing: the destination is away; the log names the reason. It drains by itself.",
    ),
    gauge(
        "outbox_bytes",
        "bytes",
        labels="sink",
        meaning="Bytes of the messages that wait on disk.",
        action="Near max_mb: the oldest will be given up; bring the destination back, or raise max_mb.",
    ),
    gauge(
        "outbox_age_seconds",
        "seconds",
        labels="sink",
        meaning="Age of the oldest message that waits on disk.",
        action="Near max_age_h: bring the destination back.",
    ),
    counter(
        "outbox_shed",
        "messages",
        labels="sink reason",
        meaning="Messages for a destination that were given up, by reason: bytes, age, corrupt, refused.",
        action="Above 0: results are missing downstream; the line's own file of results, if there is one, has them.",
    ),
    gauge(
        "head_info",
        "",
        labels="head version sha256",
        meaning="1 for the head that is live.",
        action="Not the one you promoted: `clearline head list`.",
    ),
    gauge(
        "ready",
        "",
        meaning="1 once the golden batch has given the expected values and the line takes frames.",
        action="At 0: /readyz names the reasons.",
    ),
    gauge(
        "build_info",
        "",
        labels="version python",
        meaning="1, with the versions of this process.",
        action="Different versions on one line: an unfinished update.",
    ),
    *ARCHIVE,
    *QUALITY,
    *PARTS,
    *ADAPTATION,
)
