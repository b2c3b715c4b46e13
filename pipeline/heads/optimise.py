"""The two optimisers that fitting needs, small enough to read.

torch.optim's first step loads torch's compiler: seconds of CPU that a fit of four seconds should not pay. The paper
mode (`ldc`) keeps torch.optim.AdamW.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch

HISTORY = 10  # pairs that stand for the curvature
SUFFICIENT = 1e-4  # share of the predicted decrease that a step must bring (Armijo)
MAX_HALVINGS = 20
GRADIENT_TOLERANCE = 1e-6  # largest entry; below it the minimum of a convex loss of order one is reached in float32


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Numbers below 1e-38 count as zero on this thread: up to six times faster once weights decay towards zero.

    What the processor did before is set again: the thread may be a caller's, and its numbers are not ours to change.
    """
    flushed_before = float(torch.tensor(1e-310, dtype=torch.float64) * 1.0) == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed_before)


def lbfgs(loss: Callable[[torch.Tensor], torch.Tensor], *, start: torch.Tensor, max_iterations: int) -> torch.Tensor:
    """Minimiser of a smooth convex function of one flat tensor (Liu and Nocedal, 1989), with backtracking."""
    x = start.clone()
    value, gradient = _value_and_gradient(loss, x=x)
    pairs: deque[tuple[torch.Tensor, torch.Tensor]] = deque(maxlen=HISTORY)
    for _ in range(max_iterations):
        if float(gradient.abs().max()) < GRADIENT_TOLERANCE:
            break
        direction = _two_loops(gradient, pairs=pairs)
        slope = float(gradient @ direction)
        step = 1.0 if pairs else min(1.0, 1.0 / float(gradient.abs().sum()))
        for _ in range(MAX_HALVINGS):
            new_value, new_gradient = _value_and_gradient(loss, x=x + step * direction)
            if new_value <= value + SUFFICIENT * step * slope:
                break
            step /= 2.0
        else:
            break  # no decrease left in float32
        s, y = step * direction, new_gradient - gradient
        if float(s @ y) > 1e-10 * float(y @ y):
            pairs.append((s, y))
        x, value, gradient = x + s, new_value, new_gradient
    return x


def _value_and_gradient(loss: Callable[[torch.Tensor], torch.Tensor], *, x: torch.Tensor) -> tuple[float, torch.Tensor]:
    x = x.detach().requires_grad_()
    value = loss(x)
    (gradient,) = torch.autograd.grad(value, x)
    return float(value.detach()), gradient


def _two_loops(gradient: torch.Tensor, *, pairs: deque[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """Minus the approximate inverse Hessian times the gradient."""
    q, alphas = gradient.clone(), list[float]()
    for s, y in reversed(pairs):
        alphas.append(float(s @ q) / float(s @ y))
        q -= alphas[-1] * y
    if pairs:
        s, y = pairs[-1]
        q *= float(s @ y) / float(y @ y)
    for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
        q += (alpha - float(y @ q) / float(s @ y)) * s
    return -q


class AdamW:
    """Decoupled-decay Adam (Loshchilov and Hutter, 2019) with a cosine to zero over `n_steps`."""

    def __init__(
        self, parameters: Iterable[torch.Tensor], *, learning_rate: float, weight_decay: float, n_steps: int
    ) -> None:
        self._parameters = list(parameters)
        self._rate, self._decay, self._n_steps = learning_rate, weight_decay, n_steps
        self._mean = [torch.zeros_like(p) for p in self._parameters]
        self._square = [torch.zeros_like(p) for p in self._parameters]
        self._n_done = 0

    def step(self, loss: torch.Tensor) -> None:
        """One update by the gradient of `loss`."""
        gradients = torch.autograd.grad(loss, self._parameters)
        rate = self._rate * 0.5 * (1.0 + math.cos(math.pi * self._n_done / self._n_steps))
        self._n_done += 1
        bias1, bias2 = 1.0 - 0.9**self._n_done, 1.0 - 0.999**self._n_done
        with torch.no_grad():
            for p, g, mean, square in zip(self._parameters, gradients, self._mean, self._square, strict=True):
                mean.lerp_(g, 0.1)
                square.mul_(0.999).addcmul_(g, g, value=0.001)
                p.mul_(1.0 - rate * self._decay)
                p.addcdiv_(mean, square.div(bias2).sqrt_().add_(1e-8), value=-rate / bias1)
