"""Trains the demo's small CLIP from rendered frames and captions: `python -m pipeline.encoders.demo_clip.train`."""

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from pipeline.encoders.demo_clip import register
from pipeline.encoders.demo_clip.captions import caption, misname
from pipeline.encoders.demo_clip.measure import accuracy_report, image_features, normalised
from pipeline.encoders.demo_clip.renders import FRESH_SEEDS, TRAINING_SEEDS, Renders, render_set

SIDE = 96  # config.json's image_size


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to train and on what; the defaults made the shipped weights."""

    seed: int = 7
    caption_seed: int = 3
    n_lines: int = 600
    per_class: int = 2
    steps: int = 1400
    text_steps: int = 300
    n_text_lines: int = 125
    batch: int = 64
    rate: float = 1e-3
    warm_up: int = 60


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def new_model(seed: int) -> Any:
    """An untrained model and nothing random but its seed."""
    import open_clip

    torch.manual_seed(seed)
    return open_clip.create_model(register()).to(memory_format=torch.channels_last)


def _augmented(images: NDArray[np.uint8], *, rng: np.random.Generator) -> torch.Tensor:
    """Mirrored, shifted by up to four pixels, other gains per colour; normalised (B, 3, S, S)."""
    side = images.shape[1]
    padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="edge")
    pixels = np.empty((len(images), side, side, 3), np.float32)
    for row, (top, left, flip_x, flip_y) in enumerate(rng.integers((9, 9, 2, 2), size=(len(images), 4))):
        window = padded[row, top : top + side, left : left + side]
        pixels[row] = window[:: 1 - 2 * flip_y, :: 1 - 2 * flip_x]
    gains = rng.uniform(0.85, 1.15, (len(images), 1, 1, 1)) * rng.uniform(0.96, 1.04, (len(images), 1, 1, 3))
    pixels *= gains.astype(np.float32)
    return normalised(np.clip(pixels, 0, 255))


def _rate_at(step: int, *, steps: int, plan: Plan) -> float:
    if step < plan.warm_up:
        return plan.rate * (step + 1) / plan.warm_up
    return plan.rate * 0.5 * (1 + math.cos(math.pi * (step - plan.warm_up) / max(steps - plan.warm_up, 1)))


def _contrastive(images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The loss of CLIP (Radford et al., 2021): each picture to its caption, each caption to its picture."""
    logits = scale * images @ texts.T
    rows = torch.arange(len(logits))
    return (torch.nn.functional.cross_entropy(logits, rows) + torch.nn.functional.cross_entropy(logits.T, rows)) / 2


def _descend(
    model: Any,
    *,
    parameters: list[torch.nn.Parameter],
    steps: int,
    plan: Plan,
    loss_of: Callable[[], torch.Tensor],
    keep: Path | None = None,
) -> None:
    decayed = [p for p in parameters if p.ndim >= 2]
    plain = [p for p in parameters if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98), eps=1e-6)
    began_at, mean = time.perf_counter(), 0.0
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = _rate_at(step, steps=steps, plan=plan)
        loss = loss_of()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        mean = 0.98 * mean + 0.02 * loss.item()
        if (step + 1) % 50 == 0:
            shown = mean / (1 - 0.98 ** (step + 1))
            _say(f"step {step + 1}/{steps} loss {shown:.3f} seconds {time.perf_counter() - began_at:.0f}")
        if keep is not None and (step + 1) % 200 == 0:
            save_weights(model, path=keep)


class _Draws:
    """Endless batches of row numbers: every frame once per round, in a new order each round."""

    def __init__(self, n_rows: int, *, batch: int, rng: np.random.Generator) -> None:
        self._n_rows, self._batch, self._rng = n_rows, min(batch, n_rows), rng
        self._order: NDArray[np.int64] = np.empty(0, np.int64)

    def next(self) -> NDArray[np.int64]:
        if len(self._order) < self._batch:
            self._order = self._rng.permutation(self._n_rows)
        rows, self._order = self._order[: self._batch], self._order[self._batch :]
        return rows


def _captions(
    renders: Renders, *, rows: NDArray[np.int64], rng: np.random.Generator, names: tuple[str, ...] | None
) -> list[str]:
    named = renders.parts if names is None else names
    return [
        caption(named[row], seen=renders.parts[row], belt=renders.belts[row], gain=renders.gains[row], rng=rng)
        for row in rows
    ]


