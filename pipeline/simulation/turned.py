"""Turned, cut and wound parts: bolts, nuts, washers, gears, and the two parts no training picture shows."""

import cv2
import numpy as np

from pipeline.simulation.shapes import bevel, brushed, disc, matte, metal, polygon, polyline
from pipeline.simulation.values import Pixels, Relief, Textures

_ZINC = (1.0, 0.99, 0.97)
_STEEL = (0.985, 0.99, 1.0)


def _middle(size: tuple[int, int]) -> tuple[float, float]:
    return (size[1] - 1) / 2, (size[0] - 1) / 2


def _mirrored(upper: Pixels) -> Pixels:
    """The closed outline of a body whose upper edge is given, (N, 2) about y = 0."""
    return np.concatenate([upper, upper[::-1] * (1, -1)])


def bolt(rng: np.random.Generator, *, side: int, textures: Textures, shaft: float) -> Relief:
    """A hexagon bolt lying on its side; `shaft` is the thread's diameter as a share of the side."""
    length, head = rng.uniform(0.40, 0.47) * side, (0.105 * side, 0.235 * side)
    size = (int(head[1]) + 7, int(length + head[0]) + 7)
    middle, left = (size[0] - 1) / 2, 3.0
    rows = np.arange(size[0], dtype=np.float32)[:, None] - middle
    columns = np.arange(size[1], dtype=np.float32)[None, :]
    radius, end = shaft * side / 2, left + head[0] + length
    neck, tip = left + head[0], end - radius / 2
    box = np.array([(neck - 1, -radius), (tip, -radius), (end, -radius / 2)])
    thread = polygon(size, points=_mirrored(box) + np.array((0, middle)))
    chamfer = 0.02 * side
    corners = np.array([(neck, -head[1] / 2), (left + chamfer, -head[1] / 2), (left, -head[1] / 3)])
    cap = polygon(size, points=_mirrored(corners) + np.array((0, middle)))
    pitch = 0.030 * side
    wave = np.sin(2 * np.pi * (columns - rows * 0.12) / pitch)
    threaded = np.clip((columns - left - head[0] - 0.05 * side) / (0.02 * side), 0, 1)
    round_bar = np.sqrt(np.maximum(radius**2 - rows**2, 0.0)) + 0.22 * pitch * threaded * wave
    facets = 0.16 * side - np.maximum(np.abs(rows) - head[1] / 4, 0) * 0.85
    height = np.where(cap > 0.5, facets, round_bar * (thread > 0.01)).astype(np.float32)
    tone = matte(rng, size=size, textures=textures, tone=rng.uniform(0.54, 0.64))
    tone *= 1.0 - np.float32(0.22) * threaded * (0.5 - 0.5 * wave) * (cap < 0.5)
    tone *= 1.0 - 0.35 * np.exp(-(((columns - left - head[0]) / (0.008 * side)) ** 2)) * (cap < 0.5)
    alpha = np.maximum(thread, cap)
    height = cv2.GaussianBlur(height, (0, 0), max(0.0035 * side, 0.5))
    return Relief(albedo=metal(tone, tint=_ZINC), height=height, alpha=alpha, gloss=0.55, thickness=0.045)


def nut(rng: np.random.Generator, *, side: int, textures: Textures) -> Relief:
    """A hexagon nut with its chamfer circle and the thread seen down the hole."""
    outer, hole = 0.255 * side * rng.uniform(0.92, 1.06), 0.135 * side
    size = (int(2 * outer) + 7, int(2 * outer) + 7)
    turns = np.arange(6) * np.pi / 3
    hexagon = polygon(size, points=np.stack([np.cos(turns), np.sin(turns)], 1) * outer + _middle(size))
    chamfer = disc(size, centre=_middle(size), radius=outer * 0.875)
    height = bevel(hexagon, width=0.014 * side) + bevel(chamfer, width=0.03 * side)
    tone = matte(rng, size=size, textures=textures, tone=rng.uniform(0.54, 0.64))
    return _bored(metal(tone, tint=_ZINC), height=height, alpha=hexagon, hole=hole * 0.98, rings=3, thickness=0.05)


