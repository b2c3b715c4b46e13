"""Figures as plain values for `--json`."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from functools import singledispatch
from typing import Any

import numpy as np

from pipeline.evaluation.report.comparison import Counted, Paired
from pipeline.evaluation.report.figures import Figures
from pipeline.heads.report import Accuracy


def as_plain(figures: Figures) -> dict[str, Any]:
    """Names as in Figures; shares and accuracies with their interval."""
    return {field.name: _plain(getattr(figures, field.name)) for field in fields(figures)}


@singledispatch
def _plain(value: Any) -> Any:
    if not is_dataclass(value):
        return value
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


@_plain.register
def _accuracy(value: Accuracy) -> Any:
    return value.to_json()


@_plain.register
def _counted(value: Counted) -> Any:
    return {"value": value.value, "k": value.k, "n": value.n, "low": value.low, "high": value.high}


@_plain.register
def _paired(value: Paired) -> Any:
    counts = {"only_before": value.only_before, "only_after": value.only_after, "n": value.n, "p_value": value.p_value}
    return {"value": value.value, "low": value.interval[0], "high": value.interval[1], **counts}


@_plain.register
def _float(value: float) -> Any:
    return value if math.isfinite(value) else None


@_plain.register(tuple)
@_plain.register(list)
def _sequence(value: Any) -> Any:
    return [_plain(one) for one in value]


@_plain.register
def _mapping(value: dict) -> Any:  # type: ignore[type-arg]  # singledispatch takes the bare class
    return {key: _plain(one) for key, one in value.items()}


@_plain.register
def _array(value: np.ndarray) -> Any:
    return value.tolist()
