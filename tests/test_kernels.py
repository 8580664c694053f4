"""The CPU kernels one by one: functions on vectors, products, packed rows, machines, bounds."""

import os
import platform
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numba import njit
from passes import PackedSteps, dense, matrix, recording

from skrnn.backends.cpu import directions, reading
from skrnn.backends.cpu.dropout import drop_steps, mix, sequence_mask
from skrnn.backends.cpu.elementary import functions
from skrnn.backends.cpu.gemm import make_column_sums, make_multiply, make_preactivations, widest
from skrnn.backends.cpu.layers import RecurrentLayer, compiled
from skrnn.backends.cpu.recurrent import ROW_BLOCK
from skrnn.backends.cpu.simd import clear, copy, lanes, machine, make_load, make_store
from skrnn.backends.cpu.sums import SPAN, sum_of_squares
from skrnn.backends.cpu.tape import Tape
from skrnn.backends.cpu.threads import own_range, own_sequences
from skrnn.backends.cpu.transposed import make_input_gradient, make_transpose
from skrnn.backends.cpu.workspace import Workspace
from skrnn.batches import (
    JOB_CARRIED,
    JOB_LEARNS,
    SIZE_B,
    SIZE_CARRIED,
    SIZE_EPOCH,
    SIZE_FIRST,
    SIZE_R,
    SIZE_T,
    Jobs,
)
from skrnn.links import Pool
from skrnn.links.recurrent import States
from skrnn.recipe import recurrent_network
from skrnn.recording import Rows
from skrnn.sequences import Sequences

load1, store1 = make_load(1), make_store(1)

DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]
EPS = {dtype: float(np.finfo(dtype).eps) for dtype in DTYPES}
RAGGED = [[7, 3, 1, 5], [4, 4, 4], [1], [1, 1, 6], [2, 9, 9, 3, 1, 2, 5, 9, 1, 1, 4]]
THREADS = [1, 2, 3, 7]


class AtOnce:
    """A tape that makes each call when it is recorded, a shared one by one thread after the other.

    Each thread finds the arrays as they were before all: none may need what another writes, nor write
    to the same place.
    """

    def __init__(self, n_threads=1):
        self.n_threads = n_threads

    def call(self, function, *args):
        function(*args)

    def share(self, function, *args):
        arrays = [a for a in args if isinstance(a, np.ndarray) and a.flags.writeable]
        before = [a.tobytes() for a in arrays]
        after = [np.frombuffer(b, np.uint8).copy() for b in before]
        written = [np.zeros(len(b), bool) for b in before]
        for thread in range(self.n_threads):
            function(thread, self.n_threads, *args)
            for array, old, new, taken in zip(arrays, before, after, written):
                now = array.view(np.uint8).copy()
                changed = now != np.frombuffer(old, np.uint8)
                assert not (changed & taken).any()
                new[changed], taken[changed] = now[changed], True
                array.view(np.uint8)[:] = np.frombuffer(old, np.uint8)
        for array, new in zip(arrays, after):
            array.view(np.uint8)[:] = new


def spaced(table, dtype, first, row):
    """The rows of `table` inside a flat array, `row` apart, NaN between them; and their places."""
    at = first + np.arange(len(table))[:, None] * row + np.arange(table.shape[1])
    flat = np.full(at.max(initial=first - 1) + 1, np.nan, dtype)
    flat[at] = table
    return flat, at


# --- functions on vectors -------------------------------------------------------------------------
def on_arrays(function, dtype):
    """A function on vectors as one on arrays of any length."""
    L = lanes(dtype)

    @njit(error_model="numpy")
    def run(x, out):
        for k in range(0, len(x), L):
            store1(out, k, (function(load1(x, k)[0]),))

    def apply(x):
        padded = np.zeros(-(-len(x) // L) * L, dtype)
        padded[: len(x)] = x
        out = np.empty_like(padded)
        run(padded, out)
        return out[: len(x)]

    return apply


@pytest.fixture(scope="module")
def apply():
    """``apply[name, dtype](x)`` for every function that a backend lends to the cells."""
    names = ("tanh", "sigmoid", "relu", "positive")
    return {
        (name, dtype): on_arrays(getattr(functions(dtype), name), dtype) for name in names for dtype in DTYPES
    }


def arguments(dtype):
    tiny = [10.0**e for e in range(-300 if dtype == np.float64 else -37, 1)]
    x = np.concatenate([
        np.linspace(-100, 100, 200_001), np.linspace(-1, 1, 200_001),
        np.linspace(-0.7, -0.5, 50_001), tiny, -np.array(tiny),
    ])  # fmt: skip
    return x.astype(dtype)


def exact(name, x):
    """In long double, where the platform has one."""
    x = x.astype(np.longdouble)
    if name == "tanh":
        return np.tanh(x)
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_float32_accuracy(apply, name):
    """Absolute error over [-100, 100]. tanh: 2.4e-7 with fused multiply-add, 3.3e-7 without."""
    x = arguments(np.dtype(np.float32))
    y = apply[name, np.dtype(np.float32)](x)
    bound = {"tanh": 2.5e-7, "sigmoid": 1.5e-7} if machine().has_fma else {"tanh": 3.5e-7, "sigmoid": 2e-7}
    assert np.abs(y - exact(name, x)).max() <= bound[name]
    near = np.abs(x) < 1
    if name == "tanh":  # relative too, down to the smallest normal number
        assert (np.abs(y - exact(name, x)) <= 4e-6 * np.abs(exact(name, x)))[near].all()
    assert np.abs(y).max() <= 1  # a state never leaves [-1, 1]
    assert name == "tanh" or y.min() >= 0


@pytest.mark.parametrize(("name", "bound"), [("tanh", 5.5e-16), ("sigmoid", 4e-16)])
def test_float64_accuracy(apply, name, bound):
    """Relative error over [-100, 100], two or three units in the last place."""
    x = arguments(np.dtype(np.float64))
    y, expected = apply[name, np.dtype(np.float64)](x), exact(name, x)
    assert (np.abs(y - expected) <= bound * np.abs(expected)).all()
    assert np.abs(y).max() <= 1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_special_values(apply, dtype):
    info = np.finfo(dtype)
    tolerance = 2.5e-7 if dtype == np.float32 else 0
    x = np.array([0.0, -0.0, np.inf, -np.inf, info.max, info.min], dtype)
    np.testing.assert_allclose(apply["tanh", dtype](x), [0, 0, 1, -1, 1, -1], atol=tolerance)
    np.testing.assert_allclose(
        apply["sigmoid", dtype](x), [0.5, 0.5, 1, 0, 1, 0], rtol=0, atol=tolerance + 1e-300
    )
    np.testing.assert_array_equal(apply["relu", dtype](x), [0, 0, np.inf, 0, info.max, 0])
    np.testing.assert_array_equal(apply["positive", dtype](x), [0, 0, 1, 0, 1, 0])
    tiny = np.array([info.tiny, -info.tiny, info.smallest_subnormal], dtype)
    np.testing.assert_allclose(apply["tanh", dtype](tiny), tiny, rtol=4e-6, atol=info.tiny)
    np.testing.assert_array_equal(apply["sigmoid", dtype](tiny), 0.5)
    np.testing.assert_array_equal(apply["positive", dtype](tiny), [1, 0, 1])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["tanh", "sigmoid", "relu"])
def test_nan_stays_nan_in_its_own_lane(apply, name, dtype):
    x = np.linspace(-3, 3, 4 * lanes(dtype) + 3).astype(dtype)
    expected = apply[name, dtype](x)
    for k in range(len(x)):
        y = x.copy()
        y[k] = np.nan
        out = apply[name, dtype](y)
        assert np.isnan(out[k])
        np.testing.assert_array_equal(np.delete(out, k), np.delete(expected, k))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["tanh", "sigmoid", "relu", "positive"])
