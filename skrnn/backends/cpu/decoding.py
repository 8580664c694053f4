"""Writing: tokens are chosen from scores, and states follow the rows that go on."""

from __future__ import annotations

from functools import cache
from math import log
from types import SimpleNamespace
from typing import Any

import numpy as np

from ... import choosing
from ...batches import SIZE_B
from ...recording import TOKENS, Recording, Rows
from .elementary import exponential, keyed
from .jit import kernel
from .simd import copy, lanes, make_load, make_store, where_greater
from .threads import own_range

leave_out, _, sampled, go_on = choosing.functions(keyed("choosing"), kernel)


BLOCK = 8  # vectors of scores, of which the largest is looked at first


@cache
def decoding_kernels(dtype: np.dtype) -> SimpleNamespace:
    """Rows of scores are whole vectors."""
    L, exp, lowest = lanes(dtype), exponential(dtype), np.finfo(dtype).min
    load1, store1, block = make_load(1), make_store(1), BLOCK * lanes(dtype)

    @kernel("largest_of_vector", dtype.name)
    def largest_of(some, at):
        largest = some[at]
        for j in range(1, L):
            largest = max(largest, some[at + j])
        return largest

    @kernel("largest_scores", dtype.name)
    def largest_scores(scores, at, V, row, maxima, m):
        """maxima[m:]: of each block of scores[at:][:V]; behind them there is room for a vector. The largest
        of all."""
        for v in range(V, row):
            scores[at + v] = lowest
        largest, b = -np.inf, m
        for first in range(0, V, block):
            most = load1(scores, at + first)[0]
            for v in range(first + L, min(first + block, row), L):
                x = load1(scores, at + v)[0]
                most = where_greater(x, most, x, most)
            store1(maxima, b, (most,))
            maxima[b] = largest_of(maxima, b)
            largest = max(largest, np.float64(maxima[b]))
            b += 1
        return largest

    @kernel("log_sum_of_scores", dtype.name)
    def log_sum(scores, at, V, row, largest, some, k):
        """The logarithm of the sum of the exponentials of scores[at:][:V]; those behind them are small. some:
        room for a vector at k."""
        top, total = dtype.type(largest), 0.0
        for first in range(0, row, 64 * L):
            sums = exp(load1(scores, at + first)[0] - top)
            for v in range(first + L, min(first + 64 * L, row), L):
                sums = sums + exp(load1(scores, at + v)[0] - top)
            store1(some, k, (sums,))
            for j in range(L):
                total += np.float64(some[k + j])
        return largest + log(total)

    @kernel("best_tokens", dtype.name)
    def best_tokens(thread, n_threads, sizes, scores, row, V, never, never_1, never_2, n, so_far, maxima,
                    n_maxima, values, tokens):  # fmt: skip
        """As `choosing.best_tokens`, row by row, where blocks whose largest score is too small are passed by.
        maxima: room for `n_maxima` for each thread."""
        lo, hi = own_range(thread, n_threads, sizes[SIZE_B])
        m = thread * n_maxima
        for i in range(lo, hi):
            at, first, last = i * row, i * n, i * n + n - 1
            largest = largest_scores(scores, at, V, row, maxima, m)
            norm = log_sum(scores, at, V, row, largest, maxima, m + n_maxima - L)
            leave_out(scores, at, never, never_1, never_2)
            for k in range(first, first + n):
                values[k], tokens[k] = -np.inf, 0
            for b in range(0, V, block):
                if so_far[i] + (np.float64(maxima[m + b // block]) - norm) > values[last]:
                    for v in range(b, min(b + block, V)):
                        value = so_far[i] + (np.float64(scores[at + v]) - norm)
                        if value > values[last]:
                            k = last
                            while k > first and value > values[k - 1]:
                                values[k], tokens[k] = values[k - 1], tokens[k - 1]
                                k -= 1
                            values[k], tokens[k] = value, v

    @kernel("sampled_tokens", dtype.name)
    def sampled_tokens(thread, n_threads, sizes, sequence, step, scores, row, V, never, never_1, never_2,
                       temperature, top_k, top_p, seed, total, values, tokens):  # fmt: skip
        lo, hi = own_range(thread, n_threads, sizes[SIZE_B])
        for i in range(lo, hi):
            tokens[i], values[i] = sampled(
                scores, i * row, V, never, never_1, never_2, temperature, top_k, top_p, seed, sequence[i],
                step[0], total[i],
            )  # fmt: skip

    @kernel("follow", dtype.name)
    def follow(sizes, parent, row, X, other):
        """X[i] = X[parent[i]], rows of states."""
        moved = False
        for i in range(sizes[SIZE_B]):
            moved = moved or parent[i] != i
        if moved:
            for i in range(sizes[SIZE_B]):
                copy(row, X, parent[i] * row, other, i * row)
            copy(sizes[SIZE_B] * row, other, 0, X, 0)

    return SimpleNamespace(best_tokens=best_tokens, sampled_tokens=sampled_tokens, follow=follow)


def next_tokens(rec: Recording, choices: Any) -> dict[str, Rows]:
    """What the rows that are being written read: a network's inputs."""
    return {TOKENS: Rows(choices.tokens, 1)}


def choose(rec: Recording, scores: Rows, n_tokens: int, choices: Any) -> None:
    """Choose tokens by their scores, rows (B, n_tokens): fills `choices` and the steps anew."""
    tape, steps, c, kernels = rec.tape, rec.steps, choices, decoding_kernels(rec.work.dtype)
    n, L = c.n_candidates(n_tokens), lanes(rec.work.dtype)
    values, candidates, *rest = c.buffers(rec, n)
    if c.temperature > 0:
        tape.share(
            kernels.sampled_tokens, steps.sizes, steps.sequence, c.step, scores.array, scores.row, n_tokens,
            *c.left_out, *c.sampling, c.total, values, candidates,
        )  # fmt: skip
    else:
        n_maxima = -(-n_tokens // (BLOCK * L)) + 2 * L
        maxima = rec.buffer("candidates", "maxima", size=tape.n_threads * n_maxima)
        tape.share(
            kernels.best_tokens, steps.sizes, scores.array, scores.row, n_tokens, *c.left_out, n, c.total,
            maxima, n_maxima, values, candidates,
        )  # fmt: skip
    tape.call(
        go_on, steps.sizes, steps.counts, steps.sequence, steps.mate, c.width, c.n_rows, n, values,
        candidates, *c.rules, *c.arrays, *rest, tape.stop,
    )  # fmt: skip


def follow(rec: Recording, rows: Rows, choices: Any) -> None:
    """States (B, .) of the rows that were chosen to go on."""
    other = rec.buffer("follow", rows.row, size=rec.room(rows.per) * rows.row)
    kernel = decoding_kernels(rec.work.dtype).follow
    rec.tape.call(kernel, rec.steps.sizes, choices.parent, rows.row, rows.array, other)
