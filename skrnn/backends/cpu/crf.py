"""Linear-chain conditional random fields: losses of label sequences, marginals, best paths.

What is known of a sequence are the labels of those steps that have a weight. Its loss is log Z of all label
sequences less log Z of those that agree with what is known: one path, or a lattice of its own.
"""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from ...batches import SIZE_B, SIZE_R
from ...recording import Recording, Rows, Weighed
from . import lattice
from .gemm import widest
from .jit import kernel
from .lattice import FLOAT64, L, lattice_kernels
from .log_lattice import log_lattice, log_neighbours
from .simd import copy, make_load, make_store, part, where_greater
from .threads import own_range, own_sequences

load_pair, store_pair = make_load(2), make_store(2)
INTEGERS = np.dtype(np.intp)
ARRAYS = "transitions", "start_transitions", "end_transitions"  # of a CRF


@kernel("weigh_sequences")
def weigh_sequences(sizes, row_at, lengths, row, w, weighted, y, y_at, labels, weights, shares, partial,
                    shares_of_partial, some, total):  # fmt: skip
    """labels (R,): -1 where a step has no weight; weights (B,): that of any other step; partial (B,): whether
    there are both kinds of steps, in ``some[0]`` sequences. total[0]: sum of all weights of steps, of which
    shares (B,) are those of a step; shares_of_partial (B,): zero of other sequences."""
    total[0], some[0] = 0.0, 0
    for i in range(sizes[SIZE_B]):
        n, weights[i] = 0, 0.0
        for t in range(lengths[i]):
            r = row_at[t] + i
            at = row[r]
            labels[r] = -1
            if not weighted or w[at] > 0:
                labels[r] = np.intp(y[y_at[at] if len(y_at) > 0 else at])
                weights[i] = np.float64(w[at]) if weighted else 1.0
                n += 1
        partial[i] = 1 if 0 < n < lengths[i] else 0
        some[0] += partial[i]
        total[0] += n * weights[i]
    for i in range(sizes[SIZE_B]):
        shares[i] = weights[i] / total[0] if total[0] > 0 else 0.0
        shares_of_partial[i] = partial[i] * shares[i]


@kernel("sequence_losses")
def sequence_losses(thread, n_threads, sizes, row_at, lengths, K, A, first, last, shifts, s, s_row,
                    tops, labels, weights, shares, partial, norm, norm_known, values, learns, d,
                    d_row):  # fmt: skip
    """values (B,), of sequences with a weight. Of those whose labels are all known, d (R, d_row) is made the
    gradient of the mean; of others it is that already."""
    lo, hi = own_sequences(thread, n_threads, sizes, lengths)
    for i in range(lo, hi):
        values[i] = 0.0
        if weights[i] == 0:
            continue
        values[i] = norm[i]
        if partial[i] != 0:
            values[i] -= norm_known[i]
            continue
        before = 0
        for t in range(lengths[i]):
            r = row_at[t] + i
            j = labels[r]
            values[i] += tops[r] - np.float64(s[r * s_row + j])
            if t == 0:
                values[i] += shifts[1] - np.float64(first[j])
            else:
                values[i] += shifts[0] - np.float64(A[before * K + j])
            if learns:
                d[r * d_row + j] = np.float64(d[r * d_row + j]) - shares[i]
            before = j
        values[i] += shifts[2] - np.float64(last[before])


@kernel("transition_gradients")
def transition_gradients(thread, n_threads, sizes, row_at, lengths, K, W, labels, shares, partial, E, sums,
                         log_sums, d, d_row, dA, dfirst, dlast):  # fmt: skip
    """dA (K, K) = E * sums + log_sums, less the labels that are known to follow on one another; dfirst and
    dlast (K,): d of first and last steps. Threads own rows and walk the steps in order."""
    lo, hi = own_range(thread, n_threads, K)
    for i in range(lo, hi):
        x, y, z = part(E, i * W, K), part(sums, i * W, K), part(log_sums, i * W, K)
        for j in range(K):
            z[j] += x[j] * y[j]
    for i in range(sizes[SIZE_B]):
        for t in range(1, lengths[i] if partial[i] == 0 and shares[i] > 0 else 0):
            before = labels[row_at[t - 1] + i]
            if lo <= before < hi:
                log_sums[before * W + labels[row_at[t] + i]] -= shares[i]
    for i in range(lo, hi):
        x, y = part(log_sums, i * W, K), part(dA, i * K, K)
        for j in range(K):
            y[j] = x[j]
        begin, end = 0.0, 0.0
        for k in range(sizes[SIZE_B]):
            begin += np.float64(d[(row_at[0] + k) * d_row + i])
            end += np.float64(d[(row_at[lengths[k] - 1] + k) * d_row + i])
        dfirst[i], dlast[i] = begin, end


