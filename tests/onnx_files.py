"""Writes small ONNX files by hand (protobuf wire format), so that the tests need no exporter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

_FLOAT = 1
_OPSET = 17
_IR_VERSION = 8

Dims = Sequence[int | str]


def write_projection(
    path: Path, *, n: int | str, side: int | str = 8, outputs: Sequence[str] = ("embedding",), dim: int = 6
) -> np.ndarray:
    """pixels (n,3,side,side) -> each output = flattened pixels times one seeded matrix, which is returned."""
    rows = 3 * (side if isinstance(side, int) else 8) ** 2
    weight = np.random.default_rng(1).normal(size=(rows, dim)).astype(np.float32)
    nodes = [_node("Flatten", ["pixels"], ["flat"])]
    nodes += [_node("MatMul", ["flat", "weight"], [name]) for name in outputs]
    graph = (
        b"".join(_field(1, node) for node in nodes) + _field(2, b"projection") + _field(5, _tensor("weight", weight))
    )
    graph += _field(11, _value("pixels", (n, 3, side, side)))
    graph += b"".join(_field(12, _value(name, (n, dim))) for name in outputs)
    opset = _field(1, b"") + _number(2, _OPSET)
    path.write_bytes(_number(1, _IR_VERSION) + _field(7, graph) + _field(8, opset))
    return weight


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def _number(tag: int, value: int) -> bytes:
    return _varint(tag << 3) + _varint(value)


def _field(tag: int, payload: bytes) -> bytes:
    return _varint(tag << 3 | 2) + _varint(len(payload)) + payload


def _node(kind: str, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    names = b"".join(_field(1, name.encode()) for name in inputs)
    return names + b"".join(_field(2, name.encode()) for name in outputs) + _field(4, kind.encode())


def _tensor(name: str, values: np.ndarray) -> bytes:
    dims = b"".join(_number(1, size) for size in values.shape)
    return dims + _number(2, _FLOAT) + _field(8, name.encode()) + _field(9, values.tobytes())


def _value(name: str, dims: Dims) -> bytes:
    parts = [_number(1, dim) if isinstance(dim, int) else _field(2, dim.encode()) for dim in dims]
    shape = b"".join(_field(1, part) for part in parts)
    tensor = _number(1, _FLOAT) + _field(2, shape)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))
