"""Writing: tokens are chosen from scores, and states follow the rows that go on."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from ... import choosing
from ...batches import SIZE_B
from ...recording import TOKENS, Recording, Rows
from .elementary import keyed
from .jit import kernel
from .simd import copy
from .threads import own_range

best, sampled, go_on = choosing.functions(keyed("choosing"), kernel)


@cache
def decoding_kernels(dtype: np.dtype) -> SimpleNamespace:
    @kernel("best_tokens", dtype.name)
    def best_tokens(thread, n_threads, sizes, scores, row, V, never, never_1, never_2, n, total,
                    values, tokens):  # fmt: skip
        lo, hi = own_range(thread, n_threads, sizes[SIZE_B])
        for i in range(lo, hi):
            best(scores, i * row, V, never, never_1, never_2, total[i], values, tokens, i * n, n)

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
    n = c.n_candidates(n_tokens)
    values, candidates, *rest = c.buffers(rec, n)
    if c.temperature > 0:
        tape.share(
            kernels.sampled_tokens, steps.sizes, steps.sequence, c.step, scores.array, scores.row, n_tokens,
            *c.left_out, *c.sampling, c.total, values, candidates,
        )  # fmt: skip
    else:
        tape.share(
            kernels.best_tokens, steps.sizes, scores.array, scores.row, n_tokens, *c.left_out, n, c.total,
            values, candidates,
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