def washer(rng: np.random.Generator, *, side: int, textures: Textures) -> Relief:
    """A flat stamped ring."""
    outer = 0.245 * side * rng.uniform(0.92, 1.06)
    size = (int(2 * outer) + 7, int(2 * outer) + 7)
    ring = disc(size, centre=_middle(size), radius=outer)
    tone = brushed(rng, size=size, textures=textures, tone=rng.uniform(0.56, 0.66))
    height = bevel(ring, width=0.016 * side)
    hole = 0.135 * side
    return _bored(metal(tone, tint=_ZINC), height=height, alpha=ring, hole=hole, rings=0, thickness=0.018)


def _bored(albedo: Pixels, *, height: Pixels, alpha: Pixels, hole: float, rings: int, thickness: float) -> Relief:
    """The body with a round hole in its middle; `rings` turns of thread show inside a tapped one."""
    size = (alpha.shape[0], alpha.shape[1])
    middle = _middle(size)
    mouth = disc(size, centre=middle, radius=hole)
    height = height * (1.0 - mouth)
    for turn in range(rings):
        inner = disc(size, centre=middle, radius=hole * (0.97 - 0.09 * turn))
        albedo *= (1.0 - inner * (0.42 if turn % 2 == 0 else 0.0))[..., None]
        height -= np.float32(0.25 * hole / max(rings, 1)) * inner
    through = disc(size, centre=middle, radius=hole * (1.0 - 0.09 * rings))
    soft = cv2.GaussianBlur(height.astype(np.float32), (0, 0), max(hole * 0.045, 0.5))
    return Relief(albedo=albedo, height=soft, alpha=np.clip(alpha - through, 0, 1), gloss=0.5, thickness=thickness)


def gear(rng: np.random.Generator, *, side: int, textures: Textures, missing: int) -> Relief:
    """A spur gear with a recessed web and a keyed bore; `missing` teeth in a row are broken off."""
    n_teeth, outer, root = 14, 0.345 * side, 0.270 * side
    size = (int(2 * outer) + 7, int(2 * outer) + 7)
    middle = _middle(size)
    pitch = 2 * np.pi / n_teeth
    points = []
    for tooth in range(n_teeth):
        top = root + 0.010 * side * rng.uniform(0.2, 1.6) if tooth < missing else outer
        for share, radius in ((-0.30, root), (-0.17, top), (0.17, top), (0.30, root)):
            turn = (tooth + share) * pitch
            points.append((middle[0] + radius * np.cos(turn), middle[1] + radius * np.sin(turn)))
    body = polygon(size, points=np.asarray(points))
    web = disc(size, centre=middle, radius=0.215 * side) - disc(size, centre=middle, radius=0.125 * side)
    height = bevel(body, width=0.012 * side) - np.float32(0.020 * side) * cv2.GaussianBlur(web, (0, 0), 0.006 * side)
    tone = matte(rng, size=size, textures=textures, tone=rng.uniform(0.50, 0.60)) * (1.0 - 0.16 * web)
    key = np.array([(-0.02, 0.0), (0.02, 0.0), (0.02, 0.095), (-0.02, 0.095)]) * side + middle
    bore = np.maximum(disc(size, centre=middle, radius=0.072 * side), polygon(size, points=key))
    alpha = np.clip(body - bore, 0, 1)
    return Relief(albedo=metal(tone, tint=_STEEL), height=height, alpha=alpha, gloss=0.40, thickness=0.035)


