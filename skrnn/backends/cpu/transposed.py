"""Transposed panels of weights, and the product with them that brings a gradient back to the input."""

from __future__ import annotations

from functools import cache

import numpy as np

from .gemm import make_multiply
from .jit import kernel
from .simd import clear, lanes, transpose_square
from .threads import own_range

ROW_BLOCK = 128  # rows that several panels read while they are in the cache
TOGETHER = 2**17  # weights of these panels, at most: they have to stay there, too


@cache
def make_transpose(dtype: np.dtype):
    L = lanes(dtype)

    @kernel("transpose", dtype.name)
    def transpose(thread, n_threads, P, n_in, row, wide, W, WT):
        """WT: the panels W (P, n_in, row) as a (P row, n_in) matrix in panels of `wide` vectors."""
        columns = wide * L
        panels = (n_in + columns - 1) // columns
        first, last = own_range(thread, n_threads, P)
        for p in range(first, last):
            for q in range(panels):
                target = (q * P + p) * row * columns
                real = min(columns, n_in - q * columns)
                if real < columns:
                    clear(WT, target, row * columns)
                source, squares = (p * n_in + q * columns) * row, real // L * L
                for i in range(0, squares, L):
                    for j in range(0, row, L):
                        transpose_square(W, source + i * row + j, row, WT, target + j * columns + i, columns)
                for i in range(squares, real):
                    for j in range(row):
                        WT[target + j * columns + i] = W[source + i * row + j]

    return transpose


@cache
def make_input_gradient(dtype: np.dtype, wide: int):
    """The kernel for transposed weights in panels of `wide` vectors."""
    L, multiply = lanes(dtype), make_multiply(wide)

    @kernel("input_gradient", dtype.name, wide)
    def input_gradient(thread, n_threads, sizes, per, blocks, d, d_row, first, depth, panels, WT,
                       WT_rows, dX):  # fmt: skip
        """The gradient of a layer's input from that of its products.

        dX (M, panels wide L) = columns `first` to `first + depth` of d (blocks, M, d_row) @ WT;
        M: ``sizes[per]``. WT (panels, WT_rows, wide L): `depth` rows for each block.
        """
        M, columns = sizes[per], wide * L
        lo, hi = own_range(thread, n_threads, M)
        row = panels * columns
        together = max(1, TOGETHER // (WT_rows * columns))
        for begin in range(0, panels, together):
            for r in range(lo, hi, ROW_BLOCK):
                n = min(ROW_BLOCK, hi - r)
                if begin == 0:
                    clear(dX, r * row, n * row)
                for q in range(begin, min(begin + together, panels)):
                    multiply(n, d, r * d_row + first, d_row, 1, M * d_row, WT, q * WT_rows * columns, columns,
                             dX, r * row + q * columns, row, depth, blocks)  # fmt: skip

    return input_gradient
