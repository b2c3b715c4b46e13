"""Reads the reference numbers of the published CODER code."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.heads.coder.coding import FloatArray, Kind, TextRows, text_rows
from tests.conftest import SHARED_DATA, need

Arrays = dict[str, np.ndarray]


def load(name: str) -> Arrays:
    folder = Path(os.environ.get("CODER_GOLDEN", SHARED_DATA / "coder-golden"))
    need(folder.is_dir(), what=f"CODER reference numbers in {folder}", how="set CODER_GOLDEN")
    with np.load(folder / name) as z:
        return {k: z[k] for k in z}


def bank(z: Arrays, *, dtype: npt.DTypeLike) -> TextRows:
    """The texts of zero_shot.npz as one bank."""

    def part(name: str) -> FloatArray:
        return z[name].astype(dtype)

    return text_rows(
        [
            (Kind.SYNONYM, part("synonym"), z["synonym_class"]),
            (Kind.NAME, part("name"), np.arange(len(z["name"]))),
            (Kind.ANALOGOUS, part("analogous"), z["analogous_class"]),
            (Kind.ATTRIBUTE, part("attribute"), z["attribute_class"]),
        ],
        n_classes=len(z["name"]),
    )
