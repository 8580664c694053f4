"""Pooling over time: the mean or the maximum of a sequence's own steps."""

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


def pool_mean(rec: Recording, X: Rows, so_far: Rows, out: Rows) -> None:
    """Rows X (R, width) over time: out (B, width)."""
    rec.tape.call(
        pooling_kernels(rec.work.dtype).pool_mean, *rec.steps.layout, out.row, X.row, X.past, X.array,
        so_far.array, out.array,
    )  # fmt: skip


def pool_mean_backward(rec: Recording, dout: Rows, width: int, dX: Rows) -> None:
    steps = rec.steps
    rec.tape.call(
        pooling_kernels(rec.work.dtype).pool_mean_backward, steps.sizes, steps.counts, steps.row_at,
        steps.whole, width, dout.row, dout.array, dX.row, dX.array,
    )  # fmt: skip


def pool_max(rec: Recording, X: Rows, largest: Rows, where: Rows) -> None:
    """Rows X (R, width) over time: largest and where (B, width)."""
    steps = rec.steps
    rec.tape.call(
        pooling_kernels(rec.work.dtype).pool_max, steps.sizes, steps.counts, steps.row_at, largest.row, X.row,
        X.past, X.array, largest.array, where.array,
    )  # fmt: skip


def pool_max_backward(rec: Recording, dout: Rows, where: Rows, dX: Rows) -> None:
    steps = rec.steps
    rec.tape.call(
        pooling_kernels(rec.work.dtype).pool_max_backward, steps.sizes, steps.counts, steps.row_at, where.row,
        dout.row, dout.array, where.array, dX.row, dX.array,
    )  # fmt: skip
