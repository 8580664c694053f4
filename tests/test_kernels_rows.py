"""Kernels on packed rows: reversed, joined, last states, sums, pools; and their adjoints."""

from types import SimpleNamespace

import numpy as np
import pytest
from kernel_calls import DTYPES, EPS, AtOnce, Packed, chunks_of, layer_of, packed_cases
from passes import matrix, recording

from skrnn.backends.cpu import rows as kernels_of_rows
from skrnn.backends.cpu.workspace import Workspace
from skrnn.batches import SIZE_B, SIZE_R
from skrnn.links import Pool
from skrnn.links.recurrent import States
from skrnn.recording import Rows


@packed_cases
@pytest.mark.parametrize("n_threads", [1, 3])
def test_reverse_and_its_adjoint(packed, n_threads):
    width, rec = packed.width, packed.recording(n_threads)
    for past, row in ((False, width), (True, width + 3)):
        X = packed.whole(packed.n * past + packed.n_rows, row)
        rows, x = Rows(X.ravel(), row, past=past), X[packed.n * past :, :width]
        out = rec.new_rows("x", row=width)
        kernels_of_rows.copy_rows(rec, rows, 0, out, 0, width, reverse=True)
        mirrored = packed.matrix(out)
        assert mirrored.shape == x.shape
        for a, b in zip(packed.sequences(x), packed.sequences(mirrored), strict=True):
            np.testing.assert_array_equal(a[::-1], b)
        # <reverse(x), d> = <x, its adjoint(d)>; what is there already stays.
        d, into = packed.whole(packed.n_rows, width), packed.whole(packed.n_rows, width)
        before = into.copy()
        kernels_of_rows.add_reversed(rec, Rows(into.reshape(-1), width), Rows(d.ravel(), width))
        assert np.vdot(mirrored, d) == np.vdot(x, into - before) != 0
        np.testing.assert_array_equal(into - before, d[packed.order.reversed_rows])


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
        kernels_of_rows.copy_rows(rec, given, d * width, out, 0, width, reverse=d == 1, pad=True)
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
        kernels_of_rows.copy_rows(rec, d_last, column, Rows(dH.reshape(-1), row, SIZE_B), 0, width, pad=True)
        kernels_of_rows.clear_rows(rec, Rows(dC.reshape(-1), row, SIZE_B))
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
        kernels_of_rows.add(rec, Rows(target.reshape(-1), row, per), Rows(source.ravel(), other, per))
        np.testing.assert_array_equal(target, expected)


@packed_cases
def test_last_states_that_were_not_kept(packed):
    """Cells that are updated in place lie in the first rows; columns beside them stay."""
    states, out = packed.whole(packed.n, packed.width), packed.whole(packed.n, packed.width + 4)
    expected = out.copy()
    expected[:, 2:5] = states[:, :3]
    kernels_of_rows.row_kernels(packed.dtype).last_states(
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
