"""Values for every metric that only a line with Kafka, a GPU, costs or the adaptation loop feeds."""

from __future__ import annotations

from dataclasses import replace

from pipeline.adaptation.drift.blocks import CHARTS
from pipeline.adaptation.lifecycle.states import State
from tests.making import make_prediction
from workers.metrics.adaptation import ADAPTATION
from workers.metrics.archive import ARCHIVE
from workers.metrics.parts import PARTS
from workers.metrics.registry import Metrics, Reading
from workers.metrics.spec import PREFIX

VALUES = {  # of the labels of the adaptation loop
    "source": ("cap-01",),
    "roi": ("full",),
    "chart": CHARTS,
    "cause": ("lighting",),
    "state": tuple(state.value.replace(" ", "_") for state in State),
    "evidence": ("cost", "worse"),
    "kind": ("counted",),
    "stream": ("teach", "gate", "audit"),
    "head": ("demo",),
    "bound": ("lower", "point", "upper"),
}
BOUNDS = (("lower", 0.01), ("point", 0.02), ("upper", 0.05))


def exercise_rest(metrics: Metrics) -> None:
    """Set them all."""
    doubtful = replace(make_prediction(source_id="cap-02"), confidence=0.5, probabilities={"ok": 0.5, "scratch": 0.4})
    metrics.predicted(replace(doubtful, head="second"))
    metrics.expected_cost("cap-01", "EUR", 0.25)
    metrics.bind_readings(_readings)
    for spec in (*ADAPTATION, *ARCHIVE, *PARTS):
        name = spec.name.removeprefix(PREFIX)
        if not spec.labels:
            metrics.adaptation(name, 1.0)
            continue
        *fixed, last = (VALUES.get(label, ("some",)) for label in spec.labels)
        for value in last:
            metrics.adaptation(name, 1.0, *(one[0] for one in fixed), value)


def _readings() -> list[Reading]:
    return [
        Reading("spc_value_ratio", ("cap-01",), 0.02),
        Reading("spc_center_ratio", ("cap-01",), 0.02),
        Reading("spc_limit_ratio", ("cap-01", "low"), 0.01),
        Reading("spc_limit_ratio", ("cap-01", "high"), 0.04),
        *(Reading("accuracy_ratio", ("cap-01", bound), value) for bound, value in BOUNDS),
        *(Reading("gpu_memory_bytes", ("0", kind), 1e9) for kind in ("allocated", "reserved", "total")),
    ]
