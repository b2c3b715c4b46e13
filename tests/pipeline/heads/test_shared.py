"""The class-embedding form of the deconfusion head: its size, a class more or less, its metric, its training."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.explain import explain
from pipeline.heads.bundles.evidence import NO_EVIDENCE
from pipeline.heads.bundles.serialise import head_from_parts, head_to_parts
from pipeline.heads.deconfusion.fusion import Fusion
from pipeline.heads.deconfusion.shared import DeconfusionSharedHead, with_class, without_class
from pipeline.heads.fit import fit_head
from pipeline.heads.fitted import LabelledFeatures, Material, take_rows
from pipeline.heads.metric import fit_metric
from pipeline.heads.simple.zero_shot import ZeroShotHead
from pipeline.heads.whitening import fit_span, shrunk, within_covariance
from pipeline.types import Features
from tests.pipeline.heads.making_heads import World, accuracy_of

SHOTS = 8
NEW = 5  # the last of six classes: it looks like the one before it
both_priors = pytest.mark.parametrize("has_text", [True, False])


def fit(world: World, *, support: LabelledFeatures, has_text: bool, n_text: int | None = None) -> DeconfusionSharedHead:
    text = replace(world.text, classes=support.classes, prototypes=world.text.prototypes[:n_text])
    material = Material(text=text if has_text else None)
    head = fit_head(support, material=material, kind="deconfusion_shared").head
    assert isinstance(head, DeconfusionSharedHead)
    return head


def without_new(world: World) -> tuple[LabelledFeatures, Features]:
    """The support set of the classes before the new one, and the new one's images."""
    drawn = world.draw(SHOTS)
    old, new = np.flatnonzero(drawn.labels != NEW), np.flatnonzero(drawn.labels == NEW)
    known = LabelledFeatures(
        take_rows(drawn.features, rows=old), drawn.labels[old], drawn.groups[old], drawn.classes[:NEW]
    )
    return known, take_rows(drawn.features, rows=new)


def mean_of(features: Features) -> Features:
    return Features(
        image=features.image.mean(axis=0, keepdims=True),
        levels=tuple(level.mean(axis=0, keepdims=True) for level in features.levels),
    )


@cache
def before_and_after(has_text: bool) -> tuple[DeconfusionSharedHead, DeconfusionSharedHead]:
    world = World()
    known, images = without_new(world)
    head = fit(world, support=known, has_text=has_text, n_text=NEW)
    more = with_class(
        head,
        class_id=world.classes[NEW],
        prototype=mean_of(images),
        n_images=SHOTS,
        text=world.text.prototypes[NEW] if has_text else None,
    )
    return head, more


@cache
def test_rows() -> LabelledFeatures:
    return World().draw(40, seed=7)


test_rows.__test__ = False  # type: ignore[attr-defined]


@both_priors
def test_three_hundred_classes_have_the_parameters_of_three(has_text: bool) -> None:
    sizes = set()
    for n_classes in (3, 300):
        world = World(n_classes=n_classes)
        head = fit(world, support=world.draw(2), has_text=has_text)
        sizes.add((head.correction.n_parameters, head.space.image.centre.size, head.means.shape[1]))
    assert len(sizes) == 1


def test_what_grows_with_the_classes_is_one_vector_each() -> None:
    stored = []
    for n_classes in (30, 31):
        world = World(n_classes=n_classes)
        _, tensors = head_to_parts(replace(fit(world, support=world.draw(2), has_text=True), novelty=None))
        stored.append(sum(tensor.size for tensor in tensors.values()))
    head = fit(world, support=world.draw(2), has_text=True)
    assert stored[1] - stored[0] == head.means.shape[1] + head.prior.prototypes.shape[1]


@both_priors
def test_a_new_class_is_recognised_without_fitting(has_text: bool) -> None:
    _, more = before_and_after(has_text)
    rows = test_rows()
    new = rows.labels == NEW
    right = more.score(rows.features).logits.argmax(axis=1) == rows.labels
    assert right[new].mean() > 0.7


