"""A head on disk: one safetensors file whose header carries the manifest, verified whole before it is used."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError

from pipeline.errors import BundleError, ClearlineError
from pipeline.heads.bundles.evidence import NO_EVIDENCE, Evidence, Stored, evidence_from_parts, evidence_to_parts
from pipeline.heads.bundles.evidence import PREFIX as EVIDENCE
from pipeline.heads.bundles.serialise import head_from_parts, head_to_parts, level_dims
from pipeline.heads.fitted import AnyHead, FittedHead
from pipeline.types import EncoderInfo

FORMAT = "clearline.head"
FORMAT_VERSION = 2
METADATA_KEY = "head"  # one key: safetensors writes several in any order, and the bytes would not be the same
REFIT = "fit the head again with `clearline head fit`, or load the bundle that belongs here"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a head comes from; everything is handed in, nothing is looked up."""

    texts_sha256: str | None  # of the text dictionary; None without one
    support_sha256: str  # of the labelled images
    code_version: str
    created_at: str  # ISO 8601, UTC; of the bundle, so fitting again with the same instant gives the same bytes
    recipe: Mapping[str, Any] = field(default_factory=dict)  # what else to know to fit it again; plain values


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says about itself; `tensors` are SHA-256 sums of type, shape and values."""

    format: str
    format_version: int
    version: int
    classes: tuple[str, ...]
    settings: dict[str, Any]
    temperature: float
    encoder: dict[str, Any]
    provenance: dict[str, Any]
    report: dict[str, Any]
    evidence: dict[str, Any]
    tensors: dict[str, str]


@dataclass(frozen=True, eq=False)
class HeadBundle:
    """A verified head, ready to score."""

    head: AnyHead
    temperature: float
    version: int
    sha256: str  # of the whole file: what every result names
    manifest: Manifest
    evidence: Evidence


def bundle_bytes(
    fitted: FittedHead, *, encoder: EncoderInfo, version: int, provenance: Provenance, evidence: Evidence = NO_EVIDENCE
) -> bytes:
    """The content of a bundle file; the same inputs always give the same bytes."""
    settings, weights = head_to_parts(fitted.head)
    beside, arrays = evidence_to_parts(evidence)
    tensors: Stored = {**weights, **arrays}
    manifest = Manifest(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        version=version,
        classes=fitted.head.classes,
        settings=settings,
        temperature=fitted.temperature,
        encoder=encoder_identity(encoder),
        provenance=asdict(provenance),
        report=fitted.report.to_json(),
        evidence=beside,
        tensors={name: _sha(_described(a)) for name, a in tensors.items()},
    )
    text = json.dumps(asdict(manifest), sort_keys=True, ensure_ascii=False, allow_nan=False)
    header = json.dumps({"manifest": text, "manifest_sha256": _sha(text.encode())}, sort_keys=True, ensure_ascii=False)
    return safetensors.numpy.save({k: np.asarray(v) for k, v in tensors.items()}, metadata={METADATA_KEY: header})


def encoder_identity(encoder: EncoderInfo) -> dict[str, Any]:
    """What must be equal between fitting and running."""
    return {
        "name": encoder.name,
        "sha256": encoder.sha256,
        "preprocessing_sha256": encoder.preprocessing_sha256,
        "embedding_dim": encoder.embedding_dim,
        "image_size": encoder.image_size,
    }


def load_bundle(
    path: Path, *, encoder: EncoderInfo | None, classes: tuple[str, ...] | None = None, sha256: str | None = None
) -> HeadBundle:
    """Read, verify, build. Raises BundleError with expected, got, where and what to do; nothing is kept of a bad file.

    `encoder` None skips the encoder's identity (to list bundles); `classes` and `sha256` are checked where given.
    """
    content = _read(path)
    got = _sha(content)
    if sha256 is not None and got != sha256:
        raise BundleError(f"{path}: expected the file with SHA-256 {sha256[:12]}, got {got[:12]}; {REFIT}")
    manifest, tensors = _open(content, path=path)
    if encoder is not None:
        _same_encoder(manifest, encoder=encoder, path=path)
    if classes is not None:
        _same_classes(manifest, classes=classes, path=path)
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith(EVIDENCE)}
    arrays = {name: tensor for name, tensor in tensors.items() if name.startswith(EVIDENCE)}
    try:
        head = head_from_parts(manifest.settings, tensors=weights, classes=manifest.classes)
        evidence = evidence_from_parts(manifest.evidence, arrays=arrays)
    except ClearlineError as error:
        raise BundleError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BundleError(f"{path}: expected all parts of the head, got: {error}; {REFIT}") from error
    return HeadBundle(head, manifest.temperature, manifest.version, got, manifest, evidence)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise BundleError(f"{path}: expected a head bundle, got no such file; {REFIT}") from error
    except OSError as error:
        raise BundleError(f"{path}: expected a readable head bundle, got: {error.strerror}") from error


def _open(content: bytes, *, path: Path) -> tuple[Manifest, Stored]:
    """Manifest and tensors of a file in which every value is what its sum says."""
    try:
        tensors = safetensors.numpy.load(content)
        length = struct.unpack("<Q", content[:8])[0]
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
        stored = dict(json.loads(metadata[METADATA_KEY])) if METADATA_KEY in metadata else metadata  # older: two keys
    except (SafetensorError, struct.error, ValueError, KeyError, TypeError) as error:
        got = f"{len(content)} bytes: {error}"
        raise BundleError(f"{path}: expected a whole safetensors file, got {got}; {REFIT}") from error
    text, stated = str(stored.get("manifest", "")), str(stored.get("manifest_sha256", ""))
    if not text:
        raise BundleError(f"{path}: expected a head bundle, got a safetensors file without manifest; {REFIT}")
    _same_sum(text.encode(), stated=stated, what="manifest", path=path)
    manifest = _manifest(text, path=path)
    if set(manifest.tensors) != set(tensors):
        odd = ", ".join(sorted(set(manifest.tensors) ^ set(tensors)))
        raise BundleError(f"{path}: expected the tensors of the manifest, got a difference in {odd}; {REFIT}")
    for name, tensor in tensors.items():
        _same_sum(_described(tensor), stated=manifest.tensors[name], what=f"tensor {name}", path=path)
    return manifest, tensors


def _manifest(text: str, *, path: Path) -> Manifest:
    try:
        fields = json.loads(text)
        stated = (fields["format"], fields["format_version"])
        if stated != (FORMAT, FORMAT_VERSION):
            got = f"{stated[0]} {stated[1]}"
            raise BundleError(f"{path}: expected {FORMAT} {FORMAT_VERSION}, got {got}; {REFIT}")
        return Manifest(**{**fields, "classes": tuple(fields["classes"])})
    except (ValueError, TypeError, KeyError) as error:
        raise BundleError(f"{path}: expected a head manifest, got: {error}; {REFIT}") from error


def _same_encoder(manifest: Manifest, *, encoder: EncoderInfo, path: Path) -> None:
    here, words = encoder_identity(encoder), {"sha256": "weights", "preprocessing_sha256": "preprocessing"}
    for key, value in here.items():
        fitted_on = manifest.encoder.get(key)
        if fitted_on != value:
            what = f"encoder {words.get(key, key)} {fitted_on!r}, which the head was fitted on"
            raise BundleError(f"{path}: expected {what}, got {value!r}; {REFIT}")
    fitted_with = level_dims(manifest.settings)
    if fitted_with and encoder.level_dims and fitted_with != encoder.level_dims:
        raise BundleError(f"{path}: expected levels of widths {fitted_with}, got {encoder.level_dims}; {REFIT}")


def _same_classes(manifest: Manifest, *, classes: tuple[str, ...], path: Path) -> None:
    missing, extra = set(classes) - set(manifest.classes), set(manifest.classes) - set(classes)
    if missing or extra:
        got = f"a head that lacks {', '.join(sorted(missing)) or 'none'} and adds {', '.join(sorted(extra)) or 'none'}"
        raise BundleError(f"{path}: expected the classes {', '.join(sorted(classes))}, got {got}; {REFIT}")


def _same_sum(content: bytes, *, stated: str, what: str, path: Path) -> None:
    got = _sha(content)
    if got != stated:
        raise BundleError(
            f"{path}: expected {what} with SHA-256 {stated[:12]}, got {got[:12]}: it was changed; {REFIT}"
        )


def _described(tensor: npt.NDArray[Any]) -> bytes:
    """Values, type and shape: a tensor turned on its side is another tensor."""
    return f"{tensor.dtype}{tensor.shape}".encode() + np.ascontiguousarray(tensor).tobytes()


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
