"""The configuration of a line: one YAML file, checked whole before anything starts.

Relative paths are relative to the working directory of the process, not to the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from workers.config.adaptation import AdaptationConfig
from workers.config.cameras import (
    BackoffConfig,
    CameraConfig,
    CameraSourceConfig,
    DisturbanceConfig,
    Id,
    KafkaSourceConfig,
    Positive,
    ReplaySourceConfig,
    RoiConfig,
    SimulateSourceConfig,
    StrictModel,
    require_different,
)
from workers.config.decision import DecisionConfig
from workers.config.kafka import KafkaConfig
from workers.config.loading import ConfigFileError, load_model
from workers.config.review import ReviewConfig
from workers.config.sinks import (
    ArchiveSinkConfig,
    JsonlSinkConfig,
    KafkaSinkConfig,
    MqttSinkConfig,
    OpcUaSinkConfig,
    OutboxConfig,
    SinkConfig,
    WebhookSinkConfig,
)
from workers.config.wording import Problem

__all__ = [
    "ArchiveSinkConfig",
    "BackoffConfig",
    "BatchingConfig",
    "CameraConfig",
    "CameraSourceConfig",
    "ConfigFileError",
    "DecisionConfig",
    "DisturbanceConfig",
    "EncoderConfig",
    "HeadConfig",
    "JsonlSinkConfig",
    "KafkaSinkConfig",
    "LineConfig",
    "MqttSinkConfig",
    "OnnxConfig",
    "OpcUaSinkConfig",
    "OutboxConfig",
    "Problem",
    "ReplaySourceConfig",
    "RoiConfig",
    "ServerConfig",
    "ShutdownConfig",
    "SimulateSourceConfig",
    "WebhookSinkConfig",
    "json_schema",
    "load_config",
]

Rgb = tuple[float, float, float]


class OnnxConfig(StrictModel):
    """An image encoder given as an ONNX file: what the file does not say about itself."""

    path: Path
    mean: Rgb = (0.485, 0.456, 0.406)
    """Of RGB values in 0..1; the default is ImageNet's."""
    std: Rgb = (0.229, 0.224, 0.225)
    resize_to: Annotated[int, Field(ge=0)] = 256
    """Shorter side before the centre crop, pixels; 0: the input size of the model."""
    output: str | None = None
    """Name of the output that holds the features; null: the last one."""

    @field_validator("std")
    @classmethod
    def _std_positive(cls, std: Rgb) -> Rgb:
        if min(std) <= 0:
            raise ValueError(f"must be three numbers above 0, got {list(std)}")
        return std


class EncoderConfig(StrictModel):
    """The frozen image tower."""

    backend: Literal["torch", "openvino", "onnx"] = "torch"
    """openvino and onnx need their extra: pip install 'clearline[openvino]' or 'clearline[onnx]'."""
    model: str = "demo_clip"
    """demo_clip (shipped), or any open_clip model name; for onnx a name of your own."""
    pretrained: str | None = None
    """An open_clip pretrained tag: downloads on first use."""
    checkpoint: Path | None = None
    """Local weights of `model`, instead of `pretrained`."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """auto: measured at start; the fastest that keeps the embeddings."""
    threads: Positive = 1
    """CPU threads of the encoder."""
    onnx: OnnxConfig | None = None
    """Only with backend: onnx."""

    @model_validator(mode="after")
    def _consistent(self) -> EncoderConfig:
        if self.pretrained is not None and self.checkpoint is not None:
            raise ValueError("must have pretrained or checkpoint, got both: keep one")
        if (self.backend == "onnx") != (self.onnx is not None):
            got = "backend: onnx without onnx" if self.onnx is None else f"onnx with backend: {self.backend}"
            raise ValueError(f"must have onnx exactly with backend: onnx, got {got}")
        if self.device == "cpu" and self.precision == "fp16":
            raise ValueError("must have precision fp32, bf16 or auto on device: cpu, got fp16")
        return self


HeadKind = Literal[
    "auto",
    "deconfusion",
    "deconfusion_shared",
    "coder",
    "coder_adapter",
    "probe",
    "gda",
    "kernel_ridge",
    "linear",
    "tip",
    "pool",
    "prototype",
    "zero_shot",
]


class HeadConfig(StrictModel):
    """Which classifier turns features into labels."""

    kind: HeadKind = "auto"
    """What `clearline head fit` makes. auto: the blend that wins out of fold, or the texts where nothing beats them;
    deconfusion: LDC; deconfusion_shared: its form that takes a class without a new fit; coder, coder_adapter: all texts
    of the dictionary; zero_shot: the texts alone, nothing fitted."""
    registry: Path = Path("runs/heads")
    """Folder of the fitted heads."""
    name: Id = "demo"
    version: Literal["live"] | Positive = "live"
    """live: the promoted one; a number: exactly that one."""
    texts: Path | None = None
    """The classes and their texts; null only for an encoder without a text tower."""
    cache: Path = Path("runs/cache")
    """Folder for computed features and text embeddings."""

    @model_validator(mode="after")
    def _zero_shot_needs_texts(self) -> HeadConfig:
        if self.kind == "zero_shot" and self.texts is None:
            raise ValueError("must have texts with kind: zero_shot, got none")
        return self


class BatchingConfig(StrictModel):
    """How frames are gathered for the encoder."""

    sizes: Annotated[tuple[Positive, ...], Field(min_length=1)] | None = None
    """Batch sizes, ascending; null: chosen for the device."""
    max_wait_ms: Annotated[float, Field(ge=0)] = 20.0
    """Longest wait of the first frame for company."""
    queue_frames: Positive = 32
    """Predictions that may wait for the sinks."""

    @field_validator("sizes")
    @classmethod
    def _ascending(cls, sizes: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if sizes is not None and list(sizes) != sorted(set(sizes)):
            raise ValueError(f"must be ascending, got {list(sizes)}")
        return sizes


class RelayConfig(StrictModel):
    """What `clearline worker capture` puts on the topic of frames."""

    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 90
    """Of pictures that do not come as JPEG or PNG already."""


class ServerConfig(StrictModel):
    """Where /healthz, /readyz, /metrics and /status answer."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """The default is this machine only; 0.0.0.0 lets every machine of the network read."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 9109
    """0: any free port."""


