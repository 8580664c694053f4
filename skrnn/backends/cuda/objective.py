"""The loss of a minibatch, and its gradient with respect to the raw outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numba import cuda

from ...batches import SIZE_FIRST, SIZE_R
from ...recording import Recording, Rows, Weighed
from .jit import THREADS, function, kernel, numba_type
from .sums import tree_sum

FLOAT64 = numba_type(np.dtype(np.float64))


@kernel("weigh")
def weigh(sizes, lengths, whole, sequence, row, per, w, weighted, weights, total):
    """weights (M,): a row's weight, with one target per sequence 0 before it ends; total[0]: their sum. One
    block, whose threads add theirs in a tree: in the same order each time."""
    sums, thread = cuda.shared.array(THREADS, FLOAT64), cuda.threadIdx.x
    sums[thread] = 0.0
    for m in range(thread, sizes[per], THREADS):
        at = row[m] if per == SIZE_R else sequence[m]
        weights[m] = 0.0
        if per == SIZE_R or sizes[SIZE_FIRST] + lengths[m] == whole[m]:
            weights[m] = w[at] if weighted else 1.0
        sums[thread] += weights[m]
    tree_sum(sums, thread)
    if thread == 0:
        total[0] = sums[0]


@kernel("add_losses")
def add_losses_kernel(sizes, per, values, weights, total, statistics, number, stop):
    """statistics (n_updates, 3), row ``number[0]``: sum of weighted losses, sum of weights. One block, as
    above."""
    sums, thread = cuda.shared.array(THREADS, FLOAT64), cuda.threadIdx.x
    sums[thread] = 0.0
    for m in range(thread, sizes[per], THREADS):
        if weights[m] > 0:
            sums[thread] += weights[m] * values[m]
    tree_sum(sums, thread)
    if thread == 0:
        at = 3 * number[0]
        statistics[at], statistics[at + 1] = sums[0], total[0]
        if not math.isfinite(sums[0]):
            stop[0] = 1


@cache
def compile_loss(name: str, row_of: Callable, dtype: np.dtype):
    """The kernel of a loss, by its name and the function `row` of `skrnn.losses.Loss`."""
    row_loss = row_of(function)

    @kernel("loss", name, dtype.name)
    def rows(sizes, sequence, row, per, raw, raw_row, n_raw, y, y_at, has_y_at, y_row, shift, scale,
             scaled, targets, n_y, weights, total, p, d, d_row, values):  # fmt: skip
        """values (M,): each row's loss; d (M, d_row): the gradient of the mean. total[0]: of all weights.

        A target: n_y numbers from row `y_at` of y (., y_row) on, or from its own row; as (target - shift) *
        scale of its sequence in targets (M, n_y) if `scaled`.
        """
        for m in range(cuda.grid(1), sizes[per], cuda.gridsize(1)):
            at = row[m] if per == SIZE_R else sequence[m]
            values[m] = 0.0
            d_m = d[m * d_row : m * d_row + n_raw]
            if weights[m] > 0:
                first = (y_at[at] if has_y_at else at) * y_row
                y_m = y[first : first + n_y]
                if scaled:
                    y_m = targets[m * n_y : (m + 1) * n_y]
                    for j in range(n_y):
                        k = at * y_row + j % y_row
                        y_m[j] = (y[first + j] - shift[k]) * scale[k]
                values[m] = row_loss(raw[m * raw_row : m * raw_row + n_raw], y_m, d_m, p)
                for k in range(n_raw):
                    d_m[k] *= weights[m] / total[0]
            else:
                for k in range(n_raw):
                    d_m[k] = 0

    return rows


def weighed(rec: Recording, per: int, w) -> Weighed:
    """Record the weights of all rows; where their losses go, too."""
    s, resident, float64 = rec.tape.steps(rec.steps), rec.work.resident, np.dtype(np.float64)
    values, weights, total = (
        rec.buffer("loss", key, size=size, dtype=float64)
        for key, size in (("values", rec.room(per)), ("weights", rec.room(per)), ("total", 1))
    )
    rec.tape.once(
        weigh, s.sizes, s.lengths, s.whole, s.sequence, s.row, per, resident(w), w is not None, weights,
        total,
    )  # fmt: skip
    return Weighed(Rows(values, 1, per), weights, total)


def add_losses(rec: Recording, losses: Weighed, statistics: np.ndarray, number: np.ndarray) -> None:
    """Record their sum, and that of their weights: see `objective`."""
    tape = rec.tape
    tape.once(
        add_losses_kernel, tape.steps(rec.steps).sizes, losses.values.per, losses.values.array,
        losses.weights, losses.total, tape.updated(statistics), tape.twin(number), tape.twin(tape.stop),
    )  # fmt: skip


def objective(rec: Recording, loss, raw: Rows, d: Rows, n_raw: int, y, w) -> Weighed:
    """Record the loss of each row of the outputs `raw`, and the gradient `d` of their mean.

    y, w: Targets, and weights (n,) or None, by sequence, or by place in the table of all steps.
    """
    tape, s, M, dtype = rec.tape, rec.tape.steps(rec.steps), rec.room(raw.per), rec.work.dtype
    resident, scaled, losses = rec.work.resident, y.shift is not None, weighed(rec, raw.per, w)
    targets = rec.buffer("loss", "targets", size=M * y.width) if scaled else resident(None)
    parameters = tape.sent(np.asarray(loss.parameters or (0.0,), dtype))
    tape.each(
        compile_loss(loss.name, loss.row, dtype), M, s.sizes, s.sequence, s.row, raw.per, raw.array,
        raw.row, n_raw, resident(y.values), s.row if y.at is None else resident(y.at), y.at is not None,
        y.values.shape[1], resident(y.shift), resident(y.scale), scaled, targets, y.width, losses.weights,
        losses.total, parameters, d.array, d.row, losses.values.array,
    )  # fmt: skip
    return losses
