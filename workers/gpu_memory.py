"""GPU memory of this process, read at a scrape."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from workers.metrics.registry import Reading


def gpu_memory() -> Iterator[Reading]:
    """Of every device this process uses; nothing without one. Asks PyTorch's own books, never the device."""
    torch: Any = sys.modules.get("torch")  # a line on OpenVINO need not load it
    if torch is None or not torch.cuda.is_initialized():
        return
    for index in range(torch.cuda.device_count()):
        reserved = torch.cuda.memory_reserved(index)
        if reserved:
            device = str(index)
            yield Reading("gpu_memory_bytes", (device, "allocated"), torch.cuda.memory_allocated(index))
            yield Reading("gpu_memory_bytes", (device, "reserved"), reserved)
            total = torch.cuda.get_device_properties(index).total_memory
            yield Reading("gpu_memory_bytes", (device, "total"), total)
