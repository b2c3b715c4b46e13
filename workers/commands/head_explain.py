"""`clearline head explain`: why a picture gets its label, for a terminal, as JSON and as a picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import cv2
import numpy as np
import orjson
import typer

from pipeline.errors import BadFrame, ConfigError, DataError, SinkError
from pipeline.explain import TOP_K, explain
from pipeline.types import Features, Roi, UInt8Array
from workers.commands.explain_picture import draw_explanation
from workers.commands.explained import BY_LIKENESS, Explained, OpenedHead, read_picture, shown_confusion, signed

if TYPE_CHECKING:
    from pipeline.encoders.build import EncoderBundle
    from workers.config.line import LineConfig

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def head_explain(
    image: Annotated[Path, typer.Argument(help="A picture of the line, whole, as its camera gives it.")],
    *,
    config: Annotated[Path, typer.Option(help="The line's configuration file.")],
    head: Annotated[
        int | None, typer.Option("--head", min=1, help="Version of the head; default: as the line.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Also draw a picture to this .png or .jpg.")] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder the head was fitted on, to show its images in --out.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Texts and labelled images shown.")] = TOP_K,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say why a picture gets its label: rival, margins, confusion removed, texts and labelled images that add up."""
    from workers.config.line import load_config

    if out is not None and out.suffix.lower() not in PICTURES:
        raise ConfigError(f"--out {out}: expected a name that ends in {', '.join(PICTURES)}, got {out.suffix!r}")
    if images is not None and not images.is_dir():
        raise DataError(f"--images {images}: expected the folder the head was fitted on, got no such folder")
    done = explain_file(image, config=load_config(config), version=head, top_k=top)
    if out is not None:
        _write(out, picture=draw_explanation(done, images=images))
    if as_json:
        print(orjson.dumps(as_plain(done, out=out)).decode())
        return
    for line in as_text(done):
        print(line)
    if out is not None:
        print(f"picture: {out}")


def explain_file(
    image: Path,
    *,
    config: LineConfig,
    version: int | None = None,
    top_k: int = TOP_K,
    encoder: EncoderBundle | None = None,
) -> Explained:
    """All that `head explain` does but print and draw; opens the configured encoder unless one is handed in. Blocks."""
    from workers.config.cameras import common_roi
    from workers.opening.line import open_encoder

    picture, roi = read_picture(image), common_roi(config.cameras)
    encoder = encoder or open_encoder(config)
    opened = _opened_head(config, encoder=encoder, version=version)
    features = _encoded(picture, file=image, roi=roi, encoder=encoder)
    explanation = explain(
        opened.head, features=features, temperature=opened.temperature, evidence=opened.evidence, top_k=top_k
    )
    height, width = (roi.height, roi.width) if roi.width else (None, None)
    region = picture[roi.y :, roi.x :][:height, :width]
    return Explained(image, region, config.head.name, opened, encoder.image.info.name, explanation)


def _opened_head(config: LineConfig, *, encoder: EncoderBundle, version: int | None) -> OpenedHead:
    """The version asked for, else the line's. Raises BundleError, ConfigError."""
    from pipeline.heads.bundles import registry

    if version is None and config.head.kind == "zero_shot":
        return _texts_alone(config, encoder=encoder)
    if version is None and config.head.version != "live":
        version = config.head.version
    bundle = registry.load(config.head.registry / config.head.name, encoder=encoder.image.info, version=version)
    return OpenedHead(bundle.head, bundle.temperature, bundle.evidence, bundle.version, bundle.sha256)


def _texts_alone(config: LineConfig, *, encoder: EncoderBundle) -> OpenedHead:
    from pipeline.heads.bundles.evidence import Evidence, TextIndex
    from pipeline.texts.bank import build_zero_shot
    from pipeline.texts.coding import encode_dictionary
    from pipeline.texts.dictionary import load_dictionary

    if config.head.texts is None or encoder.text is None:
        raise ConfigError(
            "head.kind zero_shot: expected head.texts and an encoder with a text tower, got none; give them, or fit a "
            "head with `clearline head fit`"
        )
    dictionary = load_dictionary(config.head.texts)
    coded = encode_dictionary(dictionary, encoder=encoder.text)
    vectors, class_of = np.asarray(coded.rows.vectors, np.float32), np.asarray(coded.rows.class_of, np.int64)
    evidence = Evidence(texts=TextIndex(vectors, class_of, coded.phrases))
    return OpenedHead(build_zero_shot(dictionary, encoder=encoder.text), 1.0, evidence, 0, dictionary.sha256)


def _encoded(picture: UInt8Array, *, file: Path, roi: Roi, encoder: EncoderBundle) -> Features:
    """One row, cut and encoded as a frame is."""
    from pipeline.encoders.ladder import as_batch, choose_bucket
    from pipeline.preprocess import Preprocessor

    try:
        cut = Preprocessor(encoder.image.info, roi)(picture)
    except BadFrame as error:
        raise DataError(f"{file}: {error}") from error
    pixels = np.zeros((choose_bucket(1, ladder=encoder.ladder), *cut.shape), np.uint8)
    pixels[0] = cut
    return encoder.image.encode(as_batch(pixels)).rows(1)


def _write(out: Path, *, picture: UInt8Array) -> None:
    _, encoded = cv2.imencode(out.suffix.lower(), picture)
    try:
        out.write_bytes(encoded.tobytes())
    except OSError as error:
        raise SinkError(f"{out}: expected to write a picture, got: {error.strerror}; name a writable file") from error


def as_plain(done: Explained, *, out: Path | None = None) -> dict[str, Any]:
    """For --json."""
    head = {"name": done.head, "kind": done.opened.head.name, "version": done.opened.version}
    return {
        "image": str(done.file),
        "encoder": done.encoder,
        "head": head | {"bundle_sha256": done.opened.sha256},
        "picture": None if out is None else str(out),
        **done.explanation.to_json(),
    }


def as_text(done: Explained) -> Iterator[str]:
    """For people."""
    why = done.explanation
    yield f"{done.file}: {why.winner} ({why.confidence:.1%}), rival {why.rival} ({why.rival_confidence:.1%})"
    yield f"head {done.head} version {done.opened.version} ({done.opened.head.name}); all numbers are logits"
    before, after = signed(why.raw_margin), signed(why.margin)
    yield f"margin over the rival: {before} before, {after} after: {signed(why.removed)} by confusion removed"
    if why.zero_shot != why.winner:
        yield f"before, the label would have been {why.zero_shot}"
    yield "confusion taken off each class (a minus was added):"
    shown = shown_confusion(why)
    yield from (f"  {signed(value):>8}  {name}" for name, value in shown)
    if len(why.confusion) > len(shown):
        yield f"            and {len(why.confusion) - len(shown)} classes less changed"
    yield f"what the margin {after} is made of:"
    yield from (
        f"  {signed(x.contribution):>8}  text   {x.class_id}: {x.phrase} (cosine {x.cosine:.3f})" for x in why.texts
    )
    yield from rest_line(why.other_texts.contribution, n=why.other_texts.n, what="texts")
    yield from (f"  {signed(x.contribution):>8}  image  {x.name} (cosine {x.cosine:.3f})" for x in why.support)
    yield from rest_line(why.other_support.contribution, n=why.other_support.n, what="images")
    yield f"  {signed(why.other):>8}  neither text nor image"
    if why.support and not why.support_is_exact:
        yield BY_LIKENESS


def rest_line(contribution: float, *, n: int, what: str) -> Iterator[str]:
    """One line for all that is not listed."""
    if n:
        yield f"  {signed(contribution):>8}  {what}  all {n} others"
