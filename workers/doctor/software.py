"""Python and the packages: whether what is installed fits together."""

from __future__ import annotations

import importlib
import importlib.util
import platform
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import InvalidRequirement, Requirement

from workers.doctor.finding import Finding, bad, ok, warn

LEAST_PYTHON = (3, 11)
REPAIR = "install it again into an environment of its own, with constraints.txt"

Installed = Callable[[str], str | None]  # version of a package, None without it


def installed_version(name: str) -> str | None:
    """As its metadata says."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def requirements_of(name: str) -> list[str]:
    """What an installed package asks for; empty without the package."""
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []


def python() -> Finding:
    """The interpreter."""
    here, least = platform.python_version(), ".".join(map(str, LEAST_PYTHON))
    if sys.version_info[:2] < LEAST_PYTHON:
        return bad("python", f"{here}, expected {least} or later", advice=f"install Python {least} or later")
    return ok("python", f"{here} ({platform.system()} {platform.machine()})")


def unmet(requirements: Sequence[str], *, installed: Installed, extras: Sequence[str] = ()) -> list[str]:
    """Those of `requirements` that are not met, each as one clause; requirements of other extras do not count."""
    wanting = []
    for text in requirements:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            continue  # the package's own fault, and pip would have said so
        if wanted.marker is not None and not any(wanted.marker.evaluate({"extra": one}) for one in ("", *extras)):
            continue
        got = installed(wanted.name)
        if got is None:
            wanting.append(f"{wanted.name} is not installed")
        elif not wanted.specifier.contains(got, prereleases=True):
            wanting.append(f"{wanted.name} is {got}, expected {wanted.specifier}")
    return wanting


def packages(*, extras: Sequence[str], installed: Installed = installed_version) -> Finding:
    """What Clearline itself asks for, with the extras that the configuration needs (openvino, onnx)."""
    wanting = unmet(requirements_of("clearline"), installed=installed, extras=extras)
    if wanting:
        with_extras = f"[{','.join(extras)}]" if extras else ""
        return bad("packages", "; ".join(wanting), advice=f"pip install 'clearline{with_extras}' with constraints.txt")
    shown = ("clearline", "torch", "open_clip_torch", "numpy")
    return ok("packages", ", ".join(f"{name} {installed(name)}" for name in shown))


def torch_pair(
    *, installed: Installed = installed_version, requires: Callable[[str], Sequence[str]] = requirements_of
) -> Finding:
    """torch and torchvision are built for each other: another pair ends in missing operators when the encoder loads."""
    name = "torch pair"
    wanting = unmet([one for one in requires("torchvision") if one.startswith("torch")], installed=installed)
    pair = f"torch {installed('torch')}, torchvision {installed('torchvision')}"
    if wanting:
        return bad(name, f"{pair}: {'; '.join(wanting)}", advice=f"the two must be of one release: {REPAIR}")
    try:
        importlib.import_module("torchvision")
        importlib.import_module("open_clip")
    except (ImportError, RuntimeError, OSError) as error:
        return bad(name, f"{pair}: cannot be imported ({error})", advice=REPAIR)
    return ok(name, f"{pair}, open_clip {installed('open_clip_torch')}")


def kafka_client(*, needed: bool, installed: Installed = installed_version) -> Finding:
    """The client and its checksum in C: without it a message of 100 KB costs 25 ms of CPU, and the line refuses."""
    name, client = "kafka client", installed("kafka-python")
    if client is not None and installed("crc32c") is not None:
        return ok(name, f"kafka-python {client}, crc32c {installed('crc32c')}")
    found = "kafka-python is not installed" if client is None else f"kafka-python {client} without crc32c"
    say = bad if needed else warn
    return say(name, found, advice="pip install 'kafka-python[crc32c,lz4]'")
