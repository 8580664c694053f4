"""The optimiser's step over the flat parameter vector, and over the rows of tables that were touched."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import cuda

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
from . import turns
from .jit import THREADS, function, kernel, numba_type
from .sums import tree_sum
from .tape import Tape

BLOCK = 16 * THREADS  # squares are added in blocks of so many
FLOAT64 = numba_type(np.dtype(np.float64))


@kernel("squares")
def squares(g, sums):
    """sums[b] = sum of squares of block b, in float64 and in a tree: in the same order each time."""
    partial, thread = cuda.shared.array(THREADS, FLOAT64), cuda.threadIdx.x
    for b in range(cuda.blockIdx.x, len(sums), cuda.gridDim.x):
        partial[thread] = 0.0
        for i in range(b * BLOCK + thread, min((b + 1) * BLOCK, len(g)), THREADS):
            g_i = np.float64(g[i])
            partial[thread] += g_i * g_i
        tree_sum(partial, thread)
        if thread == 0:
            sums[b] = partial[0]
        cuda.syncthreads()


@kernel("squares_of_touched")
def squares_of_touched(n_touched, D, g, sums):
    """The same of g (n_touched, D); there is room for more."""
    partial, thread = cuda.shared.array(THREADS, FLOAT64), cuda.threadIdx.x
    for b in range(cuda.blockIdx.x, len(sums), cuda.gridDim.x):
        partial[thread] = 0.0
        for i in range(b * BLOCK + thread, min((b + 1) * BLOCK, n_touched[0] * D), THREADS):
            g_i = np.float64(g[i])
            partial[thread] += g_i * g_i
        tree_sum(partial, thread)
        if thread == 0:
            sums[b] = partial[0]
        cuda.syncthreads()


@kernel("prepare")
def prepare(sums, max_norm, rates, largest, beta_1, beta_2, n_steps, statistics, number, stop, step):
    """The norm, and what `update` needs; one that is not finite leaves all as it was and stops the tape."""
    if cuda.grid(1) != 0:
        return
    total = 0.0
    for b in range(len(sums)):
        total += sums[b]
    norm = math.sqrt(total)
    statistics[3 * number[0] + 2] = norm
    step[STEP_GOES] = 0.0
    if stop[0] != 0:
        return
    if not math.isfinite(norm):
        stop[0] = 1
        return
    n_steps[0] += 1
    step[STEP_GOES] = 1.0
    step[STEP_CLIP] = max_norm / norm if norm > max_norm else 1.0
    step[STEP_RATE] = min(rates[number[0]], largest)
    step[STEP_CORRECTION_1] = 1.0 - math.pow(beta_1, float(n_steps[0]))
    step[STEP_CORRECTION_2] = 1.0 - math.pow(beta_2, float(n_steps[0]))


@cache
def update_kernels(solver: str, dtype: np.dtype) -> SimpleNamespace:
    rule, scalar = RULES[solver](function, math.sqrt), dtype.type
    decoupled = solver == "adamw"

    @function
    def hyper(momentum, nesterov, beta_1, beta_2, epsilon, step):
        return Hyper(
            scalar(step[STEP_RATE]), scalar(momentum), scalar(nesterov), scalar(beta_1), scalar(beta_2),
            scalar(1 - beta_1), scalar(1 - beta_2), scalar(epsilon), scalar(step[STEP_CORRECTION_1]),
            scalar(step[STEP_CORRECTION_2]), scalar(1),
        )  # fmt: skip

    @function
    def updated(w, g, m, v, decay, step, h):
        """One weight and its moments."""
        l2 = scalar(0.0 if decoupled else decay)
        shrink = scalar(1 - step[STEP_RATE] * decay if decoupled else 1.0)
        return rule(w * shrink, g * scalar(step[STEP_CLIP]) + l2 * w, m, v, h)

    @kernel("update", solver, dtype.name)
    def update(w, g, m, v, decays, alpha, momentum, nesterov, beta_1, beta_2, epsilon, step):
        """decays (3 n): first, end and whether, of n stretches."""
        if step[STEP_GOES] == 0:
            return
        h = hyper(momentum, nesterov, beta_1, beta_2, epsilon, step)
        for i in range(cuda.grid(1), len(g), cuda.gridsize(1)):
            decay = 0.0
            for k in range(0, len(decays), 3):
                if decays[k] <= i and i < decays[k + 1] and decays[k + 2] != 0:
                    decay = alpha
            w[i], m[i], v[i] = updated(w[i], g[i], m[i], v[i], decay, step, h)

    @kernel("update_touched", solver, dtype.name)
    def update_touched(w, touched, n_touched, D, g, m, v, decay, momentum, nesterov, beta_1, beta_2, epsilon,
                       step):  # fmt: skip
        """The same of the rows `touched` of a table, whose gradient is g (n_touched, D)."""
        if step[STEP_GOES] == 0:
            return
        h = hyper(momentum, nesterov, beta_1, beta_2, epsilon, step)
        for k in range(cuda.grid(1), n_touched[0] * D, cuda.gridsize(1)):
            i = touched[k // D] * D + k % D
            w[i], m[i], v[i] = updated(w[i], g[k], m[i], v[i], decay, step, h)

    return SimpleNamespace(update=update, update_touched=update_touched)


class Optimizer:
    """A solver's moments and its step over the flat parameter vector."""

    def __init__(self, set_up: SetUp) -> None:
        self.set_up = set_up
        self.m, self.v = (turns.current().new(np.zeros(set_up.size, set_up.dtype)) for _ in range(2))
        self.n_steps = np.zeros(1, np.intp)

    def update(
        self, tape: Tape, w: Any, g: Any, rates: np.ndarray, statistics: np.ndarray, number: np.ndarray,
        tables: Iterable[TableGradient] = (),
    ) -> None:  # fmt: skip
        """Record: clip `g` and the gradients of `tables` to `max_norm` (None: not), all of them together, and
        update `w` at the rate ``rates[number[0]]``; of tables, the rows that were touched.

        The norm before clipping goes to column 2 of `statistics` (., 3), flat. One that is not finite
        leaves `w` and the moments as they were, and stops the tape.
        """
        device, float64, own, tables = tape.device, np.dtype(np.float64), self.set_up, list(tables)
        parts = [g := g[: own.n_dense], *(table.gradient for table in tables)]
        ends = np.cumsum([-(-len(part) // BLOCK) for part in parts]).tolist()
        sums, step = device.empty(ends[-1], float64), device.empty(STEP_FIELDS, float64)
        kernels = update_kernels(own.solver, own.dtype)
        tape.launch(squares, device.grid(len(g)), (THREADS,), g, sums[: ends[0]])
        for table, start, end in zip(tables, ends[:-1], ends[1:], strict=True):
            tape.each(
                squares_of_touched, len(table.gradient), table.n_touched, table.width, table.gradient,
                sums[start:end],
            )  # fmt: skip
        alpha, *others = own.hyper
        *_, beta_1, beta_2, _ = others
        tape.once(
            prepare, sums, own.largest_norm, tape.sent(rates), float(np.finfo(own.dtype).max), beta_1,
            beta_2, tape.updated(self.n_steps), tape.updated(statistics), tape.twin(number),
            tape.twin(tape.stop), step,
        )  # fmt: skip
        tape.each(
            kernels.update, len(g), w, g, self.m, self.v, tape.sent(own.flat_ranges), alpha, *others, step
        )
        for table in tables:
            tape.each(
                kernels.update_touched, len(table.gradient), w[table.at], table.touched, table.n_touched,
                table.width, table.gradient, self.m[table.at], self.v[table.at],
                alpha if table.decays else 0.0, *others, step,
            )  # fmt: skip
