"""Finds out why a camera cannot be opened, for the message; OpenCV itself never says."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

from workers.sources.url import device_index

DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
MAX_WAIT_S = 2.0  # the diagnosis may not cost more than the failure
_STATUS = re.compile(rb"^RTSP/\d\.\d (\d{3}) ([^\r\n]*)")
ADVICE = {
    "401": "asks for a user and password, or refuses those in the URL",
    "403": "forbids access to this user",
    "404": "has no such stream; check the path in the URL",
    "454": "has no such session; the camera may allow fewer connections",
}


def why_unreachable(url: int | str, *, timeout_s: float) -> str:
    """One clause for people; never contains the URL. Blocks at most for `MAX_WAIT_S` or `timeout_s`, twice."""
    index = url if isinstance(url, int) else device_index(url)
    if index is not None:
        return _why_no_device(Path(f"/dev/video{index}"))
    if str(url).startswith("/dev/"):
        return _why_no_device(Path(str(url)))
    try:
        parts = urlsplit(str(url))
        host, port = parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:  # its text may quote the URL
        return "the URL cannot be parsed; escape special characters of the password as %XX"
    if not host or not port:
        return "the URL names no host or no known scheme; expected rtsp://host:port/path"
    try:
        return _knock(host, port=port, scheme=parts.scheme, path=parts.path, timeout_s=min(timeout_s, MAX_WAIT_S))
    except socket.gaierror:
        cause = f"the name {host} is not known; check the URL or the DNS"
    except TimeoutError:
        cause = f"{host}:{port} does not answer; is the camera on, and in this network?"
    except OSError as error:
        cause = f"{host}:{port}: {error.strerror or type(error).__name__}; is the camera on, and is it this port?"
    return cause


def _knock(host: str, *, port: int, scheme: str, path: str, timeout_s: float) -> str:
    with socket.create_connection((host, port), timeout=timeout_s) as connection:
        if scheme != "rtsp":
            return f"{host}:{port} answers, but there is no stream OpenCV can read"
        return f"{host}:{port} {_ask_rtsp(connection, host=host, port=port, path=path)}"


def _ask_rtsp(connection: socket.socket, *, host: str, port: int, path: str) -> str:
    request = f"DESCRIBE rtsp://{host}:{port}{path} RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n\r\n"
    connection.sendall(request.encode("utf-8", "replace"))
    try:
        answer = connection.recv(4096)
    except TimeoutError:
        return "takes the connection but does not answer; the camera hangs or is no RTSP server"
    match = _STATUS.match(answer)
    if match is None:
        return "answers, but not as an RTSP server"
    code, text = match.group(1).decode(), match.group(2).decode("latin-1")
    if code == "200":
        return "describes the stream, but no picture came; check codec, transport and open_timeout_ms"
    return ADVICE.get(code, f"answers {code} {text}")


def _why_no_device(device: Path) -> str:
    if not device.exists():
        present = sorted(str(path) for path in Path("/dev").glob("video*"))
        return f"{device} does not exist; is the camera plugged in? present: {', '.join(present) or 'none'}"
    return f"{device} cannot be opened; is it in use, and may this user read it (group video)?"
