"""Attention over time: softmax of scores of a sequence's own steps, and the mean with its weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda

from ...batches import SIZE_B, SIZE_R
from ...recording import Recording, Rows
from .device import Matrix
from .jit import kernel
from .rows import clear_tail
from .tanh_rows import tanh


@kernel("attention_scores")
def scores_kernel(sizes, D, U, v, a):
    """a (R,), float64: v . U of rows U (R, D)."""
    for r in range(cuda.grid(1), sizes[SIZE_R], cuda.gridsize(1)):
        s = 0.0
        for j in range(D):
            s += np.float64(v[j]) * np.float64(U[r * D + j])
        a[r] = s


@kernel("attention_weights")
def weights_kernel(sizes, row_at, lengths, a):
    """a (R,): scores become their softmax over each sequence's steps."""
    for i in range(cuda.grid(1), sizes[SIZE_B], cuda.gridsize(1)):
        largest, total = -math.inf, 0.0
        for t in range(lengths[i]):
            largest = max(largest, a[row_at[t] + i])
        for t in range(lengths[i]):
            e = math.exp(a[row_at[t] + i] - largest)
            a[row_at[t] + i] = e
            total += e
        for t in range(lengths[i]):
            a[row_at[t] + i] /= total


@kernel("attention_mean")
def weighted_mean(sizes, row_at, lengths, D, h_row, H, a, out):
    """out (B, D): the sum of a H over each sequence's steps in time order, in float64."""
    for k in range(cuda.grid(1), sizes[SIZE_B] * D, cuda.gridsize(1)):
        i, j, total = k // D, k % D, 0.0
        for t in range(lengths[i]):
            r = row_at[t] + i
            total += a[r] * np.float64(H[r * h_row + j])
        out[k] = total


@kernel("attention_weights_gradient")
def weights_gradient(sizes, place_of, D, d_row, dout, h_row, H, da):
    """da (R,), float64: dout . H of each step."""
    for r in range(cuda.grid(1), sizes[SIZE_R], cuda.gridsize(1)):
        s, d0 = 0.0, place_of[r] * d_row
        for j in range(D):
            s += np.float64(dout[d0 + j]) * np.float64(H[r * h_row + j])
        da[r] = s


@kernel("attention_scores_gradient")
def scores_gradient(sizes, row_at, lengths, a, da, ds):
    """ds (R,) = a (da - their mean with these weights)."""
    for i in range(cuda.grid(1), sizes[SIZE_B], cuda.gridsize(1)):
        mean = 0.0
        for t in range(lengths[i]):
            mean += a[row_at[t] + i] * da[row_at[t] + i]
        for t in range(lengths[i]):
            r = row_at[t] + i
            ds[r] = a[r] * (da[r] - mean)


@kernel("attention_rows_gradient")
def rows_gradient(sizes, place_of, D, d_row, dout, U, v, a, ds, dU, dH):
    """dU (R, D): of the products; dH (R, D): of the states but through their products."""
    for k in range(cuda.grid(1), sizes[SIZE_R] * D, cuda.gridsize(1)):
        r, j = k // D, k % D
        dU[k] = ds[r] * v[j] * (1 - U[k] * U[k])
        dH[k] = a[r] * dout[place_of[r] * d_row + j]


def attend(rec: Recording, H: Rows, U: Rows, v: Any, a: Rows, out: Rows) -> None:
    """Rows H (R, D) over time: out (B, D), and the weights a (R, 1), by products U that become tanh(U)."""
    tape, s, D = rec.tape, rec.tape.steps(rec.steps), out.row
    tanh(rec, U, U)
    tape.each(scores_kernel, s.max_rows, s.sizes, D, U.array, v, a.array)
    tape.each(weights_kernel, s.max_sequences, s.sizes, s.row_at, s.lengths, a.array)
    tape.each(
        weighted_mean, s.max_sequences * D, s.sizes, s.row_at, s.lengths, D, H.row, H.array, a.array,
        out.array,
    )  # fmt: skip


def attend_backward(
    rec: Recording, dout: Rows, H: Rows, U: Rows, v: Any, a: Rows, dU: Rows, dv: Any, dH: Rows
) -> None:
    """The gradients of the products, of the query and, but through its products, of H."""
    tape, s, D, M = rec.tape, rec.tape.steps(rec.steps), dH.row, rec.room(SIZE_R)
    da = rec.buffer("attend", "da", size=M, dtype=np.dtype(np.float64))
    ds = rec.buffer("attend", "ds", size=M)
    tape.each(weights_gradient, M, s.sizes, s.place_of, D, dout.row, dout.array, H.row, H.array, da)
    tape.each(scores_gradient, s.max_sequences, s.sizes, s.row_at, s.lengths, a.array, da, ds)
    tape.each(
        rows_gradient, M * D, s.sizes, s.place_of, D, dout.row, dout.array, U.array, v, a.array, ds,
        dU.array, dH.array,
    )  # fmt: skip
    for row, array in (D, U.array), (1, ds):  # what the minibatch lacks is to count nothing
        tape.each(clear_tail, M * row, s.sizes, SIZE_R, M, row, array)
    tape.multiply(Matrix(ds, 1, M, M), Matrix(U.array, M, D, D), Matrix(dv, 1, D, D))
