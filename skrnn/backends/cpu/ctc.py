"""Connectionist temporal classification: losses of label sequences over all paths through the steps that say
them, and their gradients (Graves et al. 2006; rescaled as there).

A sequence has T steps and S labels l_0 ... l_{S-1}. A path passes blanks b_0 ... b_S, b_i before l_i, and all
labels between. What it has come to at a step is a blank or a label; p_t are the probabilities of the step:

    b_i  <- b_i, l_{i-1}                  l_i <- l_i, b_i, and l_{i-1} where it is another label
    a_t(j) = p_t(j) * (sum of a_{t-1} of those before j) / c_t, c_t so that the sum over all j is 1
    beta_{t-1}(j) = sum of p_t(k) beta_t(k) / c_t over those after j;   beta_{T-1} = 1 / z at the last two
    loss = -(sum of log c_t + log z), z = a_{T-1}(b_S) + a_{T-1}(l_{S-1})
    gradient of s_t(k): p_t(k) - sum of a_t(j) beta_t(j) over those that say k

Blanks and labels lie in rows of their own, W elements, float64. Those that no path has reached yet, or from
which the end is out of reach, are zero. No other a_t is less than FLOOR, and no exponential than e^LOWEST:
what was below has been made larger, so that the share of paths which use any of it, which is not more than
the `doubt`, is too large, and still bounds by how much loss and gradient are wrong.

In long sequences most paths, whether they come to the end or not, may run far ahead of those that do, or stay
behind. Where that leaves more than DOUBT, every beginning of a label is made to count x times as much, which
all paths have in common that come to the end, and which keeps the others beside them: see `balance`. What is
in doubt then, as where a network says with certainty what is not so, goes through `log_paths`.
"""

from __future__ import annotations

from functools import cache
from math import exp as exp_of_number
from math import inf, log

import numpy as np

from ...batches import SIZE_B
from ...recording import Recording, Rows, Weighed
from .across import largest_across, sum_across
from .elementary import exponential
from .jit import inlined, kernel
from .log_paths import log_paths
from .objective import weighed
from .simd import clear, lanes, make_load, make_store, part, where_greater, where_less
from .threads import own_sequences

FLOAT64 = np.dtype(np.float64)
L, exp, load, store = lanes(FLOAT64), exponential(FLOAT64), make_load(1), make_store(1)
LOWEST, FLOOR, DOUBT = -300.0, 1e-170, 1e-18  # e^LOWEST times FLOOR does not underflow
RAISED = 1.001 * exp_of_number(LOWEST)  # probabilities up to here count as raised
LEAST_C = 1e-260  # below it, a step leaves nothing to go on with
# Between these the product of some c_t waits for its logarithm.
LEAST, MOST = 1e-40, 1e40


