"""Small parts that all plots are drawn from."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

FONT_PX = 13
NARROW_PX, WIDE_PX = 7.2, 13.0  # of a letter at FONT_PX; East Asian letters are square


@dataclass(frozen=True, slots=True)
class Scale:
    """Values to pixels, linear."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Where the value lies, px."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.start + share * (self.end - self.start)


def ticks(low: float, *, high: float, about: int = 5) -> list[float]:
    """Round values inside [low, high], some `about` of them."""
    span = max(high - low, 1e-9)
    rough = span / about
    unit = 10.0 ** math.floor(math.log10(rough))
    step = unit * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * unit >= rough - 1e-12)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def drawing(parts: Sequence[str], *, width: float, height: float, label: str) -> str:
    """One SVG with a size of its own and a text for those who cannot see it."""
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    return f'<svg {size} role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def text(x: float, y: float, *, content: str, anchor: str = "start", kind: str = "") -> str:
    """Letters; `kind` is a class of the style sheet."""
    extra = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{escape(content)}</text>'


def line(x1: float, y1: float, *, x2: float, y2: float, kind: str) -> str:
    """A stroke."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def box(x: float, y: float, *, width: float, height: float, kind: str, more: str = "") -> str:
    """A filled rectangle; never negative in size."""
    size = f'width="{max(width, 0):.1f}" height="{max(height, 0):.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} class="{kind}"{more}/>'


def dot(x: float, y: float, *, kind: str, radius: float = 4.5) -> str:
    """A round mark."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" class="{kind}"/>'


def path(points: Sequence[tuple[float, float]], *, kind: str, closed: bool = False) -> str:
    """Straight from point to point."""
    steps = " ".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(points))
    return f'<path d="{steps}{"Z" if closed else ""}" class="{kind}"/>'


def text_px(content: str) -> float:
    """Estimated width, px."""
    return sum(WIDE_PX if unicodedata.east_asian_width(c) in "WF" else NARROW_PX for c in content)
