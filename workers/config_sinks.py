"""The configuration of sinks: where results go, and where pictures are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from workers.config_cameras import Positive, Share, StrictModel, require_different
from workers.config_loading import read_secret


class JsonlSinkConfig(StrictModel):
    """One JSON object per line in a file."""

    type: Literal["jsonl"]
    path: Path = Path("runs/results.jsonl")
    rotate_mb: Annotated[float, Field(gt=0)] = 64.0
    """A new file after this many MB (10^6 bytes)."""
    keep: Annotated[int, Field(ge=0, le=1000)] = 5
    """Older files kept, numbered from 1, the newest; beyond that the oldest is deleted."""
    fsync: Literal["batch", "interval", "never"] = "batch"
    """When lines are forced to the disk: after each batch, at most every fsync_interval_ms, or when the OS likes."""
    fsync_interval_ms: Positive = 1000
    """Only with fsync: interval."""


class OutboxConfig(StrictModel):
    """Where results wait on disk while a broker is away."""

    path: Path = Path("runs/outbox.sqlite")
    max_mb: Annotated[float, Field(gt=0)] = 512.0
    """Beyond it (MB = 10^6 bytes) the oldest are given up and counted."""
    max_age_h: Annotated[float, Field(gt=0)] = 72.0


class KafkaSinkConfig(StrictModel):
    """Results, states and dead letters on topics; needs the section `kafka`."""

    type: Literal["kafka"]
    delivery: Literal["at_least_once", "exactly_once"] = "at_least_once"
    """exactly_once: results and offsets in one transaction, for frames from Kafka; readers need read_committed."""
    outbox: OutboxConfig | None = OutboxConfig()
    """Not used with frames from Kafka: those wait on their topic. null: a broker that is away holds up the line."""
    state_after: Annotated[int, Field(ge=1, le=1000)] = 3
    """Equal labels in a row before the topic of states says that a region has changed."""
    send_every_ms: Annotated[float, Field(ge=0, le=1000)] = 20.0
    """Deliveries begin at least so far apart, since a send costs as much as twenty results; after a pause, at once."""


class ArchiveSinkConfig(StrictModel):
    """Pictures of parts that somebody may want to see again, as JPEG or PNG files with an index beside them."""

    type: Literal["archive"]
    folder: Path = Path("runs/archive")
    keep: tuple[Literal["reject", "review", "unknown"], ...] = ("reject", "review", "unknown")
    """Decisions whose pictures are all kept."""
    audit_share: Share = 0.005
    """Share of the other parts that is kept too, drawn at random."""
    max_gb: Annotated[float, Field(gt=0)] = 20.0
    """Beyond it (GB = 10^9 bytes) the oldest go; pinned ones stay."""
    max_age_days: Annotated[float, Field(gt=0)] = 90.0
    min_free_gb: Annotated[float, Field(ge=0)] = 2.0
    """Where the disk has less left, the archive gives up its oldest, before other files of the line suffer."""
    quality: Annotated[int, Field(ge=1, le=100)] = 90
    """JPEG quality of pictures that did not come as JPEG or PNG: those are encoded in the capture thread, each one."""

    @field_validator("keep")
    @classmethod
    def _decisions_differ(cls, keep: tuple[str, ...]) -> tuple[str, ...]:
        require_different(keep, what="decisions")
        return keep


class WebhookSinkConfig(StrictModel):
    """Results as signed HTTP POST requests, in order, with an outbox in between."""

    type: Literal["webhook"]
    url: SecretStr | None = None
    """https://... or http://...; a secret, since it may hold a token. This or url_file."""
    url_file: Path | None = None
    """A file that holds the URL."""
    secret_file: Path
    """A file that holds the key of the signature, which the receiver has too; read again at each request."""
    timeout_ms: Annotated[int, Field(ge=1, le=10_000)] = 3000
    """Longest wait for the answer to one request."""
    outbox: OutboxConfig = OutboxConfig(path=Path("runs/webhook.sqlite"))

    @model_validator(mode="after")
    def _one_url(self) -> WebhookSinkConfig:
        given = [key for key, value in (("url", self.url), ("url_file", self.url_file)) if value is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of url and url_file, got {' and '.join(given) or 'none'}")
        read_secret(self.secret_file)
        if not self.read_url().lower().startswith(("https://", "http://")):
            raise ValueError(
                "must have in url an address that begins with https:// or http://, got another (not shown)"
            )
        return self

    def read_url(self) -> str:
        """In the clear: hand it to the sink, never to a log. Raises ValueError where `url_file` is gone."""
        return (
            read_secret(self.url_file) if self.url_file is not None else (self.url or SecretStr("")).get_secret_value()
        )


SinkConfig = Annotated[
    JsonlSinkConfig | KafkaSinkConfig | ArchiveSinkConfig | WebhookSinkConfig, Field(discriminator="type")
]
