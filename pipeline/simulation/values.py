"""The simulator's values: a rendered frame, the scene behind it, and the relief of one part before any light."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Pixels = NDArray[Any]


@dataclass(frozen=True, slots=True)
class SimulatedFrame:
    """One picture of the line: `image` is (H, W, 3) uint8 BGR, `truth` the class that really lies on the belt."""

    image: Pixels
    truth: str
    index: int
    disturbances: tuple[str, ...]
    part: int | None = None  # the running number of the part, where several pictures are taken of each


@dataclass(frozen=True, slots=True)
class Scene:
    """What one frame shows, drawn before a pixel is: lengths are shares of the frame's shorter side."""

    index: int
    part: str
    centre: tuple[float, float]
    angle_deg: float
    scale: float
    gain: float
    motion: float
    seed: tuple[int, ...]
    view: int = 0  # which picture of the same part
    moved: float = 0.0  # how far belt and part have gone on since it was drawn


@dataclass(frozen=True, slots=True)
class Relief:
    """One part seen from above, upright, before light falls on it.

    `albedo` (h, w, 3) float32 BGR in 0..1, `height` (h, w) float32 in pixels, `alpha` (h, w) float32 in 0..1,
    `gloss` how much of the lamp it mirrors, `thickness` how far it throws its shadow, as a share of the side.
    """

    albedo: Pixels
    height: Pixels
    alpha: Pixels
    gloss: float
    thickness: float


@dataclass(frozen=True, slots=True)
class Textures:
    """Surface patterns of one line, zero mean and unit spread: `streak` brushed metal, `cloud` slow, `grain` fine."""

    streak: Pixels
    cloud: Pixels
    grain: Pixels
