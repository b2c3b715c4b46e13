"""Pictures from the socket in large pieces: kafka-python (3.0.12) takes 4 KB at a time, each a turn at the GIL."""

from __future__ import annotations

import ssl
from functools import partial
from typing import Any

from kafka.errors import KafkaConnectionError
from kafka.net.manager import KafkaConnectionManager

RECEIVE_BYTES = 1 << 18
_NOTHING_MORE = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class WideManager(KafkaConnectionManager):  # type: ignore[misc]  # the client is untyped
    """The client's connections, with a reading of our own."""

    async def _build_transport(self, *args: Any, **kwargs: Any) -> Any:
        transport = await super()._build_transport(*args, **kwargs)
        transport._sock_recv = partial(_receive, transport)
        return transport


def _receive(transport: Any) -> tuple[bytes, KafkaConnectionError | None]:
    """All that is there now, and what ended the connection."""
    pieces: list[bytes] = []
    try:
        while piece := transport._sock.recv(RECEIVE_BYTES):
            pieces.append(piece)
    except _NOTHING_MORE:
        return b"".join(pieces), None
    except Exception as error:  # noqa: BLE001 - the client answers each by a new connection
        return b"".join(pieces), KafkaConnectionError(error)
    return b"".join(pieces), KafkaConnectionError("socket disconnected")
