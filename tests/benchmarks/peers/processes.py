"""CPU of a process and all its descendants, from /proc; a free port."""

from __future__ import annotations

import os
import socket
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def tree_cpu_s(pid: int) -> float:
    """User and system seconds of `pid`, its living descendants, and those of theirs that have ended."""
    parents: dict[int, int] = {}
    spent: dict[int, float] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # ended meanwhile
        parents[int(folder.name)] = int(fields[1])
        spent[int(folder.name)] = sum(int(field) for field in fields[11:15]) / _TICKS  # own and waited-for children's
    return sum(cpu for one, cpu in spent.items() if _descends(one, ancestor=pid, parents=parents))


def _descends(pid: int, *, ancestor: int, parents: dict[int, int]) -> bool:
    while pid:
        if pid == ancestor:
            return True
        pid = parents.get(pid, 0)
    return False


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
