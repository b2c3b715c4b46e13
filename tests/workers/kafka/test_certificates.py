"""What is wrong with a certificate is named, the broker's and ours, before any Kafka is spoken."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka.errors import KafkaTimeoutError

from tests.servers.ports import free_port
from workers.kafka.connection import KafkaConnection
from workers.kafka.diagnose import why

LOST = KafkaTimeoutError("Unable to bootstrap")


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def signed(folder: Path, *, days: int) -> ssl.SSLContext:
    """A server's context with a certificate for 127.0.0.1 that `ca.pem` signed; valid from now for so many days."""
    new = ["req", "-newkey", "rsa:2048", "-nodes"]
    openssl(folder, *new, "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "9")
    openssl(folder, *new, "-keyout", "own.key", "-out", "own.csr", "-subj", "/CN=broker")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-days", str(days), "-extfile", "names"]
    openssl(folder, "x509", "-req", "-in", "own.csr", *signing, "-out", "own.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "own.pem", folder / "own.key")
    return context


@contextlib.contextmanager
def serving(context: ssl.SSLContext) -> Iterator[int]:
    """The port of a TLS server that shakes hands, reads once, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    taken, _ = listener.accept()
                except OSError:
                    return
                with contextlib.suppress(OSError), taken, context.wrap_socket(taken, server_side=True) as secure:
                    secure.recv(1024)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def test_an_expired_certificate_is_named(tmp_path: Path) -> None:
    with serving(signed(tmp_path, days=-1)) as port:
        connection = KafkaConnection(bootstrap=(f"127.0.0.1:{port}",), protocol="tls", ca_file=tmp_path / "ca.pem")
        said = why(connection, LOST)
    assert "expected a valid certificate, got one that has expired; renew it on the broker" in said


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_broker_that_wants_a_certificate_of_ours_is_named(tmp_path: Path, version: ssl.TLSVersion) -> None:
    context = signed(tmp_path, days=1)
    context.verify_mode, context.maximum_version = ssl.CERT_REQUIRED, version
    context.load_verify_locations(tmp_path / "ca.pem")
    with serving(context) as port:
        connection = KafkaConnection(bootstrap=(f"127.0.0.1:{port}",), protocol="tls", ca_file=tmp_path / "ca.pem")
        said = why(connection, LOST)
    assert "expected the broker to take our client certificate, got none (certificate_file is not set)" in said


def answer(request: bytes, *, host: str, port: int) -> bytes:
    """To ApiVersions 0 (api_key 18) nothing known, to Metadata 4 one broker there and no topic."""
    if request[4:6] == b"\x00\x12":
        body = bytes(2 + 4)
    else:
        broker = struct.pack(">ih", 1, len(host)) + host.encode() + struct.pack(">ih", port, -1)
        body = struct.pack(">ii", 0, 1) + broker + struct.pack(">hii", -1, 1, 0)
    return struct.pack(">i", 4 + len(body)) + request[8:12] + body


@pytest.mark.parametrize("host", ["127.0.0.1", "kafka-0.internal.invalid"])
def test_a_broker_that_is_announced_where_nobody_listens_is_named(host: str) -> None:
    away = free_port()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            listener.accept()[0].close()  # whether the port takes connections
            with listener.accept()[0] as taken:
                while request := taken.recv(1024):
                    taken.sendall(answer(request, host=host, port=away))

        threading.Thread(target=serve, daemon=True).start()
        said = why(KafkaConnection(bootstrap=(f"127.0.0.1:{listener.getsockname()[1]}",)), LOST)
    assert f"it answers, but announces a broker at {host}:{away}, where: expected a " in said
    assert "advertised.listeners" in said
