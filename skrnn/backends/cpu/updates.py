"""The optimiser's step over the flat parameter vector."""

from __future__ import annotations

from functools import cache
from math import sqrt

import numpy as np

from ...optimizers import RULES, Hyper
from .elementary import keyed
from .jit import kernel


@cache
def square_sum(dtype: np.dtype):
    @kernel("square_sum", dtype.name)
    def square_sum(g):
        """Sum of squares in float64: eight interleaved sums, added in a fixed order."""
        sums = np.zeros(8)
        n = len(g) // 8 * 8
        for i in range(0, n, 8):
            for j in range(8):
                sums[j] += np.float64(g[i + j]) * np.float64(g[i + j])
        for i in range(n, len(g)):
            sums[0] += np.float64(g[i]) * np.float64(g[i])
        total = 0.0
        for j in range(8):
            total += sums[j]
        return total

    return square_sum


@cache
def compile_update(solver: str, dtype: np.dtype):
    rule = RULES[solver](keyed(solver, dtype.name), sqrt)

    @kernel("update", solver, dtype.name)
    def update(start, stop, w, g, m, v, scale, l2, shrink, h):
        """One step on w[start:stop]; `scale` clips, `l2` adds to the gradient, `shrink` decays."""
        w, g, m, v = w[start:stop], g[start:stop], m[start:stop], v[start:stop]
        for i in range(len(w)):
            w[i], m[i], v[i] = rule(w[i] * shrink, g[i] * scale + l2 * w[i], m[i], v[i], h)

    return update


class Optimizer:
    """A solver's moments and its step over the flat parameter vector.

    Parameters
    ----------
    solver : {"adam", "adamw", "sgd", "rmsprop"}
    ranges : list of (start, stop, decays)
        Stretches of the vector; biases do not decay.
    """

    def __init__(
        self,
        solver: str,
        ranges: list[tuple[int, int, bool]],
        size: int,
        dtype: np.dtype,
        *,
        alpha: float,
        momentum: float,
        nesterov: bool,
        beta_1: float,
        beta_2: float,
        epsilon: float,
        max_norm: float | None,
    ) -> None:
        self.solver, self.ranges, self.dtype = solver, ranges, dtype
        self.alpha, self.momentum, self.nesterov = alpha, momentum, nesterov
        self.beta_1, self.beta_2, self.max_norm = beta_1, beta_2, max_norm
        self.epsilon = max(epsilon, float(np.finfo(dtype).tiny))  # must not become 0 in float32
        self.m, self.v = np.zeros(size, dtype), np.zeros(size, dtype)
        self.n_steps = 0

    def step(self, w: np.ndarray, g: np.ndarray, learning_rate: float) -> float:
        """Clip `g` to `max_norm` (None: not), update `w`; returns the norm before clipping.

        A norm that is not finite leaves `w` and the moments as they were.
        """
        norm = sqrt(square_sum(self.dtype)(g))
        if not np.isfinite(norm):
            return norm
        clip = 1.0 if self.max_norm is None or norm <= self.max_norm else self.max_norm / norm
        self.n_steps += 1
        f = self.dtype.type
        learning_rate = min(learning_rate, float(np.finfo(self.dtype).max))
        h = Hyper(
            f(learning_rate), f(self.momentum), f(self.nesterov), f(self.beta_1), f(self.beta_2),
            f(1 - self.beta_1), f(1 - self.beta_2), f(self.epsilon),
            f(1 - self.beta_1**self.n_steps), f(1 - self.beta_2**self.n_steps), f(1),
        )  # fmt: skip
        decoupled = self.solver == "adamw"
        l2, shrink = (0.0, 1 - learning_rate * self.alpha) if decoupled else (self.alpha, 1.0)
        update = compile_update(self.solver, self.dtype)
        for start, stop, decays in self.ranges:
            update(start, stop, w, g, self.m, self.v, f(clip), f(l2 * decays), f(shrink if decays else 1), h)
        return norm
