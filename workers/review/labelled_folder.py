"""Labelled pictures as `clearline head fit` reads them: a folder per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import ConfigError, DataError
from pipeline.heads.bundles.atomic import write_atomic
from pipeline.heads.support import IMAGE_SUFFIXES


class LabelledFolder:
    """The files are the truth: what people put there or take away counts too. One thread at a time."""

    def __init__(self, folder: Path, *, classes: Sequence[str]) -> None:
        """Raises ConfigError where nothing can be kept there."""
        self.folder, self._classes = folder, tuple(classes)
        for name in classes:
            if Path(name).name != name or name.startswith("."):
                raise ConfigError(f"review.labelled: expected class ids that can name a folder, got {name!r}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"review.labelled: expected a folder to keep labelled pictures in, got {folder}: {error.strerror}"
            ) from error

    def counts(self) -> dict[str, int]:
        """Pictures by class id."""
        return {name: len(self._files(name)) for name in self._classes}

    def find(self, event_id: str) -> tuple[str, Path] | None:
        """Class and file of a part; None where it was not labelled."""
        for name in self._classes:
            for path in self._files(name):
                if path.stem == event_id:
                    return name, path
        return None

    def event_ids(self) -> set[str]:
        """Of all that was labelled."""
        return {path.stem for name in self._classes for path in self._files(name)}

    def keep(self, event_id: str, *, label: str, picture: bytes) -> None:
        """One more, on the disk when this returns. Raises DataError where that is refused."""
        suffix = ".png" if picture.startswith(b"\x89PNG") else ".jpg"
        try:
            write_atomic(self.folder / label / f"{event_id}{suffix}", content=picture)
        except OSError as error:
            raise DataError(f"{self.folder}: expected to write the picture there, got: {error.strerror}") from error

    def move(self, path: Path, *, label: str) -> None:
        """It was of another class. Raises DataError where that is refused."""
        try:
            (self.folder / label).mkdir(exist_ok=True)
            path.replace(self.folder / label / path.name)
        except OSError as error:
            raise DataError(f"{path}: expected to move it to {label}, got: {error.strerror}") from error

    def _files(self, name: str) -> list[Path]:
        folder = self.folder / name
        found = folder.iterdir() if folder.is_dir() else iter(())
        return [path for path in found if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")]