@kernel("best_paths")
def best_paths(thread, n_threads, sizes, row_at, lengths, K, W, wide, edges, s, s_row, room, came_from,
               labels):  # fmt: skip
    """labels (R,) of the best path through each sequence (Viterbi 1967); of equal ones the lower label.
    came_from (R, K); room: 3 W for each thread; rows of an even number of vectors."""
    lo, hi = own_sequences(thread, n_threads, sizes, lengths)
    x, best, which = (
        part(room, thread * 3 * W, W),
        part(room, (thread * 3 + 1) * W, W),
        part(room, (thread * 3 + 2) * W, W),
    )
    for i in range(lo, hi):
        T = lengths[i]
        for t in range(T):
            r = row_at[t] + i
            if t == 0:
                copy(W, edges, 0, best, 0)
            else:
                for j in range(0, W, 2 * L):  # two vectors at a time, so that neither waits for the other
                    u, v = load_pair(wide, j)
                    most, most_v = u + x[0], v + x[0]
                    at, at_v = where_greater(most, most, 1.0, 0.0), where_greater(v, v, 1.0, 0.0)  # zeros
                    for k in range(1, K):
                        u, v = load_pair(wide, k * W + j)
                        u, v, label = u + x[k], v + x[k], np.float64(k)
                        at, at_v = where_greater(u, most, label, at), where_greater(v, most_v, label, at_v)
                        most, most_v = where_greater(u, most, u, most), where_greater(v, most_v, v, most_v)
                    store_pair(best, j, (most, most_v))
                    store_pair(which, j, (at, at_v))
                own = part(came_from, r * K, K)
                for j in range(K):
                    own[j] = np.int32(which[j])
            for j in range(K):
                x[j] = best[j] + np.float64(s[r * s_row + j])
        largest, label = -inf, 0
        for j in range(K):
            if x[j] + edges[W + j] > largest:
                largest, label = x[j] + edges[W + j], j
        for t in range(T - 1, -1, -1):
            r = row_at[t] + i
            labels[r] = label
            if t > 0:
                label = came_from[r * K + label]


