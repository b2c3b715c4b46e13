"""Starts, kills and restarts Aravis's simulator of a GigE Vision camera: real discovery, control and stream packets."""

from __future__ import annotations

import fcntl
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO

from tests.conftest import need

PROGRAM = "arv-fake-gv-camera-0.8"
ADDRESS = "127.0.0.1"
SERIAL = "CL01"
PORT = 3956
# The protocol's port is fixed, so there is one camera per machine, whichever test run it belongs to.
LOCK = Path(tempfile.gettempdir()) / "clearline-gige-camera.lock"
START_TIMEOUT_S = 10.0


class GigeCamera:
    """One camera process; as a context manager it is always killed and never left behind.

    It sends 512 x 512 pixels, 25 times per second. `lost_per_thousand` packets of its stream are never sent; it cannot
    send one again.
    """

    def __init__(self, *, lost_per_thousand: int = 0) -> None:
        need(
            shutil.which(PROGRAM) is not None,
            what="a simulated GigE Vision camera",
            how="apt-get install aravis-tools",
        )
        self._command = [PROGRAM, "-i", ADDRESS, "-s", SERIAL, "-r", str(lost_per_thousand)]
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[bytes] | None = None

    def start(self) -> None:
        """Start, and return when it listens."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _is_taken():
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise TimeoutError(f"{PROGRAM} does not listen on {ADDRESS}:{PORT} within {START_TIMEOUT_S} s")
            time.sleep(0.01)

    def kill(self) -> None:
        """Die at once, as in a power cut (kill -9)."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(timeout=10)

    def __enter__(self) -> GigeCamera:
        self._lock = LOCK.open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        if self._lock is not None:
            self._lock.close()


def _is_taken() -> bool:
    """True when something is bound to the port of the protocol."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((ADDRESS, PORT))
        except OSError:
            return True
    return False