# --- what lies where --------------------------------------------------------------------------------
def padded(n: int) -> int:
    """Whole vectors."""
    return -(-n // L) * L


def room_of(T: int, S: int, K: int) -> int:
    """Elements that a thread works on, for up to T steps and S labels of K."""
    return T * (3 * padded(S + 1) + L + 2) + 8 * (padded(S + 1) + L) + padded(K)


@inlined
def probabilities(K, s, at, x, width):
    """x[:width] = softmax(s[at:][:K]), zero beyond K; those of the largest are not below e^LOWEST."""
    own = part(s, at, K)
    for k in range(K):
        x[k] = np.float64(own[k])
    for k in range(K, width):
        x[k] = x[K - 1]
    (most,) = load(x, 0)
    for k in range(L, width, L):
        (v,) = load(x, k)
        most = where_greater(v, most, v, most)
    largest = largest_across(most)
    for k in range(0, width, L):
        v = load(x, k)[0] - largest
        store(x, k, (exp(where_less(v, LOWEST, LOWEST, v)),))
    clear(x, K, width - K)
    total = load(x, 0)[0]
    for k in range(L, width, L):
        total = total + load(x, k)[0]
    scale = 1.0 / sum_across(total)
    for k in range(0, width, L):
        store(x, k, (load(x, k)[0] * scale,))


@inlined
def needs(y, S, skip, reached, left):
    """Of each label: skip, 1 where it may follow on the label before at once; the first step at which it can
    be reached; how many steps are needed after it."""
    steps = 0
    for i in range(S):
        skip[i] = 1.0 if i > 0 and y[i] != y[i - 1] else 0.0
        steps += 0 if i == 0 else 1 if skip[i] > 0 else 2
        reached[i] = steps
    for i in range(S):
        left[i] = steps - reached[i]


@inlined
def balance(rate, blank, label):
    """By how much the beginning of a label has to count more, for so many labels a step to be those that
    most paths begin on their own, where blanks and labels are as probable at each step.

    Of paths over an endless sequence, the matrix [[b, b], [l x, l + l x]] leads from step to step, from and
    to a blank and a label; the labels that they begin are d log(its eigenvalue) / d log x a step.
    """
    a, square = blank + label, rate * rate
    root = square * (a * a * square + (1 - square) * (blank - label) ** 2)
    return (a * square + root**0.5) / ((1 - square) * label)


@cache
def ctc_kernel(dtype: np.dtype):
    scalar = dtype.type

    @kernel("paths", dtype.name)
    def paths(thread, n_threads, sizes, row_at, lengths, sequence, K, s, s_row, y, y_at, y_lengths, weights,
              total, learns, W_room, room, size, reached, left, values, doubt, d, d_row):  # fmt: skip
        """values (B,): the losses of the sequences with a weight; doubt (B,). d (R, d_row): the gradient of
        their mean."""
        lo, hi = own_sequences(thread, n_threads, sizes, lengths)
        own, width = part(room, thread * size, size), (K + L - 1) // L * L
        x = part(own, 0, width)
        for n in range(lo, hi):
            T, S, at = lengths[n], y_lengths[sequence[n]], y_at[sequence[n]]
            values[n], doubt[n] = 0.0, 0.0
            if weights[n] == 0:
                for t in range(T if learns else 0):
                    clear(d, (row_at[t] + n) * d_row, d_row)
                continue
            share = weights[n] / total[0]
            labels = part(y, at, S)
            W = (S + L) // L * L  # of S + 1 blanks
            A = L + W  # rows of labels, behind zeros, in which the label before the first is found
            end = width
            skip, end = part(own, end, W + L), end + W + L
            floor_b, end = part(own, end, W), end + W
            floor_l, end = part(own, end, W), end + W
            beta_b, end = part(own, end, W), end + W
            beta_l, end = part(own, end, W), end + W
            g_b, end = part(own, end, W + L), end + W + L
            g_l, end = part(own, end, W + L), end + W + L
            inverse, end = part(own, end, T), end + T
            e_b, end = part(own, end, T), end + T
            e_l, end = part(own, end, T * W), end + T * W
            a_b, end = part(own, end, T * W), end + T * W
            a_l = part(own, end, T * A)
            first, after = part(reached, thread * W_room, W_room), part(left, thread * W_room, W_room)
            clear(skip, 0, W + L)
            needs(labels, S, skip, first, after)
            tilt, tries = 1.0, 0
            while True:
                # --- probabilities
                tries += 1
                blanks, of_labels = 0.0, 0.0
                for t in range(T):
                    r = row_at[t] + n
                    probabilities(K, s, r * s_row, x, width)
                    e_b[t] = x[0]
                    e = part(e_l, t * W, W)
                    for i in range(S):
                        e[i] = x[labels[i]]
                        of_labels += e[i]
                    clear(e, S, W - S)
                    blanks += x[0]
                    if learns:
                        out = part(d, r * d_row, K)
                        for k in range(K):
                            out[k] = scalar(share * x[k])
                        clear(d, r * d_row + K, d_row - K)

                # --- forward
                clear(floor_b, 0, W)
                clear(floor_l, 0, W)
                norm, waiting, open_b, open_l, shut_b, shut_l = 0.0, 1.0, 0, 0, 0, 0
                t = 0
                while t < T:
                    e, to_b, to_l = part(e_l, t * W, W), t * W, t * A + L
                    while open_l < S and first[open_l] <= t:
                        floor_l[open_l] = FLOOR
                        open_l += 1
                    while open_b <= S and (0 if open_b == 0 else first[open_b - 1] + 1) <= t:
                        floor_b[open_b] = FLOOR
                        open_b += 1
                    clear(a_l, t * A, L)
                    if t == 0:
                        clear(a_b, 0, W)
                        clear(a_l, L, W)
                        a_b[0] = e_b[0]
                        if S > 0:
                            a_l[L] = tilt * e[0]
                    else:
                        before_b, before_l = to_b - W, to_l - A
                        for j in range(0, W, L):
                            (b,), (k,) = load(a_b, before_b + j), load(a_l, before_l + j)
                            (before,) = load(a_l, before_l + j - 1)
                            store(a_b, to_b + j, ((b + before) * e_b[t],))
                            arrived = b + load(skip, j)[0] * before
                            store(a_l, to_l + j, ((k + tilt * arrived) * load(e, j)[0],))
                    # what cannot come to the end any more
                    while shut_l < S and after[shut_l] > T - 1 - t:
                        floor_l[shut_l] = 0.0
                        shut_l += 1
                    while shut_b < S and after[shut_b] + 1 > T - 1 - t:
                        floor_b[shut_b] = 0.0
                        shut_b += 1
                    clear(a_b, to_b, shut_b)
                    clear(a_l, to_l, shut_l)
                    total_v = load(a_b, to_b)[0] + load(a_l, to_l)[0]
                    for j in range(L, W, L):
                        total_v = total_v + load(a_b, to_b + j)[0] + load(a_l, to_l + j)[0]
                    c = sum_across(total_v)
                    if not LEAST_C < c < inf:
                        break
                    inverse[t] = 1.0 / c
                    for j in range(0, W, L):
                        b, k = load(a_b, to_b + j)[0] * inverse[t], load(a_l, to_l + j)[0] * inverse[t]
                        (low_b,), (low_k,) = load(floor_b, j), load(floor_l, j)
                        store(a_b, to_b + j, (where_less(b, low_b, low_b, b),))
                        store(a_l, to_l + j, (where_less(k, low_k, low_k, k),))
                    waiting *= c
                    if not (LEAST < waiting < MOST):
                        norm += log(waiting)
                        waiting = 1.0
                    t += 1
                doubt[n] = inf
                if t == T:
                    z = a_b[(T - 1) * W + S]
                    if S > 0:
                        z += a_l[(T - 1) * A + L + S - 1]
                    values[n] = S * log(tilt) - (norm + log(waiting) + log(z))

                    # --- backward
                    clear(beta_b, 0, W)
                    clear(beta_l, 0, W)
                    clear(g_b, 0, W + L)
                    clear(g_l, 0, W + L)
                    beta_b[S] = 1.0 / z
                    if S > 0:
                        beta_l[S - 1] = 1.0 / z
                    some = load(beta_b, 0)[0] * 0.0
                    for t in range(T - 1, -1, -1):
                        r, e = row_at[t] + n, part(e_l, t * W, W)
                        said, raised_b = some * 0.0, 1.0 if e_b[t] <= RAISED else 0.0
                        for j in range(0, W, L):
                            (b,), (k,) = load(a_b, t * W + j), load(a_l, t * A + L + j)
                            (u,), (v,), (p,) = load(beta_b, j), load(beta_l, j), load(e, j)
                            # nothing comes from where nothing has been
                            u, v = where_greater(b, 0.0, u, 0.0), where_greater(k, 0.0, v, 0.0)
                            blank, label = b * u, k * v
                            said = said + blank
                            some = some + where_greater(b, 1.001 * FLOOR, blank * raised_b, blank)
                            raised = where_greater(p, RAISED, 0.0, label)
                            some = some + where_greater(k, 1.001 * FLOOR, raised, label)
                            store(beta_l, j, (label,))
                            store(g_b, j, (u * (e_b[t] * inverse[t]),))
                            store(g_l, j, (v * (p * inverse[t]),))
                        if learns:
                            out = part(d, r * d_row, K)
                            out[0] -= scalar(share * sum_across(said))
                            for i in range(S):
                                out[labels[i]] -= scalar(share * beta_l[i])
                        for j in range(0, W, L):
                            (u,), (v,), (after_b,) = load(g_b, j), load(g_l, j), load(g_b, j + 1)
                            (after_l,) = load(g_l, j + 1)
                            store(beta_b, j, (u + tilt * v,))
                            store(beta_l, j, (v + after_b + tilt * load(skip, j + 1)[0] * after_l,))
                    doubt[n] = sum_across(some)
                if doubt[n] <= DOUBT or tries == 2 or S == 0 or of_labels == 0.0:
                    break
                tilt = balance(S / T, blanks / T, of_labels / (S * T))

    return paths


def path_objective(rec: Recording, scores: Rows, K: int, y, w, d: Rows, learns: bool) -> Weighed:
    """Record the losses of all sequences of labels, and d, the gradient of the scores of their mean."""
    tape, steps = rec.tape, rec.steps
    losses, B = weighed(rec, SIZE_B, w), rec.room(SIZE_B)
    T, S = steps.max_steps, int(y.lengths.max(initial=0))
    size, W = room_of(T, S, K), padded(S + 1)
    room = rec.buffer("paths", "room", size=tape.n_threads * size, dtype=FLOAT64)
    reached, left = (
        rec.buffer("paths", name, size=tape.n_threads * W, dtype=np.dtype(np.intp))
        for name in ("reached", "left")
    )
    doubt = rec.buffer("paths", "doubt", size=B, dtype=FLOAT64)
    along = steps.sizes, steps.row_at, steps.lengths, steps.sequence, K, scores.array, scores.row
    labels = y.values.reshape(-1), y.at, y.lengths, losses.weights, losses.total
    tape.share(
        ctc_kernel(rec.work.dtype), *along, *labels, learns, W, room, size, reached, left,
        losses.values.array, doubt, d.array, d.row,
    )  # fmt: skip
    tape.share(
        log_paths(rec.work.dtype), *along, *labels, learns, DOUBT, room, size, losses.values.array, doubt,
        d.array, d.row,
    )  # fmt: skip
    return losses
