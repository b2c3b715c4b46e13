"""Accuracy, confusion matrices, and escapes and overkill with their cost."""

from __future__ import annotations

from html import escape

import numpy as np

from pipeline.evaluation.metrics import Accuracy
from pipeline.evaluation.report.damage import Damage, StatedCosts
from pipeline.evaluation.report.figures import Figures
from pipeline.evaluation.report.markup import (
    breakable,
    estimate,
    figure,
    pair,
    paragraph,
    section,
    share,
    table,
    way_name,
    with_range,
)
from pipeline.evaluation.report.plots import Mark, bar_plot, interval_plot, matrix_plot
from pipeline.evaluation.report.wording import Words
from pipeline.heads.whitening import Labels

MOST_CLASSES = 20  # in a matrix; beyond that the ones with mistakes
MOST_PAIRS = 10
P_SHOWN = 0.001  # smaller ones say no more to a reader


def accuracy_section(figures: Figures, *, say: Words) -> str:
    """Before, after, and what the difference is worth."""
    found, setup = figures.comparison, figures.setup
    rows = [(way_name("before", prior=setup.prior, say=say), found.before), (say("after"), found.after)]
    judged = [*rows, (say("accuracy_out_of_fold", n=setup.n_fit), setup.out_of_fold)] if setup.out_of_fold.n else rows
    marks = [_mark(name, one, say=say) for name, one in rows]
    floor = max(0.0, min(10 * int(mark.low // 10) for mark in marks))
    summary = say("list_join").join(f"{mark.label} {mark.shown}" for mark in marks)
    plot = interval_plot(
        marks, axis=say("axis_accuracy"), label=say("alt_intervals", summary=summary), low=floor, high=100.0
    )
    cells = [
        [escape(name), _accuracy_cell(one, say=say), say("k_of_n", k=one.n_right, n=one.n)] for name, one in judged
    ]
    numbers = table([say("col_way"), say("col_accuracy"), say("col_right")], rows=cells)
    gain = found.gain
    sentences = [
        say(
            "accuracy_gain",
            only_after=gain.only_after,
            only_before=gain.only_before,
            gain=say.points(gain.value),
            interval=say.points_interval(gain.interval[0], high=gain.interval[1]),
            p="< 0.001" if gain.p_value < P_SHOWN else f"= {gain.p_value:.2g}",
        ),
        _smallest(figures, say=say),
    ]
    parts = [paragraph(say("accuracy_text", n=found.after.n)), pair(figure(plot), numbers)]
    return section(say("accuracy_head"), name="accuracy", parts=[*parts, *(paragraph(one) for one in sentences)])


def matrix_section(figures: Figures, *, say: Words) -> str:
    """Heat maps and the confused pairs behind them."""
    found, names = figures.comparison, figures.setup.classes
    mistakes = _mistakes(found.matrix_before) + _mistakes(found.matrix_after)
    busiest = np.argsort(-(mistakes.sum(axis=0) + mistakes.sum(axis=1)), kind="stable")[:MOST_CLASSES]
    chosen = np.sort(busiest)
    plots = []
    for way, matrix, right in (
        ("before", found.matrix_before, found.before),
        ("after", found.matrix_after, found.after),
    ):
        title = way_name(way, prior=figures.setup.prior, say=say)
        plot = matrix_plot(
            matrix[np.ix_(chosen, chosen)].tolist(),
            names=[names[c] for c in chosen],
            n_of_row=matrix.sum(axis=1)[chosen].tolist(),
            truth=say("matrix_truth"),
            called=say("matrix_called"),
            label=say("matrix_alt", way=title, right=right.n_right, n=right.n),
        )
        plots.append(figure(plot, caption=title))
    some = say("matrix_some", n=len(chosen), n_all=len(names)) if len(chosen) < len(names) else ""
    parts = [paragraph(say.joined(say("matrix_text"), some)), pair(*plots, kind="even")]
    return section(say("matrix_head"), name="matrix", parts=[*parts, _pairs(figures, say=say)])


def _pairs(figures: Figures, *, say: Words) -> str:
    found, names = figures.comparison, figures.setup.classes
    before, after = _mistakes(found.matrix_before), _mistakes(found.matrix_after)
    order = sorted(np.argwhere(before + after > 0).tolist(), key=lambda at: (-after[*at], -before[*at]))[:MOST_PAIRS]
    if not order:
        return paragraph(say("matrix_clean"))
    n = found.matrix_after.sum(axis=1)
    rows = [
        [
            breakable(say("matrix_arrow", truth=names[i], called=names[j])),
            *(say("k_of_n", k=int(matrix[i, j]), n=int(n[i])) for matrix in (before, after)),
        ]
        for i, j in order
    ]
    head = [say("matrix_pair"), way_name("before", prior=figures.setup.prior, say=say), say("after")]
    return f'<div class="after">{table(head, rows=rows)}</div>'


def damage_section(figures: Figures, *, say: Words) -> str:
    """Per 1,000 parts, in three ways of deciding."""
    setup, damages = figures.setup, figures.damages
    kinds = ["escapes", "overkill", "mix_ups", "reviews"]
    groups = [
        (say(kind), [_estimate_mark(one, kind=kind, figures=figures, say=say) for one in _with(damages, kind=kind)])
        for kind in kinds
    ]
    summary = say("list_join").join(f"{name} {marks[-1].value:.1f}" for name, marks in groups)
    plot = bar_plot(groups, axis=say("per_1000"), label=say("alt_damage", what=say("reviewed"), summary=summary))
    names = [way_name(one.way, prior=setup.prior, say=say) for one in damages]
    rows = [
        [escape(say(kind)), *(_per_1000(one, kind=kind, say=say) for one in damages)]
        for kind in [*kinds, *(["cost"] if setup.costs is not None else [])]
    ]
    if setup.costs is not None:
        rows[-1][0] = escape(f"{say('cost')} ({damages[0].plan.currency})")
    rows += [
        [escape(say(f"{kind}_of")), *(share(getattr(one, kind), say=say) for one in damages)] for kind in kinds[:2]
    ]
    parts = [
        paragraph(say("damage_text")),
        paragraph(_mix_sentence(figures, say=say)),
        pair(figure(plot), table(["", *names], rows=rows)),
        *(paragraph(one, kind="note") for one in _damage_notes(figures, say=say)),
    ]
    return section(say("damage_head"), name="damage", parts=parts)


def _mix_sentence(figures: Figures, *, say: Words) -> str:
    if not figures.setup.has_mix:
        return say("damage_no_mix")
    shares = (f"{name} {say.percent(part)}" for name, part in figures.damages[0].plan.mix)
    return say("damage_mix", mix=say("list_join").join(shares))


def _damage_notes(figures: Figures, *, say: Words) -> list[str]:
    done = figures.damages[1]
    notes = [_cost_sentence(figures.setup.costs, say=say)]
    if done.escapes.n and not done.escapes.k:
        notes.append(say("damage_none_seen", n=done.escapes.n, high=say.percent(done.escapes.high)))
    if done.plan.unseen:
        notes.append(say("damage_unseen", names=say("list_join").join(done.plan.unseen)))
    return notes


def _cost_sentence(costs: StatedCosts | None, *, say: Words) -> str:
    if costs is None:
        return say("damage_no_costs")

    def shown(ends: tuple[float, float]) -> str:
        return say.amount(ends[0]) if ends[0] == ends[1] else say.amounts(ends[0], high=ends[1])

    kinds = {name: shown(getattr(costs, name)) for name in ("escape", "overkill", "mix_up", "review")}
    return say("damage_costs", currency=costs.currency, **kinds)


def _smallest(figures: Figures, *, say: Words) -> str:
    found = figures.comparison
    if found.smallest_possible is None or found.smallest_difference is None:
        return say("accuracy_smallest_none", n=found.after.n)
    return say(
        "accuracy_smallest",
        n=found.after.n,
        possible=say("points", value=f"{100 * found.smallest_possible:.0f}"),
        typical=say("points", value=f"{100 * found.smallest_difference:.0f}"),
    )


def _mark(name: str, one: Accuracy, *, say: Words) -> Mark:
    low, high = one.interval
    return Mark(name, 100 * one.value, 100 * low, 100 * high, shown=say.percent(one.value))


def _accuracy_cell(one: Accuracy, *, say: Words) -> str:
    low, high = one.interval
    return with_range(say.percent(one.value), interval=say.interval(low, high=high))


def _estimate_mark(one: Damage, *, kind: str, figures: Figures, say: Words) -> Mark:
    value = getattr(one.plan, kind)
    return Mark(
        way_name(one.way, prior=figures.setup.prior, say=say),
        value.value,
        value.low,
        value.high,
        say.amount(value.value),
    )


def _with(damages: tuple[Damage, ...], *, kind: str) -> tuple[Damage, ...]:
    """Ways in which the kind can happen: nobody looks where labels alone decide."""
    return damages if kind != "reviews" else tuple(one for one in damages if one.way == "reviewed")


def _per_1000(one: Damage, *, kind: str, say: Words) -> str:
    return estimate(getattr(one.plan, kind), say=say) if _with((one,), kind=kind) else escape(say("none"))


def _mistakes(matrix: Labels) -> Labels:
    out = matrix.copy()
    np.fill_diagonal(out, 0)
    return out
