"""A softmax over many tokens, in chunks of rows: all scores of a minibatch are never there at once.

Row m's scores are s = W x_m + b; its loss is log(sum_v exp(s_v)) - s_y, and the gradient of that by s is
softmax(s) - onehot(y); smoothing takes a share of onehot(y) and gives each token as much of it. A chunk's
scores become their gradients where they are, and go on into those of x and W before the next chunk takes
their place.
"""

from __future__ import annotations

import math

import numpy as np
from numba import cuda

from ...batches import SIZE_R
from ...recording import Recording, Rows, Weighed
from .dense import Dense, fill_rows
from .device import Matrix
from .jit import THREADS, barrier, kernel
from .objective import FLOAT64, weighed
from .rows import clear_tail
from .sums import tree_sum

CHUNK = 2**26  # scores that are there at a time
LEAST_ROWS = 1


@kernel("softmax_rows")
def softmax_rows(sizes, sequence, row, per, first, n_rows, V, y, y_at, has_y_at, weights, total, smoothing, G,
                 values, learns):  # fmt: skip
    """values: the loss of each of `n_rows` rows from `first` on, whose scores are G (n_rows, V); if it
    learns, G becomes the gradient of the mean. A block for each row, whose threads add in a tree."""
    sums, thread = cuda.shared.array(THREADS, FLOAT64), cuda.threadIdx.x
    for m in range(cuda.blockIdx.x, n_rows, cuda.gridDim.x):
        at, weight = m * V, 0.0
        if first + m < sizes[per]:
            weight = weights[first + m]
        if weight > 0:
            largest = -math.inf
            for v in range(V):
                largest = max(largest, np.float64(G[at + v]))
            mean = 0.0
            if smoothing > 0:
                sums[thread] = 0.0
                for v in range(thread, V, THREADS):
                    sums[thread] += np.float64(G[at + v])
                tree_sum(sums, thread)
                barrier()
                mean = sums[0] / V
                barrier()
            sums[thread] = 0.0
            for v in range(thread, V, THREADS):
                sums[thread] += math.exp(np.float64(G[at + v]) - largest)
            tree_sum(sums, thread)
            barrier()
            place = row[first + m] if per == SIZE_R else sequence[first + m]
            token = y[y_at[place] if has_y_at else place]
            if thread == 0:
                score = np.float64(G[at + token])
                values[first + m] = math.log(sums[0]) + (largest - (score + smoothing * (mean - score)))
            barrier()
            if learns:
                share = weight / total[0]
                for v in range(thread, V, THREADS):
                    p = math.exp(np.float64(G[at + v]) - largest) / sums[0]
                    G[at + v] = (p - smoothing / V - (1.0 - smoothing if v == token else 0.0)) * share
            barrier()  # before the next row's sums
        else:  # of rows that count nothing, or that the minibatch lacks
            if thread == 0 and first + m < sizes[per]:
                values[first + m] = 0.0
            for v in range(thread, V, THREADS):
                G[at + v] = 0


class Softmax(Dense):
    """A linear map to the scores of many tokens, and the loss of the right ones."""

    def objective(
        self, rec: Recording, X: Rows, name: str, y, w, *, learns: bool, smoothing: float = 0.0
    ) -> tuple[Weighed, Rows | None]:
        """Record -log p of each row's token; if it learns, the gradients of the parameters and of X, too."""
        tape, s, M, V, n_in = rec.tape, rec.tape.steps(rec.steps), rec.room(X.per), self.n_out, self.n_in
        resident, views, W = rec.work.resident, rec.weights(name), self._weight(rec.weights(name))
        n_rows = min(M, max(LEAST_ROWS, CHUNK // V))
        losses, dX = weighed(rec, X.per, w), None
        G = rec.buffer(name, "scores", size=n_rows * V)
        if learns:
            dX, into = rec.new_rows(name, "dX", row=n_in, per=X.per), rec.gradients(name)
            tape.each(clear_tail, M * X.row, s.sizes, X.per, M, X.row, X.array)  # is to count nothing
        for first in range(0, M, n_rows):
            n = min(n_rows, M - first)
            scores, x = Matrix(G, n, V, V), Matrix(X.array, n, n_in, X.row, first * X.row)
            tape.each(fill_rows, n * V, n, V, views["bias"], G)
            tape.multiply(x, W, scores, add=True)
            tape.launch(
                softmax_rows, min(n, 65_535), (THREADS,), s.sizes, s.sequence, s.row, X.per, first, n, V,
                resident(y.values), s.row if y.at is None else resident(y.at), y.at is not None,
                losses.weights, losses.total, smoothing, G, losses.values.array, learns,
            )  # fmt: skip
            if learns:
                add = first > 0
                tape.multiply(scores, W, Matrix(dX.array, n, n_in, n_in, first * n_in), tb=True)
                tape.multiply(x, scores, self._weight(into), ta=True, add=add)
                ones = Matrix(rec.work.ones(n), 1, n, n)
                tape.multiply(ones, scores, Matrix(into["bias"], 1, V, V), add=add)
        return losses, dX
