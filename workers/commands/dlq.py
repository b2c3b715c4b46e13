"""`clearline dlq`: what could not be read, why, and back to where it came from."""

from __future__ import annotations

import base64
import binascii
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from pipeline.errors import ConfigError, DataError
from workers.commands.kafka import JsonOption, kafka_section, reached
from workers.config.kafka import KafkaConfig
from workers.config.line import load_config
from workers.kafka.connection import KafkaConnection
from workers.kafka.diagnose import why
from workers.kafka.letters import MAX_REPLAYS, Letter, read_letter, read_letters, replay, replaying_producer

if TYPE_CHECKING:
    from kafka import KafkaProducer

app = typer.Typer(help="List, show and replay dead letters: what could not be read.", no_args_is_help=True)

ConfigOption = Annotated[Path | None, typer.Option("--config", help="The configuration file, with a section `kafka`.")]
FileOption = Annotated[Path | None, typer.Option("--file", help="A file of dead letters, <results>.dead.jsonl.")]
IdArgument = Annotated[str, typer.Argument(help="As `list` prints it.")]


@app.command("list")
def list_letters(
    *,
    config: ConfigOption = None,
    file: FileOption = None,
    reason: Annotated[str | None, typer.Option(help="Only those with this reason.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """One line for each letter: id, time, reason, source, where it came from, bytes, message."""
    n_found, shown = 0, deque[dict[str, Any]](maxlen=limit)
    for letter in _letters(config=config, file=file):
        if reason is None or letter.reason == reason:
            n_found += 1
            shown.append(_summary(letter))
    if as_json:
        print(orjson.dumps({"n_letters": n_found, "letters": list(shown)}).decode())
        return
    for each in shown:
        whence = f"{each['topic']}/{each['partition']}/{each['offset']}" if each["topic"] else "no topic"
        again = f" (put back {each['replays']} times)" if each["replays"] else ""
        what = f"{each['reason']:12} {each['source']:12} {whence} {each['n_bytes']} bytes{again}: {each['message']}"
        print(f"{each['id']:8} {each['time']} {what}")
    print(f"{n_found} letters" + (f", the newest {limit} shown: see --limit" if n_found > limit else ""))


@app.command()
def show(
    letter_id: IdArgument,
    *,
    config: ConfigOption = None,
    file: FileOption = None,
    out: Annotated[Path | None, typer.Option(help="Write the original bytes to this file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Everything about one letter: headers, and its original bytes with --out (with --json also in base64)."""
    if file is not None:
        letter = next((one for one in _letters(config=config, file=file) if one.id == letter_id), None)
        if letter is None:
            raise DataError(f"{file}: expected letter {letter_id}, got none of that id; see `clearline dlq list`")
    else:
        section = _section(config)
        with reached(section) as connection:
            letter = read_letter(connection, topic=_topic(section), letter_id=letter_id)
    if out is not None:
        _save(out, letter.value)
    headers = {name: value.decode("utf-8", "backslashreplace") for name, value in letter.headers}
    if as_json:
        body = {**_summary(letter), "headers": headers, "original_base64": base64.b64encode(letter.value).decode()}
        print(
            orjson.dumps(body | {"key": None if letter.key is None else letter.key.decode("utf-8", "replace")}).decode()
        )
        return
    for name, value in {**_summary(letter), **{f"header {name}": value for name, value in headers.items()}}.items():
        print(f"{name:32} {value}")
    print(f"{len(letter.value)} bytes written to {out}" if out else "the original bytes: --out FILE")


@app.command("replay")
def replay_letters(
    letter_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="As `list` prints them.")] = None,
    *,
    config: ConfigOption = None,
    file: FileOption = None,
    reason: Annotated[str | None, typer.Option(help="All with this reason.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Put letters back onto the topic they came from, with their own bytes, key and headers.

    The letter itself stays until its topic forgets it: replaying it twice puts it back twice. One that fails again is
    refused after its third time. Exit code 3 when a letter was refused.
    """
    if file is not None:
        raise ConfigError(
            f"{file}: expected letters on a topic, got a file, which knows no topic; use `dlq show --out`"
        )
    if bool(letter_ids) + (reason is not None) + every != 1:
        raise ConfigError("clearline dlq replay: expected either ids, or --reason, or --all; `dlq list` prints the ids")
    section = _section(config)
    max_bytes = section.message_max_bytes + 1_000_000  # a header more than when it was sent first
    with reached(section) as connection:
        letters = _chosen(connection, topic=_topic(section), letter_ids=letter_ids or (), reason=reason)
        producer = replaying_producer(connection, max_message_bytes=max_bytes)
        try:
            n_replayed, refused = _put_back(producer, letters, connection=connection)
        finally:
            producer.close(timeout=5.0)
    if as_json:
        print(orjson.dumps({"n_replayed": n_replayed, "refused": refused}).decode())
    else:
        for each in refused:
            print(f"{each['id']:8} refused: {each['why']}")
        print(f"{n_replayed} put back, {len(refused)} refused (limit: {MAX_REPLAYS} times)")
    if refused:
        raise typer.Exit(DataError.exit_code)


def _put_back(
    producer: KafkaProducer, letters: Iterable[Letter], *, connection: KafkaConnection
) -> tuple[int, list[dict[str, str]]]:
    """(how many went, those that could not with the reason); stops where the brokers do not take one."""
    from kafka.errors import KafkaError

    n_replayed, refused = 0, []
    for letter in letters:
        if (refusal := letter.refusal()) is not None:
            refused.append({"id": letter.id, "why": refusal})
            continue
        try:
            replay(producer, letter)
        except KafkaError as error:
            cause = why(connection, error, topics=[str(letter.topic)])
            refused.append({"id": letter.id, "why": f"{letter.topic}: {cause} (stopped here)"})
            break
        n_replayed += 1
    return n_replayed, refused


def _chosen(
    connection: KafkaConnection, *, topic: str, letter_ids: Sequence[str], reason: str | None
) -> Iterator[Letter]:
    if letter_ids:
        for letter_id in dict.fromkeys(letter_ids):
            yield read_letter(connection, topic=topic, letter_id=letter_id)
        return
    yield from (letter for letter in read_letters(connection, topic=topic) if reason in (None, letter.reason))


def _letters(*, config: Path | None, file: Path | None) -> Iterator[Letter]:
    """From the topic, or from the file where one is named."""
    if file is not None:
        yield from _letters_in(file)
        return
    section = _section(config)
    with reached(section) as connection:
        yield from read_letters(connection, topic=_topic(section))


def _section(config: Path | None) -> KafkaConfig:
    if config is None:
        raise ConfigError(
            "clearline dlq: expected --config LINE.yaml (or --file for a file of dead letters), got neither"
        )
    return kafka_section(load_config(config), file=config)


def _topic(section: KafkaConfig) -> str:
    return f"{section.topics_prefix}.dlq.v1"


def _letters_in(file: Path) -> Iterator[Letter]:
    """As the sink of a line without Kafka writes them; the number of the line is the id."""
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                yield _letter_of(line, where=f"{file}, line {number}", number=number)
    except OSError as error:
        raise DataError(f"{file}: expected a file of dead letters, got: {error.strerror}; name another") from error


def _letter_of(line: bytes, *, where: str, number: int) -> Letter:
    try:
        body = orjson.loads(line)
        return Letter(
            id=str(number),
            time=str(body["time"]),
            reason=str(body["reason"]),
            message=str(body["message"]),
            source=str(body["source_id"]),
            event_id=str(body["event_id"]),
            topic=None,
            partition=None,
            offset=None,
            replays=0,
            n_cut=0,
            key=None,
            value=base64.b64decode(body["original_base64"], validate=True),
            headers=(),
        )
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise DataError(f"{where}: expected a dead letter as JSON, got something else; is it a .dead.jsonl?") from error


def _summary(letter: Letter) -> dict[str, Any]:
    names = ("id", "time", "reason", "source", "event_id", "topic", "partition", "offset", "replays", "message")
    return {name: getattr(letter, name) for name in names} | {"n_bytes": len(letter.value) or letter.n_cut}


def _save(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise DataError(f"{path}: the bytes cannot be saved ({error.strerror}); name a writable file") from error
