"""Choosing what to write next, for one row of scores or for all texts: written once, compiled like a cell.

The arrays are those of `skrnn.decoding.Choices`; K is its width.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, inf, log

import numpy as np

from . import counters
from .batches import SIZE_B, SIZE_CARRIED, SIZE_FIRST, SIZE_R, SIZE_T

STREAM = 2**32  # of random numbers: no dropout has it


def functions(jit: Callable, kernel: Callable) -> tuple[Callable, Callable, Callable, Callable]:
    """``leave_out``, ``best_tokens``, ``sampled_token``, and the kernel ``go_on``, from a backend's `jit` and
    `kernel`."""
    _, sequence_key, _, uniform, _ = counters.functions(jit)

    @jit
    def largest_of(scores, at, V):
        """Of scores[at:][:V]."""
        largest = np.float64(scores[at])
        for v in range(1, V):
            largest = max(largest, np.float64(scores[at + v]))
        return largest

    @jit
    def log_sum(scores, at, V, largest):
        """The logarithm of the sum of the scores' exponentials."""
        total = 0.0
        for v in range(V):
            total += exp(np.float64(scores[at + v]) - largest)
        return largest + log(total)

    @jit
    def leave_out(scores, at, never, never_1, never_2):
        """These tokens, or less than three of them, are not chosen."""
        if never >= 0:
            scores[at + never] = -inf
        if never_1 >= 0:
            scores[at + never_1] = -inf
        if never_2 >= 0:
            scores[at + never_2] = -inf

    @jit
    def best_tokens(scores, at, V, never, never_1, never_2, so_far, values, tokens, first, n):
        """tokens[first:][:n]: those of the n highest of scores[at:][:V], best first; values: the log
        probabilities of what they would make of a text that has `so_far`, by the scores of all tokens."""
        norm = log_sum(scores, at, V, largest_of(scores, at, V))
        leave_out(scores, at, never, never_1, never_2)
        last = first + n - 1
        for k in range(first, first + n):
            values[k], tokens[k] = -inf, 0
        for v in range(V):
            value = so_far + (np.float64(scores[at + v]) - norm)
            if value > values[last]:
                k = last
                while k > first and value > values[k - 1]:
                    values[k], tokens[k] = values[k - 1], tokens[k - 1]
                    k -= 1
                values[k], tokens[k] = value, v

    @jit
    def above(scores, at, V, bound, largest, temperature):
        """Number of the scores above a bound, and the sum of their exp((s - largest) / temperature)."""
        n, total = 0, 0.0
        for v in range(V):
            s = np.float64(scores[at + v])
            if s > bound:
                n += 1
                total += exp((s - largest) / temperature)
        return n, total

    @jit
    def cut(scores, at, V, largest, temperature, by_count, wanted):
        """The lowest of the best scores that are `wanted` in number, or in the sum of exp((s - largest) /
        temperature); and number and sum of those above it, which are too few. Found by halving the range of
        scores, down to neighbours among the numbers of float64."""
        low, high = largest, largest
        for v in range(V):
            s = np.float64(scores[at + v])
            if s > -inf:
                low = min(low, s)
        n, total = above(scores, at, V, low, largest, temperature)
        if (np.float64(n) if by_count else total) < wanted:
            high = low
        middle = low + (high - low) / 2
        while low < middle < high:
            n, total = above(scores, at, V, middle, largest, temperature)
            if (np.float64(n) if by_count else total) < wanted:
                high = middle
            else:
                low = middle
            middle = low + (high - low) / 2
        n, total = above(scores, at, V, high, largest, temperature)
        return high, n, total

    @jit
    def nucleus(scores, at, V, largest, total, temperature, top_k, top_p):
        """The most probable tokens, of equally probable ones the first: the `top_k` best and, of these, the
        fewest that have at least the share `top_p` of their probability (Holtzman et al. 2020). The lowest
        score among them, how many have it, and the sum of exp((s - largest) / temperature), which is `total`
        for all tokens."""
        lowest, n_lowest = -inf, 0
        if top_k < V:
            lowest, n, total = cut(scores, at, V, largest, temperature, True, np.float64(top_k))
            for v in range(V):
                if n < top_k and np.float64(scores[at + v]) == lowest:
                    n, n_lowest, total = n + 1, n_lowest + 1, total + exp((lowest - largest) / temperature)
        if top_p < 1:
            wanted, before, n_before = top_p * total, lowest, n_lowest
            lowest, n, total = cut(scores, at, V, largest, temperature, False, wanted)
            n_lowest = 0
            for v in range(V):
                enough = total >= wanted or (lowest == before and n_lowest == n_before)
                if not enough and np.float64(scores[at + v]) == lowest:
                    n_lowest, total = n_lowest + 1, total + exp((lowest - largest) / temperature)
        return lowest, n_lowest, total

    @jit
    def sampled_token(
        scores, at, V, never, never_1, never_2, temperature, top_k, top_p, seed, sequence, step, so_far
    ):
        """A token by its probability, softmax(scores / temperature) of the most probable ones, and the log
        probability of the text, by the scores of those that may be drawn."""
        leave_out(scores, at, never, never_1, never_2)
        largest = largest_of(scores, at, V)
        total = above(scores, at, V, -inf, largest, temperature)[1]
        norm = largest + log(total) if temperature == 1 else log_sum(scores, at, V, largest)
        lowest, n_lowest, total = nucleus(scores, at, V, largest, total, temperature, top_k, top_p)
        share = total * uniform(sequence_key(seed, 0, STREAM, sequence), step)
        sum_before, token = 0.0, 0
        for v in range(V):
            s = np.float64(scores[at + v])
            if s > lowest or (s == lowest and n_lowest > 0):
                if s == lowest:
                    n_lowest -= 1
                token = v  # the last of them, where sums are rounded
                sum_before += exp((s - largest) / temperature)
                if sum_before > share:
                    break
        return token, so_far + (np.float64(scores[at + token]) - norm)

    @jit
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
    def go_on(sizes, counts, sequence, mate, K, n_rows, n, values, candidates, max_steps, end, penalty,
              tokens, total, parent, step, written, came_from, n_ended, ended_token, ended_step, ended_row,
              ended_total, ended_rank, new_total, heads, new_sequence, new_mate, stop):  # fmt: skip
        """From the n candidates of each row, best first, to the rows of the next step. One thread.

        A sequence's candidates are taken best first, until K of them go on; those that end, among the K
        best, leave. It is done when nothing that goes on can be better than the K that have ended: a total
        only falls, so no text of it will rank above total / max_steps ** penalty.
        """
        B, t, new, i = sizes[SIZE_B], step[0], 0, 0
        if B == 0:
            return
        while i < B:
            s, j, first, rank = sequence[i], i, new, 0
            while j < B and sequence[j] == s:
                heads[j] = 0  # how many candidates of a row have been taken
                j += 1
            while new - first < K and rank < n * (j - i):
                row = -1
                for r in range(i, j):
                    if heads[r] < n and (row < 0 or values[r * n + heads[r]] > values[row * n + heads[row]]):
                        row = r
                at = row * n + heads[row]
                heads[row] += 1
                if candidates[at] == end or t + 1 == max_steps:
                    if rank < K:
                        keep_ended(s, K, candidates[at], t, row, values[at],
                                   values[at] / np.float64(t + 1) ** penalty, n_ended, ended_token,
                                   ended_step, ended_row, ended_total, ended_rank)  # fmt: skip
                else:
                    written[t * n_rows + new], came_from[t * n_rows + new] = candidates[at], row
                    new_sequence[new], new_mate[new], new_total[new] = s, mate[row], values[at]
                    new += 1
                rank += 1
            if new > first and n_ended[s] == K:
                worst = ended_rank[s * K]
                for k in range(s * K + 1, (s + 1) * K):
                    worst = min(worst, ended_rank[k])
                if worst >= new_total[first] / np.float64(max_steps) ** penalty:
                    new = first
            i = j
        for i in range(new):
            at = t * n_rows + i
            tokens[i], parent[i], total[i] = written[at], came_from[at], new_total[i]
            sequence[i], mate[i] = new_sequence[i], new_mate[i]
        sizes[SIZE_B], sizes[SIZE_R], sizes[SIZE_T], counts[0] = new, new, min(new, 1), new
        sizes[SIZE_CARRIED], sizes[SIZE_FIRST], step[0] = 1, sizes[SIZE_FIRST] + 1, t + 1
        if new == 0:
            stop[0] = 1

    return leave_out, best_tokens, sampled_token, go_on
