"""How many more labels, of which class; and what texts alone can do."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from pipeline.evaluation.report.figures import Figures, TextPoint
from pipeline.evaluation.report.learning import LearningCurve
from pipeline.evaluation.report.markup import breakable, figure, pair, paragraph, section, table, with_range
from pipeline.evaluation.report.plots import Point, line_plot
from pipeline.evaluation.report.wording import Words


def learning_section(figures: Figures, *, say: Words) -> str:
    """The curve, what is carried on from it, and the classes that need labels."""
    curve = figures.learning
    parts = [paragraph(say("learning_impossible"))] if not curve.points else _curve(curve, say=say)
    return section(say("learning_head"), name="learning", parts=[*parts, *_needs(figures, say=say)])


def _curve(curve: LearningCurve, *, say: Words) -> list[str]:
    points = [Point(one.n_labels, one.accuracy, one.low, one.high) for one in curve.points]
    sentence, more = say("learning_unknown"), curve.more
    if more is not None:
        points.append(Point(points[-1].x + more.n_more, *more.accuracy, guess=True))
        sentence = say(
            "learning_more",
            n=more.n_more,
            gain=say.points(more.gain),
            interval=say.points_interval(more.low, high=more.high),
        )
    summary = say("list_join").join(f"{p.x:g}: {say.percent(p.y)}" for p in points)
    plot = line_plot(
        points,
        x_axis=say("axis_labels"),
        y_axis=say("axis_accuracy"),
        label=say("alt_line", what=say("learning_head"), summary=summary),
    )
    rows = [
        [
            escape(f"{p.x:g}" + (f" ({say('extrapolated')})" if p.guess else "")),
            with_range(say.percent(p.y), interval=say.interval(p.low, high=p.high)),
        ]
        for p in points
    ]
    numbers = table([say("col_labels"), say("list_join").join((say("col_accuracy"), say("interval_90")))], rows=rows)
    text = paragraph(say("learning_text", n_draws=curve.n_draws))
    return [text, paragraph(sentence, kind="lead"), pair(figure(plot), numbers)]


def _needs(figures: Figures, *, say: Words) -> list[str]:
    n_more = sum(one.suggested for one in figures.needs)
    head = [
        say("col_class"),
        say("col_labels"),
        say("col_missed"),
        say("col_at_worst"),
        say("col_mistaken_for"),
        say("col_next", n=n_more),
    ]
    rows = [
        [
            breakable(one.name),
            str(one.n_images),
            say("k_of_n", k=one.missed.k, n=one.missed.n) if one.missed.n else say("none"),
            say.percent(one.missed.high),
            breakable(one.mistaken_for or say("none")),
            f"<strong>{one.suggested}</strong>",
        ]
        for one in figures.needs
    ]
    return [f'<div class="after">{paragraph(say("need_text", n=n_more))}</div>', table(head, rows=rows)]


def texts_section(figures: Figures, *, say: Words) -> str:
    """K and weight curves; empty without texts."""
    found = figures.texts
    if found is None:
        return ""
    k = found.chosen_k
    ridge = found.chosen_ridge
    chosen = say(
        "texts_chosen",
        k=say("texts_all") if k is None else k,
        ridge=say("texts_equal") if ridge is None else f"{ridge:g}",
    )
    columns = [
        _text_curve(found.neighbours, title="texts_k", column="col_k", default="texts_all", say=say),
        _text_curve(found.weights, title="texts_ridge", column="col_ridge", default="texts_equal", say=say),
    ]
    parts = [paragraph(say.joined(say("texts_text"), chosen)), pair(*columns, kind="even")]
    return section(say("texts_head"), name="texts", parts=parts)


def _text_curve(points: Sequence[TextPoint], *, title: str, column: str, default: str, say: Words) -> str:
    if not points:
        return ""
    names = [say(default) if one.setting is None else f"{one.setting:g}" for one in points]
    drawn = [
        Point(0.0, one.accuracy, max(one.accuracy - one.error, 0.0), min(one.accuracy + one.error, 1.0), tick=name)
        for one, name in zip(points, names, strict=True)
    ]
    summary = say("list_join").join(f"{p.tick}: {say.percent(p.y)}" for p in drawn)
    plot = line_plot(
        drawn,
        x_axis=say(title),
        y_axis=say("axis_accuracy"),
        label=say("alt_line", what=say(title), summary=summary),
        even=True,
        width=480.0,
    )
    rows = [
        [escape(name), say.percent(one.accuracy), escape(f"{say.points(one.gain)} ± {100 * one.error:.1f}")]
        for one, name in zip(points, names, strict=True)
    ]
    return figure(plot, caption=say(title)) + table([say(column), say("col_accuracy"), say("col_gain")], rows=rows)
