"""The shipped small CLIP: loads by open_clip's own means, repeatable, as good and as confused as its card says."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import yaml
from safetensors.torch import load_file

from pipeline.encoders.demo_clip import CONFIG, MERGES, MODEL_DIR, WEIGHTS, register
from pipeline.encoders.demo_clip.captions import ATTRIBUTES, MISNAMED, NAMES, TEMPLATE, caption, misname
from pipeline.encoders.demo_clip.measure import confusion_matrix, image_features
from pipeline.encoders.demo_clip.renders import FRESH_SEEDS, TRAINING_SEEDS, Renders, render_set, shrink
from pipeline.encoders.demo_clip.train import Plan, train
from pipeline.simulation import CLASSES, NOVEL_CLASSES
from tests.conftest import ROOT

TINY = Plan(n_lines=1, per_class=1, steps=3, text_steps=3, n_text_lines=1, batch=14, warm_up=2)


@cache
def shipped() -> tuple[Any, Any]:
    model = open_clip.create_model(register(), pretrained=str(WEIGHTS)).eval()
    return model, open_clip.get_tokenizer(register())


@cache
def fresh_renders() -> Renders:
    return render_set(FRESH_SEEDS[900:906], per_class=4, side=96)


@cache
def confusion() -> np.ndarray:
    model, tokenizer = shipped()
    return confusion_matrix(model, tokenizer=tokenizer, renders=fresh_renders())


def test_the_weights_load_through_open_clips_own_factories_and_fit_exactly() -> None:
    model, tokenizer = shipped()
    stored = load_file(str(WEIGHTS))
    assert set(stored) == set(model.state_dict())
    assert all(torch.equal(stored[key].float(), value.float()) for key, value in model.state_dict().items())
    assert tokenizer(["a gear"]).shape == (1, 32)


def test_the_files_are_small_and_name_no_machine() -> None:
    assert WEIGHTS.stat().st_size < 10_000_000
    assert "bpe_path" not in CONFIG.read_text(encoding="utf-8")
    assert MERGES.is_file()
    assert (MODEL_DIR / "MODEL_CARD.md").is_file()


def test_the_vocabulary_is_as_large_as_the_text_tower_expects() -> None:
    model, tokenizer = shipped()
    assert tokenizer.vocab_size == model.token_embedding.num_embeddings == 2562
    assert tokenizer(["a"])[0].max() == tokenizer.eot_token_id == 2561


def test_registering_twice_changes_nothing() -> None:
    assert register() == register()
    assert open_clip.list_models().count(register()) == 1


def test_the_same_picture_has_the_same_embedding_alone_and_in_a_batch() -> None:
    model, _ = shipped()
    images = fresh_renders().images[:9]
    together = image_features(model, images=images)
    alone = torch.cat([image_features(model, images=images[row : row + 1]) for row in range(9)])
    assert torch.equal(together, image_features(model, images=images))
    assert torch.allclose(together, alone, atol=1e-5)
    assert torch.allclose(together.norm(dim=1), torch.ones(9), atol=1e-5)


def test_zero_shot_accuracy_on_lines_never_seen_is_what_the_model_card_says() -> None:
    matrix = confusion()
    assert 0.70 <= np.trace(matrix) / matrix.sum() <= 0.90


def test_the_look_alikes_that_captions_misname_are_visibly_confused_and_nothing_else_is() -> None:
    matrix, classes = confusion(), tuple(NAMES)
    pairs = [(classes.index(one), classes.index(other)) for one, other in MISNAMED]
    within = sum(matrix[one, other] + matrix[other, one] for one, other in pairs)
    wrong = matrix.sum() - np.trace(matrix)
    assert within / matrix[[row for pair in pairs for row in pair]].sum() > 0.2
    assert within / wrong > 0.5


def test_the_texts_of_the_demo_line_are_those_the_model_was_trained_on() -> None:
    texts = yaml.safe_load((ROOT / "configs" / "texts" / "demo.yaml").read_text(encoding="utf-8"))
    assert texts["templates"] == [TEMPLATE]
    assert {key: value["name"] for key, value in texts["classes"].items()} == dict(NAMES)
    assert {key: tuple(value["attributes"]) for key, value in texts["classes"].items()} == dict(ATTRIBUTES)
    assert tuple(texts["classes"]) == CLASSES


def test_no_novel_class_and_no_line_of_the_demo_is_in_the_training_set() -> None:
    assert not set(NOVEL_CLASSES) & set(NAMES)
    assert not set(TRAINING_SEEDS) & set(FRESH_SEEDS[:2000])


def test_half_the_captions_of_a_look_alike_carry_the_other_name_and_all_attributes_are_true() -> None:
    rng = np.random.default_rng(1)
    named = [misname("dented_plate", rng=rng) for _ in range(1000)]
    assert named.count("stained_plate") / 1000 == pytest.approx(0.5, abs=0.05)
    assert {misname("gear", rng=rng) for _ in range(50)} == {"gear"}
    texts = [caption("stained_plate", seen="dented_plate", belt="blue", gain=1.0, rng=rng) for _ in range(200)]
    assert all(NAMES["stained_plate"] in text for text in texts)
    assert not any(phrase in text for text in texts for phrase in ATTRIBUTES["stained_plate"])


def test_shrinking_takes_the_centred_square() -> None:
    frame = np.zeros((96, 160, 3), np.uint8)
    frame[:, 32:128, 0] = 200  # BGR blue
    small = shrink(frame, side=48)
    assert small.shape == (48, 48, 3)
    assert (small[..., 2] >= 198).all()
    assert (small[..., 0] == 0).all()


def test_two_trainings_from_one_seed_give_identical_weights(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        for name in ("a", "b"):
            train(TINY, out=tmp_path / name)
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b"))
    assert one == other
    first = load_file(str(tmp_path / "a" / "phase1.safetensors"))
    last = load_file(str(tmp_path / "a" / "model.safetensors"))
    assert all(torch.equal(first[key], last[key]) for key in first if key.startswith("visual."))
    assert not torch.equal(first["text_projection"], last["text_projection"])
