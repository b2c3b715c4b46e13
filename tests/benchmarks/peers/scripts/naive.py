"""The script everybody writes first: read, open_clip's own transform, `encode_image`, one by one."""

import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from measuring import SIDE, cpu_s, encode, report
from open_clip import image_transform
from PIL import Image

N_WARM = 8


def pictures(path: Path) -> Iterator[Image.Image]:
    """RGB pictures of a folder of JPEGs (Pillow) or a video (OpenCV), over and over."""
    while True:
        if path.is_dir():
            for file in sorted(path.iterdir()):
                yield Image.open(file).convert("RGB")
        else:
            import cv2

            capture = cv2.VideoCapture(str(path))
            while (taken := capture.read())[0]:
                yield Image.fromarray(cv2.cvtColor(taken[1], cv2.COLOR_BGR2RGB))
            capture.release()


def main(path: Path, n: int) -> None:
    """Decode only, then all of it, on the same pictures."""
    torch.set_num_threads(1)
    transform = image_transform(SIDE, is_train=False)
    spent = {}
    for what in ("decode", "all"):
        source = pictures(path)
        for picture in itertools.islice(source, N_WARM):
            transform(picture)
        started, wall = cpu_s(), time.perf_counter()
        for picture in itertools.islice(source, n):
            if what == "all":
                transform(picture)[None]
                encode(1)
        spent[what] = cpu_s() - started
        seconds = time.perf_counter() - wall
    report(cpu_s=spent["all"], decode_cpu_s=spent["decode"], seconds=seconds, n=n)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
