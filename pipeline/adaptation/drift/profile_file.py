"""A reference on disk: one safetensors file whose header carries everything but the arrays, verified whole."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from pipeline.adaptation.drift.blocks import Projection
from pipeline.adaptation.drift.chart_limits import ChartSpec
from pipeline.adaptation.drift.context import Context
from pipeline.adaptation.drift.profile import ReferenceProfile, ReferenceRules
from pipeline.errors import DataError
from pipeline.heads.bundles.atomic import write_atomic

FORMAT = "clearline.drift-reference"
FORMAT_VERSION = 1
METADATA_KEY = "reference"  # one key: safetensors writes several in any order, and the bytes would not be the same
AGAIN = "record and fit the reference again, or take the file that belongs here"

Tensors = dict[str, np.ndarray[Any, Any]]


def reference_path(folder: Path, *, context: Context) -> Path:
    """Where the reference of a context lies."""
    return folder / f"reference-{context.key}.safetensors"


def sealed(profile: ReferenceProfile, *, approved_by: str | None = None) -> ReferenceProfile:
    """The same, signed where a name is given, with the SHA-256 that its file will have."""
    named = replace(profile, approved_by=approved_by or profile.approved_by)
    return replace(named, sha256=_sha(profile_bytes(named)))


def save_profile(profile: ReferenceProfile, *, folder: Path) -> Path:
    """Write atomically under the context's own name."""
    path = reference_path(folder, context=profile.context)
    write_atomic(path, content=profile_bytes(profile))
    return path


def profile_bytes(profile: ReferenceProfile) -> bytes:
    """The content of a reference file; the same profile always gives the same bytes."""
    tensors: Tensors = {
        "basis": profile.projection.basis,
        "centres": profile.projection.centres,
        "scales": profile.projection.scales,
        "columns": profile.projection.columns,
    }
    charts = []
    for spec in profile.charts:
        tensors[f"{spec.name}.mean"] = np.ascontiguousarray(spec.mean)
        tensors[f"{spec.name}.whiten"] = np.ascontiguousarray(spec.whiten)
        charts.append({k: getattr(spec, k) for k in spec.__slots__ if k not in ("mean", "whiten")})
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "context": asdict(profile.context),
        "rules": asdict(profile.rules),
        "far": profile.projection.far,
        "charts": charts,
        "n_parts": profile.n_parts,
        "first_at": profile.first_at,
        "last_at": profile.last_at,
        "correlation_parts": profile.correlation_parts,
        "parts_per_alarm": profile.parts_per_alarm,
        "approved_by": profile.approved_by,
        "tensors": {name: _sha(_described(a)) for name, a in tensors.items()},
    }
    text = json.dumps(manifest, sort_keys=True, ensure_ascii=False, allow_nan=False)
    header = json.dumps({"manifest": text, "sha256": _sha(text.encode())}, sort_keys=True, ensure_ascii=False)
    return safetensors.numpy.save(tensors, metadata={METADATA_KEY: header})


def load_profile(path: Path, *, context: Context | None = None, sha256: str | None = None) -> ReferenceProfile:
    """Read, verify, build. Raises DataError with expected, got, where and what to do; nothing is kept of a bad file.

    `context` and `sha256` are checked where given.
    """
    content = _read(path)
    got = _sha(content)
    if sha256 is not None and got != sha256:
        raise DataError(f"{path}: expected the file with SHA-256 {sha256[:12]}, got {got[:12]}; {AGAIN}")
    manifest, tensors = _open(content, path=path)
    try:
        profile = _built(manifest, tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: expected all parts of a drift reference, got: {error}; {AGAIN}") from error
    if context is not None and profile.context != context:
        raise DataError(f"{path}: expected the reference of {context}, got that of {profile.context}; {AGAIN}")
    return replace(profile, sha256=got)


def _built(manifest: dict[str, Any], tensors: Tensors) -> ReferenceProfile:
    charts = tuple(
        ChartSpec(**fields, mean=tensors[f"{fields['name']}.mean"], whiten=tensors[f"{fields['name']}.whiten"])
        for fields in manifest["charts"]
    )
    return ReferenceProfile(
        context=Context(**manifest["context"]),
        rules=ReferenceRules(**manifest["rules"]),
        projection=Projection(
            basis=tensors["basis"],
            scales=tensors["scales"],
            centres=tensors["centres"],
            far=manifest["far"],
            columns=tensors["columns"],
        ),
        charts=charts,
        n_parts=manifest["n_parts"],
        first_at=manifest["first_at"],
        last_at=manifest["last_at"],
        correlation_parts=manifest["correlation_parts"],
        parts_per_alarm=manifest["parts_per_alarm"],
        approved_by=manifest["approved_by"],
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: expected a drift reference, got no such file; {AGAIN}") from error
    except OSError as error:
        raise DataError(f"{path}: expected a readable drift reference, got: {error.strerror}") from error


def _open(content: bytes, *, path: Path) -> tuple[dict[str, Any], Tensors]:
    """Manifest and tensors of a file in which every value is what its sum says."""
    try:
        tensors = safetensors.numpy.load(content)
        length = struct.unpack("<Q", content[:8])[0]
        header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][METADATA_KEY])
        text, stated = header["manifest"], header["sha256"]
    except (SafetensorError, struct.error, ValueError, KeyError) as error:
        got = f"{len(content)} bytes: {error}"
        raise DataError(f"{path}: expected a whole drift reference, got {got}; {AGAIN}") from error
    _same_sum(text.encode(), stated=stated, what="manifest", path=path)
    manifest: dict[str, Any] = json.loads(text)
    if (manifest.get("format"), manifest.get("format_version")) != (FORMAT, FORMAT_VERSION):
        got = f"{manifest.get('format')} {manifest.get('format_version')}"
        raise DataError(f"{path}: expected {FORMAT} {FORMAT_VERSION}, got {got}; use the Clearline that wrote it")
    if set(manifest["tensors"]) != set(tensors):
        odd = ", ".join(sorted(set(manifest["tensors"]) ^ set(tensors)))
        raise DataError(f"{path}: expected the tensors of the manifest, got a difference in {odd}; {AGAIN}")
    for name, tensor in tensors.items():
        _same_sum(_described(tensor), stated=manifest["tensors"][name], what=f"tensor {name}", path=path)
    return manifest, tensors


def _same_sum(content: bytes, *, stated: str, what: str, path: Path) -> None:
    got = _sha(content)
    if got != stated:
        raise DataError(f"{path}: expected {what} with SHA-256 {stated[:12]}, got {got[:12]}: it was changed; {AGAIN}")


def _described(tensor: np.ndarray[Any, Any]) -> bytes:
    """Values, type and shape: a tensor turned on its side is another tensor."""
    return f"{tensor.dtype}{tensor.shape}".encode() + np.ascontiguousarray(tensor).tobytes()


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
