"""Starts, kills and restarts a real FTP server on a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType

from tests.servers.ports import free_port, wait_until_listening

SCRIPT = Path(__file__).with_name("ftp_server.py")
USER, PASSWORD = "line", "ftp-secret-do-not-show"
START_TIMEOUT_S = 15.0


class FtpServer:
    """One server on one port; as a context manager it is always killed and never left behind."""

    def __init__(self, folder: Path, *, bytes_per_s: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.bytes_per_s, self.port = folder, bytes_per_s, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of a folder below, without user and password."""
        return f"ftp://127.0.0.1:{self.port}/archive"

    @property
    def options(self) -> dict[str, str | float]:
        """What fsspec takes."""
        return {"username": USER, "password": PASSWORD, "timeout": 5.0}

    def start(self) -> FtpServer:
        """Start on the same port as before; return when it listens."""
        command = [sys.executable, str(SCRIPT), str(self.folder), str(self.port), USER, PASSWORD, str(self.bytes_per_s)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until_listening(self.port, timeout_s=START_TIMEOUT_S)
        return self

    def kill(self) -> None:
        """Die at once (kill -9)."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(timeout=10)

    def __enter__(self) -> FtpServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
