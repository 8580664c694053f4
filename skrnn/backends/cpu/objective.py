"""The loss of a minibatch, and its gradient with respect to the raw outputs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from ...batches import SIZE_B, SIZE_FIRST, SIZE_R
from ...recording import Recording, Rows
from .elementary import keyed
from .jit import kernel
from .simd import clear, part
from .threads import own_range


@kernel("row_weight")
def row_weight(m, sizes, lengths, whole, sequence, row, per, w, weighted):
    """Where row m finds its target, and its weight: one target per sequence counts where it ends."""
    at = row[m] if per == SIZE_R else sequence[m]
    if per == SIZE_B and sizes[SIZE_FIRST] + lengths[m] < whole[m]:
        return at, 0.0
    return at, np.float64(w[at]) if weighted else 1.0


@cache
def compile_loss(name: str, row: Callable, dtype: np.dtype):
    """The kernel of a loss, by its name and the function `row` of `skrnn.losses.Loss`."""
    row_loss, scalar = row(keyed("loss", name, dtype.name)), dtype.type

    @kernel("loss", name, dtype.name)
    def rows(thread, n_threads, sizes, lengths, whole, sequence, row, per, raw, raw_row, n_raw, y, y_at,
             y_row, shift, scale, scaled, targets, n_y, w, weighted, p, d, d_row, values,
             weights):  # fmt: skip
        """values, weights (M,): each row's loss and weight; d (M, d_row): the gradient of the mean.

        A target: n_y numbers from row `y_at` of y (., y_row) on, or from its own row where `y_at` is empty;
        as (target - shift) * scale of its sequence in targets (M, n_y) if `scaled`.
        """
        M = sizes[per]
        total = 0.0
        for m in range(M):
            total += row_weight(m, sizes, lengths, whole, sequence, row, per, w, weighted)[1]
        lo, hi = own_range(thread, n_threads, M)
        clear(d, lo * d_row, (hi - lo) * d_row)
        for m in range(lo, hi):
            at, weight = row_weight(m, sizes, lengths, whole, sequence, row, per, w, weighted)
            values[m], weights[m] = 0.0, weight
            if weight > 0:
                first = (y_at[at] if len(y_at) > 0 else at) * y_row
                y_m = part(y, first, n_y)
                if scaled:
                    y_m = part(targets, m * n_y, n_y)
                    for j in range(n_y):
                        k = at * y_row + j % y_row
                        y_m[j] = (y[first + j] - shift[k]) * scale[k]
                d_m = part(d, m * d_row, n_raw)
                values[m] = row_loss(part(raw, m * raw_row, n_raw), y_m, d_m, p)
                share_of_row = scalar(weight / total)
                for k in range(n_raw):
                    d_m[k] *= share_of_row

    return rows


@kernel("add_losses")
def add_losses(sizes, per, values, weights, statistics, number, stop):
    """statistics (n_updates, 3), row `number`: sum of weighted losses, sum of weights."""
    total, weight = 0.0, 0.0
    for m in range(sizes[per]):
        weight += weights[m]
        if weights[m] > 0:
            total += weights[m] * values[m]
    at = 3 * number[0]
    statistics[at], statistics[at + 1] = total, weight
    if not np.isfinite(total):
        stop[0] = 1


def objective(rec: Recording, loss, raw: Rows, d: Rows, n_raw: int, y, w, statistics, number) -> None:
    """Record the loss of the outputs `raw`, and its gradient `d`.

    Parameters
    ----------
    loss : skrnn.losses.Loss
    y, w : Targets, and weights (n,) or None, by sequence, or by place in the table of all steps
    statistics, number : flat (n_updates, 3) float64, written at row ``number[0]``, that of this update
    """
    tape, steps, M, empty, dtype = rec.tape, rec.steps, rec.room(raw.per), rec.work.empty, rec.work.dtype
    values, weights = (
        rec.buffer("loss", key, size=M, dtype=np.dtype(np.float64)) for key in ("values", "weights")
    )
    parameters, scaled = np.asarray(loss.parameters, dtype), y.shift is not None
    scaling = (y.shift.reshape(-1), y.scale.reshape(-1)) if scaled else (empty, empty)
    targets = rec.buffer("loss", "targets", size=M * y.width) if scaled else empty
    at = np.zeros(0, np.intp) if y.at is None else y.at
    tape.share(
        compile_loss(loss.name, loss.row, dtype), steps.sizes, steps.lengths, steps.whole, steps.sequence,
        steps.row, raw.per, raw.array, raw.row, n_raw, y.values.reshape(-1), at, y.values.shape[1], *scaling,
        scaled, targets, y.width, empty if w is None else w, w is not None, parameters, d.array, d.row,
        values, weights,
    )  # fmt: skip
    tape.call(add_losses, steps.sizes, raw.per, values, weights, statistics, number, tape.stop)
