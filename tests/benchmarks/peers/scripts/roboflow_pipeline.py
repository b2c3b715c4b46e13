"""Roboflow's InferencePipeline with custom logic over several sources, defaults otherwise."""

import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TELEMETRY_OPT_OUT", "True")
os.environ.setdefault("METRICS_ENABLED", "False")
os.environ.setdefault("CORE_MODELS_ENABLED", "False")

import cv2
import torch
from inference import InferencePipeline
from measuring import SIDE, cpu_s, encode, report
from open_clip import image_transform
from PIL import Image

N_SOURCES = 4  # it batches over sources only: with one it encodes one by one


def decode_only(path: Path) -> tuple[float, int]:
    """CPU of reading the file once with the reader that the pipeline uses, cv2.VideoCapture."""
    started, n = cpu_s(), 0
    capture = cv2.VideoCapture(str(path))
    while capture.grab():
        n += capture.retrieve()[0]
    capture.release()
    return cpu_s() - started, n


def main(path: Path) -> None:
    """The file once per source."""
    torch.set_num_threads(1)
    transform = image_transform(SIDE, is_train=False)
    delivered = []

    def on_video_frame(frames: list) -> list:
        pictures = [Image.fromarray(cv2.cvtColor(frame.image, cv2.COLOR_BGR2RGB)) for frame in frames]
        torch.stack([transform(picture) for picture in pictures])
        return [{"label": label} for label in encode(len(frames))]

    def on_prediction(predictions: object, frames: object) -> None:
        given = predictions if isinstance(predictions, list) else [predictions]
        delivered.extend(one for one in given if one is not None)

    decode_s, n = decode_only(path)
    pipeline = InferencePipeline.init_with_custom_logic(
        video_reference=[str(path)] * N_SOURCES, on_video_frame=on_video_frame, on_prediction=on_prediction
    )
    started, wall = cpu_s(), time.perf_counter()
    pipeline.start(use_main_thread=False)
    pipeline.join()
    spent, seconds = cpu_s() - started, time.perf_counter() - wall
    if len(delivered) != n * N_SOURCES:
        sys.exit(f"expected {n * N_SOURCES} predictions, got {len(delivered)}")
    report(cpu_s=spent, decode_cpu_s=decode_s * N_SOURCES, seconds=seconds, n=len(delivered))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
