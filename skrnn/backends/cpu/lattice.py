"""The lattice of a linear-chain CRF: forward-backward over all labels of each step, or over those that agree
with what is known of them (Lafferty, McCallum & Pereira 2001; rescaled as in Rabiner 1989).

K labels, B sequences, packed rows of steps; A (K, K), a first and a last vector score how labels follow on
one another, begin and end, s_t (K,) those of a step. All here is float64, in rows of W elements, K rounded up
to whole vectors, of which the last are zero unless it says otherwise. `*` is element by element:

    E = exp(A - max A)      e_t = exp(s_t - max s_t), zero where a label is ruled out
    alpha_t = (alpha_{t-1} E) * e_t / c_t, c_t so that the sum is 1      alpha_0 = exp(first) * e_0 / c_0
    z = alpha_T . exp(last)      norm = sum of log c_t + log z, which is log Z but for the maxima
    beta_T = exp(last) / z      g_t = e_t * beta_t / c_t      beta_{t-1} = g_t E^T
    marginals: alpha_t * beta_t of a label, alpha_{t-1}[i] E[i, j] g_t[j] of two neighbours

No exponential is less than a, whose logarithm is FLOOR. So nothing underflows: the sum of alpha_{t-1} is 1,
alpha_{t-1} E lies between a and 1, c_t between a^2 and K, alpha_t, where it is not ruled out, above a^2 / K;
beta between a and 1 / a, since the mean of beta_t weighed by alpha_t is 1, and g below 1 / a.

What was below the floor has been made larger, so that the share of label sequences which use any of it is too
large, and still bounds by how much norm and marginals are wrong. It is not more than the `doubt`: of a label
its marginal, of all transitions of a step a times the sum of g_t. Sequences with more than DOUBT of it, such
as those that can only begin with what is forbidden by -10,000, go through `log_lattice`.
"""

from __future__ import annotations

from functools import cache
from math import exp as exp_of_number
from math import log
from types import SimpleNamespace

import numpy as np

from ...batches import SIZE_R, SIZE_T
from .across import largest_across, smallest_across, sum_across
from .elementary import exponential
from .gemm import make_multiply
from .jit import inlined, kernel
from .simd import clear, copy, lanes, make_load, make_store, part, where_greater, where_less
from .threads import own_range, own_sequences
from .weight_gradients import ROW_BLOCK

FLOOR = -300.0
DOUBT = 1e-18
LOW = 1.001 * exp_of_number(FLOOR)  # exponentials up to here count as raised
FLOAT64 = np.dtype(np.float64)
L, exp, load, store = lanes(FLOAT64), exponential(FLOAT64), make_load(1), make_store(1)
# Between these the product of some c_t waits for its logarithm: one more factor cannot under- or overflow.
LEAST, MOST = 1e-40, 1e40


# --- exponentials -----------------------------------------------------------------------------------
@inlined
def extremes(x, at, n):
    """The largest and the smallest of x[at:][:n], whole vectors."""
    (high,) = load(x, at)
    low = high
    for k in range(L, n, L):
        (v,) = load(x, at + k)
        high, low = where_greater(v, high, v, high), where_less(v, low, v, low)
    return largest_across(high), smallest_across(low)


@inlined
def widen(K, W, x, at, out, to):
    """out[to:][:W] = x[at:][:K] in float64; the last of them over and over where there are no more."""
    source, target = part(x, at, K), part(out, to, W)
    for j in range(K):
        target[j] = np.float64(source[j])
    for j in range(K, W):
        target[j] = np.float64(source[K - 1])


@inlined
def exponentials(K, W, x, at, largest, out, to):
    """out[to:][:W] = exp(x[at:][:W] - largest), zero beyond K."""
    for j in range(0, W, L):
        v = load(x, at + j)[0] - largest
        store(out, to + j, (exp(where_less(v, FLOOR, FLOOR, v)),))
    clear(out, to + K, W - K)


