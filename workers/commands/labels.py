"""`clearline labels`: labels in, labels out, and the questions that are open."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pipeline.adaptation.support.exchange import write_exemplars, write_labels
from pipeline.adaptation.support.exemplars import Caps, Exemplar
from pipeline.adaptation.support.folders import write_folders, write_label_csv, write_label_lines
from pipeline.adaptation.support.intake import LabelIntake
from pipeline.adaptation.support.label_queue import LabelQueue, Question
from pipeline.adaptation.support.store import SupportStore
from pipeline.errors import ConfigError, DataError
from workers.adaptation.chain import current_product
from workers.adaptation.files import AdaptationFiles
from workers.adaptation.pictures import PictureStore
from workers.clock import SystemClock
from workers.commands.adaptation_opening import (
    ConfigOption,
    JsonOption,
    adaptation_of,
    opened_store,
    say,
)
from workers.commands.head_support import Progress, progress_shown
from workers.commands.labels_import import Imported, import_founders, import_labels, known_classes
from workers.config.line import LineConfig, load_config
from workers.opening.line import open_encoder

app = typer.Typer(help="Bring labels in and out, answer open questions.", no_args_is_help=True)

Format = Literal["jsonl", "csv", "parquet", "folders", "exemplars"]
ALL = 1_000_000  # questions; more than any queue holds


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    out: str
    format: str
    n_labels: int
    n_exemplars: int
    without_picture: tuple[str, ...]  # events, of format folders


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of one answer."""

    event_id: str
    label: str
    outcome: str
    reason: str


@app.command("import")
def labels_import(
    paths: Annotated[
        list[Path], typer.Argument(help="Labels (.jsonl, .csv, .parquet), or folders with one folder of images each.")
    ],
    *,
    config: ConfigOption,
    shots: Annotated[int, typer.Option(min=1, help="Pictures per class at most, of a folder.")] = Caps().founders,
    as_json: JsonOption = False,
) -> None:
    """Take labels of parts the line has seen, or founding pictures of its classes; nothing is taken silently."""
    with progress_shown() as progress:
        found = import_all(paths, config=load_config(config), shots=shots, progress=progress)
    plain = {"files": [asdict(one) for one in found]}
    say(plain, text=(line for one in found for line in _imported(one)), as_json=as_json)


