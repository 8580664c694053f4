"""Attention of the steps of one side of pairs to those of the other: by sequence, row after row, without an
array of all pairs of steps.

The backward pass makes the weights anew, since they are less work than memory: R times the steps of the
longest mate.
"""

from __future__ import annotations

from functools import cache
from math import exp
from types import SimpleNamespace

import numpy as np

from ...batches import SIZE_B
from ...recording import Recording, Rows
from .attention import dot
from .jit import kernel
from .simd import clear, part
from .threads import own_sequences


@cache
def cross_attention_kernels(dtype: np.dtype) -> SimpleNamespace:
    """Steps of the other side are ``theirs...``; sequence i's mate is ``mate[i]`` there. Sums over steps are
    in float64."""
    scalar = dtype.type

    @kernel("attention_to_mate", dtype.name)
    def weigh(q, n_steps, row_at, j, skip, row, K, a, at):
        """a[at:][:n_steps], float64: softmax of q . k over the steps of their sequence j."""
        n, largest, total = len(q), -np.inf, 0.0
        for s in range(n_steps):
            a[at + s] = dot(q, part(K, (skip + row_at[s] + j) * row, n))
            largest = max(largest, a[at + s])
        for s in range(n_steps):
            a[at + s] = exp(a[at + s] - largest)
            total += a[at + s]
        for s in range(n_steps):
            a[at + s] /= total

    @kernel("attend_mates", dtype.name)
    def attend(thread, n_threads, sizes, row_at, lengths, mate, their_sizes, their_row_at, their_lengths,
               n_key, q_row, q_past, Q, k_row, k_past, K, v_row, v_past, V, some, n_some, out_row, out, w_row,
               weights):  # fmt: skip
        """out (R, out_row): the mean of the mate's V with the weights. some: room for `n_some` numbers in
        float64 for each thread. weights (R, w_row): the weights, if there is room."""
        q_skip = sizes[SIZE_B] if q_past else 0
        k_skip, v_skip = (their_sizes[SIZE_B] if k_past else 0), (their_sizes[SIZE_B] if v_past else 0)
        lo, hi = own_sequences(thread, n_threads, sizes, lengths)
        a = thread * n_some
        sums = part(some, a + n_some - out_row, out_row)
        for i in range(lo, hi):
            j = mate[i]
            n = their_lengths[j]
            for t in range(lengths[i]):
                r = row_at[t] + i
                weigh(part(Q, (q_skip + r) * q_row, n_key), n, their_row_at, j, k_skip, k_row, K, some, a)
                clear(some, a + n_some - out_row, out_row)
                for s in range(n):
                    weight, v = some[a + s], part(V, (v_skip + their_row_at[s] + j) * v_row, out_row)
                    for k in range(out_row):
                        sums[k] += weight * np.float64(v[k])
                y = part(out, r * out_row, out_row)
                for k in range(out_row):
                    y[k] = scalar(sums[k])
                if w_row > 0:
                    w = part(weights, r * w_row, w_row)
                    for s in range(w_row):
                        w[s] = scalar(some[a + s]) if s < n else scalar(0)

    @kernel("attend_mates_backward", dtype.name)
    def backward(thread, n_threads, sizes, row_at, lengths, mate, their_sizes, their_row_at, their_lengths,
                 n_key, q_row, q_past, Q, k_row, k_past, K, v_row, v_past, V, some, n_some, d_row, d, n_value,
                 dQ, dK, dV):  # fmt: skip
        """From d (R, d_row): dQ (R, n_key), and of the mate dK (R', n_key) and dV (R', n_value). some: see
        `attend`."""
        q_skip = sizes[SIZE_B] if q_past else 0
        k_skip, v_skip = (their_sizes[SIZE_B] if k_past else 0), (their_sizes[SIZE_B] if v_past else 0)
        lo, hi = own_sequences(thread, n_threads, sizes, lengths)
        for i in range(lo, hi):
            j = mate[i]
            n = their_lengths[j]
            a = thread * n_some
            da = a + n
            keys, values = da + n, da + n + n * n_key
            clear(some, keys, n * (n_key + n_value))
            query = part(some, values + n * n_value, n_key)
            for t in range(lengths[i]):
                r = row_at[t] + i
                q, slope = part(Q, (q_skip + r) * q_row, n_key), part(d, r * d_row, n_value)
                weigh(q, n, their_row_at, j, k_skip, k_row, K, some, a)
                mean = 0.0
                for s in range(n):
                    v = part(V, (v_skip + their_row_at[s] + j) * v_row, n_value)
                    some[da + s] = dot(slope, v)
                    mean += some[a + s] * some[da + s]
                clear(some, values + n * n_value, n_key)
                for s in range(n):
                    weight = some[a + s]
                    ds = weight * (some[da + s] - mean)
                    k = part(K, (k_skip + their_row_at[s] + j) * k_row, n_key)
                    dk, dv = part(some, keys + s * n_key, n_key), part(some, values + s * n_value, n_value)
                    for m in range(n_key):
                        query[m] += ds * np.float64(k[m])
                        dk[m] += ds * np.float64(q[m])
                    for m in range(n_value):
                        dv[m] += weight * np.float64(slope[m])
                dq = part(dQ, r * n_key, n_key)
                for m in range(n_key):
                    dq[m] = scalar(query[m])
            for s in range(n):
                r = their_row_at[s] + j
                dk, sums = part(dK, r * n_key, n_key), part(some, keys + s * n_key, n_key)
                for m in range(n_key):
                    dk[m] = scalar(sums[m])
                dv, sums = part(dV, r * n_value, n_value), part(some, values + s * n_value, n_value)
                for m in range(n_value):
                    dv[m] = scalar(sums[m])

    return SimpleNamespace(attend=attend, backward=backward)


