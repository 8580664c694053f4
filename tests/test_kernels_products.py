"""Products of any shape inside larger arrays: right, and the same bits in any tile."""

from functools import cache

import numpy as np
import pytest
from kernel_calls import DTYPES, EPS
from numba import njit

from skrnn.backends.cpu.gemm import make_column_sums, make_multiply, make_preactivations, widest
from skrnn.backends.cpu.simd import lanes


def spaced(table, dtype, first, row):
    """The rows of `table` inside a flat array, `row` apart, NaN between them; and their places."""
    at = first + np.arange(len(table))[:, None] * row + np.arange(table.shape[1])
    flat = np.full(at.max(initial=first - 1) + 1, np.nan, dtype)
    flat[at] = table
    return flat, at


@cache
def multiply(width):
    """The intrinsic as a function."""
    intrinsic = make_multiply(width)

    @njit
    def call(M, a, a0, a_row, a_k, a_block, b, b0, b_k, c, c0, c_row, depth, blocks):
        intrinsic(M, a, a0, a_row, a_k, a_block, b, b0, b_k, c, c0, c_row, depth, blocks)

    return call


class Product:
    """Operands of ``C[M, width L] += A @ B`` inside larger arrays, with gaps of NaN."""

    def __init__(self, rng, dtype, M, width, depth, blocks, transposed=False):
        L = lanes(dtype)
        self.columns, self.M, self.depth, self.blocks = width * L, M, depth, blocks
        K = depth * blocks
        A, B = rng.standard_normal((M, blocks, depth)), rng.standard_normal((K, self.columns))
        self.a0, self.b0, self.c0 = rng.integers(0, 5, 3).tolist()
        gap_a, gap_b, gap_c = rng.integers(0, 4, 3).tolist()
        if transposed:  # A is stored by columns: neighbours in a row are `a_k` apart
            assert blocks == 1
            self.a_row, self.a_k, self.a_block = 1, M + gap_a, 0
        else:
            self.a_k, self.a_block = 1, depth + gap_a
            self.a_row = blocks * self.a_block + gap_b
        self.b_k, self.c_row = self.columns + gap_b, self.columns + gap_c
        index = (
            self.a0 + np.arange(M)[:, None, None] * self.a_row
            + np.arange(blocks)[:, None] * self.a_block + np.arange(depth) * self.a_k
        )  # fmt: skip
        self.a = np.full(index.max() + 1, np.nan, dtype)
        self.a[index] = A
        self.b, _ = spaced(B, dtype, self.b0, self.b_k)
        self.c, self.at = spaced(rng.standard_normal((M, self.columns)), dtype, self.c0, self.c_row)
        A, B, C = (v.astype(dtype).astype(float) for v in (A.reshape(M, K), B, self.c[self.at]))
        self.expected = C + A @ B
        self.bound = (K + 2) * EPS[dtype] * (np.abs(C) + np.abs(A) @ np.abs(B))
        self.width = width

    def run(self, first=0, M=None):
        """Rows `first` to `first + M` of the product."""
        c = self.c.copy()
        multiply(self.width)(
            self.M if M is None else M, self.a, self.a0 + first * self.a_row,
            self.a_row, self.a_k, self.a_block, self.b, self.b0, self.b_k, c,
            self.c0 + first * self.c_row, self.c_row, self.depth, self.blocks,
        )  # fmt: skip
        return c


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("M", range(1, 21))
def test_multiply(dtype, width, M):
    rng = np.random.default_rng(100 * width + M)
    for transposed in (False, True):
        depth, blocks = int(rng.integers(1, 40)), 1 if transposed else int(rng.integers(1, 5))
        p = Product(rng, dtype, M, width, depth, blocks, transposed)
        c = p.run()
        assert (np.abs(c[p.at] - p.expected) <= p.bound).all()
        outside = np.setdiff1d(np.arange(len(c)), p.at)
        assert np.isnan(c[outside]).all()  # nothing is written between the rows


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_row_is_the_same_bits_in_any_tile(dtype, width, transposed):
    blocks = 1 if transposed else 3
    p = Product(np.random.default_rng(width), dtype, 20, width, 23, blocks, transposed)
    together = p.run()
    for M in range(21):
        for first in range(21 - M):
            part, rows = p.c.copy(), p.at[first : first + M]
            part[rows] = together[rows]
            np.testing.assert_array_equal(p.run(first, M), part)  # the rows asked for, and no other


@cache
def multiply_beside(width):
    intrinsic = make_multiply(width, "beside")

    @njit
    def call(M, a, a0, a_row, a_k, a_block, b, b0, b_k, c, c0, c_row, depth, blocks):
        intrinsic(M, a, a0, a_row, a_k, a_block, b, b0, b_k, c, c0, c_row, depth, blocks)

    return call


