"""The classes of the line: one drawing function each, and which of them no model has seen."""

from collections.abc import Callable

import numpy as np

from pipeline.simulation import plates, turned
from pipeline.simulation.values import Relief, Textures

EMPTY = "empty_belt"
CLASSES: tuple[str, ...] = (
    "clean_plate",
    "scratched_plate",
    "dented_plate",
    "stained_plate",
    "slim_bolt",
    "thick_bolt",
    "labelled_carton",
    "crooked_label",
    "gear",
    "broken_gear",
    "washer",
    "nut",
    "bottle_cap",
    EMPTY,
)
"""What the line makes; the demo's encoder was trained on these."""

NOVEL_CLASSES: tuple[str, ...] = ("spring", "bearing")
"""Parts that belong to another line; no training picture or caption holds one."""

LOOK_ALIKES: tuple[tuple[str, str], ...] = (
    ("clean_plate", "scratched_plate"),
    ("dented_plate", "stained_plate"),
    ("slim_bolt", "thick_bolt"),
    ("labelled_carton", "crooked_label"),
    ("gear", "broken_gear"),
    ("washer", "nut"),
)

Draw = Callable[[np.random.Generator, int, Textures], Relief]


def _crooked(rng: np.random.Generator) -> float:
    return float(rng.choice([-1.0, 1.0]) * rng.uniform(20, 40))


_DRAW: dict[str, Draw] = {
    "clean_plate": lambda rng, side, tex: plates.plate(rng, side=side, textures=tex, defect=None),
    "scratched_plate": lambda rng, side, tex: plates.plate(rng, side=side, textures=tex, defect="scratch"),
    "dented_plate": lambda rng, side, tex: plates.plate(rng, side=side, textures=tex, defect="dent"),
    "stained_plate": lambda rng, side, tex: plates.plate(rng, side=side, textures=tex, defect="stain"),
    "slim_bolt": lambda rng, side, tex: turned.bolt(rng, side=side, textures=tex, shaft=0.088),
    "thick_bolt": lambda rng, side, tex: turned.bolt(rng, side=side, textures=tex, shaft=0.132),
    "labelled_carton": lambda rng, side, tex: plates.carton(
        rng, side=side, textures=tex, label_deg=float(rng.uniform(-3, 3))
    ),
    "crooked_label": lambda rng, side, tex: plates.carton(rng, side=side, textures=tex, label_deg=_crooked(rng)),
    "gear": lambda rng, side, tex: turned.gear(rng, side=side, textures=tex, missing=0),
    "broken_gear": lambda rng, side, tex: turned.gear(rng, side=side, textures=tex, missing=int(rng.integers(2, 4))),
    "washer": lambda rng, side, tex: turned.washer(rng, side=side, textures=tex),
    "nut": lambda rng, side, tex: turned.nut(rng, side=side, textures=tex),
    "bottle_cap": lambda rng, side, tex: turned.bottle_cap(rng, side=side, textures=tex),
    "spring": lambda rng, side, tex: turned.spring(rng, side=side, textures=tex),
    "bearing": lambda rng, side, tex: turned.bearing(rng, side=side, textures=tex),
}


def draw_part(part: str, *, rng: np.random.Generator, side: int, textures: Textures) -> Relief | None:
    """The relief of one part for frames whose shorter side is `side`, None for the empty belt."""
    return None if part == EMPTY else _DRAW[part](rng, side, textures)
