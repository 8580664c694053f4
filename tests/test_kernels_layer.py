"""The products of a layer, shared by threads: transposed weights, gradients, the head."""

import numpy as np
import pytest
from kernel_calls import CELLS, DTYPES, EPS, RAGGED, THREADS, AtOnce, by_each_thread
from passes import PackedSteps, dense, matrix, recording

from skrnn.backends.cpu.recurrent import compiled
from skrnn.backends.cpu.simd import lanes
from skrnn.backends.cpu.sums import SPAN
from skrnn.backends.cpu.transposed import make_input_gradient, make_transpose
from skrnn.backends.cpu.weight_gradients import ROW_BLOCK
from skrnn.backends.cpu.workspace import Workspace
from skrnn.batches import SIZE_B, SIZE_R
from skrnn.recording import Rows

# One stretch of several blocks of rows; blocks that end inside of a step, and sequences that end there.
LONG = [[40] * 9, [3] * 150 + [1] * 20, [2] * ROW_BLOCK, [SPAN + 1], [400] * 5 + [90, 7, 7]]


def transposed(W, wide, L):
    """Panels (P, n_in, row) as a matrix (P row, n_in), zero columns up to whole panels; those, flat."""
    P, n_in, row = W.shape
    columns = -(-n_in // (wide * L)) * wide * L
    whole = np.zeros((P * row, columns), W.dtype)
    whole[:, :n_in] = W.transpose(0, 2, 1).reshape(P * row, n_in)
    return np.concatenate([part.ravel() for part in np.split(whole, columns // (wide * L), axis=1)])


@pytest.mark.parametrize("n_threads", THREADS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n_in", [1, 7, 16, 33, 70, 131])
def test_transpose(dtype, n_in, n_threads):
    rng, L = np.random.default_rng(n_in), lanes(dtype)
    for P, row, wide in ((1, L, 1), (2, 4 * L, 2), (3, 3 * L, 3), (5, 2 * L, 4)):
        W = rng.standard_normal((P, n_in, row)).astype(dtype)
        expected = transposed(W, wide, L)
        WT = np.full(expected.size, np.nan, dtype)
        AtOnce(n_threads).share(make_transpose(dtype), P, n_in, row, wide, W.ravel(), WT)
        np.testing.assert_array_equal(WT, expected)


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
