"""Rendered frames for training and for measuring, at the model's side."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.simulation.line import draw_scene
from pipeline.simulation.parts import CLASSES
from pipeline.simulation.render import render_scene
from pipeline.simulation.style import build_stage

SIDES = (160, 192, 224, 320)
"""Frame sides a line may have; the demo's cameras are larger, and shrinking hides what differs."""

TRAINING_SEEDS = range(0, 1000)
FRESH_SEEDS = range(10_000, 1_000_000)
"""Lines of the demo and of every measurement: none of their seeds is a training seed."""


@dataclass(frozen=True, slots=True)
class Renders:
    """N frames at the model's side with what is known of them; `images` (N, S, S, 3) uint8 RGB."""

    images: NDArray[np.uint8]
    parts: tuple[str, ...]
    belts: tuple[str, ...]
    gains: tuple[float, ...]


def shrink(frame: NDArray[np.uint8], *, side: int) -> NDArray[np.uint8]:
    """A BGR frame's centred square as (side, side, 3) RGB, bicubic with antialias as the pipeline does it."""
    edge = min(frame.shape[:2])
    top, left = (frame.shape[0] - edge) // 2, (frame.shape[1] - edge) // 2
    square = cv2.cvtColor(frame[top : top + edge, left : left + edge], cv2.COLOR_BGR2RGB)
    pixels = torch.from_numpy(np.asarray(square)).permute(2, 0, 1)[None]  # (1, 3, edge, edge)
    small = torch.nn.functional.interpolate(pixels, size=(side, side), mode="bicubic", antialias=True)
    return np.ascontiguousarray(small[0].permute(1, 2, 0).numpy())


def render_set(
    seeds: Iterable[int], *, per_class: int, side: int, classes: Sequence[str] = CLASSES, first_index: int = 0
) -> Renders:
    """`per_class` frames of each class from every line in `seeds`."""
    images: list[NDArray[np.uint8]] = []
    parts: list[str] = []
    belts: list[str] = []
    gains: list[float] = []
    for seed in seeds:
        edge = SIDES[int(np.random.default_rng((seed, 21)).integers(len(SIDES)))]
        stage = build_stage(seed, width=edge, height=edge)
        for number in range(per_class * len(classes)):
            scene = draw_scene(classes[number % len(classes)], seed=(seed,), index=first_index + number)
            images.append(shrink(render_scene(scene, stage=stage), side=side))
            parts.append(scene.part)
            belts.append(stage.style.belt_name)
            gains.append(scene.gain * stage.style.gain)
    return Renders(images=np.stack(images), parts=tuple(parts), belts=tuple(belts), gains=tuple(gains))
