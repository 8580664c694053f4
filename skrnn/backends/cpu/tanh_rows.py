"""The hyperbolic tangent of rows, and its slope."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np

from ...recording import Recording, Rows
from .elementary import functions
from .jit import kernel
from .simd import lanes, make_load, make_store, part
from .threads import own_range


@cache
def tanh_kernels(dtype: np.dtype) -> SimpleNamespace:
    L, tanh_of, one = lanes(dtype), functions(dtype).tanh, dtype.type(1)
    load, store = make_load(1), make_store(1)

    @kernel("tanh_rows", dtype.name)
    def forward(thread, n_threads, sizes, per, row, X, out):
        """out (M, row) = tanh(X), rows of whole vectors."""
        lo, hi = own_range(thread, n_threads, sizes[per])
        for k in range(lo * row, hi * row, L):
            (x,) = load(X, k)
            store(out, k, (tanh_of(x),))

    @kernel("tanh_slope", dtype.name)
    def backward(thread, n_threads, sizes, per, row, Y, d_row, d):
        """d (M, d_row) becomes d (1 - Y^2), the columns that both have."""
        lo, hi = own_range(thread, n_threads, sizes[per])
        n = min(row, d_row)
        for m in range(lo, hi):
            y, slope = part(Y, m * row, n), part(d, m * d_row, n)
            for j in range(n):
                slope[j] *= one - y[j] * y[j]

    return SimpleNamespace(forward=forward, backward=backward)


def tanh(rec: Recording, X: Rows, out: Rows) -> None:
    """Rows as linear maps make them, of whole vectors."""
    kernel = tanh_kernels(rec.work.dtype).forward
    rec.tape.share(kernel, rec.steps.sizes, X.per, X.row, X.array, out.array)


def tanh_backward(rec: Recording, Y: Rows, d: Rows) -> None:
    """The gradient of tanh(X) = Y becomes that of X."""
    kernel = tanh_kernels(rec.work.dtype).backward
    rec.tape.share(kernel, rec.steps.sizes, Y.per, Y.row, Y.array, d.row, d.array)
