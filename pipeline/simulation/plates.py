"""Machined plates, sound and with the three defects an inspector looks for, and cartons with their label."""

import cv2
import numpy as np

from pipeline.simulation.shapes import bevel, brushed, cut, disc, metal, polyline, rounded_rectangle
from pipeline.simulation.values import Pixels, Relief, Textures

_ALUMINIUM = (1.0, 0.995, 0.985)
_BROWN = np.asarray((0.16, 0.27, 0.40), np.float32)
_CARDBOARD = np.asarray((0.40, 0.58, 0.74), np.float32)
_HEADERS = ((0.16, 0.16, 0.72), (0.62, 0.34, 0.10), (0.22, 0.52, 0.16), (0.12, 0.12, 0.12))


def plate(rng: np.random.Generator, *, side: int, textures: Textures, defect: str | None) -> Relief:
    """A brushed plate with four holes; `defect` is None, "scratch", "dent" or "stain"."""
    half = (0.335 * side, 0.245 * side)
    size = (int(2 * half[1]) + 7, int(2 * half[0]) + 7)
    alpha = rounded_rectangle(size, half=half, radius=0.035 * side)
    middle = ((size[1] - 1) / 2, (size[0] - 1) / 2)
    for sign_x, sign_y in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        at = (middle[0] + sign_x * (half[0] - 0.055 * side), middle[1] + sign_y * (half[1] - 0.055 * side))
        alpha -= disc(size, centre=at, radius=0.024 * side)
    alpha = np.clip(alpha, 0, 1)
    height = bevel(alpha, width=0.010 * side)
    albedo = metal(brushed(rng, size=size, textures=textures, tone=rng.uniform(0.56, 0.68)), tint=_ALUMINIUM)
    if defect == "scratch":
        _scratch(rng, side=side, albedo=albedo, height=height)
    elif defect == "dent":
        _dent(rng, side=side, albedo=albedo, height=height)
    elif defect == "stain":
        _stain(rng, side=side, albedo=albedo, textures=textures)
    return Relief(albedo=albedo, height=height, alpha=alpha, gloss=0.42, thickness=0.016)


def _defect_at(rng: np.random.Generator, *, size: tuple[int, ...]) -> tuple[float, float]:
    return size[1] * rng.uniform(0.32, 0.68), size[0] * rng.uniform(0.32, 0.68)


def _scratch(rng: np.random.Generator, *, side: int, albedo: Pixels, height: Pixels) -> None:
    """A hairline with a bright burr beside it, at any angle but along the brushing, where nobody would see it."""
    x, y = _defect_at(rng, size=height.shape)
    angle = rng.uniform(0.25, np.pi - 0.25)
    along = np.linspace(-0.5, 0.5, 12) * side * rng.uniform(0.24, 0.36)
    bow = rng.uniform(-0.9, 0.9) * along**2 / side
    right, down = np.cos(angle), np.sin(angle)
    points = np.stack([x + along * right - bow * down, y + along * down + bow * right], 1)
    points += rng.normal(0, 0.0012 * side, points.shape)
    size = (height.shape[0], height.shape[1])
    groove, burr = np.zeros(size, np.float32), np.zeros(size, np.float32)
    width = side * rng.uniform(0.0060, 0.0090)
    for start, force in enumerate((0.45, 0.8, 1, 1, 1, 1, 1, 1, 0.9, 0.7, 0.4)):  # the tool bites and lifts off again
        pair = points[start : start + 2]
        groove = np.maximum(groove, force * polyline(size, points=pair, width=width * (0.4 + 0.6 * force)))
        burr = np.maximum(burr, force * polyline(size, points=pair + 0.005 * side, width=side * 0.004))
    height -= np.float32(0.004 * side) * groove
    albedo *= (1.0 - 0.58 * groove)[..., None]
    albedo += (0.24 * burr)[..., None]


def _dent(rng: np.random.Generator, *, side: int, albedo: Pixels, height: Pixels) -> None:
    """A hollow: no colour of its own, only its slopes turn towards the lamp and away from it."""
    x, y = _defect_at(rng, size=height.shape)
    wide, tall = side * rng.uniform(0.040, 0.062, 2)
    rows, columns = np.ogrid[0 : height.shape[0], 0 : height.shape[1]]
    bowl = np.exp(-0.5 * (((columns - x) / wide) ** 2 + ((rows - y) / tall) ** 2)).astype(np.float32)
    height -= np.float32(rng.uniform(0.46, 0.62) * min(wide, tall)) * bowl
    albedo *= (1.0 - 0.10 * bowl)[..., None]


