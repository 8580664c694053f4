"""Linear maps, the head among them: large products and a bias."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import cuda

from ...batches import SIZE_B, SIZE_R, Steps
from ..cpu.workspace import Parameters
from .jit import kernel
from .recurrent import clear_tail
from .seam import Matrix
from .tape import Tape
from .workspace import Rows, Workspace


@kernel("fill_rows")
def fill_rows(n_rows, n, b, out):
    """out (n_rows, n): b in each row."""
    for k in range(cuda.grid(1), n_rows * n, cuda.gridsize(1)):
        out[k] = b[k % n]


class Dense:
    """A linear map: out = x W^T + b; it keeps W^T (n_in, n_out).

    Parameters
    ----------
    n_in, n_out : int
    name : str
        Of its buffers.
    bias : bool
        Without one, `forward` adds to the outputs of another map.
    """

    def __init__(self, n_in: int, n_out: int, dtype: np.dtype, name: str = "head", bias: bool = True) -> None:
        self.n_in, self.n_out, self.dtype, self.name, self.bias = n_in, n_out, dtype, name, bias
        self.parameters = Parameters({"weight": (n_in, n_out), "bias": (n_out if bias else 0,)})
        self.size, self.bias_from = self.parameters.size, n_in * n_out

    def pack(self, weights: Mapping[str, np.ndarray], flat: np.ndarray) -> None:
        views = self.parameters.views(flat)
        views["weight"][:] = weights["weight"].T.ravel()
        if self.bias:
            views["bias"][:] = weights["bias"]

    def unpack(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        views = self.parameters.views(flat)
        weights = {"weight": views["weight"].reshape(self.n_in, self.n_out).T.copy()}
        return weights | ({"bias": views["bias"].copy()} if self.bias else {})

    def _weight(self, views: dict[str, Any]) -> Matrix:
        return Matrix(views["weight"], self.n_in, self.n_out, self.n_out)

    def forward(
        self, tape: Tape, params, X: Rows, steps: Steps, per_step, work: Workspace, onto: Rows | None = None
    ) -> Rows:
        """Record out (M, n_out) of X (M, n_in); without a bias it is added `onto` other outputs."""
        views, n, M = self.parameters.views(params), self.n_out, n_rows(steps, per_step)
        out = work.get(self.name, "out", size=M * n) if onto is None else onto.array
        if self.bias:
            tape.each(fill_rows, M * n, M, n, views["bias"], out)
        tape.multiply(
            Matrix(X.array, M, self.n_in, X.row), self._weight(views), Matrix(out, M, n, n), add=True
        )
        return Rows(out, n)

    def gradient_of_output(self, steps: Steps, per_step, work: Workspace) -> Rows:
        """Rows (M, n_out) for the loss to fill."""
        size = n_rows(steps, per_step) * self.n_out
        return Rows(work.get(self.name, "dout", size=size), self.n_out)

    def backward(
        self, tape: Tape, params, grads, X: Rows, d: Rows, steps: Steps, per_step, need_dX, work: Workspace
    ) -> Rows | None:
        """Record the gradients of the parameters from those of the outputs, d (M, n_out).

        Returns dX, rows (M, n_in), or None.
        """
        views, into = self.parameters.views(params), self.parameters.views(grads)
        M, n_in, n = n_rows(steps, per_step), self.n_in, self.n_out
        which = SIZE_R if per_step else SIZE_B
        for rows in X, d:  # what the minibatch lacks is to count nothing
            tape.each(clear_tail, M * rows.row, tape.steps(steps).sizes, which, M, rows.row, rows.array)
        gradient = Matrix(d.array, M, n, d.row)
        tape.multiply(Matrix(X.array, M, n_in, X.row), gradient, self._weight(into), ta=True)
        if self.bias:
            tape.multiply(Matrix(work.ones(M), 1, M, M), gradient, Matrix(into["bias"], 1, n, n))
        if not need_dX:
            return None
        dX = work.get(self.name, "dX", size=M * n_in)
        tape.multiply(gradient, self._weight(views), Matrix(dX, M, n_in, n_in), tb=True)
        return Rows(dX, n_in)


def n_rows(steps: Steps, per_step: bool) -> int:
    """Rows that there is room for: steps, or sequences."""
    return steps.max_rows if per_step else steps.max_sequences
