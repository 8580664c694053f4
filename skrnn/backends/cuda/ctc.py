"""Connectionist temporal classification: losses of label sequences over all paths through the steps that say
them, and their gradients (Graves et al. 2006), in logarithms and float64: a block goes through a sequence,
its threads share the states of a step.

Of S labels l there are J = 2 S + 1 states, blanks and labels in turns; state j is blank where j is even.

    log a_t[j] = log p_t(j) + log sum of exp(log a_{t-1}) of those before j
    log b_{t-1}[j] = log sum of exp(log p_t(k) + log b_t[k]) of those after j
    loss = -log P = -log sum of exp(log a_{T-1}) of the last two
    gradient of s_t(k): p_t(k) - sum of exp(log a_t[j] + log b_t[j] - log P) over those that say k
"""

from __future__ import annotations

import math

import numpy as np
from numba import cuda

from ...batches import SIZE_B, SIZE_R
from ...recording import Recording, Rows, Weighed
from .crf import MOST_BLOCKS
from .jit import THREADS, barrier, function, kernel
from .objective import weighed


@function
def log_sum(x, y, z):
    largest = max(x, max(y, z))
    if largest == -math.inf:
        return largest
    return largest + math.log(math.exp(x - largest) + math.exp(y - largest) + math.exp(z - largest))


@function
def label_of(j, y, at):
    """Of state j; the blank is 0."""
    return y[at + (j - 1) // 2] if j % 2 == 1 else 0


@function
def skips(j, y, at):
    """Whether state j follows on state j - 2 as well."""
    return j % 2 == 1 and j > 2 and y[at + (j - 1) // 2] != y[at + (j - 3) // 2]


@kernel("log_softmax")
def log_softmax(sizes, K, s, s_row, log_p):
    """log_p (R, K), of s (R, s_row)."""
    for r in range(cuda.grid(1), sizes[SIZE_R], cuda.gridsize(1)):
        largest, total = np.float64(s[r * s_row]), 0.0
        for k in range(1, K):
            largest = max(largest, np.float64(s[r * s_row + k]))
        for k in range(K):
            total += math.exp(np.float64(s[r * s_row + k]) - largest)
        for k in range(K):
            log_p[r * K + k] = np.float64(s[r * s_row + k]) - largest - math.log(total)


@kernel("ctc_paths")
def paths(sizes, row_at, lengths, sequence, K, most, y, y_at, y_lengths, weights, log_p, log_a, log_b,
          values):  # fmt: skip
    """values (B,); log_a (R, most) becomes the log probabilities of being in each state. log_b: two rows of
    `most` for each block."""
    thread, own = cuda.threadIdx.x, cuda.blockIdx.x * 2 * most
    for n in range(cuda.blockIdx.x, sizes[SIZE_B], cuda.gridDim.x):
        T, at = lengths[n], y_at[sequence[n]]
        J = 2 * y_lengths[sequence[n]] + 1
        for t in range(T):
            r = row_at[t] + n
            now, before = r * most, (row_at[max(0, t - 1)] + n) * most
            for j in range(thread, J, THREADS):
                arrived = 0.0 if j < 2 else -math.inf
                if t > 0:
                    one = log_a[before + j - 1] if j > 0 else -math.inf
                    two = log_a[before + j - 2] if skips(j, y, at) else -math.inf
                    arrived = log_sum(log_a[before + j], one, two)
                log_a[now + j] = arrived + log_p[r * K + label_of(j, y, at)]
            barrier()
        last = (row_at[T - 1] + n) * most + J - 1
        log_P = log_sum(log_a[last], log_a[last - 1] if J > 1 else -math.inf, -math.inf)
        if thread == 0:
            values[n] = -log_P if weights[n] > 0 else 0.0
        if log_P == -math.inf:  # no path says it: none has a share of the gradient
            log_P = 0.0
        for j in range(thread, J, THREADS):
            log_b[own + (T - 1) % 2 * most + j] = 0.0 if j >= J - 2 else -math.inf
        barrier()
        for t in range(T - 1, -1, -1):
            r, b, to = row_at[t] + n, own + t % 2 * most, own + (t + 1) % 2 * most
            for j in range(thread, J, THREADS):
                log_a[r * most + j] += log_b[b + j] - log_P
                if t > 0:
                    stays = log_b[b + j] + log_p[r * K + label_of(j, y, at)]
                    one, two = -math.inf, -math.inf
                    if j + 1 < J:
                        one = log_b[b + j + 1] + log_p[r * K + label_of(j + 1, y, at)]
                    if j + 2 < J and skips(j + 2, y, at):
                        two = log_b[b + j + 2] + log_p[r * K + label_of(j + 2, y, at)]
                    log_b[to + j] = log_sum(stays, one, two)
            barrier()


@kernel("ctc_gradient")
def gradient(sizes, place_of, sequence, K, most, y, y_at, y_lengths, weights, total, log_p, log_a, d, d_row):
    """d (R, d_row)."""
    for k in range(cuda.grid(1), sizes[SIZE_R] * d_row, cuda.gridsize(1)):
        r, label, found = k // d_row, k % d_row, 0.0
        n = place_of[r]
        if label < K and weights[n] > 0:
            at = y_at[sequence[n]]
            found = math.exp(log_p[r * K + label])
            for j in range(2 * y_lengths[sequence[n]] + 1):
                if label_of(j, y, at) == label:
                    found -= math.exp(log_a[r * most + j])
            found *= weights[n] / total[0]
        d[k] = found


def path_objective(rec: Recording, scores: Rows, K: int, y, w, d: Rows, learns: bool) -> Weighed:
    """Record the losses of all sequences of labels, and d, the gradient of the scores of their mean."""
    tape, s, resident, B, R = (
        rec.tape, rec.tape.steps(rec.steps), rec.work.resident, rec.room(SIZE_B), rec.room(SIZE_R)
    )  # fmt: skip
    losses, most, blocks = weighed(rec, SIZE_B, w), 2 * int(y.lengths.max(initial=0)) + 1, min(B, MOST_BLOCKS)
    log_p, log_a, log_b = (
        rec.buffer("paths", name, size=size, dtype=np.dtype(np.float64))
        for name, size in (("log p", R * K), ("log a", R * most), ("log b", 2 * blocks * most))
    )
    # Where there are no labels at all, none is read, but they are to be integers.
    values = resident(y.values) if y.values.size else s.row
    labels = values, resident(y.at), resident(y.lengths), losses.weights
    tape.each(log_softmax, R, s.sizes, K, scores.array, scores.row, log_p)
    tape.launch(
        paths, blocks, (THREADS,), s.sizes, s.row_at, s.lengths, s.sequence, K, most, *labels, log_p, log_a,
        log_b, losses.values.array,
    )  # fmt: skip
    if learns:
        tape.each(
            gradient, R * d.row, s.sizes, s.place_of, s.sequence, K, most, *labels, losses.total, log_p,
            log_a, d.array, d.row,
        )  # fmt: skip
    return losses
