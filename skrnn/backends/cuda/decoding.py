"""Writing: tokens are chosen from scores, and states follow the rows that go on.

A thread chooses for a row; what goes on is the business of one thread.
"""

from __future__ import annotations

from typing import Any

from numba import cuda

from ... import choosing
from ...batches import SIZE_B
from ...recording import TOKENS, Recording, Rows
from .jit import function, kernel
from .reading import lay_out_steps
from .recurrent_kernels import copy

_, best, sampled, go_on = choosing.functions(function, kernel)


@kernel("best_tokens")
def best_tokens(sizes, scores, row, V, never, never_1, never_2, n, total, values, tokens):
    for i in range(cuda.grid(1), sizes[SIZE_B], cuda.gridsize(1)):
        best(scores, i * row, V, never, never_1, never_2, total[i], values, tokens, i * n, n)


@kernel("sampled_tokens")
def sampled_tokens(sizes, sequence, step, scores, row, V, never, never_1, never_2, temperature, top_k,
                   top_p, seed, total, values, tokens):  # fmt: skip
    for i in range(cuda.grid(1), sizes[SIZE_B], cuda.gridsize(1)):
        tokens[i], values[i] = sampled(
            scores, i * row, V, never, never_1, never_2, temperature, top_k, top_p, seed, sequence[i],
            step[0], total[i],
        )  # fmt: skip


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
    n = c.n_candidates(n_tokens)
    values, candidates, *rest = c.buffers(rec, n)
    if c.temperature > 0:
        tape.each(
            sampled_tokens, c.n_rows, s.sizes, s.sequence, twin(c.step), scores.array, scores.row, n_tokens,
            *c.left_out, *c.sampling, twin(c.total), values, candidates,
        )  # fmt: skip
    else:
        tape.each(
            best_tokens, c.n_rows, s.sizes, scores.array, scores.row, n_tokens, *c.left_out, n,
            twin(c.total), values, candidates,
        )  # fmt: skip
    tape.launch(
        go_on, 1, (1,), s.sizes, s.counts, s.sequence, s.mate, c.width, c.n_rows, n, values, candidates,
        *c.rules, *map(twin, c.arrays), *rest, tape.twin(tape.stop),
    )  # fmt: skip


def follow(rec: Recording, rows: Rows, choices: Any) -> None:
    """States (B, .) of the rows that were chosen to go on."""
    tape, size, sizes = rec.tape, rec.room(rows.per) * rows.row, rec.tape.steps(rec.steps).sizes
    other = rec.buffer("follow", rows.row, size=size)
    tape.each(follow_rows, size, sizes, tape.updated(choices.parent), rows.row, rows.array, other)
    tape.each(copy, size, size, other, rows.array)
