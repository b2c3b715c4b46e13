"""What all tests share: where the real test material lies, and a clock they own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = Path(os.environ.get("CLEARLINE_SHARED_DATA", ROOT.parent / "shared" / "data"))


def need(condition: bool, *, what: str, how: str) -> None:
    """Skip with a reason where a part of the machine is absent; with CI=true fail instead."""
    if condition:
        return
    line = f"needs {what}: {how}"
    if os.environ.get("CI") == "true":
        pytest.fail(line)
    pytest.skip(line)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photos, videos and reference numbers that lie beside the checkout, never inside it."""
    need(SHARED_DATA.is_dir(), what=f"real test material in {SHARED_DATA}", how="set CLEARLINE_SHARED_DATA")
    return SHARED_DATA
