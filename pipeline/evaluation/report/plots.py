"""Plots as inline SVG: intervals, bars, lines, confusion matrix, reliability. Values in, one string out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.evaluation.report.svg import Scale, box, dot, drawing, line, path, text, text_px, ticks

WIDTH = 500.0  # px, of every plot but the matrix
LABELS_AT_MOST = 230.0  # px
ROW = 34.0
BAR, GAP = 17.0, 38.0
TINY = 1e-9  # of a scale on which everything is 0
FOOT = 46.0  # px for ticks and the axis label
KINDS = ("first", "second", "third")  # colours of the style sheet, in the order of the series


@dataclass(frozen=True, slots=True)
class Mark:
    """A value with its interval."""

    label: str
    value: float
    low: float
    high: float
    shown: str = ""  # the value as text


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a line, with its interval; `guess` points are drawn apart."""

    x: float
    y: float
    low: float
    high: float
    tick: str = ""  # replaces the number on the x axis
    guess: bool = False


def interval_plot(marks: Sequence[Mark], *, axis: str, label: str, low: float, high: float) -> str:
    """Dots with whiskers, one row each."""
    left, top = _margin([mark.label for mark in marks]), 10.0
    bottom = top + ROW * len(marks)
    scale = Scale(low, high, left, WIDTH - 84)
    parts = _grid_down(scale, top=top, bottom=bottom, axis=axis)
    for row, mark in enumerate(marks):
        y, kind = top + ROW * (row + 0.5), KINDS[row % len(KINDS)]
        ends = scale(max(mark.low, low)), scale(min(mark.high, high))
        parts += [
            text(left - 12, y + 4.5, content=mark.label, anchor="end"),
            line(ends[0], y, x2=ends[1], y2=y, kind=f"whisker {kind}"),
            *(line(x, y - 5, x2=x, y2=y + 5, kind=f"whisker {kind}") for x in ends),
            dot(scale(mark.value), y, kind=kind, radius=5.5),
            text(WIDTH - 2, y + 4.5, content=mark.shown, anchor="end", kind="strong"),
        ]
    return drawing(parts, width=WIDTH, height=bottom + FOOT, label=label)


def bar_plot(groups: Sequence[tuple[str, Sequence[Mark]]], *, axis: str, label: str) -> str:
    """Groups of horizontal bars with whiskers, each on a scale of its own; the first group names the series."""
    series = [mark.label for mark in groups[0][1]]
    left = _margin([name for name, _ in groups])
    parts = [_legend(name, row=row, left=left) for row, name in enumerate(series)]
    y = 18.0 + 20.0 * len(series)
    for name, marks in groups:
        bottom = y + BAR * len(marks)
        scale = Scale(0.0, max(*(mark.high for mark in marks), TINY), left, WIDTH - 62)
        parts += _grid_down(scale, top=y - 3, bottom=bottom + 3, axis="")
        parts.append(text(left - 12, (y + bottom) / 2 + 4.5, content=name, anchor="end"))
        for row, mark in enumerate(marks):
            parts += _bar(mark, scale=scale, y=y + BAR * (row + 0.5), kind=KINDS[series.index(mark.label)])
        y = bottom + GAP
    parts.append(text((left + WIDTH - 62) / 2, y + 2, content=axis, anchor="middle", kind="tick"))
    return drawing(parts, width=WIDTH, height=y + 10, label=label)


def _bar(mark: Mark, *, scale: Scale, y: float, kind: str) -> list[str]:
    low, high = scale(mark.low), scale(mark.high)
    return [
        box(scale.start, y - BAR / 2 + 1.5, width=scale(mark.value) - scale.start, height=BAR - 3, kind=kind),
        line(low, y, x2=high, y2=y, kind="range"),
        line(high, y - 3.5, x2=high, y2=y + 3.5, kind="range"),
        text(WIDTH - 2, y + 4.5, content=mark.shown, anchor="end", kind="strong"),
    ]


def line_plot(
    points: Sequence[Point], *, x_axis: str, y_axis: str, label: str, even: bool = False, width: float = WIDTH
) -> str:
    """Points with whiskers, joined; `even` spaces them evenly; y in per cent of fractions."""
    left, top, bottom = 52.0, 26.0, 230.0
    xs = list(range(len(points))) if even else [point.x for point in points]
    pad = 0.5 if even else 0.06 * max(max(xs) - min(xs), 1.0)
    x = Scale(min(xs) - pad, max(xs) + pad, left, width - 14)
    y = _y_scale(points, bottom=bottom, top=top)
    parts = _grid_across(y, left=left, right=width - 14, y_axis=y_axis)
    places = [(x(at), y(point.y)) for at, point in zip(xs, points, strict=True)]
    n_known = sum(not point.guess for point in points)
    parts.append(path(places[:n_known], kind="trace"))
    if n_known < len(points):
        parts.append(path(places[n_known - 1 :], kind="trace guessed"))
    for (px, py), point in zip(places, points, strict=True):
        ends, kind = (y(point.low), y(point.high)), "guess" if point.guess else "second"
        parts += [
            line(px, ends[0], x2=px, y2=ends[1], kind=f"whisker {kind}"),
            *(line(px - 4, end, x2=px + 4, y2=end, kind=f"whisker {kind}") for end in ends),
            dot(px, py, kind=kind),
            text(px, bottom + 18, content=point.tick or f"{point.x:g}", anchor="middle", kind="tick"),
        ]
    parts.append(text((left + width - 14) / 2, bottom + 40, content=x_axis, anchor="middle", kind="tick"))
    return drawing(parts, width=width, height=bottom + FOOT, label=label)


