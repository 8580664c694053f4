"""Connectionist temporal classification: losses of label sequences over all paths through the steps that say
them, and their gradients (Graves et al. 2006; rescaled as there).

A sequence has T steps and S labels l_0 ... l_{S-1}. A path passes blanks b_0 ... b_S, b_i before l_i, and all
labels between: Graves's l' of 2 S + 1, kept in two rows, so that blanks and labels are vectors. p_t are the
probabilities of a step, softmax(s_t), and with x, the tilt, which is 1 at first,

    b_i <- b_i, l_{i-1}                  l_i <- l_i, x b_i, and x l_{i-1} where it is another label
    a_t(j) = p_t(j) * (sum of a_{t-1} of those before j) / c_t, c_t so that the sum over all j is 1
    beta_{t-1}(j) = sum of p_t(k) beta_t(k) / c_t over those after j;   beta_{T-1} = 1 / z at the last two
    loss = S log x - (sum of log c_t + log z), z = a_{T-1}(b_S) + a_{T-1}(l_{S-1})
    gradient of s_t(k): p_t(k) - sum of a_t(j) beta_t(j) over those that say k

Rows are of W elements, float64. Blanks and labels that no path has reached yet, or from which the end is out
of reach, are zero. No other a_t is less than FLOOR, and no exponential than that of `lattice`: what was below
has been made larger, so that the share of paths which use any of it, which is not more than the `doubt`, is
too large, and still bounds by how much loss and gradient are wrong.

In long sequences most paths, whether they come to the end or not, may run far ahead of those that do, or stay
behind. Where that leaves more than DOUBT, the beginning of every label is made to count x times as much, what
all paths have in common that come to the end, and what keeps the others beside them: see `balance`. What is
in doubt then, as where a network says with certainty what is not so, goes through `log_paths`.
"""

from __future__ import annotations

from functools import cache
from math import inf, log

import numpy as np

from ...batches import SIZE_B
from ...recording import Recording, Rows, Weighed
from .across import sum_across
from .jit import inlined, kernel
from .lattice import DOUBT, FLOAT64, LEAST, LOW, MOST, L, exponentials, extremes, load, store, widen
from .log_paths import log_paths
from .objective import weighed
from .simd import clear, part, where_greater, where_less
from .threads import own_sequences

FLOOR = 1e-170  # which, times the least exponential of `lattice`, does not underflow
RAISED = 1.001 * FLOOR  # what is not above counts as raised
LEAST_C = 1e-260  # below it, a step leaves nothing to go on with


