"""Writing: tokens are chosen from scores, rows that have ended leave, and states follow their rows.

The arrays are those of `skrnn.decoding.Choices`; K is its width. What goes on is the business of one thread.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda

from ...batches import SIZE_B, SIZE_CARRIED, SIZE_FIRST, SIZE_R, SIZE_T
from ...recording import TOKENS, Recording, Rows
from .dropout import sequence_key, uniform
from .jit import function, kernel
from .reading import lay_out_steps
from .recurrent import copy

STREAM = 2**32  # of random numbers: no dropout has it


@function
def log_sum(scores, at, V):
    """The largest of scores[at:][:V], and the logarithm of the sum of their exponentials."""
    largest, total = np.float64(scores[at]), 0.0
    for v in range(1, V):
        largest = max(largest, np.float64(scores[at + v]))
    for v in range(V):
        total += math.exp(np.float64(scores[at + v]) - largest)
    return largest, largest + math.log(total)


@kernel("best_tokens")
def best_tokens(sizes, scores, row, V, n, total, values, tokens):
    """The n best tokens of each row, best first, and the log probabilities of what they would make."""
    for i in range(cuda.grid(1), sizes[SIZE_B], cuda.gridsize(1)):
        _, norm = log_sum(scores, i * row, V)
        first, last = i * n, i * n + n - 1
        for k in range(first, last + 1):
            values[k], tokens[k] = -math.inf, 0
        for v in range(V):
            value = total[i] + (np.float64(scores[i * row + v]) - norm)
            if value > values[last]:
                k = last
                while k > first and value > values[k - 1]:
                    values[k], tokens[k] = values[k - 1], tokens[k - 1]
                    k -= 1
                values[k], tokens[k] = value, v


@kernel("sampled_tokens")
def sampled_tokens(sizes, sequence, step, scores, row, V, seed, temperature, total, values, tokens):
    """A token of each row, by its probability, and the log probability of what it makes."""
    for i in range(cuda.grid(1), sizes[SIZE_B], cuda.gridsize(1)):
        at, mass, so_far, token = i * row, 0.0, 0.0, 0
        largest, norm = log_sum(scores, at, V)
        for v in range(V):
            mass += math.exp((np.float64(scores[at + v]) - largest) / temperature)
        share = mass * uniform(sequence_key(seed, 0, STREAM, sequence[i]), step[0])
        while token < V - 1:
            so_far += math.exp((np.float64(scores[at + token]) - largest) / temperature)
            if so_far > share:
                break
            token += 1
        values[i], tokens[i] = total[i] + (np.float64(scores[at + token]) - norm), token


@function
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
def go_on(sizes, counts, sequence, mate, K, n, n_rows, values, candidates, max_steps, end, penalty, tokens,
          total, parent, step, written, came_from, n_ended, ended_token, ended_step, ended_row, ended_total,
          ended_rank, heads, new_sequence, new_mate, stop):  # fmt: skip
    """From the n candidates of each row to the rows of the next step.

    A sequence's candidates are taken best first, until K of them go on; those that end, among the K best,
    leave. It is done when nothing that goes on can be better than the K that have ended. A total only falls,
    so no text of it ranks above total / max_steps ** penalty.
    """
    if cuda.grid(1) > 0:
        return
    B, t, new, i = sizes[SIZE_B], step[0], 0, 0
    length = math.pow(np.float64(t + 1), penalty)
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
            if worst >= total[n_rows + first] / math.pow(np.float64(max_steps), penalty):
                new = first
        i = j
    for i in range(new):
        tokens[i], parent[i], total[i] = written[t * n_rows + i], came_from[t * n_rows + i], total[n_rows + i]
        sequence[i], mate[i] = new_sequence[i], new_mate[i]
    sizes[SIZE_B], sizes[SIZE_R], sizes[SIZE_T], counts[0] = new, new, min(new, 1), new
    sizes[SIZE_CARRIED] = 1
    if B > 0:  # else all has been written
        sizes[SIZE_FIRST] += 1
        step[0] = t + 1
    if new == 0:
        stop[0] = 1


@kernel("follow_rows")
def follow_rows(sizes, parent, row, X, other):
    """other[i] = X[parent[i]], rows of states."""
    for k in range(cuda.grid(1), sizes[SIZE_B] * row, cuda.gridsize(1)):
        other[k] = X[parent[k // row] * row + k % row]


def next_tokens(rec: Recording, choices: Any) -> dict[str, Rows]:
    """What the rows that are being written read: a network's inputs."""
    tape, steps = rec.tape, rec.steps
    for host in steps.sizes, steps.counts, steps.lengths, steps.whole, steps.sequence, steps.mate:
        tape.updated(host)
    s = tape.steps(steps)
    lay_out_steps(tape, s, s.sequence)  # where the rows lie in a table is of no interest
    return {TOKENS: Rows(tape.updated(choices.tokens), 1)}


def choose(rec: Recording, scores: Rows, n_tokens: int, choices: Any) -> None:
    """Choose tokens by their scores, rows (B, n_tokens): fills `choices` and the steps anew."""
    tape, s, c, twin = rec.tape, rec.tape.steps(rec.steps), choices, rec.tape.updated
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
        tape.each(
            sampled_tokens, n_rows, s.sizes, s.sequence, twin(c.step), scores.array, scores.row, n_tokens,
            c.seed, float(c.temperature), twin(c.total), values, integers["candidates"],
        )  # fmt: skip
    else:
        tape.each(
            best_tokens, n_rows, s.sizes, scores.array, scores.row, n_tokens, n, twin(c.total), values,
            integers["candidates"],
        )  # fmt: skip
    tape.once(
        go_on, s.sizes, s.counts, s.sequence, s.mate, c.width, n, n_rows, values, integers["candidates"],
        c.max_steps, c.end, float(c.length_penalty), twin(c.tokens), twin(c.total), twin(c.parent),
        twin(c.step), twin(c.written), twin(c.came_from), twin(c.n_ended), twin(c.ended_token),
        twin(c.ended_step), twin(c.ended_row), twin(c.ended_total), twin(c.ended_rank), integers["heads"],
        integers["sequence"], integers["mate"], tape.twin(tape.stop),
    )  # fmt: skip


def follow(rec: Recording, rows: Rows, choices: Any) -> None:
    """States (B, .) of the rows that were chosen to go on."""
    tape, size = rec.tape, rec.room(rows.per) * rows.row
    other = rec.buffer("follow", rows.row, size=size)
    tape.each(
        follow_rows, size, tape.steps(rec.steps).sizes, tape.updated(choices.parent), rows.row, rows.array,
        other,
    )  # fmt: skip
    tape.each(copy, size, size, other, rows.array)
