"""Folders of small labelled pictures that a fake encoder can tell apart."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

CLASSES = ("dent", "ok", "scratch")


def write_folder(root: Path, *, per_class: int = 4, classes: tuple[str, ...] = CLASSES, side: int = 12) -> Path:
    """One PNG per image: the class's own pattern and some noise."""
    for i, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        pattern = np.random.default_rng(i).integers(0, 200, size=(side, side, 3))
        for j in range(per_class):
            noise = np.random.default_rng((i, j)).integers(0, 55, size=(side, side, 3))
            cv2.imwrite(str(root / name / f"{name}-{j:03d}.png"), (pattern + noise).astype(np.uint8))
    return root
