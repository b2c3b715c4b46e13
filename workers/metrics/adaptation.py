"""Metrics of the loop beside the line: drift, questions, the gate, probation."""

from __future__ import annotations

from workers.metrics.spec import MetricSpec, counter, gauge

ADAPTATION: tuple[MetricSpec, ...] = (
    gauge(
        "drift_statistic",
        "",
        labels="source roi chart",
        meaning="How far a chart's smoothed value is from its reference.",
        action="Compare with clearline_drift_threshold; above it for long: see clearline_drift_episode.",
    ),
    gauge(
        "drift_threshold",
        "",
        labels="source roi chart",
        meaning="Limit of the chart, from the false-alarm budget and the reference.",
        action="A very high one: record a longer reference.",
    ),
    gauge(
        "drift_episode",
        "",
        labels="source roi",
        meaning="1 while a drift episode is open.",
        action="Read the cause, look at the pictures, label what is asked.",
    ),
    counter(
        "drift_alarms",
        "",
        labels="source cause",
        meaning="Drift episodes by likely cause.",
        action="Many of one cause: repair the cause, not the head.",
    ),
    gauge(
        "drift_far_ratio",
        "ratio",
        labels="source roi",
        meaning="Smoothed share of parts farther from their class than 99 % of the reference.",
        action="Some: look for a new class. Nearly all: light, position or focus.",
    ),
    gauge(
        "reference_missing",
        "",
        labels="source roi",
        meaning="1 while parts pass without a reference for their product and head.",
        action="Make one with `clearline drift reference`, or check the product name.",
    ),
    gauge(
        "estimated_accuracy_ratio",
        "ratio",
        labels="source roi",
        meaning="Accuracy expected from calibrated confidence.",
        action="Sinking: label an audit sample; it is blind to a changed rule.",
    ),
    gauge(
        "recal_state",
        "",
        labels="state",
        meaning="1 for the state of the recalibration.",
        action="Over a day in one state: the reason is in the audit log, see `clearline drift status`.",
    ),
    gauge(
        "gate_log_e",
        "",
        labels="evidence",
        meaning="Log evidence of the gate: cost (the challenger costs less), worse (it costs more).",
        action="Flat for a day: more labels will not help, refuse the run.",
    ),
    gauge(
        "gate_log_e_needed",
        "",
        meaning="What clearline_gate_log_e of cost has to reach.",
        action="Set by adaptation.gate.alpha.",
    ),
    gauge(
        "gate_labels",
        "labels",
        labels="kind",
        meaning="Labels the gate has counted.",
        action="Not growing: nobody answers the questions of the gate.",
    ),
    gauge(
        "shadow_disagreement_ratio",
        "ratio",
        meaning="Share of parts that the challenger decides otherwise.",
        action="Above 0.25: look at the pictures before approving.",
    ),
    gauge(
        "probation_log_e_worse",
        "",
        meaning="Log evidence that the new head costs more than the one before.",
        action="Near 3: it will be rolled back; find out why before the next run.",
    ),
    gauge(
        "labels_open",
        "",
        labels="stream",
        meaning="Questions to people that are open.",
        action="Growing: too few labellers, or per_hour too high.",
    ),
    counter(
        "adaptation_left_out",
        "frames",
        meaning="Parts that the adaptation loop was too slow for; their results went out all the same.",
        action="Growing: the machine is too small for the loop beside the line.",
    ),
    counter(
        "adaptation_unreadable",
        "messages",
        meaning="Messages on the topic of decided batches that could not be read.",
        action="Run workers of one version.",
    ),
    gauge(
        "recording_bytes",
        "bytes",
        meaning="Embeddings on disk.",
        action="Removed earlier than a reference needs: raise recording.max_gb.",
    ),
    gauge(
        "certificate_valid",
        "",
        labels="head",
        meaning="1 while the promised share of escapes is certified by held-out labels.",
        action="At 0: the log names how many more labels are needed.",
    ),
    gauge(
        "escape_ratio",
        "ratio",
        labels="source bound",
        meaning="Defects among audited accepted parts: lower, point and upper at 95 %.",
        action="The lower bound above what was agreed: stop the line's automatic accepts.",
    ),
    gauge(
        "overkill_ratio",
        "ratio",
        labels="bound",
        meaning="Good parts among audited rejected ones: lower, point and upper at 95 %.",
        action="Rising: look at rejected pictures, then at thresholds and costs.",
    ),
    gauge(
        "audit_stale",
        "",
        meaning="1 while no audit label has come for two shifts.",
        action="Label the audit: until then no figure of escapes is about today.",
    ),
)
