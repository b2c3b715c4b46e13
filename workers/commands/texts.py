"""`clearline texts`: check and edit a text dictionary, and have drafts suggested for it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
import typer

from pipeline.encoders.build import EncoderBundle
from pipeline.errors import ConfigError, DataError
from pipeline.heads.bundles.atomic import write_atomic
from pipeline.interfaces import TextEncoder
from pipeline.texts.check import Finding, check_bank, check_wording, harmful_texts
from pipeline.texts.coding import CodedTexts, StoredTexts, encode_dictionary
from pipeline.texts.dictionary import TextDictionary, dump_dictionary, load_dictionary
from pipeline.texts.entries import Text
from pipeline.texts.features import LabelledRows, load_rows
from pipeline.texts.suggest import from_trade, load_trade, with_drafts
from pipeline.texts.utility import Pruning, judge_pruning, text_utilities
from workers.clock import SystemClock
from workers.commands.texts_edit import texts_add, texts_remove
from workers.config.line import load_config
from workers.config.loading import load_model, read_secret
from workers.generator.chat import ChatEndpoint
from workers.generator.config import GeneratorConfig
from workers.generator.generate import generate
from workers.opening.line import open_encoder

app = typer.Typer(help="Check and edit text dictionaries, and have drafts suggested.", no_args_is_help=True)
app.command("add")(texts_add)
app.command("remove")(texts_remove)
TRADES = Path(__file__).parents[2] / "configs" / "texts" / "trade"
ADVICE = "drafts change no head: read them, set their status to active or retired, then replace the dictionary"


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The text dictionary.")],
    *,
    config: Annotated[Path | None, typer.Option(help="The line's configuration: its encoder reads the texts.")] = None,
    features: Annotated[
        Path | None, typer.Option(help="NPZ with x, y, classnames (or train{K}_x, train{K}_y): labelled images.")
    ] = None,
    shots: Annotated[int | None, typer.Option(min=1, help="Which K of train{K}_x; default: the largest.")] = None,
    strict: Annotated[bool, typer.Option(help="Exit code 1 when anything is found.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find texts that do no good: duplicates, dead ones, and with labelled features those that cost accuracy.

    Without --config the vectors are read from `sentences` and `text_x` of the features file; without either, only the
    wording is checked.
    """
    dictionary = load_dictionary(file)
    findings = list(check_wording(dictionary))
    rows = None if features is None else load_rows(features, shots=shots, classes=dictionary.class_ids)
    coded = _coded(dictionary, config=config, rows=rows)
    pruning = None
    if coded is not None:
        findings += check_bank(coded, image=None if rows is None else rows.image)
        if rows is not None:
            found, pruning = _judged(coded, rows=rows)
            findings += found
    _print_findings(findings, file=file, n_texts=_n_texts(dictionary), pruning=pruning, as_json=as_json)
    if strict and findings:
        raise typer.Exit(1)


def _coded(dictionary: TextDictionary, *, config: Path | None, rows: LabelledRows | None) -> CodedTexts | None:
    encoder: TextEncoder | None = None
    if config is not None:
        encoder = _text_tower(config)
    elif rows is not None:
        if rows.text is None:
            raise DataError(f"{rows.source}: expected sentences and text_x, or an encoder by --config, got neither")
        encoder = StoredTexts(rows.sentences, vectors=rows.text)
    if encoder is None:
        return None
    coded = encode_dictionary(dictionary, encoder=encoder)
    if rows is not None and rows.image.shape[1] != coded.rows.vectors.shape[1]:
        raise DataError(
            f"{rows.source}: expected features of width {coded.rows.vectors.shape[1]} as the texts have, "
            f"got {rows.image.shape[1]}"
        )
    return coded


def _judged(coded: CodedTexts, *, rows: LabelledRows) -> tuple[list[Finding], Pruning | None]:
    labels, texts = rows.labels, coded.rows
    utilities = text_utilities(rows.image, labels=labels, texts=texts, scale=coded.scale)
    groups = np.arange(labels.size)
    pruning = judge_pruning(rows.image, labels=labels, groups=groups, texts=texts, scale=coded.scale)
    return list(harmful_texts(coded, utilities=utilities)), pruning


def _text_tower(config: Path) -> TextEncoder:
    bundle: EncoderBundle = open_encoder(load_config(config))
    if bundle.text is None:
        raise ConfigError(f"{config}: encoder must have a text tower to read texts, got {bundle.image.info.name}")
    return bundle.text


def _n_texts(dictionary: TextDictionary) -> int:
    return sum(1 + sum(t.active for t in c.texts) for c in dictionary.classes)


