"""The optimiser's step over the flat parameter vector, and over the rows of tables that were touched."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from math import sqrt
from types import SimpleNamespace

import numpy as np

from ...optimizers import (
    RULES,
    STEP_CLIP,
    STEP_CORRECTION_1,
    STEP_CORRECTION_2,
    STEP_FIELDS,
    STEP_GOES,
    STEP_RATE,
    Hyper,
    SetUp,
)
from ...recording import TableGradient
from .elementary import keyed
from .jit import inlined, kernel
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


@kernel("prepare")
def prepare(sums, max_norm, rates, largest, beta_1, beta_2, n_steps, statistics, number, stop, step):
    """The norm, and what updates need; one that is not finite leaves all as it was and stops the tape."""
    n_steps[0] += 1
    total = 0.0
    for b in range(len(sums)):
        total += sums[b]
    norm = sqrt(total)
    statistics[3 * number[0] + 2] = norm
    step[STEP_GOES] = 1.0 if np.isfinite(norm) else 0.0
    if step[STEP_GOES] == 0:
        stop[0] = 1
    step[STEP_CLIP] = max_norm / norm if norm > max_norm else 1.0
    step[STEP_RATE] = min(rates[number[0]], largest)
    step[STEP_CORRECTION_1] = 1 - beta_1 ** n_steps[0]
    step[STEP_CORRECTION_2] = 1 - beta_2 ** n_steps[0]


@cache
def update_kernels(solver: str, dtype: np.dtype) -> SimpleNamespace:
    jit, scalar = keyed(solver, dtype.name), dtype.type
    rule, decoupled = RULES[solver](jit, sqrt), solver == "adamw"

    @inlined
    def hyper(momentum, nesterov, beta_1, beta_2, epsilon, step):
        return Hyper(
            scalar(step[STEP_RATE]), scalar(momentum), scalar(nesterov), scalar(beta_1), scalar(beta_2),
            scalar(1 - beta_1), scalar(1 - beta_2), scalar(epsilon), scalar(step[STEP_CORRECTION_1]),
            scalar(step[STEP_CORRECTION_2]), scalar(1),
        )  # fmt: skip

    @kernel("update", solver, dtype.name)
    def update(thread, n_threads, w, g, m, v, ranges, alpha, momentum, nesterov, beta_1, beta_2, epsilon,
               step):  # fmt: skip
        """ranges (3 n): first, end and whether it decays, of n stretches."""
        if step[STEP_GOES] == 0:
            return
        clip, h = scalar(step[STEP_CLIP]), hyper(momentum, nesterov, beta_1, beta_2, epsilon, step)
        first, last = own_range(thread, n_threads, len(g))
        for k in range(0, len(ranges), 3):
            start, end = max(first, ranges[k]), min(last, ranges[k + 1])
            decay = alpha if ranges[k + 2] != 0 else 0.0
            l2 = scalar(0.0 if decoupled else decay)
            shrink = scalar(1 - step[STEP_RATE] * decay if decoupled else 1.0)
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

    @kernel("update_touched", solver, dtype.name)
    def update_touched(thread, n_threads, w, touched, n_touched, D, g, m, v, decay, momentum, nesterov,
                       beta_1, beta_2, epsilon, step):  # fmt: skip
        """The same of the rows `touched` of a table, whose gradient is g (n_touched, D)."""
        if step[STEP_GOES] == 0:
            return
        clip, h = scalar(step[STEP_CLIP]), hyper(momentum, nesterov, beta_1, beta_2, epsilon, step)
        l2 = scalar(0.0 if decoupled else decay)
        shrink = scalar(1 - step[STEP_RATE] * decay if decoupled else 1.0)
        first, last = own_range(thread, n_threads, n_touched[0])
        for k in range(first, last):
            at = np.intp(touched[k]) * D
            w_k, g_k, m_k, v_k = part(w, at, D), part(g, k * D, D), part(m, at, D), part(v, at, D)
            for i in range(D):
                g_i = g_k[i] * clip + l2 * w_k[i]
                w_k[i], m_k[i], v_k[i] = rule(w_k[i] * shrink, g_i, m_k[i], v_k[i], h)

    return SimpleNamespace(update=update, update_touched=update_touched)


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
        sums, step = np.zeros(ends[-1]), np.zeros(STEP_FIELDS)
        of_g, *of_tables = np.split(sums, ends[:-1])
        squares, kernels = square_kernels(own.dtype), update_kernels(own.solver, own.dtype)
        tape.share(squares.squares, g, of_g)
        for table, some in zip(tables, of_tables, strict=True):
            tape.share(squares.squares_of_touched, table.n_touched, table.width, table.gradient, some)
        alpha, *others = own.hyper
        *_, beta_1, beta_2, _ = others
        tape.call(
            prepare, sums, own.largest_norm, rates, float(np.finfo(own.dtype).max), beta_1, beta_2,
            self.n_steps, statistics, number, tape.stop, step,
        )  # fmt: skip
        tape.share(kernels.update, w, g, self.m, self.v, own.flat_ranges, alpha, *others, step)
        for table in tables:
            tape.share(
                kernels.update_touched, w[table.at], table.touched, table.n_touched, table.width,
                table.gradient, self.m[table.at], self.v[table.at], alpha if table.decays else 0.0, *others,
                step,
            )  # fmt: skip
