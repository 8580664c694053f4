"""Linear maps on the recurrent layers' products."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np

from ...batches import SIZE_B
from ...layout import Place
from ...recording import Recording, Rows
from .gemm import make_column_sums, make_multiply, widest
from .jit import kernel
from .simd import clear, copy, lanes
from .sums import SPAN, beside, sum_kernels
from .threads import own_range
from .transposed import make_input_gradient, make_transpose
from .weight_gradients import ROW_BLOCK


@cache
def dense_kernels(dtype: np.dtype, vectors: int) -> SimpleNamespace:
    """Outputs are handled in P panels of so many vectors, L columns. M rows: ``sizes[per]``."""
    L, multiply, column_sums = vectors * lanes(dtype), make_multiply(vectors), make_column_sums(vectors)
    across = make_multiply(vectors, "beside")
    set_aside, take_back = sum_kernels(dtype).set_aside, sum_kernels(dtype).take_back
    span = SPAN if dtype == np.float32 else 2**62

    @kernel("dense_forward", dtype.name, vectors)
    def forward(thread, n_threads, sizes, per, n_in, P, X, x_row, x_past, W, b, out, wide):
        """out (M, P L) = X (M, n_in) @ W + b; without b, added to what is there. wide: like `out`, where
        there are more than SPAN inputs, which may be the steps of a sequence."""
        lo, hi = own_range(thread, n_threads, sizes[per])
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

    @kernel("dense_weight_gradients", dtype.name, vectors)
    def weight_gradients(thread, n_threads, sizes, per, n_in, P, X, x_row, x_past, d, dW, db, wide):
        """dW (P, n_in, L) = X^T @ d (M, P L), db = sum of d over rows, if there is a bias. wide: like dW,
        and behind it db, where there are more than SPAN rows."""
        M, skip, row = sizes[per], sizes[SIZE_B] if x_past else 0, P * L
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
                across(hi - lo, X, (skip + r) * x_row + lo, 1, x_row, 0, d, r * row + p * L, row,
                       dW, w0, L, depth, 1)  # fmt: skip
            if span < M:
                take_back(dW, w0, n_w, wide, w0)
                take_back(db, b0, n_b, wide, wide_b)

    return SimpleNamespace(forward=forward, weight_gradients=weight_gradients)


class Dense:
    """A linear map: out = x W^T + b, with weights in PyTorch's layout (n_out, n_in), in panels of so many
    vectors."""

    def __init__(self, n_in: int, n_out: int, dtype: np.dtype, vectors: int = 1) -> None:
        self.n_in, self.n_out, self.dtype, self.lanes = n_in, n_out, dtype, lanes(dtype)
        self.kernels, self.columns = dense_kernels(dtype, vectors), vectors * self.lanes
        self.panels = -(-n_out // self.columns)
        self.width = self.panels * self.columns

    def place(self, name: str, section: str, columns: int) -> Place:
        """How panels keep its weight or bias."""
        return Place(name, section, 1, (0,), (1, self.panels, columns, self.columns), (0, 1, 3, 2))

    def forward(self, rec: Recording, X: Rows, name: str, onto: Rows | None = None) -> Rows:
        """Record out (M, at least n_out) of X (M, n_in); without a bias it is added `onto` other outputs."""
        views, empty = rec.weights(name), rec.work.empty
        out = rec.new_rows(name, "out", row=self.width, per=X.per) if onto is None else onto
        rec.tape.share(
            self.kernels.forward, rec.steps.sizes, X.per, self.n_in, self.panels, X.array, X.row,
            X.past, views["weight"], views.get("bias", empty), out.array,
            beside(self.n_in, rec.room(X.per) * self.width, rec.work, name, "wide out"),
        )  # fmt: skip
        return out

    def backward(self, rec: Recording, X: Rows, d: Rows, need_dX: bool, name: str) -> Rows | None:
        """Record the gradients of the parameters from those of the outputs, d (M, width), zero beyond n_out.

        Returns dX, rows (M, n_in rounded up to whole vectors), or None.
        """
        tape, sizes, views, into = rec.tape, rec.steps.sizes, rec.weights(name), rec.gradients(name)
        db = into.get("bias", rec.work.empty)
        tape.share(
            self.kernels.weight_gradients, sizes, X.per, self.n_in, self.panels, X.array, X.row,
            X.past, d.array, into["weight"], db,
            beside(rec.room(X.per), len(into["weight"]) + len(db), rec.work, name, "wide gradients"),
        )  # fmt: skip
        if not need_dX:
            return None
        vectors = -(-self.n_in // self.lanes)
        wide, row = widest(vectors), vectors * self.lanes
        WT = rec.buffer(name, "transposed", size=row * self.width)
        tape.share(
            make_transpose(self.dtype), self.panels, self.n_in, self.columns, wide, views["weight"], WT
        )
        dX = rec.new_rows(name, "dX", row=row, per=X.per)
        tape.share(
            make_input_gradient(self.dtype, wide), sizes, X.per, 1, d.array, self.width, 0,
            self.n_out, vectors // wide, WT, self.width, dX.array,
        )  # fmt: skip
        return dX
