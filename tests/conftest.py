"""What all tests share: where the real test material lies, and a clock they own."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.servers.kafka import KafkaBroker
    from tests.servers.mock_kafka import MockCluster

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = Path(os.environ.get("CLEARLINE_SHARED_DATA", ROOT.parent / "shared" / "data"))


def need(condition: bool, *, what: str, how: str) -> None:
    """Skip with a reason where a part of the machine is absent; with CI=true fail instead."""
    if condition:
        return
    line = f"needs {what}: {how}"
    if os.environ.get("CI") == "true":
        pytest.fail(line)
    pytest.skip(line)


SERVERS = {
    "kafka_broker": "the Kafka broker",
    "secure_kafka_broker": "the Kafka broker with TLS, passwords and rights",
    "mock_cluster": "librdkafka's mock cluster",
}
_against: defaultdict[str, Counter[str]] = defaultdict(Counter)  # by server, then by outcome


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Count each test once under every server it asked for: by its call, or by a setup that did not get that far."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.when == "call" or (report.when == "setup" and not report.passed):
        for name in SERVERS.keys() & set(getattr(item, "fixturenames", ())):
            _against[name][report.outcome] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Which tests ran against what."""
    for name, server in SERVERS.items():
        if counts := _against[name]:
            told = ", ".join(f"{n} {outcome}" for outcome, n in sorted(counts.items()))
            terminalreporter.write_line(f"against {_where(name, server)}: {told}")


def _where(name: str, server: str) -> str:
    from tests.servers.kafka import EXISTING

    existing = os.environ.get(EXISTING)
    return f"{server} at {existing} ({EXISTING})" if name == "kafka_broker" and existing else server


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photos, videos and reference numbers that lie beside the checkout, never inside it."""
    need(SHARED_DATA.is_dir(), what=f"real test material in {SHARED_DATA}", how="set CLEARLINE_SHARED_DATA")
    return SHARED_DATA


@pytest.fixture(scope="session")
def running_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """The real broker of the whole run; tests take `kafka_broker`."""
    from tests.servers.kafka import KafkaBroker

    with KafkaBroker(tmp_path_factory.mktemp("kafka") / "broker") as broker:
        yield broker


@pytest.fixture
def kafka_broker(running_kafka: KafkaBroker) -> KafkaBroker:
    """A real Kafka broker that serves, also after a test that killed it."""
    return running_kafka.start()


@pytest.fixture
def mock_cluster(request: pytest.FixtureRequest) -> Iterator[MockCluster]:
    """A Kafka in this process, whose faults a test can switch; of one broker, or of as many as its parameter says."""
    from tests.servers.mock_kafka import MockCluster

    with MockCluster(getattr(request, "param", 1)) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def secure_kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A real Kafka broker with TLS, passwords and rights; `clearline` and `stranger` may do nothing until granted."""
    from tests.servers.kafka import KafkaBroker

    users = "clearline:line-secret,stranger:strange-secret"
    with KafkaBroker(tmp_path_factory.mktemp("kafka") / "secure", secure=True, users=users) as broker:
        yield broker
