"""A real MJPEG camera over HTTP whose faults a test can switch."""

from __future__ import annotations

import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

import cv2
import numpy as np

BOUNDARY = "cameraframe"


def jpeg(index: int, *, width: int = 160, height: int = 120) -> bytes:
    """A small bluish JPEG whose green level tells its index."""
    image = np.full((height, width, 3), (220, 20 + (index * 5) % 150, 10), np.uint8)
    cv2.rectangle(image, (index % 100, 20), (index % 100 + 30, 60), (20, 220, 90), -1)
    done, data = cv2.imencode(".jpg", image)
    assert done
    return data.tobytes()


class MjpegServer:
    """Serves `/video`. The attributes may be changed while it runs.

    fps: pictures per second. cut: every n-th JPEG lacks its second half (0 never). still: the same picture for ever.
    silent: hold the connection, send nothing. limit: fall silent after so many pictures (0 never).
    with_length: send Content-Length. password: demand user:password.
    """

    def __init__(self, *, fps: float = 50.0, password: str = "", with_length: bool = True) -> None:
        self.fps = fps
        self.password = password
        self.with_length = with_length
        self.cut = 0
        self.limit = 0
        self.still = False
        self.silent = threading.Event()
        self.n_sent = 0
        self._stop = threading.Event()

    @property
    def url(self) -> str:
        """Without user and password."""
        return f"http://127.0.0.1:{self.port}/video"

    def body(self, index: int) -> bytes:
        """The bytes of one picture, cut where it is its turn."""
        data = jpeg(0 if self.still else index)
        return data[: len(data) // 2] if self.cut and index % self.cut == 0 else data

    def __enter__(self) -> MjpegServer:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """One client until it leaves, or the server stops."""
        expected = "Basic " + b64encode(f"user:{self.password}".encode()).decode()
        if self.password and handler.headers.get("Authorization") != expected:
            handler.send_error(401)
            return
        if handler.path != "/video":
            handler.send_error(404)
            return
        handler.send_response(200)
        handler.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        handler.end_headers()
        try:
            self._stream(handler)
        except OSError:
            return

    def _stream(self, handler: BaseHTTPRequestHandler) -> None:
        index = 0
        while not self._stop.wait(1.0 / self.fps):
            if self.silent.is_set() or 0 < self.limit <= index:
                continue
            index += 1
            data = self.body(index)
            length = f"Content-Length: {len(data)}\r\n" if self.with_length else ""
            head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n{length}\r\n"
            handler.wfile.write(head.encode() + data + b"\r\n")
            self.n_sent += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
