"""GPU memory as PyTorch's books have it; the library is replaced, for most machines have no GPU."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from workers.gpu_memory import gpu_memory
from workers.metrics.registry import Reading


def torch_with(*reserved: int, initialized: bool = True) -> SimpleNamespace:
    cuda = SimpleNamespace(
        is_initialized=lambda: initialized,
        device_count=lambda: len(reserved),
        memory_reserved=lambda index: reserved[index],
        memory_allocated=lambda index: reserved[index] // 2,
        get_device_properties=lambda index: SimpleNamespace(total_memory=1000),
    )
    return SimpleNamespace(cuda=cuda)


def test_only_devices_in_use_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", torch_with(0, 400))
    assert list(gpu_memory()) == [
        Reading("gpu_memory_bytes", ("1", "allocated"), 200),
        Reading("gpu_memory_bytes", ("1", "reserved"), 400),
        Reading("gpu_memory_bytes", ("1", "total"), 1000),
    ]


@pytest.mark.parametrize("torch", [None, torch_with(400, initialized=False)])
def test_a_line_without_a_gpu_shows_nothing(monkeypatch: pytest.MonkeyPatch, torch: SimpleNamespace | None) -> None:
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert list(gpu_memory()) == []
