"""`clearline texts add` and `clearline texts remove`: the dictionary's file, and the CODER head made from it."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer

from pipeline.encoders.build import EncoderBundle
from pipeline.errors import BundleError, ConfigError, DataError
from pipeline.heads.bundles import registry
from pipeline.heads.bundles.atomic import write_atomic
from pipeline.heads.bundles.bundle import HeadBundle, Provenance
from pipeline.heads.bundles.evidence import Evidence, TextIndex
from pipeline.heads.coder.coding import class_vectors, unit
from pipeline.heads.coder.head import CoderAdapterHead, CoderHead
from pipeline.heads.coder.rejudge import AnyCoder, rejudged
from pipeline.heads.fitted import FittedHead, LabelledFeatures
from pipeline.heads.report import Accuracy
from pipeline.texts.bank import build_zero_shot
from pipeline.texts.dictionary import TextDictionary, dump_dictionary, load_dictionary
from pipeline.texts.editing import follow_dictionary
from pipeline.texts.entries import Text, TextKind
from pipeline.texts.file_edit import inserted, renamed, taken_out, with_added, with_name, with_removed
from pipeline.types import Features
from workers.clock import SystemClock
from workers.commands.adaptation_opening import JsonOption, head_folder, say
from workers.config.line import LineConfig, load_config
from workers.opening.line import open_encoder

MOVED_DEGREES = 0.05  # a class vector that turned less is not worth a line


class KindOption(enum.StrEnum):
    """What a text says about its class, as the command line calls it."""

    NAME = "name"
    SYNONYM = "synonym"
    ATTRIBUTE = "attribute"
    ANALOGOUS = "analogous"
    ONE_TO_ONE = "one_to_one"


@dataclass(frozen=True, slots=True)
class Followed:
    """The next version of a CODER head."""

    version: int
    made_from: int
    sha256: str
    turned: dict[str, float]  # degrees, of class vectors that turned
    before: dict[str, Any]  # accuracy of the head as it was, on the rows its bundle holds; n 0: none can judge it
    after: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Edited:
    """What an edit did."""

    file: str
    kept_comments: bool
    followed: Followed | None
    why_not: str  # no head followed; empty where one did


ClassArgument = Annotated[str, typer.Argument(metavar="CLASS", help="The class id, as in the dictionary.")]
TextArgument = Annotated[str, typer.Argument(metavar="TEXT", help="The phrase, as it stands in the dictionary.")]
KindArgument = Annotated[KindOption, typer.Option(help="What it says about the class; name replaces the name.")]
AgainstOption = Annotated[str | None, typer.Option(help="With one_to_one: the class it tells this one from.")]
LineOption = Annotated[Path, typer.Option("--config", help="The line's configuration: its texts, its head.")]


def texts_add(
    class_id: ClassArgument,
    text: TextArgument,
    *,
    kind: KindArgument,
    config: LineOption,
    against: AgainstOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a text; where the head is of a CODER kind, write its next version, which no image was encoded for.

    The version is not live yet: compare the accuracy, then `clearline head promote`.
    """
    line = load_config(config)
    before = _dictionary(line)
    content = _content(before)
    if kind is KindOption.NAME:
        after = with_name(before, class_id=class_id, name=text)
        edited = renamed(content, class_id=class_id, name=text)
    else:
        told = _text(text, kind=kind, against=against, dictionary=before)
        after = with_added(before, class_id=class_id, text=told)
        known = len(after.class_texts(class_id).texts) == len(before.class_texts(class_id).texts)
        edited = taken_out(content, class_id=class_id, text=told) if known else content  # a draft, taken into use
        edited = inserted(edited, class_id=class_id, text=told)
    _finish(line, before=before, after=after, edited=edited, note=f"added to {class_id}: {text}", as_json=as_json)


