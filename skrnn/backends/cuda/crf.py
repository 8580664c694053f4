"""Linear-chain conditional random fields: losses of label sequences, marginals, best paths.

What is known of a sequence are the labels of those steps that have a weight. Its loss is log Z of all label
sequences less log Z of those that agree with what is known. Both are lattices in logarithms, in float64: a
block goes through a sequence, its threads share the labels of a step. With the scores s_t less their maxima,
-inf where a label is ruled out, A less its maximum, and v_t = s_t + log beta_t:

    log alpha_t[j] = s_t[j] + log sum_i exp(log alpha_{t-1}[i] + A[i, j])
    log beta_{t-1}[i] = log sum_j exp(A[i, j] + v_t[j])
    log Z = log sum exp(log alpha_T + end)
    marginals: exp(log alpha_t + log beta_t - log Z) of a label,
               exp(log alpha_{t-1}[i] + A[i, j] + v_t[j] - log Z) of two neighbours
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda

from ...batches import SIZE_B, SIZE_R
from ...recording import Recording, Rows, Weighed
from .jit import THREADS, barrier, function, kernel
from .objective import FLOAT64 as SHARED
from .sums import tree_sum

MOST_BLOCKS = 65_535
FLOAT64, INTEGERS = np.dtype(np.float64), np.dtype(np.intp)
ARRAYS = "transitions", "start_transitions", "end_transitions"  # of a CRF


@kernel("weigh_sequences")
def weigh_sequences(sizes, row_at, lengths, row, w, weighted, y, y_at, has_y_at, labels, weights, partial,
                    total):  # fmt: skip
    """labels (R,): -1 where a step has no weight; weights (B,): that of any other step; partial (B,): whether
    there are both kinds of steps. total[0]: sum of all weights of steps. One block, whose threads add theirs
    in a tree."""
    sums, thread = cuda.shared.array(THREADS, SHARED), cuda.threadIdx.x
    sums[thread] = 0.0
    for i in range(thread, sizes[SIZE_B], THREADS):
        n, weight = 0, 0.0
        for t in range(lengths[i]):
            r = row_at[t] + i
            at = row[r]
            labels[r] = -1
            if not weighted or w[at] > 0:
                labels[r] = int(y[y_at[at] if has_y_at else at])
                weight = np.float64(w[at]) if weighted else 1.0
                n += 1
        weights[i] = weight
        partial[i] = 1 if 0 < n < lengths[i] else 0
        sums[thread] += n * weight
    tree_sum(sums, thread)
    if thread == 0:
        total[0] = sums[0]


@kernel("transition_maximum")
def transition_maximum(K, A, top):
    """top[0]: the largest of A. One block."""
    largest, thread = cuda.shared.array(THREADS, SHARED), cuda.threadIdx.x
    largest[thread] = -math.inf
    for k in range(thread, K * K, THREADS):
        largest[thread] = max(largest[thread], np.float64(A[k]))
    barrier()
    if thread == 0:
        for k in range(1, THREADS):
            largest[0] = max(largest[0], largest[k])
        top[0] = largest[0]


@function
def log_sum(x, at, M, first, step, K):
    """Log of the sum of exp(x[at + k] + M[first + k step]) over k."""
    largest, total = -math.inf, 0.0
    for k in range(K):
        largest = max(largest, x[at + k] + np.float64(M[first + k * step]))
    for k in range(K):
        total += math.exp(x[at + k] + np.float64(M[first + k * step]) - largest)
    return largest + math.log(total)


@kernel("step_scores")
def step_scores(sizes, known, labels, K, s, s_row, x, tops):
    """tops (R,), the maxima of s (R, s_row); x (R, K): s less that, or -inf where another label is known."""
    for r in range(cuda.grid(1), sizes[SIZE_R], cuda.gridsize(1)):
        largest = np.float64(s[r * s_row])
        for j in range(1, K):
            largest = max(largest, np.float64(s[r * s_row + j]))
        tops[r] = largest
        for j in range(K):
            x[r * K + j] = np.float64(s[r * s_row + j]) - largest
            if known and labels[r] >= 0 and labels[r] != j:
                x[r * K + j] = -math.inf


@kernel("lattice")
def lattice(sizes, row_at, lengths, left_out, partial, K, A, first, last, top, x, log_alpha, v, beta, norm):
    """log_alpha, v (R, K), norm (B,), log Z but for the maxima. beta: K for each block. With `left_out`, of
    partial sequences only."""
    thread, own = cuda.threadIdx.x, cuda.blockIdx.x * K
    for i in range(cuda.blockIdx.x, sizes[SIZE_B], cuda.gridDim.x):
        T = 0 if left_out and partial[i] == 0 else lengths[i]
        for t in range(T):
            r = row_at[t] + i
            for j in range(thread, K, THREADS):
                if t == 0:
                    log_alpha[r * K + j] = np.float64(first[j]) + x[r * K + j]
                else:
                    arrived = log_sum(log_alpha, (row_at[t - 1] + i) * K, A, j, K, K)
                    log_alpha[r * K + j] = arrived - top[0] + x[r * K + j]
            barrier()
        if T > 0 and thread == 0:
            norm[i] = log_sum(log_alpha, (row_at[T - 1] + i) * K, last, 0, 1, K)
        for j in range(thread, K, THREADS):
            beta[own + j] = np.float64(last[j])
        for t in range(T - 1, -1, -1):
            r = row_at[t] + i
            barrier()
            for j in range(thread, K, THREADS):
                v[r * K + j] = beta[own + j] + x[r * K + j]
            barrier()
            for j in range(thread, K if t > 0 else 0, THREADS):
                beta[own + j] = log_sum(v, r * K, A, j * K, 1, K) - top[0]
        barrier()  # before the next sequence's beta


@kernel("marginals")
def marginals(sizes, place_of, known, partial, labels, weights, total, weighted, K, x, log_alpha, v, norm, d,
              d_row):  # fmt: skip
    """d (R, d_row): the marginals; weighed, their shares of the mean. Of what is `known` they are taken off
    it, or, where that is one path, that path is."""
    for k in range(cuda.grid(1), sizes[SIZE_R] * K, cuda.gridsize(1)):
        r, j = k // K, k % K
        i, p = place_of[r], 0.0
        share = weights[i] / total[0] if weighted else 1.0
        if known and partial[i] == 0:
            p = 1.0 if labels[r] == j else 0.0
        elif x[k] != -math.inf:
            p = math.exp(log_alpha[k] + (v[k] - x[k]) - norm[i])
        if weighted and weights[i] == 0:
            p = 0.0
        if known:
            d[r * d_row + j] = np.float64(d[r * d_row + j]) - share * p
        else:
            d[r * d_row + j] = share * p


@kernel("transition_gradients")
def transition_gradients(sizes, row_at, lengths, known, partial, labels, weights, total, K, A, top, log_alpha,
                         v, norm, dA):  # fmt: skip
    """dA (K, K), in float64: likewise of two neighbours, over all steps in order."""
    for k in range(cuda.grid(1), K * K, cuda.gridsize(1)):
        a, b, sums = k // K, k % K, 0.0
        for i in range(sizes[SIZE_B]):
            share = weights[i] / total[0]
            for t in range(1, lengths[i] if share > 0 else 0):
                before, r = row_at[t - 1] + i, row_at[t] + i
                if known and partial[i] == 0:
                    if labels[before] == a and labels[r] == b:
                        sums += share
                else:
                    arrived = log_alpha[before * K + a] + np.float64(A[k]) - top[0]
                    sums += share * math.exp(arrived + v[r * K + b] - norm[i])
        dA[k] = dA[k] - sums if known else sums


@kernel("edge_gradients")
def edge_gradients(sizes, row_at, lengths, K, wide_dA, d, d_row, dA, dfirst, dlast):
    """dA as the network's type has it; dfirst and dlast (K,): d of first and last steps, in order."""
    for k in range(cuda.grid(1), K * K, cuda.gridsize(1)):
        dA[k] = wide_dA[k]
        if k < K:
            begin, end = 0.0, 0.0
            for i in range(sizes[SIZE_B]):
                begin += np.float64(d[(row_at[0] + i) * d_row + k])
                end += np.float64(d[(row_at[lengths[i] - 1] + i) * d_row + k])
            dfirst[k], dlast[k] = begin, end


