"""Linear maps: large products and a bias."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from ...layout import Place
from ...recording import Recording, Rows
from .device import Matrix
from .jit import kernel
from .rows import clear_tail


@kernel("fill_rows")
def fill_rows(n_rows, n, b, out):
    """out (n_rows, n): b in each row."""
    for k in range(cuda.grid(1), n_rows * n, cuda.gridsize(1)):
        out[k] = b[k % n]


class Dense:
    """A linear map: out = x W^T + b; it keeps W^T (n_in, n_out)."""

    def __init__(self, n_in: int, n_out: int, dtype: np.dtype) -> None:
        self.n_in, self.n_out, self.width, self.dtype = n_in, n_out, n_out, dtype

    def place(self, name: str, section: str, columns: int) -> Place:
        """How it keeps its weight or bias."""
        return Place(name, section, 1, (0,), (1, 1, columns, self.n_out), (0, 1, 3, 2))

    def _weight(self, views: dict[str, Any]) -> Matrix:
        return Matrix(views["weight"], self.n_in, self.n_out, self.n_out)

    def forward(self, rec: Recording, X: Rows, name: str, onto: Rows | None = None) -> Rows:
        """Record out (M, n_out) of X (M, n_in); without a bias it is added `onto` other outputs."""
        views, n, M = rec.weights(name), self.n_out, rec.room(X.per)
        out = rec.new_rows(name, "out", row=n, per=X.per) if onto is None else onto
        if "bias" in views:
            rec.tape.each(fill_rows, M * n, M, n, views["bias"], out.array)
        rec.tape.multiply(
            Matrix(X.array, M, self.n_in, X.row), self._weight(views), Matrix(out.array, M, n, n), add=True
        )
        return out

    def backward(self, rec: Recording, X: Rows, d: Rows, need_dX: bool, name: str) -> Rows | None:
        """Record the gradients of the parameters from those of the outputs, d (M, n_out).

        Returns dX, rows (M, n_in), or None.
        """
        tape, into, M, n = rec.tape, rec.gradients(name), rec.room(X.per), self.n_out
        for rows in X, d:  # what the minibatch lacks is to count nothing
            tape.each(clear_tail, M * rows.row, tape.steps(rec.steps).sizes, X.per, M, rows.row, rows.array)
        gradient = Matrix(d.array, M, n, d.row)
        tape.multiply(Matrix(X.array, M, self.n_in, X.row), gradient, self._weight(into), ta=True)
        if "bias" in into:
            tape.multiply(Matrix(rec.work.ones(M), 1, M, M), gradient, Matrix(into["bias"], 1, n, n))
        if not need_dX:
            return None
        dX, weight = rec.new_rows(name, "dX", row=self.n_in, per=X.per), self._weight(rec.weights(name))
        tape.multiply(gradient, weight, Matrix(dX.array, M, self.n_in, self.n_in), tb=True)
        return dX