@cache
def multiply_ahead(width):
    intrinsic = make_multiply(width, "ahead")

    @njit
    def call(M, a, a0, a_row, a_k, a_block, b, b0, b_k, c, c0, c_row, depth, blocks, ahead):
        intrinsic(M, a, a0, a_row, a_k, a_block, b, b0, b_k, c, c0, c_row, depth, blocks, ahead)

    return call


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_fetching_changes_nothing(dtype, width):
    """What is called into the cache may lie anywhere, and is not read."""
    for M, ahead in ((1, 0), (20, -40), (7, 2**40), (20, -(2**40))):
        p = Product(np.random.default_rng(M), dtype, M, width, 37, 3)
        c = p.c.copy()
        multiply_ahead(width)(
            M, p.a, p.a0, p.a_row, p.a_k, p.a_block, p.b, p.b0, p.b_k, c, p.c0, p.c_row, p.depth, p.blocks,
            ahead,
        )  # fmt: skip
        np.testing.assert_array_equal(c, p.run())
        across = Product(np.random.default_rng(M), dtype, M, width, 37, 1, transposed=True)
        c = across.c.copy()
        multiply_beside(width)(
            M, across.a, across.a0, across.a_row, across.a_k, across.a_block, across.b, across.b0, across.b_k,
            c, across.c0, across.c_row, across.depth, across.blocks,
        )  # fmt: skip
        np.testing.assert_array_equal(c, across.run())


# Panels of the cells: (vectors, those that the input feeds, those that the hidden state feeds).
PANELS = [
    (1, (0, 1), (0, 1)), (2, (0, 2), (0, 2)), (3, (0, 3), (0, 3)), (4, (0, 4), (0, 4)),  # RNN; LSTM
    (4, (0, 3), (1, 4)), (3, (0, 3), (1, 3)),  # GRU
]  # fmt: skip


@cache
def preactivations(panel):
    intrinsic = make_preactivations(*panel)

    @njit
    def call(M, x, x0, x_row, x_depth, w, w0, h, h0, h_row, h_depth, u, u0, s, s0, s_row, z, z0, z_row):
        intrinsic(M, x, x0, x_row, x_depth, w, w0, h, h0, h_row, h_depth, u, u0, s, s0, s_row, z, z0, z_row)

    return call


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("panel", PANELS, ids=str)
@pytest.mark.parametrize(("F", "H"), [(1, 1), (2, 33), (19, 7)])
def test_preactivations(dtype, panel, F, H):
    """bias + x W + h U, and the same bits of a row for any number of rows, also of one product at a time."""
    rng, L, n, (width, *ranges) = np.random.default_rng(F), lanes(dtype), 20, panel
    x_cols, h_cols = (slice(lo * L, hi * L) for lo, hi in ranges)
    W, U = np.zeros((F, width * L), dtype), np.zeros((H, width * L), dtype)
    W[:, x_cols], U[:, h_cols] = (rng.standard_normal(m[:, c].shape) for m, c in ((W, x_cols), (U, h_cols)))
    X, h, bias = (rng.standard_normal(shape).astype(dtype) for shape in ((n, F), (n, H), (1, width * L)))
    expected = bias.astype(float) + X.astype(float) @ W + h.astype(float) @ U
    size = np.abs(bias) + np.abs(X).astype(float) @ np.abs(W) + np.abs(h).astype(float) @ np.abs(U)

    x_row, h_row, z_row = F + 2, H + 1, width * L + 3
    x, hidden = spaced(X, dtype, 3, x_row)[0], spaced(h, dtype, 4, h_row)[0]
    w, u, b = (spaced(m, dtype, k, m.shape[1])[0] for k, m in enumerate((W[:, x_cols], U[:, h_cols], bias)))
    blank, at = spaced(np.full((n, width * L), np.nan), dtype, 6, z_row)

    def run(first, M):
        z = blank.copy()
        preactivations(panel)(
            M, x, 3 + first * x_row, x_row, F, w, 0, hidden, 4 + first * h_row, h_row, H, u, 1, b, 2, 0,
            z, 6 + first * z_row, z_row,
        )  # fmt: skip
        return z

    def run_apart(first, M):
        z = blank.copy()
        for x_depth, h_depth, start in ((F, 0, (b, 2, 0)), (0, H, (z, 6 + first * z_row, z_row))):
            preactivations(panel)(
                M, x, 3 + first * x_row, x_row, x_depth, w, 0, hidden, 4 + first * h_row, h_row, h_depth,
                u, 1, *start, z, 6 + first * z_row, z_row,
            )  # fmt: skip
        return z

    together = run(0, n)
    assert (np.abs(together[at] - expected) <= (F + H + 3) * EPS[dtype] * size).all()
    for M in range(21):
        for first in range(0, 21 - M, 3):
            part, rows = blank.copy(), at[first : first + M]
            part[rows] = together[rows]
            np.testing.assert_array_equal(run(first, M), part)
            np.testing.assert_array_equal(run_apart(first, M), part)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_column_sums(dtype, width):
    """To the bit: one row after the other."""
    rng, columns, intrinsic = np.random.default_rng(width), width * lanes(dtype), make_column_sums(width)

    @njit
    def call(depth, g, g0, g_row, sums, sums0):
        intrinsic(depth, g, g0, g_row, sums, sums0)

    for depth in (0, 1, 2, 9, 300):
        G = rng.standard_normal((depth, columns)).astype(dtype)
        g, _ = spaced(G, dtype, 3, columns + 5)
        sums, at = spaced(rng.standard_normal((1, columns)), dtype, 2, columns)
        expected = sums.copy()
        for row in G:
            expected[at] += row
        call(depth, g, 3, columns + 5, sums, 2)
        np.testing.assert_array_equal(sums, expected)


def test_widest():
    assert [widest(n) for n in range(1, 13)] == [1, 2, 3, 4, 1, 3, 1, 4, 3, 2, 1, 4]
