"""The CPU kernels one by one: functions on vectors, products, packed rows, machines, bounds."""

import os
import platform
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numba import njit
from skrnn.backends.cpu.packed import (
    add_reversed,
    gather,
    join,
    pool,
    pool_backward,
    reverse,
    spread,
)

from skrnn.backends.cpu.elementary import functions
from skrnn.backends.cpu.gemm import matmul_kernels, multiply_rows, panel_widths
from skrnn.backends.cpu.recurrent import layer_kernels
from skrnn.backends.cpu.simd import lanes, machine, make_load, make_store
from skrnn.backends.cpu.workspace import Workspace
from skrnn.batches import PackedSteps, chunks

load1, store1 = make_load(1), make_store(1)


def panels_of(matrix, widths, L):
    """(K, sum(widths) L) as panels of the given widths, flat."""
    edges = np.cumsum([0, *widths]) * L
    return np.concatenate([matrix[:, a:b].ravel() for a, b in pairwise(edges)])


DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]
EPS = {dtype: float(np.finfo(dtype).eps) for dtype in DTYPES}
RAGGED = [[7, 3, 1, 5], [4, 4, 4], [1], [1, 1, 6], [2, 9, 9, 3, 1, 2, 5, 9, 1, 1, 4]]


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


# --- products -------------------------------------------------------------------------------------
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
        index = self.b0 + np.arange(K)[:, None] * self.b_k + np.arange(self.columns)
        self.b = np.full(index.max() + 1, np.nan, dtype)
        self.b[index] = B
        self.at = self.c0 + np.arange(M)[:, None] * self.c_row + np.arange(self.columns)
        self.c = np.full(self.at.max() + 1, np.nan, dtype)
        self.c[self.at] = rng.standard_normal(self.at.shape)
        A, B, C = (v.astype(dtype).astype(float) for v in (A.reshape(M, K), B, self.c[self.at]))
        self.expected = C + A @ B
        self.bound = (K + 2) * EPS[dtype] * (np.abs(C) + np.abs(A) @ np.abs(B))
        self.width = width

    def run(self, first=0, M=None):
        """Rows `first` to `first + M` of the product."""
        c = self.c.copy()
        multiply_rows(
            self.width, self.M if M is None else M, self.a, self.a0 + first * self.a_row,
            self.a_row, self.a_k, self.a_block, self.b, self.b0, self.b_k, c,
            self.c0 + first * self.c_row, self.c_row, self.depth, self.blocks,
        )  # fmt: skip
        return c


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("M", range(1, 21))
def test_multiply_rows(dtype, width, M):
    rng = np.random.default_rng(100 * width + M)
    for transposed in (False, True):
        depth, blocks = rng.integers(1, 40), 1 if transposed else rng.integers(1, 5)
        p = Product(rng, dtype, M, width, depth, blocks, transposed)
        c = p.run()
        assert (np.abs(c[p.at] - p.expected) <= p.bound).all()
        outside = np.setdiff1d(np.arange(len(c)), p.at)
        assert np.isnan(c[outside]).all()  # nothing is written between the rows


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_a_row_is_the_same_bits_in_any_tile(dtype, width):
    p = Product(np.random.default_rng(width), dtype, 20, width, 23, 3)
    together = p.run()[p.at]
    for M in range(1, 21):
        for first in range(0, 21 - M, 3):
            rows = p.at[first : first + M]
            np.testing.assert_array_equal(p.run(first, M)[rows], together[first : first + M])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("vectors", [1, 2, 3, 4, 5, 7, 8, 11])
def test_matmul(dtype, vectors):
    rng, L = np.random.default_rng(vectors), lanes(dtype)
    matmul, _ = matmul_kernels(dtype)
    assert sum(panel_widths(vectors * L - L + 1, dtype)) == vectors
    for M, depth, blocks in ((1, 1, 1), (13, 9, 1), (6, 5, 4), (20, 40, 2)):
        a_block, K = depth + 3, depth * blocks
        a_row = blocks * a_block + 1
        a = rng.standard_normal(M * a_row).astype(dtype)
        A = np.stack([a[r * a_row :][: blocks * a_block] for r in range(M)])
        A = A.reshape(M, blocks, a_block)[:, :, :depth].reshape(M, K)
        B = rng.standard_normal((K, vectors * L)).astype(dtype)
        c = rng.standard_normal((M, vectors * L)).astype(dtype)
        panels = panels_of(B, panel_widths(vectors * L, dtype), L)
        out = c.copy()
        matmul(M, vectors, a, 0, a_row, a_block, depth, blocks, panels, out.ravel(), 0, vectors * L)
        A, B, c = (v.astype(float) for v in (A, B, c))
        bound = (K + 2) * EPS[dtype] * (np.abs(c) + np.abs(A) @ np.abs(B))
        assert (np.abs(out - (c + A @ B)) <= bound).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_rows", [1, 127, 128, 300])  # less and more than a block of rows
