"""Attention of the steps of one side of pairs to those of the other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda

from ...batches import SIZE_B, SIZE_R
from ...recording import Recording, Rows
from .jit import kernel


@kernel("attend_mates_scores")
def scores(sizes, place_of, mate, row_at, lengths, most, n, q_row, Q, k_row, K, a):
    """a (R, most), float64: for each step q . k of those of its mate, whose steps are `row_at` and `lengths`;
    0 beyond."""
    for k in range(cuda.grid(1), sizes[SIZE_R] * most, cuda.gridsize(1)):
        r, s, total = k // most, k % most, 0.0
        j = mate[place_of[r]]
        if s < lengths[j]:
            for m in range(n):
                total += np.float64(Q[r * q_row + m]) * np.float64(K[(row_at[s] + j) * k_row + m])
        a[k] = total


@kernel("attend_mates_weights")
def weights_of_scores(sizes, place_of, mate, lengths, most, a):
    """a (R, most): scores become their softmax over the steps of the mate."""
    for r in range(cuda.grid(1), sizes[SIZE_R], cuda.gridsize(1)):
        n, largest, total = lengths[mate[place_of[r]]], -math.inf, 0.0
        for s in range(n):
            largest = max(largest, a[r * most + s])
        for s in range(n):
            e = math.exp(a[r * most + s] - largest)
            a[r * most + s] = e
            total += e
        for s in range(n):
            a[r * most + s] /= total


@kernel("attend_mates_mean")
def mean_by_weights(sizes, place_of, mate, row_at, lengths, most, a, v_row, V, n, out):
    """out (R, n): for each step the sum of a V over the steps of its mate, in float64."""
    for k in range(cuda.grid(1), sizes[SIZE_R] * n, cuda.gridsize(1)):
        r, m, total = k // n, k % n, 0.0
        j = mate[place_of[r]]
        for s in range(lengths[j]):
            total += a[r * most + s] * np.float64(V[(row_at[s] + j) * v_row + m])
        out[k] = total


@kernel("attend_mates_copy")
def copy_weights(sizes, most, a, row, out):
    """out (R, row): the first columns of a (R, most)."""
    for k in range(cuda.grid(1), sizes[SIZE_R] * row, cuda.gridsize(1)):
        out[k] = a[k // row * most + k % row]


@kernel("attend_mates_slope")
def slope_of_scores(sizes, place_of, mate, lengths, most, a, da):
    """da (R, most): the gradient of weights becomes that of scores."""
    for r in range(cuda.grid(1), sizes[SIZE_R], cuda.gridsize(1)):
        n, mean = lengths[mate[place_of[r]]], 0.0
        for s in range(n):
            mean += a[r * most + s] * da[r * most + s]
        for s in range(n):
            da[r * most + s] = a[r * most + s] * (da[r * most + s] - mean)


@kernel("attend_mates_back")
def sums_by_mates(sizes, row_at, lengths, mate, their_row_at, their_lengths, most, a, x_row, X, n, out):
    """out (R', n), of the mates' steps: the sum of a X over the steps that look back at them, in float64."""
    for k in range(cuda.grid(1), sizes[SIZE_B] * most * n, cuda.gridsize(1)):
        i, s, m, total = k // (most * n), k // n % most, k % n, 0.0
        j = mate[i]
        if s < their_lengths[j]:
            for t in range(lengths[i]):
                r = row_at[t] + i
                total += a[r * most + s] * np.float64(X[r * x_row + m])
            out[(their_row_at[s] + j) * n + m] = total


def attend_mates(
    rec: Recording, n_key: int, Q: Rows, K: Rows, V: Rows, out: Rows, weights: Rows | None = None
) -> None:
    """Record out (R, .): of each step the mean of V over the steps of its mate, with the weights
    softmax(Q . K), which are rows (R, steps of the longest mate)."""
    a = _weights(rec, n_key, Q, K)
    tape, s, theirs = rec.tape, *_steps(rec)
    tape.each(
        mean_by_weights, s.max_rows * out.row, s.sizes, s.place_of, s.mate, theirs.row_at, theirs.lengths,
        theirs.max_steps, a, V.row, V.array, out.row, out.array,
    )  # fmt: skip
    if weights is not None:
        tape.each(
            copy_weights, s.max_rows * weights.row, s.sizes, theirs.max_steps, a, weights.row, weights.array
        )


def attend_mates_backward(
    rec: Recording, d: Rows, Q: Rows, K: Rows, V: Rows, dQ: Rows, dK: Rows, dV: Rows
) -> None:
    """Record the gradients of all three, of which those of K and V are rows of the other side."""
    a = _weights(rec, dQ.row, Q, K)
    tape, s, theirs = rec.tape, *_steps(rec)
    most = theirs.max_steps
    da = rec.buffer("cross attention", "da", size=s.max_rows * most, dtype=np.dtype(np.float64))
    pairs = s.sizes, s.place_of, s.mate, theirs.row_at, theirs.lengths, most
    tape.each(scores, s.max_rows * most, *pairs, dV.row, d.row, d.array, V.row, V.array, da)
    tape.each(slope_of_scores, s.max_rows, s.sizes, s.place_of, s.mate, theirs.lengths, most, a, da)
    tape.each(mean_by_weights, s.max_rows * dQ.row, *pairs, da, K.row, K.array, dQ.row, dQ.array)
    for by, X, out in (da, Q, dK), (a, d, dV):
        tape.each(
            sums_by_mates, s.max_sequences * most * out.row, s.sizes, s.row_at, s.lengths, s.mate,
            theirs.row_at, theirs.lengths, most, by, X.row, X.array, out.row, out.array,
        )  # fmt: skip


def _steps(rec: Recording) -> tuple[Any, Any]:
    """Of both sides."""
    return rec.tape.steps(rec.steps), rec.tape.steps(rec.of(1).steps)


def _weights(rec: Recording, n_key: int, Q: Rows, K: Rows) -> Any:
    """Record the weights (R, most) in float64."""
    tape, s, theirs = rec.tape, *_steps(rec)
    most = theirs.max_steps
    a = rec.buffer("cross attention", "a", size=s.max_rows * most, dtype=np.dtype(np.float64))
    tape.each(
        scores, s.max_rows * most, s.sizes, s.place_of, s.mate, theirs.row_at, theirs.lengths, most, n_key,
        Q.row, Q.array, K.row, K.array, a,
    )  # fmt: skip
    tape.each(weights_of_scores, s.max_rows, s.sizes, s.place_of, s.mate, theirs.lengths, most, a)
    return a
