"""The lattice of a linear-chain CRF in logarithms, for sequences that leave too much doubt in `lattice`,
whose arrays these are: exact, and slow, with exponentials of all pairs of labels at each step.

Scores lie below their maxima, x_t = s_t - max s_t, -inf where a label is ruled out, and A less max A. From
step to step logarithms are taken less their largest, so that sums of many steps do not cost digits:

    log alpha_t[j] + m_t = x_t[j] + log sum_i exp(log alpha_{t-1}[i] + A[i, j])      norm = sum of m_t + log z
    v_t = x_t + log beta_t      log beta_{t-1}[i] + n_{t-1} = log sum_j exp(A[i, j] + v_t[j])
    q_t = log sum exp(log alpha_t + log beta_t)
    marginals: exp(log alpha_t + log beta_t - q_t) of a label,
               exp(log alpha_{t-1}[i] + A[i, j] + v_t[j] - n_{t-1} - q_{t-1}) of two neighbours
"""

from __future__ import annotations

from math import exp, inf, log

import numpy as np

from ...batches import SIZE_B
from .jit import inlined, kernel
from .simd import clear, part
from .threads import own_range, own_sequences


@inlined
def from_the_largest(K, x, at):
    """Subtract from x[at:][:K] its largest, which is returned."""
    largest = x[at]
    for j in range(1, K):
        largest = max(largest, x[at + j])
    for j in range(K):
        x[at + j] -= largest
    return largest


@kernel("log_sum")
def log_sum(K, x, at, y, to):
    """Log of the sum of exp(x[at:][:K] + y[to:][:K])."""
    largest, total = x[at] + y[to], 0.0
    for j in range(1, K):
        largest = max(largest, x[at + j] + y[to + j])
    for j in range(K):
        total += exp(x[at + j] + y[to + j] - largest)
    return largest + log(total)


@inlined
def add_scores(K, s, at, top, label, out, to):
    """out[to:][:K] += s[at:][:K] - top; -inf where there is a label, and it is another one."""
    for j in range(K):
        out[to + j] += np.float64(s[at + j]) - top
    if label >= 0:
        for j in range(K):
            if j != label:
                out[to + j] = -inf


@kernel("log_lattice")
def log_lattice(thread, n_threads, sizes, row_at, lengths, some, doubt, most_doubt, steep, known, labels, K,
                W, wide, transposed, edges, shifts, s, s_row, tops, sign, shares, room, alpha, log_alpha,
                v, q, norm, p):  # fmt: skip
    """norm (B,) and p (R, W) of the sequences with too much doubt, which are made steep (B,); their alpha
    becomes zero. log_alpha, v (R, W); q (R,), into which n is added; room: W for each thread."""
    if some[0] == 0:
        return
    lo, hi = own_sequences(thread, n_threads, sizes, lengths)
    beta = part(room, thread * W, W)
    for i in range(lo, hi):
        steep[i] = 0 if abs(doubt[i]) <= most_doubt * shares[i] else 1
        if steep[i] == 0:
            continue
        T, total = lengths[i], 0.0
        for t in range(T):
            r = row_at[t] + i
            clear(alpha, r * W, W)
            for j in range(K):
                if t == 0:
                    log_alpha[r * W + j] = edges[j] - shifts[1]
                else:
                    x = log_sum(K, log_alpha, (row_at[t - 1] + i) * W, transposed, j * W)
                    log_alpha[r * W + j] = x - shifts[0]
            add_scores(K, s, r * s_row, tops[r], labels[r] if known else -1, log_alpha, r * W)
            total += from_the_largest(K, log_alpha, r * W)
        for j in range(K):
            beta[j] = edges[W + j] - shifts[2]
        norm[i] = total + log_sum(K, log_alpha, (row_at[T - 1] + i) * W, beta, 0)
        n = 0.0
        for t in range(T - 1, -1, -1):
            r = row_at[t] + i
            q_t = log_sum(K, log_alpha, r * W, beta, 0)
            q[r] = q_t + n
            for j in range(K):
                p[r * W + j] = sign * shares[i] * exp(log_alpha[r * W + j] + beta[j] - q_t)
                v[r * W + j] = beta[j]
            add_scores(K, s, r * s_row, tops[r], labels[r] if known else -1, v, r * W)
            if t > 0:
                for j in range(K):
                    beta[j] = log_sum(K, v, r * W, wide, j * W) - shifts[0]
                n = from_the_largest(K, beta, 0)


@kernel("log_neighbours")
def log_neighbours(thread, n_threads, sizes, row_at, lengths, some, steep, known, K, W, wide, shifts, sign,
                   shares, log_alpha, v, q, sums):  # fmt: skip
    """sums (K, W) of the marginals of neighbours in steep sequences; of what is `known`, added to them.
    Threads own rows and walk the steps in order."""
    if some[0] == 0:
        return
    lo, hi = own_range(thread, n_threads, K)
    if not known:
        clear(sums, lo * W, (hi - lo) * W)
    for i in range(sizes[SIZE_B]):
        for t in range(1, lengths[i] if steep[i] != 0 else 0):
            r, before = row_at[t] + i, row_at[t - 1] + i
            for k in range(lo, hi):
                x = log_alpha[before * W + k] - shifts[0] - q[before]
                for j in range(K):
                    sums[k * W + j] += sign * shares[i] * exp(x + wide[k * W + j] + v[r * W + j])
