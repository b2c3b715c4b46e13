"""Texts that do no good are found, others are not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from pipeline.heads.coder.coding import Kind, TextRows, class_sums, class_vectors, heuristic_scores, text_rows, unit
from pipeline.texts.check import Problem, check_bank, check_wording, harmful_texts
from pipeline.texts.coding import CodedTexts, encode_dictionary
from pipeline.texts.utility import judge_pruning, text_utilities, without_rows
from tests.pipeline.texts import making_texts as making


def problems(tmp_path: Path, *, old: str, new: str) -> set[tuple[str, str, str]]:
    assert old in making.SMALL
    found = check_wording(making.small(tmp_path, text=making.SMALL.replace(old, new, 1)))
    return {(f.problem.value, f.class_id, f.text) for f in found}


BOTH_SIDES = making.SMALL.replace(
    '"one plain shade"]\n', '"one plain shade"]\n    one_to_one: {scratched: ["no line"]}\n'
)


def test_sound_wording_has_no_findings(tmp_path: Path) -> None:
    assert check_wording(making.small(tmp_path, text=BOTH_SIDES)) == ()


def test_words_that_say_nothing_are_found(tmp_path: Path) -> None:
    assert ("dead", "scratched", "None") in problems(tmp_path, old='"a thin line"', new='"None"')


def test_a_text_under_two_classes_is_found(tmp_path: Path) -> None:
    assert ("shared", "scratched", "Sharp edges") in problems(tmp_path, old='"a thin line"', new='"Sharp edges"')


def test_a_script_the_tower_does_not_read_is_found_once_it_is_in_use(tmp_path: Path) -> None:
    assert ("unread", "scratched", "傷") in problems(tmp_path, old="status: draft", new="status: active")


def test_a_class_with_hardly_any_text_and_a_one_sided_pair_are_found(tmp_path: Path) -> None:
    found = problems(tmp_path, old=', "sharp edges", "one plain shade"', new="")
    assert {("thin", "ok", ""), ("one_sided", "scratched", "")} == found


def test_texts_the_encoder_cannot_tell_apart_are_found(tmp_path: Path) -> None:
    tower = making.WordTower()
    assert check_bank(encode_dictionary(making.small(tmp_path), encoder=tower)) == ()
    twin = making.SMALL.replace('"a long mark"', '"line a thin"')  # the tower sums words
    found = check_bank(encode_dictionary(making.small(tmp_path, text=twin), encoder=tower))
    assert [(f.problem, f.text) for f in found] == [(Problem.DUPLICATE, "line a thin")]
    assert "a thin line" in found[0].detail


def test_a_text_that_only_repeats_the_name_is_found_and_the_name_is_not(tmp_path: Path) -> None:
    tower = making.WordTower()
    like = making.SMALL.replace('"a photo of a {}.", "an image of a {}."', '"a photo of a {}."')
    coded = encode_dictionary(making.small(tmp_path, text=like), encoder=tower)
    found = {}
    for share in (0.03, 0.3):
        rows = coded.rows.vectors.copy()
        rows[4] = unit((rows[coded.phrases.index("scratched plate")] + share * rows[0])[None])[0]
        repeated = dataclasses.replace(coded, rows=dataclasses.replace(coded.rows, vectors=rows))
        found[share] = [(f.text, f.detail.split(" to ")[1]) for f in check_bank(repeated)]
    assert found == {0.03: [("a thin line", "'scratched plate'")], 0.3: []}


def test_a_text_that_says_the_same_of_every_image_is_found(tmp_path: Path) -> None:
    coded = encode_dictionary(making.small(tmp_path), encoder=making.WordTower())
    image = np.random.default_rng(1).normal(size=(40, 64))
    dead = coded.rows.vectors[2]
    mean = coded.rows.vectors.mean(axis=0)
    direction = unit((dead - mean)[None])[0]
    image -= np.outer(image @ direction, direction)  # no image differs along what it says
    image = unit(image)
    found = [f.text for f in check_bank(coded, image=image) if f.problem is Problem.DEAD]
    assert found == ["one plain shade"]


def line(*, bad: bool) -> tuple[TextRows, np.ndarray, np.ndarray]:
    """Three classes; with `bad`, two of the three attributes of class 0 describe class 1."""
    rng = np.random.default_rng(0)
    mean = unit(rng.normal(size=(3, 24)))
    of = np.repeat(np.arange(3), 3)
    attributes = unit(mean[of] + rng.normal(size=(9, 24)) / 12)
    if bad:
        attributes[1:3] = unit(mean[1] + attributes[1:3] / 20)
    names = unit(mean + rng.normal(size=(3, 24)) / 12)
    labels = np.repeat(np.arange(3), 150)
    image = unit(mean[labels] + rng.normal(size=(450, 24)) / 3)
    return text_rows([(Kind.ATTRIBUTE, attributes, of), (Kind.NAME, names, np.arange(3))], n_classes=3), image, labels


def test_a_text_that_lowers_accuracy_is_found_and_the_others_are_not() -> None:
    texts, image, labels = line(bad=True)
    utilities = text_utilities(image, labels=labels, texts=texts, scale=100.0)
    assert [u.row for u in utilities if u.harmful] == [1, 2]
    assert min(utilities, key=lambda u: u.nll_without).row in (1, 2)
    assert 3 not in [u.row for u in utilities]  # the only name of its class
    coded = CodedTexts(("a", "b", "c"), texts, (), None, 100.0)  # type: ignore[arg-type]  # pairs play no part
    assert harmful_texts(coded, utilities=()) == ()
    texts, image, labels = line(bad=False)
    assert not any(u.harmful for u in text_utilities(image, labels=labels, texts=texts, scale=100.0))


def test_a_utility_is_what_a_bank_without_the_text_would_score() -> None:
    texts, image, labels = line(bad=True)
    right = []
    for bank in (texts, without_rows(texts, rows=[1])):
        scores = heuristic_scores(image, classes=class_vectors(class_sums(bank)), scale=100.0)
        right.append((scores.argmax(axis=1) == labels).mean())
    found = next(u for u in text_utilities(image, labels=labels, texts=texts, scale=100.0) if u.row == 1)
    assert abs(found.accuracy_without - (right[1] - right[0])) < 1e-12


def test_what_leaving_out_is_worth_is_counted_on_images_that_did_not_choose() -> None:
    texts, image, labels = line(bad=True)
    judged = judge_pruning(image, labels=labels, groups=np.arange(450), texts=texts, scale=100.0)
    assert judged is not None
    assert judged.n_judged == 450
    assert judged.accuracy_without > judged.accuracy_with + 0.03
    one = np.array([0, 150, 300])
    assert judge_pruning(image[one], labels=labels[one], groups=one, texts=texts, scale=100.0) is None