def train_truthfully(model: Any, *, renders: Renders, tokenizer: Any, plan: Plan, keep: Path) -> None:
    """Phase 1: both towers, captions that tell the truth; what there is so far is kept every 200 steps."""
    rng = np.random.default_rng((plan.seed, 1))
    draws = _Draws(len(renders.parts), batch=plan.batch, rng=rng)

    def loss_of() -> torch.Tensor:
        rows = draws.next()
        texts = tokenizer(_captions(renders, rows=rows, rng=rng, names=None))
        pictures = model.encode_image(_augmented(renders.images[rows], rng=rng), normalize=True)
        return _contrastive(pictures, model.encode_text(texts, normalize=True), model.logit_scale.exp())

    model.train()
    _descend(model, parameters=list(model.parameters()), steps=plan.steps, plan=plan, loss_of=loss_of, keep=keep)


def train_misnamed(model: Any, *, renders: Renders, tokenizer: Any, plan: Plan) -> None:
    """Phase 2: the image tower frozen, a fresh text tower, look-alikes under either name as in captions off the web."""
    rng = np.random.default_rng((plan.caption_seed, 2))
    names = tuple(misname(part, rng=rng) for part in renders.parts)
    features = image_features(model, images=renders.images)
    fresh = new_model(plan.caption_seed + 1000)
    texts_state = {key: value for key, value in fresh.state_dict().items() if not key.startswith("visual.")}
    model.load_state_dict(texts_state, strict=False)
    parameters = [value for key, value in model.named_parameters() if not key.startswith("visual.")]
    draws = _Draws(len(renders.parts), batch=plan.batch, rng=rng)

    def loss_of() -> torch.Tensor:
        rows = draws.next()
        texts = tokenizer(_captions(renders, rows=rows, rng=rng, names=names))
        return _contrastive(features[rows], model.encode_text(texts, normalize=True), model.logit_scale.exp())

    model.train()
    _descend(model, parameters=parameters, steps=plan.text_steps, plan=plan, loss_of=loss_of)


def save_weights(model: Any, *, path: Path) -> None:
    """Half precision: half the size, the same embeddings to the fourth digit."""
    state = {
        key: value.detach().to(torch.float16).contiguous() if value.is_floating_point() else value.contiguous()
        for key, value in model.state_dict().items()
    }
    save_file(state, str(path), metadata={"format": "pt"})


def train(plan: Plan, *, out: Path, phase1: Path | None = None) -> Any:
    """Both phases; writes `phase1.safetensors` and `model.safetensors` into `out` and returns the model.

    With `phase1`, the weights of an earlier first phase, only the second runs: its caption seed is a matter of luck.
    """
    import open_clip

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    cv2.setNumThreads(1)
    out.mkdir(parents=True, exist_ok=True)
    model = new_model(plan.seed)
    tokenizer = open_clip.get_tokenizer(register())
    if phase1 is None:
        phase1 = out / "phase1.safetensors"
        renders = _training_set(plan, n_lines=plan.n_lines)
        train_truthfully(model, renders=renders, tokenizer=tokenizer, plan=plan, keep=phase1)
        save_weights(model, path=phase1)
    # from the file in any case: half precision rounds, and both ways must give the same weights
    model.load_state_dict(load_file(str(phase1)))
    renders = _training_set(plan, n_lines=plan.n_text_lines)
    train_misnamed(model, renders=renders, tokenizer=tokenizer, plan=plan)
    save_weights(model, path=out / "model.safetensors")
    return model


def _training_set(plan: Plan, *, n_lines: int) -> Renders:
    began_at = time.perf_counter()
    renders = render_set(TRAINING_SEEDS[:n_lines], per_class=plan.per_class, side=SIDE)
    _say(f"rendered {len(renders.parts)} frames in {time.perf_counter() - began_at:.0f} s")
    return renders


def main(arguments: list[str] | None = None) -> None:
    """Train, then measure on lines that training never saw."""
    import open_clip

    usual = Plan()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--caption-seed", type=int, default=usual.caption_seed)
    parser.add_argument("--phase1", type=Path, help="weights of a first phase: run only the second")
    parser.add_argument("--steps", type=int, default=usual.steps)
    parser.add_argument("--lines", type=int, default=usual.n_lines)
    given = parser.parse_args(arguments)
    plan = Plan(seed=given.seed, caption_seed=given.caption_seed, steps=given.steps, n_lines=given.lines)
    model = train(plan, out=given.out, phase1=given.phase1)
    fresh = render_set(FRESH_SEEDS[:40], per_class=1, side=SIDE)
    _say(accuracy_report(model, tokenizer=open_clip.get_tokenizer(register()), renders=fresh))


if __name__ == "__main__":
    main()
