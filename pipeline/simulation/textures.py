"""Seeded surface patterns: brushed metal, slow unevenness, grain, and the belts parts lie on."""

import cv2
import numpy as np

from pipeline.simulation.values import Pixels, Textures

# name, base colour BGR in 0..1, pattern
BELTS: tuple[tuple[str, tuple[float, float, float], str], ...] = (
    ("black", (0.16, 0.15, 0.15), "rubber"),
    ("dark grey", (0.27, 0.26, 0.26), "fabric"),
    ("green", (0.22, 0.33, 0.19), "fabric"),
    ("blue", (0.46, 0.29, 0.14), "modular"),
    ("white", (0.74, 0.77, 0.77), "fabric"),
    ("steel", (0.52, 0.51, 0.50), "steel"),
    ("grey", (0.44, 0.43, 0.42), "modular"),
    ("blue", (0.50, 0.34, 0.20), "fabric"),
    ("green", (0.26, 0.38, 0.27), "rubber"),
)


def normalised(plane: Pixels) -> Pixels:
    """The plane with zero mean and unit spread."""
    centred = plane - plane.mean()
    return np.asarray(centred / max(float(centred.std()), 1e-6), dtype=np.float32)


def cloud(rng: np.random.Generator, *, height: int, width: int, cells: int) -> Pixels:
    """Slow unevenness: `cells` random knots along the shorter side, cubic between them."""
    step = max(min(height, width) / cells, 1.0)
    knots = rng.standard_normal((int(height / step) + 2, int(width / step) + 2), dtype=np.float32)
    return normalised(cv2.resize(knots, (width, height), interpolation=cv2.INTER_CUBIC))


def streaks(rng: np.random.Generator, *, height: int, width: int, side: int) -> Pixels:
    """Brushed metal: noise drawn out along x, in a fine and a coarse hand."""
    noise = rng.standard_normal((height, width), dtype=np.float32)
    fine = cv2.blur(noise, (max(side // 5, 3), 1))
    coarse = cv2.GaussianBlur(cv2.blur(noise, (max(side // 2, 3), 1)), (0, 0), 0.5, sigmaY=max(side / 130, 0.5))
    return normalised(normalised(fine) + normalised(coarse))


def part_textures(rng: np.random.Generator, *, side: int) -> Textures:
    """The patterns every part of a line is cut from, (side, side) each."""
    noise = rng.standard_normal((side, side), dtype=np.float32)
    return Textures(
        streak=streaks(rng, height=side, width=side, side=side),
        cloud=cloud(rng, height=side, width=side, cells=8),
        grain=normalised(cv2.GaussianBlur(noise, (0, 0), max(side / 400, 0.4))),
    )


def _weave(height: int, width: int, *, side: int) -> Pixels:
    pitch = max(side / 60, 2.5)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.asarray(np.sin(2 * np.pi * x / pitch) * np.sin(2 * np.pi * y / pitch), dtype=np.float32)


def link_width(side: int) -> int:
    """The length of a belt link in pixels; a belt's period is a multiple of it, or the joint of the loop shows."""
    return max(int(side * 0.21), 12)


def _links(height: int, width: int, *, side: int, rng: np.random.Generator) -> Pixels:
    """A modular plastic belt: staggered links with dark joints and a lit upper edge."""
    link_h, link_w = max(int(side * 0.085), 6), link_width(side)
    joint = max(int(side * 0.007), 1)
    pattern = np.zeros((height, width), np.float32)
    for row, top in enumerate(range(0, height, link_h)):
        pattern[top : top + joint] -= 2.6
        pattern[top + joint : top + 2 * joint] += 0.9
        for left in range((row % 2) * link_w // 2, width, link_w):
            pattern[top : top + link_h, left : left + joint] -= 2.2
            pattern[top : top + link_h, left + joint : left + link_w] += rng.normal(0, 0.16)
    return np.asarray(cv2.GaussianBlur(pattern, (0, 0), max(side / 420, 0.4)), dtype=np.float32)


def _pattern(kind: str, *, rng: np.random.Generator, height: int, width: int, side: int) -> Pixels:
    noise = rng.standard_normal((height, width), dtype=np.float32)
    grain = normalised(cv2.GaussianBlur(noise, (0, 0), max(side / 260, 0.5)))
    if kind == "rubber":
        return 0.10 * grain
    if kind == "fabric":
        return 0.06 * grain + 0.05 * _weave(height, width, side=side)
    if kind == "steel":
        return 0.05 * grain + 0.08 * streaks(rng, height=height, width=width, side=side)
    return 0.03 * grain + 0.10 * _links(height, width, side=side, rng=rng)


def _wear(rng: np.random.Generator, *, height: int, width: int, side: int) -> Pixels:
    """What years leave on a belt: tracks along its travel, specks, a few scuffs."""
    tracks = cv2.resize(rng.standard_normal((max(height * 14 // side, 2), 1), dtype=np.float32), (1, height))
    wear = np.repeat(0.035 * tracks.reshape(height, 1), width, axis=1).astype(np.float32)
    wear += 0.030 * cloud(rng, height=height, width=width, cells=5)
    for _ in range(int(rng.integers(10, 40) * width / side)):
        spot = (int(rng.integers(width)), int(rng.integers(height)))
        radius = int(max(rng.gamma(1.3) * side / 420, 1))
        cv2.circle(wear, spot, radius, float(rng.choice([-0.25, 0.3])), -1, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 5) * width / side)):
        start = rng.integers((width, height))
        stop = start + rng.normal(0, side * 0.08, 2).astype(int)
        cv2.line(wear, start.tolist(), stop.tolist(), float(rng.normal(0, 0.12)), 1, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(wear, (0, 0), max(side / 350, 0.5)), dtype=np.float32)


def belt_loop(rng: np.random.Generator, *, belt: int, height: int, width: int, period: int) -> Pixels:
    """An endless belt as (height, period + width, 3) uint8 BGR: any `width` columns of it are one view of the belt."""
    side = min(height, width)
    _, colour, kind = BELTS[belt]
    overlap = period // 4
    plane: Pixels = 1.0 + _pattern(kind, rng=rng, height=height, width=period + overlap, side=side)
    plane += _wear(rng, height=height, width=period + overlap, side=side)
    fade = np.linspace(0, 1, overlap, dtype=np.float32)
    plane[:, :overlap] = plane[:, :overlap] * fade + plane[:, period:] * (1.0 - fade)
    plane = plane[:, :period]
    tint = np.asarray(colour, np.float32) * rng.uniform(0.95, 1.05, 3).astype(np.float32)
    # The belt lies below the parts, just outside the depth of field.
    plane = cv2.GaussianBlur(plane.astype(np.float32), (0, 0), max(side / 380, 0.3))
    loop = np.clip(plane[..., None] * tint * 255.0, 4, 250).astype(np.uint8)
    return np.concatenate([loop, loop[:, :width]], axis=1)
