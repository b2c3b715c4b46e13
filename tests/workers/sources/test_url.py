"""An address can be shown to anybody without giving its password away."""

from __future__ import annotations

import pytest

from workers.sources.url import device_index, redact, scheme_of


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://user:secret@10.0.0.1:554/live",
        "rtsp://user:pa/secret@10.0.0.1/live",
        "rtsp://user:secret@x@10.0.0.1/live",
        "rtsp://:secret@10.0.0.1/live",
        "rtsp://user:sec?secret@10.0.0.1/live",
        "rtsp://user:#secret@10.0.0.1/live",
        "http://secret@10.0.0.1/video",
        "user:secret@10.0.0.1/live",
        "http://10.0.0.1/cgi?channel=1&pwd=secret&res=hd",
        "http://10.0.0.1/cgi?PASSWORD=secret",
        "http://10.0.0.1/cgi?access_token=secret#top",
        "RTSP://user:secret@10.0.0.1/a?loginpass=secret",
    ],
)
def test_no_password_survives_redaction_but_the_host_does(url: str) -> None:
    shown = redact(url)
    assert "secret" not in shown
    assert "10.0.0.1" in shown
    assert "***" in shown


def test_the_user_is_kept_because_it_helps_to_find_the_fault() -> None:
    assert redact("rtsp://admin:secret@cam/live") == "rtsp://admin:***@cam/live"


@pytest.mark.parametrize("url", ["rtsp://10.0.0.1/live@2", "/dev/video0", "0", "http://cam:80/video?channel=1"])
def test_an_address_without_secrets_is_shown_as_it_is(url: str) -> None:
    assert redact(url) == url


@pytest.mark.parametrize(
    ("address", "index"), [("0", 0), ("/dev/video2", 2), ("rtsp://cam/1", None), ("/dev/videos", None), ("", None)]
)
def test_local_cameras_are_recognised(address: str, index: int | None) -> None:
    assert device_index(address) == index


def test_schemes_are_lower_case_and_may_be_missing() -> None:
    assert [scheme_of(one) for one in ("RTSP://cam", "http://cam", "belt.mp4")] == ["rtsp", "http", ""]
