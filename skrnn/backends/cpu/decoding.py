"""Writing: tokens are chosen from scores, rows that have ended leave, and states follow their rows.

The arrays are those of `skrnn.decoding.Choices`; K is its width.
"""

from __future__ import annotations

from functools import cache
from math import exp, log
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...batches import SIZE_B, SIZE_CARRIED, SIZE_FIRST, SIZE_R, SIZE_T
from ...recording import TOKENS, Recording, Rows
from .dropout import sequence_key, uniform
from .jit import kernel
from .simd import copy
from .threads import own_range

STREAM = 2**32  # of random numbers: no dropout has it


@cache
def decoding_kernels(dtype: np.dtype) -> SimpleNamespace:
    @kernel("log_sum", dtype.name)
    def log_sum(scores, at, V):
        """The largest of scores[at:][:V], and the logarithm of the sum of their exponentials."""
        largest, total = scores[at], 0.0
        for v in range(1, V):
            largest = max(largest, scores[at + v])
        for v in range(V):
            total += exp(np.float64(scores[at + v] - largest))
        return np.float64(largest), np.float64(largest) + log(total)

    @kernel("best_tokens", dtype.name)
    def best_tokens(thread, n_threads, sizes, scores, row, V, n, total, values, tokens):
        """The n best tokens of each row, best first, and the log probabilities of what they would make."""
        lo, hi = own_range(thread, n_threads, sizes[SIZE_B])
        for i in range(lo, hi):
            _, norm = log_sum(scores, i * row, V)
            first, last = i * n, i * n + n - 1
            for k in range(first, last + 1):
                values[k], tokens[k] = -np.inf, 0
            for v in range(V):
                value = total[i] + (np.float64(scores[i * row + v]) - norm)
                if value > values[last]:
                    k = last
                    while k > first and value > values[k - 1]:
                        values[k], tokens[k] = values[k - 1], tokens[k - 1]
                        k -= 1
                    values[k], tokens[k] = value, v

    @kernel("sampled_tokens", dtype.name)
    def sampled_tokens(thread, n_threads, sizes, sequence, step, scores, row, V, seed, temperature, total,
                       values, tokens):  # fmt: skip
        """A token of each row, by its probability, and the log probability of what it makes."""
        lo, hi = own_range(thread, n_threads, sizes[SIZE_B])
        for i in range(lo, hi):
            at, mass, so_far, token = i * row, 0.0, 0.0, 0
            largest, norm = log_sum(scores, at, V)
            for v in range(V):
                mass += exp((np.float64(scores[at + v]) - largest) / temperature)
            share = mass * uniform(sequence_key(seed, 0, STREAM, sequence[i]), step[0])
            while token < V - 1:
                so_far += exp((np.float64(scores[at + token]) - largest) / temperature)
                if so_far > share:
                    break
                token += 1
            values[i], tokens[i] = total[i] + (np.float64(scores[at + token]) - norm), token

    return SimpleNamespace(best_tokens=best_tokens, sampled_tokens=sampled_tokens)


@kernel("keep_ended")
def keep_ended(s, K, token, step, row, total, rank, n_ended, tokens, steps, rows, totals, ranks):
    """One more text that sequence s has ended in, if it is among the K best."""
    at = s * K + n_ended[s]
    if n_ended[s] == K:
        at = s * K
        for k in range(s * K + 1, (s + 1) * K):
            if ranks[k] < ranks[at]:
                at = k
        if rank <= ranks[at]:
            return
    else:
        n_ended[s] += 1
    tokens[at], steps[at], rows[at], totals[at], ranks[at] = token, step, row, total, rank


