"""The seams: Protocols that sources, encoders, heads and sinks are written against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from pipeline.types import Batch, DeadLetter, EncoderInfo, Features, Float32Array, Prediction, Scores, SourceFrame


class Clock(Protocol):
    """Time as handed to a component, so that tests own it."""

    def monotonic(self) -> float:
        """Seconds, never going back."""
        ...

    def utc(self) -> float:
        """Seconds since 1970, UTC."""
        ...

    def wait(self, seconds: float) -> bool:
        """Sleep for at most `seconds`; True when woken early because the owner is closing."""
        ...


@runtime_checkable
class Source(Protocol):
    """Where frames come from. One thread calls all methods but `close`, which any thread may call."""

    @property
    def source_id(self) -> str:
        """Names the source in every event and metric."""
        ...

    @property
    def live(self) -> bool:
        """True when frames are made whether or not somebody reads (a camera), so the oldest may be dropped."""
        ...

    def open(self) -> None:
        """Connect. Blocks at most for the open time-out. Raises SourceUnavailable (retry) or SourceError (do not)."""
        ...

    def read(self) -> SourceFrame | None:
        """The next frame, or None when none came within the read time-out and nothing is wrong yet.

        Raises BadFrame (skip one), SourceUnavailable (reconnect), SourceExhausted (normal end).
        """
        ...

    def ack(self, position: object) -> None:
        """The picture at `position`, and all before it, came to an end. In order, once each; must be quick."""
        ...

    def close(self) -> None:
        """Release everything and wake a blocked `read`; may be called twice, and `open` may follow."""
        ...


@runtime_checkable
class SettlingSource(Source, Protocol):
    """A source that keeps its acknowledgements somewhere, and has to be let finish."""

    def settle(self, *, timeout_s: float) -> None:
        """After the last `ack` and `close`: make them durable and leave. Blocks at most about `timeout_s`."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """The frozen image tower. One thread calls it."""

    @property
    def info(self) -> EncoderInfo:
        """Identity, sizes and preprocessing."""
        ...

    def encode(self, batch: Batch) -> Features:
        """(B,S,S,3) uint8 -> unit embeddings and the levels asked for. Blocks until the values are on the host."""
        ...


@runtime_checkable
class PipelinedEncoder(Encoder, Protocol):
    """An encoder whose device works while the host prepares the next batch."""

    @property
    def n_in_flight(self) -> int:
        """How many batches may be started before the oldest is collected; 1 where the host computes itself."""
        ...

    def submit(self, batch: Batch) -> Callable[[], Features]:
        """Start a batch; the returned call waits for its Features, once. The pixels may be reused on return."""
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """The frozen text tower, where the encoder has one."""

    def encode_texts(self, texts: Sequence[str]) -> Float32Array:
        """(M,) texts -> (M, D) unit rows."""
        ...

    @property
    def logit_scale(self) -> float:
        """tau = exp(logit_scale), about 100 for CLIP."""
        ...


@runtime_checkable
class Head(Protocol):
    """Features to class scores. Immutable once made; a pure function of its input."""

    @property
    def name(self) -> str:
        """Kind of head: zero_shot, deconfusion, ..."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """C class ids, in column order."""
        ...

    @property
    def n_levels(self) -> int:
        """How many levels `score` needs; 0 when the embedding is enough."""
        ...

    def score(self, features: Features) -> Scores:
        """Row by row: a row's scores never depend on the other rows."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Where predictions go. One thread calls it."""

    @property
    def name(self) -> str:
        """Label in metrics."""
        ...

    def deliver(self, predictions: Sequence[Prediction]) -> None:
        """Make them durable in order, then return. Raises SinkError when it cannot; nothing may be half written."""
        ...

    def dead_letter(self, letter: DeadLetter) -> None:
        """Keep an item that could not be decided, with its bytes."""
        ...

    def flush(self) -> None:
        """Force what is buffered to where it belongs."""
        ...

    def close(self) -> None:
        """Flush and release; may be called twice."""
        ...


@runtime_checkable
class InterruptibleSink(Sink, Protocol):
    """A sink whose deliveries can take seconds."""

    def interrupt(self) -> None:
        """From any thread, for a stop that is due: the delivery under way ends soon, and no other is attempted."""
        ...
