"""Camera addresses: what kind they are, and how they may be shown."""

from __future__ import annotations

import re

_CREDENTIALS = re.compile(r"^((?:[a-z][a-z0-9+.-]*://)?)(.*)@(.*)$", re.IGNORECASE | re.DOTALL)
_SECRET_QUERY = re.compile(
    r"([?&;][^=&;#]*(?:pass|pwd|token|auth|secret|key|user|login)[^=&;#]*=)[^&;#]*", re.IGNORECASE
)
_DEVICE = re.compile(r"^(?:/dev/video)?(\d+)$")
_SCHEME = re.compile(r"^([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


def redact(url: str) -> str:
    """The address as it may be logged: credentials and secret query values become ***.

    Takes everything up to the last @ for credentials, because passwords with an unescaped / or @ exist.
    """
    match = _CREDENTIALS.match(url)
    if match is not None:
        scheme, credentials, rest = match.groups()
        user, colon, _ = credentials.partition(":")
        if colon or "/" not in credentials:
            shown = f"{user}:***" if colon and "/" not in user else "***"
            url = f"{scheme}{shown}@{rest}"
    return _SECRET_QUERY.sub(r"\1***", url)


def device_index(address: str) -> int | None:
    """The number of a local camera, from `2` or `/dev/video2`; None for anything else."""
    match = _DEVICE.match(address.strip())
    return int(match.group(1)) if match else None


def scheme_of(address: str) -> str:
    """`rtsp`, `http`, ... in lower case; empty where there is none."""
    match = _SCHEME.match(address.strip())
    return match.group(1).lower() if match else ""
