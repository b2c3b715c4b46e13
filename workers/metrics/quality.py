"""Metrics of quality as a plant charts it, and of the hardware below it."""

from __future__ import annotations

from workers.metrics.spec import MetricSpec, counter, gauge

QUALITY: tuple[MetricSpec, ...] = (
    gauge(
        "spc_value_ratio",
        "ratio",
        labels="source",
        meaning="Share of rejects in the newest full subgroup of 500 parts.",
        action="Outside clearline_spc_limit_ratio: look at the rejects of the last minutes, then at the process.",
    ),
    gauge(
        "spc_center_ratio",
        "ratio",
        labels="source",
        meaning="Share of rejects over the subgroups before the newest one, at most 50.",
        action="Moved over days: agree on a new normal, or find what has changed.",
    ),
    gauge(
        "spc_limit_ratio",
        "ratio",
        labels="source side",
        meaning="Laney p' limit of the share of rejects (side: low, high), from at least 8 subgroups.",
        action="Very wide: lots differ much from each other; find out by what.",
    ),
    gauge(
        "accuracy_ratio",
        "ratio",
        labels="source bound",
        meaning="Share of right labels among parts of known truth, with exact 95 % bounds (lower, point, upper).",
        action="Below the mean confidence: the calibration no longer holds, fit it again on new labels.",
    ),
    counter(
        "expected_cost",
        "",
        labels="source currency",
        meaning="Money that verdicts are expected to cost, by calibrated probability and decision.costs.",
        action="Rising per part: more doubt or more rejects; compare with the label mix.",
    ),
    counter(
        "close_calls",
        "frames",
        labels="head label rival",
        meaning="Verdicts whose rival was at least half as likely as the label.",
        action="One pair leads: show these two classes to the head again, or give them texts that tell them apart.",
    ),
    gauge(
        "gpu_memory_bytes",
        "bytes",
        labels="device kind",
        meaning="GPU memory (kind: allocated, reserved by this process, total of the device).",
        action="Reserved near total: fewer or smaller batching.sizes, or precision: bf16.",
    ),
)
