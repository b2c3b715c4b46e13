"""From parts to blocks: cheap numbers of a part's residual to its predicted class, summed exactly.

Sums are of integers, so the order of the parts within a block, and how they were batched, cannot change a chart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import DataError
from pipeline.types import Float32Array

Float64Array = npt.NDArray[np.float64]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

CHARTS = ("location", "dispersion", "novelty", "mix", "confidence")
N_RESIDUAL = 64  # principal directions whose length is the dispersion
N_LOCATION = 32  # of them, those whose block mean is the location
MAX_MIX = 31  # predicted classes with a column of their own, the most frequent; all others share the last
STEPS_PER_UNIT = 65_536.0  # of the fixed-point sums
MAX_DEVIATION = 100.0  # standard deviations; beyond, a part counts as this far
MAX_BLOCK = 256  # parts; keeps MAX_DEVIATION of each of them within 32 bits
ANSCOMBE = 0.375
STEPS_OF_UNITY = 4_096  # whole steps of an embedding's length
COLUMN_LENGTH = 4_000.0  # of the basis; times the above and a little slack below 2^24, where float32 ends being exact
SMALLEST_SQUARE = 1e-6  # of a residual's length, before the logarithm


@dataclass(frozen=True, slots=True, eq=False)
class PartSums:
    """What one part, or the parts of a block, add up to."""

    smooth: Int32Array  # (..., L + 2): location, dispersion, confidence; in 1 / STEPS_PER_UNIT
    far: Int32Array  # (...,): parts beyond the far quantile
    mix: Int32Array  # (..., M): predicted classes by column


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """The fitted view of a part: whitened residual to the mean of its predicted class."""

    basis: Float32Array  # (D, R), principal directions of residuals in whole numbers
    scales: Float32Array  # (R,) that make their deviations one
    centres: Float32Array  # (C, R), class means in these coordinates
    far: float  # log squared length that 1 % of parts exceed
    columns: Int64Array  # (C,) column of the mix chart, -1 for the most frequent class, which follows from the rest

    @property
    def n_location(self) -> int:
        """L."""
        return min(N_LOCATION, int(self.basis.shape[1]))

    @property
    def n_mix(self) -> int:
        """M."""
        return int(self.columns.max()) + 1

    @property
    def widths(self) -> tuple[int, ...]:
        """Numbers per block of each chart, in the order of CHARTS."""
        return (self.n_location, 1, 1, self.n_mix, 1)

    def check(self, embeddings: npt.NDArray[np.floating], *, probabilities: Float32Array) -> None:
        """Raises DataError for shapes of another encoder or head."""
        want = (self.basis.shape[0], self.centres.shape[0])
        got = (embeddings.shape[-1], probabilities.shape[-1])
        if want != got or len(embeddings) != len(probabilities) or embeddings.ndim != 2:
            shapes = f"{embeddings.shape} and {probabilities.shape}"
            raise DataError(
                f"drift charts: expected embeddings (n, {want[0]}) and probabilities (n, {want[1]}), got {shapes}; "
                "fit a reference for this encoder and head"
            )

    def log_distances(self, embeddings: npt.NDArray[np.floating], *, predicted: Int64Array) -> Float32Array:
        """(N, D) -> (N,) log squared length of the whitened residual."""
        return _log_square(self._residuals(embeddings, predicted))

    def sums(
        self, embeddings: npt.NDArray[np.floating], *, probabilities: Float32Array, starts: Int64Array
    ) -> PartSums:
        """Sums over the parts from each start to the next; rows must be finite."""
        predicted = probabilities.argmax(axis=1)
        z = self._residuals(embeddings, predicted)
        distance = _log_square(z)
        L, M, n = self.n_location, self.n_mix, len(z)
        smooth = np.empty((n, L + 2), np.float32)
        smooth[:, :L] = z[:, :L]
        smooth[:, L] = distance
        smooth[:, L + 1] = probabilities[np.arange(n), predicted]
        np.clip(smooth, -MAX_DEVIATION, MAX_DEVIATION, out=smooth)
        smooth *= np.float32(STEPS_PER_UNIT)
        np.rint(smooth, out=smooth)
        group = np.repeat(np.arange(len(starts)), np.diff(starts, append=n))
        mix = np.bincount(group * (M + 1) + self.columns[predicted] + 1, minlength=len(starts) * (M + 1))
        return PartSums(
            smooth=np.add.reduceat(smooth.astype(np.int32), starts, axis=0),
            far=np.add.reduceat((distance > self.far).astype(np.int32), starts),
            mix=mix.reshape(len(starts), M + 1)[:, 1:].astype(np.int32),
        )

    def _residuals(self, embeddings: npt.NDArray[np.floating], predicted: Int64Array) -> Float32Array:
        """(N, D) -> (N, R), each row the same to the last bit in any batch, at any place, on any machine.

        Both factors are whole numbers whose products, by Cauchy and Schwarz, never add up to more than float32 holds
        exactly: so the order in which a BLAS adds cannot matter. The rounding is 0.5 % of the parts' own scatter.
        """
        x = np.multiply(embeddings, np.float32(STEPS_OF_UNITY), dtype=np.float32)
        np.rint(x, out=x)
        z: Float32Array = x @ self.basis
        z *= self.scales
        z -= self.centres[predicted]
        return z

    def block_numbers(self, sums: PartSums, *, block: int) -> Float64Array:
        """(..., V) numbers of finished blocks, V the sum of `widths`.

        Class counts under a square root (Anscombe, 1948): one long run of a rare class fills a block, and under the
        root it counts little more than a short one. Far parts are counted plainly: a run of them is the news.
        """
        L = self.n_location
        means = sums.smooth / (block * STEPS_PER_UNIT)
        mix = 2.0 * np.sqrt(sums.mix + ANSCOMBE)
        return np.concatenate([means[..., : L + 1], sums.far[..., None], mix, means[..., L + 1 :]], axis=-1)


def _log_square(z: Float32Array) -> Float32Array:
    out: Float32Array = np.log(np.maximum(np.einsum("nr,nr->n", z, z), np.float32(SMALLEST_SQUARE)))
    return out
