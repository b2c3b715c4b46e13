"""Starts, silences, kills and restarts a real Mosquitto, and reads from it with a foreign client."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

import paho.mqtt.client as paho

from tests.conftest import need
from tests.servers.ports import free_port, wait_until_listening

BROKER = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
READER, PASSWORDS = shutil.which("mosquitto_sub"), shutil.which("mosquitto_passwd")
START_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 20.0


class Mosquitto:
    """One broker on one port of this machine; as a context manager it is always killed and never left behind."""

    def __init__(
        self,
        folder: Path,
        *,
        users: dict[str, str] | None = None,
        certificate: tuple[Path, Path] | None = None,
        client_ca: Path | None = None,
        lines: tuple[str, ...] = (),
    ) -> None:
        """`users` have passwords, else anybody may come; `client_ca` demands a client's certificate."""
        need(
            None not in (BROKER, READER, PASSWORDS),
            what="a real MQTT broker",
            how="apt-get install mosquitto mosquitto-clients",
        )
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self._config = folder / "mosquitto.conf"
        text = [f"listener {self.port} 127.0.0.1", "log_dest none", "user root", "max_queued_messages 0", *lines]
        if users is None:
            text.append("allow_anonymous true")
        else:
            text.append(f"password_file {self._write_users(folder / 'users', users=users)}")
        if certificate is not None:
            text += [f"certfile {certificate[0]}", f"keyfile {certificate[1]}"]
        if client_ca is not None:
            text += [f"cafile {client_ca}", "require_certificate true"]
        self._config.write_text("\n".join(text) + "\n", encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Mosquitto:
        """Start on the same port as before; return when it listens."""
        command = [str(BROKER), "-c", str(self._config)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until_listening(self.port, timeout_s=START_TIMEOUT_S)
        return self

    def silence(self) -> None:
        """Keep the connections, answer nothing more (SIGSTOP)."""
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

    def subscribe(self, topic: str, *, reader: str) -> None:
        """From now on the broker keeps messages for this reader."""
        self._read("-t", topic, "-i", reader, "-c", "-E")

    def read(self, topic: str, *, n: int, reader: str = "", options: tuple[str, ...] = ()) -> list[tuple[str, str]]:
        """(topic, message) of `n` messages: retained ones, or those kept for a reader, else those to come."""
        kept = ("-i", reader, "-c") if reader else ()
        said = self._read("-t", topic, "-C", str(n), "-F", "%t %p", *kept, *options)
        return [(topic, message) for topic, _, message in (line.partition(" ") for line in said.splitlines())]

    def _read(self, *options: str) -> str:
        command = [str(READER), "-p", str(self.port), "-q", "1", *options]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=READ_TIMEOUT_S)
        return done.stdout

    def _write_users(self, path: Path, *, users: dict[str, str]) -> Path:
        path.touch()
        for name, password in users.items():
            subprocess.run([str(PASSWORDS), "-b", str(path), name, password], check=True, capture_output=True)
        return path

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)

    def __enter__(self) -> Mosquitto:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


class Subscriber:
    """Somebody else's client: what came on a topic, in order. Connects again only when told to."""

    def __init__(self, broker: Mosquitto, *, topic: str) -> None:
        self._broker, self._topic = broker, topic
        self._marker = f"marker/{uuid.uuid4().hex}"
        self._marked = threading.Event()
        self.messages: list[tuple[str, bytes]] = []
        self.on_message = lambda _n: None  # told how many there are by now
        self._client = self._connected()

    def caught_up(self) -> list[tuple[str, bytes]]:
        """All that the broker had acknowledged before this call."""
        self._marked.clear()
        self._client.publish(self._marker, b"", qos=1)
        assert self._marked.wait(READ_TIMEOUT_S), "the broker does not pass messages on"
        return self.messages

    def connect_again(self) -> None:
        """After the broker was away."""
        self.close()
        self._client = self._connected()

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self) -> paho.Client:
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, reconnect_on_failure=False)
        subscribed = threading.Event()
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = self._take
        client.connect("127.0.0.1", self._broker.port)
        client.loop_start()
        client.subscribe([(self._topic, 0), (self._marker, 0)])  # at QoS 1 a broker that dies may keep some back
        assert subscribed.wait(READ_TIMEOUT_S), "the broker does not let us subscribe"
        return client

    def _take(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        if message.topic == self._marker:
            self._marked.set()
            return
        self.messages.append((message.topic, message.payload))
        self.on_message(len(self.messages))
