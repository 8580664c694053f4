"""The loss of a minibatch, and its gradient with respect to the raw outputs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from ...batches import SIZE_FIRST, SIZE_R
from ...recording import Recording, Rows, Weighed
from .elementary import keyed
from .jit import kernel
from .simd import clear, part
from .threads import own_range


@kernel("weigh")
def weigh(sizes, lengths, whole, sequence, row, per, w, weighted, weights, total):
    """weights (M,): a row's weight, with one target per sequence 0 before it ends; total[0]: their sum."""
    total[0] = 0.0
    for m in range(sizes[per]):
        at = row[m] if per == SIZE_R else sequence[m]
        weights[m] = 0.0
        if per == SIZE_R or sizes[SIZE_FIRST] + lengths[m] == whole[m]:
            weights[m] = np.float64(w[at]) if weighted else 1.0
        total[0] += weights[m]


@kernel("add_losses")
def add_losses_kernel(sizes, per, values, weights, total, statistics, number, stop):
    """statistics (n_updates, 3), row ``number[0]``: sum of weighted losses, sum of weights."""
    loss = 0.0
    for m in range(sizes[per]):
        if weights[m] > 0:
            loss += weights[m] * values[m]
    at = 3 * number[0]
    statistics[at], statistics[at + 1] = loss, total[0]
    if not np.isfinite(loss):
        stop[0] = 1


@cache
def compile_loss(name: str, row: Callable, dtype: np.dtype):
    """The kernel of a loss, by its name and the function `row` of `skrnn.losses.Loss`."""
    row_loss, scalar = row(keyed("loss", name, dtype.name)), dtype.type

    @kernel("loss", name, dtype.name)
    def rows(thread, n_threads, sizes, sequence, row, per, raw, raw_row, n_raw, y, y_at, y_row, shift, scale,
             scaled, targets, n_y, weights, total, p, d, d_row, values):  # fmt: skip
        """values (M,): each row's loss; d (M, d_row): the gradient of the mean. total[0]: of all weights.

        A target: n_y numbers from row `y_at` of y (., y_row) on, or from its own row where `y_at` is empty;
        as (target - shift) * scale of its sequence in targets (M, n_y) if `scaled`.
        """
        lo, hi = own_range(thread, n_threads, sizes[per])
        clear(d, lo * d_row, (hi - lo) * d_row)
        for m in range(lo, hi):
            at = row[m] if per == SIZE_R else sequence[m]
            values[m] = 0.0
            if weights[m] > 0:
                first = (y_at[at] if len(y_at) > 0 else at) * y_row
                y_m = part(y, first, n_y)
                if scaled:
                    y_m = part(targets, m * n_y, n_y)
                    for j in range(n_y):
                        k = at * y_row + j % y_row
                        y_m[j] = (y[first + j] - shift[k]) * scale[k]
                d_m = part(d, m * d_row, n_raw)
                values[m] = row_loss(part(raw, m * raw_row, n_raw), y_m, d_m, p)
                share_of_row = scalar(weights[m] / total[0])
                for k in range(n_raw):
                    d_m[k] *= share_of_row

    return rows


def weighed(rec: Recording, per: int, w) -> Weighed:
    """Record the weights of all rows; where their losses go, too."""
    steps, empty, float64 = rec.steps, rec.work.empty, np.dtype(np.float64)
    values, weights, total = (
        rec.buffer("loss", key, size=size, dtype=float64)
        for key, size in (("values", rec.room(per)), ("weights", rec.room(per)), ("total", 1))
    )
    rec.tape.call(
        weigh, steps.sizes, steps.lengths, steps.whole, steps.sequence, steps.row, per,
        empty if w is None else w, w is not None, weights, total,
    )  # fmt: skip
    return Weighed(Rows(values, 1, per), weights, total)


def add_losses(rec: Recording, losses: Weighed, statistics: np.ndarray, number: np.ndarray) -> None:
    """Record their sum, and that of their weights: see `objective`."""
    rec.tape.call(
        add_losses_kernel, rec.steps.sizes, losses.values.per, losses.values.array, losses.weights,
        losses.total, statistics, number, rec.tape.stop,
    )  # fmt: skip


def objective(rec: Recording, loss, raw: Rows, d: Rows, n_raw: int, y, w) -> Weighed:
    """Record the loss of each row of the outputs `raw`, and the gradient `d` of their mean.

    y, w: Targets, and weights (n,) or None, by sequence, or by place in the table of all steps.
    """
    steps, empty, dtype, scaled = rec.steps, rec.work.empty, rec.work.dtype, y.shift is not None
    losses = weighed(rec, raw.per, w)
    scaling = (y.shift.reshape(-1), y.scale.reshape(-1)) if scaled else (empty, empty)
    targets = rec.buffer("loss", "targets", size=rec.room(raw.per) * y.width) if scaled else empty
    rec.tape.share(
        compile_loss(loss.name, loss.row, dtype), steps.sizes, steps.sequence, steps.row, raw.per, raw.array,
        raw.row, n_raw, y.values.reshape(-1), np.zeros(0, np.intp) if y.at is None else y.at,
        y.values.shape[1], *scaling, scaled, targets, y.width, losses.weights, losses.total,
        np.asarray(loss.parameters, dtype), d.array, d.row, losses.values.array,
    )  # fmt: skip
    return losses
