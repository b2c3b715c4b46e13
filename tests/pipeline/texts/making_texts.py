"""Small dictionaries and a text tower that embeds words, for the tests of the text dictionary."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.heads.coder.coding import unit
from pipeline.texts.dictionary import TextDictionary, load_dictionary

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "configs" / "texts"

SMALL = """
schema_version: 1
line: small
language: en
templates: ["a photo of a {}.", "an image of a {}."]
classes:
  ok:
    name: "clean plate"
    attributes: ["an even face", "sharp edges", "one plain shade"]
  scratched:
    name: "scratched plate"
    synonyms:
      - "scored plate"
      - {text: "傷", language: ja, status: draft}
    attributes:
      - "a thin line"
      - {text: "a bright groove", provenance: llm, status: active}
      - {text: "an old word", status: retired}
      - "a long mark"
    analogous: ["a skate mark on ice"]
    one_to_one:
      ok: ["a line across the face"]
"""


def write(folder: Path, *, text: str = SMALL) -> Path:
    path = folder / "small.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def small(folder: Path, *, text: str = SMALL) -> TextDictionary:
    return load_dictionary(write(folder, text=text))


class WordTower:
    """Embeds a sentence as the sum of its words' own directions, so that shared words make texts alike."""

    logit_scale = 100.0

    def __init__(self, *, dim: int = 64) -> None:
        self._dim = dim
        self.asked: list[str] = []

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        return np.stack([self._sentence(text) for text in texts]).astype(np.float32)

    def _sentence(self, text: str) -> np.ndarray:
        words = re.findall(r"\w+", text.casefold())
        return unit(sum((self.word(word) for word in words), np.zeros(self._dim))[None])[0]

    def word(self, word: str) -> np.ndarray:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
        return np.random.default_rng(seed).normal(size=self._dim)