def _print_findings(
    findings: list[Finding], *, file: Path, n_texts: int, pruning: Pruning | None, as_json: bool
) -> None:
    if as_json:
        listed = [{"problem": f.problem, "class": f.class_id, "text": f.text, "detail": f.detail} for f in findings]
        plain: dict[str, Any] = {"file": str(file), "n_texts": n_texts, "findings": listed, "out_of_fold": None}
        if pruning is not None:
            names = ("n_judged", "accuracy_with", "accuracy_without")
            plain["out_of_fold"] = {name: getattr(pruning, name) for name in names}
        print(orjson.dumps(plain).decode())
        return
    for f in findings:
        print(f"{f.class_id}: {f.problem}: {f.text + ': ' if f.text else ''}{f.detail}")
    if pruning is not None:
        print(
            f"out of fold, {pruning.n_judged} images: {100 * pruning.accuracy_with:.1f} % with all texts, "
            f"{100 * pruning.accuracy_without:.1f} % without those that did harm on the other folds"
        )
    print(f"{file}: {n_texts} texts in use, {len(findings)} findings")


@app.command()
def suggest(
    file: Annotated[Path, typer.Argument(help="The text dictionary.")],
    *,
    trade: Annotated[
        str | None, typer.Option(help="Offline: a list of configs/texts/trade, or the path of your own.")
    ] = None,
    generator: Annotated[
        Path | None, typer.Option(help="Online: YAML with base_url, model, api_key_file of a chat endpoint.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The line's configuration: its encoder filters analogies.")
    ] = None,
    classes: Annotated[list[str] | None, typer.Option("--class", help="Only this class; may be repeated.")] = None,
    against: Annotated[
        list[str] | None, typer.Option(help="Online: CLASS:RIVAL to tell apart; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; default: FILE with .drafts.yaml.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write the dictionary again with drafts from the trade's lists, a chat endpoint, or both; FILE stays as it is."""
    dictionary = load_dictionary(file)
    if trade is None and generator is None:
        raise ConfigError("expected --trade NAME (offline) or --generator FILE (online), got neither")
    wanted = _wanted(dictionary, classes=classes)
    grown = dictionary
    if trade is not None:
        offered = from_trade(dictionary, trade=load_trade(_trade_path(trade)))
        grown = with_drafts(grown, drafts={c: texts for c, texts in offered.items() if c in wanted})
    if generator is not None:
        encoder = None if config is None else _text_tower(config)
        rivals = _pairs(against or [], dictionary=dictionary)
        drafts = generate(grown, chat=open_chat(generator), encoder=encoder, classes=wanted, rivals=rivals)
        grown = with_drafts(grown, drafts=drafts)
    target = out or file.with_suffix(".drafts.yaml")
    if target.resolve() == file.resolve():
        raise ConfigError(f"{target}: expected another file than the dictionary itself, whose comments would be lost")
    write_atomic(target, content=dump_dictionary(grown).encode())
    _print_drafts(dictionary, grown=grown, target=target, as_json=as_json)


def _wanted(dictionary: TextDictionary, *, classes: list[str] | None) -> tuple[str, ...]:
    return tuple(dictionary.class_texts(c).class_id for c in classes or dictionary.class_ids)


def _trade_path(trade: str) -> Path:
    """A name of the shipped lists, or a path."""
    path = Path(trade)
    if path.suffix in (".yaml", ".yml"):
        return path
    known = sorted(p.stem for p in TRADES.glob("*.yaml"))
    if trade not in known:
        raise ConfigError(f"--trade must be one of {', '.join(known) or 'none here'} or a .yaml file, got {trade}")
    return TRADES / f"{trade}.yaml"


def _pairs(against: list[str], *, dictionary: TextDictionary) -> list[tuple[str, str]]:
    pairs = []
    for pair in against:
        first, _, second = pair.partition(":")
        ids = tuple(dictionary.class_texts(class_id).class_id for class_id in (first, second))
        if ids[0] == ids[1]:
            raise ConfigError(f"--against must name two different classes as CLASS:RIVAL, got {pair}")
        pairs.append((ids[0], ids[1]))
    return pairs


def open_chat(path: Path) -> ChatEndpoint:
    """The endpoint that a file names."""
    given = load_model(path, model=GeneratorConfig)
    try:
        api_key = None if given.api_key_file is None else read_secret(given.api_key_file)
    except ValueError as error:
        raise ConfigError(f"{path}: api_key_file {error}") from error
    return ChatEndpoint(
        given.base_url,
        model=given.model,
        clock=SystemClock(),
        cache=given.cache,
        api_key=api_key,
        temperature=given.temperature,
        timeout_s=given.timeout_s,
        attempts=given.attempts,
    )


def _print_drafts(before: TextDictionary, *, grown: TextDictionary, target: Path, as_json: bool) -> None:
    drafts: dict[str, tuple[Text, ...]] = {
        c.class_id: c.texts[len(before.class_texts(c.class_id).texts) :] for c in grown.classes
    }
    n_drafts = sum(len(texts) for texts in drafts.values())
    if as_json:
        listed = [
            {"class": c, "kind": t.kind, "rival": t.rival, "text": t.text, "provenance": t.provenance}
            for c, texts in drafts.items()
            for t in texts
        ]
        print(orjson.dumps({"file": str(target), "n_drafts": n_drafts, "drafts": listed}).decode())
        return
    for c, texts in drafts.items():
        for t in texts:
            versus = f" against {t.rival}" if t.rival else ""
            print(f"{c}: {t.kind}{versus}: {t.text} ({t.provenance})")
    print(f"{target}: {n_drafts} drafts")
    print(ADVICE, file=sys.stderr)