def test_outer(dtype, n_rows):
    rng, L = np.random.default_rng(n_rows), lanes(dtype)
    _, outer = matmul_kernels(dtype)
    for n_in, width in ((1, 1), (7, 2), (13, 3), (33, 4)):
        a_row, d_row = n_in + 2, width * L + 3
        a, d = (rng.standard_normal(n_rows * row + 9).astype(dtype) for row in (a_row, d_row))
        A = np.stack([a[5 + r * a_row :][:n_in] for r in range(n_rows)]).astype(float)
        D = np.stack([d[4 + r * d_row :][: width * L] for r in range(n_rows)]).astype(float)
        dW = np.ones(6 + n_in * width * L, dtype)
        outer(n_rows, n_in, a, 5, a_row, d, 4, d_row, width, dW, 6)
        bound = (n_rows + 2) * EPS[dtype] * (1 + np.abs(A.T) @ np.abs(D))
        assert (np.abs(dW[6:].reshape(n_in, -1) - (1 + A.T @ D)) <= bound).all()
        np.testing.assert_array_equal(dW[:6], 1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_in", [1, 7, 33, 70])
def test_transpose_panels(dtype, n_in):
    """The transposed panels are those of the transposed matrix, zero beyond its last column."""
    rng, L = np.random.default_rng(n_in), lanes(dtype)
    for P, width in ((1, 1), (2, 4), (3, 3)):
        W = rng.standard_normal((P, n_in, width * L)).astype(dtype)
        widths = panel_widths(n_in, dtype)
        matrix = np.zeros((P * width * L, sum(widths) * L), dtype)
        matrix[:, :n_in] = W.transpose(0, 2, 1).reshape(-1, n_in)
        WT = np.full(matrix.size, np.nan, dtype)
        layer_kernels(dtype).transpose_panels(P, n_in, width, W.ravel(), WT)
        np.testing.assert_array_equal(WT, panels_of(matrix, widths, L))


# --- packed order ---------------------------------------------------------------------------------
def packed_places(lengths):
    """(time step, sequence) of every packed row, by the definition."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    return [(t, i) for t in range(max(lengths)) for i in order if lengths[i] > t], order


@pytest.mark.parametrize("lengths", RAGGED, ids=str)
def test_packed_steps(lengths):
    places, order = packed_places(lengths)
    steps = PackedSteps(np.array(lengths))
    assert len(steps) == len(lengths)
    assert steps.n_rows == len(places) == sum(lengths)
    np.testing.assert_array_equal(steps.order, order)
    np.testing.assert_array_equal(steps.lengths, np.array(lengths)[order])
    np.testing.assert_array_equal(steps.step, [t for t, _ in places])
    np.testing.assert_array_equal(steps.order[steps.sequence], [i for _, i in places])
    for t, (count, row) in enumerate(zip(steps.counts, steps.row_at, strict=True)):
        assert count == sum(length > t for length in lengths)
        assert row == next(r for r, (step, _) in enumerate(places) if step == t)
    starts = 1000 * np.arange(len(lengths))  # any places, overlapping ones too
    np.testing.assert_array_equal(steps.rows_of(starts), [1000 * i + t for t, i in places])
    np.testing.assert_array_equal(steps.forward_rows, np.arange(len(places)))
    mirrored = [places.index((lengths[i] - 1 - t, i)) for t, i in places]
    np.testing.assert_array_equal(steps.reversed_rows, mirrored)
    np.testing.assert_array_equal(steps.reversed_rows[steps.reversed_rows], steps.forward_rows)
    last = [places.index((lengths[i] - 1, i)) for i in order]
    np.testing.assert_array_equal(steps.last_rows, last)


@pytest.mark.parametrize("lengths", RAGGED, ids=str)
@pytest.mark.parametrize("n_shares", [1, 2, 3, 7])
def test_shares_cover_all(lengths, n_shares):
    shares = PackedSteps(np.array(lengths)).shares(n_shares)
    assert 1 <= len(shares) <= n_shares
    covered = [i for lo, hi in shares for i in range(lo, hi)]
    assert covered == list(range(len(lengths)))
    assert all(lo < hi for lo, hi in shares)


def test_shares_are_even():
    lengths = np.random.default_rng(0).integers(1, 50, 200)
    steps = PackedSteps(lengths)
    work = [int(steps.lengths[lo:hi].sum()) for lo, hi in steps.shares(4)]
    assert max(work) - min(work) <= 2 * lengths.max()


@pytest.mark.parametrize("lengths", RAGGED, ids=str)
@pytest.mark.parametrize("size", [1, 2, 4, 100, None])
def test_chunks(lengths, size):
    """Every step of every sequence exactly once, in order."""
    lengths = np.sort(lengths)[::-1]
    seen, before = [[] for _ in lengths], len(lengths)
    for first, steps in chunks(lengths, size):
        assert len(steps) <= before
        assert len(steps.counts) <= (size or lengths[0])
        np.testing.assert_array_equal(steps.order, np.arange(len(steps)))
        for t, i in zip(steps.step, steps.sequence, strict=True):
            seen[i].append(first + t)
        before = len(steps)
    assert seen == [list(range(n)) for n in lengths]


# --- kernels on packed rows -----------------------------------------------------------------------
class Packed:
    def __init__(self, lengths, dtype, width=5, seed=0):
        self.rng = np.random.default_rng(seed)
        self.lengths, self.width, self.dtype = lengths, width, dtype
        self.steps = PackedSteps(np.array(lengths))
        self.work = Workspace(dtype)
        self.X = self.normal(self.steps.n_rows, width)

    def normal(self, *shape):
        return self.rng.standard_normal(shape).astype(self.dtype)

    def sequences(self, X=None):
        """Rows of each sorted sequence, in time order."""
        X = self.X if X is None else X
        s = self.steps
        return [X[s.row_at[:n] + i] for i, n in enumerate(s.lengths)]


packed_cases = pytest.mark.parametrize(
    "packed", [Packed(n, d) for n in RAGGED for d in DTYPES], ids=lambda p: f"{p.lengths}-{p.dtype}"
)


@packed_cases
def test_previous_rows(packed):
    steps, B, width = packed.steps, len(packed.steps), packed.width
    A = packed.normal(B + steps.n_rows, width)
    out = np.empty((steps.n_rows, width), packed.dtype)
    kernels = layer_kernels(packed.dtype)
    kernels.previous_rows(B, steps.counts, steps.row_at, width, A.ravel(), out.ravel())
    for r, (t, i) in enumerate(zip(steps.step, steps.sequence, strict=True)):
        np.testing.assert_array_equal(out[r], A[i] if t == 0 else A[B + steps.row_at[t - 1] + i])


@packed_cases
@pytest.mark.parametrize("kind", ["mean", "max"])
def test_pool(packed, kind):
    steps, B, width = packed.steps, len(packed.steps), packed.width
    out, _, where = pool(kind, packed.X.ravel(), width, steps, steps.lengths, None, packed.work)
    expected = np.stack([getattr(s, kind)(axis=0) for s in packed.sequences()])
    np.testing.assert_allclose(out.reshape(B, width), expected, rtol=8 * EPS[packed.dtype])
    # Its backward pass is its derivative: for a linear map, the inner products agree.
    d_row = width + 2
    dout = packed.normal(B, d_row)
    dX = pool_backward(kind, dout.ravel(), d_row, where, width, steps, steps.lengths, packed.work)
    dX = dX.reshape(-1, width)
    for i, (x, dx) in enumerate(zip(packed.sequences(), packed.sequences(dX), strict=True)):
        if kind == "mean":
            share = np.tile(dout[i, :width] / packed.dtype.type(len(x)), (len(x), 1))
        else:
            share = np.where(x == x.max(axis=0), dout[i, :width], 0)
        np.testing.assert_allclose(dx, share, rtol=4 * EPS[packed.dtype])


@pytest.mark.parametrize("kind", ["mean", "max"])
def test_pool_over_chunks_is_pool(kind):
    """The same bits, and each chunk's gradient goes to its own steps."""
    lengths = np.array([9, 7, 7, 4, 2, 1])
    whole = Packed(lengths, np.dtype(np.float64))
    expected = pool(
        kind, whole.X.ravel(), whole.width, whole.steps, lengths, None, whole.work
    )[0].reshape(len(lengths), -1)  # fmt: skip
    sequences, carried, hits = whole.sequences(), None, np.zeros(expected.shape)
    for first, steps in chunks(lengths, 3):
        B = len(steps)
        X = np.stack([
            sequences[i][first + t] for t, i in zip(steps.step, steps.sequence, strict=True)
        ])  # fmt: skip
        carried = None if carried is None else carried.reshape(-1, whole.width)[:B].copy()
        out, carried, where = pool(kind, X.ravel(), whole.width, steps, lengths[:B], carried, whole.work)
        ends = first + steps.lengths == lengths[:B]
        np.testing.assert_array_equal(out.reshape(B, -1)[ends], expected[:B][ends])
        if kind == "max":
            hits[:B][ends] += where.reshape(B, -1)[ends] >= 0
    if kind == "max":  # -1: the maximum lies in an earlier chunk
        in_last = [s.argmax(axis=0) >= (len(s) - 1) // 3 * 3 for s in sequences]
        np.testing.assert_array_equal(hits, np.stack(in_last))


def test_max_pooling_passes_nan_on_and_gives_ties_to_one_step():
    packed = Packed([4, 2], np.dtype(np.float64), width=2)
    packed.X[:] = 1.0
    packed.X[2, 1] = np.nan  # step 1 of sequence 0
    steps = packed.steps
    out, _, where = pool("max", packed.X.ravel(), 2, steps, steps.lengths, None, packed.work)
    assert np.isnan(out.reshape(2, 2)[0, 1])
    np.testing.assert_array_equal(np.isnan(out.reshape(2, 2)), [[False, True], [False, False]])
    dX = pool_backward("max", np.ones(4), 2, where, 2, steps, steps.lengths, packed.work)
    totals = np.stack([s.sum(axis=0) for s in packed.sequences(dX.reshape(-1, 2))])
    np.testing.assert_array_equal(totals[:, 0], 1)


@packed_cases
def test_gather(packed):
    steps, n = packed.steps, len(packed.lengths)
    values = packed.normal(60, packed.width)
    starts = packed.rng.integers(0, 60 - max(packed.lengths), n)  # windows may overlap
    shift, scale = packed.normal(n, packed.width), packed.normal(n, packed.width)
    rows = steps.rows_of(starts)
    plain = gather(values, rows, steps, packed.work).reshape(-1, packed.width)
    np.testing.assert_array_equal(plain, values[rows])
    scaled = gather(values, rows, steps, packed.work, shift=shift, scale=scale)
    for i, own in enumerate(packed.sequences(scaled.reshape(-1, packed.width))):
        k = steps.order[i]
        window = values[starts[k] : starts[k] + packed.lengths[k]]
        np.testing.assert_array_equal(own, (window - shift[k]) * scale[k])


@packed_cases
def test_reverse_join_and_their_adjoints(packed):
    steps, width, work = packed.steps, packed.width, packed.work
    B, R, row = len(steps), steps.n_rows, width + 3
    mirrored = reverse(packed.X.ravel(), steps, width, work, "x").reshape(R, width)
    for a, b in zip(packed.sequences(), packed.sequences(mirrored), strict=True):
        np.testing.assert_array_equal(a[::-1], b)

    states = [packed.normal(B + R, row) for _ in range(2)]
    parts = [(s.ravel(), row, width, d == 1) for d, s in enumerate(states)]
    joined = join(parts, steps, work, "y").reshape(R, 2 * width)
    forward, backward = (packed.sequences(s[B:, :width]) for s in states)
    for a, b, both in zip(forward, backward, packed.sequences(joined), strict=True):
        np.testing.assert_array_equal(both, np.concatenate([a, b[::-1]], axis=1))

    # spread is the adjoint of join: columns go back to their direction, the rest stays zero.
    dY = packed.normal(R, 2 * width + 1)
    for d in range(2):
        own = spread(dY.ravel(), dY.shape[1], d * width, row, width, d == 1, steps, work, d)
        own = own.reshape(R, row)
        np.testing.assert_array_equal(own[:, width:], 0)
        expected = dY[:, d * width : (d + 1) * width]
        rows = steps.reversed_rows if d else steps.forward_rows
        np.testing.assert_array_equal(own[:, :width], expected[rows])

    total = packed.X.copy()
    add_reversed(total.ravel(), mirrored.ravel(), width, steps, work)
    np.testing.assert_array_equal(total, 2 * packed.X)


# --- other machines, checked builds: in processes of their own ------------------------------------
def run_python(code, **environment):
    """Run `code` with Numba's variables set; they are read when it is imported."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    root = Path(__file__).parents[1]
    path = os.pathsep.join([str(root), str(root / "tests"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=clean | {"PYTHONPATH": path} | environment,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


OTHER_MACHINE = """
import numpy as np
import reference
from passes import Forward
from skrnn.backends.cpu.simd import machine
from skrnn.network import Network
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

# float32 through the same steps: a second problem with a network of that type.
single = Problem(options, problem.lengths, hidden_size=5)
single.network = network = Network(2, 2, hidden_size=5, dtype=np.float32, **options)
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


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names of x86 processors")
@pytest.mark.parametrize(("cpu", "expected"), [("haswell", "32 16 True"), ("generic", "16 16 False")])
def test_other_machines(cpu, expected, tmp_path):
    """8 lanes, and 4 lanes without a fused multiply-add: outputs and gradients are right there."""
    result = run_python(
        OTHER_MACHINE, NUMBA_CPU_NAME=cpu, NUMBA_CPU_FEATURES="", NUMBA_CACHE_DIR=str(tmp_path)
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == expected


BOUNDS = """
import numpy as np
from numba import njit
from skrnn.backends.cpu.gemm import make_cell_tile, make_tile
from skrnn.backends.cpu.simd import lanes, make_load, make_store

dtype = np.dtype(np.float32)
L = lanes(dtype)
load3, store3, tile = make_load(3), make_store(3), make_tile(2, 3)
cell_tile = make_cell_tile(2, 4, (0, 3), (1, 4))
n_checked = 0

@njit
def read(x, at):
    load3(x, at)

@njit
def write(x, at):
    store3(x, at, load3(np.zeros(3 * L, np.float32), 0))

@njit
def multiply(a, b, c, a0, b0, c0):  # A (2, 2 blocks of 5), B (10, 3 L), C (2, 3 L)
    tile(a, a0, 12, 1, 6, b, b0, 3 * L, c, c0, 3 * L, 5, 2)

@njit
def cell(x, w, h, u, bias, z, x0, w0, h0, u0, bias0, z0):  # 2 rows, 3 inputs, 5 hidden units
    cell_tile(x, x0, 3, 3, w, w0, h, h0, 7, 5, u, u0, bias, bias0, z, z0, 4 * L)

def check(function, sizes):
    '''`function` takes arrays of exactly these sizes, at offset 0, and nothing beyond them.'''
    global n_checked
    arrays = [np.zeros(n, dtype) for n in sizes]
    zeros = [0] * len(sizes)
    function(*arrays, *zeros)
    for k, size in enumerate(sizes):
        for shorter, offset in ((1, 0), (0, 1), (0, -1), (size, 0)):
            cut, offsets = list(arrays), list(zeros)
            cut[k], offsets[k] = np.zeros(size - shorter, dtype), offset
            try:
                function(*cut, *offsets)
            except IndexError:
                n_checked += 1
            else:
                raise SystemExit(f"{function.__name__}: operand {k} size -{shorter} at {offset}")

check(read, [3 * L])
check(write, [3 * L])
check(multiply, [12 + 6 + 5, 10 * 3 * L, 2 * 3 * L])
check(cell, [6, 3 * 3 * L, 7 + 5, 5 * 3 * L, 4 * L, 2 * 4 * L])
print(n_checked)
"""


def test_checked_build(tmp_path):
    """NUMBA_BOUNDSCHECK=1 covers vector loads, stores and tiles, which Numba's own check does not see."""
    result = run_python(BOUNDS, NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr
    assert int(result.stdout) == 4 * (1 + 1 + 3 + 6)
