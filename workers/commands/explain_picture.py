"""An explanation as one picture: part, margin before and after, confusion, texts, and the images it resembles."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import cv2
import numpy as np

from pipeline.attribution import SupportShare
from pipeline.errors import DataError
from pipeline.explain import Explanation
from pipeline.types import UInt8Array
from workers.commands.explained import BY_LIKENESS, Explained, read_picture, shown_confusion, signed

WIDTH, MARGIN = 1200, 40
LEFT = 380  # side of the picture and width of what is below it
RIGHT_AT = 470  # where the bars beside it begin
ROW = 30  # height of a line with a bar
THUMB, GAP, PER_ROW = 208, 20, 5
CARD_HEIGHT = THUMB + 96  # with three lines below it
FONT = cv2.FONT_HERSHEY_DUPLEX
INK, DIM, PAPER, CARD, AXIS = (44, 32, 24), (134, 120, 110), (249, 247, 246), (255, 255, 255), (205, 198, 192)  # BGR
FOR, AGAINST, EITHER = (74, 128, 20), (44, 52, 192), (150, 106, 58)

Bgr = tuple[int, int, int]
Bar = tuple[str, float]


class _Canvas:
    """A sheet that grows downwards; what is drawn may be at most `height` high."""

    def __init__(self, *, height: int) -> None:
        self.pixels: UInt8Array = np.full((height, WIDTH, 3), PAPER, np.uint8)

    def text(
        self, said: str, *, x: int, y: int, size: float = 0.45, colour: Bgr = INK, width: int = WIDTH - 2 * MARGIN
    ) -> None:
        """One line with its baseline at y, shortened to `width` pixels."""
        cv2.putText(self.pixels, _fitted(said, size=size, width=width), (x, y), FONT, size, colour, 1, cv2.LINE_AA)

    def bars(
        self, bars: list[Bar], *, x: int, y: int, width: int, label: int, colours: tuple[Bgr, Bgr] = (FOR, AGAINST)
    ) -> int:
        """Rows of label, bar from a middle axis and number, in the colour of its sign; returns where they end."""
        number = 76  # width of a number and the space before it
        room = width - label - number
        middle, longest = x + label + room // 2, max((abs(value) for _, value in bars), default=0.0)
        for row, (said, value) in enumerate(bars):
            top = y + row * ROW
            self.text(said, x=x, y=top + 19, width=label - 12)
            length = round(abs(value) / max(longest, 1e-9) * (room // 2 - 4))
            ends = (middle, middle + length) if value >= 0 else (middle - length, middle)
            colour = colours[value < 0]
            cv2.rectangle(self.pixels, (ends[0], top + 6), (ends[1], top + 22), colour, cv2.FILLED)
            self.text(signed(value), x=x + width - number + 12, y=top + 19, colour=colour)
        end = y + len(bars) * ROW
        cv2.line(self.pixels, (middle, y), (middle, end), AXIS, 1)
        return end

    def picture(self, image: UInt8Array, *, x: int, y: int, side: int) -> None:
        """The whole picture in a white square."""
        height, width = image.shape[:2]
        scale = side / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        shrunk = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        left, top = x + (side - size[0]) // 2, y + (side - size[1]) // 2
        cv2.rectangle(self.pixels, (x, y), (x + side - 1, y + side - 1), CARD, cv2.FILLED)
        self.pixels[top : top + size[1], left : left + size[0]] = shrunk


def draw_explanation(done: Explained, *, images: Path | None = None) -> UInt8Array:
    """(H, WIDTH, 3) BGR. Support images are shown where their files still are under `images`."""
    why = done.explanation
    n_rows = -(-len(why.support) // PER_ROW)
    canvas = _Canvas(height=1100 + ROW * len(why.texts) + n_rows * CARD_HEIGHT)
    _header(canvas, done)
    canvas.picture(done.region, x=MARGIN, y=120, side=LEFT)
    canvas.text(f"Margin over {why.rival}, logits", x=MARGIN, y=534, size=0.55, width=LEFT)
    left = canvas.bars(
        [("before", why.raw_margin), ("after", why.margin), ("removed", why.removed)],
        x=MARGIN,
        y=546,
        width=LEFT,
        label=90,
    )
    right = _right(canvas, why)
    end = _support(canvas, why, y=max(left, right) + 44, images=images)
    return np.ascontiguousarray(canvas.pixels[: end + MARGIN])


def _header(canvas: _Canvas, done: Explained) -> None:
    why = done.explanation
    title = f"{why.winner} {why.confidence:.1%}, rival {why.rival} {why.rival_confidence:.1%}"
    canvas.text(title, x=MARGIN, y=62, size=0.95)
    before = "" if why.zero_shot == why.winner else f"   before: {why.zero_shot}"
    about = f"{done.file.name}   head {done.head} version {done.opened.version} ({done.opened.head.name}){before}"
    canvas.text(about, x=MARGIN, y=94, size=0.5, colour=DIM)


def _right(canvas: _Canvas, why: Explanation) -> int:
    """Confusion per class above texts."""
    width = WIDTH - MARGIN - RIGHT_AT
    canvas.text("Confusion taken off each class, logits (a minus was added)", x=RIGHT_AT, y=134, size=0.55)
    removed = canvas.bars(shown_confusion(why), x=RIGHT_AT, y=146, width=width, label=300, colours=(EITHER, EITHER))
    y = removed + 44
    canvas.text(f"What texts add to the margin over {why.rival}", x=RIGHT_AT, y=y, size=0.55, width=width)
    texts = [(f"{text.class_id}: {text.phrase}", text.contribution) for text in why.texts]
    if why.other_texts.n:
        texts.append((f"all {why.other_texts.n} other texts", why.other_texts.contribution))
    if not texts:
        canvas.text("no text has a share", x=RIGHT_AT, y=y + 31, colour=DIM)
        return y + 12 + ROW
    return canvas.bars(texts, x=RIGHT_AT, y=y + 12, width=width, label=300)


def _support(canvas: _Canvas, why: Explanation, *, y: int, images: Path | None) -> int:
    """The nearest labelled images and the lines that make everything add up."""
    if why.support:
        canvas.text("Nearest labelled images and what they add to the margin", x=MARGIN, y=y, size=0.55)
        y += 18
    for number, image in enumerate(why.support):
        x = MARGIN + number % PER_ROW * (THUMB + GAP)
        top = y + number // PER_ROW * CARD_HEIGHT
        _thumbnail(canvas, image, x=x, y=top, images=images)
    y += -(-len(why.support) // PER_ROW) * CARD_HEIGHT
    texts = sum(text.contribution for text in why.texts) + why.other_texts.contribution
    shown = sum(image.contribution for image in why.support)
    parts = [f"texts {signed(texts)}", *([f"images shown {signed(shown)}"] if why.support else [])]
    if why.other_support.n:
        parts.append(f"{why.other_support.n} other images {signed(why.other_support.contribution)}")
    parts.append(f"neither {signed(why.other)}")
    canvas.text(f"{',  '.join(parts)}  =  margin {signed(why.margin)}", x=MARGIN, y=y, size=0.5)
    if why.support and not why.support_is_exact:
        y += 26
        canvas.text(BY_LIKENESS, x=MARGIN, y=y, colour=DIM)
    return y


def _thumbnail(canvas: _Canvas, image: SupportShare, *, x: int, y: int, images: Path | None) -> None:
    found = None
    if images is not None:
        try:
            found = read_picture(images / image.name)
        except DataError:
            found = None  # moved or changed since the fit; its name is still shown
    if found is None:
        cv2.rectangle(canvas.pixels, (x, y), (x + THUMB - 1, y + THUMB - 1), AXIS, 1)
        canvas.text("file not at hand", x=x + 44, y=y + THUMB // 2, colour=DIM)
    else:
        canvas.picture(found, x=x, y=y, side=THUMB)
    colour = FOR if image.contribution >= 0 else AGAINST
    canvas.text(image.class_id, x=x, y=y + THUMB + 20, width=THUMB)
    canvas.text(Path(image.name).name, x=x, y=y + THUMB + 39, size=0.4, colour=DIM, width=THUMB)
    canvas.text(f"{signed(image.contribution)}   cosine {image.cosine:.2f}", x=x, y=y + THUMB + 58, colour=colour)


def _fitted(said: str, *, size: float, width: int) -> str:
    """In the letters that the font has, with dots where the end was cut off."""
    plain = unicodedata.normalize("NFKD", said)
    text = "".join(c if c.isascii() else "?" for c in plain if not unicodedata.combining(c))
    if _width(text, size=size) <= width:
        return text
    while text and _width(f"{text}...", size=size) > width:
        text = text[:-1]
    return f"{text}..."


def _width(text: str, *, size: float) -> int:
    return int(cv2.getTextSize(text, FONT, size, 1)[0][0])
