"""The dense head: a layer with one slot and no past, on the recurrent layers' kernels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .gemm import matmul_kernels, multiply_rows
from .recurrent import layer_kernels
from .simd import lanes
from .workspace import Parameters, Workspace, run


class Dense:
    """The head: out = x W^T + b, with weights in PyTorch's layout (n_out, n_in)."""

    def __init__(self, n_in: int, n_out: int, dtype: np.dtype) -> None:
        self.n_in, self.n_out, self.dtype, self.lanes = n_in, n_out, dtype, lanes(dtype)
        self.panels = -(-n_out // self.lanes)
        self.width = self.panels * self.lanes
        self.parameters = Parameters({"weight": (n_in * self.width,), "bias": (self.width,)})
        self.size = self.parameters.size
        self.bias_from = n_in * self.width

    def pack(self, weights: Mapping[str, np.ndarray], flat: np.ndarray) -> None:
        views = self.parameters.views(flat)
        padded = np.zeros((self.width, self.n_in), self.dtype)
        padded[: self.n_out] = weights["weight"]
        views["weight"][:] = padded.reshape(self.panels, self.lanes, -1).transpose(0, 2, 1).ravel()
        views["bias"][:] = 0
        views["bias"][: self.n_out] = weights["bias"]

    def unpack(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        views = self.parameters.views(flat)
        weight = views["weight"].reshape(self.panels, self.n_in, self.lanes).transpose(0, 2, 1)
        return {
            "weight": weight.reshape(self.width, -1)[: self.n_out].copy(),
            "bias": views["bias"][: self.n_out].copy(),
        }

    def forward(self, params, X, n_rows, work: Workspace) -> np.ndarray:
        """X flat (M, n_in) -> (M, n_out), a view of a wider buffer."""
        views, L, row = self.parameters.views(params), self.lanes, self.width
        out = work.get("head", "out", size=n_rows * row)
        out.reshape(n_rows, row)[:] = views["bias"]

        def part(lo, hi):
            for p in range(self.panels):
                multiply_rows(
                    1, hi - lo, X, lo * self.n_in, self.n_in, 1, 0, views["weight"], p * self.n_in * L, L,
                    out, lo * row + p * L, row, self.n_in, 1,
                )  # fmt: skip

        run(part, work.split(n_rows, 2.0 * n_rows * self.n_in * row))
        return out.reshape(n_rows, row)[:, : self.n_out]

    def backward(self, params, grads, X, dout, work: Workspace) -> tuple[np.ndarray, int]:
        """dout (M, n_out) -> dX flat (M, row), row; writes `grads`."""
        n_rows, L, P = len(dout), self.lanes, self.panels
        kernels = layer_kernels(self.dtype)
        views, into = self.parameters.views(params), self.parameters.views(grads)
        d = work.get("head", "dout", size=n_rows * self.width)
        by_row = d.reshape(n_rows, self.width)
        by_row[:, : self.n_out] = dout
        by_row[:, self.n_out :] = 0
        grads[:] = 0
        kernels.weight_gradients(
            0, P, n_rows, self.n_in, X, self.n_in, d, self.width, 1, 0, 1, into["weight"]
        )
        kernels.column_sums(0, self.width, n_rows, d, self.width, into["bias"])
        vectors = -(-self.n_in // L)
        WT = work.get("head", "transposed", size=vectors * L * self.width)
        kernels.transpose_panels(P, self.n_in, 1, views["weight"], WT)
        dX = work.get("head", "dX", size=n_rows * vectors * L)
        dX[:] = 0
        matmul, _ = matmul_kernels(self.dtype)
        matmul(n_rows, vectors, d, 0, self.width, 0, self.width, 1, WT, dX, 0, vectors * L)
        return dX, vectors * L
