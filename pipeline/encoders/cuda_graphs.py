"""Runs a tower at fixed batch sizes through fixed buffers: on CUDA a captured graph per size, two batches in flight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.encoders.ladder import check_ladder, choose_bucket
from pipeline.encoders.tower import ImageTower, to_features
from pipeline.errors import EncoderError
from pipeline.types import Features, UInt8Array

N_SLOTS = 2  # one batch is filled and collected on the host while the other computes
_N_WARM_UP = 3  # runs before capture, so that libraries have chosen their kernels and workspaces

_Program = Callable[[], tuple[Tensor, ...]]


@dataclass(slots=True)
class _Slot:
    """Host buffers of one batch in flight, pinned on CUDA so that copies do not block."""

    pixels: Tensor  # (largest,S,S,3) uint8
    outputs: tuple[Tensor, ...]  # (largest, ...) fp32 each
    done: torch.cuda.Event | None
    n: int = 0  # rows in flight; 0 means free
    serial: int = 0  # of the batch in flight, so that an old call cannot take a newer result


class StagedRunner:
    """Fixed-size execution with staging. One thread calls it.

    All work of all slots goes to one stream, so a graph's input and outputs, which all slots share, are read before
    the next batch overwrites them. On a CPU the same steps run eagerly, which is how they are tested.
    """

    @torch.no_grad()
    def __init__(self, tower: ImageTower, *, ladder: Sequence[int], side: int, device: str) -> None:
        self._ladder = check_ladder(ladder)
        self._device = torch.device(device)
        self._cuda = self._device.type == "cuda"
        self._stream: torch.cuda.Stream | None = None
        if self._cuda:
            self._stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]  # torch has none here
            torch.cuda.synchronize(self._device)  # the weights have arrived before another stream reads them
        self._inputs = torch.zeros((self._ladder[-1], side, side, 3), dtype=torch.uint8, device=self._device)
        with torch.cuda.stream(self._stream):
            self._programs = self._prepare(tower)
            widths = [output.shape[1:] for output in self._programs[self._ladder[-1]]()]
        self._slots = [self._slot(side, widths=widths) for _ in range(N_SLOTS)]
        self._next = 0

    @torch.no_grad()
    def submit(self, pixels: UInt8Array) -> Callable[[], Features]:
        """Start n <= largest rows; the returned call waits for them. `pixels` may be reused on return.

        Raises EncoderError when two batches are in flight already.
        """
        n = len(pixels)
        bucket = choose_bucket(n, ladder=self._ladder)
        slot = self._slots[self._next]
        if slot.n:
            raise EncoderError(f"at most {N_SLOTS} batches in flight, got one more: collect the oldest result first")
        self._next = (self._next + 1) % N_SLOTS
        slot.n, slot.serial = n, slot.serial + 1
        slot.pixels.numpy()[:n] = pixels
        slot.pixels.numpy()[n:bucket] = 0
        with torch.cuda.stream(self._stream):
            self._inputs[:bucket].copy_(slot.pixels[:bucket], non_blocking=True)
            for host, result in zip(slot.outputs, self._programs[bucket](), strict=True):
                host[:n].copy_(result[:n], non_blocking=True)
            if slot.done is not None:
                slot.done.record(self._stream)
        serial = slot.serial
        return lambda: self._collect(slot, serial=serial)

    def _collect(self, slot: _Slot, *, serial: int) -> Features:
        if slot.n == 0 or slot.serial != serial:
            raise EncoderError("this result was collected before; keep the Features instead of the call")
        if slot.done is not None:
            slot.done.synchronize()
        # The slot's buffers are reused after this: the caller gets copies.
        features = to_features([output[: slot.n].clone() for output in slot.outputs])
        slot.n = 0
        return features

    def _prepare(self, tower: ImageTower) -> dict[int, _Program]:
        """A program per size, largest first, so that smaller graphs live in the memory of the largest."""
        pool = torch.cuda.graph_pool_handle() if self._cuda else None
        programs: dict[int, _Program] = {}
        for size in reversed(self._ladder):
            inputs = self._inputs[:size]
            if pool is None:
                programs[size] = lambda inputs=inputs: tower(inputs)  # type: ignore[misc]  # a default binds the loop's value
            else:
                programs[size] = self._capture(tower, inputs, pool=pool)
        return programs

    def _capture(self, tower: ImageTower, inputs: Tensor, *, pool: Any) -> _Program:
        for _ in range(_N_WARM_UP):
            tower(inputs)
        torch.cuda.synchronize(self._device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, stream=self._stream):
            outputs: tuple[Tensor, ...] = tower(inputs)

        def replay() -> tuple[Tensor, ...]:
            graph.replay()
            return outputs

        return replay

    def _slot(self, side: int, *, widths: Sequence[torch.Size]) -> _Slot:
        largest = self._ladder[-1]
        done = None
        if self._cuda:
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch has none here
        return _Slot(
            pixels=torch.zeros((largest, side, side, 3), dtype=torch.uint8, pin_memory=self._cuda),
            outputs=tuple(torch.zeros((largest, *width), pin_memory=self._cuda) for width in widths),
            done=done,
        )