@kernel("sequence_losses")
def sequence_losses(sizes, row_at, lengths, K, A, first, last, top, s, s_row, tops, labels, weights, partial,
                    norm, norm_known, values):  # fmt: skip
    """values (B,), of sequences with a weight."""
    for i in range(cuda.grid(1), sizes[SIZE_B], cuda.gridsize(1)):
        loss, before = 0.0, 0
        if weights[i] > 0:
            loss = norm[i]
            if partial[i] != 0:
                loss -= norm_known[i]
            else:
                for t in range(lengths[i]):
                    r = row_at[t] + i
                    j = labels[r]
                    loss += tops[r] - np.float64(s[r * s_row + j])
                    if t == 0:
                        loss -= np.float64(first[j])
                    else:
                        loss += top[0] - np.float64(A[before * K + j])
                    before = j
                loss -= np.float64(last[before])
        values[i] = loss


@kernel("best_paths")
def best_paths(sizes, row_at, lengths, K, A, first, last, s, s_row, best, came_from, labels):
    """labels (R,) of the best path through each sequence (Viterbi 1967); of equal ones the lower label.
    came_from, best (R, K)."""
    thread = cuda.threadIdx.x
    for i in range(cuda.blockIdx.x, sizes[SIZE_B], cuda.gridDim.x):
        for t in range(lengths[i]):
            r = row_at[t] + i
            for j in range(thread, K, THREADS):
                most, label = np.float64(first[j]), 0
                if t > 0:
                    before = (row_at[t - 1] + i) * K
                    most = best[before] + np.float64(A[j])
                    for k in range(1, K):
                        value = best[before + k] + np.float64(A[k * K + j])
                        if value > most:
                            most, label = value, k
                best[r * K + j] = most + np.float64(s[r * s_row + j])
                came_from[r * K + j] = label
            barrier()
        if thread == 0:
            end, largest, label = (row_at[lengths[i] - 1] + i) * K, -math.inf, 0
            for j in range(K):
                value = best[end + j] + np.float64(last[j])
                if value > largest:
                    largest, label = value, j
            for t in range(lengths[i] - 1, -1, -1):
                r = row_at[t] + i
                labels[r] = label
                label = came_from[r * K + label]


