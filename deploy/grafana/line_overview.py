"""What the shift sees: which cameras work, what is rejected, what gets through, what it costs."""

from __future__ import annotations

from panels import BLUE, GREEN, RED, YELLOW, Dashboard, Panel, Query

CAMERA = 'source=~"$camera"'
BOTH = 'source=~"$camera", head=~"$head"'
WINDOW = "$__rate_interval"
UP_OR_NOT = ((0, "no frames", RED), (1, "streaming", GREEN))
YES_OR_NO = ((0, "no", RED), (1, "yes", GREEN))

_results = f"clearline_results_total{{{BOTH}}}"


def share(decision: str) -> str:
    """Of the verdicts, per camera."""
    part = f'clearline_results_total{{{BOTH}, decision="{decision}"}}'
    total = f"sum by (source) (rate({_results}[{WINDOW}]))"
    return f"(sum by (source) (rate({part}[{WINDOW}])) or 0 * {total}) / {total}"


def bounds(name: str, *, where: str = "") -> tuple[Query, ...]:
    """Point and exact bounds."""
    return tuple(
        Query(f'clearline_{name}_ratio{{{where}bound="{bound}"}}', f"{{{{source}}}} {bound}")
        for bound in ("upper", "point", "lower")
    )


_NOW = (
    Panel("ready", (Query("clearline_ready", "{{instance}}"),), kind="stat", width=4, height=4, words=YES_OR_NO),
    Panel(
        "results",
        (Query(f"sum(rate({_results}[{WINDOW}]))"),),
        title="Verdicts per second",
        kind="stat",
        width=4,
        height=4,
        rate=True,
        steps=((BLUE, None),),
    ),
    Panel(
        "conservation_error",
        (Query("sum(abs(clearline_conservation_error))"),),
        title="Frames lost or counted twice: must be zero",
        kind="stat",
        width=4,
        height=4,
        steps=((GREEN, None), (RED, 0.5)),
    ),
    Panel(
        "head_info",
        (Query('clearline_head_info{head=~"$head"}', "{{head}} {{version}}"),),
        title="Live head and its version",
        kind="stat",
        width=6,
        height=4,
        steps=((BLUE, None),),
        words=((1, "live", BLUE),),
    ),
    Panel(
        "certificate_valid",
        (Query('clearline_certificate_valid{head=~"$head"}', "{{head}}"),),
        title="Promised share of escapes is certified",
        kind="stat",
        width=6,
        height=4,
        needs="adaptation",
        words=YES_OR_NO,
    ),
)
_WALL = (
    Panel(
        "source_up",
        (Query(f"max by (source) (clearline_source_up{{{CAMERA}}})", "{{source}}"),),
        title="Cameras",
        kind="stat",
        width=12,
        height=6,
        steps=((RED, None), (GREEN, 1)),
        words=UP_OR_NOT,
    ),
    Panel(
        "source_state",
        (Query(f"clearline_source_state{{{CAMERA}}} == 1", "{{source}} {{state}}"),),
        title="State of each camera",
        kind="state-timeline",
        width=12,
        height=6,
        words=((1, "is", GREEN),),
    ),
)
_VERDICTS = (
    Panel("results", (Query(share("reject"), "{{source}}"),), title="Share of rejects", unit="percentunit"),
    Panel("results", (Query(share("accept"), "{{source}}"),), title="Share of accepts", unit="percentunit"),
    Panel(
        "results",
        (
            Query(share("review"), "{{source}} review"),
            Query(share("unknown"), "{{source}} unknown"),
        ),
        title="Share that a person looks at",
        unit="percentunit",
    ),
    Panel(
        "spc_value_ratio",
        (
            Query(f"clearline_spc_value_ratio{{{CAMERA}}}", "{{source}} share"),
            Query(f"clearline_spc_center_ratio{{{CAMERA}}}", "{{source}} centre"),
            Query(f"clearline_spc_limit_ratio{{{CAMERA}}}", "{{source}} {{side}} limit"),
        ),
        title="Laney p' chart of rejects",
        aspect="$camera",
        repeat="camera",
    ),
)
_ERRORS = (
    Panel("escape_ratio", bounds("escape", where=f"{CAMERA}, "), title="Escapes", needs="adaptation"),
    Panel("overkill_ratio", bounds("overkill"), title="Overkill", needs="adaptation"),
    Panel(
        "expected_cost",
        (
            Query(
                f"1000 * sum by (source, currency) (rate(clearline_expected_cost_total{{{CAMERA}}}[{WINDOW}])) "
                f"/ on (source) group_left () sum by (source) (rate(clearline_results_total{{{CAMERA}}}[{WINDOW}]))",
                "{{source}} {{currency}}",
            ),
        ),
        title="Expected cost of the verdicts, per 1000 parts",
    ),
)
_REVIEW = (
    Panel(
        "labels_open",
        (Query("sum by (stream) (clearline_labels_open)", "{{stream}}"),),
        needs="adaptation",
        stacked=True,
        steps=((GREEN, None), (YELLOW, 64)),
    ),
    Panel(
        "results",
        (
            Query(
                f'sum by (label) (increase(clearline_results_total{{{BOTH}, decision=~"review|unknown"}}[1h]))',
                "{{label}}",
            ),
        ),
        title="What people were shown in the last hour, by label",
    ),
    Panel(
        "audit_stale",
        (Query("clearline_audit_stale", "{{instance}}"),),
        title="Audit of escapes",
        kind="state-timeline",
        needs="adaptation",
        words=((0, "about today", GREEN), (1, "stale", YELLOW)),
    ),
)

LINE_OVERVIEW = Dashboard(
    uid="clearline-line",
    title="Clearline: line overview",
    description="Verdicts, cameras, review and errors of a line.",
    rows=(
        ("Now", _NOW),
        ("Camera wall", _WALL),
        ("Verdicts", _VERDICTS),
        ("Escapes, overkill, cost", _ERRORS),
        ("Review", _REVIEW),
    ),
)
