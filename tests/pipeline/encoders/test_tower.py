"""The one forward pass: same embedding as open_clip's own, and levels as the papers define them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.encoders import golden
from pipeline.encoders.ladder import as_batch
from pipeline.encoders.open_clip_encoder import OpenClipTextEncoder, make_tower
from pipeline.encoders.tower import Normalise
from pipeline.errors import EncoderError
from tests.tiny_models import RESNET, SHALLOW, VIT, loaded, torch_encoder


def inputs_of(name: str) -> torch.Tensor:
    """The golden pictures normalised as torchvision does it."""
    from torchvision.transforms.functional import normalize

    model = loaded(name)
    pixels = torch.from_numpy(golden.pictures(model.image_size)).permute(0, 3, 1, 2) / 255.0
    return normalize(pixels, model.mean, model.std)


@torch.no_grad()
def outputs_of(name: str, *modules: torch.nn.Module) -> list[np.ndarray]:
    """What the modules gave in one forward pass, caught by hooks."""
    caught: dict[int, np.ndarray] = {}
    hooks = [
        module.register_forward_hook(lambda _m, _i, output, index=index: caught.update({index: output.numpy().copy()}))
        for index, module in enumerate(modules)
    ]
    loaded(name).module.visual(inputs_of(name))
    for hook in hooks:
        hook.remove()
    return [caught[index] for index in range(len(modules))]


def layer_norm(rows: np.ndarray) -> np.ndarray:
    return (rows - rows.mean(axis=1, keepdims=True)) / np.sqrt(rows.var(axis=1, keepdims=True) + 1e-5)


@pytest.mark.parametrize("name", [VIT, RESNET, SHALLOW])
@pytest.mark.parametrize("n_levels", [0, 4])
def test_the_embedding_is_that_of_open_clip(name: str, n_levels: int) -> None:
    with torch.no_grad():
        expected = loaded(name).module.encode_image(inputs_of(name), normalize=True).numpy()
    pixels = golden.pictures(loaded(name).image_size)
    got = torch_encoder(name, n_levels=n_levels).encode(as_batch(pixels)).image
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_levels_of_a_transformer_are_mean_and_class_token_of_every_second_block_from_the_last() -> None:
    blocks = loaded(VIT).module.visual.transformer.resblocks
    tokens = outputs_of(VIT, *(blocks[index] for index in (1, 3, 5, 7)))  # 8 blocks: last-6, last-4, last-2, last
    pixels = golden.pictures(loaded(VIT).image_size)
    encoder = torch_encoder(VIT, n_levels=4)
    assert encoder.info.level_dims == (128, 128, 128, 128)
    for level, block in zip(encoder.encode(as_batch(pixels)).levels, tokens, strict=True):
        expected = np.concatenate([layer_norm(block[:, 1:].mean(axis=1)), layer_norm(block[:, 0])], axis=1)
        np.testing.assert_allclose(level, expected, atol=1e-4)
    for got, block in zip(encoder.tokens(pixels), tokens, strict=True):
        np.testing.assert_allclose(got, block, atol=1e-4)


def test_levels_of_a_resnet_are_average_and_maximum_of_its_four_stages() -> None:
    visual = loaded(RESNET).module.visual
    maps = outputs_of(RESNET, visual.layer1, visual.layer2, visual.layer3, visual.layer4)
    pixels = golden.pictures(loaded(RESNET).image_size)
    encoder = torch_encoder(RESNET, n_levels=4)
    assert encoder.info.level_dims == (128, 256, 512, 1024)
    for level, stage in zip(encoder.encode(as_batch(pixels)).levels, maps, strict=True):
        expected = np.concatenate([stage.mean(axis=(2, 3)), stage.max(axis=(2, 3))], axis=1)
        np.testing.assert_allclose(level, expected, atol=1e-4)
    for got, stage in zip(encoder.tokens(pixels), maps, strict=True):
        np.testing.assert_allclose(got, stage, atol=1e-4)


def test_a_tower_without_enough_blocks_gives_no_levels_and_no_tokens() -> None:
    encoder = torch_encoder(SHALLOW, n_levels=4)
    assert encoder.info.level_dims == ()
    with pytest.raises(EncoderError, match="7 blocks"):
        encoder.tokens(golden.pictures(encoder.info.image_size))


def test_only_none_or_four_levels_can_be_asked_for() -> None:
    with pytest.raises(EncoderError, match="n_levels must be 0 or 4, got 3"):
        make_tower(loaded(VIT), device="cpu", precision="fp32", n_levels=3)


def test_normalising_gives_channels_last_memory() -> None:
    normalised = Normalise(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))(torch.full((2, 5, 5, 3), 255, dtype=torch.uint8))
    assert normalised.shape == (2, 3, 5, 5)
    assert normalised.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(normalised[0, :, 0, 0], torch.tensor([2.5, 2.0, 1.75]))


def test_the_weights_are_frozen() -> None:
    assert not any(parameter.requires_grad for parameter in loaded(VIT).module.parameters())
    assert not loaded(VIT).module.training


def test_texts_become_unit_rows_that_do_not_depend_on_their_neighbours() -> None:
    encoder = OpenClipTextEncoder(loaded(VIT))
    rows = encoder.encode_texts(["a scratch", "a dent", "a scratch"] + ["filler"] * 70)
    assert rows.shape == (73, 32)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(rows[0], rows[2], atol=1e-6)
    np.testing.assert_allclose(encoder.encode_texts(["a dent"])[0], rows[1], atol=1e-5)
    assert np.abs(rows[0] - rows[1]).max() > 1e-3
    assert encoder.logit_scale == pytest.approx(1 / 0.07)


def test_no_text_at_all_is_refused() -> None:
    with pytest.raises(EncoderError, match="at least one text"):
        OpenClipTextEncoder(loaded(VIT)).encode_texts([])
