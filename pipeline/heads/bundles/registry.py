"""Versions of a head in one folder, and which of them is live.

`000001.head`, `000002.head`, ... are bundles that never change; `live` is a small JSON file that names one of them with
its SHA-256, and those that were live before it. Each is written beside and renamed, so a kill at any point leaves a
folder that loads.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline.errors import BundleError, DataError
from pipeline.heads.bundles.atomic import TEMPORARY_PREFIX, write_atomic
from pipeline.heads.bundles.bundle import HeadBundle, Provenance, bundle_bytes, load_bundle
from pipeline.heads.bundles.evidence import NO_EVIDENCE, Evidence
from pipeline.heads.fitted import FittedHead
from pipeline.types import EncoderInfo

LIVE = "live"
SUFFIX = ".head"
MAX_BEFORE = 32  # versions that were live before, remembered for going back
_NAME = re.compile(r"^(\d{6,})\.head$")


def versions(folder: Path) -> tuple[int, ...]:
    """Ascending; empty where there is no folder."""
    names = (_NAME.match(p.name) for p in folder.iterdir()) if folder.is_dir() else iter(())
    return tuple(sorted(int(found[1]) for found in names if found))


def bundle_path(folder: Path, *, version: int) -> Path:
    """Where a version lies."""
    return folder / f"{version:06d}{SUFFIX}"


def save(
    fitted: FittedHead,
    *,
    folder: Path,
    encoder: EncoderInfo,
    provenance: Provenance,
    evidence: Evidence = NO_EVIDENCE,
    live: bool = True,
) -> HeadBundle:
    """Write the next version, read it back, make it live if asked. Blocks while another process publishes here."""
    try:
        with _locked(folder):
            version = max(versions(folder), default=0) + 1
            path = bundle_path(folder, version=version)
            content = bundle_bytes(fitted, encoder=encoder, version=version, provenance=provenance, evidence=evidence)
            write_atomic(path, content=content)
            bundle = load_bundle(path, encoder=encoder)
            if live:
                _point(folder, bundle=bundle)
            return bundle
    except OSError as error:
        raise DataError(f"{folder}: expected a folder to write heads to, got: {error.strerror or error}") from error


def promote(folder: Path, *, version: int, encoder: EncoderInfo | None) -> HeadBundle:
    """Make an existing version live, after verifying it.

    One that was live before is gone back to: what came after it is forgotten, so that going back twice never returns
    to the head that was left.
    """
    with _locked(folder):
        bundle = load_bundle(bundle_path(folder, version=version), encoder=encoder)
        _point(folder, bundle=bundle)
        return bundle


def load(
    folder: Path,
    *,
    encoder: EncoderInfo | None,
    version: int | None = None,
    classes: tuple[str, ...] | None = None,
) -> HeadBundle:
    """The live head, or exactly `version`. Raises BundleError."""
    if version is not None:
        return load_bundle(bundle_path(folder, version=version), encoder=encoder, classes=classes)
    live, sha256 = live_version(folder)
    return load_bundle(bundle_path(folder, version=live), encoder=encoder, classes=classes, sha256=sha256)


def live_version(folder: Path) -> tuple[int, str]:
    """Version and SHA-256 that `live` names. Raises BundleError."""
    path = folder / LIVE
    try:
        pointer = _pointer(folder)
        return int(pointer["version"]), str(pointer["sha256"])
    except FileNotFoundError as error:
        there = ", ".join(map(str, versions(folder))) or "none"
        raise BundleError(
            f"{path}: expected a live head, got none (versions here: {there}); make one with `clearline head fit`"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"{path}: expected a version and its SHA-256, got: {error}; promote a version again"
        ) from error


def versions_before(folder: Path) -> tuple[int, ...]:
    """Versions that were live before the one that is, oldest first: the last is what a rollback goes back to."""
    try:
        return tuple(int(version) for version in _pointer(folder).get("before", ()))
    except (OSError, ValueError, TypeError, AttributeError):
        return ()  # nothing to go back to; a broken pointer is told of where the head is loaded


def _pointer(folder: Path) -> dict[str, Any]:
    pointer: dict[str, Any] = json.loads((folder / LIVE).read_text(encoding="utf-8"))
    return pointer


def _point(folder: Path, *, bundle: HeadBundle) -> None:
    pointer = {"version": bundle.version, "sha256": bundle.sha256, "before": _before(folder, version=bundle.version)}
    write_atomic(folder / LIVE, content=json.dumps(pointer).encode())


def _before(folder: Path, *, version: int) -> list[int]:
    """What will have been live before this version."""
    known = [*versions_before(folder)]
    with suppress(BundleError):  # the first, or a pointer that cannot be read: there is nothing to add
        known.append(live_version(folder)[0])
    if version in known:
        known = known[: known.index(version)]
    return known[-MAX_BEFORE:]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One publisher at a time; the kernel lets go when the process dies. Leftovers of a killed one are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for leftover in folder.glob(f"{TEMPORARY_PREFIX}*"):
            leftover.unlink(missing_ok=True)
        yield
    finally:
        os.close(handle)