@kernel("wide_transitions")
def wide_transitions(thread, n_threads, K, W, A, first, last, wide, transposed, edges):
    """A, its transpose (K, W) and, in edges (2, W), first and last; the last of a row over and over beyond
    K."""
    lo, hi = own_range(thread, n_threads, K)
    for i in range(lo, hi):
        widen(K, W, A, i * K, wide, i * W)
        own = part(transposed, i * W, W)
        for j in range(W):
            own[j] = np.float64(A[min(j, K - 1) * K + i])
    if thread == 0:
        widen(K, W, first, 0, edges, 0)
        widen(K, W, last, 0, edges, W)


@kernel("transition_exponentials")
def transition_exponentials(thread, n_threads, K, W, wide, transposed, edges, E, ET, ends, shifts):
    """E, ET (K, W), ends (2, W): exp of all three, less their maxima, which are the first three of shifts;
    then comes what the smallest of A would have been raised to, or zero where it was not."""
    top, low = extremes(wide, 0, K * W)
    first, last = extremes(edges, 0, W)[0], extremes(edges, W, W)[0]
    lo, hi = own_range(thread, n_threads, K)
    for i in range(lo, hi):
        exponentials(K, W, wide, i * W, top, E, i * W)
        exponentials(K, W, transposed, i * W, top, ET, i * W)
    if thread == 0:
        exponentials(K, W, edges, 0, first, ends, 0)
        exponentials(K, W, edges, W, last, ends, W)
        shifts[0], shifts[1], shifts[2] = top, first, last
        shifts[3] = 0.0 if low - top >= FLOOR else LOW


@kernel("step_exponentials")
def step_exponentials(thread, n_threads, sizes, some, known, labels, K, W, s, s_row, e, tops):
    """e (R, W), and tops (R,), the maxima, of s (R, s_row); with `known`, labels other than those of `labels`
    (R,) are ruled out, where these are not -1."""
    if some[0] == 0:
        return
    lo, hi = own_range(thread, n_threads, sizes[SIZE_R])
    for r in range(lo, hi):
        widen(K, W, s, r * s_row, e, r * W)
        tops[r] = extremes(e, r * W, W)[0]
        exponentials(K, W, e, r * W, tops[r], e, r * W)
        if known and labels[r] >= 0:
            own = e[r * W + labels[r]]
            clear(e, r * W, K)
            e[r * W + labels[r]] = own


@kernel("take_marginals")
def take_marginals(thread, n_threads, sizes, some, known, K, W, p, d, d_row):
    """d (R, d_row) = p (R, W); of what is `known`, added to it."""
    if some[0] == 0:
        return
    lo, hi = own_range(thread, n_threads, sizes[SIZE_R])
    for r in range(lo, hi):
        x, y = part(p, r * W, K), part(d, r * d_row, K)
        if known:
            for j in range(K):
                y[j] += x[j]
        else:
            for j in range(K):
                y[j] = x[j]
            clear(d, r * d_row + K, d_row - K)


