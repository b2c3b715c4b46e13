"""The computer: processor, memory, graphics card."""

from __future__ import annotations

import os
import re
from pathlib import Path

from workers.doctor.finding import Finding, bad, ok, warn

LEAST_FREE_GB = 2.0  # a process with ViT-B/32 in fp32 peaks at 1.7 GB while it loads
LITTLE_FREE_GB = 0.8  # with the small encoder that is shipped, at 0.8 GB
FAST_BF16 = ("avx512_bf16", "amx_bf16")
_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


def cpu(*, threads: int, proc: Path = _PROC, cgroup: Path = _CGROUP) -> Finding:
    """Cores that this process may use, and the instructions that decide how fast an encoder runs."""
    name, cores = "cpu", usable_cores(cgroup=cgroup)
    text = _read(proc / "cpuinfo")
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = set(_first(r"^(?:flags|Features)\s*:\s*(.+)$", text).split())
    fast = [flag.upper() for flag in FAST_BF16 if flag in flags]
    kind = model[1] if model else "unknown processor"
    found = f"{cores:g} cores, {kind}, {', '.join(fast) or 'neither AVX512_BF16 nor AMX_BF16 (fp32 will be used)'}"
    if threads > cores:
        return warn(name, found, advice=f"encoder.threads is {threads}: more than there are cores; set it to {cores:g}")
    if cores < 2:
        return warn(name, found, advice="one core for cameras and encoder together: frames will be dropped; give two")
    if "x86_64" in os.uname().machine and flags and "avx2" not in flags:
        return warn(name, f"{found}, no AVX2", advice="the encoder will be several times slower; use a newer processor")
    return ok(name, found)


def usable_cores(*, cgroup: Path = _CGROUP) -> float:
    """Cores of this process: what it may run on, and no more than a container's quota."""
    cores = float(len(os.sched_getaffinity(0)))
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    return min(cores, int(quota) / int(period)) if quota.isdecimal() and period.strip().isdecimal() else cores


def memory(*, proc: Path = _PROC, cgroup: Path = _CGROUP) -> Finding:
    """What is free now, and no more than a container's limit."""
    total, free = (_kilobytes(_read(proc / "meminfo"), key=key) for key in ("MemTotal", "MemAvailable"))
    limit, used = (_read(cgroup / name).strip() for name in ("memory.max", "memory.current"))
    if limit.isdecimal() and used.isdecimal():
        total, free = min(total, int(limit)), min(free, max(0, int(limit) - int(used)))
    found = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    advice = "free some, or give the container more"
    if free < LITTLE_FREE_GB * 1e9:
        return bad("memory", found, advice=f"no encoder fits: {advice}")
    if free < LEAST_FREE_GB * 1e9:
        return warn("memory", found, advice=f"only a small encoder fits: {advice}")
    return ok("memory", found)


def gpu(*, device: str, proc: Path = _PROC) -> Finding:
    """Whether torch can compute on a card; `device` is encoder.device: auto, cpu or cuda."""
    import torch

    if not torch.cuda.is_available():
        driver = (proc / "driver" / "nvidia" / "version").exists()
        built = f"this torch is built for {'CUDA ' + torch.version.cuda if torch.version.cuda else 'the CPU only'}"
        if device == "cuda":
            return bad(
                "gpu", f"none that torch can use; {built}", advice="install the driver, or set encoder.device: cpu"
            )
        if driver:
            return warn("gpu", f"a driver, but no card torch can use; {built}", advice="update the driver, or torch")
        return ok("gpu", "none; the encoder runs on the CPU")
    card = torch.cuda.get_device_properties(0)
    free, total = torch.cuda.mem_get_info(0)
    ones = torch.ones((64, 64), device="cuda")
    if float((ones @ ones)[0, 0].cpu()) != 64.0:
        return bad("gpu", f"{card.name} computes wrong", advice="the card or its driver is broken: replace it")
    found = f"{card.name}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free, CUDA {torch.version.cuda}"
    return ok("gpu", found if device != "cpu" else f"{found}; not used, encoder.device is cpu")


def _kilobytes(meminfo: str, *, key: str) -> int:
    number = _first(rf"^{key}:\s*(\d+) kB$", meminfo)
    return 1024 * int(number) if number else 0


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    return match[1] if match else ""


def _read(path: Path) -> str:
    """Empty where there is no such file, as on another kernel."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
