"""A real browser for the tests of the page."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import need


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's own Chromium; nothing is downloaded."""
    chromium = shutil.which("chromium")
    need(chromium is not None, what="a browser", how="apt-get install chromium fonts-noto-cjk")
    need(importlib.util.find_spec("playwright") is not None, what="playwright", how="pip install playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium)
        yield opened
        opened.close()
