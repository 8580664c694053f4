"""Attention over time: softmax of scores of a sequence's own steps, and the mean with its weights."""

from __future__ import annotations

from functools import cache
from math import exp
from types import SimpleNamespace

import numpy as np

from ...batches import SIZE_B, SIZE_R
from ...recording import Recording, Rows
from .elementary import functions
from .jit import inlined, kernel
from .simd import clear, lanes, make_load, make_store, part
from .threads import own_range, own_sequences


@inlined
def dot(x, y):
    """In float64: four sums side by side, so that no addition has to wait for the one before."""
    n = len(x) // 4 * 4
    s, t, u, v = 0.0, 0.0, 0.0, 0.0
    for j in range(0, n, 4):
        s += np.float64(x[j]) * np.float64(y[j])
        t += np.float64(x[j + 1]) * np.float64(y[j + 1])
        u += np.float64(x[j + 2]) * np.float64(y[j + 2])
        v += np.float64(x[j + 3]) * np.float64(y[j + 3])
    for j in range(n, len(x)):
        s += np.float64(x[j]) * np.float64(y[j])
    return s + t + u + v


@cache
def attention_kernels(dtype: np.dtype) -> SimpleNamespace:
    """Rows of products, `row` elements, are whole vectors, in which what is not of D is zero."""
    L, tanh, scalar, one = lanes(dtype), functions(dtype).tanh, dtype.type, dtype.type(1)
    load, store = make_load(1), make_store(1)

    @kernel("attend", dtype.name)
    def attend(thread, n_threads, sizes, row_at, lengths, D, h_row, h_past, H, row, U, v, a, pooled, out):
        """U (R, row) becomes tanh(U); a (R,), float64: softmax over each sequence's steps of v . tanh(U);
        out (B, D): its mean of H (R, D) with these weights, of which pooled, in float64, has the sums."""
        skip = sizes[SIZE_B] if h_past else 0
        lo, hi = own_sequences(thread, n_threads, sizes, lengths)
        for i in range(lo, hi):
            largest, total = -np.inf, 0.0
            for t in range(lengths[i]):
                r = row_at[t] + i
                for k in range(r * row, (r + 1) * row, L):
                    (u,) = load(U, k)
                    store(U, k, (tanh(u),))
                a[r] = dot(part(v, 0, D), part(U, r * row, D))
                largest = max(largest, a[r])
            for t in range(lengths[i]):
                r = row_at[t] + i
                a[r] = exp(a[r] - largest)
                total += a[r]
            sums = part(pooled, i * D, D)
            clear(pooled, i * D, D)
            for t in range(lengths[i]):
                r = row_at[t] + i
                a[r] /= total
                h = part(H, (skip + r) * h_row, D)
                for j in range(D):
                    sums[j] += a[r] * np.float64(h[j])
            for j in range(D):
                out[i * D + j] = scalar(sums[j])

    @kernel("attend_backward", dtype.name)
    def attend_backward(thread, n_threads, sizes, row_at, lengths, D, d_row, dout, h_row, h_past, H, row, U,
                        v, a, ds, dU, dH):  # fmt: skip
        """ds (R,), float64: the scores' gradient. dU (R, row): that of the products by it; dH (R, D): that
        of the states but through their products."""
        skip = sizes[SIZE_B] if h_past else 0
        lo, hi = own_sequences(thread, n_threads, sizes, lengths)
        q = part(v, 0, row)
        for i in range(lo, hi):
            d, mean = part(dout, i * d_row, D), 0.0
            for t in range(lengths[i]):
                r = row_at[t] + i
                ds[r] = dot(d, part(H, (skip + r) * h_row, D))
                mean += a[r] * ds[r]
            for t in range(lengths[i]):
                r = row_at[t] + i
                ds[r] = a[r] * (ds[r] - mean)
                weight, slope = scalar(a[r]), scalar(ds[r])
                y, dy, dh = part(U, r * row, row), part(dU, r * row, row), part(dH, r * D, D)
                for j in range(row):
                    dy[j] = slope * q[j] * (one - y[j] * y[j])
                for j in range(D):
                    dh[j] = weight * d[j]

    @kernel("query_gradient", dtype.name)
    def query_gradient(thread, n_threads, sizes, row, ds, U, wide, dv):
        """dv (row,): the sum of ds U over all rows, in wide, float64. Every thread has some columns, whose
        sums so do not depend on the number of threads."""
        lo, hi = own_range(thread, n_threads, row)
        clear(wide, lo, hi - lo)
        for r in range(sizes[SIZE_R]):
            for j in range(lo, hi):
                wide[j] += ds[r] * np.float64(U[r * row + j])
        for j in range(lo, hi):
            dv[j] = scalar(wide[j])

    return SimpleNamespace(attend=attend, attend_backward=attend_backward, query_gradient=query_gradient)


def attend(rec: Recording, H: Rows, U: Rows, v: np.ndarray, a: Rows, out: Rows) -> None:
    """Rows H (R, D) over time: out (B, D), and the weights a (R, 1), by products U that become tanh(U)."""
    steps = rec.steps
    pooled = rec.buffer("attend", "pooled", size=rec.room(SIZE_B) * out.row, dtype=np.dtype(np.float64))
    rec.tape.share(
        attention_kernels(rec.work.dtype).attend, steps.sizes, steps.row_at, steps.lengths, out.row, H.row,
        H.past, H.array, U.row, U.array, v, a.array, pooled, out.array,
    )  # fmt: skip


def attend_backward(
    rec: Recording, dout: Rows, H: Rows, U: Rows, v: np.ndarray, a: Rows, dU: Rows, dv: np.ndarray, dH: Rows
) -> None:
    """The gradients of the products, of the query and, but through its products, of H."""
    steps, kernels, float64 = rec.steps, attention_kernels(rec.work.dtype), np.dtype(np.float64)
    ds = rec.buffer("attend", "ds", size=rec.room(SIZE_R), dtype=float64)
    rec.tape.share(
        kernels.attend_backward, steps.sizes, steps.row_at, steps.lengths, dH.row, dout.row, dout.array,
        H.row, H.past, H.array, U.row, U.array, v, a.array, ds, dU.array, dH.array,
    )  # fmt: skip
    wide = rec.buffer("attend", "dv", size=U.row, dtype=float64)
    rec.tape.share(kernels.query_gradient, steps.sizes, U.row, ds, U.array, wide, dv)
