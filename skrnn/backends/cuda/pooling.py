"""Pooling over time: the mean or the maximum of a sequence's own steps."""

from __future__ import annotations

import math

import numpy as np
from numba import cuda

from ...batches import SIZE_B, SIZE_CARRIED, SIZE_R
from ...recording import Recording, Rows
from .jit import kernel


@kernel("pool_mean")
def mean_kernel(sizes, row_at, lengths, width, x_row, X, so_far, out):
    """so_far (B, width + 1), float64: the sum over each sequence's steps in time order, and their number,
    which `count_pooled` counts; out (B, width): the one over the other."""
    for k in range(cuda.grid(1), sizes[SIZE_B] * width, cuda.gridsize(1)):
        i, j = k // width, k % width
        at, n_steps = i * (width + 1) + j, float(lengths[i])
        total = 0.0
        if sizes[SIZE_CARRIED] != 0:
            total = so_far[at]
            n_steps += so_far[i * (width + 1) + width]
        for t in range(lengths[i]):
            total += np.float64(X[(row_at[t] + i) * x_row + j])
        so_far[at] = total
        out[k] = total / n_steps


@kernel("count_pooled")
def count_pooled(sizes, lengths, row, so_far):
    for i in range(cuda.grid(1), sizes[SIZE_B], cuda.gridsize(1)):
        at = (i + 1) * row - 1
        so_far[at] = lengths[i] + (so_far[at] if sizes[SIZE_CARRIED] != 0 else 0.0)


@kernel("pool_mean_backward")
def mean_backward_kernel(sizes, place_of, whole, width, dout, dX):
    for k in range(cuda.grid(1), sizes[SIZE_R] * width, cuda.gridsize(1)):
        i = place_of[k // width]
        dX[k] = dout[i * width + k % width] / whole[i]


@kernel("pool_max")
def max_kernel(sizes, row_at, lengths, width, x_row, X, largest, where):
    """largest (B, width): over each sequence's steps so far; where: its step in this chunk, or -1."""
    for k in range(cuda.grid(1), sizes[SIZE_B] * width, cuda.gridsize(1)):
        i, j = k // width, k % width
        if sizes[SIZE_CARRIED] == 0:
            largest[k] = -math.inf
        where[k] = -1
        for t in range(lengths[i]):
            x = X[(row_at[t] + i) * x_row + j]
            # A NaN is taken and then stays: it must not be hidden by a later step.
            if x > largest[k] or x != x:
                largest[k], where[k] = x, t


@kernel("pool_max_backward")
def max_backward_kernel(sizes, place_of, step_of, width, dout, where, dX):
    for k in range(cuda.grid(1), sizes[SIZE_R] * width, cuda.gridsize(1)):
        r, j = k // width, k % width
        at = place_of[r] * width + j
        dX[k] = dout[at] if where[at] == step_of[r] else 0


def pool_mean(rec: Recording, X: Rows, so_far: Rows, out: Rows) -> None:
    """Rows X (R, width) over time: out (B, width)."""
    s, n = rec.tape.steps(rec.steps), rec.steps.max_sequences
    rec.tape.each(
        mean_kernel, n * out.row, s.sizes, s.row_at, s.lengths, out.row, X.row, X.array, so_far.array,
        out.array,
    )  # fmt: skip
    rec.tape.each(count_pooled, n, s.sizes, s.lengths, so_far.row, so_far.array)


def pool_mean_backward(rec: Recording, dout: Rows, width: int, dX: Rows) -> None:
    s = rec.tape.steps(rec.steps)
    rec.tape.each(
        mean_backward_kernel, s.max_rows * width, s.sizes, s.place_of, s.whole, width, dout.array, dX.array
    )


def pool_max(rec: Recording, X: Rows, largest: Rows, where: Rows) -> None:
    """Rows X (R, width) over time: largest and where (B, width)."""
    s, width = rec.tape.steps(rec.steps), largest.row
    rec.tape.each(
        max_kernel, s.max_sequences * width, s.sizes, s.row_at, s.lengths, width, X.row, X.array,
        largest.array, where.array,
    )  # fmt: skip


def pool_max_backward(rec: Recording, dout: Rows, where: Rows, dX: Rows) -> None:
    s, width = rec.tape.steps(rec.steps), where.row
    rec.tape.each(
        max_backward_kernel, s.max_rows * width, s.sizes, s.place_of, s.step_of, width, dout.array,
        where.array, dX.array,
    )  # fmt: skip
