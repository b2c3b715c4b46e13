"""A new user's walk by the README: camera, labels on the page, head, Kafka, panels, alert."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.walk.record import as_markdown
from tests.walk.walk import SHORT, Walk


@pytest.mark.timeout(900)  # 222 s beside a load of 25 on two cores
def test_a_new_user_gets_from_a_url_to_an_alert_with_the_commands_of_the_readme(tmp_path: Path) -> None:
    record = Walk(tmp_path, scale=SHORT).go()
    page = as_markdown(record, head="# A walk")
    for did in ("clearline probe rtsp://", "clearline head fit runs/labelled", "kcat -C", "SourceDown is resolved"):
        assert did in page, did
    assert str(tmp_path) not in page