@both_priors
def test_a_class_taken_later_is_worth_nearly_a_new_fit(has_text: bool) -> None:
    _, more = before_and_after(has_text)
    world, rows = World(), test_rows()
    whole = fit(world, support=world.draw(SHOTS), has_text=has_text)
    later, at_once = (accuracy_of(h.score(rows.features).logits, rows.labels) for h in (more, whole))
    assert later > at_once - 0.05


@both_priors
def test_old_classes_lose_only_to_the_new_one(has_text: bool) -> None:
    head, more = before_and_after(has_text)
    rows = test_rows()
    before, after = head.score(rows.features).logits, more.score(rows.features).logits
    shift = after[:, :NEW] - before
    np.testing.assert_allclose(shift, np.broadcast_to(shift[:, :1], shift.shape), atol=2e-4)
    lost = after.argmax(axis=1) != before.argmax(axis=1)
    assert (after.argmax(axis=1)[lost] == NEW).all()


@both_priors
def test_leaving_the_new_class_out_again_gives_the_head_before(has_text: bool) -> None:
    head, more = before_and_after(has_text)
    rows = test_rows().features
    again = without_class(more, class_id=more.classes[NEW])
    assert again.classes == head.classes
    np.testing.assert_allclose(again.score(rows).logits, head.score(rows).logits, atol=1e-5)


@both_priors
def test_the_head_that_was_handed_in_stays_as_it_was(has_text: bool) -> None:
    head, _ = before_and_after(has_text)
    rows = test_rows().features
    first = head.score(rows).logits
    without_class(head, class_id=head.classes[0])
    with_class(head, class_id="x", prototype=mean_of(rows), text=World().text.prototypes[0])
    np.testing.assert_array_equal(head.score(rows).logits, first)


def test_images_of_the_new_class_stop_being_novel_and_the_others_stay_as_near_as_before() -> None:
    world = World(levels=False)
    known, images = without_new(world)
    head = fit(world, support=known, has_text=False)
    more = with_class(head, class_id="new", prototype=mean_of(images), n_images=SHOTS)
    rows = test_rows()
    image, new = Features(image=rows.features.image), rows.labels == NEW
    before, after = head.score(image).novelty, more.score(image).novelty
    assert before is not None
    assert after is not None
    assert after[new].mean() < 0.9 * before[new].mean()
    assert (after <= before + 1e-4).all()


def test_a_direction_no_image_showed_becomes_the_new_classes_own() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 64)).astype(np.float32)  # 24 rows cannot span 64 dimensions
    labels = np.repeat(np.arange(3), 8).astype(np.int64)
    support = LabelledFeatures(Features(image=x), labels, np.arange(24), ("a", "b", "c"))
    head = fit_head(support, kind="deconfusion_shared").head
    assert isinstance(head, DeconfusionSharedHead)
    assert head.novelty is not None
    mean = 3.0 * rng.normal(size=(1, 64)).astype(np.float32)
    more = head.novelty.with_mean(mean)
    assert more.distance(mean)[0] == pytest.approx(0.0, abs=1e-2 * float(head.novelty.distance(mean)[0]))
    without_it = replace(more, means=more.means[:-1])
    np.testing.assert_allclose(without_it.distance(x), head.novelty.distance(x), rtol=1e-4)


def test_a_class_known_by_its_text_alone_competes_by_its_text_logit() -> None:
    world = World(noise=0.05)
    known, _ = without_new(world)
    head = fit(world, support=known, has_text=True, n_text=NEW)
    text = world.means[NEW].astype(np.float32)
    more = with_class(head, class_id="told", text=text / np.linalg.norm(text))
    rows = test_rows()
    scores = more.score(take_rows(rows.features, rows=np.flatnonzero(rows.labels == NEW)))
    assert (scores.logits.argmax(axis=1) == NEW).mean() > 0.7


