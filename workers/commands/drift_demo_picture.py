"""One picture of a drift and its recovery: accuracy over parts with the phases, and the five charts below."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.adaptation.drift.blocks import CHARTS

WIDTH, HEIGHT = 1600, 900
LEFT, RIGHT = 110, 1560
TOP = (120, 500)  # accuracy, pixels from above
BELOW = (590, 830)  # charts
INK, DIM, PAPER, GRID = (24, 32, 44), (110, 120, 134), (255, 255, 255), (228, 231, 236)
GOOD, BAD = (20, 128, 74), (192, 52, 44)
COLOURS = ((31, 97, 170), (202, 104, 16), (124, 68, 168), (90, 110, 40), (186, 44, 92))
SMOOTH = 400  # parts in one point of the accuracy
GAP_PARTS = 600  # without a reading: the line is not drawn across it
LEAST_RATIO, MOST_RATIO = 0.1, 100.0  # of the charts, drawn on a logarithmic scale

Rgb = tuple[int, int, int]
Reading = tuple[int, tuple[float, ...]]  # parts so far, statistic over limit in the order of CHARTS


@dataclass(frozen=True, slots=True)
class Mark:
    """Something began here."""

    n_parts: int
    name: str


@dataclass(frozen=True, slots=True)
class Run:
    """What a demonstration has seen."""

    right: tuple[bool, ...]  # of each part
    ratios: tuple[Reading, ...]
    marks: tuple[Mark, ...]
    alarm_at: int | None
    accuracies: tuple[float, float, float]  # before the blur, blurred with the first head, and at the end


def draw(run: Run) -> Image.Image:
    """The same parts above and below."""
    canvas = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    pen = ImageDraw.Draw(canvas)
    n = max(1, len(run.right))

    def across(parts: float) -> float:
        return LEFT + (RIGHT - LEFT) * parts / n

    _text(pen, (LEFT, 22), "Blur sets in; the line finds it, asks, learns and proves it", size=32)
    before, during, after = (f"{value:.1%}" for value in run.accuracies)
    said = f"{before} before, {during} blurred, {after} with the head that is live at the end"
    _text(pen, (LEFT, 66), f"accuracy over the last {SMOOTH} parts of a simulated line: {said}", size=19, fill=DIM)
    _accuracy(pen, run, across)
    _marks(pen, run, across)
    _charts(pen, run, across)
    return canvas


def _accuracy(pen: ImageDraw.ImageDraw, run: Run, across: Callable[[float], float]) -> None:
    right = np.array(run.right, float)
    total = np.cumsum(np.concatenate([[0.0], right]))
    ends = np.arange(1, right.size + 1)
    begins = np.maximum(ends - SMOOTH, 0)
    smooth = (total[ends] - total[begins]) / (ends - begins)
    shown = smooth[SMOOTH // 4 :] if smooth.size > SMOOTH else smooth
    low = min(0.9, float(np.floor(shown.min() * 10) / 10)) if shown.size else 0.0

    def down(value: float) -> float:
        return TOP[1] - (TOP[1] - TOP[0]) * (value - low) / (1.0 - low)

    for percent in range(round(low * 100), 101, 5):
        y = down(percent / 100)
        pen.line((LEFT, y, RIGHT, y), fill=GRID)
        _text(pen, (LEFT - 12, y - 10), f"{percent} %", size=16, fill=DIM, anchor="ra")
    step = max(1, right.size // 2_000)
    points = [(across(int(end)), down(float(value))) for end, value in zip(ends[::step], smooth[::step], strict=True)]
    pen.line(points[max(1, SMOOTH // 4 // step) :], fill=GOOD, width=3)


def _marks(pen: ImageDraw.ImageDraw, run: Run, across: Callable[[float], float]) -> None:
    ends: list[float] = []  # how far each of the rows of names is written
    for mark in run.marks:
        x = across(mark.n_parts)
        pen.line((x, TOP[0], x, BELOW[1]), fill=DIM, width=1)
        row = next((i for i, end in enumerate(ends) if x > end), len(ends))
        width = ImageFont.load_default(17).getlength(mark.name)
        ends[row : row + 1] = [x + 14 + width]
        _text(pen, (min(x + 6, WIDTH - 8 - width), TOP[1] + 6 + 20 * row), mark.name, size=17)
    if run.alarm_at is not None:
        x = across(run.alarm_at)
        pen.line((x, TOP[0], x, BELOW[1]), fill=BAD, width=3)
        _text(pen, (x + 8, TOP[0] + 4), f"alarm at {run.alarm_at} parts", size=17, fill=BAD)


def _charts(pen: ImageDraw.ImageDraw, run: Run, across: Callable[[float], float]) -> None:
    span = np.log10(MOST_RATIO / LEAST_RATIO)

    def down(ratio: float) -> float:
        share = np.log10(min(max(ratio, LEAST_RATIO), MOST_RATIO) / LEAST_RATIO) / span
        return float(BELOW[1] - (BELOW[1] - BELOW[0]) * share)

    for ratio in (0.1, 1.0, 10.0, 100.0):
        y = down(ratio)
        pen.line((LEFT, y, RIGHT, y), fill=BAD if ratio == 1.0 else GRID, width=2 if ratio == 1.0 else 1)
        _text(pen, (LEFT - 12, y - 10), f"{ratio:g}", size=16, fill=DIM, anchor="ra")
    for number, (name, colour) in enumerate(zip(CHARTS, COLOURS, strict=True)):
        for stretch in _stretches(run.ratios):
            pen.line([(across(n), down(ratios[number])) for n, ratios in stretch], fill=colour, width=2)
        _text(pen, (LEFT + 200 * number, BELOW[1] + 34), name, size=18, fill=colour)
    said = "five charts, statistic over limit (1 is the limit); gaps: a new head waits for its own reference"
    _text(pen, (RIGHT, BELOW[1] + 12), said, size=15, fill=DIM, anchor="ra")
    _text(pen, (LEFT, BELOW[1] + 8), f"{len(run.right)} parts from left to right", size=16, fill=DIM)


def _stretches(ratios: tuple[Reading, ...]) -> list[list[Reading]]:
    """Readings that follow one another."""
    found: list[list[Reading]] = []
    for one in ratios:
        if not found or one[0] - found[-1][-1][0] > GAP_PARTS:
            found.append([])
        found[-1].append(one)
    return [stretch for stretch in found if len(stretch) > 1]


def _text(
    pen: ImageDraw.ImageDraw, at: tuple[float, float], text: str, *, size: int, fill: Rgb = INK, anchor: str = "la"
) -> None:
    pen.text(at, text, font=ImageFont.load_default(size), fill=fill, anchor=anchor)
