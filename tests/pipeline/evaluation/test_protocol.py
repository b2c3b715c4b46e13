"""Draws are recorded and repeatable, pool labels are never read, and the command ends with one JSON line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from pipeline.errors import DataError
from pipeline.evaluation.features_file import load_features_file
from pipeline.evaluation.protocol import evaluate, supports
from pipeline.evaluation.table import as_table
from tests.pipeline.heads.making_heads import World
from workers.commands.head_eval import head_eval

WORLD = World(seed=11, levels=False)


def write(folder: Path, **more: np.ndarray) -> Path:
    train, test, val = WORLD.draw(10), WORLD.draw(15, seed=2), WORLD.draw(12, seed=3)
    fixed = WORLD.draw(2, seed=4)
    path = folder / "features.npz"
    content = {
        "classnames": np.array(WORLD.classes),
        "train_x": train.features.image,
        "train_y": train.labels,
        "train2_x": fixed.features.image,
        "train2_y": fixed.labels,
        "test_x": test.features.image,
        "test_y": test.labels,
        "val_x": val.features.image,
        "val_y": np.full(val.labels.size, -7),
    }
    np.savez(path, **(content | more))
    return path


def ticking() -> object:
    seconds = iter(range(10**6))
    return lambda: float(next(seconds))


def test_seeds_draw_other_rows_and_the_same_seed_the_same(tmp_path: Path) -> None:
    file = load_features_file(write(tmp_path))
    first, again = (list(supports(file, shots=3, seeds=3)) for _ in range(2))
    assert len({draw.sha256 for draw, _ in first}) == 3
    assert [d.sha256 for d, _ in first] == [d.sha256 for d, _ in again]
    for draw, rows in first:
        assert draw.drawn
        assert (np.bincount(rows.y) == 3).all()


def test_a_support_set_the_file_fixes_is_used_whole_and_said_to_be_fixed(tmp_path: Path) -> None:
    file = load_features_file(write(tmp_path))
    for draw, rows in supports(file, shots=2, seeds=2):
        assert not draw.drawn
        np.testing.assert_array_equal(rows.x, file.train[2].x)


def test_all_views_of_a_drawn_image_come_together(tmp_path: Path) -> None:
    train = WORLD.draw(10)
    file = load_features_file(write(tmp_path, train_group=np.arange(train.labels.size) // 2))
    for _, rows in supports(file, shots=3, seeds=2):
        assert (np.bincount(rows.groups)[np.unique(rows.groups)] == 2).all()


def test_too_few_images_are_named_with_their_class(tmp_path: Path) -> None:
    file = load_features_file(write(tmp_path))
    with pytest.raises(DataError, match="expected 11 images of class class-0000, got 10"):
        list(supports(file, shots=11, seeds=1))


def test_every_head_is_judged_on_the_same_draws(tmp_path: Path) -> None:
    file = load_features_file(write(tmp_path))
    heads = ("auto", "ldc", "linear", "gda", "tip", "probe", "kernel_ridge", "pool", "prototype")
    rows = evaluate(file, heads=heads, shots=4, seeds=2, pool=file.val, timer=ticking())  # type: ignore[arg-type]
    assert len({row.draws[0]["sha256"] for row in rows}) == 1
    for row in rows:
        assert row.accuracy > 0.5
        assert 0.0 <= row.ece <= 1.0
        assert row.low <= row.accuracies[0] <= row.high + 1e-9
        assert row.fit_seconds >= 1.0
    assert "auto" in as_table(rows).splitlines()[1]


def test_an_unknown_head_and_a_text_head_without_texts_are_refused(tmp_path: Path) -> None:
    file = load_features_file(write(tmp_path))
    for head, message in (("magic", "expected some of ldc, auto"), ("zero_shot", "expected class texts")):
        with pytest.raises(DataError, match=message):
            evaluate(file, heads=(head,), shots=4, seeds=1, pool=None, timer=ticking())  # type: ignore[arg-type]


def command() -> typer.Typer:
    app = typer.Typer()
    app.command()(head_eval)
    return app


def test_the_last_line_is_one_json_object_with_a_row_per_head_and_shots(tmp_path: Path) -> None:
    arguments = ["--features", str(write(tmp_path)), "--shots", "1,2", "--seeds", "2", "--heads", "auto,linear"]
    result = CliRunner().invoke(command(), [*arguments, "--unlabelled", "val", "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.output.strip().splitlines()[-1])["rows"]
    assert [(r["head"], r["shots"]) for r in rows] == [("auto", 1), ("linear", 1), ("auto", 2), ("linear", 2)]
    assert {"accuracy", "sd", "ece", "fit_seconds", "inference_microseconds"} <= set(rows[0])
    assert "fixed by the file at 2 shots" in result.output
    assert rows[0]["about"][0]["pool"]["n_offered"] == 72


def test_a_file_that_cannot_be_used_ends_with_its_reason_and_code_3(tmp_path: Path) -> None:
    path = write(tmp_path, test_x=np.full((90, 24), np.nan, np.float32))
    result = CliRunner().invoke(command(), ["--features", str(path)])
    assert result.exit_code == 3
    assert "test_x: expected finite features" in result.output
