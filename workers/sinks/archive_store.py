"""Where the pictures of an archive lie: the Protocol, and a folder of this machine."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

PART = ".part"  # ends the name of a picture that is being written
SUFFIXES = (".jpg", ".png")

Found = dict[str, tuple[int, float]]  # by name: bytes, UTC of the last change


class PictureStore(Protocol):
    """Pictures by name, which is always a hash with a suffix. One thread; every call may raise OSError."""

    @property
    def shown(self) -> str:
        """For messages, without a secret."""
        ...

    def prepare(self) -> None:
        """Make the folder."""
        ...

    def write(self, name: str, *, content: bytes) -> None:
        """Whole or not at all, whatever happens in between; what was there under the name is replaced."""
        ...

    def read(self, name: str) -> bytes | None:
        """None where there is none."""
        ...

    def remove(self, name: str) -> None:
        """It may be gone already."""
        ...

    def pictures(self) -> Found:
        """All that are whole; what a crash left half written is removed."""
        ...

    def free_bytes(self) -> float:
        """Room on the disk; infinite where there is no telling."""
        ...


class LocalStore:
    """Files in 256 folders below one, so that none holds too many."""

    def __init__(
        self, folder: Path, *, free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free
    ) -> None:
        self.folder = folder
        self._free_bytes = free_bytes

    @property
    def shown(self) -> str:
        """The folder."""
        return str(self.folder)

    def prepare(self) -> None:
        """With those above it."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, *, content: bytes) -> None:
        """Under another name first."""
        path = self.path(name)
        part = path.with_suffix(PART)
        try:
            path.parent.mkdir(exist_ok=True)
            part.write_bytes(content)
            part.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise

    def read(self, name: str) -> bytes | None:
        """The file."""
        try:
            return self.path(name).read_bytes()
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """The file."""
        self.path(name).unlink(missing_ok=True)

    def pictures(self) -> Found:
        """By walking all folders."""
        there: Found = {}
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            with contextlib.suppress(FileNotFoundError):
                if path.suffix == PART:
                    path.unlink()
                elif path.suffix in SUFFIXES:
                    status = path.stat()
                    there[path.name] = (status.st_size, status.st_mtime)
        return there

    def free_bytes(self) -> float:
        """On its disk."""
        return self._free_bytes(self.folder)

    def path(self, name: str) -> Path:
        """Where a picture lies."""
        return self.folder / name[:2] / name
