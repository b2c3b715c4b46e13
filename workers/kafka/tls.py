"""A TLS context whose handshakes end: kafka-python waits for ever for one that a broker does not answer."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import Any

HANDSHAKE_TIMEOUT_S = 10.0


class BoundedContext(ssl.SSLContext):
    """Cuts a connection whose handshake is not done in time; the client then finds it closed, and tries again.

    The cut comes from a thread of its own for each handshake, since the client's thread serves other brokers meanwhile.
    """

    handshake_timeout_s = HANDSHAKE_TIMEOUT_S

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """As in ssl.SSLContext."""
        wrapped = super().wrap_socket(*args, **kwargs)
        if wrapped.version() is None:
            timer = threading.Timer(self.handshake_timeout_s, _cut, args=(wrapped,))
            timer.name, timer.daemon = "kafka-handshake", True
            timer.start()
        return wrapped


def _cut(connection: ssl.SSLSocket) -> None:
    """Close both ways below TLS, whose state belongs to the client's thread."""
    with contextlib.suppress(OSError):  # closed already
        if connection.version() is None:
            socket.socket.shutdown(connection, socket.SHUT_RDWR)
