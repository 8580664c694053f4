"""Linear maps, the head among them, on the recurrent layers' products."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import SimpleNamespace

import numpy as np

from ...batches import SIZE_B, SIZE_R, Steps
from .gemm import make_column_sums, make_multiply, widest
from .jit import kernel
from .recurrent import ROW_BLOCK
from .simd import clear, copy, lanes
from .sums import SPAN, beside, sum_kernels
from .tape import Tape
from .threads import own_range
from .transposed import make_input_gradient, make_transpose
from .workspace import Parameters, Rows, Workspace


@cache
def dense_kernels(dtype: np.dtype) -> SimpleNamespace:
    """Outputs are handled in panels one vector wide: P panels, L lanes. M rows: R if `per_step`, else B."""
    L, multiply, column_sums = lanes(dtype), make_multiply(1), make_column_sums(1)
    set_aside, take_back = sum_kernels(dtype).set_aside, sum_kernels(dtype).take_back
    span = SPAN if dtype == np.float32 else 2**62

    @kernel("dense_forward", dtype.name)
    def forward(thread, n_threads, sizes, per_step, n_in, P, X, x_row, x_past, W, b, out, wide):
        """out (M, P L) = X (M, n_in) @ W + b; without b, added to what is there. wide: like `out`, where
        there are more than SPAN inputs, which may be the steps of a sequence."""
        lo, hi = own_range(thread, n_threads, sizes[SIZE_R] if per_step else sizes[SIZE_B])
        x0, row = ((sizes[SIZE_B] if x_past else 0) + lo) * x_row, P * L
        if len(b) > 0:
            for m in range(lo, hi):
                copy(row, b, 0, out, m * row)
        for k in range(0, n_in, span):
            if k > 0:
                set_aside(out, lo * row, (hi - lo) * row, wide, lo * row, k == span)
            for p in range(P):
                multiply(hi - lo, X, x0 + k, x_row, 1, 0, W, (p * n_in + k) * L, L, out, lo * row + p * L,
                         row, min(span, n_in - k), 1)  # fmt: skip
        if n_in > span:
            take_back(out, lo * row, (hi - lo) * row, wide, lo * row)

    @kernel("dense_weight_gradients", dtype.name)
    def weight_gradients(thread, n_threads, sizes, per_step, n_in, P, X, x_row, x_past, d, dW, db, wide):
        """dW (P, n_in, L) = X^T @ d (M, P L), db = sum of d over rows, if there is a bias. wide: like dW,
        and behind it db, where there are more than SPAN rows."""
        M, skip, row = sizes[SIZE_R] if per_step else sizes[SIZE_B], sizes[SIZE_B] if x_past else 0, P * L
        lo, hi = own_range(thread, n_threads, n_in)
        n_w, n_b = (hi - lo) * L, L if thread == 0 and len(db) > 0 else 0
        for p in range(P):
            w0, b0, wide_b = (p * n_in + lo) * L, p * L, len(dW) + p * L
            clear(dW, w0, n_w)
            if n_b > 0:
                clear(db, b0, n_b)
            for r in range(0, M, ROW_BLOCK):
                if r > 0 and r % span == 0:
                    set_aside(dW, w0, n_w, wide, w0, r == span)
                    set_aside(db, b0, n_b, wide, wide_b, r == span)
                depth = min(ROW_BLOCK, M - r)
                if n_b > 0:
                    column_sums(depth, d, r * row + p * L, row, db, b0)
                multiply(hi - lo, X, (skip + r) * x_row + lo, 1, x_row, 0, d, r * row + p * L, row,
                         dW, w0, L, depth, 1)  # fmt: skip
            if span < M:
                take_back(dW, w0, n_w, wide, w0)
                take_back(db, b0, n_b, wide, wide_b)

    return SimpleNamespace(forward=forward, weight_gradients=weight_gradients)


class Dense:
    """A linear map: out = x W^T + b, with weights in PyTorch's layout (n_out, n_in).

    Parameters
    ----------
    n_in, n_out : int
    name : str
        Of its buffers.
    bias : bool
        Without one, `forward` adds to the outputs of another map.
    """

    def __init__(self, n_in: int, n_out: int, dtype: np.dtype, name: str = "head", bias: bool = True) -> None:
        self.n_in, self.n_out, self.dtype, self.lanes = n_in, n_out, dtype, lanes(dtype)
        self.name = name
        self.panels = -(-n_out // self.lanes)
        self.width = self.panels * self.lanes
        shapes = {"weight": (n_in * self.width,), "bias": (self.width if bias else 0,)}
        self.parameters = Parameters(shapes)
        self.size = self.parameters.size
        self.bias_from = n_in * self.width

    def pack(self, weights: Mapping[str, np.ndarray], flat: np.ndarray) -> None:
        views = self.parameters.views(flat)
        padded = np.zeros((self.width, self.n_in), self.dtype)
        padded[: self.n_out] = weights["weight"]
        views["weight"][:] = padded.reshape(self.panels, self.lanes, -1).transpose(0, 2, 1).ravel()
        if "bias" in weights:
            views["bias"][:] = 0
            views["bias"][: self.n_out] = weights["bias"]

    def unpack(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        views = self.parameters.views(flat)
        weight = views["weight"].reshape(self.panels, self.n_in, self.lanes).transpose(0, 2, 1)
        weights = {"weight": weight.reshape(self.width, -1)[: self.n_out].copy()}
        return weights | ({"bias": views["bias"][: self.n_out].copy()} if len(views["bias"]) else {})

    def forward(
        self, tape: Tape, params, X: Rows, steps: Steps, per_step, work: Workspace, onto: Rows | None = None
    ) -> Rows:
        """Record out (M, at least n_out) of X (M, n_in); without a bias it is added `onto` other outputs."""
        views = self.parameters.views(params)
        n_rows = steps.max_rows if per_step else steps.max_sequences
        out = work.get(self.name, "out", size=n_rows * self.width) if onto is None else onto.array
        tape.share(
            dense_kernels(self.dtype).forward, steps.sizes, per_step, self.n_in, self.panels, *X,
            views["weight"], views["bias"], out,
            beside(self.n_in, n_rows * self.width, work, self.name, "wide out"),
        )  # fmt: skip
        return Rows(out, self.width, False)

    def gradient_of_output(self, steps: Steps, per_step, work: Workspace) -> Rows:
        """Rows (M, width) for the loss to fill: zero beyond n_out."""
        n_rows = steps.max_rows if per_step else steps.max_sequences
        return Rows(work.get(self.name, "dout", size=n_rows * self.width), self.width, False)

    def backward(
        self, tape: Tape, params, grads, X: Rows, d: Rows, steps: Steps, per_step, need_dX, work: Workspace
    ) -> Rows | None:
        """Record the gradients of the parameters from those of the outputs, d (M, width).

        Returns dX, rows (M, n_in rounded up to whole vectors), or None.
        """
        views, into = self.parameters.views(params), self.parameters.views(grads)
        n_rows = steps.max_rows if per_step else steps.max_sequences
        tape.share(
            dense_kernels(self.dtype).weight_gradients, steps.sizes, per_step, self.n_in, self.panels, *X,
            d.array, into["weight"], into["bias"],
            beside(n_rows, self.size, work, self.name, "wide gradients"),
        )  # fmt: skip
        if not need_dX:
            return None
        vectors = -(-self.n_in // self.lanes)
        wide, row = widest(vectors), vectors * self.lanes
        WT = work.get(self.name, "transposed", size=row * self.width)
        tape.share(make_transpose(self.dtype), self.panels, self.n_in, self.lanes, wide, views["weight"], WT)
        dX = work.get(self.name, "dX", size=n_rows * row)
        tape.share(
            make_input_gradient(self.dtype, wide), steps.sizes, per_step, 1, d.array, self.width, 0,
            self.n_out, vectors // wide, WT, self.width, dX,
        )  # fmt: skip
        return Rows(dX, row, False)
