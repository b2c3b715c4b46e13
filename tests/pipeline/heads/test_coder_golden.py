"""The published form gives the numbers of the published CODER code: every array, in 64 bit and in 32 bit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.heads.coder.adapter import (
    adapter_logits,
    affinities,
    cache_logits,
    mean_prompts,
    mean_views,
    row_min_max,
    unit_code,
)
from pipeline.heads.coder.coding import (
    Form,
    Kind,
    TextRows,
    class_sums,
    class_vectors,
    code,
    heuristic_scores,
    placeholder_synonyms,
    text_rows,
)
from pipeline.heads.coder.gram import text_gram
from pipeline.heads.coder.head import CoderAdapterHead, CoderHead, make_coder_head
from pipeline.heads.coder.rerank import (
    PairEvidence,
    pair_evidence,
    pair_vectors,
    published_labels,
    replaced_scores,
    triggered,
)
from pipeline.heads.coder.search import SearchRound, published_search
from pipeline.types import Features
from tests.pipeline.heads import coder_golden as golden

TOLERANCE = 1e-5  # of max(1, |reference|), SOURCE.md of the reference numbers
LARGE_BETA = {"test_cache", "test_logits", "tuned_test_logits"}  # enlarge 32-bit rounding
LARGE_BETA_SINGLE = 1e-4
SEARCH_CELLS_SINGLE = 20
PRECISIONS = (np.float64, np.float32)
FEW_SHOT = ("few_shot", "few_shot_unit_views")
EXCESS: dict[str, float] = {}  # largest |difference| - allowed, by file and precision; printed by the last test


def compare(ours: np.ndarray, z: golden.Arrays, *, name: str, where: str) -> None:
    theirs = z[name]
    if theirs.dtype.kind in "biu":
        np.testing.assert_array_equal(ours, theirs, err_msg=f"{where}: {name}")
        return
    single = ours.dtype == np.float32
    allowed = LARGE_BETA_SINGLE if single and name in LARGE_BETA else TOLERANCE
    excess = np.max(np.abs(ours - theirs) - allowed * np.maximum(1.0, np.abs(theirs)))
    key = f"{where} {ours.dtype}"
    EXCESS[key] = max(EXCESS.get(key, -1.0), float(excess))
    assert ours.shape == theirs.shape, f"{where}: {name}"
    assert excess <= 0, f"{where}: {name} is off by {excess:.3g} more than allowed"


def published(texts: TextRows) -> CoderHead:
    classes = tuple(f"class {c}" for c in range(texts.n_classes))
    return make_coder_head(texts, classes=classes, form=Form.PUBLISHED)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_the_bank_and_the_general_coding_are_those_of_the_published_code(dtype: npt.DTypeLike) -> None:
    z = golden.load("zero_shot.npz")
    texts = golden.bank(z, dtype=dtype)
    compare(texts.vectors, z, name="bank", where="zero_shot")
    compare(texts.class_of, z, name="bank_class", where="zero_shot")
    compare(texts.kind_of, z, name="bank_kind", where="zero_shot")
    naming = np.bincount(texts.class_of[texts.naming])
    compare(np.stack([texts.n_voters - 1, naming], axis=1), z, name="counts", where="zero_shot")
    codes = code(z["image"].astype(dtype), bank=texts.vectors)
    assert codes.dtype == dtype
    compare(codes, z, name="code", where="zero_shot")


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_the_heuristic_classifier_is_that_of_the_published_code_with_each_kind_of_synonyms(
    dtype: npt.DTypeLike,
) -> None:
    z = golden.load("zero_shot.npz")
    texts = golden.bank(z, dtype=dtype)
    banks = {
        "": texts,
        "_without_synonyms": texts.without(Kind.SYNONYM),
        "_placeholder_synonyms": placeholder_synonyms(texts, placeholder=z["placeholder_synonym"].astype(dtype)),
    }
    for suffix, bank in banks.items():
        scores = published(bank).score(Features(image=z["image"].astype(dtype))).logits
        assert scores.dtype == dtype
        compare(scores, z, name=f"score{suffix}", where="zero_shot")
        compare(scores.argmax(axis=1), z, name=f"prediction{suffix}", where="zero_shot")


def stage2(z: golden.Arrays, *, dtype: npt.DTypeLike) -> tuple[np.ndarray, PairEvidence]:
    texts = golden.bank(golden.load("zero_shot.npz"), dtype=dtype)
    image = z["image"].astype(dtype)
    stage1 = heuristic_scores(image, classes=class_vectors(class_sums(texts), form=Form.PUBLISHED))
    pairs = pair_vectors(z["pair_text"].astype(dtype), pair_of=z["pair_of"], n_classes=texts.n_classes)
    return stage1, pair_evidence(image, stage1=stage1, pairs=pairs)


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_candidates_gaps_and_margins_of_the_rerank_are_those_of_the_published_code(dtype: npt.DTypeLike) -> None:
    z = golden.load("rerank.npz")
    stage1, evidence = stage2(z, dtype=dtype)
    compare(stage1, z, name="score", where="rerank")
    compare(stage1.argmax(axis=1), z, name="stage1_prediction", where="rerank")
    compare(evidence.candidates, z, name="candidate", where="rerank")
    compare(evidence.gap, z, name="gap", where="rerank")
    compare(evidence.margins, z, name="pair_margin", where="rerank")
    compare(evidence.means, z, name="mean_margin", where="rerank")


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_the_rerank_decides_as_the_published_code_with_and_without_its_label_gate(dtype: npt.DTypeLike) -> None:
    z = golden.load("rerank.npz")
    stage1, evidence = stage2(z, dtype=dtype)
    y = z["label"]
    thetas = [float(theta) for theta in z["theta"]]
    free = [published_labels(stage1, evidence=evidence, theta=theta) for theta in thetas]
    gated = [published_labels(stage1, evidence=evidence, theta=theta, labels=y) for theta in thetas]
    as_scores = [replaced_scores(stage1, evidence=evidence, theta=theta).argmax(axis=1) for theta in thetas]
    opened = [triggered(evidence, theta=theta) for theta in thetas]
    opened_by_label = [triggered(evidence, theta=theta, labels=y) for theta in thetas]
    compare(np.stack(opened), z, name="triggered", where="rerank")
    compare(np.stack(opened_by_label), z, name="reranked_released", where="rerank")
    compare(np.stack(free), z, name="prediction_label_free", where="rerank")
    compare(np.stack(as_scores), z, name="prediction_label_free", where="rerank")
    compare(np.stack(gated), z, name="prediction_released", where="rerank")
    compare(np.stack(gated), z, name="prediction_released_half", where="rerank")
    compare((np.stack(gated) == y).mean(axis=1), z, name="accuracy_released", where="rerank")
    compare(np.tile(stage1.argmax(axis=1), (len(thetas), 1)), z, name="prediction_released_single", where="rerank")


def few_shot_head(z: golden.Arrays, *, dtype: npt.DTypeLike, alpha: float, beta: float) -> CoderAdapterHead:
    """The head a bundle would hold: folded bank, not the codes of the published code."""
    prompts = mean_prompts(z["prompt"].astype(dtype))
    names = text_rows([(Kind.NAME, prompts, np.arange(len(prompts)))], n_classes=len(prompts))
    return CoderAdapterHead(
        prior=published(names),
        gram=text_gram(z["bank"].astype(dtype)),
        key_image=mean_views(z["support_view"].astype(dtype)),
        key_class=z["support_label"],
        alpha=alpha,
        beta=beta,
        form=Form.PUBLISHED,
    )


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("file", FEW_SHOT)
def test_codes_and_affinities_of_the_adapter_are_those_of_the_published_code(file: str, dtype: npt.DTypeLike) -> None:
    z = golden.load(f"{file}.npz")
    zero_shot = golden.bank(golden.load("zero_shot.npz"), dtype=dtype)
    compare(zero_shot.without(Kind.SYNONYM).vectors, z, name="bank", where=file)
    bank = z["bank"].astype(dtype)
    classifier = mean_prompts(z["prompt"].astype(dtype))
    compare(classifier, z, name="classifier", where=file)
    keys = mean_views(z["support_view"].astype(dtype))
    compare(keys, z, name="key_image", where=file)
    key_code = unit_code(keys, bank=bank)
    compare(key_code, z, name="key_code", where=file)
    for split in ("test", "val"):
        image = z[f"{split}_image"].astype(dtype)
        compare(unit_code(image, bank=bank), z, name=f"{split}_code", where=file)
        base = few_shot_head(z, dtype=dtype, alpha=1.0, beta=1.0).prior.stage1(image)
        compare(base, z, name=f"{split}_base_logits", where=file)
    affinity = affinities(unit_code(z["test_image"].astype(dtype), bank=bank), key_codes=key_code)
    compare(affinity, z, name="test_affinity", where=file)
    compare(row_min_max(affinity), z, name="test_affinity01", where=file)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("file", FEW_SHOT)
def test_adapter_logits_at_every_setting_are_those_of_the_published_code(file: str, dtype: npt.DTypeLike) -> None:
    z = golden.load(f"{file}.npz")
    image, y = z["test_image"].astype(dtype), z["test_label"]
    settings = [(float(a), float(b)) for a, b in zip(z["alpha"], z["beta"], strict=True)]
    heads = [few_shot_head(z, dtype=dtype, alpha=alpha, beta=beta) for alpha, beta in settings]
    logits = np.stack([head.score(Features(image=image)).logits for head in heads])
    assert logits.dtype == dtype
    compare(logits, z, name="test_logits", where=file)
    compare(logits.argmax(axis=2), z, name="test_prediction", where=file)
    compare(percent(logits, y), z, name="test_accuracy", where=file)
    affinity = heads[0].affinity(image)
    caches = [
        cache_logits(affinity, key_class=heads[0].key_class, n_classes=len(z["prompt"]), beta=beta)
        for _, beta in settings
    ]
    compare(np.stack(caches), z, name="test_cache", where=file)


def percent(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return 100.0 * (logits.argmax(axis=-1) == labels).mean(axis=-1)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("file", FEW_SHOT)
def test_the_search_visits_and_ends_where_the_published_one_does(file: str, dtype: npt.DTypeLike) -> None:
    z = golden.load(f"{file}.npz")
    rounds = search(z, dtype=dtype)
    compare(np.stack([r.betas for r in rounds]), z, name="search_beta", where=file)
    compare(np.stack([r.alphas for r in rounds]), z, name="search_alpha", where=file)
    off = np.count_nonzero(np.stack([r.n_correct for r in rounds]) != z["search_n_correct"])
    assert off <= (SEARCH_CELLS_SINGLE if dtype == np.float32 else 0)
    n_val = len(z["val_label"])
    ends = np.array([(*r.best, 100.0 * r.n_correct.max() / n_val) for r in rounds])
    compare(ends, z, name="search_round_best", where=file)
    alpha, beta = rounds[-1].best
    compare(np.array(alpha), z, name="best_alpha", where=file)
    compare(np.array(beta), z, name="best_beta", where=file)


def search(z: golden.Arrays, *, dtype: npt.DTypeLike) -> tuple[SearchRound, ...]:
    head, image = few_shot_head(z, dtype=dtype, alpha=1.0, beta=1.0), z["val_image"].astype(dtype)
    return published_search(
        head.prior.stage1(image), affinity=head.affinity(image), labels=z["val_label"], key_class=head.key_class
    )


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("file", FEW_SHOT)
def test_figures_at_the_default_and_the_tuned_setting_are_those_of_the_published_code(
    file: str, dtype: npt.DTypeLike
) -> None:
    z = golden.load(f"{file}.npz")
    image, y = z["test_image"].astype(dtype), z["test_label"]
    head = few_shot_head(z, dtype=dtype, alpha=1.0, beta=1.0)
    base, affinity = head.prior.stage1(image), head.affinity(image)

    def at(alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
        return adapter_logits(base, affinity=affinity, key_class=head.key_class, alpha=float(alpha), beta=float(beta))

    default = percent(at(z["default_alpha"], z["default_beta"]), y)
    tuned = at(z["best_alpha"], z["best_beta"])
    compare(tuned, z, name="tuned_test_logits", where=file)
    compare(tuned.argmax(axis=1), z, name="tuned_test_prediction", where=file)
    compare(percent(base, y), z, name="base_test_accuracy", where=file)
    compare(default, z, name="default_test_accuracy", where=file)
    compare(percent(tuned, y), z, name="tuned_test_accuracy", where=file)
    compare(np.maximum(default, percent(tuned, y)), z, name="reported_test_accuracy", where=file)


def test_the_largest_excess_over_the_tolerance_is_printed() -> None:
    for where, excess in sorted(EXCESS.items()):
        print(f"{where}: {excess:.3g}")
        assert excess <= 0
