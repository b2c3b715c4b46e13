"""A TCP server that takes every connection and never says a word."""

from __future__ import annotations

import socket
from types import TracebackType


class SilentServer:
    """The kernel accepts for it: nobody ever calls accept, so nothing is ever read or answered."""

    def __enter__(self) -> SilentServer:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.port = int(self._listener.getsockname()[1])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
