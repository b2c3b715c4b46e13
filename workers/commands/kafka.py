"""`clearline kafka`: make the topics of a line, and see whether the brokers serve it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from pipeline.errors import ConfigError, SourceUnavailable
from workers.clock import SystemClock
from workers.config.cameras import KafkaSourceConfig
from workers.config.kafka import KafkaConfig
from workers.config.line import LineConfig, load_config
from workers.kafka.connection import KafkaConnection, quiet_client_logs
from workers.kafka.diagnose import why
from workers.kafka.topics import administering, create_topics, topic_specs

if TYPE_CHECKING:
    from kafka import TopicPartition
    from kafka.admin import KafkaAdminClient

_REACH_S = 5.0  # a person waits
_GROUP_ATTEMPTS, _GROUP_WAIT_S = 20, 0.25

app = typer.Typer(help="Make the topics of a line, and see whether the brokers serve it.", no_args_is_help=True)

ConfigOption = Annotated[Path, typer.Option("--config", help="The configuration file, with a section `kafka`.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@dataclass(frozen=True, slots=True)
class TopicStatus:
    """One topic as it is."""

    name: str
    state: str  # there | missing | closed: no right to see it
    partitions: int
    replicas: int  # of the first partition
    messages: int  # from the oldest that is kept to the end
    lags: dict[str, int]  # per consumer group, messages not read yet
    meaning: str


@app.command()
def init(
    *,
    config: ConfigOption,
    partitions: Annotated[int, typer.Option(min=1, help="Of topics with a message per frame: workers share them.")] = 6,
    replication: Annotated[
        int | None, typer.Option(min=1, help="Copies of each message; left out: as the brokers have it by default.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make the topics that are missing; say what is there and differs. Nothing that is there is changed."""
    section = kafka_section(load_config(config), file=config)
    specs = topic_specs(
        prefix=section.topics_prefix, partitions=partitions, max_message_bytes=section.message_max_bytes
    )
    with reached(section) as connection:
        outcomes = create_topics(connection, specs, replication=replication)
    if as_json:
        print(orjson.dumps({"topics": [asdict(outcome) for outcome in outcomes]}).decode())
        return
    for outcome, spec in zip(outcomes, specs, strict=True):
        said = "created" if outcome.outcome == "created" else "was there"
        print(f"{outcome.name:24} {said}; {spec.meaning}")
        for difference in outcome.differences:
            print(f"{'':24} differs in {difference}; it is left as it is")


@app.command()
def check(*, config: ConfigOption, as_json: JsonOption = False) -> None:
    """Connect, list the topics, their partitions and how far the groups are behind. Exit code 2 when one is missing."""
    line = load_config(config)
    section = kafka_section(line, file=config)
    meanings = {spec.name: spec.meaning for spec in topic_specs(prefix=section.topics_prefix)}
    frames = f"{section.topics_prefix}.frames.v1"
    reads = {(reader.topic or frames, reader.group) for reader in _readers(line)}
    meanings |= {topic: "frames of a source" for topic, _ in sorted(reads) if topic not in meanings}
    with reached(section) as connection, administering(connection) as admin:
        statuses = _statuses(admin, meanings=meanings, reads=reads)
    missing = [status for status in statuses if status.state != "there"]
    if as_json:
        body = {
            "bootstrap": section.bootstrap,
            "user": section.security.username,
            "topics": list(map(asdict, statuses)),
        }
        print(orjson.dumps(body).decode())
    else:
        print(f"{', '.join(section.bootstrap)}: connected ({section.security.protocol})")
        for status in statuses:
            print(_line(status))
        if missing:
            print(f"next: clearline kafka init --config {config}")
    if missing:
        raise typer.Exit(ConfigError.exit_code)


def kafka_section(line: LineConfig, *, file: Path) -> KafkaConfig:
    """The section `kafka` of the file. Raises ConfigError where there is none."""
    if line.kafka is None:
        raise ConfigError(
            f"{file}: expected a section kafka with bootstrap, got none; add `kafka: {{bootstrap: HOST:9092}}`"
        )
    return line.kafka


@contextmanager
def reached(section: KafkaConfig) -> Iterator[KafkaConnection]:
    """The connection, with the client's own log lines off; what the client raises becomes one line with its cause."""
    from kafka.errors import KafkaError

    quiet_client_logs()
    connection = replace(section.connection(), api_timeout_s=_REACH_S)
    try:
        yield connection
    except KafkaError as error:
        raise SourceUnavailable(f"kafka: {why(connection, error)}") from error


def _readers(line: LineConfig) -> list[KafkaSourceConfig]:
    """What reads frames from topics; where the file says nothing, `clearline worker infer` as it is by default."""
    readers = [camera.source for camera in line.cameras if camera.source.type == "kafka"]
    readers += [line.topic_reader] if line.topic_reader is not None else []
    return readers or [KafkaSourceConfig(type="kafka")]


def _statuses(admin: KafkaAdminClient, *, meanings: dict[str, str], reads: set[tuple[str, str]]) -> list[TopicStatus]:
    """`meanings` by topic; `reads` are (topic, group)."""
    from kafka import TopicPartition
    from kafka.admin import OffsetSpec

    described = {topic["name"]: topic for topic in admin.describe_topics(list(meanings))}
    counts = {name: len(described[name]["partitions"]) for name in meanings}
    places = [TopicPartition(name, number) for name, count in counts.items() for number in range(count)]
    firsts, ends = (
        {place: found.offset for place, found in admin.list_partition_offsets(dict.fromkeys(places, spec)).items()}
        for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
    )
    groups = sorted({group for _, group in reads})
    committed = {group: _committed(admin, group) for group in groups}
    statuses = []
    for name, meaning in meanings.items():
        topic, own = described[name], [place for place in places if place.topic == name]
        lags = {
            group: sum(ends[place] - max(committed[group].get(place, 0), firsts[place]) for place in own)
            for group in groups
            if (name, group) in reads
        }
        statuses.append(
            TopicStatus(
                name=name,
                state={0: "there", 3: "missing"}.get(topic["error_code"], "closed"),
                partitions=len(own),
                replicas=len(topic["partitions"][0]["replica_nodes"]) if own else 0,
                messages=sum(ends[place] - firsts[place] for place in own),
                lags=lags,
                meaning=meaning,
            )
        )
    return statuses


def _committed(admin: KafkaAdminClient, group: str) -> dict[TopicPartition, int]:
    """Offsets of the group; a broker asked for its first group since it was set up makes a topic for them first."""
    from kafka.errors import RetriableError

    clock = SystemClock()
    for attempt in range(_GROUP_ATTEMPTS):
        try:
            found = admin.list_group_offsets([group]).get(group, {})
        except RetriableError:
            if attempt == _GROUP_ATTEMPTS - 1:
                raise
            clock.wait(_GROUP_WAIT_S)
        else:
            return {place: committed.offset for place, committed in found.items()}
    raise AssertionError("the last attempt returns or raises")


def _line(status: TopicStatus) -> str:
    if status.state == "missing":
        return f"{status.name:24} missing; {status.meaning}"
    if status.state == "closed":
        return f"{status.name:24} closed: this user has no right to see it; {status.meaning}"
    lags = "".join(f", group {group} is {lag} behind" for group, lag in status.lags.items())
    return (
        f"{status.name:24} {status.partitions} partitions, {status.replicas} replicas, {status.messages} messages{lags}"
    )
