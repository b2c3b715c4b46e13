"""The person of the walk: looks at a picture in the browser, knows the part, and presses its key."""

from __future__ import annotations

import csv
import importlib.util
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.types import Float32Array
from tests.conftest import need
from tests.walk.record import WalkError

SIGHT = (48, 36)  # pixels at which no two parts of the recording look alike
LABELS_WITHIN_S = 600.0
SHOWS_ANOTHER = "last => ![undefined, last].includes(document.getElementById('queue').dataset.shown)"
QUEUE_POLL_S = 4.0  # the page itself looks every three seconds


class Eye:
    """Recognises a part by the recording it came from, whatever the video encoder did to it."""

    def __init__(self, frames: Path, *, truth: Path) -> None:
        with truth.open(newline="") as lines:
            rows = list(csv.DictReader(lines))
        self._truth = [row["truth"] for row in rows]
        self._seen = np.stack([_small(cv2.imread(str(frames / row["file"]))) for row in rows])

    def says(self, picture: bytes) -> str:
        """The class of the part in a JPEG or PNG."""
        image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        distance = np.square(self._seen - _small(image)).sum(axis=1)
        return self._truth[int(distance.argmin())]


def label_all(url: str, *, name: str, password: str, eye: Eye, is_done: Callable[[], bool]) -> tuple[int, float]:
    """Log in and label with one key each until `is_done`; how many, and the seconds from the first key to the last."""
    chromium = shutil.which("chromium")
    need(chromium is not None, what="a browser", how="apt-get install chromium fonts-noto-cjk")
    need(importlib.util.find_spec("playwright") is not None, what="playwright", how="pip install playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(f"{url}/review/queue")
            page.fill("[name=name]", name)
            page.fill("[name=password]", password)
            page.press("[name=password]", "Enter")
            page.wait_for_url(f"{url}/review/")
            page.goto(f"{url}/review/queue")
            return _answer(page, url=url, eye=eye, is_done=is_done)
        finally:
            browser.close()


def _answer(page: Any, *, url: str, eye: Eye, is_done: Callable[[], bool]) -> tuple[int, float]:
    started_at, n, last = time.monotonic(), 0, ""
    while not is_done():
        if time.monotonic() - started_at > LABELS_WITHIN_S:
            raise WalkError(f"expected enough labels within {LABELS_WITHIN_S:g} s, got {n} answers")
        try:
            page.wait_for_function(
                SHOWS_ANOTHER,
                arg=last,
                timeout=QUEUE_POLL_S * 1e3,
            )
        except Exception as error:
            if type(error).__name__ != "TimeoutError":
                raise
            continue  # nothing waits: the page looks again by itself
        last = page.get_attribute("#queue", "data-shown")
        answer = page.request.get(f"{url}/review/pictures/{last}")
        if not answer.ok:
            page.keyboard.press("Space")
            continue
        label = eye.says(answer.body())
        page.keyboard.press(page.get_attribute(f'#classes button[value="{label}"]', "data-key"))
        n += 1
    page.wait_for_load_state("networkidle")
    return n, time.monotonic() - started_at


def _small(image: Any) -> Float32Array:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.resize(grey, SIGHT, interpolation=cv2.INTER_AREA), np.float32).reshape(-1)