def test_what_cannot_be_added_or_left_out_is_refused() -> None:
    head, _ = before_and_after(True)
    images, _ = before_and_after(False)
    image = np.zeros((1, 24), np.float32)
    text = np.ones(24, np.float32)
    with pytest.raises(DataError, match="expected a class the head does not have, got class-0000"):
        with_class(head, class_id="class-0000", text=text)
    with pytest.raises(DataError, match="expected a text for new"):
        with_class(head, class_id="new")
    with pytest.raises(DataError, match="expected a prototype for new"):
        with_class(images, class_id="new", text=text)
    with pytest.raises(DataError, match="expected 24 finite values as text"):
        with_class(head, class_id="new", text=text[:3])
    with pytest.raises(DataError, match="expected one finite row of 24 values"):
        with_class(images, class_id="new", prototype=Features(image=np.full((1, 24), np.nan, np.float32)))
    with pytest.raises(DataError, match="expected levels of widths"):
        with_class(images, class_id="new", prototype=Features(image=image))
    with pytest.raises(DataError, match="without_class: expected one of three classes or more, got nothing"):
        without_class(head, class_id="nothing")


@both_priors
def test_a_head_with_a_class_more_survives_its_bundle(has_text: bool) -> None:
    _, more = before_and_after(has_text)
    settings, tensors = head_to_parts(more)
    again = head_from_parts(settings, tensors=tensors, classes=more.classes)
    rows = test_rows().features
    np.testing.assert_array_equal(again.score(rows).logits, more.score(rows).logits)


def test_an_explanation_of_the_new_class_adds_up() -> None:
    _, more = before_and_after(True)
    rows = test_rows()
    one = take_rows(rows.features, rows=np.flatnonzero(rows.labels == NEW)[:1])
    told = explain(more, features=one, temperature=1.0, evidence=NO_EVIDENCE)
    assert told.winner == more.classes[NEW]
    assert told.other == told.margin


def test_a_fit_repeats_for_a_seed() -> None:
    world = World()
    one, two = (head_to_parts(fit(world, support=world.draw(6), has_text=True))[1] for _ in range(2))
    for name, tensor in one.items():
        np.testing.assert_array_equal(tensor, two[name], err_msg=name)


def test_the_correction_raises_what_confused_texts_got_right() -> None:
    world, rows = World(), test_rows()
    head = fit(world, support=world.draw(SHOTS), has_text=True)
    prior = head.prior.score(rows.features).logits
    experts = head.experts(rows.features, prior=prior)
    corrected = accuracy_of(experts.prior + experts.correction, rows.labels)
    assert corrected > accuracy_of(prior, rows.labels) + 0.1


def test_one_shot_trains_no_correction() -> None:
    world = World()
    head = fit(world, support=world.draw(1), has_text=True)
    assert not head.correction.class_code.any()


def test_texts_that_win_are_kept_as_they_are() -> None:
    world = World(noise=3.0)
    told = ZeroShotHead(classes=world.classes, prototypes=world.text.prototypes, scale=20.0)
    rng = np.random.default_rng(3)
    support = world.draw(4)
    shuffled = LabelledFeatures(support.features, rng.permutation(support.labels), support.groups, support.classes)
    fitted = fit_head(shuffled, material=Material(text=told), kind="deconfusion_shared")
    assert isinstance(fitted.head, DeconfusionSharedHead)
    report = fitted.report
    assert report.accuracy_head.n_right >= report.accuracy_zero_shot.n_right


def test_the_metric_is_the_shrunk_precision_in_every_direction() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 8)).astype(np.float32) * np.arange(1, 9, dtype=np.float32)
    labels = np.repeat(np.arange(3), 20).astype(np.int64)
    metric = fit_metric(x, labels=labels, n_classes=3, span=fit_span(x))
    precision = np.linalg.inv(shrunk(within_covariance(x.astype(np.float64), labels=labels, n_classes=3), dim=8))
    u = metric.apply(x)
    expected = (x - metric.centre) @ precision @ (x - metric.centre).T
    scale = (u @ u.T / expected).mean()
    np.testing.assert_allclose(u @ u.T, scale * expected, rtol=1e-3, atol=1e-4)
    assert (u * u).sum(axis=1).mean() == pytest.approx(1.0, rel=1e-3)


def test_few_images_behind_a_mean_give_it_no_advantage() -> None:
    head, _ = before_and_after(False)
    one = replace(head, n_images=np.ones_like(head.n_images), fusion=Fusion(1.0, 0.0, 0.0, 1.0))
    longer = 0.5 * head.space.within * (1.0 - 1.0 / SHOTS)
    np.testing.assert_allclose(head.offsets - one.offsets, longer, atol=1e-5)