@app.command("export")
def labels_export(
    *,
    config: ConfigOption,
    out: Annotated[Path, typer.Option(help="A file, or a folder for the formats folders.")],
    as_format: Annotated[
        Format | None, typer.Option("--format", help="Default: by the ending of --out; none: folders.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write all labels (jsonl, csv, parquet), exemplars with embeddings (exemplars), or pictures by class (folders)."""
    done = export_labels(out, config=load_config(config), as_format=as_format)
    text = f"{done.out}: {done.n_labels} labels, {done.n_exemplars} exemplars ({done.format})"
    if done.without_picture:
        text += f"; {len(done.without_picture)} without a picture, the first {done.without_picture[0]}"
    say(asdict(done), text=iter((text,)), as_json=as_json)


@app.command("queue")
def labels_queue(
    *,
    config: ConfigOption,
    limit: Annotated[int, typer.Option(min=1, help="Questions shown.")] = 16,
    labeller: Annotated[str, typer.Option(help="Who answers; leaves out what this person has answered.")] = "",
    answer: Annotated[
        list[str] | None, typer.Option(help="EVENT=LABEL, with --labeller; may be given several times.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show open questions, oldest first, or answer them."""
    loaded, at = load_config(config), SystemClock().utc()
    _, files = adaptation_of(loaded)
    with opened_store(files, encoder=open_encoder(loaded).image.info) as store:
        answered = answer_all(answer or (), store=store, classes=known_classes(loaded), labeller=labeller, at=at)
        queue = LabelQueue(store.database)
        questions = queue.questions(labeller=labeller, at=at, limit=limit)
        n_open = {stream.value: n for stream, n in queue.n_open(at=at).items()}
    plain: dict[str, Any] = {"open": n_open, "questions": [asdict(one) for one in questions]}
    plain["answered"] = [asdict(one) for one in answered]
    say(plain, text=_asked(answered, questions=questions, n_open=n_open), as_json=as_json)


def import_all(
    paths: Sequence[Path],
    *,
    config: LineConfig,
    shots: int = Caps().founders,
    progress: Progress = lambda _what, _share: None,
) -> list[Imported]:
    """Everything `labels import` does but print. Blocks."""
    given, files = adaptation_of(config)
    encoder, at = open_encoder(config), SystemClock().utc()
    product, _ = current_product(files.audit, configured=given.product)
    done = []
    with opened_store(files, encoder=encoder.image.info) as store:
        for path in paths:
            if path.is_dir():
                done.append(
                    import_founders(
                        path,
                        config=config,
                        store=store,
                        encoder=encoder,
                        product=product,
                        shots=shots,
                        at=at,
                        progress=progress,
                    )
                )
            else:
                done.append(import_labels(path, store=store, classes=known_classes(config), files=files, at=at))
    return done


def export_labels(out: Path, *, config: LineConfig, as_format: Format | None = None) -> Exported:
    """Everything `labels export` does but print. Raises ConfigError for an ending that says no format. Blocks."""
    _, files = adaptation_of(config)
    chosen = as_format or _format_of(out)
    with opened_store(files, encoder=open_encoder(config).image.info) as store:
        labels = tuple(store.labels.since(0.0))
        if chosen == "exemplars":
            stored = store.exemplars(living=False)
            write_exemplars(stored, path=out)
            return Exported(str(out), chosen, 0, len(stored), ())
        if chosen == "folders":
            exemplars = [one.exemplar for one in store.exemplars()]
            done = write_folders(exemplars, folder=out, read_image=_reader(files), labels=labels)
            return Exported(str(out), chosen, len(labels), done.n_images, done.without_image)
    writers = {"jsonl": write_label_lines, "csv": write_label_csv, "parquet": write_labels}
    writers[chosen](labels, path=out)
    return Exported(str(out), chosen, len(labels), 0, ())


def answer_all(
    answers: Sequence[str], *, store: SupportStore, classes: Sequence[str], labeller: str, at: float
) -> list[Answered]:
    """EVENT=LABEL each; all are checked before the first is written. Raises ConfigError, DataError."""
    if answers and not labeller:
        raise ConfigError("--answer: expected --labeller with it, got none; name who answers")
    queue, chosen = LabelQueue(store.database), list[tuple[Question, str]]()
    waiting = {one.event_id: one for one in queue.questions(labeller=labeller, at=at, limit=ALL)} if answers else {}
    for text in answers:
        event_id, _, label = text.rpartition("=")
        if event_id not in waiting:
            raise DataError(f"--answer {text}: expected EVENT=LABEL of an open question of {labeller}, got none of it")
        if label not in classes:
            raise DataError(f"--answer {text}: expected one of {', '.join(classes)}, got {label}")
        chosen.append((waiting[event_id], label))
    intake, done = LabelIntake(store, classes=classes, knows_event=queue.knows), []
    for question, label in chosen:
        with store.writing():
            said = queue.answer(question.request_id, label=label, labeller=labeller, at=at)
            taken = intake.take_label(said, at=at)
        done.append(Answered(question.event_id, label, taken.outcome.value, taken.reason))
    return done


def _reader(files: AdaptationFiles) -> Any:
    if not files.pictures.is_dir():
        return lambda _one: None
    pictures = PictureStore(files.pictures, max_bytes=0)  # only read from

    def read(one: Exemplar) -> bytes | None:
        return pictures.read(one.evidence or one.event_id)

    return read


def _format_of(out: Path) -> Format:
    endings: dict[str, Format] = {".jsonl": "jsonl", ".csv": "csv", ".parquet": "parquet", "": "folders"}
    chosen = endings.get(out.suffix.lower())
    if chosen is None:
        raise ConfigError(f"--out {out}: expected .jsonl, .csv, .parquet or a folder, got {out.suffix}; give --format")
    return chosen


def _imported(one: Imported) -> Iterator[str]:
    yield (
        f"{one.path}: {one.n_accepted} {one.what} accepted, {one.n_duplicate} known before, "
        f"{one.n_contradiction} contradictions, {one.n_unknown} unknown, {one.n_quarantined} set aside in all"
    )
    yield from (f"  {reason}" for reason in one.reasons)


def _asked(answered: Sequence[Answered], *, questions: Sequence[Question], n_open: dict[str, int]) -> Iterator[str]:
    for one in answered:
        yield f"{one.event_id}: {one.label}, {one.outcome}{': ' if one.reason else ''}{one.reason}"
    total = sum(n_open.values())
    yield f"{total} open questions" + (f" ({', '.join(f'{n} {s}' for s, n in n_open.items())})" if total else "")
    for question in questions:
        until = datetime.fromtimestamp(question.expires_at, UTC).isoformat(timespec="minutes")
        said = "" if question.model_label is None else f", the line said {question.model_label}"
        yield f"  {question.event_id}  open until {until}{said}"
