"""The optimiser's step over the flat parameter vector, and over the rows of tables that were touched."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from math import sqrt
from types import SimpleNamespace

import numpy as np

from ...optimizers import RULES, Hyper, SetUp
from ...recording import TableGradient
from .elementary import keyed
from .jit import kernel
from .simd import part
from .sums import sum_of_squares
from .tape import Tape
from .threads import own_range

BLOCK = 4096  # squares are added in blocks, so that the norm is the same for any number of threads


@cache
def square_kernels(dtype: np.dtype) -> SimpleNamespace:
    @kernel("squares", dtype.name)
    def squares(thread, n_threads, g, sums):
        """sums[b] = sum of squares of block b in float64."""
        first, last = own_range(thread, n_threads, len(sums))
        for k in range(first, last):
            sums[k] = sum_of_squares(g, k * BLOCK, min(BLOCK, len(g) - k * BLOCK))

    @kernel("squares_of_touched", dtype.name)
    def squares_of_touched(thread, n_threads, n_touched, D, g, sums):
        """The same of g (n_touched, D); there is room for more."""
        first, last = own_range(thread, n_threads, len(sums))
        for k in range(first, last):
            n = min(BLOCK, n_touched[0] * D - k * BLOCK)
            sums[k] = sum_of_squares(g, k * BLOCK, n) if n > 0 else 0.0

    return SimpleNamespace(squares=squares, squares_of_touched=squares_of_touched)


@cache
def update_kernels(solver: str, dtype: np.dtype) -> SimpleNamespace:
    jit, scalar, largest = keyed(solver, dtype.name), dtype.type, np.finfo(dtype).max
    rule, decoupled = RULES[solver](jit, sqrt), solver == "adamw"

    @jit
    def norm_of(sums):
        total = 0.0
        for b in range(len(sums)):
            total += sums[b]
        return sqrt(total)

    @jit
    def clipping(norm, max_norm):
        return scalar(max_norm / norm if norm > max_norm else 1.0)

    @jit
    def decay(decays, alpha, rate):
        """L2's part of the gradient, and what weights shrink by."""
        l2 = scalar(alpha if decays and not decoupled else 0.0)
        return l2, scalar(1 - rate * alpha if decays and decoupled else 1.0)

    @jit
    def hyper(rate, momentum, nesterov, beta_1, beta_2, epsilon, n_steps):
        return Hyper(
            scalar(rate), scalar(momentum), scalar(nesterov), scalar(beta_1), scalar(beta_2),
            scalar(1 - beta_1), scalar(1 - beta_2), scalar(epsilon), scalar(1 - beta_1 ** n_steps),
            scalar(1 - beta_2 ** n_steps), scalar(1),
        )  # fmt: skip

    @jit
    def step(w, g, m, v, clip, l2, shrink, h):
        for i in range(len(w)):
            g_i = g[i] * clip + l2 * w[i]
            w[i], m[i], v[i] = rule(w[i] * shrink, g_i, m[i], v[i], h)

    @kernel("update", solver, dtype.name)
    def update(thread, n_threads, w, g, m, v, ranges, alpha, momentum, nesterov, beta_1, beta_2, epsilon,
               max_norm, sums, rates, n_steps, statistics, number, stop):  # fmt: skip
        """Clip `g` and update `w`; a norm that is not finite leaves all as it was and stops the tape."""
        norm = norm_of(sums)
        if thread == 0:
            statistics[3 * number[0] + 2] = norm
        if not np.isfinite(norm):
            if thread == 0:
                stop[0] = 1
            return
        clip, rate = clipping(norm, max_norm), min(rates[number[0]], largest)
        h = hyper(rate, momentum, nesterov, beta_1, beta_2, epsilon, n_steps[0])
        first, last = own_range(thread, n_threads, len(g))
        for k in range(0, len(ranges), 3):
            start, end = max(first, ranges[k]), min(last, ranges[k + 1])
            l2, shrink = decay(ranges[k + 2] != 0, alpha, rate)
            if start < end:
                n = end - start
                step(part(w, start, n), part(g, start, n), part(m, start, n), part(v, start, n), clip, l2,
                     shrink, h)  # fmt: skip

    @kernel("update_touched", solver, dtype.name)
    def update_touched(thread, n_threads, w, touched, n_touched, D, g, m, v, decays, alpha, momentum,
                       nesterov, beta_1, beta_2, epsilon, max_norm, sums, rates, n_steps,
                       number):  # fmt: skip
        """The same of the rows `touched` of a table, whose gradient is g (n_touched, D); behind `update`."""
        norm = norm_of(sums)
        if not np.isfinite(norm):
            return
        clip, rate = clipping(norm, max_norm), min(rates[number[0]], largest)
        h = hyper(rate, momentum, nesterov, beta_1, beta_2, epsilon, n_steps[0])
        l2, shrink = decay(decays, alpha, rate)
        first, last = own_range(thread, n_threads, n_touched[0])
        for k in range(first, last):
            at = np.intp(touched[k]) * D
            step(part(w, at, D), part(g, k * D, D), part(m, at, D), part(v, at, D), clip, l2, shrink, h)

    return SimpleNamespace(update=update, update_touched=update_touched)


@kernel("count_update")
def count_update(n_steps):
    n_steps[0] += 1


class Optimizer:
    """A solver's moments and its step over the flat parameter vector."""

    def __init__(self, set_up: SetUp) -> None:
        self.set_up = set_up
        self.m, self.v = (np.zeros(set_up.size, set_up.dtype) for _ in range(2))
        self.n_steps = np.zeros(1, np.intp)

    def update(
        self, tape: Tape, w: np.ndarray, g: np.ndarray, rates: np.ndarray, statistics: np.ndarray,
        number: np.ndarray, tables: Iterable[TableGradient] = (),
    ) -> None:  # fmt: skip
        """Record: clip `g` and the gradients of `tables` to `max_norm` (None: not), all of them together, and
        update `w` at the rate ``rates[number[0]]``; of tables, the rows that were touched.

        The norm before clipping goes to column 2 of `statistics` (., 3), flat. One that is not finite
        leaves `w` and the moments as they were, and stops the tape.
        """
        own, tables = self.set_up, list(tables)
        parts = [g := g[: own.n_dense], *(table.gradient for table in tables)]
        ends = np.cumsum([-(-len(part) // BLOCK) for part in parts])
        sums = np.zeros(ends[-1])
        own_sums = np.split(sums, ends[:-1])
        squares, kernels = square_kernels(own.dtype), update_kernels(own.solver, own.dtype)
        tape.call(count_update, self.n_steps)
        tape.share(squares.squares, g, own_sums[0])
        for table, some in zip(tables, own_sums[1:], strict=True):
            tape.share(squares.squares_of_touched, table.n_touched, table.width, table.gradient, some)
        tape.share(
            kernels.update, w, g, self.m, self.v, own.flat_ranges, *own.hyper, own.largest_norm, sums, rates,
            self.n_steps, statistics, number, tape.stop,
        )  # fmt: skip
        for table in tables:
            tape.share(
                kernels.update_touched, w[table.at], table.touched, table.n_touched, table.width,
                table.gradient, self.m[table.at], self.v[table.at], table.decays, *own.hyper,
                own.largest_norm, sums, rates, self.n_steps, number,
            )  # fmt: skip
