"""The values that flow: frozen, with shapes on the attributes.

Letters mean one thing everywhere: B batch, S side, D embedding, C classes, L levels, T tokens, W width,
n <= B real rows. Arrays are host NumPy unless said otherwise, RGB unless said otherwise.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FrameOrigin:
    """Whose frame it is, where a source carries the frames of others (a topic of many cameras)."""

    source_id: str  # the camera
    epoch: int
    sequence: int


@dataclass(frozen=True, slots=True)
class SourceFrame:
    """What a source hands to capture: one picture as it came, before any ROI.

    `image` may be reused by the source after the next `read`; capture copies what it keeps.
    """

    image: UInt8Array  # (H, W, 3) BGR, as OpenCV decodes it
    captured_at: float  # UTC, seconds since 1970
    capture_time_source: str  # host | stream | file | simulated
    received_at: float  # monotonic seconds of the clock handed to the source
    position: object = None  # opaque to all but its source; what `ack` will be called with
    truth: str | None = None  # class id, where the source knows it (simulator, labelled folders)
    evidence: bytes | None = None  # the JPEG or PNG bytes it was decoded from, where there are any
    disturbances: tuple[str, ...] = ()  # what the simulator did to this frame
    skipped: int = 0  # frames the source let pass on purpose since the last one (stale pictures of a camera)
    lost: int = 0  # frames that the camera numbered since the last one and that never came
    name: str | None = None  # the file it came from, where it came from one
    origin: FrameOrigin | None = None  # None: the source's own
    part: str | None = None  # the part it shows; None: each picture is a part of its own


@dataclass(frozen=True, slots=True)
class FrameRef:
    """Names one frame for ever; travels to the sinks after the pixels are gone."""

    source_id: str
    epoch: int  # start of the source, nanoseconds since 1970
    sequence: int  # from 0 within the epoch; a gap is a drop
    roi_id: str
    captured_at: float  # UTC, seconds since 1970
    capture_time_source: str
    received_at: float  # monotonic seconds
    position: object = None
    truth: str | None = None
    width: int = 0  # of the picture before the ROI, pixels
    height: int = 0
    name: str | None = None
    carrier: str = ""  # the source that brought it, where that is not the camera itself
    ticket: int | None = None  # its running number there, where that is not `sequence`
    n_regions: int = 1  # of the picture: so many refs share its position
    part: str | None = None  # the part it shows; None: each frame is a part of its own

    @property
    def account(self) -> str:
        """The source that answers for it."""
        return self.carrier or self.source_id

    @property
    def number(self) -> int:
        """Its running number at that source."""
        return self.sequence if self.ticket is None else self.ticket

    @property
    def event_id(self) -> str:
        """The same frame always has the same id, so a duplicate delivery is recognisable."""
        return f"{self.source_id}-{self.epoch}-{self.sequence}-{self.roi_id}"


@dataclass(frozen=True, slots=True)
class Frame:
    """One region of one picture, ready for the encoder."""

    ref: FrameRef
    image: UInt8Array  # (S, S, 3) RGB
    evidence: bytes | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """n real frames in a buffer of B rows, B from the ladder; rows n..B are padding.

    `pixels` belongs to the batcher and is reused once the batch is released.
    """

    pixels: UInt8Array  # (B, S, S, 3)
    refs: tuple[FrameRef, ...]  # the n <= B real ones
    evidence: tuple[bytes | None, ...]
    formed_at: float  # monotonic seconds
    slot: int  # which preallocated buffer of its bucket this is

    @property
    def size(self) -> int:
        """B, padding included."""
        return int(self.pixels.shape[0])

    @property
    def n_real(self) -> int:
        """n, padding left out."""
        return len(self.refs)


@dataclass(frozen=True, slots=True)
class Features:
    """What the image tower saw. Rows beyond `n` real ones are padding."""

    image: Float32Array  # (B, D), unit norm
    levels: tuple[Float32Array, ...] = ()  # per level (B, 2W): mean over patch tokens, then class token (or max)

    def rows(self, n: int) -> Features:
        """The first n rows."""
        return Features(image=self.image[:n], levels=tuple(level[:n] for level in self.levels))


@dataclass(frozen=True, slots=True)
class Scores:
    """What a head says. logits = zero_shot - confusion for a deconfusion head before fusion with MAF."""

    zero_shot: Float32Array  # (B, C)
    confusion: Float32Array  # (B, C), what was taken away from the zero-shot logits
    logits: Float32Array  # (B, C), final, before temperature
    novelty: Float32Array | None = None  # (B,), distance to all known classes; above 1 nothing known is near
    n_effective: Float32Array | None = None  # (B,), independent frames a row stands for, where rows were fused


class Decision(enum.StrEnum):
    """What the line should do with the part."""

    ACCEPT = "accept"
    REJECT = "reject"
    REVIEW = "review"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Confusion:
    """Why: the rival class and what removing the confusion did to the margin over it (logit units)."""

    rival: str
    margin: float  # winner minus rival after deconfusion
    raw_margin: float  # the same before
    removed: float  # margin - raw_margin


@dataclass(frozen=True, slots=True)
class BatchTiming:
    """Where the time of a frame went, seconds."""

    size: int
    n_real: int
    queue_s: float
    infer_s: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """One decided frame, or one decided part: then `ref` is its first frame."""

    ref: FrameRef
    label: str
    confidence: float  # calibrated probability of `label`
    decision: Decision
    probabilities: Mapping[str, float]
    zero_shot_label: str
    confusion: Confusion
    head: str
    head_version: int
    bundle_sha256: str
    encoder: str
    decided_at: float  # monotonic seconds
    timing: BatchTiming
    evidence: bytes | None = field(default=None, repr=False)
    members: tuple[FrameRef, ...] = ()  # all frames of a fused part, `ref` first; empty: `ref` alone

    @property
    def refs(self) -> tuple[FrameRef, ...]:
        """Every frame that this decides; each is delivered with it."""
        return self.members or (self.ref,)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An item that could not become a prediction, kept with its original bytes."""

    source_id: str
    reason: str
    message: str
    original: bytes
    ref: FrameRef

    @property
    def refs(self) -> tuple[FrameRef, ...]:
        """As of a prediction: the one frame."""
        return (self.ref,)


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """What identifies an encoder; bundles record it and refuse another."""

    name: str  # e.g. "ViT-B-32/openai" or "demo_clip"
    sha256: str  # of the weights
    image_size: int  # S
    embedding_dim: int  # D
    level_dims: tuple[int, ...]  # width of each pooled level; empty when the tower gives none
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize_mode: str  # "shortest" | "squash"
    interpolation: str  # "bicubic" | "bilinear"
    has_text: bool
    resize_to: int = 0  # shortest side before the centre crop; 0 means image_size (open_clip's own way)

    @property
    def preprocessing_sha256(self) -> str:
        """Hash of everything that decides the pixels the encoder sees."""
        text = repr((self.image_size, self.mean, self.std, self.resize_mode, self.interpolation, self.resize_to))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Roi:
    """A region of the picture, pixels; the whole picture where width and height are 0."""

    roi_id: str = "full"
    x: int = 0
    y: int = 0
    width: int = 0
    height: int = 0
