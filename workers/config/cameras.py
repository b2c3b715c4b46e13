"""The configuration of cameras: where their frames come from, which regions count, what happens when they are lost."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from pipeline.errors import SourceUnavailable
from pipeline.types import Roi
from workers.config.loading import read_secret
from workers.config.parts import PartsConfig, TriggerConfig, frames_per_part, require_fitting_trigger
from workers.config.strict import Id, Positive, Share, StrictModel, require_different

__all__ = [
    "BackoffConfig",
    "CameraConfig",
    "CameraSourceConfig",
    "ClassId",
    "DisturbanceConfig",
    "Id",
    "KafkaSourceConfig",
    "Positive",
    "ReplaySourceConfig",
    "RoiConfig",
    "Share",
    "SimulateSourceConfig",
    "StrictModel",
    "require_different",
]


def _require_simulated(shares: dict[str, float]) -> dict[str, float]:
    if not shares:
        return shares
    from pipeline.simulation import CLASSES, NOVEL_CLASSES

    known = (*CLASSES, *NOVEL_CLASSES)
    strange = [name for name in shares if name not in known]
    if strange:
        raise ValueError(f"must name classes of the simulator ({', '.join(known)}), got {', '.join(strange)}")
    if not sum(shares.values()) > 0:
        raise ValueError(f"must have a share above 0, got {shares}")
    return shares


ClassId = Annotated[str, Field(min_length=1, max_length=100)]
Shares = Annotated[dict[ClassId, Annotated[float, Field(ge=0)]], AfterValidator(_require_simulated)]
Policy = Literal["drop_oldest", "block"]


class DisturbanceConfig(StrictModel):
    """Something that goes wrong at a simulated camera, by its own clock."""

    kind: Literal["lighting", "blur", "shake", "dirt", "class_mix", "novel", "frozen", "dead"]
    """novel: a class never seen before; frozen: the same picture again; dead: the camera is gone."""
    start_s: Annotated[float, Field(ge=0)] = 0.0
    """Seconds after the first frame."""
    end_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds after the first frame; null: to the end."""
    strength: Share = 0.5
    """0 nothing to be seen, 1 as bad as it gets; frozen and dead know only on and off."""
    ramp_s: Annotated[float, Field(ge=0)] = 2.0
    """Seconds until the full strength."""
    mix: Shares = Field(default_factory=dict)
    """class_mix and novel: share of each class; empty: defects only, or the classes no training picture shows."""

    @model_validator(mode="after")
    def _ends_after_start(self) -> DisturbanceConfig:
        if self.end_s is not None and self.end_s <= self.start_s:
            raise ValueError(f"must end after it starts, got start_s {self.start_s:g}, end_s {self.end_s:g}")
        return self


class SimulateSourceConfig(StrictModel):
    """A rendered production line."""

    type: Literal["simulate"]
    seed: Annotated[int, Field(ge=0)] = 1
    """The same seed gives the same frames."""
    fps: Annotated[float, Field(gt=0, le=1000)] = 15.0
    """Frames per second."""
    width: Annotated[int, Field(ge=64, le=4096)] = 640
    """Pixels."""
    height: Annotated[int, Field(ge=64, le=4096)] = 480
    """Pixels."""
    speed: Literal["real_time", "as_fast"] = "real_time"
    """real_time: as a camera does; as_fast: as quickly as it is read, never dropping."""
    n_frames: Positive | None = None
    """Frames after which the source ends; null: never."""
    frames_per_part: Positive = 1
    """Pictures taken of each part as it travels on; they carry its id."""
    weights: Shares = Field(default_factory=dict)
    """How often each class comes along the belt, in any unit; empty: all that the simulator knows, equally often."""
    disturbances: tuple[DisturbanceConfig, ...] = ()
    """What goes wrong, and when."""


class ReplaySourceConfig(StrictModel):
    """A video file, or a folder of pictures or videos."""

    type: Literal["replay"]
    path: Path
    """File or folder."""
    speed: Literal["as_fast", "real_time"] = "as_fast"
    """as_fast: as quickly as it is read; real_time: at the speed of the recording."""
    fps: Annotated[float, Field(gt=0, le=1000)] = 15.0
    """Frames per second of a folder of pictures at real_time; a video has its own."""
    loop: bool = False
    """Begin again at the end."""
    labels: Literal["none", "folders"] = "none"
    """folders: the folder of a picture is its true class, and accuracy is reported."""


