"""What an error of the Kafka client says by itself, in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workers.kafka.wire import HungUp

_LONGEST_SHOWN = 300  # characters of a client's own words; some quote whole requests


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
    from kafka.errors import KafkaConnectionError

    if isinstance(error, KafkaConnectionError) and detail.startswith("kafka.security."):
        return detail  # our own words, from KafkaConnection.kwargs
    for kinds, expected, got, advice in _certain():
        if isinstance(error, kinds):
            return f"expected {expected.format(user=user)}, got {got}{_in_brackets(detail)}; {advice}"
    return None


def _certain() -> tuple[tuple[tuple[type[BaseException], ...], str, str, str], ...]:
    """(kinds of error, expected, got, what to do)"""
    from kafka import errors

    add = "have the owner of the broker add"
    return (
        (
            (errors.TopicAuthorizationFailedError,),
            "{user} to have the rights on the topic",
            "a refusal",
            f"{add} Describe and Read or Write on this topic for this user",
        ),
        (
            (errors.GroupAuthorizationFailedError,),
            "{user} to have the rights on the consumer group",
            "a refusal",
            f"{add} Read on this group for this user",
        ),
        (
            (errors.TransactionalIdAuthorizationFailedError,),
            "{user} to have the rights on the transactional id",
            "a refusal",
            f"{add} Write on this transactional id for this user",
        ),
        (
            (errors.ClusterAuthorizationFailedError,),
            "{user} to have the rights on the cluster",
            "a refusal",
            f"{add} Create on the cluster, or on the topics by their prefix, for this user",
        ),
        (
            (errors.UnknownTopicOrPartitionError,),
            "the topic to exist",
            "no such topic",
            "make it with `clearline kafka init --config LINE.yaml`",
        ),
        (
            (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError),
            "a message within the limits",
            "a larger one",
            "raise kafka.message_max_mb and max.message.bytes of the topic, or send smaller pictures",
        ),
        (
            (errors.InvalidReplicationFactorError,),
            "as many brokers as there shall be replicas",
            "fewer",
            "lower --replication, or start more brokers",
        ),
        (
            (errors.UnsupportedVersionError, errors.UnrecognizedBrokerVersion),
            "a broker of Kafka 2.1 or later",
            "one that lacks a request",
            "upgrade the broker",
        ),
    )


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
