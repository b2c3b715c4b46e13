"""Probabilities become verdicts, padding ends, and every result says why."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.decision import CostMatrix, Decider, DecisionPolicy, HeadIdentity, softmax
from pipeline.errors import ConfigError
from pipeline.types import Decision, Scores
from tests.making import make_batch

CLASSES = ("ok", "scratch", "dent")
IDENTITY = HeadIdentity("demo", 3, "abc", "fake")


def decider(*, temperature: float = 1.0, **policy: object) -> Decider:
    full = DecisionPolicy(good_classes=frozenset({"ok"}), **policy)  # type: ignore[arg-type]
    return Decider(classes=CLASSES, temperature=temperature, policy=full, identity=IDENTITY)


def scores(
    *rows: list[float], zero_shot: list[list[float]] | None = None, novelty: list[float] | None = None
) -> Scores:
    logits = np.array(rows, np.float32)
    raw = np.array(zero_shot or rows, np.float32)
    return Scores(raw, raw - logits, logits, None if novelty is None else np.array(novelty, np.float32))


def verdicts(made: Decider, given: Scores, *, size: int | None = None) -> list[Decision]:
    batch = make_batch(len(given.logits) if size is None else size, size=len(given.logits))
    return [one.decision for one in made.decide(given, batch=batch, decided_at=1001.0, infer_s=0.1)]


def test_a_sure_good_part_is_accepted_and_a_sure_defect_rejected() -> None:
    assert verdicts(decider(), scores([9, 0, 0], [0, 9, 0])) == [Decision.ACCEPT, Decision.REJECT]


def test_a_doubtful_part_goes_to_review() -> None:
    assert verdicts(decider(review_below=0.6), scores([0.2, 0.1, 0.0])) == [Decision.REVIEW]


def test_a_class_can_ask_for_more_certainty_than_the_others() -> None:
    strict = decider(thresholds={"ok": 0.99})
    assert verdicts(strict, scores([3, 0, 0], [0, 3, 0])) == [Decision.REVIEW, Decision.REJECT]


def test_what_is_far_from_all_classes_is_unknown_however_sure_the_logits() -> None:
    given = scores([9, 0, 0], [9, 0, 0], novelty=[1.01, 0.99])
    assert verdicts(decider(), given) == [Decision.UNKNOWN, Decision.ACCEPT]


def test_padding_rows_make_no_predictions() -> None:
    assert len(verdicts(decider(), scores([9, 0, 0], [9, 0, 0], [9, 0, 0]), size=1)) == 1


def test_temperature_changes_confidence_but_never_the_label() -> None:
    batch = make_batch(1)
    [cold] = decider(temperature=0.5).decide(scores([2, 1, 0]), batch=batch, decided_at=0.0, infer_s=0.0)
    [hot] = decider(temperature=5.0).decide(scores([2, 1, 0]), batch=batch, decided_at=0.0, infer_s=0.0)
    assert cold.label == hot.label == "ok"
    assert cold.confidence > hot.confidence
    assert sum(hot.probabilities.values()) == pytest.approx(1.0, abs=1e-6)


def test_it_names_the_rival_and_how_much_confusion_was_removed() -> None:
    given = scores([4, 1, 0], zero_shot=[[2, 3, 0]])
    [one] = decider().decide(given, batch=make_batch(1), decided_at=0.0, infer_s=0.0)
    assert (one.label, one.zero_shot_label, one.confusion.rival) == ("ok", "scratch", "scratch")
    assert (one.confusion.margin, one.confusion.raw_margin, one.confusion.removed) == (3.0, -1.0, 4.0)


def test_a_prediction_carries_its_head_and_its_batch() -> None:
    [one] = decider().decide(scores([1, 0, 0]), batch=make_batch(1), decided_at=7.0, infer_s=0.25)
    assert (one.head, one.head_version, one.bundle_sha256, one.encoder) == ("demo", 3, "abc", "fake")
    assert (one.timing.size, one.timing.n_real, one.timing.queue_s, one.timing.infer_s) == (1, 1, 0.5, 0.25)


def test_a_policy_for_classes_that_the_head_does_not_know_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="got good_part"):
        Decider(classes=CLASSES, temperature=1.0, policy=DecisionPolicy(frozenset({"good_part"})), identity=IDENTITY)


def test_with_costs_a_small_doubt_rejects_or_reviews_and_the_label_stays_the_likeliest_class() -> None:
    doubt = [[np.log(0.85), np.log(0.1), np.log(0.05)]]
    dear_review = CostMatrix.build(CLASSES, good_classes={"ok"}, escape=10, overkill=1, mix_up=0.5, review=5)
    cheap_review = CostMatrix.build(CLASSES, good_classes={"ok"}, escape=10, overkill=1, mix_up=0.5, review=0.2)
    for costs, expected in ((dear_review, Decision.REJECT), (cheap_review, Decision.REVIEW)):
        [one] = decider(costs=costs).decide(scores(*doubt), batch=make_batch(1), decided_at=0.0, infer_s=0.0)
        assert (one.label, one.decision) == ("ok", expected)


def test_what_no_class_text_fits_is_unknown_where_a_text_margin_is_asked_for() -> None:
    given = scores([9, 0, 0], [9, 0, 0], zero_shot=[[20, 20, 20], [29, 20, 20]])
    assert verdicts(decider(unknown_text_margin=3.0), given) == [Decision.UNKNOWN, Decision.ACCEPT]
    assert verdicts(decider(), given) == [Decision.ACCEPT, Decision.ACCEPT]


def test_rows_of_one_batch_keep_their_own_rival_and_label() -> None:
    given = scores([4, 1, 0], [0, 1, 6], zero_shot=[[2, 3, 0], [5, 4, 4]])
    first, second = decider().decide(given, batch=make_batch(2), decided_at=0.0, infer_s=0.0)
    assert (first.label, first.zero_shot_label, first.confusion.rival) == ("ok", "scratch", "scratch")
    assert (second.label, second.zero_shot_label, second.confusion.rival) == ("dent", "ok", "scratch")
    assert (second.confusion.margin, second.confusion.raw_margin) == (5.0, 0.0)


def test_softmax_survives_logits_of_any_size() -> None:
    assert softmax(np.array([[1e4, 0.0], [-1e4, 0.0]], np.float32)).tolist() == [[1.0, 0.0], [0.0, 1.0]]
