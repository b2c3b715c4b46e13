"""One blocking conversation with one broker, step by step, so that the step that fails can be named."""

from __future__ import annotations

import contextlib
import socket
import ssl
from types import TracebackType
from typing import Any

TLS_ALERT = b"\x15\x03"  # how a TLS server begins its refusal of plain text
STEP_TIMEOUT_S = 2.0  # the diagnosis may not cost more than the failure
_REFUSAL_S = 0.2
_CHUNK = 65_536
_DEFAULT_PORT = 9092


class SpeaksTls(Exception):
    """A port that was spoken to in plain text answered in TLS."""


class HungUp(Exception):
    """The broker closed the connection instead of answering."""


def split_address(address: str) -> tuple[str, int]:
    """(host, port) of host:port, [IPv6]:port or host. Raises ValueError with what was expected."""
    host, colon, port = address.strip().rpartition(":")
    if not colon or port.endswith("]"):
        host, port = address.strip(), str(_DEFAULT_PORT)
    bare = host.removeprefix("[").removesuffix("]")
    if not bare or "/" in bare or "@" in bare or any(letter.isspace() for letter in bare):
        raise ValueError("must be host:port, without a scheme, a path or a password")
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ValueError("must be host:port, with a port between 1 and 65535")
    return bare, int(port)


class Wire:
    """A connection that asks one thing at a time; every step waits at most `STEP_TIMEOUT_S`.

    Raises OSError (refused, no such name, silent: TimeoutError; TLS: ssl.SSLError).
    """

    def __init__(self, address: tuple[str, int], *, client_id: str, tls: ssl.SSLContext | None = None) -> None:
        from kafka.protocol.parser import KafkaProtocol

        self._socket: socket.socket = socket.create_connection(address, timeout=STEP_TIMEOUT_S)
        self._parser = KafkaProtocol(client_id=client_id)
        if tls is not None:
            try:
                self._socket = tls.wrap_socket(self._socket, server_hostname=address[0])
                self._hear_refusal()
            except BaseException:
                self._socket.close()
                raise

    def _hear_refusal(self) -> None:
        """TLS 1.3 refuses a client certificate after the handshake; a request sent meanwhile would lose the refusal."""
        self._socket.settimeout(_REFUSAL_S)
        with contextlib.suppress(TimeoutError):
            self._socket.recv(1)  # a Kafka broker says nothing by itself
        self._socket.settimeout(STEP_TIMEOUT_S)

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def ask(self, request: Any) -> Any:
        """The response. Raises OSError, HungUp, SpeaksTls, kafka.errors.KafkaProtocolError (no Kafka broker)."""
        self._parser.send_request(request)
        first = True
        try:
            self._socket.sendall(self._parser.send_bytes())
            while True:
                data = self._socket.recv(_CHUNK)
                if not data:
                    raise HungUp
                if first and data.startswith(TLS_ALERT):
                    raise SpeaksTls
                first = False
                for _, response in self._parser.receive_bytes(data):
                    return response
        except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError) as error:
            raise HungUp from error

    def certificate_names(self) -> list[str]:
        """What the broker's checked certificate is good for."""
        assert isinstance(self._socket, ssl.SSLSocket)
        certificate: Any = self._socket.getpeercert() or {}
        return [str(name) for _, name in certificate.get("subjectAltName", ())]
