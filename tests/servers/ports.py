"""Free ports, and waiting for them."""

from __future__ import annotations

import socket
import time


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_listening(port: int, *, timeout_s: float) -> None:
    """Return once the port accepts a connection; raise TimeoutError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.05)
            continue
        return
    raise TimeoutError(f"nothing listens on port {port} after {timeout_s} s")