def _stain(rng: np.random.Generator, *, side: int, albedo: Pixels, textures: Textures) -> None:
    """A dried splash: flat, brownish, darker at its rim."""
    size = (albedo.shape[0], albedo.shape[1])
    x, y = _defect_at(rng, size=size)
    wide, tall = side * rng.uniform(0.060, 0.095, 2)
    rows, columns = np.ogrid[0 : size[0], 0 : size[1]]
    reach = np.sqrt(((columns - x) / wide) ** 2 + ((rows - y) / tall) ** 2).astype(np.float32)
    reach += 0.18 * cut(textures.cloud, size=size, rng=rng)
    body = np.clip((1.0 - reach) * 5.0, 0, 1)
    rim = np.exp(-(((reach - 0.88) / 0.10) ** 2))
    share = np.clip(rng.uniform(0.42, 0.60) * body + 0.16 * rim, 0, 0.8)[..., None]
    albedo *= 1.0 - share
    albedo += share * _BROWN


def carton(rng: np.random.Generator, *, side: int, textures: Textures, label_deg: float) -> Relief:
    """A taped carton whose shipping label is turned by `label_deg` degrees."""
    half = (0.36 * side * rng.uniform(0.96, 1.04), 0.27 * side * rng.uniform(0.96, 1.04))
    size = (int(2 * half[1]) + 7, int(2 * half[0]) + 7)
    alpha = rounded_rectangle(size, half=half, radius=0.012 * side)
    tone = 1.0 + 0.035 * cut(textures.cloud, size=size, rng=rng) + 0.025 * cut(textures.streak, size=size, rng=rng)
    albedo = tone[..., None] * (_CARDBOARD * rng.uniform(0.88, 1.04, 3).astype(np.float32))
    height = bevel(alpha, width=0.014 * side)
    _tape(rng, side=side, albedo=albedo, height=height)
    label = _label(rng, side=side)
    middle = (size[1] / 2 + side * rng.uniform(0.05, 0.11), size[0] / 2 + side * rng.uniform(0.02, 0.07))
    _paste(label, onto=albedo, at=middle, angle_deg=label_deg)
    return Relief(albedo=albedo, height=height, alpha=alpha, gloss=0.06, thickness=0.055)


def _tape(rng: np.random.Generator, *, side: int, albedo: Pixels, height: Pixels) -> None:
    """Clear tape over the seam between the flaps, along the carton."""
    middle = int(height.shape[0] * rng.uniform(0.36, 0.42))
    reach = int(0.042 * side)
    albedo[middle - reach : middle + reach] *= np.float32(1.07)
    albedo[middle - reach : middle + reach] += np.float32(0.03)
    seam = max(int(0.006 * side), 1)
    albedo[middle : middle + seam] *= np.float32(0.62)
    height[middle - reach : middle + reach] += np.float32(0.004 * side)


def _label(rng: np.random.Generator, *, side: int) -> Pixels:
    """A printed label: coloured head, address lines, bar code; (h, w, 3) float32."""
    h, w = int(0.21 * side), int(0.30 * side)
    label = np.full((h, w, 3), 0.93, np.float32)
    label[: int(0.24 * h)] = _HEADERS[int(rng.integers(len(_HEADERS)))]
    for row in range(4):
        top = int((0.34 + 0.15 * row) * h)
        label[top : top + max(int(0.06 * h), 1), int(0.07 * w) : int(rng.uniform(0.30, 0.46) * w)] = 0.22
    left = 0.54 * w
    while left < 0.92 * w:
        bar = max(rng.integers(1, 4) * 0.013 * w, 1)
        label[int(0.34 * h) : int(0.88 * h), int(left) : int(left + bar)] = 0.08
        left += bar + max(rng.integers(1, 3) * 0.016 * w, 1)
    return label


def _paste(label: Pixels, *, onto: Pixels, at: tuple[float, float], angle_deg: float) -> None:
    h, w = label.shape[:2]
    turn = cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), angle_deg, 1.0)
    turn[:, 2] += (at[0] - w / 2, at[1] - h / 2)
    size = (onto.shape[1], onto.shape[0])
    mask = cv2.warpAffine(np.ones((h, w), np.float32), turn, size, flags=cv2.INTER_LINEAR)[..., None]
    onto *= 1.0 - mask
    onto += cv2.warpAffine(label, turn, size, flags=cv2.INTER_LINEAR)
