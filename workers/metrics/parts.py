"""Metrics of parts, and of the triggers that announce them."""

from __future__ import annotations

from workers.metrics.spec import MetricSpec, counter, gauge

PARTS: tuple[MetricSpec, ...] = (
    counter(
        "parts",
        "parts",
        labels="source reason",
        meaning="Parts decided, by what closed them: full, next, deadline, drain, crowded, rewound.",
        action="Mostly deadline: frames are missing, or max_frames is larger than what comes; each verdict waits.",
    ),
    gauge(
        "parts_correlation_ratio",
        "ratio",
        labels="source",
        meaning="How much the errors of one part's frames have in common; 1 until 100 parts were seen.",
        action="Near 1: more frames add nothing; change position, light or lens between them.",
    ),
    counter(
        "trigger_given",
        "triggers",
        labels="source",
        meaning="Triggers taken.",
        action="Behind the parts that pass: look at the PLC, and at clearline_trigger_overflow_total.",
    ),
    counter(
        "trigger_missed",
        "triggers",
        labels="source",
        meaning="Triggers that got no picture in time: parts nobody saw.",
        action="Above 0: the camera is away or slower than the parts; raise its rate, or trigger.timeout_ms.",
    ),
    counter(
        "trigger_overflow",
        "triggers",
        labels="source",
        meaning="Triggers refused because too many waited: parts nobody saw.",
        action="Above 0: no pictures come, or parts come in bursts; raise trigger.queue.",
    ),
    counter(
        "trigger_blocked_seconds",
        "seconds",
        labels="source",
        meaning="Time a triggered camera stood still because its queue was full.",
        action="Above 0: parts are not inspected as they pass; give the encoder more, or the camera fewer frames.",
    ),
)
