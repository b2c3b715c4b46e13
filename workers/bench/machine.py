"""What a figure was measured on, and how much of it a process used."""

from __future__ import annotations

import os
import platform
import resource
import time
from pathlib import Path
from typing import Any

BYTES_PER_MB = 1e6
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8")  # what decides which number format is fast


def describe() -> dict[str, Any]:
    """CPU, cores, memory formats, versions, load: what a reader needs to judge an absolute figure."""
    import torch

    flags, model = _cpu()
    return {
        "cpu": model,
        "n_cpus": os.cpu_count(),
        "flags": [flag for flag in _FLAGS if flag in flags],
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load_average": [round(one, 2) for one in os.getloadavg()],
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def bf16_instructions() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AVX512_BF16 or AMX)."""
    flags, _ = _cpu()
    return bool({"avx512_bf16", "amx_bf16"} & flags)


def cpu_s() -> float:
    """User and system seconds of all threads of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def rss_bytes() -> int:
    """Memory of this process that is resident now; the highest ever where the system cannot say."""
    try:
        n_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        scale = 1 if platform.system() == "Darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    return n_pages * resource.getpagesize()


def _cpu() -> tuple[set[str], str]:
    """(flags, model name); empty where the system does not list them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return set(), platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    named = {key.strip(): value.strip() for key, value in fields.items()}
    return set(named.get("flags", "").split()), named.get("model name", platform.machine())
