"""What all tests share: where the real test material lies, and a clock they own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.servers.kafka import KafkaBroker

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


@pytest.fixture(scope="session")
def secure_kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """A real Kafka broker with TLS, passwords and rights; `clearline` and `stranger` may do nothing until granted."""
    from tests.servers.kafka import KafkaBroker

    users = "clearline:line-secret,stranger:strange-secret"
    with KafkaBroker(tmp_path_factory.mktemp("kafka") / "secure", secure=True, users=users) as broker:
        yield broker