@kernel("go_on")
def go_on(sizes, counts, sequence, mate, K, n, values, candidates, max_steps, end, penalty, tokens, total,
          parent, step, written, came_from, n_ended, ended_token, ended_step, ended_row, ended_total,
          ended_rank, heads, new_sequence, new_mate, stop):  # fmt: skip
    """From the n candidates of each row to the rows of the next step.

    A sequence's candidates are taken best first, until K of them go on; those that end, among the K best,
    leave. It is done when nothing that goes on can be better than the K that have ended. A total only falls,
    so no text of it ranks above total / max_steps ** penalty.
    """
    B, t, new, i = sizes[SIZE_B], step[0], 0, 0
    n_rows = len(tokens)
    length = np.float64(t + 1) ** penalty
    while i < B:
        s, j, first = sequence[i], i, new
        while j < B and sequence[j] == s:
            heads[j] = 0
            j += 1
        rank = 0
        while new - first < K and rank < n * (j - i):
            best = -1
            for r in range(i, j):
                if heads[r] < n and (best < 0 or values[r * n + heads[r]] > values[best * n + heads[best]]):
                    best = r
            at = best * n + heads[best]
            heads[best] += 1
            if candidates[at] == end or t + 1 == max_steps:
                if rank < K:
                    keep_ended(s, K, candidates[at], t, best, values[at], values[at] / length, n_ended,
                               ended_token, ended_step, ended_row, ended_total, ended_rank)  # fmt: skip
            else:
                written[t * n_rows + new], came_from[t * n_rows + new] = candidates[at], best
                new_sequence[new], new_mate[new], total[n_rows + new] = s, mate[best], values[at]
                new += 1
            rank += 1
        if new > first and n_ended[s] == K:
            worst = ended_rank[s * K]
            for k in range(s * K + 1, (s + 1) * K):
                worst = min(worst, ended_rank[k])
            if worst >= total[n_rows + first] / np.float64(max_steps) ** penalty:
                new = first
        i = j
    for i in range(new):
        tokens[i], parent[i], total[i] = written[t * n_rows + i], came_from[t * n_rows + i], total[n_rows + i]
        sequence[i], mate[i] = new_sequence[i], new_mate[i]
    sizes[SIZE_B], sizes[SIZE_R], sizes[SIZE_T], counts[0] = new, new, min(new, 1), new
    sizes[SIZE_CARRIED], sizes[SIZE_FIRST], step[0] = 1, sizes[SIZE_FIRST] + 1, t + 1
    if new == 0:
        stop[0] = 1


@cache
def following_kernel(dtype: np.dtype):
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

    return follow


def next_tokens(rec: Recording, choices: Any) -> dict[str, Rows]:
    """What the rows that are being written read: a network's inputs."""
    return {TOKENS: Rows(choices.tokens, 1)}


def choose(rec: Recording, scores: Rows, n_tokens: int, choices: Any) -> None:
    """Choose tokens by their scores, rows (B, n_tokens): fills `choices` and the steps anew."""
    tape, steps, c, kernels = rec.tape, rec.steps, choices, decoding_kernels(rec.work.dtype)
    n_rows, samples = c.n * c.width, c.temperature > 0
    n = 1 if samples else min(c.width + 1, n_tokens)
    integers = {
        name: rec.buffer("choose", name, size=size, dtype=np.dtype(np.intp))
        for name, size in (
            ("candidates", n_rows * n),
            ("heads", n_rows),
            ("sequence", n_rows),
            ("mate", n_rows),
        )
    }
    values = rec.buffer("choose", "values", size=n_rows * n, dtype=np.dtype(np.float64))
    if samples:
        tape.share(
            kernels.sampled_tokens, steps.sizes, steps.sequence, c.step, scores.array, scores.row, n_tokens,
            c.seed, float(c.temperature), c.total, values, integers["candidates"],
        )  # fmt: skip
    else:
        tape.share(
            kernels.best_tokens, steps.sizes, scores.array, scores.row, n_tokens, n, c.total, values,
            integers["candidates"],
        )  # fmt: skip
    tape.call(
        go_on, steps.sizes, steps.counts, steps.sequence, steps.mate, c.width, n, values,
        integers["candidates"], c.max_steps, c.end, float(c.length_penalty), c.tokens, c.total, c.parent,
        c.step, c.written, c.came_from, c.n_ended, c.ended_token, c.ended_step, c.ended_row, c.ended_total,
        c.ended_rank, integers["heads"], integers["sequence"], integers["mate"], tape.stop,
    )  # fmt: skip


def follow(rec: Recording, rows: Rows, choices: Any) -> None:
    """States (B, .) of the rows that were chosen to go on."""
    other = rec.buffer("follow", rows.row, size=rec.room(rows.per) * rows.row)
    rec.tape.call(
        following_kernel(rec.work.dtype), rec.steps.sizes, choices.parent, rows.row, rows.array, other
    )