def bearing(rng: np.random.Generator, *, side: int, textures: Textures) -> Relief:
    """A ball bearing: two bright races, a dark gap, the balls between them."""
    outer = 0.285 * side
    size = (int(2 * outer) + 7, int(2 * outer) + 7)
    middle = _middle(size)
    body, gap_out = disc(size, centre=middle, radius=outer), disc(size, centre=middle, radius=0.225 * side)
    gap_in = disc(size, centre=middle, radius=0.150 * side)
    gap = np.clip(gap_out - gap_in, 0, 1)
    height = bevel(body, width=0.012 * side) - np.float32(0.02 * side) * gap
    tone = brushed(rng, size=size, textures=textures, tone=0.64) * (1.0 - 0.72 * gap)
    start, radius = rng.uniform(0, np.pi), 0.032 * side
    for turn in start + np.arange(9) * 2 * np.pi / 9:
        at = (middle[0] + 0.1875 * side * np.cos(turn), middle[1] + 0.1875 * side * np.sin(turn))
        ball = disc(size, centre=at, radius=radius)
        tone = tone * (1.0 - ball) + np.float32(0.66) * ball
        height += bevel(ball, width=radius)
    alpha = np.clip(body - disc(size, centre=middle, radius=0.090 * side), 0, 1)
    return Relief(albedo=metal(tone, tint=_STEEL), height=height, alpha=alpha, gloss=0.6, thickness=0.045)


def spring(rng: np.random.Generator, *, side: int, textures: Textures) -> Relief:
    """A compression spring lying on its side: the front half of each turn crosses over the back half."""
    half, coils, wire = (0.31 * side, 0.105 * side), 9, 0.026 * side
    size = (int(2 * half[1] + 2 * wire) + 7, int(2 * half[0] + 2 * wire) + 7)
    middle = _middle(size)
    alpha, height = np.zeros(size, np.float32), np.zeros(size, np.float32)
    pitch = 2 * half[0] / coils
    for front in (False, True):
        for coil in range(coils):
            t = np.linspace(0, np.pi, 14)
            x = -half[0] + pitch * (coil + (t / np.pi) * 0.5 + (0.0 if front else 0.5))
            y = np.cos(t) * half[1] * (1 if front else -1)
            turn = polyline(size, points=np.stack([x, y], 1) + middle, width=wire)
            alpha = np.maximum(alpha, turn)
            height = np.where(turn > 0.5, bevel(turn, width=wire / 2) + (wire if front else 0.0), height)
    tone = matte(rng, size=size, textures=textures, tone=0.55) * (0.62 + 0.38 * np.clip(height / wire, 0, 1))
    soft = cv2.GaussianBlur(height.astype(np.float32), (0, 0), max(wire * 0.12, 0.5))
    return Relief(albedo=metal(tone, tint=_ZINC), height=soft, alpha=alpha, gloss=0.6, thickness=0.04)


def bottle_cap(rng: np.random.Generator, *, side: int, textures: Textures) -> Relief:
    """A knurled plastic screw cap with a raised rim."""
    outer, colours = 0.265 * side, ((0.62, 0.36, 0.10), (0.16, 0.18, 0.74), (0.82, 0.84, 0.84), (0.20, 0.55, 0.24))
    size = (int(2 * outer) + 7, int(2 * outer) + 7)
    middle = _middle(size)
    turns = np.linspace(0, 2 * np.pi, 217)[:-1]
    radius = outer * (1.0 - 0.018 * (np.arange(216) % 6 < 2))
    body = polygon(size, points=np.stack([np.cos(turns), np.sin(turns)], 1) * radius[:, None] + middle)
    face = disc(size, centre=middle, radius=0.215 * side)
    height = bevel(body, width=0.05 * side) - np.float32(0.010 * side) * cv2.GaussianBlur(face, (0, 0), 0.006 * side)
    colour = np.asarray(colours[int(rng.integers(len(colours)))], np.float32)
    tone = matte(rng, size=size, textures=textures, tone=1.0)
    return Relief(albedo=tone[..., None] * colour, height=height, alpha=body, gloss=0.30, thickness=0.06)