def attend_mates(
    rec: Recording, n_key: int, Q: Rows, K: Rows, V: Rows, out: Rows, weights: Rows | None = None
) -> None:
    """Record out (R, .): of each step the mean of V over the steps of its mate, with the weights
    softmax(Q . K), which are rows (R, steps of the longest mate)."""
    own, theirs = rec.steps, rec.of(1).steps
    n = theirs.max_steps + out.row
    rec.tape.share(
        cross_attention_kernels(rec.work.dtype).attend, own.sizes, own.row_at, own.lengths, own.mate,
        theirs.sizes, theirs.row_at, theirs.lengths, n_key, *described(Q), *described(K), *described(V),
        _room(rec, n), n, out.row, out.array, 0 if weights is None else weights.row,
        rec.work.empty if weights is None else weights.array,
    )  # fmt: skip


def attend_mates_backward(
    rec: Recording, d: Rows, Q: Rows, K: Rows, V: Rows, dQ: Rows, dK: Rows, dV: Rows
) -> None:
    """Record the gradients of all three, of which those of K and V are rows of the other side."""
    own, theirs = rec.steps, rec.of(1).steps
    n = theirs.max_steps * (2 + dK.row + dV.row) + dQ.row
    rec.tape.share(
        cross_attention_kernels(rec.work.dtype).backward, own.sizes, own.row_at, own.lengths, own.mate,
        theirs.sizes, theirs.row_at, theirs.lengths, dQ.row, *described(Q), *described(K), *described(V),
        _room(rec, n), n, d.row, d.array, dV.row, dQ.array, dK.array, dV.array,
    )  # fmt: skip


def described(X: Rows) -> tuple[int, bool, np.ndarray]:
    """As kernels read it."""
    return X.row, X.past, X.array


def _room(rec: Recording, n: int) -> np.ndarray:
    """For n numbers of each thread, in float64."""
    return rec.buffer("cross attention", size=rec.tape.n_threads * n, dtype=np.dtype(np.float64))