class Lattices:
    """Those of the minibatches that are recorded, of scores (R, K) and the arrays of a CRF."""

    def __init__(self, rec: Recording, scores: Rows, crf: dict[str, Any]) -> None:
        self.rec, self.scores, self.crf = rec, scores, tuple(crf[name] for name in ARRAYS)
        self.K, self.R, self.B = len(self.crf[1]), rec.room(SIZE_R), rec.room(SIZE_B)
        self.top, self.tops = self.get("top", 1), self.get("tops", self.R)
        self.x, self.log_alpha, self.v = (self.get(name, self.R * self.K) for name in ("x", "log alpha", "v"))
        self.beta = self.get("beta", self.B * self.K)
        rec.tape.once(transition_maximum, self.K, self.crf[0], self.top)

    def get(self, name: str, size: int, dtype: np.dtype = FLOAT64) -> Any:
        return self.rec.buffer("lattice", name, size=size, dtype=dtype)

    def record(
        self, known: bool, labels: Any, partial: Any, weights: Any, total: Any, weighted: bool, norm: Any,
        d: Rows,
    ) -> None:  # fmt: skip
        """Of all label sequences; or of those that agree with what is `known`, to be subtracted."""
        tape, K, s = self.rec.tape, self.K, self.rec.tape.steps(self.rec.steps)
        scores = self.scores.array, self.scores.row
        tape.each(step_scores, self.R, s.sizes, known, labels, K, *scores, self.x, self.tops)
        tape.launch(
            lattice, min(self.B, MOST_BLOCKS), (THREADS,), s.sizes, s.row_at, s.lengths, known, partial, K,
            *self.crf, self.top, self.x, self.log_alpha, self.v, self.beta, norm,
        )  # fmt: skip
        tape.each(
            marginals, self.R * K, s.sizes, s.place_of, known, partial, labels, weights, total, weighted, K,
            self.x, self.log_alpha, self.v, norm, d.array, d.row,
        )  # fmt: skip


