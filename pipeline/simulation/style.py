"""What makes one production line look unlike the next: its belt, lamp, lens and sensor, drawn from the line's seed."""

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.simulation.textures import BELTS, belt_loop, cloud, link_width, part_textures
from pipeline.simulation.values import Pixels, Textures


@dataclass(frozen=True, slots=True)
class LineStyle:
    """The fixed traits of a line; `azimuth` of the lamp in radians, `lift` the sine of its elevation."""

    belt: int
    azimuth: float
    lift: float
    gain: float
    white_balance: tuple[float, float, float]
    vignette: float
    falloff: float
    rails: bool
    noise: float
    softness: float
    travel: float

    @property
    def belt_name(self) -> str:
        """The belt's colour in words."""
        return BELTS[self.belt][0]


@dataclass(frozen=True, slots=True)
class Stage:
    """A line made ready to render at one size: all that does not change from frame to frame."""

    style: LineStyle
    height: int
    width: int
    belt: Pixels  # (H, period + W, 3) uint8
    light: Pixels  # (H, W, 3) float32
    noise: Pixels  # (H + margin, W + margin, 3) float32
    textures: Textures
    rails: tuple[Pixels, Pixels] | None  # (h, W, 3) uint8 at the top and the bottom

    @property
    def side(self) -> int:
        """The frame's shorter side in pixels, the unit of every length in a scene."""
        return min(self.height, self.width)


def draw_style(seed: int) -> LineStyle:
    """The traits of line `seed`."""
    rng = np.random.default_rng((seed, 11))
    warmth = rng.normal(0, 0.03)
    return LineStyle(
        belt=int(rng.integers(len(BELTS))),
        azimuth=float(rng.uniform(0, 2 * np.pi)),
        lift=float(rng.uniform(0.66, 0.86)),
        gain=float(rng.uniform(0.84, 1.16)),
        white_balance=(1.0 - warmth, 1.0 + float(rng.normal(0, 0.012)), 1.0 + warmth),
        vignette=float(rng.uniform(0.08, 0.30)),
        falloff=float(rng.uniform(0.03, 0.20)),
        rails=bool(rng.random() < 0.55),
        noise=float(rng.uniform(1.6, 4.2)),
        softness=float(rng.uniform(0.0007, 0.0018)),
        travel=float(rng.uniform(0.55, 0.95)),
    )


def _period(width: int, *, side: int) -> int:
    link = link_width(side)
    return -(-max(width, int(1.5 * side)) // link) * link


def build_stage(seed: int, *, width: int, height: int) -> Stage:
    """Everything a line of this size needs before its first frame."""
    style = draw_style(seed)
    rng = np.random.default_rng((seed, 12))
    side, margin = min(width, height), 48
    noise = rng.standard_normal((height + margin, width + margin, 3), dtype=np.float32)
    noise = 0.8 * noise[..., :1] + 0.6 * noise
    noise += 0.18 * rng.standard_normal((1, width + margin, 1), dtype=np.float32)  # a sensor's columns differ
    return Stage(
        style=style,
        height=height,
        width=width,
        belt=belt_loop(rng, belt=style.belt, height=height, width=width, period=_period(width, side=side)),
        light=_light(rng, style=style, height=height, width=width),
        noise=np.ascontiguousarray(noise, dtype=np.float32),
        textures=part_textures(rng, side=side),
        rails=_rails(rng, height=height, width=width) if style.rails else None,
    )


def _light(rng: np.random.Generator, *, style: LineStyle, height: int, width: int) -> Pixels:
    """How much light reaches each pixel: the lamp's falloff, the lens's vignette, a little unevenness."""
    side = min(height, width)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = (x - width / 2) / (side / 2), (y - height / 2) / (side / 2)
    falloff = 1.0 + style.falloff * (x * np.cos(style.azimuth) + y * np.sin(style.azimuth))
    # cos^4 would darken the far corners of a wide frame to black: a real lens is stopped down.
    vignette = 1.0 - style.vignette * np.minimum((x**2 + y**2) / 2, 1.8)
    plane = np.clip(falloff, 0.4, 1.7) * vignette * (1.0 + 0.025 * cloud(rng, height=height, width=width, cells=3))
    return np.asarray(
        plane[..., None] * np.asarray(style.white_balance, np.float32) * np.float32(style.gain), dtype=np.float32
    )


# a rail's brightness from its outer edge (0) to the belt (1)
_RAIL_PROFILE = (
    (0, 0.50),
    (0.35, 0.58),
    (0.42, 0.30),
    (0.5, 0.28),
    (0.58, 0.62),
    (0.86, 0.72),
    (0.93, 0.5),
    (1.0, 0.2),
)


def _rails(rng: np.random.Generator, *, height: int, width: int) -> tuple[Pixels, Pixels]:
    """Extruded guide rails along both edges of the belt: a bright lip, a groove, a rolled surface."""
    deep = max(int(min(height, width) * rng.uniform(0.035, 0.06)), 4)
    across, tones = zip(*_RAIL_PROFILE, strict=True)
    profile = np.interp(np.linspace(0, 1, deep), across, tones).astype(np.float32)
    colour = np.asarray((1.0, 0.99, 0.98) if rng.random() < 0.7 else (0.25, 0.78, 0.95), np.float32)
    streak = 1.0 + 0.04 * cv2.blur(rng.standard_normal((deep, width), dtype=np.float32), (41, 1)) * 4
    top = np.clip(profile[:, None, None] * streak[..., None] * colour * 255, 0, 255).astype(np.uint8)
    return top, np.ascontiguousarray(top[::-1])
