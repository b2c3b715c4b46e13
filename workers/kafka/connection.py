"""How Kafka is reached: one value for the three clients of kafka-python, without a secret in any repr or log."""

from __future__ import annotations

import importlib.util
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import ConfigError
from workers.kafka.tls import HANDSHAKE_TIMEOUT_S, BoundedContext

Protocol = Literal["plaintext", "tls", "sasl_plaintext", "sasl_tls"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

_PROTOCOLS = {"plaintext": "PLAINTEXT", "tls": "SSL", "sasl_plaintext": "SASL_PLAINTEXT", "sasl_tls": "SASL_SSL"}
_RECONNECT_MAX_MS = 3000  # kafka-python waits up to 30 s: a broker that came back would be noticed that late
_TRAFFIC_LOGGERS = ("kafka.net.connection", "kafka.protocol.parser")  # at DEBUG they write each request out


class _Hidden(str):
    """A password that is itself for the client and `***` where a dictionary that holds it is written out."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class _NoCredentials(logging.Filter):
    """Holds back requests that carry credentials, and raw bytes, which may."""

    def filter(self, record: logging.LogRecord) -> bool:
        arguments = record.args if isinstance(record.args, tuple) else ()
        return not any(
            isinstance(each, bytes | bytearray) or type(each).__name__.startswith("Sasl") for each in arguments
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaConnection:
    """Where the brokers are and how they let us in; secrets are functions, called anew for each client."""

    bootstrap: tuple[str, ...]  # host:port each
    protocol: Protocol = "plaintext"
    mechanism: Mechanism = "SCRAM-SHA-512"  # only with a sasl protocol
    username: str = ""
    password: Callable[[], str] | None = field(default=None, repr=False)
    ca_file: Path | None = None  # PEM; None: the authorities this machine trusts
    certificate_file: Path | None = None  # PEM, where the client shows one
    key_file: Path | None = None  # PEM; None: the key is in certificate_file
    key_password: Callable[[], str] | None = field(default=None, repr=False)
    check_hostname: bool = True
    client_id: str = "clearline"
    request_timeout_s: float = 30.0  # of one request; kafka-python wants it above 0.5 and below 540
    api_timeout_s: float = 30.0  # until a new client gives up finding any broker
    api_version: tuple[int, int] | None = None  # None: the broker is asked

    @property
    def uses_tls(self) -> bool:
        """True where the traffic is encrypted."""
        return self.protocol in ("tls", "sasl_tls")

    @property
    def uses_sasl(self) -> bool:
        """True where a user name and a password let us in."""
        return self.protocol in ("sasl_plaintext", "sasl_tls")

    def kwargs(self) -> dict[str, Any]:
        """For KafkaConsumer, KafkaProducer and KafkaAdminClient; secrets and certificates are read now.

        Raises ConfigError without the package crc32c, and kafka.errors.KafkaConnectionError, with the reason, where a
        secret or certificate cannot be read for now. Never log it: it holds the password.
        """
        if importlib.util.find_spec("crc32c") is None:
            raise ConfigError(
                "kafka: expected the package crc32c, got none, and without it a message of 100 KB costs 25 ms of CPU; "
                "pip install 'kafka-python[crc32c]'"
            )
        settings: dict[str, Any] = {
            "bootstrap_servers": list(self.bootstrap),
            "client_id": self.client_id,
            "security_protocol": _PROTOCOLS[self.protocol],
            "request_timeout_ms": round(self.request_timeout_s * 1e3),
            "bootstrap_timeout_ms": round(self.api_timeout_s * 1e3),
            "reconnect_backoff_max_ms": _RECONNECT_MAX_MS,
            "api_version": self.api_version,
        }
        if self.uses_tls:
            settings["ssl_context"] = self.tls_context()
        if self.uses_sasl:
            hide_passwords_in_client_logs()
            settings |= self.sasl_settings()
        return settings

    def sasl_settings(self) -> dict[str, Any]:
        """What kafka-python needs to log in. Raises kafka.errors.KafkaConnectionError where the password is gone."""
        password = _read(self.password, what="kafka.security.password")
        return {
            "sasl_mechanism": self.mechanism,
            "sasl_plain_username": self.username,
            "sasl_plain_password": _Hidden(password),
        }

    def tls_context(self) -> ssl.SSLContext:
        """TLS 1.2 or later, the broker's certificate checked. Raises kafka.errors.KafkaConnectionError."""
        from kafka.errors import KafkaConnectionError

        context = BoundedContext(ssl.PROTOCOL_TLS_CLIENT)
        context.handshake_timeout_s = min(self.api_timeout_s, HANDSHAKE_TIMEOUT_S)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = self.check_hostname
        try:
            if self.ca_file is not None:
                context.load_verify_locations(self.ca_file)
            else:
                context.load_default_certs()
        except OSError as error:
            raise KafkaConnectionError(_unusable("ca_file", self.ca_file, error=error)) from error
        if self.certificate_file is not None:
            # never None: OpenSSL would ask the terminal for it, and wait there for ever
            key_password = "" if self.key_password is None else _read(self.key_password, what="key_password_file")
            try:
                context.load_cert_chain(self.certificate_file, self.key_file, password=key_password)
            except OSError as error:
                key = self.key_file or self.certificate_file
                raise KafkaConnectionError(_unusable("certificate_file or key_file", key, error=error)) from error
        return context


def hide_passwords_in_client_logs() -> None:
    """Requests that carry credentials are never logged, at whatever level kafka-python's loggers are."""
    for name in _TRAFFIC_LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, _NoCredentials) for each in logger.filters):
            logger.addFilter(_NoCredentials())


def quiet_client_logs() -> None:
    """Silence kafka-python, which writes several ERROR lines a second while a broker is away; ours says it once.

    A level that somebody has set on the logger `kafka` stays: that is how its own lines are had for a search.
    """
    hide_passwords_in_client_logs()
    logger = logging.getLogger("kafka")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)


def _read(secret: Callable[[], str] | None, *, what: str) -> str:
    from kafka.errors import KafkaConnectionError

    if secret is None:
        raise KafkaConnectionError(f"{what}: expected a secret, got none; set it, or its file, in the configuration")
    try:
        return secret()
    except (ValueError, OSError) as error:
        raise KafkaConnectionError(f"{what}: expected a secret that can be read, got: {error}; restore it") from error


def _unusable(key: str, path: Path | None, *, error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        got = "one that is not PEM, does not fit its key, or needs another key password"
        return f"kafka.security.{key}: expected a PEM file, got {path}, {got}; check it with `openssl x509` or `rsa`"
    return f"kafka.security.{key}: expected a readable PEM file, got {path}: {error.strerror}; restore it"
