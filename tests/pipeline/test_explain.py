"""Explanations of every kind of head: what is shown adds up to what the head said."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.explain import Explanation, explain
from pipeline.heads.bundles.evidence import NO_EVIDENCE, Evidence, SupportIndex, TextIndex
from pipeline.heads.coder.coding import Kind
from pipeline.heads.fit import fit_head
from pipeline.heads.fitted import Material
from pipeline.heads.simple.kernel_heads import KernelHead, kernel
from pipeline.heads.simple.zero_shot import ZeroShotHead, unit_rows
from pipeline.types import Features
from tests.pipeline.heads.making_heads import KINDS, World, fitted, query

ROWS = (0, 7, 13, 20, 32)
EXACT = ("zero_shot", "prototype", "kernel_ridge", "tip", "coder", "coder tuned", "coder_adapter")
every_kind = pytest.mark.parametrize("kind", KINDS)


def evidence_for(kind: str) -> Evidence:
    """What `head fit` writes beside the head, as it comes back from disk."""
    world = World(levels=bool(KINDS[kind].get("levels", True)))
    drawn = world.draw(int(KINDS[kind].get("shots", 6)))
    names = tuple(f"{drawn.classes[c]}/{i:03d}.png" for i, c in enumerate(drawn.labels))
    support = SupportIndex(halved(drawn.features.image), drawn.labels, names)
    coder = world.coder()
    texts = TextIndex(halved(coder.texts.vectors), coder.texts.class_of, coder.sentences)
    return Evidence(support=support, texts=texts if KINDS[kind]["text"] else None)


def halved(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float16).astype(np.float32)


def row_of(kind: str, *, row: int) -> Features:
    features = query(kind)
    return Features(image=features.image[row : row + 1], levels=tuple(x[row : row + 1] for x in features.levels))


def told(kind: str, *, row: int = 0, top_k: int = 5, evidence: Evidence | None = None) -> Explanation:
    done = fitted(kind)
    return explain(
        done.head,
        features=row_of(kind, row=row),
        temperature=done.temperature,
        evidence=evidence_for(kind) if evidence is None else evidence,
        top_k=top_k,
    )


@every_kind
def test_the_largest_texts_and_the_nearest_images_are_shown(kind: str) -> None:
    few, all_of_them = told(kind, top_k=2), told(kind, top_k=99)
    assert few.texts == tuple(sorted(all_of_them.texts, key=lambda text: -abs(text.contribution))[:2])
    assert few.support == tuple(sorted(all_of_them.support, key=lambda image: -image.cosine)[:2])
    assert few.other_support.n == max(0, len(all_of_them.support) - 2)


def sum_of(explanation: Explanation) -> float:
    listed = sum(x.contribution for x in explanation.texts) + sum(x.contribution for x in explanation.support)
    return listed + explanation.other_texts.contribution + explanation.other_support.contribution + explanation.other


@every_kind
@pytest.mark.parametrize("top_k", [1, 5, 99])
def test_what_is_shown_adds_up_to_the_margin(kind: str, top_k: int) -> None:
    for row in ROWS:
        one = told(kind, row=row, top_k=top_k)
        assert sum_of(one) == pytest.approx(one.margin, abs=1e-9)
        assert max(len(one.texts), len(one.support)) <= top_k


@every_kind
def test_winner_rival_and_margins_are_those_of_the_scores(kind: str) -> None:
    for row in ROWS:
        one, scores = told(kind, row=row), fitted(kind).head.score(row_of(kind, row=row))
        order = np.argsort(-scores.logits[0])
        classes = fitted(kind).head.classes
        assert [one.winner, one.rival] == [classes[c] for c in order[:2]]
        assert one.zero_shot == classes[int(scores.zero_shot[0].argmax())]
        assert one.margin == pytest.approx(scores.logits[0, order[0]] - scores.logits[0, order[1]], abs=1e-4)
        assert one.raw_margin == pytest.approx(scores.zero_shot[0, order[0]] - scores.zero_shot[0, order[1]], abs=1e-4)


@every_kind
def test_the_confusion_removed_per_class_is_what_changed_the_margin(kind: str) -> None:
    for row in ROWS:
        one = told(kind, row=row)
        assert one.removed == one.margin - one.raw_margin
        assert one.confusion[one.rival] - one.confusion[one.winner] == pytest.approx(one.removed, abs=1e-9)
        assert sum(one.confusion.values()) == pytest.approx(0.0, abs=1e-9)


@every_kind
def test_without_evidence_all_of_the_margin_is_other(kind: str) -> None:
    one = told(kind, evidence=NO_EVIDENCE)
    assert (one.texts, one.support, one.other_texts.n, one.other_support.n) == ((), (), 0, 0)
    assert one.other == one.margin


@every_kind
def test_image_shares_say_whether_they_are_arithmetic(kind: str) -> None:
    assert told(kind).support_is_exact == (kind in EXACT)


@pytest.mark.parametrize("kind", ["zero_shot", "prototype", "kernel_ridge", "tip", "deconfusion", "gda", "auto"])
def test_with_whole_evidence_nothing_but_rounding_is_left_over(kind: str) -> None:
    for row in ROWS:
        one = told(kind, row=row)
        assert abs(one.other) < 0.01 * max(1.0, abs(one.margin))


@pytest.mark.parametrize("row", ROWS)
def test_a_zero_shot_margin_comes_from_the_names_of_both_classes(row: int) -> None:
    one, world = told("zero_shot", row=row), World()
    coder = world.coder()
    names = {coder.sentences[j] for j in np.flatnonzero(coder.texts.kind_of == Kind.NAME)}
    assert {(text.class_id, text.phrase in names) for text in one.texts} == {(one.winner, True), (one.rival, True)}
    logits = world.text.score(row_of("zero_shot", row=row)).logits[0]
    for text in one.texts:
        sign = 1.0 if text.class_id == one.winner else -1.0
        above = logits[world.classes.index(text.class_id)] - logits.mean()
        assert text.contribution == pytest.approx(sign * above, abs=0.02)
    assert one.support == ()


def test_a_prototype_of_two_texts_is_shared_by_both() -> None:
    world, index = World(), evidence_for("zero_shot").texts
    assert index is not None
    pair = [np.flatnonzero(index.class_of == c)[:2] for c in range(world.n_classes)]
    mixed = unit_rows(np.stack([index.vectors[rows].mean(axis=0) for rows in pair]))
    head = ZeroShotHead(classes=world.classes, prototypes=mixed, scale=20.0)
    one = explain(head, features=row_of("zero_shot", row=3), temperature=1.0, evidence=Evidence(texts=index), top_k=9)
    assert {text.phrase for text in one.texts} == {
        index.phrases[j] for c in (one.winner, one.rival) for j in pair[world.classes.index(c)]
    }
    assert one.other == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("kind", ["gda", "kernel_ridge", "auto"])
@pytest.mark.parametrize("row", ROWS)
def test_where_a_class_has_no_text_the_shares_still_add_up_with_nothing_left_over(kind: str, row: int) -> None:
    world = World()
    known = np.array([True, False] * (world.n_classes // 2))
    text = dataclasses.replace(world.text, prototypes=world.text.prototypes * known[:, None].astype(np.float32))
    done = fit_head(world.draw(6), material=Material(text=text), kind=kind)
    features = row_of("gda", row=row)
    one = explain(done.head, features=features, temperature=done.temperature, evidence=evidence_for("gda"))
    assert sum_of(one) == pytest.approx(one.margin, abs=1e-9)
    assert abs(one.other) < 0.01 * max(1.0, abs(one.margin))
    assert {share.class_id for share in one.texts} <= {c for c, has in zip(world.classes, known, strict=True) if has}


def test_texts_that_did_not_make_the_class_vectors_have_no_share() -> None:
    index = evidence_for("zero_shot").texts
    assert index is not None
    strange = dataclasses.replace(index, vectors=index.vectors[::-1].copy())
    one = told("zero_shot", evidence=Evidence(texts=strange))
    assert (one.texts, one.other) == ((), one.margin)


@pytest.mark.parametrize("kind", ["kernel_ridge", "tip"])
def test_a_kernel_head_shares_coefficient_times_kernel_under_the_names_of_the_files(kind: str) -> None:
    head, features, evidence = fitted(kind).head, row_of(kind, row=5), evidence_for(kind)
    assert isinstance(head, KernelHead)
    assert evidence.support is not None
    one = told(kind, row=5, top_k=99)
    near = kernel(unit_rows(features.image - head.centre), support=head.support, beta=head.beta)[0]
    w, r = head.classes.index(one.winner), head.classes.index(one.rival)
    wanted = near * (head.coefficients[:, w] - head.coefficients[:, r])
    got = {image.name: image.contribution for image in one.support}
    assert got == pytest.approx({evidence.support.names[i]: float(x) for i, x in enumerate(wanted) if x}, abs=1e-4)


def test_images_in_another_order_keep_their_own_shares() -> None:
    evidence = evidence_for("kernel_ridge")
    assert evidence.support is not None
    order = np.random.default_rng(3).permutation(len(evidence.support.names))
    turned = SupportIndex(
        evidence.support.image[order], evidence.support.labels[order], tuple(evidence.support.names[i] for i in order)
    )
    one = told("kernel_ridge", evidence=dataclasses.replace(evidence, support=turned))
    assert {image.name: image.contribution for image in one.support} == pytest.approx(
        {image.name: image.contribution for image in told("kernel_ridge").support}
    )


def test_shares_by_likeness_go_to_the_nearest_images_of_winner_and_rival() -> None:
    one = told("deconfusion", row=7, top_k=99)
    assert {image.class_id for image in one.support} == {one.winner, one.rival}
    for class_id in (one.winner, one.rival):
        own = [image for image in one.support if image.class_id == class_id]
        assert [image.cosine for image in own] == sorted((image.cosine for image in own), reverse=True)
        assert len({image.contribution > 0 for image in own}) == 1


@pytest.mark.parametrize("kind", ["coder", "coder_adapter"])
def test_coder_shares_are_its_votes_and_the_rivals_count_against(kind: str) -> None:
    one = told(kind, row=2, top_k=99)
    assert {text.class_id for text in one.texts} == {one.winner, one.rival}
    assert bool(one.support) == (kind == "coder_adapter")
    assert all((image.contribution > 0) == (image.class_id == one.winner) for image in one.support)


def test_confidence_is_calibrated_by_the_temperature() -> None:
    done = fitted("gda")
    warm, cold = (
        explain(done.head, features=row_of("gda", row=0), temperature=t, evidence=NO_EVIDENCE) for t in (9.0, 0.5)
    )
    assert warm.margin == cold.margin
    assert warm.confidence / warm.rival_confidence == pytest.approx(np.exp(warm.margin / 9.0), rel=1e-4)
    assert cold.confidence > warm.confidence


@every_kind
def test_as_json_it_is_plain_and_whole(kind: str) -> None:
    one = told(kind, top_k=2)
    plain = json.loads(json.dumps(one.to_json(), allow_nan=False))
    parts = [*plain["texts"], *plain["support"], plain["other_texts"], plain["other_support"]]
    assert sum(part["contribution"] for part in parts) + plain["other"] == pytest.approx(plain["margin"])


def test_more_than_one_picture_is_refused() -> None:
    with pytest.raises(DataError, match="one row of features"):
        explain(fitted("gda").head, features=query("gda"), temperature=1.0, evidence=NO_EVIDENCE)
