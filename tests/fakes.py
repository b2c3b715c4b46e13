"""Fakes that pass the same contract suites as the real parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.errors import EncoderError, SinkError, SourceExhausted, SourceUnavailable
from pipeline.types import (
    Batch,
    DeadLetter,
    EncoderInfo,
    Features,
    Float32Array,
    Prediction,
    Scores,
    SourceFrame,
)


@dataclass
class FakeClock:
    """Time moves only when a test, or a wait, moves it."""

    now: float = 1000.0
    utc_offset: float = 1_700_000_000.0
    waits: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def utc(self) -> float:
        return self.now + self.utc_offset

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += max(0.0, seconds)
        return False

    def advance(self, seconds: float) -> None:
        self.now += seconds


class FakeSource:
    """Plays a script: a frame or None is returned, an error is raised, a callable is called first; then exhausted."""

    def __init__(
        self,
        script: Iterable[SourceFrame | Exception | Callable[[], None] | None],
        *,
        source_id: str = "cap-01",
        live: bool = False,
        refusals: int = 0,
    ) -> None:
        self.source_id = source_id
        self.live = live
        self.acks: list[object] = []
        self.n_opens = 0
        self._refusals = refusals
        self._script: Iterator[SourceFrame | Exception | Callable[[], None] | None] = iter(script)
        self._open = False

    def open(self) -> None:
        self.n_opens += 1
        if self.n_opens <= self._refusals:
            raise SourceUnavailable(f"{self.source_id}: refused, as the test says")
        self._open = True

    def read(self) -> SourceFrame | None:
        if not self._open:
            raise SourceUnavailable(f"{self.source_id}: not open")
        for step in self._script:
            if isinstance(step, Exception):
                raise step
            if step is None or isinstance(step, SourceFrame):
                return step
            step()
        raise SourceExhausted(f"{self.source_id}: the script has ended")

    def ack(self, position: object) -> None:
        self.acks.append(position)

    def close(self) -> None:
        self._open = False


class FakeEncoder:
    """A seeded random projection of the pixels; refuses a picture whose first byte is `poison`."""

    def __init__(
        self, *, image_size: int = 4, embedding_dim: int = 8, poison: int | None = None, n_levels: int = 0
    ) -> None:
        self.info = EncoderInfo(
            name="fake",
            sha256="0" * 64,
            image_size=image_size,
            embedding_dim=embedding_dim,
            level_dims=(embedding_dim,) * n_levels,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            resize_mode="shortest",
            interpolation="bicubic",
            has_text=False,
        )
        self.poison = poison
        self.broken = False
        self.batch_sizes: list[tuple[int, int]] = []  # (B, n)
        generator = np.random.default_rng(0)
        self._weight = generator.normal(size=(image_size * image_size * 3, embedding_dim)).astype(np.float32)

    def encode(self, batch: Batch) -> Features:
        side = self.info.image_size
        if batch.pixels.shape[1:] != (side, side, 3):
            raise EncoderError(f"fake: pixels must be (B,{side},{side},3), got {batch.pixels.shape}")
        self.batch_sizes.append((batch.size, batch.n_real))
        if self.broken:
            raise RuntimeError("the device is gone")
        flat = batch.pixels.reshape(batch.size, -1).astype(np.float32) / 127.5 - 1.0
        if self.poison is not None and (batch.pixels[: batch.n_real, 0, 0, 0] == self.poison).any():
            raise RuntimeError("poison")
        image = flat @ self._weight
        levels = tuple(np.tanh(image + depth) for depth in range(len(self.info.level_dims)))
        return Features(image=image / np.maximum(np.linalg.norm(image, axis=1, keepdims=True), 1e-6), levels=levels)


class FakeHead:
    """Fixed class vectors; the deconfusion it claims is a constant."""

    name = "fake"
    n_levels = 0

    def __init__(self, classes: Sequence[str] = ("ok", "scratch"), *, embedding_dim: int = 8, seed: int = 0) -> None:
        self.classes = tuple(classes)
        generator = np.random.default_rng(seed)
        self._vectors: Float32Array = generator.normal(size=(len(classes), embedding_dim)).astype(np.float32)

    def score(self, features: Features) -> Scores:
        zero_shot = features.image @ self._vectors.T
        confusion = np.full_like(zero_shot, 0.1)
        return Scores(zero_shot=zero_shot, confusion=confusion, logits=zero_shot - confusion)


class FakeSink:
    """Remembers what it was given; refuses `failures` times first."""

    def __init__(self, *, name: str = "fake", failures: int = 0) -> None:
        self.name = name
        self.failures = failures
        self.delivered: list[Prediction] = []
        self.dead_letters: list[DeadLetter] = []
        self.n_flushes = 0
        self.closed = False

    def deliver(self, predictions: Sequence[Prediction]) -> None:
        self._refuse()
        self.delivered.extend(predictions)

    def dead_letter(self, letter: DeadLetter) -> None:
        self._refuse()
        self.dead_letters.append(letter)

    def flush(self) -> None:
        self.n_flushes += 1

    def close(self) -> None:
        self.closed = True

    def _refuse(self) -> None:
        if self.closed:
            raise SinkError(f"{self.name}: expected an open sink, got a delivery after close")
        if self.failures > 0:
            self.failures -= 1
            raise SinkError(f"{self.name}: refuses, as the test says")


class FakePipelinedEncoder(FakeEncoder):
    """Two batches in flight, collected in order, as a device of its own would do it."""

    n_in_flight = 2

    def __init__(self, *, image_size: int = 4, embedding_dim: int = 8, poison: int | None = None) -> None:
        super().__init__(image_size=image_size, embedding_dim=embedding_dim, poison=poison)
        self.n_open = 0
        self.most_open = 0

    def submit(self, batch: Batch) -> Callable[[], Features]:
        self.n_open += 1
        self.most_open = max(self.most_open, self.n_open)
        kept = Batch(batch.pixels.copy(), batch.refs, batch.evidence, batch.formed_at, batch.slot)

        def collect() -> Features:
            self.n_open -= 1
            return self.encode(kept)

        return collect