def test_a_value_does_not_depend_on_its_lane(apply, name, dtype):
    x = np.linspace(-9, 9, 3 * lanes(dtype) + 1).astype(dtype)
    one_by_one = [apply[name, dtype](x[k : k + 1])[0] for k in range(len(x))]
    np.testing.assert_array_equal(apply[name, dtype](x), one_by_one)


# --- memory ---------------------------------------------------------------------------------------
@njit
def copy_call(count, source, source_start, target, target_start):
    copy(count, source, source_start, target, target_start)


@njit
def clear_call(array, start, count):
    clear(array, start, count)


@pytest.mark.parametrize("dtype", [*DTYPES, np.dtype(np.intp)], ids=str)
def test_copy_and_clear(dtype):
    """Any number of elements from and to any place, and no other."""
    source = np.arange(1, 101).astype(dtype)
    for count, start, to in (
        (0, 0, 0),
        (0, 100, 90),
        (1, 99, 0),
        (7, 3, 83),
        (64, 5, 0),
        (90, 10, 0),
        (33, 0, 57),
    ):
        target, expected = -source[:90], -source[:90]
        expected[to : to + count] = source[start : start + count]
        copy_call(count, source, start, target, to)
        np.testing.assert_array_equal(target, expected)
        expected[to : to + count] = 0
        clear_call(target, to, count)
        np.testing.assert_array_equal(target, expected)
    np.testing.assert_array_equal(source, np.arange(1, 101))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sum_of_squares(dtype):
    """In float64, of any number of elements."""
    x = np.random.default_rng(0).standard_normal(200).astype(dtype)
    x[-1] = x[0] = 1e30  # whose square float32 does not hold
    for start, count in ((0, 0), (200, 0), (1, 1), (3, 31), (7, 150), (1, 199), (0, 200)):
        expected = np.square(x[start : start + count].astype(float)).sum()
        np.testing.assert_allclose(sum_of_squares_call(x, start, count), expected, rtol=1e-14)


@njit
def sum_of_squares_call(array, start, count):
    return sum_of_squares(array, start, count)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_in", [1, 7, 16, 17, 50, 131])
