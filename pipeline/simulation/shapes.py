"""Antialiased masks and bevels from which the parts are built."""

import cv2
import numpy as np

from pipeline.simulation.values import Pixels, Textures

_SHIFT = 4
_ONE = 1 << _SHIFT


def _fixed(values: Pixels) -> Pixels:
    return np.round(np.asarray(values, np.float32) * _ONE).astype(np.int32)


def polygon(size: tuple[int, int], *, points: Pixels) -> Pixels:
    """The filled polygon as a (h, w) mask in 0..1; `points` (N, 2) are x, y in pixels."""
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [_fixed(points)], 255, cv2.LINE_AA, _SHIFT)
    return mask.astype(np.float32) / np.float32(255)


def disc(size: tuple[int, int], *, centre: tuple[float, float], radius: float) -> Pixels:
    """The filled disc as a (h, w) mask in 0..1."""
    mask = np.zeros(size, np.uint8)
    middle = (round(centre[0] * _ONE), round(centre[1] * _ONE))
    cv2.circle(mask, middle, round(radius * _ONE), 255, -1, cv2.LINE_AA, _SHIFT)
    return mask.astype(np.float32) / np.float32(255)


def polyline(size: tuple[int, int], *, points: Pixels, width: float) -> Pixels:
    """An open line as a (h, w) mask in 0..1, thinner than a pixel where `width` says so."""
    mask = np.zeros(size, np.uint8)
    cv2.polylines(mask, [_fixed(points)], False, 255, max(round(width), 1), cv2.LINE_AA, _SHIFT)
    return mask.astype(np.float32) * np.float32(min(width, 1.0) / 255)


def rounded_rectangle(size: tuple[int, int], *, half: tuple[float, float], radius: float) -> Pixels:
    """A centred rectangle with round corners as a (h, w) mask in 0..1."""
    angles = np.linspace(0, np.pi / 2, 6)
    corners = []
    for quarter, (sign_x, sign_y) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        turned = angles + quarter * np.pi / 2
        corners.append(
            np.stack([np.cos(turned), np.sin(turned)], axis=1) * radius
            + (sign_x * (half[0] - radius), sign_y * (half[1] - radius))
        )
    middle = ((size[1] - 1) / 2, (size[0] - 1) / 2)
    return polygon(size, points=np.concatenate(corners) + middle)


def bevel(mask: Pixels, *, width: float) -> Pixels:
    """The height of a body whose edge rises over `width` pixels, rounded at the top."""
    inside = cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    rise = np.minimum(inside / np.float32(max(width, 1.0)), 1.0)
    return np.asarray(width * np.sqrt(np.maximum(1.0 - (1.0 - rise) ** 2, 0.0)), dtype=np.float32)


def cut(plane: Pixels, *, size: tuple[int, int], rng: np.random.Generator) -> Pixels:
    """A random (h, w) window of a texture."""
    top = int(rng.integers(max(plane.shape[0] - size[0], 0) + 1))
    left = int(rng.integers(max(plane.shape[1] - size[1], 0) + 1))
    return plane[top : top + size[0], left : left + size[1]]


def metal(tone: Pixels, *, tint: tuple[float, float, float]) -> Pixels:
    """A grey plane (h, w) as (h, w, 3) BGR of the metal's tint."""
    return cv2.merge([tone * np.float32(channel) for channel in tint])


def brushed(rng: np.random.Generator, *, size: tuple[int, int], textures: Textures, tone: float) -> Pixels:
    """The brightness of a brushed surface, (h, w) about `tone`."""
    return np.asarray(
        tone + 0.036 * cut(textures.streak, size=size, rng=rng) + 0.030 * cut(textures.cloud, size=size, rng=rng),
        dtype=np.float32,
    )


def matte(rng: np.random.Generator, *, size: tuple[int, int], textures: Textures, tone: float) -> Pixels:
    """The brightness of a cast or rolled surface, (h, w) about `tone`."""
    return np.asarray(
        tone + 0.022 * cut(textures.grain, size=size, rng=rng) + 0.035 * cut(textures.cloud, size=size, rng=rng),
        dtype=np.float32,
    )
