"""Fusion averages, sharpens by what the frames are worth, and leaves a single frame exactly as it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.decision import Decider, DecisionPolicy, HeadIdentity
from pipeline.decision.probabilities import softmax
from pipeline.parts import effective_frames, fuse
from pipeline.types import Decision, Scores
from tests.making import make_batch

LOGITS = np.array([[2.0, 0.0], [1.0, 0.0], [-1.0, 3.0]], np.float32)


def scored(logits: np.ndarray) -> Scores:
    logits = logits.astype(np.float32)
    confusion = np.full_like(logits, 0.25)
    confusion[:, 0] = 0.5
    novelty = np.arange(len(logits), dtype=np.float32)
    return Scores(zero_shot=logits + confusion, confusion=confusion, logits=logits, novelty=novelty)


def test_frames_that_err_alike_are_worth_one_and_frames_that_do_not_are_worth_all() -> None:
    assert effective_frames([1, 3, 3, 3], correlation=[0.3, 1.0, 0.0, 0.5]).tolist() == [1.0, 1.0, 3.0, 1.5]


def test_independent_frames_add_their_evidence() -> None:
    fused = fuse(scored(LOGITS), sizes=[2, 1], correlation=[0.0, 0.0])
    assert fused.logits[0, 0] - fused.logits[0, 1] == pytest.approx(3.0)  # 2 + 1
    assert softmax(fused.logits)[0, 0] == pytest.approx(1 / (1 + np.exp(-3.0)))


def test_frames_that_err_alike_are_averaged_and_nothing_is_gained() -> None:
    fused = fuse(scored(LOGITS), sizes=[2, 1], correlation=[1.0, 1.0])
    assert fused.logits[0].tolist() == pytest.approx([1.5, 0.0])
    assert fused.novelty is not None
    assert fused.novelty.tolist() == [0.5, 2.0]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 6), min_size=1, max_size=5), st.floats(0.0, 1.0))
def test_the_identity_of_deconfusion_holds_and_single_frames_are_untouched(
    seed: int, sizes: list[int], rho: float
) -> None:
    before = scored(np.random.default_rng(seed).normal(0, 10, (sum(sizes), 5)))
    fused = fuse(before, sizes=sizes, correlation=[rho] * len(sizes))
    np.testing.assert_allclose(fused.zero_shot - fused.confusion, fused.logits, atol=2e-4)
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    for row, (start, n) in enumerate(zip(starts, sizes, strict=True)):
        if n == 1:
            np.testing.assert_array_equal(fused.logits[row], before.logits[start])
        mean = before.logits[start : start + n].mean(axis=0)
        assert fused.logits[row].argmax() == mean.argmax() or np.sort(mean)[-1] - np.sort(mean)[-2] < 1e-4


def test_the_limit_for_unknown_parts_means_single_frames_whatever_a_part_has() -> None:
    policy = DecisionPolicy(good_classes=frozenset({"ok"}), review_below=0.0, unknown_text_margin=1.4)
    decider = Decider(
        classes=("ok", "scratch"), temperature=1.0, policy=policy, identity=HeadIdentity("fake", 1, "ab", "fake")
    )
    frames = Scores(
        zero_shot=np.tile(LOGITS[:1], (3, 1)), confusion=np.zeros((3, 2)), logits=np.tile(LOGITS[:1], (3, 1))
    )
    fused = fuse(frames, sizes=[3], correlation=[0.0])  # margin of each frame 1.0, of their sum 3.0
    [one] = decider.decide(fused, batch=make_batch(1), decided_at=0.0, infer_s=0.0)
    assert one.decision is Decision.UNKNOWN