@pytest.mark.parametrize(("width", "wide"), [(1, 1), (4, 3), (3, 4)])
def test_transposed_panels(dtype, n_in, width, wide):
    """Of any number of rows, shared by any number of threads; what is beyond them becomes zero."""
    P, row, columns = 3, width * lanes(dtype), wide * lanes(dtype)
    W, Q = np.random.default_rng(n_in).standard_normal((P, n_in, row)).astype(dtype), -(-n_in // columns)
    expected = np.zeros((P * row, Q * columns), dtype)
    expected[:, :n_in] = W.transpose(0, 2, 1).reshape(P * row, n_in)
    expected = expected.reshape(P * row, Q, columns).transpose(1, 0, 2)
    for n_threads in (1, 2):
        WT = np.full(expected.size, np.nan, dtype)
        for thread in range(n_threads):
            make_transpose(dtype)(thread, n_threads, P, n_in, row, wide, W.ravel(), WT)
        np.testing.assert_array_equal(WT, expected.ravel())


# --- products -------------------------------------------------------------------------------------
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


# --- the products of a layer ----------------------------------------------------------------------
def transposed(W, wide, L):
    """Panels (P, n_in, row) as a matrix (P row, n_in), zero columns up to whole panels; those, flat."""
    P, n_in, row = W.shape
    columns = -(-n_in // (wide * L)) * wide * L
    whole = np.zeros((P * row, columns), W.dtype)
    whole[:, :n_in] = W.transpose(0, 2, 1).reshape(P * row, n_in)
    return np.concatenate([part.ravel() for part in np.split(whole, columns // (wide * L), axis=1)])


@pytest.mark.parametrize("n_threads", THREADS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_in", [1, 7, 33, 70])
def test_transpose(dtype, n_in, n_threads):
    rng, L = np.random.default_rng(n_in), lanes(dtype)
    for P, row, wide in ((1, L, 1), (2, 4 * L, 2), (3, 3 * L, 3), (5, 2 * L, 4)):
        W = rng.standard_normal((P, n_in, row)).astype(dtype)
        expected = transposed(W, wide, L)
        WT = np.full(expected.size, np.nan, dtype)
        AtOnce(n_threads).share(make_transpose(dtype), P, n_in, row, wide, W.ravel(), WT)
        np.testing.assert_array_equal(WT, expected)


def by_each_thread(n_threads, kernel, args, outputs):
    """The outputs of a shared call, of which every element must come from exactly one thread."""
    together, writers = [np.full(out.shape, np.nan, out.dtype) for out in outputs], 0
    for thread in range(n_threads):
        own = [np.full_like(out, np.nan) for out in together]
        kernel(thread, n_threads, *args, *own)
        for out, part in zip(together, own):
            written = ~np.isnan(part)
            assert np.isnan(out[written]).all()
            out[written] = part[written]
        writers += any(not np.isnan(part).all() for part in own)
    assert not any(np.isnan(out).any() for out in together)
    return together, writers


CELLS = [
    *(("rnn", "tanh", True, units) for units in (1, 2, 3, 4)),
    ("lstm", "tanh", True, 1), ("gru", "tanh", True, 1), ("gru", "tanh", False, 1),
]  # fmt: skip
# One stretch of several blocks of rows; blocks that end inside of a step, and sequences that end there.
LONG = [[40] * 9, [3] * 150 + [1] * 20, [2] * ROW_BLOCK, [SPAN + 1], [400] * 5 + [90, 7, 7]]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_weight_gradients(cell, dtype):
    """What each product read, transposed, times the gradients of the pre-activations.

    The past of a sequence's step lies in the rows of the step before, that of its first one in the
    first B rows. The same bits for any number of threads.
    """
    *options, units = cell
    built, kernels = compiled(*options, dtype, units, False)
    L, S, P = lanes(dtype), built.n_slots, 2
    Hp, width = P * units * L, units * S
    columns = {
        name: slice(lo * L, (lo + units * (hi - lo)) * L)
        for name, (lo, hi) in zip("WUV", (built.input_slots, built.hidden_slots, built.late_slots))
    }
    for k, lengths in enumerate(RAGGED + LONG):
        rng, packed, F, H = np.random.default_rng(k), PackedSteps(lengths), (1, 3, 9)[k % 3], max(1, Hp - 3)
        B, R, x_past, x_row = len(packed), packed.n_rows, k % 2, F + 2
        steps = packed.filled(room=3)
        X, A, RH = (
            rng.standard_normal((rows, row)).astype(dtype)
            for rows, row in ((x_past * B + R, x_row), (B + R, Hp), (B + R, Hp))
        )
        G = rng.standard_normal((P, R, width * L)).astype(dtype)
        args = (steps.sizes, steps.counts, steps.row_at, F, H, P, X.ravel(), x_row, bool(x_past), A.ravel(),
                RH.ravel(), G.ravel())  # fmt: skip

        before = np.maximum(packed.step - 1, 0)
        past = np.where(packed.step == 0, 0, B + packed.row_at[before]) + packed.sequence
        read = {"W": X[x_past * B :, :F], "U": A[past, :H], "V": RH[past, :H]}
        empty = [np.zeros(P * read[name].shape[1] * G[0, :, columns[name]].shape[1], dtype) for name in "WUV"]
        outputs = [*empty, np.zeros(P * width * L, dtype)]
        outputs.append(np.zeros(sum(map(len, outputs)) if R > SPAN and dtype == np.float32 else 0))

        one, _ = by_each_thread(1, kernels.weight_gradients, args, outputs)
        for name, out in zip("WUV", one):
            for p, got in enumerate(out.reshape(P, read[name].shape[1], -1)):
                a, g = read[name].astype(float), G[p, :, columns[name]].astype(float)
                assert (np.abs(got - a.T @ g) <= (R + 2) * EPS[dtype] * (np.abs(a).T @ np.abs(g))).all()
        for got, g in zip(one[3].reshape(P, -1), G.astype(float)):
            assert (np.abs(got - g.sum(axis=0)) <= (R + 2) * EPS[dtype] * np.abs(g).sum(axis=0)).all()
        for n_threads in THREADS[1:]:
            several, writers = by_each_thread(n_threads, kernels.weight_gradients, args, outputs)
            assert writers == n_threads or n_threads > H  # all have something to do
            for a, b in zip(one, several):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("wide", [1, 2, 3, 4])
def test_input_gradient(dtype, wide):
    """Gradients of the pre-activations, by the panels' input columns, times the input weights."""
    L, kernel = lanes(dtype), make_input_gradient(dtype, wide)
    for P, panels, missing, R in ((1, 1, 0, 1), (3, 1, 1, 11), (2, 2, 2 * L - 1, 300), (2, 3, 0, 5)):
        rng = np.random.default_rng(R)
        F, z_row, first, depth = max(1, panels * wide * L - missing), 4 * L, L, 2 * L
        G = rng.standard_normal((P, R, z_row)).astype(dtype)
        W = rng.standard_normal((P, F, depth)).astype(dtype)
        WT = transposed(W, wide, L)
        panels = -(-F // (wide * L))
        sizes = np.zeros(6, np.intp)
        sizes[SIZE_R] = R
        args = sizes, SIZE_R, P, G.ravel(), z_row, first, depth, panels, WT, P * depth
        dX = np.zeros(R * panels * wide * L, dtype)
        (one,), _ = by_each_thread(1, kernel, args, [dX])
        got, read = one.reshape(R, -1), G[:, :, first : first + depth].astype(float)
        expected = sum(g @ w.T for g, w in zip(read, W))
        size = sum(np.abs(g) @ np.abs(w).T for g, w in zip(read, W))
        assert (np.abs(got[:, :F] - expected) <= (P * depth + 2) * EPS[dtype] * size).all()
        np.testing.assert_array_equal(got[:, F:], 0)
        for n_threads in THREADS[1:]:
            (several,), writers = by_each_thread(n_threads, kernel, args, [dX])
            assert writers == min(n_threads, R)
            np.testing.assert_array_equal(several, one)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("per", [SIZE_B, SIZE_R])
@pytest.mark.parametrize("n_out", [1, 5, 40])
def test_head(dtype, per, n_out):
    """Outputs and gradients of the dense head, for inputs with and without first states before them."""
    rng, packed = np.random.default_rng(n_out), PackedSteps([9] * 30 + [1] * 110)
    B, R = len(packed), packed.n_rows
    M = R if per == SIZE_R else B
    assert M > ROW_BLOCK
    for n_in, past in ((1, False), (19, True), (70, per == SIZE_R)):
        (head, parameters), x_row, results = dense(n_in, n_out, dtype), n_in + 3, []
        W, b = (rng.standard_normal(shape).astype(dtype) for shape in ((n_out, n_in), n_out))
        params = parameters.pack({"head.weight": W, "head.bias": b})
        rows = rng.standard_normal((B * past + M, x_row)).astype(dtype)
        d = rng.standard_normal((M, n_out)).astype(dtype)
        for n_threads in THREADS:
            steps, grads = packed.filled(room=2), np.full(parameters.size, np.nan, dtype)
            rec = recording(
                AtOnce(n_threads), steps, Workspace(dtype), parameters, params=params, grads=grads
            )
            X = Rows(rows.ravel(), x_row, per, past)
            out = matrix(head.forward(rec, X, "head"), steps, M, n_out)
            dout = rec.new_rows("d", row=head.width, per=per)
            dout.array[:] = 0
            dout.array.reshape(-1, dout.row)[:M, :n_out] = d
            dX = head.backward(rec, X, dout, True, "head")
            results.append([out, *parameters.unpack(grads).values(), matrix(dX, steps, M, n_in), grads])
        x = rows[B * past :, :n_in].astype(float)
        expected = x @ W.T + b, d.T @ x, d.sum(axis=0, dtype=float), d.astype(float) @ W
        sizes = np.abs(x) @ np.abs(W).T + np.abs(b), np.abs(d).T @ np.abs(x), np.abs(d).sum(axis=0)
        sizes += (np.abs(d).astype(float) @ np.abs(W),)
        for got, value, size, depth in zip(results[0], expected, sizes, (n_in, M, M, n_out)):
            assert (np.abs(got - value) <= (depth + 3) * EPS[dtype] * size).all()
        for others in results[1:]:
            for one, several in zip(results[0], others):
                np.testing.assert_array_equal(one, several)


# --- shares of the work ---------------------------------------------------------------------------
@pytest.mark.parametrize("n_threads", [1, 2, 3, 4, 7, 16])
def test_own_range(n_threads):
    """Neighbouring ranges that cover all things and differ by one at most."""
    for n in range(41):
        ranges = [own_range(thread, n_threads, n) for thread in range(n_threads)]
        assert (ranges[0][0], ranges[-1][1]) == (0, n)
        assert all(a[1] == b[0] for a, b in pairwise(ranges))
        sizes = [hi - lo for lo, hi in ranges]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("lengths", [*RAGGED, [1] * 40, [100, *[1] * 20]], ids=str)
@pytest.mark.parametrize("n_threads", THREADS)
def test_own_sequences(lengths, n_threads):
    """Neighbouring ranges that cover all sequences, each but for one of them with its share of steps."""
    steps = PackedSteps(lengths).filled(room=3)
    ranges = [own_sequences(thread, n_threads, steps.sizes, steps.lengths) for thread in range(n_threads)]
    assert (ranges[0][0], ranges[-1][1]) == (0, len(lengths))
    assert all(a[1] == b[0] for a, b in pairwise(ranges))
    for lo, hi in ranges:
        assert lo <= hi
        work = steps.lengths[lo:hi].sum()
        assert abs(work - sum(lengths) / n_threads) <= max(lengths)


def test_own_sequences_are_even():
    lengths = np.random.default_rng(0).integers(1, 50, 200)
    steps = PackedSteps(lengths).filled()
    work = [steps.lengths[slice(*own_sequences(k, 4, steps.sizes, steps.lengths))].sum() for k in range(4)]
    assert max(work) - min(work) <= 2 * lengths.max()


# --- packed order ---------------------------------------------------------------------------------
def packed_places(lengths):
    """(time step, sequence) of every packed row, by the definition."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    return [(t, i) for t in range(max(lengths)) for i in order if lengths[i] > t], order


@pytest.mark.parametrize("lengths", RAGGED, ids=str)
def test_packed_steps(lengths):
    """What the other tests compare with."""
    places, order = packed_places(lengths)
    packed = PackedSteps(lengths)
    assert len(packed) == len(lengths)
    assert packed.n_rows == len(places) == sum(lengths)
    np.testing.assert_array_equal(packed.order, order)
    np.testing.assert_array_equal(packed.lengths, np.array(lengths)[order])
    np.testing.assert_array_equal(packed.step, [t for t, _ in places])
    np.testing.assert_array_equal(packed.order[packed.sequence], [i for _, i in places])
    for t, (count, row) in enumerate(zip(packed.counts, packed.row_at, strict=True)):
        assert count == sum(length > t for length in lengths)
        assert row == next(r for r, (step, _) in enumerate(places) if step == t)
    starts = 1000 * np.arange(len(lengths))
    np.testing.assert_array_equal(packed.rows_of(starts), [1000 * i + t for t, i in places])
    mirrored = [places.index((lengths[i] - 1 - t, i)) for t, i in places]
    np.testing.assert_array_equal(packed.reversed_rows, mirrored)
    np.testing.assert_array_equal(packed.reversed_rows[packed.reversed_rows], np.arange(len(places)))


def minibatches(order, lengths, batch_size, size):
    """(first step, sequences that have it, where the minibatch begins) of every job, by the definition."""
    for start in range(0, len(order), batch_size):
        batch = sorted(order[start : start + batch_size].tolist(), key=lambda i: -lengths[i])  # keeps ties
        for first in range(0, lengths[batch[0]], size or max(lengths)):
            yield first, np.array([i for i in batch if lengths[i] > first]), start


ARRAYS = ("counts", "row_at", "lengths", "whole", "sequence", "row")


@pytest.mark.parametrize("lengths", RAGGED, ids=str)
@pytest.mark.parametrize("size", [1, 2, 4, 100, None])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_jobs(lengths, size, batch_size):
    """Every step of every sequence exactly once and in order, each minibatch in packed order."""
    rng, lengths, n = np.random.default_rng(0), np.array(lengths), len(lengths)
    starts = rng.integers(0, 9, n)  # windows may overlap
    jobs = Jobs(lengths, batch_size, size)
    steps, flat = jobs.room(), jobs.table.reshape(-1)
    for epoch, order in enumerate([np.arange(n), rng.permutation(n), np.arange(n)[::-1]], 5):
        table, seen = jobs.plan(order, epoch), [[] for _ in lengths]
        assert np.shares_memory(table, jobs.table) or not len(table)
        assert (table[:, JOB_LEARNS] == 1).all()
        expected = list(minibatches(order, lengths, batch_size, size))
        assert len(table) == len(expected)
        for k, (first, sequences, start) in enumerate(expected):
            packed = PackedSteps(np.minimum(lengths[sequences] - first, size or lengths.max()))
            B, T, R = len(packed), len(packed.counts), packed.n_rows
            assert steps.max_sequences >= B
            assert steps.max_steps >= T
            assert steps.max_rows >= R
            for name in ARRAYS:
                getattr(steps, name)[:] = -7
            reading.next_job(flat, jobs.cursor, jobs.job)
            assert jobs.cursor[0] == k
            np.testing.assert_array_equal(jobs.job, table[k])
            reading.pack(
                jobs.job, jobs.order, jobs.mate, starts, lengths, *steps.layout, steps.whole, steps.sequence,
                steps.row, steps.mate,
            )  # fmt: skip
            assert (jobs.order[start : start + B] == sequences).all()
            sizes = {SIZE_B: B, SIZE_T: T, SIZE_R: R, SIZE_FIRST: first, SIZE_CARRIED: int(first > 0)}
            assert dict(enumerate(steps.sizes.tolist())) == sizes | {SIZE_EPOCH: epoch}
            assert jobs.job[JOB_CARRIED] == int(first > 0)
            rows = packed.rows_of(starts[sequences] + first)
            values = packed.counts, packed.row_at, packed.lengths, lengths[sequences], sequences, rows
            for name, value in zip(ARRAYS, values, strict=True):
                array = getattr(steps, name)
                np.testing.assert_array_equal(array[: len(value)], value, err_msg=name)
                assert (array[len(value) :] == -7).all()
            for i, row in zip(sequences[packed.sequence], steps.row):
                seen[i].append(row - starts[i])
        assert seen == [list(range(length)) for length in lengths]


@pytest.mark.parametrize("size", [1, 4, None])
def test_the_room_is_that_of_the_longest(size):
    """No more memory than the largest minibatch can ask for."""
    steps = Jobs(np.array([3, 9, 1, 7, 9, 2]), 3, size).room()
    lengths = np.minimum([9, 9, 7], size or 9)
    assert (steps.max_sequences, steps.max_steps, steps.max_rows) == (3, lengths[0], lengths.sum())


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("lengths", RAGGED, ids=str)
def test_read(lengths, dtype, scaled):
    """The rows of overlapping windows, shifted and scaled by sequence, of a table that may be read-only."""
    rng, n, F = np.random.default_rng(0), len(lengths), 5
    values = rng.standard_normal((20, F)).astype(dtype)
    values.flags.writeable = False
    starts = rng.integers(0, 20 - max(lengths), n)
    shift, scale = rng.standard_normal((2, n, F)).astype(dtype) if scaled else (None, None)
    sequences, order = Sequences(values, starts, np.array(lengths), shift, scale), rng.permutation(n)
    for size, n_threads in ((None, 1), (2, 2), (3, 7)):
        jobs = Jobs(sequences.lengths, 4, size)
        steps, work = jobs.room(), Workspace(dtype)
        jobs.plan(order)
        for first, own, _ in minibatches(order, sequences.lengths, 4, size):
            packed = PackedSteps(np.minimum(sequences.lengths[own] - first, size or max(lengths)))
            X = recording(AtOnce(n_threads), steps, work).read(sequences, jobs)["X"]
            expected = values[packed.rows_of(starts[own] + first)]
            if scaled:
                i = own[packed.sequence]
                expected = (expected - shift[i]) * scale[i]
            np.testing.assert_array_equal(matrix(X, steps, packed.n_rows, F), expected)


def chunks_of(lengths, size):
    """(first step, packed order, `Steps`) of sequences sorted by falling length, numbered backwards."""
    lengths = np.sort(lengths)[::-1]
    for first, running, _ in minibatches(np.arange(len(lengths)), lengths, len(lengths), size):
        packed = PackedSteps(np.minimum(lengths[running] - first, size or lengths[0]))
        numbers = len(lengths) - 1 - np.arange(len(running))
        yield first, packed, packed.filled(
            whole=lengths[running], first=first, carried=int(first > 0), sequence=numbers, room=2
        )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("size", [1, 2, 4, None])
def test_scatter(size, per_step, dtype):
    """Steps, or what a sequence's last chunk gives, go to the places of their sequences."""
    rng, lengths, n = np.random.default_rng(0), np.array(RAGGED[-1]), 3
    of_sequence = np.sort(lengths)  # number i is the i-th from the end of the sorted ones
    ends = np.cumsum(of_sequence)
    n_rows = ends[-1] if per_step else len(lengths)
    table, out = rng.standard_normal((n_rows, n)).astype(dtype), np.full((n_rows, n), np.nan, dtype)
    for first, packed, steps in chunks_of(lengths, size):
        B, number = len(packed), steps.sequence
        for past in (False, True) if per_step else (False,):
            X = np.zeros((B * past + packed.n_rows, n + 2), dtype)
            if per_step:
                i = number[packed.sequence]
                X[B * past :, :n] = table[ends[i] - of_sequence[i] + first + packed.step]
            else:
                ended = first + packed.lengths == of_sequence[number[:B]]
                X[:B][ended, :n] = table[number[:B][ended]]
            rows = Rows(X.ravel(), n + 2, SIZE_R if per_step else SIZE_B, past)
            reading.scatter(recording(AtOnce(), steps, Workspace(dtype)), rows, ends, n, out)
        if not per_step:  # nothing of those that go on
            assert np.isnan(out[number[:B][~ended]]).all()
    np.testing.assert_array_equal(out, table)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_start_from(dtype):
    """The first chunk begins in the states that were given for its sequences; later ones carry on."""
    given, width = np.random.default_rng(0).standard_normal((9, 3)).astype(dtype), 5
    packed, numbers = PackedSteps([4, 4, 2]), np.array([7, 0, 3])
    steps, carried = packed.filled(sequence=numbers), np.full((3, width), np.nan, dtype)
    rows = Rows(carried.reshape(-1), width, SIZE_B)
    reading.start_from(recording(AtOnce(), steps, Workspace(dtype)), given, rows)
    np.testing.assert_array_equal(carried[:, :3], given[numbers])
    np.testing.assert_array_equal(carried[:, 3:], 0)
    assert steps.sizes[SIZE_CARRIED] == 1
    later, before = packed.filled(sequence=numbers, first=4, carried=1), carried.copy()
    reading.start_from(recording(AtOnce(), later, Workspace(dtype)), given + 1, rows)
    np.testing.assert_array_equal(carried, before)
    assert later.sizes[SIZE_CARRIED] == 1


# --- kernels on packed rows -----------------------------------------------------------------------
class Packed:
    """Rows of some sequences, of small whole numbers: their sums are exact in any order."""

    def __init__(self, lengths, dtype, width=5, seed=0):
        self.rng = np.random.default_rng(seed)
        self.lengths, self.width, self.dtype = lengths, width, dtype
        self.order, self.work = PackedSteps(lengths), Workspace(dtype)
        self.n, self.n_rows = len(lengths), self.order.n_rows
        self.steps = self.order.filled(room=2)

    def recording(self, n_threads=1, steps=None, **options):
        return recording(AtOnce(n_threads), steps or self.steps, self.work, **options)

    def whole(self, *shape):
        return self.rng.integers(-99, 100, shape).astype(self.dtype)

    def normal(self, *shape):
        return self.rng.standard_normal(shape).astype(self.dtype)

    def sequences(self, X):
        """Rows of each sorted sequence, in time order."""
        return [X[self.order.row_at[:n] + i] for i, n in enumerate(self.order.lengths)]

    def matrix(self, rows):
        return matrix(rows, self.steps, self.n_rows if rows.per == SIZE_R else self.n, rows.row)


packed_cases = pytest.mark.parametrize(
    "packed", [Packed(n, d) for n in RAGGED for d in DTYPES], ids=lambda p: f"{p.lengths}-{p.dtype}"
)


@packed_cases
@pytest.mark.parametrize("n_threads", [1, 3])
def test_reverse_and_its_adjoint(packed, n_threads):
    width, rec = packed.width, packed.recording(n_threads)
    for past, row in ((False, width), (True, width + 3)):
        X = packed.whole(packed.n * past + packed.n_rows, row)
        rows, x = Rows(X.ravel(), row, past=past), X[packed.n * past :, :width]
        out = rec.new_rows("x", row=width)
        directions.copy_rows(rec, rows, 0, out, 0, width, reverse=True)
        mirrored = packed.matrix(out)
        assert mirrored.shape == x.shape
        for a, b in zip(packed.sequences(x), packed.sequences(mirrored), strict=True):
            np.testing.assert_array_equal(a[::-1], b)
        # <reverse(x), d> = <x, its adjoint(d)>; what is there already stays.
        d, into = packed.whole(packed.n_rows, width), packed.whole(packed.n_rows, width)
        before = into.copy()
        directions.add_reversed(rec, Rows(into.reshape(-1), width), Rows(d.ravel(), width))
        assert np.vdot(mirrored, d) == np.vdot(x, into - before) != 0
        np.testing.assert_array_equal(into - before, d[packed.order.reversed_rows])


def layer_of(n_hidden, width, dtype=DTYPES[1]):
    """A layer, as far as its states are concerned."""
    layer = RecurrentLayer.__new__(RecurrentLayer)
    layer.n_hidden, layer.width, layer.dtype = n_hidden, width, dtype
    return layer


@packed_cases
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("n_directions", [1, 2])
def test_join_and_its_adjoint(packed, n_threads, n_directions):
    width, rec = packed.width, packed.recording(n_threads)
    n, row = packed.n, width + 3
    layer = layer_of(width, row)
    states = [packed.whole(n + packed.n_rows, row) for _ in range(n_directions)]
    parts = [(layer, SimpleNamespace(H=s.ravel())) for s in states]
    joined = packed.matrix(States("y", parts).copied(rec, "y"))
    assert joined.shape == (packed.n_rows, n_directions * width)
    for d, s in enumerate(states):
        own = packed.sequences(s[n:, :width])
        for a, both in zip(own, packed.sequences(joined), strict=True):
            np.testing.assert_array_equal(both[:, d * width :][:, :width], a[::-1] if d else a)

    # Columns of the gradient go back to their direction, the rest of its rows is zero.
    dY, product = packed.whole(packed.n_rows, n_directions * width + 1), 0
    for d, s in enumerate(states):
        out, given = rec.new_rows("d", row=row), Rows(dY.ravel(), dY.shape[1])
        directions.copy_rows(rec, given, d * width, out, 0, width, reverse=d == 1, pad=True)
        own = packed.matrix(out)
        assert own.shape == (packed.n_rows, row)
        np.testing.assert_array_equal(own[:, width:], 0)
        rows = packed.order.reversed_rows if d else slice(None)
        np.testing.assert_array_equal(own[:, :width], dY[:, d * width : (d + 1) * width][rows])
        product += np.vdot(s[n:], own)
    assert product == np.vdot(joined, dY[:, :-1])


@packed_cases
def test_last_states_and_their_adjoint(packed):
    steps, n, row, rec = packed.steps, packed.n, packed.width + 3, packed.recording()
    layers = layer_of(packed.width, row, packed.dtype), layer_of(2, row, packed.dtype)
    states = [packed.whole(n + packed.n_rows, row) for _ in layers]
    parts = [(layer, SimpleNamespace(H=s.ravel())) for layer, s in zip(layers, states)]
    last = packed.matrix(States("x", parts).last(rec, "last"))
    ends = n + packed.order.row_at[packed.order.lengths - 1] + np.arange(n)
    expected = [s[ends, : layer.n_hidden] for layer, s in zip(layers, states)]
    np.testing.assert_array_equal(last, np.concatenate(expected, axis=1))

    given, column = packed.whole(n, last.shape[1] + 1), 0
    for layer in layers:
        dH, dC = np.full((2, steps.max_sequences, row), np.nan, packed.dtype)
        d_last, width = Rows(given.ravel(), given.shape[1], SIZE_B), layer.n_hidden
        directions.copy_rows(rec, d_last, column, Rows(dH.reshape(-1), row, SIZE_B), 0, width, pad=True)
        directions.clear_rows(rec, Rows(dC.reshape(-1), row, SIZE_B))
        np.testing.assert_array_equal(dH[:n, :width], given[:, column : column + width])
        np.testing.assert_array_equal(dH[:n, width:], 0)
        np.testing.assert_array_equal(dC[:n], 0)
        assert np.isnan(dH[n:]).all()
        assert np.isnan(dC[n:]).all()
        column += width


@packed_cases
@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("per", [SIZE_B, SIZE_R])
def test_add(packed, n_threads, per):
    """Gradients of one value, whose rows may be padded."""
    n, rec = packed.n_rows if per == SIZE_R else packed.n, packed.recording(n_threads)
    for row, other in ((4, 4), (4, 7), (7, 4)):
        target, source = packed.whole(n, row), packed.whole(n, other)
        expected = target.copy()
        expected[:, :4] += source[:, :4]
        target[:, 4:], source[:, 4:], expected[:, 4:] = 0, 0, 0
        directions.add(rec, Rows(target.reshape(-1), row, per), Rows(source.ravel(), other, per))
        np.testing.assert_array_equal(target, expected)


@packed_cases
def test_last_states_that_were_not_kept(packed):
    """Cells that are updated in place lie in the first rows; columns beside them stay."""
    states, out = packed.whole(packed.n, packed.width), packed.whole(packed.n, packed.width + 4)
    expected = out.copy()
    expected[:, 2:5] = states[:, :3]
    directions.direction_kernels(packed.dtype).last_states(
        packed.steps.sizes, packed.steps.row_at, packed.steps.lengths, packed.width, states.ravel(), False,
        3, 2, packed.width + 4, out.reshape(-1),
    )  # fmt: skip
    np.testing.assert_array_equal(out, expected)


def pool(rec, kind, X, width):
    """Pooled rows, and of maxima the step."""
    out = Pool("pool", "x", width, kind).forward(rec, X)
    return out, rec.kept["pool"].array if kind == "max" else None


def pool_backward(rec, kind, d, width):
    (dX,) = Pool("pool", "x", width, kind).backward(rec, d, need=(True,))
    return dX


@packed_cases
@pytest.mark.parametrize("kind", ["mean", "max"])
@pytest.mark.parametrize("past", [False, True])
def test_pool(packed, kind, past):
    rec, n, width, row = packed.recording(), packed.n, packed.width, packed.width + 2
    X = packed.normal(n * past + packed.n_rows, row)
    out, where = pool(rec, kind, Rows(X.ravel(), row, past=past), width)
    x = packed.sequences(X[n * past :, :width])
    expected = np.stack([getattr(s, kind)(axis=0) for s in x])
    got, size = packed.matrix(out), np.stack([np.abs(s).mean(axis=0) for s in x])
    assert got.shape == expected.shape
    assert (np.abs(got - expected) <= 12 * EPS[packed.dtype] * size).all()
    # Its backward pass is its derivative; columns beyond the pooled ones get none.
    dout = packed.normal(n, row)
    dX = packed.matrix(pool_backward(rec, kind, Rows(dout.ravel(), row, SIZE_B), width))
    np.testing.assert_array_equal(dX[:, width:], 0)
    for i, (s, ds) in enumerate(zip(x, packed.sequences(dX[:, :width]), strict=True)):
        if kind == "mean":
            expected = np.tile(dout[i, :width] / packed.dtype.type(len(s)), (len(s), 1))
        else:
            expected = np.where(s == s.max(axis=0), dout[i, :width], 0)
        np.testing.assert_array_equal(ds, expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", ["mean", "max"])
@pytest.mark.parametrize("size", [1, 3])
def test_pool_over_chunks_is_pool(kind, dtype, size):
    """The same bits, and each chunk's gradient goes to its own steps."""
    packed = Packed([9, 7, 7, 4, 2, 1], dtype)
    width, X = packed.width, packed.normal(packed.n_rows, packed.width)
    X[-1, 0] = np.nan  # the last step of the longest
    X[0, 1] = np.nan  # its first one, which later chunks must not hide
    whole, where_in_all = pool(packed.recording(), kind, Rows(X.ravel(), width), width)
    whole, sequences, work = packed.matrix(whole), packed.sequences(X), Workspace(dtype)
    np.testing.assert_array_equal(np.isnan(whole), np.arange(6 * width).reshape(6, width) < 2)
    in_all = where_in_all.reshape(-1, width)[: packed.n] if kind == "max" else None
    for _ in range(2):  # the second pass finds the first one's numbers in the workspace
        hits = np.zeros(whole.shape, int)
        for first, order, steps in chunks_of(packed.lengths, size):
            B = len(order)
            part = np.stack([sequences[i][first + t] for t, i in zip(order.step, order.sequence)])
            rec = recording(AtOnce(), steps, work)
            out, where = pool(rec, kind, Rows(part.ravel(), width), width)
            ends = first + order.lengths == steps.whole[:B]
            np.testing.assert_array_equal(matrix(out, steps, B, width)[ends], whole[:B][ends])
            dout = Rows(np.ones(B * width, dtype), width, SIZE_B)
            dX = pool_backward(rec, kind, dout, width)
            dX = matrix(dX, steps, order.n_rows, width)
            if kind == "mean":
                np.testing.assert_array_equal(
                    dX, (1 / steps.whole[order.sequence, None]).astype(dtype) * np.ones(width)
                )
                continue
            last = (packed.order.lengths[:B, None] - 1) // size == first // size
            own = (order.step[:, None] + first == in_all[order.sequence]) & last[order.sequence]
            np.testing.assert_array_equal(dX * last[order.sequence], own)
            hits[:B] += (where.reshape(-1, width)[:B] >= 0) & last
        if kind == "max":  # -1: the maximum lies in an earlier chunk
            in_last = in_all // size == (packed.order.lengths[:, None] - 1) // size
            np.testing.assert_array_equal(hits, in_last)


def test_max_pooling_passes_nan_on_and_gives_ties_to_one_step():
    packed = Packed([4, 2], np.dtype(np.float64), width=2)
    X = np.ones((packed.n_rows, 2))
    X[2, 1] = np.nan  # step 1 of sequence 0
    rec = packed.recording()
    out, where = pool(rec, "max", Rows(X.ravel(), 2), 2)
    np.testing.assert_array_equal(packed.matrix(out), [[1, np.nan], [1, 1]])
    dX = pool_backward(rec, "max", Rows(np.ones(4), 2, SIZE_B), 2)
    first, second = packed.sequences(packed.matrix(dX))
    np.testing.assert_array_equal(first, [[1, 0], [0, 1], [0, 0], [0, 0]])
    np.testing.assert_array_equal(second, [[1, 1], [0, 0]])


# --- dropout --------------------------------------------------------------------------------------
GOLDEN, M64 = 0x9E3779B97F4A7C15, 2**64 - 1


def mixed(x):
    """SplitMix64's finaliser on Python's integers."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & M64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & M64
    return x ^ (x >> 31)


def kept(seed, epoch, stream, sequence, counters, rate):
    key = 0
    for number in (seed, epoch, stream, sequence):
        key = mixed((key + number * GOLDEN + GOLDEN if number is not seed else number + GOLDEN) & M64)
    bits = [mixed((key + (counter + 1) * GOLDEN) & M64) for counter in counters]
    return np.array([(b >> 11) * 2.0**-53 >= rate for b in bits])


def test_mix_is_splitmix64():
    """The generator's first numbers for the seed 1234567, as published."""
    published = [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431,
        16408922859458223821,
    ]  # fmt: skip
    counters = [(1234567 + k * GOLDEN) & M64 for k in range(1, 6)]
    assert [mixed(x) for x in counters] == published
    compiled_mix = njit(lambda x: mix(x))
    assert [int(compiled_mix(np.uint64(x))) for x in counters] == published


@packed_cases
@pytest.mark.parametrize("n_threads", THREADS)
def test_drop_steps(packed, n_threads):
    """Each element by its sequence's number, step and column; again, by the same mask, as its gradient."""
    width, row, rate, numbers = packed.width, packed.width + 2, 0.4, 100 + packed.rng.permutation(packed.n)
    first, order = 6, packed.order
    steps = order.filled(sequence=numbers, first=first, epoch=3, room=2)
    X, d = packed.whole(packed.n_rows, row), packed.whole(packed.n_rows, row)
    masks = [
        kept(11, 3, 2, int(number), range(first * width, (first + n) * width), rate).reshape(n, width)
        for number, n in zip(numbers, order.lengths)
    ]
    mask = np.stack([masks[i][t] for t, i in zip(order.step, order.sequence)])
    assert packed.n_rows < 7 or 0 < mask.mean() < 1
    for rows in (X, d):
        expected = rows.copy()
        expected[:, :width] *= mask * packed.dtype.type(1 / (1 - rate))
        flat = rows.ravel()
        drop_steps(packed.recording(n_threads, steps, dropout_seed=11), Rows(flat, row), 2, width, rate)
        np.testing.assert_array_equal(flat.reshape(rows.shape), expected)


@packed_cases
def test_sequence_mask(packed):
    numbers, layer = 100 + packed.rng.permutation(packed.n), layer_of(5, 8)
    steps = packed.order.filled(sequence=numbers, epoch=3)
    rec = packed.recording(steps=steps, dropout_seed=2**31 - 1)
    mask = sequence_mask(rec, 4, layer, 0.4, "m").reshape(-1, 8)
    expected = [kept(2**31 - 1, 3, 4, int(number), range(5), 0.4) for number in numbers]
    np.testing.assert_array_equal(mask[:, :5], np.array(expected) * packed.dtype.type(1 / 0.6))
    np.testing.assert_array_equal(mask[:, 5:], 0)


# --- other machines, checked builds: in processes of their own ------------------------------------
def run_python(code, *arguments, **environment):
    """Run `code` with Numba's variables set; they are read when it is imported."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    root = Path(__file__).parents[1]
    path = os.pathsep.join([str(root), str(root / "tests"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env=clean | {"PYTHONPATH": path} | environment,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


OTHER_MACHINE = """
import sys

import numpy as np
import reference
from passes import Forward
from skrnn.backends.cpu.simd import machine
from skrnn.links import Pool
from skrnn.links.recurrent import States
from skrnn.recipe import recurrent_network
from skrnn.recording import Rows
from test_network import Problem, relative_error

m = machine()
print(m.vector_bytes, m.registers, m.has_fma)
options = {"cell": "lstm", "bidirectional": True}
problem = Problem(options, [4, 1, 3, 4, 2, 4, 4, 3, 4], hidden_size=5)
expected = np.array(problem.oracle().output)
out = np.array(problem.in_callers_order(problem.forward().out))
assert np.abs(out - expected).max() < 1e-12, np.abs(out - expected).max()
gradients = problem.gradients()
double = {name: gradients[name] for name in problem.weights}
for name, array in problem.weights.items():
    difference = reference.central_differences(problem.loss, array)
    assert relative_error(gradients[name], difference) < 1e-6, name
if sys.argv[1] == "float64":
    raise SystemExit

# float32 through the same steps: a second problem with a network of that type.
single = Problem(options, problem.lengths, hidden_size=5)
single.network = network = recurrent_network(2, 2, hidden_size=5, dtype=np.float32, **options)
params = network.pack(single.weights)
X = single.packed(single.X).astype(np.float32).ravel()
pass_ = Forward(network, params, X, single.steps, state=single.sorted_state(), keep=True)
out = np.array(single.in_callers_order(pass_.out))
assert np.abs(out - expected).max() < 2e-6, np.abs(out - expected).max()
y, w = (np.array(v)[single.steps.order] for v in (single.y, single.w))
grads = np.empty(network.size, np.float32)
pass_.backprop((pass_.out - y) * (w / w.sum())[:, None], grads)
for name, gradient in network.unpack(grads).items():
    assert relative_error(gradient, double[name]) < 1e-5, name
"""


@pytest.mark.sampled(3)
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names of x86 processors")
@pytest.mark.parametrize(("dtype", "cpu", "expected"), [
    ("float64", "haswell", "32 16 True"),
    ("float32", "haswell", "32 16 True"),
    ("float32", "generic", "16 16 False"),
])  # fmt: skip
def test_other_machines(dtype, cpu, expected, tmp_path):
    """8 lanes, and 4 lanes without a fused multiply-add: outputs and gradients are right there."""
    result = run_python(
        OTHER_MACHINE, dtype, NUMBA_CPU_NAME=cpu, NUMBA_CPU_FEATURES="", NUMBA_CACHE_DIR=str(tmp_path)
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == expected


BOUNDS = """
import numpy as np
from numba import njit
from skrnn.backends.cpu.bfloat16 import available, store_bf16
from skrnn.backends.cpu.gemm import make_column_sums, make_multiply, make_preactivations
from skrnn.backends.cpu.simd import (
    clear, copy, lanes, make_load, make_store, transpose_square
)
from skrnn.backends.cpu.sums import sum_of_squares

dtype = np.dtype(np.float32)
L = lanes(dtype)
load3, store3, multiply3, sums3 = make_load(3), make_store(3), make_multiply(3), make_column_sums(3)
fetching3 = make_multiply(3, "ahead")
preactivations = make_preactivations(4, (0, 3), (1, 4))
n_checked = 0

@njit
def read(x, at):
    load3(x, at)

@njit
def write(x, at):
    store3(x, at, load3(np.zeros(3 * L, np.float32), 0))

@njit
def multiply(M, a, b, c, a0, b0, c0):  # A (M, 2 blocks of 5), B (10, 3 L), C (M, 3 L)
    multiply3(M, a, a0, 12, 1, 6, b, b0, 3 * L, c, c0, 3 * L, 5, 2)

@njit
def fetching(M, a, b, c, a0, b0, c0):
    fetching3(M, a, a0, 12, 1, 6, b, b0, 3 * L, c, c0, 3 * L, 5, 2, 1000)

@njit
def multiply_columns(M, a, b, c, a0, b0, c0):  # A stored by columns: (5, M)
    multiply3(M, a, a0, 1, max(M, 1), 0, b, b0, 3 * L, c, c0, 3 * L, 5, 1)

@njit
def cell(M, x, w, h, u, bias, z, x0, w0, h0, u0, bias0, z0):  # 3 inputs, 5 hidden units
    preactivations(M, x, x0, 3, 3, w, w0, h, h0, 7, 5, u, u0, bias, bias0, 0, z, z0, 4 * L)

@njit
def column_sums(depth, g, sums, g0, sums0):
    sums3(depth, g, g0, 4 * L, sums, sums0)

@njit
def multiply_pairs(M, a, b, c, a0, b0, c0):  # the same of bfloat16, 10 elements and 20 rows
    multiply3(M, a, a0, 24, 2, 12, b, b0, 2 * 3 * L, c, c0, 3 * L, 5, 2)

@njit
def pairs(M, x, w, h, u, bias, z, x0, w0, h0, u0, bias0, z0):  # 6 inputs, 10 hidden units
    preactivations(M, x, x0, 6, 3, w, w0, h, h0, 14, 5, u, u0, bias, bias0, 0, z, z0, 4 * L)

@njit
def write_bf16(x, at):
    store_bf16(x, at, load3(np.zeros(3 * L, np.float32), 0)[0])

@njit
def square(x, y, x_at, y_at):  # rows of L + 1 and of L + 2
    transpose_square(x, x_at, L + 1, y, y_at, L + 2)

@njit
def squares(x, at):
    sum_of_squares(x, at, 3 * L + 1)

@njit
def clear_5(x, at):
    clear(x, at, 5)

@njit
def copy_5(x, y, x_at, y_at):
    copy(5, x, x_at, y, y_at)

@njit
def nothing(x, y, x_at, y_at):
    copy(0, x, x_at, y, y_at)
    clear(y, y_at, 0)
    sum_of_squares(y, y_at, 0)

def check(function, sizes, *rows, halves=()):
    '''`function` takes arrays of exactly these sizes, at offset 0, and nothing beyond them.'''
    global n_checked
    arrays = [np.zeros(n, np.uint16 if k in halves else dtype) for k, n in enumerate(sizes)]
    zeros = [0] * len(sizes)
    function(*rows, *arrays, *zeros)
    for k, size in enumerate(sizes):
        for shorter, offset in ((1, 0), (0, 1), (0, -1), (size, 0)):
            cut, offsets = list(arrays), list(zeros)
            cut[k], offsets[k] = np.zeros(size - shorter, arrays[k].dtype), offset
            try:
                function(*rows, *cut, *offsets)
            except IndexError:
                n_checked += 1
            else:
                raise SystemExit(f"{function.__name__}{rows}: operand {k} size -{shorter} at {offset}")

check(read, [3 * L])
check(write, [3 * L])
check(clear_5, [5])
check(copy_5, [5, 5])
check(square, [(L - 1) * (L + 1) + L, (L - 1) * (L + 2) + L])
check(squares, [3 * L + 1])
for M in (1, 2, 19):
    check(multiply, [(M - 1) * 12 + 6 + 5, 10 * 3 * L, M * 3 * L], M)
    check(fetching, [(M - 1) * 12 + 6 + 5, 10 * 3 * L, M * 3 * L], M)
    check(multiply_columns, [M * 5, 5 * 3 * L, M * 3 * L], M)
    check(cell, [M * 3, 3 * 3 * L, (M - 1) * 7 + 5, 5 * 3 * L, 4 * L, M * 4 * L], M)
    check(column_sums, [(M - 1) * 4 * L + 3 * L, 3 * L], M)
print(n_checked)
n_checked = 0
if available():
    check(write_bf16, [L], halves=[0])
    for M in (1, 2, 19):
        check(multiply_pairs, [(M - 1) * 24 + 12 + 10, 20 * 3 * L, M * 3 * L], M, halves=[0, 1])
        sizes = [M * 6, 6 * 3 * L, (M - 1) * 14 + 10, 10 * 3 * L, 4 * L, M * 4 * L]
        check(pairs, sizes, M, halves=[0, 1, 2, 3])
    assert n_checked == 4 * (1 + 3 * (3 + 6))

# No rows: a share of nothing begins where the rows before it end.
a, b, c, z = (np.zeros(n, dtype) for n in (2 * 12, 10 * 3 * L, 2 * 3 * L, 2 * 4 * L))
x, w, h, u, bias = (np.zeros(n, dtype) for n in (2 * 3, 3 * 3 * L, 2 * 7, 5 * 3 * L, 4 * L))
for k in range(3):
    nothing(a, c, 12 * k, 3 * L * k)
    multiply(0, a, b, c, 12 * k, 0, 3 * L * k)
    fetching(0, a, b, c, 12 * k, 0, 3 * L * k)
    multiply_columns(0, a, b, c, k, 0, 3 * L * k)
    cell(0, x, w, h, u, bias, z, 3 * k, 0, 7 * k, 0, 0, 4 * L * k)
"""


def test_checked_build(tmp_path):
    """NUMBA_BOUNDSCHECK=1 covers vectors, products and copies, which Numba's own check does not see."""
    result = run_python(BOUNDS, NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr
    assert int(result.stdout) == 4 * (1 + 1 + 1 + 2 + 2 + 1 + 3 * (3 + 3 + 3 + 6 + 2))


def test_sequences_of_another_type_are_refused():
    """A kernel of one float type would read the numbers of the other as nonsense."""
    network = recurrent_network(2, 1, hidden_size=3, dtype=np.float32)
    sequences = Sequences.from_arrays([np.zeros((4, 2))])
    jobs = Jobs(sequences.lengths, 1, None)
    with pytest.raises(TypeError, match="sequences of float64 for a network of float32"):
        network.read(network.record(Tape(), jobs.room()), sequences, jobs)
