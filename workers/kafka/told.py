"""What an error of the Kafka client says by itself, in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workers.kafka.wire import HungUp

_LONGEST_SHOWN = 300  # characters of a client's own words; some quote whole requests

_ADD = "have the owner of the broker add"
_CERTAIN = (  # (names of errors, expected, got, what to do)
    (
        ("TopicAuthorizationFailedError",),
        "{user} to have the rights on the topic",
        "a refusal",
        f"{_ADD} Describe and Read or Write on this topic for this user",
    ),
    (
        ("GroupAuthorizationFailedError",),
        "{user} to have the rights on the consumer group",
        "a refusal",
        f"{_ADD} Read on this group for this user",
    ),
    (
        ("TransactionalIdAuthorizationFailedError",),
        "{user} to have the rights on the transactional id",
        "a refusal",
        f"{_ADD} Write on this transactional id for this user",
    ),
    (
        ("ClusterAuthorizationFailedError",),
        "{user} to have the rights on the cluster",
        "a refusal",
        f"{_ADD} Create on the cluster, or on the topics by their prefix, for this user",
    ),
    (
        ("UnknownTopicOrPartitionError",),
        "the topic to exist",
        "no such topic",
        "make it with `clearline kafka init --config LINE.yaml`",
    ),
    (
        ("MessageSizeTooLargeError", "RecordListTooLargeError"),
        "a message within the limits",
        "a larger one",
        "raise kafka.message_max_mb and max.message.bytes of the topic, or send smaller pictures",
    ),
    (
        ("InvalidReplicationFactorError",),
        "as many brokers as there shall be replicas",
        "fewer",
        "lower --replication, or start more brokers",
    ),
    (
        ("UnsupportedVersionError", "UnrecognizedBrokerVersion"),
        "a broker of Kafka 2.1 or later",
        "one that lacks a request",
        "upgrade the broker",
    ),
)


@dataclass(frozen=True, slots=True)
class Told:
    """`certain` where the error names its cause; else `text` is only how it presents itself."""

    text: str
    certain: bool


def told(error: BaseException, *, user: str, secrets: Sequence[str]) -> Told:
    """The first error of the chain of causes that says something; `secrets` never appear in it."""
    for each in _chain(error):
        sentence = _sentence(each, user=user, detail=_own_words(each, secrets=secrets))
        if sentence is not None:
            return Told(sentence, certain=True)
    return Told(f"{_name(error)}{_in_brackets(_own_words(error, secrets=secrets))}", certain=False)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        yield following
        seen.add(id(following))
        following = following.__cause__


def _sentence(error: BaseException, *, user: str, detail: str) -> str | None:
    """None where the kind of the error does not settle its cause."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "KafkaConnectionError" in kinds and detail.startswith("kafka.security."):
        return detail  # our own words, from KafkaConnection.kwargs
    for names, expected, got, advice in _CERTAIN:
        if not kinds.isdisjoint(names):
            return f"expected {expected.format(user=user)}, got {got}{_in_brackets(detail)}; {advice}"
    return None


def _own_words(error: BaseException, *, secrets: Sequence[str]) -> str:
    text = (
        error.strerror or ""
        if isinstance(error, OSError)
        else " ".join(str(each) for each in error.args if each is not None)
    )
    text = " ".join(text.split())
    if any(secret in text for secret in secrets):
        return "its words are not shown: they hold a secret"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _in_brackets(detail: str) -> str:
    return f" ({detail.rstrip('.')})" if detail else ""


def _name(error: BaseException) -> str:
    return "a closed connection" if isinstance(error, HungUp) else type(error).__name__
