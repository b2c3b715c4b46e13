"""Whether the head still fits the line: labels, confidence, confusions, drift, recalibration."""

from __future__ import annotations

from panels import BLUE, GREEN, RED, YELLOW, Annotation, Dashboard, Panel, Query

CAMERA = 'source=~"$camera"'
HEAD = 'head=~"$head"'
WINDOW = "$__rate_interval"
CHARTS = ("location", "dispersion", "novelty", "mix", "confidence")

_confidence = f"sum by (le) (rate(clearline_confidence_ratio_bucket{{{HEAD}}}[{WINDOW}]))"
_mean_confidence = (
    f"sum(rate(clearline_confidence_ratio_sum{{{HEAD}}}[{WINDOW}])) "
    f"/ sum(rate(clearline_confidence_ratio_count{{{HEAD}}}[{WINDOW}]))"
)


def chart(name: str) -> Panel:
    """Statistic and limit of one drift chart."""
    where = f'{CAMERA}, chart="{name}"'
    return Panel(
        "drift_statistic",
        (
            Query(f"clearline_drift_statistic{{{where}}}", "{{source}} {{roi}}"),
            Query(f"clearline_drift_threshold{{{where}}}", "{{source}} {{roi}} limit"),
        ),
        title=f"Drift chart with its limit: {name}",
        needs="adaptation",
    )


_LABELS = (
    Panel(
        "results",
        (
            Query(
                f"sum by (label) (rate(clearline_results_total{{{CAMERA}, {HEAD}}}[{WINDOW}])) "
                f"/ scalar(sum(rate(clearline_results_total{{{CAMERA}, {HEAD}}}[{WINDOW}])))",
                "{{label}}",
            ),
        ),
        title="Label mix",
        unit="percentunit",
        stacked=True,
        width=12,
    ),
    Panel(
        "close_calls",
        (
            Query(
                f"topk(10, sum by (label, rival) (rate(clearline_close_calls_total{{{HEAD}}}[{WINDOW}])))",
                "{{label}} or {{rival}}",
            ),
        ),
        title="Top confusion pairs: verdicts whose rival was at least half as likely",
        rate=True,
        width=12,
    ),
)
_CONFIDENCE = (
    Panel(
        "confidence_ratio",
        (
            Query(_mean_confidence, "mean"),
            Query(f"histogram_quantile(0.5, {_confidence})", "p50"),
            Query(f"histogram_quantile(0.1, {_confidence})", "p10"),
        ),
        aspect="mean, median, lowest tenth",
    ),
    Panel(
        "confidence_ratio",
        (Query(f"sum by (le) (increase(clearline_confidence_ratio_bucket{{{HEAD}}}[{WINDOW}]))", "{{le}}"),),
        aspect="distribution",
        kind="heatmap",
    ),
    Panel(
        "accuracy_ratio",
        (
            Query(f'avg(clearline_accuracy_ratio{{{CAMERA}, bound="upper"}})', "right, upper bound"),
            Query(f'avg(clearline_accuracy_ratio{{{CAMERA}, bound="point"}})', "right"),
            Query(f'avg(clearline_accuracy_ratio{{{CAMERA}, bound="lower"}})', "right, lower bound"),
            Query(_mean_confidence, "mean confidence"),
        ),
        title="Calibration: share of right labels beside the mean confidence",
    ),
)
_DRIFT = (
    *(chart(name) for name in CHARTS),
    Panel(
        "drift_statistic",
        (
            Query(
                f"max by (source, chart) (clearline_drift_statistic{{{CAMERA}}} "
                f"/ clearline_drift_threshold{{{CAMERA}}})",
                "{{source}} {{chart}}",
            ),
        ),
        title="All drift charts, 1 is the limit",
        needs="adaptation",
        steps=((GREEN, None), (RED, 1)),
    ),
    Panel(
        "drift_episode",
        (Query(f"clearline_drift_episode{{{CAMERA}}}", "{{source}} {{roi}}"),),
        kind="state-timeline",
        needs="adaptation",
        words=((0, "calm", GREEN), (1, "drift", RED)),
    ),
    Panel(
        "drift_alarms",
        (
            Query(
                f"sum by (source, cause) (increase(clearline_drift_alarms_total{{{CAMERA}}}[1d]))",
                "{{source}} {{cause}}",
            ),
        ),
        aspect="last day",
        needs="adaptation",
    ),
    Panel(
        "drift_far_ratio",
        (Query(f"clearline_drift_far_ratio{{{CAMERA}}}", "{{source}} {{roi}}"),),
        needs="adaptation",
    ),
    Panel(
        "estimated_accuracy_ratio",
        (Query(f"clearline_estimated_accuracy_ratio{{{CAMERA}}}", "{{source}} {{roi}}"),),
        needs="adaptation",
    ),
    Panel(
        "reference_missing",
        (Query(f"clearline_reference_missing{{{CAMERA}}}", "{{source}} {{roi}}"),),
        title="Reference for product and head",
        kind="state-timeline",
        needs="adaptation",
        words=((0, "there", GREEN), (1, "missing", YELLOW)),
    ),
    Panel("recording_bytes", (Query("clearline_recording_bytes", "{{instance}}"),), needs="adaptation"),
)
_RECALIBRATION = (
    Panel(
        "recal_state",
        (Query("clearline_recal_state == 1", "{{state}}"),),
        title="State of the recalibration",
        kind="state-timeline",
        width=24,
        height=6,
        needs="adaptation",
        words=((1, "is", BLUE),),
    ),
    Panel(
        "gate_log_e",
        (
            Query("clearline_gate_log_e", "{{evidence}}"),
            Query("clearline_gate_log_e_needed", "needed"),
        ),
        needs="adaptation",
    ),
    Panel("gate_labels", (Query("clearline_gate_labels", "{{kind}}"),), needs="adaptation"),
    Panel("shadow_disagreement_ratio", (Query("clearline_shadow_disagreement_ratio"),), needs="adaptation"),
    Panel("probation_log_e_worse", (Query("clearline_probation_log_e_worse"),), needs="adaptation"),
    Panel(
        "head_info",
        (Query(f"max by (head, version) (clearline_head_info{{{HEAD}}})", "{{head}} {{version}}"),),
        title="Head versions",
        kind="state-timeline",
        width=16,
        words=((1, "live", GREEN),),
    ),
)
_MARKS = (
    Annotation(
        "Recalibration",
        "(clearline_recal_state == 1) unless (clearline_recal_state offset 1m == 1)",
        tags="state",
        title="Recalibration: {{state}}",
        needs="adaptation",
    ),
    Annotation(
        "Head",
        f"clearline_head_info{{{HEAD}}} unless clearline_head_info offset 1m",
        tags="head,version",
        title="Head {{head}} {{version}} is live",
        colour=GREEN,
    ),
    Annotation(
        "Drift",
        f"(clearline_drift_episode{{{CAMERA}}} == 1) unless (clearline_drift_episode offset 1m == 1)",
        tags="source,roi",
        title="Drift at {{source}} {{roi}}",
        colour=RED,
        needs="adaptation",
    ),
)

MODEL_QUALITY = Dashboard(
    uid="clearline-model",
    title="Clearline: model quality and drift",
    description="Whether the head still fits the line, and what is done about it.",
    rows=(
        ("Labels", _LABELS),
        ("Confidence and calibration", _CONFIDENCE),
        ("Drift", _DRIFT),
        ("Recalibration", _RECALIBRATION),
    ),
    annotations=_MARKS,
)
