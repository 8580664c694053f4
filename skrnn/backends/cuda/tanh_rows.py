"""The hyperbolic tangent of rows, and its slope."""

from __future__ import annotations

import math

from numba import cuda

from ...recording import Recording, Rows
from .jit import kernel


@kernel("tanh_rows")
def tanh_rows(sizes, which, row, X, out):
    """out (M, row) = tanh(X)."""
    for k in range(cuda.grid(1), sizes[which] * row, cuda.gridsize(1)):
        out[k] = math.tanh(X[k])


@kernel("tanh_slope")
def tanh_slope(sizes, which, row, Y, d):
    """d (M, row) becomes d (1 - Y^2)."""
    for k in range(cuda.grid(1), sizes[which] * row, cuda.gridsize(1)):
        d[k] *= 1 - Y[k] * Y[k]


def tanh(rec: Recording, X: Rows, out: Rows) -> None:
    """Rows as linear maps make them; they may become their own tanh."""
    s = rec.tape.steps(rec.steps)
    rec.tape.each(tanh_rows, rec.room(X.per) * X.row, s.sizes, X.per, X.row, X.array, out.array)


def tanh_backward(rec: Recording, Y: Rows, d: Rows) -> None:
    """The gradient of tanh(X) = Y becomes that of X."""
    s = rec.tape.steps(rec.steps)
    rec.tape.each(tanh_slope, rec.room(Y.per) * Y.row, s.sizes, Y.per, Y.row, Y.array, d.array)
