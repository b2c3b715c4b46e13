"""Our modules do the arithmetic of the published LDC code: outputs, losses, gradients, steps, beta."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from pipeline.heads.deconfusion.alf import beta_grid, choose_beta, correct_by_beta
from pipeline.heads.deconfusion.published import LdcNetwork, ldc_losses, published_optimiser, train_step
from pipeline.heads.simple.zero_shot import class_prototypes, zero_shot_logits
from tests.pipeline.heads import golden

TOLERANCE = 1e-5  # rtol = atol, SOURCE.md of the reference numbers
MOVED_WEIGHTS_ATOL = 1e-6  # weights move by about 1e-4 in a step
FULL_WIDTH_TRAIN = 1e-4  # of each array's largest value
KINDS = ("vit", "resnet")
EXCESS: dict[str, float] = {}  # largest |difference| - rtol part, by file; printed at the end of the module


@pytest.fixture(scope="module", autouse=True)
def _print_excess() -> Iterator[None]:
    yield
    for where, excess in sorted(EXCESS.items()):
        print(f"\n  {where:32} largest excess {excess:.2e}", end="")


def compare(ours: np.ndarray, theirs: np.ndarray, *, name: str, where: str, atol: float = TOLERANCE) -> None:
    excess = float(np.max(np.abs(ours - theirs) - TOLERANCE * np.abs(theirs), initial=-1.0))
    EXCESS[where] = max(EXCESS.get(where, -1.0), excess)
    np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE, atol=atol, err_msg=f"{where}: {name}")


def rows(z: golden.Arrays, which: slice) -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    levels = [golden.tensor(z[f"levels_{i}"][which]) for i in range(4)]
    s = zero_shot_logits(z["final_embedding"][which], prototypes=z["text_prototypes"], scale=float(z["tau"]))
    return levels, golden.tensor(s), golden.tensor(z["labels"][which])


def batch0(z: golden.Arrays) -> slice:
    return slice(0, int(z["batch0_size"]))


def batch1(z: golden.Arrays) -> slice:
    return slice(int(z["batch0_size"]), None)


def compare_outputs(net: LdcNetwork, *, z: golden.Arrays, w: golden.Arrays, which: slice, where: str) -> None:
    levels, s, labels = rows(z, which)
    out = net(levels, s)
    losses = ldc_losses(out, labels=labels)
    for name, value in golden.outputs_as_named(out).items():
        if name in w:
            compare(value, w[name], name=name, where=where)
    for name, ours in golden.LOSS_NAMES.items():
        if name in w:
            compare(getattr(losses, ours).detach().numpy(), w[name], name=name, where=where)


@pytest.mark.parametrize("kind", KINDS)
def test_eval_outputs_and_losses_equal_the_published_code(kind: str) -> None:
    z, w = golden.load(f"{kind}_inputs.npz"), golden.load(f"{kind}_eval.npz")
    net = golden.network(z).eval()
    compare_outputs(net, z=z, w=w, which=slice(None), where=f"{kind}_eval")


@pytest.mark.parametrize("kind", KINDS)
def test_the_image_embedding_follows_from_the_deepest_level(kind: str) -> None:
    z, w = golden.load(f"{kind}_inputs.npz"), golden.load(f"{kind}_eval.npz")
    deepest = golden.tensor(z["levels_3"])
    if kind == "vit":
        weight, bias = (golden.tensor(z[f"frozen_final_layernorm_{p}"]) for p in ("weight", "bias"))
        normed = torch.nn.functional.layer_norm(deepest[:, 0], (deepest.shape[2],), weight, bias)
        embedding = normed @ golden.tensor(z["frozen_projection"])
    else:
        embedding = golden.attention_pool(z)(deepest)
    compare(embedding.numpy(), w["final_embedding"], name="final_embedding", where=f"{kind}_eval")


@pytest.mark.parametrize("kind", KINDS)
def test_training_outputs_gradients_and_running_statistics_equal_the_published_code(kind: str) -> None:
    z, w = golden.load(f"{kind}_inputs.npz"), golden.load(f"{kind}_train.npz")
    net = golden.network(z).train()
    compare_outputs(net, z=z, w=w, which=batch0(z), where=f"{kind}_train")
    net = golden.network(z).train()
    levels, s, labels = rows(z, batch0(z))
    ldc_losses(net(levels, s), labels=labels).total.backward()
    gradients = {k: p.grad for k, p in net.named_parameters() if p.requires_grad}
    n_compared = 0
    for key in w:
        if key.startswith("grad_"):
            gradient = gradients[golden.our_name(key.removeprefix("grad_"))]
            compare(gradient.numpy(), w[key], name=key, where=f"{kind}_train")
            n_compared += 1
        if key.startswith("after_forward_"):
            value = net.state_dict()[golden.our_name(key.removeprefix("after_forward_"))]
            compare(value.numpy(), w[key], name=key, where=f"{kind}_train")
    assert n_compared == len(gradients), "every trainable tensor has a reference gradient"


def compare_after(net: LdcNetwork, *, z: golden.Arrays, w: golden.Arrays, prefix: str, where: str) -> None:
    state = net.state_dict()
    for name in golden.trainable_names(z):
        value = state[golden.our_name(name)].numpy()
        moved = "running" not in name and where.endswith("steps") and "large" not in where
        if f"{prefix}_param_{name}" in w:
            reference = w[f"{prefix}_param_{name}"]
            compare(value, reference, name=name, where=where, atol=MOVED_WEIGHTS_ATOL if moved else TOLERANCE)
        if f"{prefix}_norm_{name}" in w:
            compare(np.linalg.norm(value.astype(np.float64)), w[f"{prefix}_norm_{name}"], name=name, where=where)
            compare(value.astype(np.float64).sum(), w[f"{prefix}_sum_{name}"], name=name, where=where)
    evaluation = {k.removeprefix(f"{prefix}_eval_"): v for k, v in w.items() if k.startswith(f"{prefix}_eval_")}
    compare_outputs(net.eval(), z=z, w=evaluation, which=slice(None), where=where)


@pytest.mark.parametrize("kind", KINDS)
def test_three_steps_of_the_published_recipe_give_the_published_weights(kind: str) -> None:
    z, w = golden.load(f"{kind}_inputs.npz"), golden.load(f"{kind}_steps.npz")
    net = golden.network(z)
    optimiser, schedule = published_optimiser(net.parameters(), n_steps=3)
    levels, s, labels = rows(z, batch0(z))
    for step in range(3):
        losses = train_step(net, levels=levels, zero_shot=s, labels=labels, optimiser=optimiser, schedule=schedule)
        compare(losses.total.detach().numpy(), w["training_loss_per_step"][step], name="loss", where=f"{kind}_steps")
        if step in (0, 2):
            compare_after(net, z=z, w=w, prefix=f"step{step + 1}", where=f"{kind}_steps")


@pytest.mark.parametrize("kind", KINDS)
def test_ten_large_steps_give_the_published_weights_accuracies_and_beta(kind: str) -> None:
    z, w = golden.load(f"{kind}_inputs.npz"), golden.load(f"{kind}_ten_large_steps.npz")
    net = golden.network(z)
    optimiser, schedule = published_optimiser(net.parameters(), n_steps=10, learning_rate=2e-3)
    for step in range(10):
        levels, s, labels = rows(z, batch0(z) if step % 2 == 0 else batch1(z))
        train_step(net, levels=levels, zero_shot=s, labels=labels, optimiser=optimiser, schedule=schedule)
    compare_after(net, z=z, w=w, prefix="step10", where=f"{kind}_ten_large_steps")
    levels, s, labels = rows(z, slice(None))
    out = net.eval()(levels, s)
    y = labels.numpy()
    beta = choose_beta(out.maf.detach().numpy(), icd=out.icd.detach().numpy(), labels=y)
    assert beta == pytest.approx(float(w["evaluation_best_beta"]))
    blend = beta * out.maf + (1.0 - beta) * out.icd
    named = {"zero_shot": out.zero_shot, "maf": out.maf, "icd": out.icd, "alf": out.fused, "beta_blend": blend}
    for name, logits in named.items():
        percent = 100.0 * float((logits.detach().numpy().argmax(axis=1) == y).mean())
        assert percent == pytest.approx(float(w[f"evaluation_accuracy_percent_{name}"]), abs=1e-4), name


def test_beta_search_finds_the_published_beta_in_every_case() -> None:
    w = golden.load("beta_search.npz")
    cases = [k.removesuffix("_best_count") for k in w if k.endswith("_best_count")]
    assert len(cases) >= 7
    for case in cases:
        m, r, y = w[f"{case}_maf_logits"], w[f"{case}_icd_logits"], w[f"{case}_labels"]
        curve = correct_by_beta(m, icd=r, labels=y)
        np.testing.assert_array_equal(curve, w[f"{case}_accuracy_curve_count"], err_msg=case)
        assert choose_beta(m, icd=r, labels=y) == beta_grid()[int(w[f"{case}_best_beta_index"])], case


def test_text_prototypes_equal_the_published_code() -> None:
    w = golden.load("text_prototypes.npz")
    ours = class_prototypes(w["prompt_embeddings"])
    compare(ours, w["text_prototypes"], name="text_prototypes", where="text_prototypes")


@pytest.mark.parametrize("kind", KINDS)
def test_full_width_equals_the_published_code(kind: str) -> None:
    z, w = golden.load_full_width(kind)
    net = golden.network(z)
    n_trainable = sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert n_trainable == int(w["trainable_parameter_count"])
    evaluation = {k.removeprefix("eval_"): v for k, v in w.items() if k.startswith("eval_")}
    with torch.no_grad():
        compare_outputs(net.eval(), z=z, w=evaluation, which=slice(None), where=f"{kind}_full_width_eval")
    levels, s, labels = rows(z, slice(None))
    out = net.train()(levels, s)
    losses = ldc_losses(out, labels=labels)
    losses.total.backward()
    for name, value in golden.outputs_as_named(out).items():
        relative(value, w.get(f"train_{name}"), name=name, where=f"{kind}_full_width_train")
    for name, ours in golden.LOSS_NAMES.items():
        value = getattr(losses, ours).detach().numpy()
        relative(value, w[f"train_{name}"], name=name, where=f"{kind}_full_width_train")
    compare_sampled_gradients(net, w=w, where=f"{kind}_full_width_gradients")


def relative(ours: np.ndarray, theirs: np.ndarray | None, *, name: str, where: str, largest: float = 0.0) -> None:
    if theirs is None:
        return
    largest = largest or float(np.max(np.abs(theirs)))
    share = float(np.max(np.abs(ours - theirs))) / largest
    EXCESS[where] = max(EXCESS.get(where, 0.0), share)
    assert share <= FULL_WIDTH_TRAIN, f"{where}: {name} is off by {share:.2e} of its largest value"


def compare_sampled_gradients(net: LdcNetwork, *, w: golden.Arrays, where: str) -> None:
    gradients = {k: p.grad.numpy() for k, p in net.named_parameters() if p.requires_grad and p.grad is not None}
    names = [k.removeprefix("grad_every_") for k in w if k.startswith("grad_every_")]
    assert len(names) == len(gradients)
    for name in names:
        gradient = gradients[golden.our_name(name)]
        sample = gradient.ravel()[:: max(1, gradient.size // 24)][:24]
        relative(sample, w[f"grad_every_{name}"], name=name, where=where, largest=float(w[f"grad_max_{name}"]))
        relative(np.linalg.norm(gradient), w[f"grad_norm_{name}"], name=name, where=where)
