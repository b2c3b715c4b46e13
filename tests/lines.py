"""A small real line for tests: the shipped encoder and a head fitted on a few simulated pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pipeline.simulation.line import SimulatedLine
from workers.commands.demo import render_labelled
from workers.commands.head import fit_folder
from workers.config.line import LineConfig, load_config

ROOT = Path(__file__).resolve().parent.parent
TEXTS = ROOT / "configs" / "texts" / "demo.yaml"
SEED = 20_001
SIZE = {"width": 160, "height": 128}


def simulated(n_frames: int | None, *, speed: str = "as_fast", **more: Any) -> dict[str, Any]:
    """The `source` section of a simulated camera."""
    return {"type": "simulate", "seed": SEED, "speed": speed, "n_frames": n_frames, **SIZE, **more}


def write_config(folder: Path, *, sources: list[dict[str, Any]], **sections: Any) -> Path:
    """A configuration with one camera per source; sections replace the defaults."""
    content: dict[str, Any] = {
        "version": 1,
        "cameras": [{"id": f"cap-{n:02d}", "source": source} for n, source in enumerate(sources, start=1)],
        "encoder": {"model": "demo_clip", "precision": "fp32"},
        "head": {"registry": str(folder / "heads"), "cache": str(folder / "cache"), "texts": str(TEXTS)},
        "decision": {"good_classes": ["clean_plate"]},
        "sinks": [{"type": "jsonl", "path": str(folder / "results.jsonl"), "fsync": "never"}],
        "server": {"port": 0},
        **sections,
    }
    path = folder / "line.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def fit_head_in(folder: Path, *, classes: tuple[str, ...], shots: int = 2) -> LineConfig:
    """Render a few labelled pictures, fit, and return the configuration that finds the head."""
    line = SimulatedLine(SEED, **SIZE)
    for class_id in classes:
        render_labelled([line], class_id=class_id, n=shots, folder=folder / "labelled")
    config = load_config(write_config(folder, sources=[simulated(1)]))
    fit_folder(folder / "labelled", config=config)
    return config
