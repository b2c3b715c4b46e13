"""What a reference belongs to: a changeover of any of it is another context, not a drift."""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass

KEY_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class Context:
    """Camera, region, product and everything that decides the numbers that the charts see."""

    source: str
    roi: str
    product: str
    encoder_sha256: str
    preprocessing_sha256: str
    head_version: int

    @property
    def key(self) -> str:
        """Short and the same for ever: a file name."""
        return hashlib.sha256(repr(astuple(self)).encode()).hexdigest()[:KEY_CHARACTERS]
