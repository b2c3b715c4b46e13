"""One picture of a demo run: what zero-shot CLIP mistook and the head got right, and both confusion matrices."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.simulation.line import SimulatedLine

WIDTH, HEIGHT = 1840, 1000
MARGIN, THUMB = 40, 208
COLUMNS, ROWS = 4, 3
INK, DIM, PAPER, CARD = (24, 32, 44), (110, 120, 134), (246, 247, 249), (255, 255, 255)
RIGHT, WRONG = (20, 128, 74), (192, 52, 44)
CELL = (43, 25)  # width and height of one cell of a matrix

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Decided:
    """One line of the results file, as far as the picture needs it."""

    source_id: str
    epoch: int
    sequence: int
    truth: str
    zero_shot: str
    label: str
    confidence: float


def read_results(path: Path) -> list[Decided]:
    """The decided frames of the newest run in the file that carry their truth."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    decided = [
        Decided(
            source_id=row["source_id"],
            epoch=row["frame"]["epoch"],
            sequence=row["frame"]["seq"],
            truth=row["truth"],
            zero_shot=row["result"]["zero_shot"],
            label=row["result"]["label"],
            confidence=row["result"]["confidence"],
        )
        for row in rows
        if row.get("truth")
    ]
    newest: dict[str, int] = {}
    for one in decided:
        newest[one.source_id] = max(one.epoch, newest.get(one.source_id, 0))
    return [one for one in decided if one.epoch == newest[one.source_id]]


def draw_picture(
    decided: Sequence[Decided], *, lines: Mapping[str, SimulatedLine], names: Mapping[str, str], shots: int
) -> Image.Image:
    """`lines` renders a camera's frames again, `names` is what people call the classes."""
    canvas = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw = ImageDraw.Draw(canvas)
    before = np.mean([one.zero_shot == one.truth for one in decided])
    after = np.mean([one.label == one.truth for one in decided])
    _text(draw, (MARGIN, 26), "The same frames, before and after logits deconfusion", size=34)
    figures = f"{len(decided)} simulated frames   zero-shot CLIP {before:.1%} right   "
    figures += f"head from {shots} labelled pictures per class {after:.1%} right"
    _text(draw, (MARGIN, 74), figures, size=21, fill=DIM)
    for place, one in enumerate(_examples(decided)):
        left = MARGIN + place % COLUMNS * (THUMB + 22)
        top = 128 + place // COLUMNS * (THUMB + 74)
        _thumbnail(canvas, one, at=(left, top), line=lines[one.source_id], names=names)
    classes = sorted({one.truth for one in decided} | {one.label for one in decided}, key=list(names).index)
    for top, key, title in ((128, "zero_shot", "zero-shot CLIP"), (128 + 428, "label", "after deconfusion")):
        _matrix(draw, decided, key=key, title=title, classes=classes, names=names, at=(1010, top))
    return canvas


def _examples(decided: Sequence[Decided]) -> list[Decided]:
    """Frames that only zero-shot got wrong, as many different mistakes as there are, the common ones first."""
    mended = [one for one in decided if one.zero_shot != one.truth == one.label]
    by_mistake: dict[tuple[str, str], list[Decided]] = {}
    for one in mended:
        by_mistake.setdefault((one.truth, one.zero_shot), []).append(one)
    ranked = sorted(by_mistake.values(), key=len, reverse=True)
    deepest = max((len(same) for same in ranked), default=0)
    in_turn = [same[depth] for depth in range(deepest) for same in ranked if depth < len(same)]
    return in_turn[: COLUMNS * ROWS]


def _thumbnail(
    canvas: Image.Image, one: Decided, *, at: tuple[int, int], line: SimulatedLine, names: Mapping[str, str]
) -> None:
    image = line.render(one.sequence).image[..., ::-1]
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = Image.fromarray(np.ascontiguousarray(image[top : top + side, left : left + side]))
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((at[0] - 5, at[1] - 5, at[0] + THUMB + 5, at[1] + THUMB + 62), fill=CARD)
    canvas.paste(square.resize((THUMB, THUMB), Image.Resampling.LANCZOS), at)
    for down, said, fill in (
        (8, f"CLIP: {names[one.zero_shot]}", WRONG),
        (33, f"head: {names[one.label]} {one.confidence:.0%}", RIGHT),
    ):
        size = next((n for n in range(16, 8, -1) if ImageFont.load_default(n).getlength(said) <= THUMB), 8)
        _text(draw, (at[0], at[1] + THUMB + down), said, size=size, fill=fill)


def _matrix(
    draw: ImageDraw.ImageDraw,
    decided: Sequence[Decided],
    *,
    key: str,
    title: str,
    classes: Sequence[str],
    names: Mapping[str, str],
    at: tuple[int, int],
) -> None:
    """Rows are the truth, columns the label, shade the share of the row."""
    n = len(classes)
    counts = np.zeros((n, n), int)
    for one in decided:
        counts[classes.index(one.truth), classes.index(getattr(one, key))] += 1
    _text(draw, (at[0] + 200, at[1] - 6), f"{title}: rows are the truth, columns the label", size=19)
    for row, class_id in enumerate(classes):
        top = at[1] + 34 + row * CELL[1]
        _text(draw, (at[0] + 190, top + 3), names[class_id], size=15, fill=DIM, anchor="ra")
        for column in range(n):
            share = counts[row, column] / max(1, counts[row].sum())
            left = at[0] + 200 + column * CELL[0]
            box = (left, top, left + CELL[0] - 3, top + CELL[1] - 3)
            draw.rectangle(box, fill=_shade(share, right=row == column))
            if counts[row, column]:
                ink = CARD if share > 0.5 else INK
                _text(
                    draw, (left + CELL[0] // 2 - 1, top + 3), str(counts[row, column]), size=14, fill=ink, anchor="ma"
                )


def _shade(share: float, *, right: bool) -> Rgb:
    colour = RIGHT if right else WRONG
    red, green, blue = (round(232 + (channel - 232) * share**0.7) for channel in colour)
    return red, green, blue


def _text(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, *, size: int, fill: Rgb = INK, anchor: str = "la"
) -> None:
    draw.text(at, text, font=ImageFont.load_default(size), fill=fill, anchor=anchor)
