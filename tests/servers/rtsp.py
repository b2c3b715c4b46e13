"""Starts, silences, kills and restarts the real RTSP server of the tests."""

from __future__ import annotations

import os
import signal
import subprocess
from functools import cache
from pathlib import Path
from types import TracebackType

from tests.conftest import need
from tests.servers.ports import free_port, wait_until_listening

SCRIPT = Path(__file__).with_name("rtsp_server.py")
SYSTEM_PYTHON = "/usr/bin/python3"  # Debian's own, because `gi` is built for it
START_TIMEOUT_S = 15.0


@cache
def is_installed() -> bool:
    """True when Debian's python3 can load GStreamer's RTSP server."""
    check = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    try:
        done = subprocess.run([SYSTEM_PYTHON, "-c", check], capture_output=True, timeout=30, check=False)
    except OSError:
        return False
    return done.returncode == 0


class RtspServer:
    """One server process on one port; as a context manager it is always killed and never left behind.

    Options of the script: file, frames, pattern (ball, blue, ...), password, width, height, fps.
    """

    def __init__(self, **options: str | int) -> None:
        need(
            is_installed(),
            what="a real RTSP server",
            how="apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-{base,good,bad,ugly}",
        )
        self.port = free_port()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Without user and password."""
        return f"rtsp://127.0.0.1:{self.port}/x"

    def start(self) -> RtspServer:
        """Start on the same port as before; return when it listens."""
        command = [SYSTEM_PYTHON, str(SCRIPT), "--port", str(self.port)]
        for name, value in self._options.items():
            command += [f"--{name}", str(value)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until_listening(self.port, timeout_s=START_TIMEOUT_S)
        return self

    def silence(self) -> None:
        """Keep the connections, send nothing more (SIGSTOP)."""
        self._signal(signal.SIGSTOP)

    def speak(self) -> None:
        """Go on after `silence`."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Die at once, as in a power cut (kill -9)."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(timeout=10)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def __enter__(self) -> RtspServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