class CameraSourceConfig(StrictModel):
    """A camera: RTSP, HTTP MJPEG or a device of this machine."""

    type: Literal["camera"]
    url: Annotated[int, Field(ge=0)] | SecretStr | None = None
    """rtsp://..., http://..., or the index of a local device. Treated as a secret: it may hold a password."""
    url_file: Path | None = None
    """A file that holds the URL, read again at each connection; instead of `url`."""
    open_timeout_ms: Positive = 5000
    """Longest wait for a connection."""
    read_timeout_ms: Positive = 5000
    """Longest wait for one frame."""
    stall_ms: Positive = 5000
    """Without a frame for this long the camera counts as lost, and is connected anew."""
    frozen_ms: Annotated[int, Field(ge=0)] = 10_000
    """With the same picture for this long the camera counts as lost; 0: never."""
    transport: Literal["tcp", "udp"] = "tcp"
    """How RTSP carries the video."""
    reader: Literal["auto", "opencv", "pyav", "mjpeg"] = "auto"
    """What decodes; auto: what suits the URL."""

    @model_validator(mode="after")
    def _one_url(self) -> CameraSourceConfig:
        given = [key for key, value in (("url", self.url), ("url_file", self.url_file)) if value is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of url and url_file, got {' and '.join(given) or 'none'}")
        if self.url_file is not None:
            read_secret(self.url_file)
        return self

    def read_url(self) -> int | str:
        """The URL in the clear, or a device index: hand it to the source, never to a log.

        Reads `url_file` anew; raises SourceUnavailable where it is gone for now, as while a secret is exchanged.
        """
        if self.url_file is not None:
            try:
                return read_secret(self.url_file)
            except ValueError as error:
                raise SourceUnavailable(f"url_file {error}") from error
        if isinstance(self.url, SecretStr):
            text = self.url.get_secret_value()
            return int(text) if text.isdecimal() else text
        if self.url is None:
            raise AssertionError("validated: url or url_file is given")
        return self.url


class RegionConfig(StrictModel):
    """The part of the sensor that a camera sends."""

    x: Annotated[int, Field(ge=0)] = 0
    """Left edge, pixels."""
    y: Annotated[int, Field(ge=0)] = 0
    """Upper edge, pixels."""
    width: Positive
    """Pixels."""
    height: Positive
    """Pixels."""


class GigeSourceConfig(StrictModel):
    """A GigE Vision camera; needs the system library libaravis. What is null stays as the camera has it."""

    type: Literal["gige"]
    camera: str | None = None
    """Its id, IP address or serial number; null: the first that answers."""
    pixel_format: str | None = None
    """Mono8, BayerRG8, RGB8, ..., in GenICam's spelling."""
    exposure_us: Annotated[float, Field(gt=0)] | None = None
    """Exposure time, microseconds."""
    gain_db: float | None = None
    """Gain, dB (in the camera's own unit where it has no other)."""
    frame_rate: Annotated[float, Field(gt=0)] | None = None
    """Pictures per second; with trigger software, the most that are asked for."""
    region: RegionConfig | None = None
    """The part of the sensor that is sent."""
    trigger: Annotated[str, Field(pattern=r"^(free|software|[A-Z][A-Za-z0-9]*)$")] = "free"
    """free: it runs freely; software: the line asks for each picture; or the input that triggers it, such as Line1."""
    packet_size: Annotated[int, Field(ge=220, le=16_000)] | None = None
    """Bytes; null: the largest that passes."""
    packet_resend: bool = True
    """Ask for lost packets again, where the camera can send them."""
    buffers: Annotated[int, Field(ge=2, le=256)] = 8
    """Pictures that may wait in memory while the line is busy."""
    read_timeout_ms: Positive = 5000
    """Longest wait for one picture; a camera on a trigger line may be silent for longer."""
    stall_ms: Positive = 5000
    """With incomplete pictures only for this long the camera counts as lost."""
    frozen_ms: Annotated[int, Field(ge=0)] = 10_000
    """With the same picture for this long the camera counts as lost; 0: never."""

    @model_validator(mode="after")
    def _pace_is_one(self) -> GigeSourceConfig:
        if self.frame_rate is not None and self.trigger not in ("free", "software"):
            raise ValueError(f"must not have a frame_rate when {self.trigger} triggers the camera: remove one of them")
        return self


class KafkaSourceConfig(StrictModel):
    """Frames from a topic, of as many cameras as write to it; needs the section `kafka`."""

    type: Literal["kafka"]
    topic: str | None = None
    """null: the prefix of the section kafka, then .frames.v1."""
    group: Id = "clearline"
    """Workers of one group share the partitions."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where a group begins that has read nothing yet."""
    buffer_mb: Annotated[float, Field(gt=0)] = 64.0
    """Fetched and waiting for the encoder (MB = 10^6 bytes); beyond it nothing more is fetched."""
    commit_interval_ms: Positive = 1000
    """How often the offsets of what has ended are committed."""
    drain_ms: Positive = 5000
    """Longest a rebalance waits for results that are under way."""
    session_timeout_ms: Annotated[int, Field(ge=1000)] = 45_000
    """A worker silent for this long loses its partitions to the others."""
    max_poll_interval_ms: Annotated[int, Field(ge=1000)] = 300_000
    part_header: Annotated[str, Field(min_length=1, max_length=100)] = "part"
    """Name of the header that says which part a frame shows, for cameras with parts."""


SourceConfig = Annotated[
    SimulateSourceConfig | ReplaySourceConfig | CameraSourceConfig | GigeSourceConfig | KafkaSourceConfig,
    Field(discriminator="type"),
]


class RoiConfig(StrictModel):
    """A region of the picture; without a size, the whole picture."""

    id: Id
    x: Annotated[int, Field(ge=0)] = 0
    """Left edge, pixels."""
    y: Annotated[int, Field(ge=0)] = 0
    """Upper edge, pixels."""
    width: Annotated[int, Field(ge=0)] = 0
    """Pixels; 0 together with height: the whole picture."""
    height: Annotated[int, Field(ge=0)] = 0
    """Pixels."""

    @model_validator(mode="after")
    def _whole_or_sized(self) -> RoiConfig:
        whole = (self.x, self.y, self.width, self.height) == (0, 0, 0, 0)
        if not whole and 0 in (self.width, self.height):
            raise ValueError(
                f"must have a width and a height in pixels (or none of x, y, width, height for the whole picture), "
                f"got width {self.width}, height {self.height}"
            )
        return self

    def to_roi(self) -> Roi:
        """The value the pipeline uses."""
        return Roi(roi_id=self.id, x=self.x, y=self.y, width=self.width, height=self.height)


class BackoffConfig(StrictModel):
    """How a lost source is connected again: doubling waits with jitter, up to a cap."""

    initial_ms: Positive = 250
    """Before the second attempt."""
    cap_ms: Positive = 10_000
    """Longest wait between two attempts."""

    @model_validator(mode="after")
    def _cap_above_initial(self) -> BackoffConfig:
        if self.cap_ms < self.initial_ms:
            raise ValueError(f"must have cap_ms of at least initial_ms ({self.initial_ms}), got {self.cap_ms}")
        return self


class CameraConfig(StrictModel):
    """One camera of the line, `defaults` already merged in."""

    id: Id
    """Names the camera in every event and metric."""
    source: SourceConfig
    rois: Annotated[tuple[RoiConfig, ...], Field(min_length=1)] = (RoiConfig(id="full"),)
    """Each region is classified on its own."""
    policy: Policy | None = None
    """When the queue is full; null: drop_oldest for a camera that runs freely and a real-time simulator, else block."""
    queue_frames: Positive = 8
    """Frames that may wait for the encoder."""
    backoff: BackoffConfig = BackoffConfig()
    parts: PartsConfig | None = None
    """null: each frame is decided alone."""
    trigger: TriggerConfig | None = None
    """null: every picture is a frame of the line; else only those of an announced part."""

    @model_validator(mode="after")
    def _trigger_fits(self) -> CameraConfig:
        require_fitting_trigger(self.trigger, parts=self.parts, source_type=self.source.type, policy=self.policy)
        return self

    @field_validator("rois")
    @classmethod
    def _rois_differ(cls, rois: tuple[RoiConfig, ...]) -> tuple[RoiConfig, ...]:
        require_different((roi.id for roi in rois), what="ids")
        return rois

    @property
    def live(self) -> bool:
        """True when frames are made whether or not somebody reads."""
        source = self.source
        if isinstance(source, GigeSourceConfig):
            return source.trigger == "free"
        return source.type == "camera" or (source.type == "simulate" and source.speed == "real_time")

    @property
    def full_policy(self) -> Policy:
        """`policy`, or the one that suits the source."""
        return self.policy or ("drop_oldest" if self.live and self.trigger is None else "block")

    @property
    def frames_per_part(self) -> int | None:
        """By how many a part is closed; None where each frame is decided alone."""
        return frames_per_part(self.parts, trigger=self.trigger)


def common_roi(cameras: Iterable[CameraConfig]) -> Roi:
    """The region all cameras share, else the whole picture: labelled images are taken to be cut as frames are."""
    regions = {(roi.x, roi.y, roi.width, roi.height) for camera in cameras for roi in camera.rois}
    if len(regions) != 1:
        return Roi()
    x, y, width, height = regions.pop()
    return Roi(roi_id="support", x=x, y=y, width=width, height=height)