class ShutdownConfig(StrictModel):
    """How long a stop may take."""

    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 10.0
    """After this long the process ends. With 10 s or more a line whose broker is away ends in order, too (exit code 0):
    what waits on a topic or in an outbox is found by the next start, and what is lost is counted as undelivered."""


class LineConfig(StrictModel):
    """One line: cameras, encoder, head, decisions, sinks."""

    version: Literal[1]
    """Of this format."""
    defaults: dict[str, Any] = Field(default_factory=dict, repr=False, exclude=True)  # may hold a URL in the clear
    """Camera settings for all cameras; a camera overrides key by key. `source` merges where the type is the same."""
    cameras: Annotated[tuple[CameraConfig, ...], Field(min_length=1)]
    encoder: EncoderConfig = EncoderConfig()
    head: HeadConfig
    batching: BatchingConfig = BatchingConfig()
    decision: DecisionConfig
    sinks: Annotated[tuple[SinkConfig, ...], Field(min_length=1)] = (JsonlSinkConfig(type="jsonl"),)
    kafka: KafkaConfig | None = None
    """How Kafka is reached; needed by a source or sink of type kafka."""
    relay: RelayConfig = RelayConfig()
    topic_reader: KafkaSourceConfig | None = None
    """How `clearline worker infer` reads the topic of frames; null: as a source of type kafka does by default."""
    adaptation: AdaptationConfig | None = None
    """null: nothing is recorded, watched or refitted."""
    review: ReviewConfig = ReviewConfig()
    server: ServerConfig = ServerConfig()
    shutdown: ShutdownConfig = ShutdownConfig()

    @field_validator("defaults")
    @classmethod
    def _no_shared_id(cls, defaults: dict[str, Any]) -> dict[str, Any]:
        if "id" in defaults:
            raise ValueError("must not have id: each camera has its own")
        return defaults

    @field_validator("cameras")
    @classmethod
    def _cameras_differ(cls, cameras: tuple[CameraConfig, ...]) -> tuple[CameraConfig, ...]:
        require_different((camera.id for camera in cameras), what="ids")
        return cameras

    @field_validator("sinks")
    @classmethod
    def _sinks_differ(cls, sinks: tuple[SinkConfig, ...]) -> tuple[SinkConfig, ...]:
        require_different((str(sink.path.absolute()) for sink in sinks if sink.type == "jsonl"), what="paths")
        require_different((sink.type for sink in sinks if sink.type in ("kafka", "archive", "opcua")), what="types")
        return sinks

    @model_validator(mode="after")
    def _kafka_is_complete(self) -> LineConfig:
        reads = any(camera.source.type == "kafka" for camera in self.cameras)
        writes = [sink for sink in self.sinks if sink.type == "kafka"]
        if (reads or writes) and self.kafka is None:
            raise ValueError("must have the section kafka with a source or sink of type kafka, got none")
        return self

    @model_validator(mode="after")
    def _triggers_are_guarded(self) -> LineConfig:
        from workers.review.access import is_loopback

        sinks = [sink.type for sink in self.sinks]
        for camera in self.cameras:
            if (trigger := camera.trigger) is None:
                continue
            if trigger.type != "http":
                if sinks.count(trigger.type) != 1:
                    raise ValueError(
                        f"must have one sink of type {trigger.type} with trigger.type {trigger.type}, which shares its "
                        f"connection, got {sinks.count(trigger.type)}"
                    )
            elif trigger.read_token() is None and not is_loopback(self.server.host):
                raise ValueError(
                    f"must have trigger.token or token_file where other machines reach the port, got neither for "
                    f"camera {camera.id}, and server.host {self.server.host}"
                )
        return self

    @model_validator(mode="after")
    def _guarantee_is_of_frames(self) -> LineConfig:
        given = self.decision.guarantee
        fused = [camera.id for camera in self.cameras if camera.parts is not None]
        if given is not None and (given.max_escape is not None or given.set_alpha is not None) and fused:
            raise ValueError(
                f"must not have decision.guarantee with parts, got both for {', '.join(fused)}: what is promised was "
                "certified on single pictures, and does not hold for several that were fused"
            )
        return self

    @property
    def asks_for_first_pictures(self) -> bool:
        """People label on the page, and no support store keeps what they say."""
        return self.adaptation is None and self.review.may_label


def load_config(path: Path, *, environ: Mapping[str, str] | None = None) -> LineConfig:
    """Read, interpolate, merge and check a file; raises ConfigFileError (a ConfigError) that names every problem."""
    return load_model(path, model=LineConfig, environ=environ)


def json_schema() -> dict[str, Any]:
    """JSON Schema of the file, for editors."""
    schema = LineConfig.model_json_schema()
    camera = schema["$defs"]["CameraConfig"]["properties"]
    partial = {key: value for key, value in camera.items() if key not in ("id", "source")}
    about = schema["properties"]["defaults"].get("description", "")
    schema["properties"]["defaults"] = {
        "type": "object",
        "description": about,
        "properties": {"source": {"type": "object"}, **partial},
        "additionalProperties": False,
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Clearline line"}
