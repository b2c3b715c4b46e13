"""How an MQTT broker is reached, and why it was not, in one line without a secret."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.errors import ConfigError, SinkError

if TYPE_CHECKING:
    from paho.mqtt.client import Client

KEEPALIVE_S = 20  # a broker says `offline` for a client that is silent one and a half times as long
MAX_IN_FLIGHT = 1024  # messages sent before the first answer; no broker of MQTT 5 takes fewer than it says
MAX_MESSAGE_BYTES = 200_000_000  # below the 256 MiB of the protocol, topic and header included
HOSTNAME_MISMATCH = (62, 64)  # of OpenSSL's X509_V_ERR: name, address
NEVER = (0x90, 0x95, 0x99)  # topic name, size, payload format: what another attempt would not change
REFUSED_LOGIN = (0x86, 0x87, 4, 5)  # of MQTT 5, then 3.1.1

ONLINE, OFFLINE = b"online", b"offline"


class Message(NamedTuple):
    """One publication."""

    topic: str
    payload: bytes
    retain: bool


@dataclass(frozen=True, slots=True)
class Tls:
    """Files are read anew at each connection."""

    ca_file: Path | None = None  # None: what this machine trusts
    certificate_file: Path | None = None
    key_file: Path | None = None  # None: in certificate_file
    key_password: Callable[[], str] | None = None
    check_hostname: bool = True

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or later. Raises OSError or ValueError for files that cannot be used."""
        context = ssl.create_default_context(cafile=None if self.ca_file is None else str(self.ca_file))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = self.check_hostname
        if self.certificate_file is not None:
            context.load_cert_chain(self.certificate_file, self.key_file, password=self.key_password)
        return context


@dataclass(frozen=True, slots=True)
class MqttConnection:
    """Where the broker is and how it lets us in; a password is asked for at each connection and never shown."""

    host: str
    port: int = 1883
    client_id: str = "clearline"
    username: str = ""
    password: Callable[[], str] | None = field(default=None, repr=False)
    tls: Tls | None = None
    timeout_s: float = 5.0  # of each wait for the broker: to connect, to log in, to acknowledge a portion
    status_topic: str = ""  # retained: `online`, and by the broker itself `offline` when we are gone

    @property
    def shown(self) -> str:
        """For messages."""
        return f"mqtt {self.host}:{self.port}"

    def open(self) -> MqttSession:
        """Connect and log in; blocks for at most about two times `timeout_s`. Raises SinkError."""
        session = MqttSession(self, client=self.client())
        try:
            session.begin()
        except BaseException:
            session.close()
            raise
        return session

    def client(self, *, reconnects: bool = False) -> Client:
        """Not connected yet. Raises ConfigError without the library, SinkError for files that cannot be used."""
        paho = paho_library()
        client: Client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=self.client_id,
            protocol=paho.MQTTv5,  # 3.1.1 acknowledges what the broker's access list throws away
            reconnect_on_failure=reconnects,
        )
        client.connect_timeout = self.timeout_s
        client.max_inflight_messages_set(MAX_IN_FLIGHT)
        try:
            if self.username:
                client.username_pw_set(self.username, None if self.password is None else self.password())
            if self.tls is not None:
                client.tls_set_context(self.tls.context())
        except (OSError, ValueError) as error:
            said = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise SinkError(
                f"{self.shown}: expected readable password and certificate files, got: {said}; restore the files"
            ) from error
        if self.status_topic:
            client.will_set(self.status_topic, OFFLINE, qos=1, retain=True)
        return client


