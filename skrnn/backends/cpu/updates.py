"""The optimiser's step over the flat parameter vector."""

from __future__ import annotations

from functools import cache
from math import sqrt

import numpy as np

from ...optimizers import RULES, Hyper, SetUp
from .elementary import keyed
from .jit import kernel
from .simd import part
from .sums import sum_of_squares
from .tape import Tape
from .threads import own_range

BLOCK = 4096  # squares are added in blocks, so that the norm is the same for any number of threads


@cache
def compile_squares(dtype: np.dtype):
    @kernel("squares", dtype.name)
    def squares(thread, n_threads, g, sums):
        """sums[b] = sum of squares of block b in float64."""
        first, last = own_range(thread, n_threads, len(sums))
        for k in range(first, last):
            sums[k] = sum_of_squares(g, k * BLOCK, min(BLOCK, len(g) - k * BLOCK))

    return squares


@cache
def compile_update(solver: str, dtype: np.dtype):
    rule, scalar, largest = RULES[solver](keyed(solver, dtype.name), sqrt), dtype.type, np.finfo(dtype).max
    decoupled = solver == "adamw"

    @kernel("update", solver, dtype.name)
    def update(thread, n_threads, w, g, m, v, ranges, alpha, momentum, nesterov, beta_1, beta_2, epsilon,
               max_norm, sums, rates, n_steps, statistics, number, stop):  # fmt: skip
        """Clip `g` and update `w`; a norm that is not finite leaves all as it was and stops the tape."""
        total = 0.0
        for b in range(len(sums)):
            total += sums[b]
        norm = sqrt(total)
        if thread == 0:
            statistics[3 * number[0] + 2] = norm
        if not np.isfinite(norm):
            if thread == 0:
                stop[0] = 1
            return
        clip = scalar(max_norm / norm if norm > max_norm else 1.0)
        rate = min(rates[number[0]], largest)
        h = Hyper(
            scalar(rate), scalar(momentum), scalar(nesterov), scalar(beta_1), scalar(beta_2),
            scalar(1 - beta_1), scalar(1 - beta_2), scalar(epsilon), scalar(1 - beta_1 ** n_steps[0]),
            scalar(1 - beta_2 ** n_steps[0]), scalar(1),
        )  # fmt: skip
        first, last = own_range(thread, n_threads, len(w))
        for k in range(0, len(ranges), 3):
            start, end = max(first, ranges[k]), min(last, ranges[k + 1])
            decays = ranges[k + 2] != 0
            l2 = scalar(alpha if decays and not decoupled else 0.0)
            shrink = scalar(1 - rate * alpha if decays and decoupled else 1.0)
            if start < end:
                n = end - start
                w_k, g_k, m_k, v_k = (
                    part(w, start, n),
                    part(g, start, n),
                    part(m, start, n),
                    part(v, start, n),
                )
                for i in range(n):
                    g_i = g_k[i] * clip + l2 * w_k[i]
                    w_k[i], m_k[i], v_k[i] = rule(w_k[i] * shrink, g_i, m_k[i], v_k[i], h)

    return update


@kernel("count_update")
def count_update(n_steps):
    n_steps[0] += 1


class Optimizer:
    """A solver's moments and its step over the flat parameter vector."""

    def __init__(self, set_up: SetUp) -> None:
        self.set_up = set_up
        self.m, self.v = (np.zeros(set_up.size, set_up.dtype) for _ in range(2))
        self.n_steps = np.zeros(1, np.intp)

    def update(self, tape: Tape, w, g, rates: np.ndarray, statistics: np.ndarray, number: np.ndarray) -> None:
        """Record: clip `g` to `max_norm` (None: not) and update `w` at the rate ``rates[number[0]]``.

        The norm before clipping goes to column 2 of `statistics` (., 3), flat. One that is not finite
        leaves `w` and the moments as they were, and stops the tape.
        """
        own, sums = self.set_up, np.zeros(-(-len(g) // BLOCK))
        tape.call(count_update, self.n_steps)
        tape.share(compile_squares(own.dtype), g, sums)
        tape.share(
            compile_update(own.solver, own.dtype), w, g, self.m, self.v, own.flat_ranges, *own.hyper,
            own.largest_norm, sums, rates, self.n_steps, statistics, number, tape.stop,
        )  # fmt: skip
