"""Settings of the FFmpeg inside OpenCV that can only be made through the environment, before its first use."""

from __future__ import annotations

import os

import cv2

QUIET = "-8"  # AV_LOG_QUIET: FFmpeg's own lines name the URL, password and all


def prepare_ffmpeg() -> None:
    """Silence FFmpeg and OpenCV, and ask for RTSP over TCP (UDP loses packets and shows grey blocks).

    Call before every `cv2.VideoCapture`; values the user has set stay.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", QUIET)
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")
    set_level = getattr(cv2, "setLogLevel", None)
    if set_level is not None:
        set_level(0)
        return
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def codec_name(capture: cv2.VideoCapture) -> str:
    """The four letters of the codec, e.g. `h264`; empty where unknown."""
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    return code.to_bytes(4, "little").decode("ascii", "replace").strip("\0 ") if code > 0 else ""