class MqttSession:
    """One connection, used once: what is not acknowledged when it ends is forgotten, for the owner to send again.

    `publish` and `close` belong to one thread; the client's own thread only takes answers.
    """

    def __init__(self, connection: MqttConnection, *, client: Client) -> None:
        self._connection, self._client = connection, client
        self._changed = threading.Condition()
        self._answered: Any = None  # the broker's reason code for our login
        self._ended = ""  # why the connection is over
        self._acknowledged: dict[int, Any] = {}  # reason codes by message, since the last `publish`
        self._timeout_s = connection.timeout_s
        self.max_bytes = MAX_MESSAGE_BYTES  # of a message, as the broker says

    @property
    def alive(self) -> bool:
        """Connected, as far as is known."""
        return not self._ended

    def begin(self) -> None:
        """Connect, log in, say that we are there. Raises SinkError."""
        client, connection = self._client, self._connection
        client.on_connect, client.on_disconnect, client.on_publish = self._on_connect, self._on_end, self._on_publish
        try:
            client.connect(connection.host, connection.port, keepalive=KEEPALIVE_S, clean_start=True)
        except (OSError, ValueError) as error:  # ValueError: a host name that is none
            raise SinkError(f"{connection.shown}: {_unreachable(error, connection=connection)}") from error
        client.loop_start()
        with self._changed:
            self._changed.wait_for(lambda: self._answered is not None or self._ended, self._timeout_s)
        if self._answered is None:
            advice = (
                "is it an MQTT 5 broker, and the port one for TLS only?" if connection.tls is None else "is it one?"
            )
            raise self._failed(f"expected an MQTT broker's answer, got {self._ended or 'none in time'}; {advice}")
        if self._answered.is_failure:
            raise self._failed(_login(self._answered, username=connection.username))
        if connection.status_topic:
            self.publish([Message(connection.status_topic, ONLINE, True)])

    def publish(self, messages: Sequence[Message]) -> list[int]:
        """At QoS 1; returns when the broker has acknowledged all, with the indices of those it will never take.

        Raises SinkError when that takes longer than the connection's time-out.
        """
        self._acknowledged.clear()
        sent = [self._client.publish(one.topic, one.payload, qos=1, retain=one.retain).mid for one in messages]
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._acknowledged.keys() >= set(sent), self._timeout_s)
            codes: list[Any] = [self._acknowledged.get(number) for number in sent]
        if None in codes:
            raise self._failed(f"expected acknowledgements, got {self._ended or 'none in time'}; is the broker well?")
        refused = {index: code for index, code in enumerate(codes) if code.is_failure}
        for code in refused.values():
            if code.value not in NEVER:
                raise self._failed(f"expected results to be taken, got {code}; look at the broker's access list")
        return list(refused)

    def close(self) -> None:
        """Say goodbye where that is possible, and end the client's thread; may be called twice."""
        if self.alive and self._connection.status_topic and self._answered is not None:
            with contextlib.suppress(SinkError):  # the broker says it for us
                self.publish([Message(self._connection.status_topic, OFFLINE, True)])
        self._client.disconnect()
        self._client.loop_stop()

    def _failed(self, said: str) -> SinkError:
        return SinkError(f"{self._connection.shown}: {said}")

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, code: Any, properties: Any) -> None:
        with self._changed:
            self._answered = code
            self.max_bytes = min(self.max_bytes, getattr(properties, "MaximumPacketSize", None) or self.max_bytes)
            self._changed.notify_all()

    def _on_publish(self, _client: Any, _data: Any, mid: int, code: Any, _properties: Any) -> None:
        with self._changed:
            self._acknowledged[mid] = code
            self._changed.notify_all()

    def _on_end(self, _client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        with self._changed:
            self._ended = f"the end of the connection ({code})"
            self._changed.notify_all()


def paho_library() -> Any:
    """Raises ConfigError where it is not installed."""
    try:
        import paho.mqtt.client as paho
    except ModuleNotFoundError as error:
        raise ConfigError("type mqtt: expected paho-mqtt, got none; pip install 'clearline[mqtt]'") from error
    return paho


def _unreachable(error: Exception, *, connection: MqttConnection) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in HOSTNAME_MISMATCH:
            return f"expected a certificate that names {connection.host}, got one of another; correct host"
        return f"expected a certificate that is trusted, got: {error.verify_message}; correct tls.ca_file"
    if isinstance(error, ssl.SSLError):
        return f"expected TLS, got: {error.reason or error}; is it the port for TLS, and a certificate of ours wanted?"
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    hint = "is it the port for TLS?" if connection.tls is not None and isinstance(error, ConnectionResetError) else ""
    return f"expected a broker, got: {reason}; {hint or 'is it up, and reachable from here?'}"


def _login(code: Any, *, username: str) -> str:
    who = f"user {username}" if username else "nobody in particular: username is not set"
    if code.value in REFUSED_LOGIN:
        return f"expected to be let in as {who}, got {code}; correct username and password_file"
    return f"expected to be let in, got {code}; look at the broker's log"
