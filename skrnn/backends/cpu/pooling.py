"""Pooling over time: the mean or the maximum of a sequence's own steps.

What has been pooled so far is carried over like the layers' states: see `pooled`.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np

from ...batches import SIZE_B, SIZE_CARRIED, SIZE_T
from ...recording import Recording, Rows
from .jit import kernel
from .simd import clear, part


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


def pooled(rec: Recording, kind: str, width: int, name: str) -> Rows:
    """Where a chunk finds what the one before has pooled, rows (B, .): the maximum so far; for a mean, in
    float64, the sum and behind it the number of steps. Before the first step: -inf; zeros."""
    if kind == "max":
        return rec.rows(name, "so far", row=width, per=SIZE_B)
    return rec.rows(name, "so far", row=width + 1, per=SIZE_B, dtype=np.dtype(np.float64))


def pool(rec: Recording, kind: str, X: Rows, width: int, name: str) -> tuple[Rows, np.ndarray | None]:
    """Mean or maximum of rows X (R, width) over time: rows (B, width), and what `pool_backward` needs."""
    kernels, steps, so_far = pooling_kernels(rec.work.dtype), rec.steps, pooled(rec, kind, width, name)
    if kind == "max":
        size = steps.max_sequences * width
        where = rec.buffer(name, "where", size=size, dtype=np.dtype(np.intp))
        rec.tape.call(
            kernels.pool_max, steps.sizes, steps.counts, steps.row_at, width, X.row, X.past, X.array,
            so_far.array, where,
        )  # fmt: skip
        return so_far, where
    out = rec.rows(name, "mean", row=width, per=SIZE_B)
    rec.tape.call(
        kernels.pool_mean, *steps.layout, width, X.row, X.past, X.array, so_far.array, out.array
    )
    return out, None


def pool_backward(rec: Recording, kind: str, dout: Rows, where, width: int, name: str) -> Rows:
    """The gradient of the pooled rows."""
    kernels, steps, dX = pooling_kernels(rec.work.dtype), rec.steps, rec.rows(name, "dX", row=dout.row)
    if kind == "mean":
        rec.tape.call(
            kernels.pool_mean_backward, steps.sizes, steps.counts, steps.row_at, steps.whole, width, dout.row,
            dout.array, dX.row, dX.array,
        )  # fmt: skip
    else:
        rec.tape.call(
            kernels.pool_max_backward, steps.sizes, steps.counts, steps.row_at, width, dout.row, dout.array,
            where, dX.row, dX.array,
        )  # fmt: skip
    return dX
