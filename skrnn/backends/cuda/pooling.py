"""Pooling over time: the mean or the maximum of a sequence's own steps.

What has been pooled so far is carried over like the layers' states: see `pooled`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda

from ...batches import SIZE_B, SIZE_CARRIED, SIZE_R
from ...recording import Recording, Rows
from .jit import kernel


@kernel("pool_mean")
def pool_mean(sizes, row_at, lengths, width, x_row, X, so_far, out):
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
def pool_mean_backward(sizes, place_of, whole, width, dout, dX):
    for k in range(cuda.grid(1), sizes[SIZE_R] * width, cuda.gridsize(1)):
        i = place_of[k // width]
        dX[k] = dout[i * width + k % width] / whole[i]


@kernel("pool_max")
def pool_max(sizes, row_at, lengths, width, x_row, X, largest, where):
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
def pool_max_backward(sizes, place_of, step_of, width, dout, where, dX):
    for k in range(cuda.grid(1), sizes[SIZE_R] * width, cuda.gridsize(1)):
        r, j = k // width, k % width
        at = place_of[r] * width + j
        dX[k] = dout[at] if where[at] == step_of[r] else 0


def pooled(rec: Recording, kind: str, width: int, name: str) -> Rows:
    """Where a chunk finds what the one before has pooled, rows (B, .): the maximum so far; for a mean, in
    float64, the sum and behind it the number of steps. Before the first step: -inf; zeros."""
    if kind == "max":
        return rec.rows(name, "so far", row=width, per=SIZE_B)
    return rec.rows(name, "so far", row=width + 1, per=SIZE_B, dtype=np.dtype(np.float64))


def pool(rec: Recording, kind: str, X: Rows, width: int, name: str) -> tuple[Rows, Any]:
    """Mean or maximum of rows X (R, width) over time: rows (B, width), and what `pool_backward` needs."""
    tape, s, so_far = rec.tape, rec.tape.steps(rec.steps), pooled(rec, kind, width, name)
    size = s.max_sequences * width
    if kind == "max":
        where = rec.buffer(name, "where", size=size, dtype=np.dtype(np.intp))
        tape.each(pool_max, size, s.sizes, s.row_at, s.lengths, width, X.row, X.array, so_far.array, where)
        return so_far, where
    out = rec.rows(name, "mean", row=width, per=SIZE_B)
    tape.each(pool_mean, size, s.sizes, s.row_at, s.lengths, width, X.row, X.array, so_far.array, out.array)
    tape.each(count_pooled, s.max_sequences, s.sizes, s.lengths, so_far.row, so_far.array)
    return out, None


def pool_backward(rec: Recording, kind: str, dout: Rows, where, width: int, name: str) -> Rows:
    """The gradient of the pooled rows."""
    tape, s, dX = rec.tape, rec.tape.steps(rec.steps), rec.rows(name, "dX", row=width)
    size = s.max_rows * width
    if kind == "mean":
        tape.each(pool_mean_backward, size, s.sizes, s.place_of, s.whole, width, dout.array, dX.array)
    else:
        tape.each(pool_max_backward, size, s.sizes, s.place_of, s.step_of, width, dout.array, where, dX.array)
    return dX
