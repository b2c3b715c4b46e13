"""Parts of the simulated line as the shipped encoder sees them: encoded once, drawn again and again.

What thousands of parts are needed for would take hours at the speed of rendering. The loop, its fits, its gate and its
files are the real ones; only rendering and encoding are not repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.encoders.build import EncoderBundle
from pipeline.preprocess import Preprocessor
from pipeline.simulation.disturbances import Disturbance
from pipeline.types import Batch, Float32Array, Roi
from tests.adaptation.streams import NONE, Drift
from tests.making import make_ref
from tests.workers.adaptation.world import Setting
from workers.commands.demo import SHIPPED
from workers.commands.drift_demo_line import Pictures, render
from workers.config.line import load_config
from workers.opening.line import open_encoder

N_PICTURES = 2_000  # of the healthy line, and as many blurred
SHOTS = 8
ENCODED_BLUR = Drift(blur=0.5)  # the simulator's strength


@dataclass(frozen=True, eq=False)
class Bank:
    """(N, D) unit rows and their classes; the first half is the stream, the other judges."""

    embeddings: Float32Array
    labels: np.ndarray

    def half(self, number: int) -> Bank:
        middle = len(self.labels) // 2
        rows = slice(middle, None) if number else slice(0, middle)
        return Bank(self.embeddings[rows], self.labels[rows])


class EncodedStream:
    """Draws at random; a branch draws from the half that nothing was learned from."""

    def __init__(self, healthy: Bank, blurred: Bank, *, seed: int, judging: bool = False) -> None:
        self._banks = healthy, blurred
        self._seed, self._half = seed, int(judging)
        self._rng = np.random.default_rng((seed, self._half))

    def parts(self, n: int, *, drift: Drift = NONE) -> tuple[Any, Any, Any]:
        bank = self._banks[int(drift.blur > 0.0)].half(self._half)
        rows = self._rng.integers(0, len(bank.labels), n)
        return bank.embeddings[rows].astype(np.float16), None, bank.labels[rows]

    def branch(self, number: int) -> EncodedStream:
        return EncodedStream(*self._banks, seed=self._seed + number, judging=True)

    def shots(self, n: int, *, rng: np.random.Generator) -> tuple[Any, Any]:
        bank = self._banks[0].half(0)
        rows = [rng.choice(np.flatnonzero(bank.labels == label), n, replace=False) for label in np.unique(bank.labels)]
        return bank.embeddings[np.concatenate(rows)], bank.labels[np.concatenate(rows)]


def encoded_setting(say: Callable[[str], None], *, n: int = N_PICTURES) -> Setting:
    """Renders and encodes both banks; about a minute."""
    config = load_config(SHIPPED)
    encoder = open_encoder(config)
    say(f"rendering and encoding {2 * n} pictures")
    healthy = render(n, seed=0)
    blurred = render(n, seed=100_000, disturbances=[Disturbance("blur", strength=0.5, ramp_s=0.0)])
    classes = tuple(sorted(set(healthy.truths)))
    banks = [_encoded(one, classes=classes, encoder=encoder) for one in (healthy, blurred)]
    good = tuple(name for name in config.decision.good_classes if name in classes)
    return Setting(classes, good, encoder.image.info, lambda seed: EncodedStream(*banks, seed=seed), shots=SHOTS)


def _encoded(pictures: Pictures, *, classes: Sequence[str], encoder: EncoderBundle) -> Bank:
    cut, size = Preprocessor(encoder.image.info, Roi()), encoder.ladder[-1]
    rows = []
    for start in range(0, len(pictures.images), size):
        cuts = np.stack([cut(one) for one in pictures.images[start : start + size]])
        n = len(cuts)
        pixels = np.concatenate([cuts, np.zeros((size - n, *cuts.shape[1:]), np.uint8)])
        batch = Batch(pixels, tuple(make_ref(sequence=i) for i in range(n)), (None,) * n, 0.0, 0)
        rows.append(encoder.image.encode(batch).image[:n].copy())
    labels = np.array([classes.index(name) for name in pictures.truths])
    return Bank(np.concatenate(rows).astype(np.float32), labels)
