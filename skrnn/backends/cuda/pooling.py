"""Pooling over time: the mean or the maximum of a sequence's own steps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda

from ...batches import SIZE_B, SIZE_FIRST, SIZE_R
from .jit import kernel
from .tape import Tape
from .workspace import Rows


@kernel("pool_mean")
def pool_mean(sizes, row_at, lengths, whole, width, x_row, X, total, out):
    """total (B, width): the sum over each sequence's steps so far, in time order; out: over lengths."""
    for k in range(cuda.grid(1), sizes[SIZE_B] * width, cuda.gridsize(1)):
        i, j = k // width, k % width
        if sizes[SIZE_FIRST] == 0:
            total[k] = 0
        for t in range(lengths[i]):
            total[k] += X[(row_at[t] + i) * x_row + j]
        out[k] = total[k] / whole[i]


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
        if sizes[SIZE_FIRST] == 0:
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


def pool(tape: Tape, kind, X: Rows, width, steps, work) -> tuple[Rows, Any]:
    """Mean or maximum of rows X (R, width) over time: rows (B, width), and what `pool_backward` needs."""
    s, size = tape.steps(steps), steps.max_sequences * width
    so_far = work.get("pool", "so far", size=size)
    if kind == "max":
        where = work.get("pool", "where", size=size, dtype=np.dtype(np.intp))
        tape.each(pool_max, size, s.sizes, s.row_at, s.lengths, width, X.row, X.array, so_far, where)
        return Rows(so_far, width), where
    out = work.get("pool", "mean", size=size)
    tape.each(pool_mean, size, s.sizes, s.row_at, s.lengths, s.whole, width, X.row, X.array, so_far, out)
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
