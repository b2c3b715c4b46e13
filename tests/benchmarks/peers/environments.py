"""Each peer in an environment of its own, outside the repository: the product's is never touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

CLIP = ("torch==2.13.0", "torchvision==0.28.0", "open_clip_torch==3.3.0")  # as the product's constraints
PEERS = {
    "litserve": ("litserve==0.2.19", *CLIP),
    "roboflow": ("inference==1.8.3", *CLIP),
}
INSTALL_TIMEOUT_S = 1800
MAX_QUOTED = 600  # characters of an installer's complaint that are kept


class PeerUnavailable(Exception):
    """A peer cannot be installed or run; the message is the installer's or interpreter's own."""


def bench_dir() -> Path:
    """CLEARLINE_BENCH_DIR, or a folder in the user's cache."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "clearline-bench"
    return Path(os.environ.get("CLEARLINE_BENCH_DIR", default))


def python_of(peer: str) -> Path:
    """The peer's interpreter, installing it first where that has not been done. Raises PeerUnavailable."""
    folder = bench_dir() / peer
    python, stamp = folder / "bin" / "python", folder / "requirements.txt"
    wanted = "\n".join(PEERS[peer])
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"installing {peer} into {folder}", file=sys.stderr, flush=True)
    uv = _uv()
    if not python.exists():
        _run(
            [uv, "venv", "--quiet", "--python", sys.executable, str(folder)]
            if uv
            else [sys.executable, "-m", "venv", str(folder)]
        )
    install = (
        [uv, "pip", "install", "--quiet", "--python", str(python)]
        if uv
        else [str(python), "-m", "pip", "install", "-q"]
    )
    _run([*install, *PEERS[peer]])
    stamp.write_text(wanted, encoding="utf-8")
    return python


def _uv() -> str | None:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.is_file() else shutil.which("uv")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
    if done.returncode:
        raise PeerUnavailable(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-MAX_QUOTED:]}")
