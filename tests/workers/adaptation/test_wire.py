"""A decided batch over a topic: what the loop reads of it comes back, and what is none is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.types import Decision, FrameRef
from workers.adaptation.live_file import is_safe, write_safe
from workers.adaptation.tap import Seen
from workers.adaptation.wire import CarriedDecision, from_bytes, to_bytes

N, DIM, SIDE = 5, 16, 24


def make_seen(*, pictures: bool = True, first: int = 0) -> Seen:
    rng = np.random.default_rng(first)
    rows = rng.standard_normal((N, DIM)).astype(np.float32)
    p = rng.random((N, 3)).astype(np.float32)
    refs = [FrameRef("cap-01", 7, first + n, "full", 1.7e9 + n, "host", received_at=5.0) for n in range(N)]
    return Seen(
        predictions=[CarriedDecision(ref, "ok", Decision.ACCEPT, 0.75) for ref in refs],
        image=rows / np.linalg.norm(rows, axis=1, keepdims=True),
        probabilities=p / p.sum(axis=1, keepdims=True),
        labels=np.arange(N) % 3,
        novelty=np.array([0.5, 1.0, 2.0, 1e9, 3.0], np.float32) if pictures else None,
        pixels=np.full((N, SIDE, SIDE, 3), (200, 100, 50), np.uint8) if pictures else None,
        head_version=4,
    )


@pytest.mark.parametrize("pictures", [True, False])
def test_a_batch_comes_back_with_its_decisions_and_half_its_precision(pictures: bool) -> None:
    sent = make_seen(pictures=pictures)
    got = from_bytes(to_bytes(sent))
    assert [one.ref.event_id for one in got.predictions] == [one.ref.event_id for one in sent.predictions]
    assert [one.ref.captured_at for one in got.predictions] == [one.ref.captured_at for one in sent.predictions]
    assert {(one.label, one.decision, one.confidence) for one in got.predictions} == {("ok", Decision.ACCEPT, 0.75)}
    assert got.head_version == 4
    np.testing.assert_allclose(got.image, sent.image, atol=1e-3)
    np.testing.assert_allclose(got.probabilities, sent.probabilities, atol=1e-3)
    assert got.labels.tolist() == sent.labels.tolist()
    assert (got.novelty is None) == (got.pixels is None) == (not pictures)
    if pictures:
        assert got.novelty is not None
        assert np.isfinite(got.novelty).all()
        assert np.abs(got.pixels.astype(int) - sent.pixels).max() < 6  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("content", [b"", b"no batch at all", to_bytes(make_seen())[:200], to_bytes(make_seen())[:-9]])
def test_what_is_no_batch_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="expected a decided batch"):
        from_bytes(content)


def test_a_wider_band_is_said_of_one_version_and_of_no_other(tmp_path: Path) -> None:
    path = tmp_path / "safe.json"
    assert not is_safe(path, version=3)
    write_safe(path, version=3, safe=True)
    assert is_safe(path, version=3)
    assert not is_safe(path, version=4)
    path.write_bytes(b"{")
    assert not is_safe(path, version=3)