def texts_remove(
    class_id: ClassArgument,
    text: TextArgument,
    *,
    kind: KindArgument,
    config: LineOption,
    against: AgainstOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a text; where the head is of a CODER kind, write its next version, which no image was encoded for."""
    line = load_config(config)
    before = _dictionary(line)
    if kind is KindOption.NAME:
        raise ConfigError(
            "--kind: expected anything but name, which a class cannot do without; add another name instead"
        )
    told = _text(text, kind=kind, against=against, dictionary=before)
    after = with_removed(before, class_id=class_id, text=told)
    edited = taken_out(_content(before), class_id=class_id, text=told)
    _finish(line, before=before, after=after, edited=edited, note=f"removed from {class_id}: {text}", as_json=as_json)


def _dictionary(line: LineConfig) -> TextDictionary:
    if line.head.texts is None:
        raise ConfigError("head.texts: expected the dictionary to edit, got none; name it in the configuration")
    return load_dictionary(line.head.texts)


def _content(dictionary: TextDictionary) -> str:
    return Path(dictionary.source).read_text(encoding="utf-8")


def _text(text: str, *, kind: KindOption, against: str | None, dictionary: TextDictionary) -> Text:
    if (against is not None) != (kind is KindOption.ONE_TO_ONE):
        raise ConfigError("--against: expected a class exactly with --kind one_to_one")
    return Text(text.strip(), TextKind[kind.name], dictionary.language, rival=against)


def _finish(
    line: LineConfig, *, before: TextDictionary, after: TextDictionary, edited: str, note: str, as_json: bool
) -> None:
    """First the head's next version, which is not live, then the file: a kill between them harms nothing."""
    path = Path(before.source)
    kept = _is(edited, dictionary=after)
    followed, why_not = None, ""
    try:
        followed = _follow(line, before=before, after=after, note=note)
    except _NotFollowed as reason:
        why_not = str(reason)
    write_atomic(path, content=(edited if kept else dump_dictionary(after)).encode())
    done = Edited(str(path), kept, followed, why_not)
    say(asdict(done), text=_lines(done, note=note), as_json=as_json)


def _is(content: str, *, dictionary: TextDictionary) -> bool:
    """Does the edited file say what was meant, and nothing else?"""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "texts.yaml"
        path.write_text(content, encoding="utf-8")
        try:
            return dump_dictionary(load_dictionary(path)) == dump_dictionary(dictionary)
        except DataError:
            return False


class _NotFollowed(Exception):
    """There is no head that could follow, and that is no fault."""


def _follow(line: LineConfig, *, before: TextDictionary, after: TextDictionary, note: str) -> Followed:
    bundle = _made_with(line, texts=before)
    head = bundle.head
    if not isinstance(head, CoderHead | CoderAdapterHead):
        reason = f"its kind is {head.name}, which is made of its images: fit it again to use the texts"
        raise _NotFollowed(f"version {bundle.version} does not follow; {reason}")
    if bundle.evidence.support is None:
        raise _NotFollowed(f"version {bundle.version} does not follow; it holds no labelled rows: fit it again")
    encoder = open_encoder(line)
    ordered = [one.ordered_as(head.classes, folder="the head") for one in (before, after)]
    rows = _support(bundle)
    if isinstance(head, CoderHead):
        new: AnyCoder = follow_dictionary(
            head, before=ordered[0], after=ordered[1], encoder=_tower(encoder), image=rows.features.image
        )
    else:
        new = follow_dictionary(head, before=ordered[0], after=ordered[1], encoder=_tower(encoder))
    judged = [
        rejudged(
            one,
            support=rows,
            text=build_zero_shot(texts, encoder=_tower(encoder)),
            temperature=bundle.temperature,
            report=bundle.manifest.report,
            note=note,
        )
        for one, texts in zip((head, new), ordered, strict=True)
    ]
    saved = _save(judged[1], line=line, bundle=bundle, encoder=encoder, texts=ordered[1])
    accuracies = [one.report.accuracy_head.to_json() for one in judged]
    return Followed(saved.version, bundle.version, saved.sha256, _turned(head, after=new), *accuracies)


def _made_with(line: LineConfig, *, texts: TextDictionary) -> HeadBundle:
    """The live head, if it was made with the file as it was; else the newest that was, as after an edit before."""
    folder = head_folder(line)
    versions = list(reversed(registry.versions(folder)))
    with suppress(BundleError):
        versions.insert(0, registry.live_version(folder)[0])
    for version in versions:
        try:
            bundle = registry.load(folder, encoder=None, version=version)
            ordered = texts.ordered_as(bundle.head.classes, folder="the head")
        except (BundleError, DataError):
            continue
        if bundle.manifest.provenance.get("texts_sha256") == ordered.sha256:
            return bundle
    raise _NotFollowed(f"no version in {folder} was made with this file as it was: fit one with `clearline head fit`")


def _tower(encoder: EncoderBundle) -> Any:
    if encoder.text is None:
        raise ConfigError(f"encoder must have a text tower to read texts, got {encoder.image.info.name}")
    return encoder.text


def _support(bundle: HeadBundle) -> LabelledFeatures:
    rows = bundle.evidence.support
    assert rows is not None  # asked for only where there is one
    groups = np.unique(np.array(rows.names), return_inverse=True)[1].astype(np.int64)
    return LabelledFeatures(Features(image=rows.image), rows.labels, groups, bundle.head.classes)


def _save(
    fitted: FittedHead, *, line: LineConfig, bundle: HeadBundle, encoder: EncoderBundle, texts: TextDictionary
) -> HeadBundle:
    head = fitted.head
    bank = head.prior if isinstance(head, CoderAdapterHead) else head
    assert isinstance(bank, CoderHead)  # _follow took no other
    index = TextIndex(np.asarray(bank.texts.vectors, np.float32), bank.texts.class_of, bank.sentences)
    provenance = replace(
        Provenance(**bundle.manifest.provenance),
        texts_sha256=texts.sha256,
        created_at=datetime.fromtimestamp(SystemClock().utc(), UTC).isoformat(timespec="seconds"),
        recipe={"edited_from": bundle.version},  # no fit would give these bytes again
    )
    return registry.save(
        fitted,
        folder=head_folder(line),
        encoder=encoder.image.info,
        provenance=provenance,
        evidence=Evidence(held_out=fitted.held_out, support=bundle.evidence.support, texts=index),
        live=False,
    )


def _turned(before: AnyCoder, *, after: AnyCoder) -> dict[str, float]:
    """Degrees by which each class's mean vector turned, those that did."""
    means = []
    for head in (before, after):
        prior = head.prior if isinstance(head, CoderAdapterHead) else head
        found = class_vectors(prior.sums, form=prior.form)
        whole = found.vectors + found.centre
        means.append([unit(whole[found.class_of == c].mean(axis=0)[None])[0] for c in range(len(head.classes))])
    cosines = np.clip([float(a @ b) for a, b in zip(*means, strict=True)], -1.0, 1.0)
    degrees = dict(zip(before.classes, np.degrees(np.arccos(cosines)).tolist(), strict=True))
    return {name: round(turn, 2) for name, turn in degrees.items() if turn >= MOVED_DEGREES}


def _lines(done: Edited, *, note: str) -> Iterator[str]:
    yield f"{done.file}: {note}"
    if not done.kept_comments:
        yield "  written anew: its layout did not allow an edit in place, and its comments are gone"
    if done.followed is None:
        yield f"no head followed: {done.why_not}"
        return
    new = done.followed
    for name, degrees in new.turned.items():
        yield f"  class vector of {name} turned by {degrees:g} degrees"
    if new.after["n"]:
        yield f"  on the labelled rows: {_share(new.before)} before, {_share(new.after)} now"
    else:
        yield "  no labelled row can judge it (its weights were tuned on them): no guarantee holds before the next fit"
    yield f"version {new.version}, from version {new.made_from} without an image encoded (SHA-256 {new.sha256[:12]})"
    yield f"not live yet: clearline head promote {new.version}"


def _share(plain: dict[str, Any]) -> str:
    accuracy = Accuracy(n_right=plain["n_right"], n=plain["n"])
    return f"{100 * accuracy.value:.1f} % ({accuracy.n_right} of {accuracy.n})" if accuracy.n else "not judged"
