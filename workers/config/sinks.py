"""The configuration of sinks: where results go, and where pictures are kept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, SecretStr, field_validator, model_validator

from workers.config.cameras import Id, Positive, Share, StrictModel, require_different
from workers.config.loading import read_secret
from workers.review.access import is_loopback


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
    """Pictures of parts that somebody may want to see again, as JPEG or PNG files with an index of them."""

    type: Literal["archive"]
    folder: Annotated[str, Field(min_length=1)] = "runs/archive"
    """A folder of this machine, or an address that fsspec knows (s3://bucket/line-3, sftp://host/path, ...)."""
    options_file: Path | None = None
    """A YAML file with what that file system takes (key, secret, username, password, endpoint_url, ...)."""
    index: Path = Path("runs/archive-index")
    """Folder of the index, on this machine; only with an address: that of a local folder lies in it."""
    queue_mb: Annotated[float, Field(gt=0)] = 64.0
    """Pictures (MB = 10^6 bytes) that may wait for an address; beyond it they are missed and counted."""
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

    @property
    def local_folder(self) -> Path | None:
        """None for an address."""
        if "://" not in self.folder:
            return Path(self.folder)
        return Path(self.folder.removeprefix("file://")) if self.folder.startswith("file://") else None

    @field_validator("folder")
    @classmethod
    def _address(cls, folder: str) -> str:
        if "://" in folder and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^@?#]*", folder):
            raise ValueError("must be an address without user, password and query: write them to options_file")
        return folder

    @model_validator(mode="after")
    def _options(self) -> ArchiveSinkConfig:
        if self.options_file is not None:
            if self.local_folder is not None:
                raise ValueError(f"must have options_file only with an address as folder, got {self.folder}")
            read_options(self.options_file)
        return self

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


class MqttTlsConfig(StrictModel):
    """How we know the broker, and it knows us; files are read anew at each connection."""

    ca_file: Path | None = None
    """PEM of the authority that signed the broker's certificate; null: those this machine trusts."""
    certificate_file: Path | None = None
    """PEM of a certificate of our own, where the broker asks for one."""
    key_file: Path | None = None
    """PEM of its key; null: the key is in certificate_file."""
    key_password_file: Path | None = None
    """A file that holds the password of that key, where it has one."""
    check_hostname: bool = True
    """Whether the broker's certificate must name the host that we connect to."""

    @model_validator(mode="after")
    def _complete(self) -> MqttTlsConfig:
        if self.certificate_file is None and (self.key_file or self.key_password_file):
            raise ValueError("must have certificate_file with key_file and key_password_file, got none")
        require_files(ca_file=self.ca_file, certificate_file=self.certificate_file, key_file=self.key_file)
        if self.key_password_file is not None:
            read_secret(self.key_password_file)
        return self


class MqttSinkConfig(StrictModel):
    """Results, states and dead letters on the topics of an MQTT 5 broker; needs pip install 'clearline[mqtt]'."""

    type: Literal["mqtt"]
    host: Annotated[str, Field(min_length=1)]
    """Of the broker; with tls as in its certificate."""
    port: Annotated[int, Field(ge=1, le=65_535)] = 1883
    """8883 is usual with tls."""
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", max_length=200)] = "clearline"
    """Topics are <prefix>/results/<camera>/<roi>, /states/..., /dead/<camera>, /status: one prefix for each line."""
    client_id: Id = "clearline"
    """How the broker calls us; each line has its own, for a second one takes the first one's place."""
    username: Annotated[str, Field(min_length=1)] | None = None
    password_file: Path | None = None
    """A file that holds the password, read again at each connection."""
    tls: MqttTlsConfig | None = None
    """null: not encrypted."""
    timeout_ms: Annotated[int, Field(ge=100, le=10_000)] = 5000
    """Longest wait for the broker: to connect, to log in, to acknowledge what was sent together."""
    state_after: Annotated[int, Field(ge=1, le=1000)] = 3
    """Equal labels in a row before the topic of states says that a region has changed."""
    outbox: OutboxConfig = OutboxConfig(path=Path("runs/mqtt.sqlite"))

    @model_validator(mode="after")
    def _login_complete(self) -> MqttSinkConfig:
        if self.password_file is not None:
            if self.username is None:
                raise ValueError("must have username with password_file, got none")
            read_secret(self.password_file)
        return self


class OpcUaUserConfig(StrictModel):
    """Who may read."""

    name: Annotated[str, Field(min_length=1)]
    password_file: Path
    """A file that holds the password, read again at each login."""

    @model_validator(mode="after")
    def _readable(self) -> OpcUaUserConfig:
        read_secret(self.password_file)
        return self


class OpcUaSecurityConfig(StrictModel):
    """Basic256Sha256, signed and encrypted, with user name and password; nothing else is let in."""

    certificate_file: Path
    """PEM; its URI among the alternative names is what the server calls itself."""
    key_file: Path
    """PEM of its key, without a password."""
    users: Annotated[tuple[OpcUaUserConfig, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _complete(self) -> OpcUaSecurityConfig:
        require_files(certificate_file=self.certificate_file, key_file=self.key_file)
        require_different((one.name for one in self.users), what="names")
        return self


class OpcUaSinkConfig(StrictModel):
    """The newest verdict of each region for a PLC, on an OPC UA server; needs pip install 'clearline[opcua]'."""

    type: Literal["opcua"]
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """The default is this machine only; any other needs security."""
    port: Annotated[int, Field(ge=1, le=65_535)] = 4840
    stale_ms: Annotated[int, Field(ge=100, le=86_400_000)] = 5000
    """With no result for this long the values of a region turn bad, and its reject bit is set."""
    reject_on: Annotated[tuple[Literal["reject", "review", "unknown"], ...], Field(min_length=1)] = (
        "reject",
        "review",
        "unknown",
    )
    """Decisions that set the reject bit."""
    security: OpcUaSecurityConfig | None = None
    """null: whoever reaches the port may read; only on this machine."""

    @model_validator(mode="after")
    def _safe(self) -> OpcUaSinkConfig:
        require_different(self.reject_on, what="decisions")
        if self.security is None and not is_loopback(self.host):
            raise ValueError(f"must have security with host: {self.host}, which other machines reach, got none")
        return self


def read_options(path: Path) -> dict[str, Any]:
    """What a file system takes, from a file. Raises ValueError, and shows nothing of it."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not YAML"
        raise ValueError(f"must name a readable file, got {path}: {reason}") from None
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ValueError(f"must name a file with `key: value` lines, got {path}: something else")
    return found


def require_files(**files: Path | None) -> None:
    """Raises ValueError for one that is named and not there."""
    for key, path in files.items():
        if path is not None and not path.is_file():
            raise ValueError(f"must have in {key} a file that exists, got {path}")


SinkConfig = Annotated[
    JsonlSinkConfig | KafkaSinkConfig | ArchiveSinkConfig | WebhookSinkConfig | MqttSinkConfig | OpcUaSinkConfig,
    Field(discriminator="type"),
]
