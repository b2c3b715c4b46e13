"""What a run has asked and drawn, one JSON line each: after a restart it goes on with the same questions."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pipeline.errors import SinkError


class RunBook:
    """Append-only; a half-written last line, as a crash leaves it, is not read. One writer."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, kind: str, **values: Any) -> None:
        """On return it survives a power cut. Raises SinkError."""
        line = json.dumps({"kind": kind, **values}, sort_keys=True, allow_nan=False).encode() + b"\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                if file.tell() and not self._ends_whole():
                    line = b"\n" + line
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise SinkError(f"{self._path}: cannot write: {error.strerror}; free space on that disk") from error

    def read(self, kind: str) -> list[dict[str, Any]]:
        """All whole lines of that kind, oldest first."""
        found = []
        for line in self._path.read_bytes().splitlines() if self._path.is_file() else ():
            try:
                values = json.loads(line)
            except ValueError:
                continue
            if values.pop("kind") == kind:
                found.append(values)
        return found

    def _ends_whole(self) -> bool:
        return self._path.read_bytes().endswith(b"\n")
