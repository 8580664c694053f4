"""Pooling over time: the mean or the maximum of a sequence's own steps.

What has been pooled so far is carried over like the layers' states: see `pooled`.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np

from ...batches import SIZE_B, SIZE_CARRIED, SIZE_T
from .jit import kernel
from .simd import clear, part
from .workspace import Rows


@cache
def pooling_kernels(dtype: np.dtype) -> SimpleNamespace:
    zero, scalar = dtype.type(0), dtype.type

    @kernel("pool_mean", dtype.name)
    def pool_mean(sizes, counts, row_at, lengths, width, x_row, x_past, X, so_far, out):
        """so_far (B, width + 1), float64: the sum over each sequence's steps in time order, and their number;
        out (B, width): the one over the other."""
        B, row = sizes[SIZE_B], width + 1
        skip = B if x_past else 0
        if sizes[SIZE_CARRIED] == 0:
            clear(so_far, 0, B * row)
        for t in range(sizes[SIZE_T]):
            for i in range(counts[t]):
                x = (skip + row_at[t] + i) * x_row
                source, total = part(X, x, width), part(so_far, i * row, width)
                for j in range(width):
                    total[j] += np.float64(source[j])
        for i in range(B):
            so_far[i * row + width] += np.float64(lengths[i])
            for j in range(width):
                out[i * width + j] = scalar(so_far[i * row + j] / so_far[i * row + width])

    @kernel("pool_mean_backward", dtype.name)
    def pool_mean_backward(sizes, counts, row_at, whole, width, d_row, dout, dX_row, dX):
        for t in range(sizes[SIZE_T]):
            for i in range(counts[t]):
                at, n = (row_at[t] + i) * dX_row, scalar(whole[i])
                source, target = part(dout, i * d_row, width), part(dX, at, width)
                for j in range(width):
                    target[j] = source[j] / n
                clear(dX, at + width, dX_row - width)

    @kernel("pool_max", dtype.name)
    def pool_max(sizes, counts, row_at, width, x_row, x_past, X, largest, where):
        """largest (B, width): over each sequence's steps so far; where: its step in this chunk, or -1."""
        B = sizes[SIZE_B]
        skip = B if x_past else 0
        for j in range(B * width):
            where[j] = -1
            if sizes[SIZE_CARRIED] == 0:
                largest[j] = scalar(-np.inf)
        for t in range(sizes[SIZE_T]):
            for i in range(counts[t]):
                x = (skip + row_at[t] + i) * x_row
                for j in range(width):
                    # A NaN is taken and then stays: it must not be hidden by a later step.
                    if X[x + j] > largest[i * width + j] or X[x + j] != X[x + j]:
                        largest[i * width + j] = X[x + j]
                        where[i * width + j] = t

    @kernel("pool_max_backward", dtype.name)
    def pool_max_backward(sizes, counts, row_at, width, d_row, dout, where, dX_row, dX):
        for t in range(sizes[SIZE_T]):
            for i in range(counts[t]):
                at = (row_at[t] + i) * dX_row
                for j in range(width):
                    hit = where[i * width + j] == t
                    dX[at + j] = dout[i * d_row + j] if hit else zero
                clear(dX, at + width, dX_row - width)

    return SimpleNamespace(
        pool_mean=pool_mean,
        pool_mean_backward=pool_mean_backward,
        pool_max=pool_max,
        pool_max_backward=pool_max_backward,
    )


def pooled(kind, width, steps, work) -> Rows:
    """Where a chunk finds what the one before has pooled, rows (B, .): the maximum so far; for a mean, in
    float64, the sum and behind it the number of steps. Before the first step: -inf; zeros."""
    if kind == "max":
        return Rows(work.get("pool", "so far", size=steps.max_sequences * width), width, False)
    size, float64 = steps.max_sequences * (width + 1), np.dtype(np.float64)
    return Rows(work.get("pool", "so far", size=size, dtype=float64), width + 1, False)


def pool(tape, kind, X: Rows, width, steps, work) -> tuple[Rows, np.ndarray | None]:
    """Mean or maximum of rows X (R, width) over time: rows (B, width), and what `pool_backward` needs."""
    kernels, size = pooling_kernels(work.dtype), steps.max_sequences * width
    so_far = pooled(kind, width, steps, work)
    if kind == "max":
        where = work.get("pool", "where", size=size, dtype=np.dtype(np.intp))
        tape.call(
            kernels.pool_max, steps.sizes, steps.counts, steps.row_at, width, X.row, X.past, X.array,
            so_far.array, where,
        )  # fmt: skip
        return so_far, where
    out = work.get("pool", "mean", size=size)
    tape.call(
        kernels.pool_mean, steps.sizes, steps.counts, steps.row_at, steps.lengths, width, X.row, X.past,
        X.array, so_far.array, out,
    )  # fmt: skip
    return Rows(out, width, False), None


def pool_backward(tape, kind, dout: Rows, where, width, steps, work) -> Rows:
    """The gradient of the pooled rows."""
    kernels, row = pooling_kernels(work.dtype), dout.row
    dX = work.get("pool", "dX", size=steps.max_rows * row)
    if kind == "mean":
        tape.call(
            kernels.pool_mean_backward, steps.sizes, steps.counts, steps.row_at, steps.whole, width, dout.row,
            dout.array, row, dX,
        )  # fmt: skip
    else:
        tape.call(
            kernels.pool_max_backward, steps.sizes, steps.counts, steps.row_at, width, dout.row, dout.array,
            where, row, dX,
        )  # fmt: skip
    return Rows(dX, row, False)