def reliability_plot(points: Sequence[Point], *, x_axis: str, y_axis: str, ideal: str, label: str) -> str:
    """Accuracy over confidence beside the diagonal; both fractions."""
    left, top, bottom, right = 52.0, 26.0, 340.0, 366.0
    x, y = Scale(0.0, 1.0, left, right), Scale(0.0, 1.0, bottom, top)
    parts = _grid_across(y, left=left, right=right, y_axis=y_axis)
    for share in ticks(0.0, high=1.0):
        parts.append(text(x(share), bottom + 18, content=f"{100 * share:.0f}", anchor="middle", kind="tick"))
    parts.append(line(x(0), y(0), x2=x(1), y2=y(1), kind="ideal"))
    parts.append(text(x(0.15) + 10, y(0.15) + 10, content=ideal, kind="tick"))
    for point in points:
        px = x(point.x)
        parts += [
            line(px, y(point.low), x2=px, y2=y(point.high), kind="whisker second"),
            dot(px, y(point.y), kind="second"),
        ]
    parts.append(path([(x(p.x), y(p.y)) for p in points], kind="trace"))
    parts.append(text((left + right) / 2, bottom + 40, content=x_axis, anchor="middle", kind="tick"))
    return drawing(parts, width=380.0, height=bottom + FOOT, label=label)


def matrix_plot(
    counts: Sequence[Sequence[int]],
    *,
    names: Sequence[str],
    n_of_row: Sequence[int],
    truth: str,
    called: str,
    label: str,
) -> str:
    """Heat map, truth in rows; the column of a class has its number, the row number and name."""
    size = 34.0 if len(names) <= 12 else 26.0
    left = min(max(map(text_px, names)) + 44.0, 290.0)
    top = 44.0
    parts = [
        text(left, 16, content=called, kind="tick"),
        text(left - 8, top - 8, content=truth, anchor="end", kind="tick"),
    ]
    for i, row in enumerate(counts):
        y = top + i * size
        parts.append(text(left - 34, y + size / 2 + 4.5, content=names[i], anchor="end"))
        parts.append(text(left - 8, y + size / 2 + 4.5, content=str(i + 1), anchor="end", kind="tick"))
        parts.append(text(left + (i + 0.5) * size, top - 8, content=str(i + 1), anchor="middle", kind="tick"))
        for j, count in enumerate(row):
            share = count / max(n_of_row[i], 1)
            kind, least = ("right", 0.12) if i == j else ("wrong", 0.25)
            ink = "strong light" if share > 0.5 else "strong"
            fill = f' fill-opacity="{least + (1.0 - least) * share:.2f}"' if count else ""
            cell = "cell empty" if not count else f"cell {kind}"
            x = left + j * size
            parts.append(box(x + 1, y + 1, width=size - 2, height=size - 2, kind=cell, more=fill))
            if count:
                parts.append(text(x + size / 2, y + size / 2 + 4.5, content=str(count), anchor="middle", kind=ink))
    side = size * len(names)
    return drawing(parts, width=left + side + 6, height=top + side + 8, label=label)


def _y_scale(points: Sequence[Point], *, bottom: float, top: float) -> Scale:
    """Fractions, out to the next round values."""
    low, high = min(point.low for point in points), max(point.high for point in points)
    low = min(low, high - 0.04)
    marks = ticks(low, high=high)
    step = marks[1] - marks[0] if len(marks) > 1 else 0.05
    floor, ceiling = step * math.floor(low / step + 1e-9), step * math.ceil(high / step - 1e-9)
    return Scale(max(0.0, floor), min(1.0, ceiling), bottom, top)


def _margin(names: Sequence[str]) -> float:
    return min(max(map(text_px, names)) + 18, LABELS_AT_MOST)


def _legend(name: str, *, row: int, left: float) -> str:
    y = 8.0 + 20.0 * row
    return box(left, y, width=12, height=12, kind=KINDS[row]) + text(left + 20, y + 11, content=name)


def _grid_down(scale: Scale, *, top: float, bottom: float, axis: str) -> list[str]:
    parts = []
    for value in ticks(scale.low, high=scale.high):
        x = scale(value)
        parts.append(line(x, top, x2=x, y2=bottom, kind="grid"))
        parts.append(text(x, bottom + 18, content=f"{value:g}", anchor="middle", kind="tick"))
    if axis:
        parts.append(text((scale.start + scale.end) / 2, bottom + 38, content=axis, anchor="middle", kind="tick"))
    return [*parts, line(scale.start, bottom, x2=scale.end, y2=bottom, kind="axis")]


def _grid_across(scale: Scale, *, left: float, right: float, y_axis: str) -> list[str]:
    parts = [text(4, 12, content=y_axis, kind="tick")]
    for value in ticks(scale.low, high=scale.high):
        y = scale(value)
        parts.append(line(left, y, x2=right, y2=y, kind="grid"))
        parts.append(text(left - 8, y + 4, content=f"{100 * value:g}", anchor="end", kind="tick"))
    return [*parts, line(left, scale.start, x2=right, y2=scale.start, kind="axis")]
