"""Class prototypes from the names of a dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.texts.bank import build_zero_shot
from pipeline.texts.dictionary import load_dictionary

YAML = """
schema_version: 1
line: x
language: en
templates: ["a photo of a {}.", "a close-up of a {}."]
classes:
  ok: {name: "clean plate"}
  dent: {name: "dented plate", attributes: ["a hollow"]}
"""


class LengthTexts:
    """Embeds a text by its letters, not of unit length."""

    logit_scale = 50.0

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        self.texts = list(texts)
        return np.stack([np.asarray([len(t), t.count("e"), t.count("a")], np.float32) for t in texts])


def dictionary(tmp_path: Path) -> Path:
    path = tmp_path / "x.yaml"
    path.write_text(YAML)
    return path


def test_a_prototype_is_the_unit_mean_of_unit_prompts(tmp_path: Path) -> None:
    texts = LengthTexts()
    head = build_zero_shot(load_dictionary(dictionary(tmp_path)), encoder=texts)
    assert texts.texts[:2] == ["a photo of a clean plate.", "a close-up of a clean plate."]
    rows = texts.encode_texts(texts.texts[:2])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    mean = rows.mean(axis=0)
    np.testing.assert_allclose(head.prototypes[0], mean / np.linalg.norm(mean), rtol=1e-5)
    assert (head.classes, head.scale) == (("ok", "dent"), 50.0)


def test_prototypes_follow_the_order_of_the_folders(tmp_path: Path) -> None:
    ordered = load_dictionary(dictionary(tmp_path)).ordered_as(("dent", "ok"), folder="images")
    assert build_zero_shot(ordered, encoder=LengthTexts()).classes == ("dent", "ok")


def test_classes_without_texts_and_texts_without_folder_are_named_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.yaml.*images.*no texts for scratch and texts but no folder for dent"):
        load_dictionary(dictionary(tmp_path)).ordered_as(("ok", "scratch"), folder="images")
