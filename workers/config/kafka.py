"""The configuration of Kafka: where its brokers are, how they let us in, what our topics are called."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from workers.config.cameras import Id, StrictModel
from workers.config.loading import read_secret
from workers.kafka.wire import split_address

if TYPE_CHECKING:
    from workers.kafka.connection import KafkaConnection


class KafkaSecurityConfig(StrictModel):
    """How the brokers let us in, and how we know that they are ours."""

    protocol: Literal["plaintext", "tls", "sasl_plaintext", "sasl_tls"] = "plaintext"
    """sasl: with user name and password; tls: encrypted, the broker's certificate checked."""
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How the password is shown; only with a sasl protocol."""
    username: Annotated[str, Field(min_length=1)] | None = None
    """Only with a sasl protocol."""
    password: SecretStr | None = None
    """Better as ${VARIABLE} than in the file itself."""
    password_file: Path | None = None
    """A file that holds the password, read again at each connection; instead of `password`."""
    ca_file: Path | None = None
    """PEM of the authority that signed the brokers' certificates; null: those this machine trusts."""
    certificate_file: Path | None = None
    """PEM of a certificate of our own, where the brokers ask for one."""
    key_file: Path | None = None
    """PEM of its key; null: the key is in certificate_file."""
    key_password_file: Path | None = None
    """A file that holds the password of that key, where it has one."""
    check_hostname: bool = True
    """Whether the broker's certificate must name the host that we connect to."""

    @model_validator(mode="after")
    def _login_complete(self) -> KafkaSecurityConfig:
        login = {"username": self.username, "password": self.password, "password_file": self.password_file}
        given = [key for key, value in login.items() if value is not None]
        if not self.protocol.startswith("sasl"):
            if given:
                raise ValueError(f"must have {' and '.join(given)} only with a sasl protocol, got {self.protocol}")
            return self
        if self.username is None:
            raise ValueError(f"must have username with protocol: {self.protocol}, got none")
        if len(given) != 2:
            passwords = " and ".join(given[1:]) or "none"
            raise ValueError(f"needs exactly one of password and password_file, got {passwords}")
        if self.password_file is not None:
            read_secret(self.password_file)
        return self

    @model_validator(mode="after")
    def _certificates_complete(self) -> KafkaSecurityConfig:
        files = {"ca_file": self.ca_file, "certificate_file": self.certificate_file, "key_file": self.key_file}
        files["key_password_file"] = self.key_password_file
        given = {key: path for key, path in files.items() if path is not None}
        if given and not self.protocol.endswith("tls"):
            raise ValueError(f"must have {' and '.join(given)} only with a tls protocol, got {self.protocol}")
        if self.certificate_file is None and given.keys() & {"key_file", "key_password_file"}:
            raise ValueError("must have certificate_file with key_file and key_password_file, got none")
        for key, path in given.items():
            if not path.is_file():
                raise ValueError(f"must have in {key} a file that exists, got {path}")
        if self.key_password_file is not None:
            read_secret(self.key_password_file)
        return self


class KafkaConfig(StrictModel):
    """The brokers and our topics on them."""

    bootstrap: Annotated[tuple[str, ...], Field(min_length=1)]
    """host:port of one or more brokers, as a list or with commas; the others are found through them."""
    topics_prefix: Id = "clearline"
    """Topics are called <prefix>.frames.v1, <prefix>.results.v1, ...: one prefix for each line that stands alone."""
    security: KafkaSecurityConfig = KafkaSecurityConfig()
    client_id: Id = "clearline"
    """How the brokers' logs and quotas call us."""
    message_max_mb: Annotated[float, Field(ge=0.001, le=1000)] = 10.0
    """The largest message sent or taken, MB (10^6 bytes); `clearline kafka init` sets the topics to it."""

    @field_validator("bootstrap", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return value

    @field_validator("bootstrap")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for address in value:
            split_address(address)
        return value

    @property
    def message_max_bytes(self) -> int:
        """`message_max_mb` in bytes."""
        return round(self.message_max_mb * 1e6)

    def connection(self) -> KafkaConnection:
        """As plain values; the secrets are functions, which read their files anew."""
        from workers.kafka.connection import KafkaConnection

        security = self.security
        return KafkaConnection(
            bootstrap=self.bootstrap,
            protocol=security.protocol,
            mechanism=security.mechanism,
            username=security.username or "",
            password=_secret(security.password, file=security.password_file),
            ca_file=security.ca_file,
            certificate_file=security.certificate_file,
            key_file=security.key_file,
            key_password=_secret(None, file=security.key_password_file),
            check_hostname=security.check_hostname,
            client_id=self.client_id,
        )


def _secret(value: SecretStr | None, *, file: Path | None) -> Callable[[], str] | None:
    if file is not None:
        return partial(read_secret, file)
    return value.get_secret_value if value is not None else None
