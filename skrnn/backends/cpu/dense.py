"""The dense head, on the same panels as the recurrent layers."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from .gemm import matmul_kernels, panel_widths
from .recurrent import layer_kernels
from .simd import lanes
from .workspace import Parameters, Workspace, run


class Dense:
    """The head: out = x W^T + b, with weights in PyTorch's layout (n_out, n_in)."""

    def __init__(self, n_in: int, n_out: int, dtype: np.dtype) -> None:
        self.n_in, self.n_out, self.dtype, self.lanes = n_in, n_out, dtype, lanes(dtype)
        self.widths = panel_widths(n_out, dtype)
        self.width = sum(self.widths) * self.lanes
        self.parameters = Parameters({"weight": (n_in * self.width,), "bias": (self.width,)})
        self.size = self.parameters.size
        self.bias_from = n_in * self.width

    def pack(self, weights: Mapping[str, np.ndarray], flat: np.ndarray) -> None:
        views = self.parameters.views(flat)
        padded = np.zeros((self.n_in, self.width), self.dtype)
        padded[:, : self.n_out] = weights["weight"].T
        views["weight"][:] = panels_of(padded, self.widths, self.lanes)
        views["bias"][:] = 0
        views["bias"][: self.n_out] = weights["bias"]

    def unpack(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        views = self.parameters.views(flat)
        columns, at = [], 0
        for width in self.widths:
            size = self.n_in * width * self.lanes
            columns.append(views["weight"][at : at + size].reshape(self.n_in, -1))
            at += size
        weight = np.concatenate(columns, axis=1)[:, : self.n_out].T
        return {"weight": weight.copy(), "bias": views["bias"][: self.n_out].copy()}

    def forward(self, params, X, n_rows, work: Workspace) -> np.ndarray:
        """X flat (M, n_in) -> (M, n_out), a view of a wider buffer."""
        views = self.parameters.views(params)
        out = work.get("head", "out", size=n_rows * self.width)
        out.reshape(n_rows, self.width)[:] = views["bias"]
        matmul, _ = matmul_kernels(self.dtype)

        def part(lo, hi):
            matmul(
                hi - lo, sum(self.widths), X, lo * self.n_in, self.n_in, 0, self.n_in, 1,
                views["weight"], out, lo * self.width, self.width,
            )  # fmt: skip

        run(part, work.split(n_rows, 2.0 * n_rows * self.n_in * self.width))
        return out.reshape(n_rows, self.width)[:, : self.n_out]

    def backward(self, params, grads, X, dout, work: Workspace) -> tuple[np.ndarray, int]:
        """dout (M, n_out) -> dX flat (M, row), row; writes `grads`."""
        n_rows, L = len(dout), self.lanes
        into = self.parameters.views(grads)
        d = work.get("head", "dout", size=n_rows * self.width)
        by_row = d.reshape(n_rows, self.width)
        by_row[:] = 0
        by_row[:, : self.n_out] = dout
        matmul, outer = matmul_kernels(self.dtype)
        grads[:] = 0
        at, column = 0, 0
        for width in self.widths:
            outer(n_rows, self.n_in, X, 0, self.n_in, d, column, self.width, width, into["weight"], at)
            at += self.n_in * width * L
            column += width * L
        layer_kernels(self.dtype).column_sums(0, self.width, n_rows, d, self.width, into["bias"])
        weight = self.unpack(params)["weight"]
        widths = panel_widths(self.n_in, self.dtype)
        row = sum(widths) * L
        padded = np.zeros((self.n_out, row), self.dtype)
        padded[:, : self.n_in] = weight
        dX = work.get("head", "dX", size=n_rows * row)
        dX[:] = 0
        panels = panels_of(padded, widths, L)
        matmul(n_rows, sum(widths), d, 0, self.width, 0, self.n_out, 1, panels, dX, 0, row)
        return dX, row


def panels_of(matrix: np.ndarray, widths: list[int], L: int) -> np.ndarray:
    """(K, sum(widths) L) as panels of the given widths, flat."""
    edges = np.cumsum([0, *widths]) * L
    return np.concatenate([matrix[:, a:b].ravel() for a, b in pairwise(edges)])
