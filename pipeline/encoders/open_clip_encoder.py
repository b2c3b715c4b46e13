"""Any open_clip model as an image encoder and a text encoder, on a CPU or on CUDA."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pipeline.encoders import golden
from pipeline.encoders.cuda_graphs import N_SLOTS, StagedRunner
from pipeline.encoders.ladder import default_ladder
from pipeline.encoders.open_clip_model import LoadedModel, import_open_clip
from pipeline.encoders.precision import DTYPES, PrecisionChoice, check_precision, choose_precision
from pipeline.encoders.tower import ImageTower, check_pixels, to_features
from pipeline.errors import EncoderError
from pipeline.types import Batch, EncoderInfo, Features, Float32Array, UInt8Array

_TEXTS_AT_ONCE = 64


class OpenClipEncoder:
    """The image tower of an open_clip model. One thread calls it, after construction.

    A CPU takes any batch size; CUDA pads to the next size of `ladder` and refuses more than the largest.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        *,
        device: str = "cpu",
        precision: str = "fp32",
        n_levels: int = 0,
        ladder: Sequence[int] | None = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Blocks: `auto` measures both precisions, CUDA captures a graph per size."""
        check_precision(precision)
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise EncoderError(f"encoder {loaded.name}: device must exist, got {device} and no CUDA device; use cpu")
        self._device = device
        self.precision = PrecisionChoice(precision)
        if precision == "auto":
            self.precision, self._tower = _fastest(loaded, device=device, n_levels=n_levels, now=now)
        else:
            self._tower = make_tower(loaded, device=device, precision=precision, n_levels=n_levels)
        self._info = describe(loaded, tower=self._tower, device=device)
        self._runner: StagedRunner | None = None
        self._program = self._tower if device.startswith("cuda") else fused(self._tower, side=loaded.image_size)
        if device.startswith("cuda"):
            sizes = ladder or default_ladder(device)
            self._runner = StagedRunner(self._tower, ladder=sizes, side=loaded.image_size, device=device)

    @property
    def info(self) -> EncoderInfo:
        """Identity, sizes and preprocessing."""
        return self._info

    def encode(self, batch: Batch) -> Features:
        """(B,S,S,3) uint8 -> unit embeddings and the levels asked for. Blocks until the values are on the host."""
        return self.submit(batch)()

    @property
    def n_in_flight(self) -> int:
        """Two on CUDA, where the host prepares one batch while the other computes."""
        return N_SLOTS if self._runner is not None else 1

    def submit(self, batch: Batch) -> Callable[[], Features]:
        """Start a batch; the returned call gives its Features, once. On CUDA two may be in flight; a CPU runs at once.

        The batch's pixels may be reused on return.
        """
        check_pixels(batch.pixels, info=self._info)
        if self._runner is not None:
            return self._runner.submit(batch.pixels)
        features = to_features(self._run(self._program, batch.pixels))
        return lambda: features

    def tokens(self, pixels: UInt8Array) -> tuple[Float32Array, ...]:
        """(B,S,S,3) uint8 -> the levels before pooling: (B,T,W), class token first, or (B,C,H,W). Runs eagerly."""
        check_pixels(pixels, info=self._info)
        return tuple(level.cpu().numpy() for level in self._run(self._tower.tokens, pixels))

    @torch.no_grad()
    def _run(self, function: Callable[[Tensor], tuple[Tensor, ...]], pixels: UInt8Array) -> tuple[Tensor, ...]:
        return function(torch.from_numpy(pixels).to(self._device))


class OpenClipTextEncoder:
    """The text tower of an open_clip model, fp32 on the host: texts are encoded rarely. One thread calls it."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._module = loaded.module
        self._tokenize = import_open_clip().get_tokenizer(loaded.open_clip_name)

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Float32Array:
        """(M,) texts -> (M, D) unit rows. Blocks."""
        if not texts:
            raise EncoderError("encode_texts needs at least one text, got none")
        tokens = self._tokenize(list(texts))
        rows = [self._module.encode_text(part, normalize=True) for part in tokens.split(_TEXTS_AT_ONCE)]  # type: ignore[operator]
        unit: Float32Array = torch.cat(rows).float().numpy()
        return unit

    @property
    def logit_scale(self) -> float:
        """tau = exp(logit_scale), about 100 for CLIP."""
        scale: Tensor = self._module.logit_scale  # type: ignore[assignment]
        return float(scale.exp())


def make_tower(loaded: LoadedModel, *, device: str, precision: str, n_levels: int) -> ImageTower:
    """An image tower of its own: fp32 on the host shares the loaded weights, anything else is a copy."""
    visual: torch.nn.Module = loaded.module.visual  # type: ignore[assignment]
    if precision != "fp32" or device != "cpu":
        visual = copy.deepcopy(visual)
    tower = ImageTower(visual, mean=loaded.mean, std=loaded.std, n_levels=n_levels, dtype=DTYPES[precision])
    return tower.to(device).eval()


@torch.no_grad()
def fused(tower: ImageTower, *, side: int) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """The tower as one frozen graph for the CPU, for any batch size; the readiness check compares its values.

    Normalisation is folded into convolution, and Python's lock is let go once per batch instead of once per layer:
    other threads cut pictures meanwhile. Measured with the demo model: 1.2 times the frames/s alone, 1.3 in a line.
    """
    example = torch.zeros((2, side, side, 3), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing says that it is old; it is also the one that needs no compiler
        try:
            traced = torch.jit.trace(tower, example, check_trace=False, strict=False)  # type: ignore[no-untyped-call]
        except RuntimeError:  # a tower that decides by its values runs layer by layer
            return tower
        graph: Callable[[Tensor], tuple[Tensor, ...]] = torch.jit.freeze(traced)
    return graph


@torch.no_grad()
def describe(loaded: LoadedModel, *, tower: ImageTower, device: str) -> EncoderInfo:
    """EncoderInfo with the widths that one dry run shows."""
    side = loaded.image_size
    embedding, *levels = tower(torch.zeros((1, side, side, 3), dtype=torch.uint8, device=device))
    return EncoderInfo(
        name=loaded.name,
        sha256=loaded.sha256,
        image_size=side,
        embedding_dim=embedding.shape[1],
        level_dims=tuple(level.shape[1] for level in levels),
        mean=loaded.mean,
        std=loaded.std,
        resize_mode=loaded.resize_mode,
        interpolation=loaded.interpolation,
        has_text=True,
    )


def _fastest(
    loaded: LoadedModel, *, device: str, n_levels: int, now: Callable[[], float]
) -> tuple[PrecisionChoice, ImageTower]:
    """Measure fp32 and bf16 and keep one tower. The model is cast: autocast is slower than fp32 on a CPU."""
    towers = {name: make_tower(loaded, device=device, precision=name, n_levels=n_levels) for name in ("fp32", "bf16")}

    def embed(name: str) -> Callable[[UInt8Array], Float32Array]:
        @torch.no_grad()
        def run(pixels: UInt8Array) -> Float32Array:
            embedding: Float32Array = towers[name](torch.from_numpy(pixels).to(device))[0].cpu().numpy()
            return embedding

        return run

    pictures = golden.pictures(loaded.image_size)
    choice = choose_precision(embed("fp32"), embed("bf16"), pictures=pictures, now=now)
    return choice, towers[choice.precision]