class Lattices:
    """Those of the minibatches that are recorded, of scores (R, K) and the arrays of a CRF."""

    def __init__(self, rec: Recording, scores: Rows, crf: dict[str, Any], multiple: int = L) -> None:
        self.rec, self.scores, self.crf = rec, scores, tuple(crf[name] for name in ARRAYS)
        self.K, self.R, self.B = len(self.crf[1]), rec.room(SIZE_R), rec.room(SIZE_B)
        self.W = -(-self.K // multiple) * multiple
        self._add(wide=self.K * self.W, transposed=self.K * self.W, edges=2 * self.W)
        rec.tape.share(
            lattice.wide_transitions, self.K, self.W, *self.crf, self.wide, self.transposed, self.edges
        )

    def get(self, name: str, size: int, dtype: np.dtype = FLOAT64) -> np.ndarray:
        return self.rec.buffer("lattice", name, size=size, dtype=dtype)

    def _add(self, **sizes: int) -> None:
        """Buffers, as attributes."""
        for name, size in sizes.items():
            setattr(self, name, self.get(name, size))

    def begin(self) -> None:
        """Record the exponentials of the transitions."""
        K, W, R, B = self.K, self.W, self.R, self.B
        self.kernels, self.steep = lattice_kernels(widest(W // L)), self.get("steep", B, INTEGERS)
        self._add(E=K * W, ET=K * W, ends=2 * W, shifts=4, sums=K * W, log_sums=K * W)
        self._add(e=R * W, alpha=R * W, p=R * W, log_alpha=R * W, v=R * W, tops=R, inverse=R, q=R)
        self._add(beta=B * W, last=B, doubt=B, room=self.rec.tape.n_threads * W)
        self.rec.tape.share(
            lattice.transition_exponentials, K, W, self.wide, self.transposed, self.edges, self.E, self.ET,
            self.ends, self.shifts,
        )  # fmt: skip

    def record(
        self, labels: np.ndarray, known: bool, some: np.ndarray, shares: np.ndarray, norm: np.ndarray,
        d: Rows, learns: bool,
    ) -> None:  # fmt: skip
        """Of all label sequences; or of those that agree with what is `known`, in minibatches where there are
        `some`, to be subtracted."""
        share, steps, s, kernels, K, W = (
            self.rec.tape.share, self.rec.steps, (self.scores.array, self.scores.row), self.kernels, self.K,
            self.W,
        )  # fmt: skip
        sign, along = -1.0 if known else 1.0, (steps.sizes, steps.row_at, steps.lengths, some)
        share(lattice.step_exponentials, steps.sizes, some, known, labels, K, W, *s, self.e, self.tops)
        share(
            kernels.forward, *steps.layout, some, K, W, self.E, self.ends, self.e, self.alpha, self.inverse,
            norm, self.last,
        )  # fmt: skip
        share(
            kernels.backward, *steps.layout, some, K, W, self.ET, self.ends, self.shifts, self.e, self.alpha,
            self.inverse, self.last, sign, shares, self.beta, self.p, self.doubt,
        )  # fmt: skip
        share(
            log_lattice, *along, self.doubt, lattice.DOUBT, self.steep, known, labels, K, W, self.wide,
            self.transposed, self.edges, self.shifts, *s, self.tops, sign, shares, self.room, self.alpha,
            self.log_alpha, self.v, self.q, norm, self.p,
        )  # fmt: skip
        share(lattice.take_marginals, steps.sizes, some, known, K, W, self.p, d.array, d.row)
        if learns:
            share(
                kernels.neighbours, steps.sizes, steps.counts, steps.row_at, some, known, K, W, self.alpha,
                self.e, self.sums,
            )  # fmt: skip
            share(
                log_neighbours, *along, self.steep, known, K, W, self.wide, self.shifts, sign, shares,
                self.log_alpha, self.v, self.q, self.log_sums,
            )  # fmt: skip


# Something is to be done in every minibatch; labels where none are known.
ALWAYS, NO_LABELS = np.ones(1, np.intp), np.zeros(0, np.intp)


def chain_objective(
    rec: Recording, scores: Rows, crf: dict[str, Any], y: Any, w: Any, d: Rows, into: dict[str, Any] | None
) -> Weighed:
    """Record the losses of all sequences, and the gradients of their mean over labelled steps: d, of the
    scores, and those of the CRF's arrays unless `into` is None.

    y, w: Targets, and weights or None, by place in the table of all steps.
    """
    tape, steps, lattices, learns = rec.tape, rec.steps, Lattices(rec, scores, crf), into is not None
    K, W, R, B = lattices.K, lattices.W, lattices.R, lattices.B
    along, get = (steps.sizes, steps.row_at, steps.lengths), lattices.get
    labels, partial, some = get("labels", R, INTEGERS), get("partial", B, INTEGERS), get("some", 1, INTEGERS)
    weights, shares, shares_of_partial, norm, norm_known, values, total = (
        get(name, size)
        for name, size in (
            ("weights", B), ("shares", B), ("shares of partial", B), ("norm", B), ("norm of known", B),
            ("values", B), ("total", 1),
        )
    )  # fmt: skip
    tape.call(
        weigh_sequences, *along, steps.row, rec.work.empty if w is None else w, w is not None,
        y.values.reshape(-1), NO_LABELS if y.at is None else y.at, labels, weights, shares, partial,
        shares_of_partial, some, total,
    )  # fmt: skip
    lattices.begin()
    lattices.record(labels, False, ALWAYS, shares, norm, d, learns)
    if w is not None:
        lattices.record(labels, True, some, shares_of_partial, norm_known, d, learns)
    tape.share(
        sequence_losses, *along, K, *lattices.crf, lattices.shifts, scores.array, scores.row, lattices.tops,
        labels, weights, shares, partial, norm, norm_known, values, learns, d.array, d.row,
    )  # fmt: skip
    if into is not None:
        tape.share(
            transition_gradients, *along, K, W, labels, shares, partial, lattices.E, lattices.sums,
            lattices.log_sums, d.array, d.row, *(into[name] for name in ARRAYS),
        )  # fmt: skip
    return Weighed(Rows(values, 1, SIZE_B), weights, total)


def chain_marginals(rec: Recording, scores: Rows, crf: dict[str, Any], out: Rows) -> None:
    """Record the probabilities of the labels at each step: rows out (R, K) in float64."""
    lattices = Lattices(rec, scores, crf)
    lattices.begin()
    norm = lattices.get("norm", lattices.B)
    lattices.record(NO_LABELS, False, ALWAYS, np.ones(lattices.B), norm, out, False)


def best_path(rec: Recording, scores: Rows, crf: dict[str, Any], out: Rows) -> None:
    """Record the labels of the best paths: rows out (R, 1) of integers."""
    lattices, steps = Lattices(rec, scores, crf, 2 * L), rec.steps
    came_from = lattices.get("came from", lattices.R * lattices.K, np.dtype(np.int32))
    room = lattices.get("best", rec.tape.n_threads * 3 * lattices.W)
    rec.tape.share(
        best_paths, steps.sizes, steps.row_at, steps.lengths, lattices.K, lattices.W, lattices.wide,
        lattices.edges, scores.array, scores.row, room, came_from, out.array,
    )  # fmt: skip
