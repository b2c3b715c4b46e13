"""What fitting does to the processor ends with the fit."""

from __future__ import annotations

import numpy as np

from pipeline.heads.optimise import denormals_flushed

TINY = np.array([1e-310])  # no smaller number has all its digits


def test_denormal_numbers_count_as_zero_inside_and_as_themselves_again_afterwards() -> None:
    with denormals_flushed():
        assert (TINY * 1.0)[0] == 0.0
        with denormals_flushed():
            pass
        assert (TINY * 1.0)[0] == 0.0, "an inner one leaves the outer one as it is"
    assert (TINY * 1.0)[0] == 1e-310
