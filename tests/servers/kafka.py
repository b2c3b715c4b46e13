"""Starts, kills and restarts the real Kafka broker of the tests, by the script that a user has."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    NewTopic,
    ResourcePattern,
    ResourceType,
)

from tests.conftest import ROOT, need
from tests.servers.ports import free_port

SCRIPT = ROOT / "deploy" / "kafka" / "broker.py"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "clearline"  # Kafka's jars, kept between runs
EXISTING = "KAFKA_BOOTSTRAP"  # where the user has a broker already
UNAVAILABLE = 69  # exit code of the script where this machine lacks java, Maven or the way to the jars
START_TIMEOUT_S = 240.0  # fetches 43 MB the first time
STOP_TIMEOUT_S = 40.0


class KafkaBroker:
    """One broker on one port and one data folder; as a context manager it is never left behind.

    Options are those of the script: secure=True, users="name:password,...", message_max_bytes=...
    Without options, the broker that `KAFKA_BOOTSTRAP` names is used where it is set; it is never killed or stopped.
    """

    def __init__(self, data: Path, **options: str | int | bool) -> None:
        self.data = data
        self.existing = os.environ.get(EXISTING, "") if not options else ""
        self.port, self._controller_port, self._tls_port = free_port(), free_port(), free_port()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._facts: dict[str, Any] = {}

    @property
    def bootstrap(self) -> str:
        """host:port without TLS or password; of a secure broker, where passwords log in."""
        return self.existing or f"127.0.0.1:{self.port}"

    @property
    def tls_bootstrap(self) -> str:
        """host:port where a client certificate logs in (secure only); its user is called `clearline`."""
        return str(self._facts["tls_bootstrap"])

    @property
    def ca(self) -> Path:
        """PEM of the authority that signed the broker's certificate (secure only)."""
        return Path(self._facts["ca"])

    @property
    def client_certificate(self) -> tuple[Path, Path]:
        """(certificate, key) in PEM (secure only)."""
        return Path(self._facts["client_certificate"]), Path(self._facts["client_key"])

    @property
    def users(self) -> dict[str, str]:
        """{name: password} (secure only); `admin` may do everything, the others what they were granted."""
        return dict(self._facts["users"])

    def connection(self, *, user: str = "admin", mechanism: str = "SCRAM-SHA-512") -> dict[str, Any]:
        """What any client of kafka-python takes to connect; `user` matters to a secure broker only."""
        if "users" not in self._facts:
            return {"bootstrap_servers": self.bootstrap}
        return {
            "bootstrap_servers": self.bootstrap,
            "security_protocol": "SASL_SSL",
            "ssl_cafile": str(self.ca),
            "sasl_mechanism": mechanism,
            "sasl_plain_username": user,
            "sasl_plain_password": self.users[user],
        }

    def new_topic(self, name: str = "test", *, n_partitions: int = 1, **config: str) -> str:
        """Makes a topic that no other test has, and returns its name; config as in `retention_ms="1000"`."""
        topic = f"{name}.{uuid.uuid4().hex[:8]}"
        settings = {key.replace("_", "."): value for key, value in config.items()}
        admin = KafkaAdminClient(**self.connection())
        try:
            new = NewTopic(topic, num_partitions=n_partitions, replication_factor=1, topic_configs=settings)
            admin.create_topics([new], wait_for_metadata=True)
        finally:
            admin.close()
        return topic

    def grant(self, user: str, *, prefix: str) -> None:
        """Lets the user do everything with topics, groups and transactions whose names begin so (secure only)."""
        kinds = (ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID)
        patterns = [ResourcePattern(kind, prefix, ACLResourcePatternType.PREFIXED) for kind in kinds]
        allow = ACLOperation.ALL, ACLPermissionType.ALLOW
        admin = KafkaAdminClient(**self.connection())
        try:
            admin.create_acls([ACL(f"User:{user}", "*", *allow, pattern) for pattern in patterns])
        finally:
            admin.close()

    def start(self) -> KafkaBroker:
        """Start on the same port and data as before, if it does not run; return when it serves."""
        if self.existing or (self._process is not None and self._process.poll() is None):
            return self
        self.data.mkdir(parents=True, exist_ok=True)
        ready, said = self.data / "ready.json", self.data / "script.log"
        ready.unlink(missing_ok=True)
        with said.open("wb") as output:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._give_up(said.read_text(encoding="utf-8", errors="replace").strip())
            time.sleep(0.05)
        self._facts = json.loads(ready.read_text(encoding="utf-8"))
        return self

    def kill(self) -> None:
        """Die at once, as in a power cut (kill -9); skips the test where the broker is not ours."""
        self._demand_own()
        process, self._process = self._process, None
        if process is not None:
            os.kill(self._facts["pid"], signal.SIGKILL)
            process.wait(timeout=STOP_TIMEOUT_S)

    def stop(self) -> None:
        """Stop in order; skips the test where the broker is not ours."""
        self._demand_own()
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(timeout=STOP_TIMEOUT_S)

    def _demand_own(self) -> None:
        need(not self.existing, what="a broker that may be killed", how=f"unset {EXISTING} ({self.existing})")

    def _command(self) -> list[str]:
        ports = {"port": self.port, "controller_port": self._controller_port, "tls_port": self._tls_port}
        command = [sys.executable, str(SCRIPT), "--data", str(self.data), "--jars", str(CACHE), "--end-with-parent"]
        for name, value in {**ports, **self._options}.items():
            command += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
        return command

    def _give_up(self, said: str) -> None:
        assert self._process is not None
        code = self._process.poll()
        self._end()
        need(code != UNAVAILABLE, what="a real Kafka broker", how=said)
        pytest.fail(f"{SCRIPT.name} ended with {code} instead of starting:\n{said}")

    def __enter__(self) -> KafkaBroker:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
