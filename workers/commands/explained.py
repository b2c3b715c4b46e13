"""An explanation with what it is of, and how its figures are written; for the terminal and for the picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from pipeline.errors import DataError
from pipeline.explain import Explanation
from pipeline.types import UInt8Array

if TYPE_CHECKING:
    from pipeline.heads.bundles.evidence import Evidence
    from pipeline.heads.fitted import AnyHead


BY_LIKENESS = "what the labelled images taught is shared out among them by likeness to the picture"


MAX_CLASSES = 8  # shown with what was taken off them


@dataclass(frozen=True, eq=False)
class OpenedHead:
    """A head with what explains it; version 0 and the dictionary's SHA-256 where the texts alone decide."""

    head: AnyHead
    temperature: float
    evidence: Evidence
    version: int
    sha256: str


@dataclass(frozen=True, eq=False)
class Explained:
    """What `explain_file` found."""

    file: Path
    region: UInt8Array  # (H, W, 3) BGR, what the line would look at
    head: str
    opened: OpenedHead
    encoder: str
    explanation: Explanation


def read_picture(file: Path) -> UInt8Array:
    """(H, W, 3) BGR. Raises DataError."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: expected a readable picture, got: {error.strerror}; check the path") from error
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    if image is None:
        got = f"{len(content)} bytes that cannot be decoded"
        raise DataError(f"{file}: expected a picture, got {got}; name a PNG or JPEG of the line")
    return np.asarray(image, np.uint8)


def shown_confusion(why: Explanation) -> list[tuple[str, float]]:
    """Winner, rival, then the classes that changed most."""
    first = [(name, why.confusion[name]) for name in (why.winner, why.rival)]
    others = sorted((item for item in why.confusion.items() if item not in first), key=lambda item: -abs(item[1]))
    return [*first, *others][:MAX_CLASSES]


def signed(logits: float) -> str:
    """Two digits and a sign, never -0.00."""
    return f"{round(logits, 2) + 0.0:+.2f}"
