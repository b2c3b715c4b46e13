"""Forks processes that fit heads until they are killed; run by test_bundle as a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from pipeline.encoders.build import EncoderBundle
from pipeline.encoders.precision import PrecisionChoice
from tests.fakes import FakeEncoder
from workers.commands.head import fit_folder
from workers.config.line import LineConfig, load_config


def fake_bundle() -> EncoderBundle:
    return EncoderBundle(
        image=FakeEncoder(), text=None, ladder=(1, 2, 4, 8, 16), precision=PrecisionChoice("fp32"), expected=None
    )


def fit_for_ever(images: Path, *, config: LineConfig) -> None:
    while True:
        done = fit_folder(images, config=config, encoder=fake_bundle())
        print(f"published {done.bundle.version}", flush=True)


def main() -> None:
    """For each line on stdin: a forked process that fits until somebody kills it; then how it died."""
    torch.set_num_threads(1)
    config = load_config(Path(sys.argv[2]))
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            fit_for_ever(Path(sys.argv[1]), config=config)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(f"dead {os.WTERMSIG(status)}", flush=True)


if __name__ == "__main__":
    main()