def chain_objective(
    rec: Recording, scores: Rows, crf: dict[str, Any], y: Any, w: Any, d: Rows, into: dict[str, Any] | None
) -> Weighed:
    """Record the losses of all sequences, and the gradients of their mean over labelled steps: d, of the
    scores, and those of the CRF's arrays unless `into` is None.

    y, w: Targets, and weights or None, by place in the table of all steps.
    """
    tape, lattices, resident = rec.tape, Lattices(rec, scores, crf), rec.work.resident
    s, K, R, B, get = tape.steps(rec.steps), lattices.K, lattices.R, lattices.B, lattices.get
    along, own = (s.sizes, s.row_at, s.lengths), (*lattices.crf, lattices.top)
    labels, partial = get("labels", R, INTEGERS), get("partial", B, INTEGERS)
    weights, norm, norm_known, values = (
        get(name, B) for name in ("weights", "norm", "norm of known", "values")
    )
    total, wide_dA = get("total", 1), get("dA", K * K)
    tape.once(
        weigh_sequences, *along, s.row, resident(w), w is not None, resident(y.values),
        s.row if y.at is None else resident(y.at), y.at is not None, labels, weights, partial, total,
    )  # fmt: skip
    for known, norm_of in ((False, norm), (True, norm_known)):
        lattices.record(known, labels, partial, weights, total, True, norm_of, d)
        if into is not None:
            tape.each(
                transition_gradients, K * K, *along, known, partial, labels, weights, total, K,
                lattices.crf[0], lattices.top, lattices.log_alpha, lattices.v, norm_of, wide_dA,
            )  # fmt: skip
    tape.each(
        sequence_losses, B, *along, K, *own, scores.array, scores.row, lattices.tops, labels, weights,
        partial, norm, norm_known, values,
    )  # fmt: skip
    if into is not None:
        tape.each(edge_gradients, K * K, *along, K, wide_dA, d.array, d.row, *(into[name] for name in ARRAYS))
    return Weighed(Rows(values, 1, SIZE_B), weights, total)


def chain_marginals(rec: Recording, scores: Rows, crf: dict[str, Any], out: Rows) -> None:
    """Record the probabilities of the labels at each step: rows out (R, K) in float64."""
    lattices = Lattices(rec, scores, crf)
    norm, nothing = lattices.get("norm", lattices.B), lattices.get("labels", lattices.R, INTEGERS)
    lattices.record(False, nothing, nothing, norm, norm, False, norm, out)


def best_path(rec: Recording, scores: Rows, crf: dict[str, Any], out: Rows) -> None:
    """Record the labels of the best paths: rows out (R, 1) of integers."""
    s, K, R, B = rec.tape.steps(rec.steps), len(crf[ARRAYS[1]]), rec.room(SIZE_R), rec.room(SIZE_B)
    best = rec.buffer("lattice", "best", size=R * K, dtype=FLOAT64)
    came_from = rec.buffer("lattice", "came from", size=R * K, dtype=np.dtype(np.int32))
    rec.tape.launch(
        best_paths, min(B, MOST_BLOCKS), (THREADS,), s.sizes, s.row_at, s.lengths, K,
        *(crf[name] for name in ARRAYS), scores.array, scores.row, best, came_from, out.array,
    )  # fmt: skip
