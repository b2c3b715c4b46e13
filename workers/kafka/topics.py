"""The topics of a line: what they are for, how they are made, and whether they are there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pipeline.errors import ConfigError
from workers.kafka.connection import KafkaConnection

if TYPE_CHECKING:
    from kafka.admin import KafkaAdminClient

PREFIX = "clearline"
DEFAULT_MAX_BYTES = 10_000_000
_EVENT_MAX_BYTES = 1_000_000  # a result of a thousand classes is 60 KB
_LETTER_HEADROOM_BYTES = 1_000_000  # a dead letter is the largest message and what went wrong with it
_DAY_S = 86_400
_NO_ERROR, _UNKNOWN_TOPIC, _NOT_AUTHORIZED, _ALREADY_THERE = 0, 3, 29, 36  # error codes of the protocol


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as it should be."""

    name: str
    partitions: int
    retention_s: int | None  # None: for ever; with cleanup "compact" only the newest of a key is kept anyway
    cleanup: Literal["delete", "compact"]
    max_message_bytes: int
    meaning: str

    @property
    def settings(self) -> dict[str, str]:
        """As Kafka calls and writes them."""
        retention_ms = -1 if self.retention_s is None else self.retention_s * 1000
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(retention_ms),
            "max.message.bytes": str(self.max_message_bytes),
        }


@dataclass(frozen=True, slots=True)
class TopicOutcome:
    """What became of one topic."""

    name: str
    outcome: Literal["created", "there"]
    differences: tuple[str, ...] = ()  # of one that was there; it is left as it is


def topic_specs(
    *, prefix: str = PREFIX, partitions: int = 6, max_message_bytes: int = DEFAULT_MAX_BYTES
) -> tuple[TopicSpec, ...]:
    """All topics of a line. `partitions` counts for those with a message per frame: so many workers can share them."""
    frames, letters, events = max_message_bytes, max_message_bytes + _LETTER_HEADROOM_BYTES, _EVENT_MAX_BYTES
    return (
        TopicSpec(f"{prefix}.frames.v1", partitions, 1 * _DAY_S, "delete", frames, "pictures on their way to a head"),
        TopicSpec(f"{prefix}.results.v1", partitions, 7 * _DAY_S, "delete", events, "one event for each decided frame"),
        TopicSpec(f"{prefix}.states.v1", 1, None, "compact", events, "the state of each camera, the newest only"),
        TopicSpec(f"{prefix}.labels.v1", 1, 365 * _DAY_S, "delete", frames, "what people said that a part is"),
        TopicSpec(
            f"{prefix}.embeddings.v1", 1, 1 * _DAY_S, "delete", frames, "decided batches for `worker recalibrate`"
        ),
        TopicSpec(f"{prefix}.drift.v1", 1, 30 * _DAY_S, "delete", events, "alarms of the drift detectors"),
        TopicSpec(f"{prefix}.heads.v1", 1, None, "compact", events, "which head is live, the newest only"),
        TopicSpec(f"{prefix}.dlq.v1", 1, 30 * _DAY_S, "delete", letters, "what could not be read, with the reason"),
    )


@contextmanager
def administering(connection: KafkaConnection) -> Iterator[KafkaAdminClient]:
    """A client that is closed at the end. Raises kafka.errors.KafkaError: word it with `why`."""
    from kafka.admin import KafkaAdminClient

    admin = KafkaAdminClient(**connection.kwargs())
    try:
        yield admin
    finally:
        admin.close()


def create_topics(
    connection: KafkaConnection, specs: Sequence[TopicSpec], *, replication: int | None = None
) -> tuple[TopicOutcome, ...]:
    """Make those that are missing, compare the others; nothing that is there is changed.

    `replication` None: as the brokers have it by default. Raises kafka.errors.KafkaError.
    """
    with administering(connection) as admin:
        there = _existing(admin, [spec.name for spec in specs])
        made = [_create(admin, spec, replication=replication) for spec in specs if spec.name not in there]
        admin.wait_for_topics(made)
        return tuple(
            TopicOutcome(spec.name, "there", _differences(admin, spec, there[spec.name], replication=replication))
            if spec.name in there
            else TopicOutcome(spec.name, "created")
            for spec in specs
        )


def require_topics(connection: KafkaConnection, names: Iterable[str]) -> None:
    """Raise ConfigError where one is missing or may not be seen, kafka.errors.KafkaError where no broker answers."""
    with administering(connection) as admin:
        described = admin.describe_topics(list(names))
    missing = [topic["name"] for topic in described if topic["error_code"] == _UNKNOWN_TOPIC]
    closed = [topic["name"] for topic in described if topic["error_code"] == _NOT_AUTHORIZED]
    where = f"kafka {', '.join(connection.bootstrap)}"
    if closed:
        user = repr(connection.username) if connection.uses_sasl else "of our certificate"
        raise ConfigError(
            f"{where}: expected user {user} to have the rights on {', '.join(closed)}, got a refusal; have the owner "
            "of the broker add Describe, and Read or Write, on these topics for this user, then `clearline kafka init`"
        )
    if missing:
        raise ConfigError(
            f"{where}: expected the topics {', '.join(missing)}, got none of that name; make them with "
            "`clearline kafka init --config LINE.yaml`, or correct kafka.topics_prefix"
        )


def _existing(admin: KafkaAdminClient, names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    from kafka.errors import for_code

    there = {}
    for topic in admin.describe_topics(list(names)):
        code = topic["error_code"]
        if code == _NO_ERROR:
            there[str(topic["name"])] = topic
        elif code not in (_UNKNOWN_TOPIC, _NOT_AUTHORIZED):  # who may create need not be allowed to look
            raise for_code(code)(topic["name"])
    return there


def _create(admin: KafkaAdminClient, spec: TopicSpec, *, replication: int | None) -> str:
    from kafka.errors import for_code

    request: dict[str, Any] = {"num_partitions": spec.partitions, "configs": spec.settings}
    if replication is not None:
        request["replication_factor"] = replication
    answer = admin.create_topics({spec.name: request}, raise_errors=False)
    for topic in answer["topics"]:
        if topic["error_code"] not in (_NO_ERROR, _ALREADY_THERE):  # another of these was quicker
            raise for_code(topic["error_code"])(f"{spec.name}: {topic.get('error_message') or 'no reason given'}")
    return spec.name


def _differences(
    admin: KafkaAdminClient, spec: TopicSpec, topic: Mapping[str, Any], *, replication: int | None
) -> tuple[str, ...]:
    from kafka.admin import ConfigResource, ConfigResourceType

    partitions = topic["partitions"]
    found: list[tuple[str, object, object]] = [("partitions", spec.partitions, len(partitions))]
    if replication is not None:
        found.append(("replication", replication, len(partitions[0]["replica_nodes"])))
    resource = ConfigResource(ConfigResourceType.TOPIC, spec.name, configs=dict.fromkeys(spec.settings, ""))
    described = admin.describe_configs([resource], config_filter="all")["topic"].get(spec.name, {})
    found += [(key, wanted, described[key]["value"]) for key, wanted in spec.settings.items() if key in described]
    return tuple(f"{what}: expected {wanted}, got {got}" for what, wanted, got in found if str(wanted) != str(got))
