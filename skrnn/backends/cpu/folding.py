"""Rows that many steps of a minibatch read, such as vectors of words: products with them are made once; see
`skrnn.recording.Distinct`.

The input's share of the pre-activations is a row's own, b + x W, so that each step copies it; and going
back, the gradients of all steps that read a row are added up before anything is multiplied by them.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from ...batches import SIZE_B, SIZE_R, SIZE_T, Steps
from ...recording import Distinct, Recording, Rows
from .embedding import distinct_tokens, sum_rows_of, write_table
from .gemm import make_preactivations
from .jit import kernel
from .recurrent_kernels import Panels
from .rows import mirrored
from .simd import lanes
from .threads import own_range

__all__ = ["distinct_tokens", "every_token", "mirror", "write_table"]  # what links ask for


def projection_kernel(panels: Panels):
    cell, key, dtype, units, _ = panels
    L, in_width, width = lanes(dtype), panels.width_of(cell.input_slots), panels.width
    preactivations = make_preactivations(
        width, panels.columns(cell.input_slots), panels.columns(cell.hidden_slots)
    )

    @kernel("project", key, dtype.name, units)
    def project(thread, n_threads, sizes, F, P, X, x_row, W, bias, Z):
        """Z (P, N, units, S, L) = bias + X W, for N rows X (N, x_row)."""
        N, z_row = sizes[SIZE_R], width * L
        lo, hi = own_range(thread, n_threads, N)
        for p in range(P):
            preactivations(hi - lo, X, lo * x_row, x_row, F, W, p * F * in_width * L, X, 0, 0, 0, W, 0,
                           bias, p * z_row, 0, Z, (p * N + lo) * z_row, z_row)  # fmt: skip

    return project


@cache
def sum_alike_kernel(dtype: np.dtype):
    @kernel("sum_alike", dtype.name)
    def sum_alike(thread, n_threads, sizes, which, distinct_sizes, P, z_row, G, sums, wide):
        """sums (P, N, z_row): of G (P, R, z_row), the rows of each of N. wide: in it, for each thread that
        has one, a panel's."""
        R, N = sizes[SIZE_R], distinct_sizes[SIZE_R]
        first, last = own_range(thread, n_threads, P)
        # Of few panels, any thread may have one; of many, each thread has several in turn.
        own = (first if n_threads > P else thread) * (len(wide) // min(P, n_threads))
        for p in range(first, last):
            sum_rows_of(R, N, z_row, which, G, p * R * z_row, z_row, sums, p * N * z_row, z_row, wide, own)

    return sum_alike


@kernel("mirror_which")
def mirror_which(thread, n_threads, sizes, counts, row_at, lengths, which, out):
    lo, hi = own_range(thread, n_threads, sizes[SIZE_T])
    for t in range(lo, hi):
        for i in range(counts[t]):
            out[row_at[t] + i] = which[mirrored(row_at, lengths, t, i)]


def mirror(rec: Recording, which: np.ndarray, out: np.ndarray) -> None:
    """What each step reads, as of the mirrored one."""
    rec.tape.share(mirror_which, *rec.steps.layout, which, out)


@kernel("rows_of_tokens")
def rows_of_tokens(sizes, tokens, row, column, which):
    for r in range(sizes[SIZE_R]):
        which[r] = tokens[r * row + column]


def every_token(rec: Recording, tokens: Rows, column: int, n_tokens: int, name: str) -> Distinct:
    """All that there are, which products are made of in the replay that begins a text: later ones read what
    they have chosen."""
    which = rec.buffer(name, "which", size=rec.steps.max_rows, dtype=np.dtype(np.intp))
    steps = Steps(n_tokens, 1, n_tokens)
    steps.sizes[[SIZE_B, SIZE_T, SIZE_R]] = n_tokens, 1, n_tokens
    rec.tape.call(rows_of_tokens, rec.steps.sizes, tokens.array, tokens.row, column, which)
    return Distinct(Rows(np.arange(n_tokens, dtype=tokens.array.dtype), 1), steps, which, rec.once)
