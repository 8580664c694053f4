"""Paths through the steps in logarithms, for sequences that leave too much doubt in `ctc`: exact, and slow.

States are b_0, l_0, b_1, ..., l_{S-1}, b_S, of which state j is a blank where j is even, and label
l_{(j-1)/2} else. So that sums of many steps do not cost digits, logarithms are taken less those of their
largest at each step, m_t:

    log a_t(j) + m_t = log p_t(j) + log sum of exp(log a_{t-1}) of those before j
    loss = -(sum of m_t + log sum of exp(log a_{T-1}) of the last two)
    log beta_{t-1}(j) + n_{t-1} = log sum of exp(log p_t(k) + log beta_t(k)) over those after j
    gradient: p_t(k) - sum of exp(log a_t(j) + log beta_t(j) - q_t) over those that say k, q_t so that all
    of them add up to 1
"""

from __future__ import annotations

from functools import cache
from math import exp, inf, log

import numpy as np

from .jit import inlined, kernel
from .simd import clear, part
from .threads import own_sequences


@inlined
def log_sum(x, y, z):
    largest = max(x, max(y, z))
    if largest == -inf:
        return largest
    return largest + log(exp(x - largest) + exp(y - largest) + exp(z - largest))


@inlined
def less_the_largest(x, n):
    """Subtract from x[:n] its largest, which is returned; 0 where there is none."""
    largest = x[0]
    for j in range(1, n):
        largest = max(largest, x[j])
    if largest == -inf:
        return 0.0
    for j in range(n):
        x[j] -= largest
    return largest


@inlined
def label_of(j, y):
    return y[(j - 1) // 2] if j % 2 == 1 else 0


@inlined
def skips(j, y):
    """Whether state j follows on state j - 2 as well."""
    return j % 2 == 1 and j > 2 and y[(j - 1) // 2] != y[(j - 3) // 2]


@cache
def log_paths(dtype: np.dtype):
    scalar = dtype.type

    @kernel("log_softmax_row", dtype.name)
    def log_softmax(K, s, at, x):
        """x[:K] = log softmax(s[at:][:K])."""
        largest, total = np.float64(s[at]), 0.0
        for k in range(1, K):
            largest = max(largest, np.float64(s[at + k]))
        for k in range(K):
            x[k] = np.float64(s[at + k]) - largest
            total += exp(x[k])
        for k in range(K):
            x[k] -= log(total)

    @kernel("log_paths", dtype.name)
    def log_paths(thread, n_threads, sizes, row_at, lengths, sequence, K, s, s_row, y, y_at, y_lengths,
                  weights, total, learns, most_doubt, room, size, values, doubt, d, d_row):  # fmt: skip
        """values (B,), d (R, d_row), of the sequences with more doubt."""
        lo, hi = own_sequences(thread, n_threads, sizes, lengths)
        own = part(room, thread * size, size)
        for n in range(lo, hi):
            if weights[n] == 0 or doubt[n] <= most_doubt:
                continue
            T, S, at = lengths[n], y_lengths[sequence[n]], y_at[sequence[n]]
            share, labels, J = weights[n] / total[0], part(y, at, S), 2 * S + 1
            x, beta, other = part(own, 0, K), part(own, K, J), part(own, K + J, J)
            a, loss = part(own, K + 2 * J, T * J), 0.0
            for t in range(T):
                log_softmax(K, s, (row_at[t] + n) * s_row, x)
                now, before = part(a, t * J, J), part(a, max(0, t - 1) * J, J)
                for j in range(J):
                    if t == 0:
                        before_j = 0.0 if j < 2 else -inf
                    else:
                        before_j = log_sum(
                            before[j],
                            before[j - 1] if j > 0 else -inf,
                            before[j - 2] if skips(j, labels) else -inf,
                        )
                    now[j] = before_j + x[label_of(j, labels)]
                loss -= less_the_largest(now, J)
            now = part(a, (T - 1) * J, J)
            loss -= log_sum(now[J - 1], now[J - 2] if J > 1 else -inf, -inf)
            values[n] = loss
            if not learns:
                continue
            for j in range(J):
                beta[j] = 0.0 if j >= J - 2 else -inf
            for t in range(T - 1, -1, -1):
                r = row_at[t] + n
                log_softmax(K, s, r * s_row, x)
                now, out, largest, sum_of = part(a, t * J, J), part(d, r * d_row, K), -inf, 0.0
                for j in range(J):
                    largest = max(largest, now[j] + beta[j])
                for k in range(K):
                    out[k] = scalar(share * exp(x[k]))
                clear(d, r * d_row + K, d_row - K)
                if largest > -inf:
                    for j in range(J):
                        sum_of += exp(now[j] + beta[j] - largest)
                    for j in range(J):
                        said = exp(now[j] + beta[j] - largest) / sum_of
                        out[label_of(j, labels)] -= scalar(share * said)
                for j in range(J):
                    beta[j] += x[label_of(j, labels)]
                for j in range(J):
                    other[j] = log_sum(
                        beta[j],
                        beta[j + 1] if j + 1 < J else -inf,
                        beta[j + 2] if j + 2 < J and skips(j + 2, labels) else -inf,
                    )
                for j in range(J):
                    beta[j] = other[j]
                less_the_largest(beta, J)

    return log_paths