# --- what lies where --------------------------------------------------------------------------------
def padded(n: int) -> int:
    """Whole vectors."""
    return -(-n // L) * L


def room_of(T: int, S: int, K: int) -> int:
    """Elements that a thread works on, for up to T steps and S labels of K; enough for `log_paths`, too."""
    W = padded(S + 1)
    return padded(K) + 8 * W + 4 * L + T * (2 + 3 * W + L)


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
    """The tilt at which most paths begin so many labels a step on their own, where blanks and labels are as
    probable at each step.

    Of paths over an endless sequence, the matrix [[b, b], [l x, l + l x]] leads from step to step, from and
    to a blank and a label. Its eigenvalue grows by d log(eigenvalue) / d log x = l x / sqrt((b + l + l x)^2 -
    4 b l), which are the labels that they begin a step: this is the x > 0 where that is the rate r, of
    (1 - r^2) (l x)^2 - 2 (b + l) r^2 (l x) - r^2 (b - l)^2 = 0.
    """
    a, square = blank + label, rate * rate
    root = square * (a * a * square + (1 - square) * (blank - label) ** 2)
    return (a * square + root**0.5) / ((1 - square) * label)


# --- one step ---------------------------------------------------------------------------------------
@inlined
def softmax(K, s, at, x, width):
    """x[:width] = softmax(s[at:][:K]), zero beyond K; its exponentials are not below e^LOWEST."""
    widen(K, width, s, at, x, 0)
    exponentials(K, width, x, 0, extremes(x, 0, width)[0], x, 0)
    total = load(x, 0)[0]
    for k in range(L, width, L):
        total = total + load(x, k)[0]
    scale = 1.0 / sum_across(total)
    for k in range(0, width, L):
        store(x, k, (load(x, k)[0] * scale,))


@inlined
def forward_step(t, W, tilt, skip, p_b, p_l, a_b, a_l):
    """a_t from a_{t-1}, not yet divided by c_t."""
    to_b, to_l = t * W, t * (L + W) + L
    clear(a_l, to_l - L, L)
    if t == 0:
        clear(a_b, 0, W)
        clear(a_l, L, W)
        a_b[0], a_l[L] = p_b[0], tilt * p_l[0]
    else:
        before_b, before_l = to_b - W, to_l - (L + W)
        for j in range(0, W, L):
            (b,), (k,) = load(a_b, before_b + j), load(a_l, before_l + j)
            (label_before,) = load(a_l, before_l + j - 1)
            store(a_b, to_b + j, ((b + label_before) * p_b[t],))
            begun = b + load(skip, j)[0] * label_before
            store(a_l, to_l + j, ((k + tilt * begun) * load(p_l, t * W + j)[0],))


@inlined
def scale_step(t, W, floor_b, floor_l, a_b, a_l):
    """Divide a_t by c_t, its sum, which is returned, and raise it to the floor; not where that cannot be."""
    to_b, to_l = t * W, t * (L + W) + L
    total = load(a_b, to_b)[0] + load(a_l, to_l)[0]
    for j in range(L, W, L):
        total = total + load(a_b, to_b + j)[0] + load(a_l, to_l + j)[0]
    c = sum_across(total)
    if LEAST_C < c < inf:
        inverse = 1.0 / c
        for j in range(0, W, L):
            b, k = load(a_b, to_b + j)[0] * inverse, load(a_l, to_l + j)[0] * inverse
            (low_b,), (low_k,) = load(floor_b, j), load(floor_l, j)
            store(a_b, to_b + j, (where_less(b, low_b, low_b, b),))
            store(a_l, to_l + j, (where_less(k, low_k, low_k, k),))
    return c


@inlined
def posterior_step(t, W, p_b, p_l, c, a_b, a_l, beta_b, beta_l, g_b, g_l, doubted):
    """beta_l becomes a_t beta_t of labels, and g is p_t beta_t / c_t; the sum of a_t beta_t of blanks, and
    what is in doubt, added to `doubted`."""
    blanks, inverse, raised_b = doubted * 0.0, 1.0 / c[t], 1.0 if p_b[t] <= LOW else 0.0
    for j in range(0, W, L):
        (b,), (k,) = load(a_b, t * W + j), load(a_l, t * (L + W) + L + j)
        (u,), (v,), (p,) = load(beta_b, j), load(beta_l, j), load(p_l, t * W + j)
        # nothing comes from where nothing has been
        u, v = where_greater(b, 0.0, u, 0.0), where_greater(k, 0.0, v, 0.0)
        blank, label = b * u, k * v
        blanks = blanks + blank
        doubted = doubted + where_greater(b, RAISED, blank * raised_b, blank)
        doubted = doubted + where_greater(k, RAISED, where_greater(p, LOW, 0.0, label), label)
        store(beta_l, j, (label,))
        store(g_b, j, (u * (p_b[t] * inverse),))
        store(g_l, j, (v * (p * inverse),))
    return sum_across(blanks), doubted


@inlined
def backward_step(W, tilt, skip, g_b, g_l, beta_b, beta_l):
    """beta_{t-1} from g_t."""
    for j in range(0, W, L):
        (u,), (v,), (next_b,), (next_l,) = load(g_b, j), load(g_l, j), load(g_b, j + 1), load(g_l, j + 1)
        store(beta_b, j, (u + tilt * v,))
        store(beta_l, j, (v + next_b + tilt * load(skip, j + 1)[0] * next_l,))


# --- all steps --------------------------------------------------------------------------------------
@inlined
def forward(T, S, W, tilt, skip, reached, left, floor_b, floor_l, p_b, p_l, c, a_b, a_l):
    """The sum of log c_t and log z, and z; 0 where a step leaves nothing to go on with."""
    clear(floor_b, 0, W)
    clear(floor_l, 0, W)
    norm, waiting, open_b, open_l, shut_b, shut_l = 0.0, 1.0, 0, 0, 0, 0
    z, t = 0.0, 0
    while t < T:
        while open_l < S and reached[open_l] <= t:
            floor_l[open_l] = FLOOR
            open_l += 1
        while open_b <= S and (0 if open_b == 0 else reached[open_b - 1] + 1) <= t:
            floor_b[open_b] = FLOOR
            open_b += 1
        forward_step(t, W, tilt, skip, p_b, p_l, a_b, a_l)
        # what cannot come to the end any more
        while shut_l < S and left[shut_l] > T - 1 - t:
            floor_l[shut_l] = 0.0
            shut_l += 1
        while shut_b < S and left[shut_b] + 1 > T - 1 - t:
            floor_b[shut_b] = 0.0
            shut_b += 1
        clear(a_b, t * W, shut_b)
        clear(a_l, t * (L + W) + L, shut_l)
        c[t] = scale_step(t, W, floor_b, floor_l, a_b, a_l)
        if not LEAST_C < c[t] < inf:
            break
        waiting *= c[t]
        if not (LEAST < waiting < MOST):
            norm += log(waiting)
            waiting = 1.0
        t += 1
    if t == T:
        z = a_b[(T - 1) * W + S]
        if S > 0:
            z += a_l[(T - 1) * (L + W) + L + S - 1]
        norm += log(waiting) + log(z)
    return norm, z


@cache
def ctc_kernel(dtype: np.dtype):
    scalar = dtype.type

    @kernel("paths", dtype.name)
    def paths(thread, n_threads, sizes, row_at, lengths, sequence, K, s, s_row, y, y_at, y_lengths, weights,
              total, learns, W_room, room, size, reached_of, left_of, values, doubt, d, d_row):  # fmt: skip
        """values (B,): the losses of the sequences with a weight; doubt (B,). d (R, d_row): the gradient of
        their mean."""
        lo, hi = own_sequences(thread, n_threads, sizes, lengths)
        own, width = part(room, thread * size, size), (K + L - 1) // L * L
        reached, left = part(reached_of, thread * W_room, W_room), part(left_of, thread * W_room, W_room)
        x = part(own, 0, width)
        for n in range(lo, hi):
            T, S, at = lengths[n], y_lengths[sequence[n]], y_at[sequence[n]]
            values[n], doubt[n] = 0.0, 0.0
            if weights[n] == 0:
                for t in range(T if learns else 0):
                    clear(d, (row_at[t] + n) * d_row, d_row)
                continue
            share, labels = weights[n] / total[0], part(y, at, S)
            W = (S + L) // L * L  # of S + 1 blanks
            end = width
            skip, end = part(own, end, W + L), end + W + L
            floor_b, end = part(own, end, W), end + W
            floor_l, end = part(own, end, W), end + W
            beta_b, end = part(own, end, W), end + W
            beta_l, end = part(own, end, W), end + W
            g_b, end = part(own, end, W + L), end + W + L
            g_l, end = part(own, end, W + L), end + W + L
            c, end = part(own, end, T), end + T
            p_b, end = part(own, end, T), end + T
            p_l, end = part(own, end, T * W), end + T * W
            a_b, end = part(own, end, T * W), end + T * W
            a_l = part(own, end, T * (L + W))  # each step behind zeros, before the first label
            clear(skip, 0, W + L)
            needs(labels, S, skip, reached, left)
            tilt = 1.0
            for _attempt in range(2):
                blanks, of_labels = 0.0, 0.0
                for t in range(T):
                    r = row_at[t] + n
                    softmax(K, s, r * s_row, x, width)
                    p_b[t], p = x[0], part(p_l, t * W, W)
                    blanks += x[0]
                    for i in range(S):
                        p[i] = x[labels[i]]
                        of_labels += p[i]
                    clear(p, S, W - S)
                    if learns:
                        out = part(d, r * d_row, K)
                        for k in range(K):
                            out[k] = scalar(share * x[k])
                        clear(d, r * d_row + K, d_row - K)
                norm, z = forward(T, S, W, tilt, skip, reached, left, floor_b, floor_l, p_b, p_l, c, a_b, a_l)
                doubt[n] = inf
                if z > 0:
                    values[n] = S * log(tilt) - norm
                    clear(beta_b, 0, W)
                    clear(beta_l, 0, W)
                    clear(g_b, 0, W + L)
                    clear(g_l, 0, W + L)
                    beta_b[S] = 1.0 / z
                    if S > 0:
                        beta_l[S - 1] = 1.0 / z
                    doubted = load(g_b, 0)[0]
                    for t in range(T - 1, -1, -1):
                        said, doubted = posterior_step(
                            t, W, p_b, p_l, c, a_b, a_l, beta_b, beta_l, g_b, g_l, doubted
                        )
                        if learns:
                            out = part(d, (row_at[t] + n) * d_row, K)
                            out[0] -= scalar(share * said)
                            for i in range(S):
                                out[labels[i]] -= scalar(share * beta_l[i])
                        backward_step(W, tilt, skip, g_b, g_l, beta_b, beta_l)
                    doubt[n] = sum_across(doubted)
                if doubt[n] <= DOUBT or S == 0 or of_labels == 0.0:
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
