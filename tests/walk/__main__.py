"""`python -m tests.walk --out deploy/WALK.md`: walk as a new user does, and write down every command with its time."""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.walk.record import as_markdown
from tests.walk.walk import SHORT, Scale, Walk

HEAD = """
# A walk from a camera's URL to an alert

Walked by `python -m tests.walk --out deploy/WALK.md` on {day}, Clearline {version}, Python {python}, {cores} cores
shared with other work. The commands are those of the README and of `configs/README.md`, with paths of
their own; the broker is started by the script behind `make kafka`, on a free port. Servers and browser are real: RTSP
(GStreamer, H.264), a Kafka broker, a Prometheus with the shipped rules, headless Chromium driven by keyboard.
`tests/walk/test_walk.py` walks a short form of it in every run of the tests.

What is not as in a plant: the camera shows the simulator's line, the shipped small CLIP stands for a large one, and the
person at the page knows every part at once, so the seconds per picture are the page's and not an eye's. The recording
is sent again and again, so some pictures show the same part twice, which flatters the figure out of fold. Prometheus
scrapes each second instead of every 15. {shortened}
"""
AS_SHIPPED = "Nothing else was shortened: the rules wait as shipped, the control chart got its 4,500 parts."
SHORTENED = "Shortened: two pictures per class, rules that wait seconds, no panels that need 4,500 parts."


def main() -> None:
    """Walk in a new folder, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.walk")
    parser.add_argument("--out", type=Path, required=True, help="The page, Markdown.")
    parser.add_argument("--short", action="store_true", help="As the test walks it.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="walk-") as folder:
        record = Walk(Path(folder), scale=SHORT if given.short else Scale()).go()
        head = HEAD.format(
            day=datetime.now(UTC).date(),
            version=version("clearline"),
            python=platform.python_version(),
            cores=os.cpu_count(),
            shortened=SHORTENED if given.short else AS_SHIPPED,
        )
        given.out.write_text(as_markdown(record, head=head), encoding="utf-8")


if __name__ == "__main__":
    main()
