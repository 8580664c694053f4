"""Pooling over time: the mean or the maximum of a sequence's own steps."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np

from ...batches import SIZE_B, SIZE_FIRST, SIZE_T
from .jit import kernel
from .simd import clear, part
from .workspace import Rows


@cache
def pooling_kernels(dtype: np.dtype) -> SimpleNamespace:
    zero, scalar = dtype.type(0), dtype.type

    @kernel("pool_mean", dtype.name)
    def pool_mean(sizes, counts, row_at, whole, width, x_row, x_past, X, total, out):
        """total (B, width): the sum over each sequence's steps so far, in time order; out: over lengths."""
        B = sizes[SIZE_B]
        skip = B if x_past else 0
        if sizes[SIZE_FIRST] == 0:
            clear(total, 0, B * width)
        for t in range(sizes[SIZE_T]):
            for i in range(counts[t]):
                x = (skip + row_at[t] + i) * x_row
                source, target = part(X, x, width), part(total, i * width, width)
                for j in range(width):
                    target[j] += source[j]
        for i in range(B):
            for j in range(width):
                out[i * width + j] = total[i * width + j] / scalar(whole[i])

    @kernel("pool_mean_backward", dtype.name)
    def pool_mean_backward(sizes, counts, row_at, whole, width, d_row, dout, dX_row, dX):
        for t in range(sizes[SIZE_T]):
            for i in range(counts[t]):
                at = (row_at[t] + i) * dX_row
                for j in range(width):
                    dX[at + j] = dout[i * d_row + j] / scalar(whole[i])
                clear(dX, at + width, dX_row - width)

    @kernel("pool_max", dtype.name)
    def pool_max(sizes, counts, row_at, width, x_row, x_past, X, largest, where):
        """largest (B, width): over each sequence's steps so far; where: its step in this chunk, or -1."""
        B = sizes[SIZE_B]
        skip = B if x_past else 0
        for j in range(B * width):
            where[j] = -1
            if sizes[SIZE_FIRST] == 0:
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


def pool(tape, kind, X: Rows, width, steps, work) -> tuple[Rows, np.ndarray | None]:
    """Mean or maximum of rows X (R, width) over time: rows (B, width), and what `pool_backward` needs."""
    kernels, size = pooling_kernels(work.dtype), steps.max_sequences * width
    so_far = work.get("pool", "so far", size=size)
    if kind == "max":
        where = work.get("pool", "where", size=size, dtype=np.dtype(np.intp))
        tape.call(
            kernels.pool_max, steps.sizes, steps.counts, steps.row_at, width, X.row, X.past, X.array, so_far,
            where,
        )  # fmt: skip
        return Rows(so_far, width, False), where
    out = work.get("pool", "mean", size=size)
    tape.call(
        kernels.pool_mean, steps.sizes, steps.counts, steps.row_at, steps.whole, width, X.row, X.past,
        X.array, so_far, out,
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