# --- along the sequences ----------------------------------------------------------------------------
@cache
def lattice_kernels(vectors: int) -> SimpleNamespace:
    """Products are made in panels of so many vectors, C columns. Where ``some[0]`` is 0, nothing is to be
    done."""
    C, multiply, across = vectors * L, make_multiply(vectors), make_multiply(vectors, "beside")

    @kernel("lattice_forward", vectors)
    def forward(thread, n_threads, sizes, counts, row_at, lengths, some, K, W, E, ends, e, alpha, inverse,
                norm, last):  # fmt: skip
        """alpha (R, W), inverse (R,) = 1 / c, norm (B,), last (B,) = 1 / z."""
        if some[0] == 0:
            return
        lo, hi = own_sequences(thread, n_threads, sizes, lengths)
        for i in range(lo, hi):
            norm[i], last[i] = 0.0, 1.0
        for t in range(lengths[lo] if lo < hi else 0):
            n, top = min(hi, counts[t]) - lo, row_at[t] + lo
            if t == 0:
                for i in range(n):
                    copy(W, ends, 0, alpha, (top + i) * W)
            else:
                clear(alpha, top * W, n * W)
                for p in range(0, W, C):
                    multiply(
                        n, alpha, (row_at[t - 1] + lo) * W, W, 1, 0, E, p, W, alpha, top * W + p, W, K, 1
                    )
            for i in range(n):
                r, sequence = top + i, lo + i
                total = load(alpha, r * W)[0] * load(e, r * W)[0]
                store(alpha, r * W, (total,))
                for k in range(r * W + L, (r + 1) * W, L):
                    a = load(alpha, k)[0] * load(e, k)[0]
                    store(alpha, k, (a,))
                    total = total + a
                c = sum_across(total)
                inverse[r] = 1.0 / c
                for k in range(r * W, (r + 1) * W, L):
                    store(alpha, k, (load(alpha, k)[0] * inverse[r],))
                last[sequence] *= c  # until the end, the product that waits for its logarithm
                if not (LEAST < last[sequence] < MOST):
                    norm[sequence] += log(last[sequence])
                    last[sequence] = 1.0
        for i in range(lo, hi):
            at = (row_at[lengths[i] - 1] + i) * W
            total = load(alpha, at)[0] * load(ends, W)[0]
            for j in range(L, W, L):
                total = total + load(alpha, at + j)[0] * load(ends, W + j)[0]
            z = sum_across(total)
            norm[i] += log(last[i] * z)
            last[i] = 1.0 / z

    @kernel("lattice_backward", vectors)
    def backward(thread, n_threads, sizes, counts, row_at, lengths, some, K, W, ET, ends, shifts, e, alpha,
                 inverse, last, sign, shares, beta, p, doubt):  # fmt: skip
        """p (R, W), marginals, beta (B, W) on the way; e becomes g; doubt (B,). All is weighed by
        ``sign * shares[i]``."""
        if some[0] == 0:
            return
        lo, hi = own_sequences(thread, n_threads, sizes, lengths)
        begun = 0
        for t in range(lengths[lo] - 1 if lo < hi else -1, -1, -1):
            n, top = min(hi, counts[t]) - lo, row_at[t] + lo
            for i in range(lo + begun, lo + n):  # those that end here
                weight, doubt[i] = sign * shares[i] * last[i], 0.0
                for j in range(0, W, L):
                    store(beta, i * W + j, (load(ends, W + j)[0] * weight,))
            for i in range(n):
                r, own = (top + i) * W, (lo + i) * W
                raised = load(beta, own)[0] * 0.0
                for j in range(0, W, L):
                    (x,), (b,) = load(e, r + j), load(beta, own + j)
                    g, marginal = x * b * inverse[top + i], load(alpha, r + j)[0] * b
                    store(e, r + j, (g,))
                    store(p, r + j, (marginal,))
                    raised = raised + where_less(x, LOW, marginal, 0.0)
                    if t > 0:
                        raised = raised + g * shifts[3]
                    else:
                        raised = raised + where_less(load(ends, j)[0], LOW, marginal, 0.0)
                    if begun <= i:
                        raised = raised + where_less(load(ends, W + j)[0], LOW, marginal, 0.0)
                doubt[lo + i] += sum_across(raised)
            begun = n
            if t > 0:
                clear(beta, lo * W, n * W)
                for q in range(0, W, C):
                    multiply(n, e, top * W, W, 1, 0, ET, q, W, beta, lo * W + q, W, K, 1)

    @kernel("neighbours", vectors)
    def neighbours(thread, n_threads, sizes, counts, row_at, some, known, K, W, alpha, g, sums):
        """sums (K, W) = alpha_{t-1}^T g_t over all steps but the first; of what is `known`, added to them.
        Threads own rows and walk the steps in order."""
        if some[0] == 0:
            return
        T, R = sizes[SIZE_T], sizes[SIZE_R]
        lo, hi = own_range(thread, n_threads, K)
        if not known:
            clear(sums, lo * W, (hi - lo) * W)
        t = 1
        while t < T:  # a stretch of steps that find their past at the same distance
            past, r = counts[t - 1], row_at[t]
            while t < T and counts[t - 1] == past:
                t += 1
            end = row_at[t] if t < T else R
            while r < end:
                depth = min(ROW_BLOCK, end - r)
                for p in range(0, W, C):
                    across(hi - lo, alpha, (r - past) * W + lo, 1, W, 0, g, r * W + p, W, sums, lo * W + p, W,
                           depth, 1)  # fmt: skip
                r += depth

    return SimpleNamespace(forward=forward, backward=backward, neighbours=neighbours)
