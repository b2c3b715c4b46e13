"""The one tree of errors: every message says what was expected, what was got, where, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.types import FrameOrigin


class ClearlineError(Exception):
    """Root of all errors that Clearline raises on purpose; `exit_code` is what the process returns for it."""

    exit_code = 1


class ConfigError(ClearlineError):
    """A configuration file is missing, unreadable, or says something that cannot be done."""

    exit_code = 2


class DataError(ClearlineError):
    """Input data (images, folders, feature files, text dictionaries) cannot be used as it is."""

    exit_code = 3


class BundleError(ClearlineError):
    """A head bundle is absent, truncated, tampered with, or made for something else; the live head stays."""

    exit_code = 4


class EncoderError(ClearlineError):
    """An encoder cannot be built, or its golden batch did not give the expected values on this device."""

    exit_code = 5


class SinkError(ClearlineError):
    """A sink cannot take results (unwritable file, full disk, port taken)."""

    exit_code = 6


class WorkerDied(ClearlineError):
    """A worker thread ended with an exception; `__cause__` is that exception."""

    exit_code = 7


class ShutdownTimeout(ClearlineError):
    """A thread did not end within the stated time, though told to: a device, a disk or a server holds it.

    A broker that is away does not: its deliveries are given up in time, and come again from the topic or the outbox.
    """

    exit_code = 8


class SourceError(ClearlineError):
    """A source cannot be used at all (wrong path, unsupported file): reconnecting would not help."""

    exit_code = 9


class SourceUnavailable(SourceError):
    """A source is lost for now (camera off, server silent): capture reconnects with backoff."""


class SourceExhausted(SourceError):
    """A finite source has no more frames: a normal end, not a fault."""


class BadFrame(ClearlineError):
    """One item cannot be decoded or is not what it claims: counted, dead-lettered, never fatal."""

    def __init__(
        self,
        message: str,
        *,
        original: bytes = b"",
        reason: str = "undecodable",
        position: object = None,
        origin: FrameOrigin | None = None,
    ) -> None:
        super().__init__(message)
        self.original = original  # the bytes as they came
        self.reason = reason  # short, bounded: a metric label
        self.position = position  # what `ack` of its source will be called with
        self.origin = origin  # whose frame it was, where the source carries the frames of others and knows
