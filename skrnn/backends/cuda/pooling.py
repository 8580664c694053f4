"""Pooling over time: the mean or the maximum of a sequence's own steps.

What has been pooled so far is carried over like the layers' states: see `pooled`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda

from ...batches import SIZE_B, SIZE_CARRIED, SIZE_R
from .jit import kernel
from .tape import Tape
from .workspace import Rows


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


def pooled(kind, width, steps, work) -> Rows:
    """Where a chunk finds what the one before has pooled, rows (B, .): the maximum so far; for a mean, in
    float64, the sum and behind it the number of steps. Before the first step: -inf; zeros."""
    if kind == "max":
        return Rows(work.get("pool", "so far", size=steps.max_sequences * width), width)
    size, float64 = steps.max_sequences * (width + 1), np.dtype(np.float64)
    return Rows(work.get("pool", "so far", size=size, dtype=float64), width + 1)


def pool(tape: Tape, kind, X: Rows, width, steps, work) -> tuple[Rows, Any]:
    """Mean or maximum of rows X (R, width) over time: rows (B, width), and what `pool_backward` needs."""
    s, size = tape.steps(steps), steps.max_sequences * width
    so_far = pooled(kind, width, steps, work)
    if kind == "max":
        where = work.get("pool", "where", size=size, dtype=np.dtype(np.intp))
        tape.each(pool_max, size, s.sizes, s.row_at, s.lengths, width, X.row, X.array, so_far.array, where)
        return so_far, where
    out = work.get("pool", "mean", size=size)
    tape.each(pool_mean, size, s.sizes, s.row_at, s.lengths, width, X.row, X.array, so_far.array, out)
    tape.each(count_pooled, steps.max_sequences, s.sizes, s.lengths, so_far.row, so_far.array)
    return Rows(out, width), None


def pool_backward(tape: Tape, kind, dout: Rows, where, width, steps, work) -> Rows:
    """The gradient of the pooled rows."""
    s, size = tape.steps(steps), steps.max_rows * width
    dX = work.get("pool", "dX", size=size)
    if kind == "mean":
        tape.each(pool_mean_backward, size, s.sizes, s.place_of, s.whole, width, dout.array, dX)
    else:
        tape.each(pool_max_backward, size, s.sizes, s.place_of, s.step_of, width, dout.array, where, dX)
    return Rows(dX, width)
