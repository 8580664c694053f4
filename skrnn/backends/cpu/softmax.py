"""A softmax over many tokens, in chunks of rows: all scores of a minibatch are never there at once.

Row m's scores are s = W x_m + b; its loss is log(sum_v exp(s_v)) - s_y, and the gradient of that by s is
softmax(s) - onehot(y); smoothing takes a share of onehot(y) and gives each token as much of it. A chunk's
scores become their gradients where they are, and go on into those of x and W before the next chunk takes
their place.
"""

from __future__ import annotations

from functools import cache
from math import log
from types import SimpleNamespace

import numpy as np

from ...batches import SIZE_B, SIZE_R
from ...recording import Recording, Rows, Weighed
from .dense import Dense
from .elementary import exponential
from .gemm import make_column_sums, make_multiply, widest
from .jit import kernel
from .objective import weighed
from .simd import clear, copy, lanes, make_load, make_store, part, where_greater
from .sums import SPAN, beside, sum_kernels
from .threads import own_range
from .weight_gradients import ROW_BLOCK

CHUNK = 2**22  # scores that are there at a time
LEAST_ROWS = 128  # of a chunk: each costs a look at all weights
# How well panels of so many vectors keep the multipliers busy.
BUSY = {4: 1.0, 2: 0.85}


def panel_vectors(n_out: int, L: int) -> int:
    """Width of the panels that cost least, the one that is not full included."""
    return min(BUSY, key=lambda vectors: -(-n_out // (vectors * L)) * vectors / BUSY[vectors])


@cache
def softmax_kernel(dtype: np.dtype):
    L, scalar, exp, lowest = lanes(dtype), dtype.type, exponential(dtype), np.finfo(dtype).min
    load1, store1 = make_load(1), make_store(1)

    @kernel("exponentials", dtype.name)
    def exponentials(G, at, V, width, some, k):
        """G[at:][:V] - the largest becomes exp of it: the largest, and the sum in float64. some: room for a
        vector at k."""
        for j in range(V, width):
            G[at + j] = lowest
        most = load1(G, at)[0]
        for j in range(L, width, L):
            x = load1(G, at + j)[0]
            most = where_greater(x, most, x, most)
        store1(some, k, (most,))
        largest = some[k]
        for j in range(1, L):
            largest = max(largest, some[k + j])
        total = 0.0
        for first in range(0, width, 64 * L):
            sums = exp(load1(G, at + first)[0] - largest)
            store1(G, at + first, (sums,))
            for j in range(first + L, min(first + 64 * L, width), L):
                e = exp(load1(G, at + j)[0] - largest)
                store1(G, at + j, (e,))
                sums = sums + e
            store1(some, k, (sums,))
            for j in range(L):
                total += np.float64(some[k + j])
        return largest, total

    @kernel("mean_of_scores", dtype.name)
    def mean_of(G, at, V):
        """Of G[at:][:V]."""
        total = 0.0
        for j in range(V):
            total += np.float64(G[at + j])
        return total / V

    @kernel("softmax_rows", dtype.name)
    def softmax_rows(thread, n_threads, sizes, sequence, row, per, first, n_rows, V, width, y, y_at, weights,
                     total_weight, smoothing, G, some, values, learns):  # fmt: skip
        """values (M,): the losses of `n_rows` rows from `first` on, whose scores are G (n_rows, width). If it
        learns, G becomes the gradient of the mean loss."""
        lo, hi = own_range(thread, n_threads, max(0, min(n_rows, sizes[per] - first)))
        for m in range(lo, hi):
            at = row[first + m] if per == SIZE_R else sequence[first + m]
            values[first + m] = 0.0
            if weights[first + m] > 0:
                own = m * width + np.intp(y[y_at[at] if len(y_at) > 0 else at])
                score = np.float64(G[own])
                if smoothing > 0:
                    score += smoothing * (mean_of(G, m * width, V) - score)
                largest, total = exponentials(G, m * width, V, width, some, thread * L)
                values[first + m] = log(total) + (np.float64(largest) - score)
                if learns:
                    share = weights[first + m] / total_weight[0]
                    scale, e = scalar(share / total), part(G, m * width, V)
                    even = scalar(share * smoothing / V)
                    for j in range(V):
                        e[j] = e[j] * scale - even
                    clear(G, m * width + V, width - V)
                    G[own] -= scalar(share * (1 - smoothing))
            elif learns:
                clear(G, m * width, width)

    return softmax_rows


@cache
def input_kernel(dtype: np.dtype, wide: int):
    """For inputs in panels of `wide` vectors."""
    columns, multiply = wide * lanes(dtype), make_multiply(wide)
    set_aside, take_back = sum_kernels(dtype).set_aside, sum_kernels(dtype).take_back
    span = SPAN if dtype == np.float32 else 2**62

    @kernel("softmax_input_gradient", dtype.name, wide)
    def input_gradient(thread, n_threads, sizes, per, first, n_rows, n_in, P, C, G, W, Q, WT, dX,
                       wide_dX):  # fmt: skip
        """dX (M, Q columns) = G (n_rows, P C) W^T, of `n_rows` rows from `first` on; W (P, n_in, C). WT: room
        for a transposed panel for each thread; wide_dX: like dX, where there are more than SPAN tokens."""
        lo, hi = own_range(thread, n_threads, max(0, min(n_rows, sizes[per] - first)))
        n, width, row, panel = hi - lo, P * C, Q * columns, thread * Q * C * columns
        if n == 0:
            return
        start = (first + lo) * row
        clear(dX, start, n * row)
        clear(WT, panel, Q * C * columns)
        for p in range(P):
            for q in range(Q):
                target = panel + q * C * columns
                for i in range(min(columns, n_in - q * columns)):
                    source = (p * n_in + q * columns + i) * C
                    for j in range(C):
                        WT[target + j * columns + i] = W[source + j]
                multiply(n, G, lo * width + p * C, width, 1, 0, WT, target, columns, dX, start + q * columns,
                         row, C, 1)  # fmt: skip
            if (p + 1) * C % span == 0 and p + 1 < P:
                set_aside(dX, start, n * row, wide_dX, lo * row, (p + 1) * C == span)
        if span < width:
            take_back(dX, start, n * row, wide_dX, lo * row)

    return input_gradient


@cache
def token_kernels(dtype: np.dtype, vectors: int) -> SimpleNamespace:
    """Tokens are handled in P panels of C columns, so many vectors."""
    C, multiply, column_sums = vectors * lanes(dtype), make_multiply(vectors), make_column_sums(vectors)
    across = make_multiply(vectors, "beside")

    @kernel("softmax_scores", dtype.name, vectors)
    def scores(thread, n_threads, sizes, per, first, n_rows, n_in, P, X, x_row, x_past, W, b, G):
        """G (n_rows, P C) = X W + b, of `n_rows` rows from `first` on."""
        lo, hi = own_range(thread, n_threads, max(0, min(n_rows, sizes[per] - first)))
        width, top = P * C, (sizes[SIZE_B] if x_past else 0) + first + lo
        for m in range(lo, hi):
            copy(width, b, 0, G, m * width)
        for p in range(P):
            multiply(hi - lo, X, top * x_row, x_row, 1, 0, W, p * n_in * C, C, G, lo * width + p * C, width,
                     n_in, 1)  # fmt: skip

    @kernel("softmax_weight_gradients", dtype.name, vectors)
    def weight_gradients(thread, n_threads, sizes, per, first, n_rows, n_in, P, X, x_row, x_past, G, sums, dW,
                         db):  # fmt: skip
        """dW (P, n_in, C) += X^T G, db (P C) += sums of G, of `n_rows` rows from `first` on; the first of
        them begin. sums: room for a panel for each thread, so that what is added is a chunk's."""
        M, skip, width, size = sizes[per], sizes[SIZE_B] if x_past else 0, P * C, n_in * C
        if first >= M:
            return
        lo, hi = own_range(thread, n_threads, P)
        own, n = thread * (size + C), min(n_rows, M - first)
        for p in range(lo, hi):
            clear(sums, own, size + C)
            for r in range(0, n, ROW_BLOCK):
                depth, g = min(ROW_BLOCK, n - r), r * width + p * C
                across(n_in, X, (skip + first + r) * x_row, 1, x_row, 0, G, g, width, sums, own, C, depth, 1)
                column_sums(depth, G, g, width, sums, own + size)
            if first == 0:
                copy(size, sums, own, dW, p * size)
                copy(C, sums, own + size, db, p * C)
            else:
                x, y = part(sums, own, size), part(dW, p * size, size)
                for j in range(size):
                    y[j] += x[j]
                x, y = part(sums, own + size, C), part(db, p * C, C)
                for j in range(C):
                    y[j] += x[j]

    return SimpleNamespace(scores=scores, weight_gradients=weight_gradients)


class Softmax(Dense):
    """A linear map to the scores of many tokens, and the loss of the right ones."""

    def __init__(self, n_in: int, n_out: int, dtype: np.dtype) -> None:
        vectors = panel_vectors(n_out, lanes(dtype))
        super().__init__(n_in, n_out, dtype, vectors)
        self.token_kernels = token_kernels(dtype, vectors)

    def objective(
        self, rec: Recording, X: Rows, name: str, y, w, *, learns: bool, smoothing: float = 0.0
    ) -> tuple[Weighed, Rows | None]:
        """Record -log p of each row's token; if it learns, the gradients of the parameters and of X, too."""
        tape, steps, C, n_in, P = rec.tape, rec.steps, self.columns, self.n_in, self.panels
        M, views = rec.room(X.per), rec.weights(name)
        # not more than SPAN: a chunk's sums are made in the network's own type
        kernels, n_rows = self.token_kernels, min(M, SPAN, max(LEAST_ROWS, CHUNK // self.width))
        losses, dX = weighed(rec, X.per, w), None
        G = rec.buffer(name, "scores", size=n_rows * self.width)
        some = rec.buffer(name, "some", size=tape.n_threads * self.lanes)
        targets = y.values.reshape(-1), np.zeros(0, np.intp) if y.at is None else y.at
        vectors = -(-n_in // self.lanes)
        wide, row = widest(vectors), vectors * self.lanes
        if learns:
            into, dX = rec.gradients(name), rec.new_rows(name, "dX", row=row, per=X.per)
            WT = rec.buffer(name, "panels", size=tape.n_threads * C * row)
            sums = rec.buffer(name, "sums", size=tape.n_threads * (n_in + 1) * C)
            wide_dX = beside(self.width, n_rows * row, rec.work, name, "wide dX")
        for first in range(0, M, n_rows):
            chunk = steps.sizes, X.per, first, n_rows, n_in, P
            tape.share(kernels.scores, *chunk, X.array, X.row, X.past, views["weight"], views["bias"], G)
            tape.share(
                softmax_kernel(self.dtype), steps.sizes, steps.sequence, steps.row, X.per, first, n_rows,
                self.n_out, self.width, *targets, losses.weights, losses.total, smoothing, G, some,
                losses.values.array, learns,
            )  # fmt: skip
            if learns:
                tape.share(
                    input_kernel(self.dtype, wide), *chunk, C, G, views["weight"], vectors // wide, WT,
                    dX.array, wide_dX,
                )  # fmt: skip
                tape.share(
                    kernels.weight_gradients, *chunk, X.array, X.row, X.past, G, sums, into["weight"],
                    into["bias"],
                )  # fmt: skip
        return losses, dX
