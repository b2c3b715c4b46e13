"""Each class on its own, and whether the stated confidence comes true."""

from __future__ import annotations

from html import escape

from pipeline.evaluation.report.figures import Figures
from pipeline.evaluation.report.markup import breakable, figure, pair, paragraph, section, share, table, with_range
from pipeline.evaluation.report.per_class import ClassFigures
from pipeline.evaluation.report.plots import Point, reliability_plot
from pipeline.evaluation.report.wording import Words


def classes_section(figures: Figures, *, say: Words) -> str:
    """Precision, recall and the threshold that reaches the target, one row per class."""
    target = say.percent(figures.setup.precision, digits=0)
    head = [
        say("col_class"),
        say("col_images"),
        say("col_precision"),
        say("col_recall"),
        say("col_threshold", target=target),
        say("col_kept"),
        say("col_sealed_precision"),
    ]
    rows = [_class_row(one, say=say) for one in figures.per_class]
    parts = [paragraph(say("classes_text", target=target)), table(head, rows=rows)]
    return section(say("classes_head"), name="classes", parts=parts)


def _class_row(one: ClassFigures, *, say: Words) -> list[str]:
    side = "good" if one.is_good else "defect"
    at = one.at_target
    if at.threshold is None:
        threshold = say("never")
    else:
        threshold = say("any_confidence") if at.threshold == 0.0 else say.percent(at.threshold)
    return [
        f'{breakable(one.name)} <span class="tag {side}">{escape(say(side))}</span>',
        f"{one.n_fit} / {one.n_sealed}",
        share(one.precision, say=say),
        share(one.recall, say=say),
        escape(threshold),
        escape(say("k_of_n", k=at.kept.k, n=at.kept.n)) if at.kept.n else escape(say("none")),
        share(at.sealed, say=say),
    ]


def reliability_section(figures: Figures, *, say: Words) -> str:
    """Accuracy over confidence."""
    found = figures.reliability
    points = []
    for one in found.bins:
        low, high = one.accuracy.interval
        points.append(Point(one.confidence, one.accuracy.value, low, high))
    summary = say("list_join").join(f"{say.percent(p.x, digits=0)} → {say.percent(p.y, digits=0)}" for p in points)
    plot = reliability_plot(
        points,
        x_axis=say("axis_confidence"),
        y_axis=say("axis_accuracy"),
        ideal=say("ideal"),
        label=say("alt_line", what=say("reliability_head"), summary=summary),
    )
    rows = []
    for one in found.bins:
        low, high = one.accuracy.interval
        value = with_range(say.percent(one.accuracy.value), interval=say.interval(low, high=high))
        rows.append(
            [say("range", low=f"{100 * one.low:.0f}", high=say.percent(one.high, digits=0)), str(one.accuracy.n), value]
        )
    numbers = table([say("col_confidence"), say("col_n"), say("col_accuracy")], rows=rows)
    text = say("reliability_text", error=say.percent(found.error))
    parts = [paragraph(say.joined(text, say("reliability_few"))), pair(figure(plot), numbers, kind="square")]
    return section(say("reliability_head"), name="reliability", parts=parts)
