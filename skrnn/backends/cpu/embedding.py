"""Tables of vectors that tokens look up.

A table for V tokens of D numbers is kept in panels of `lanes` tokens, (V / lanes, D, lanes), as the product
that it may be tied to keeps its weights; with one lane it is row-major. Token v's numbers begin at
``v // lanes * lanes * D + v % lanes`` and lie `lanes` apart.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np

from ...batches import SIZE_R
from ...recording import Recording, Rows
from .jit import kernel
from .simd import clear, copy
from .sums import beside
from .threads import own_range


@cache
def embedding_kernels(dtype: np.dtype) -> SimpleNamespace:
    @kernel("look_up", dtype.name)
    def look_up(thread, n_threads, sizes, tokens, n_columns, column, table, lanes, D, out):
        """out (R, D): the vectors of column `column` of tokens (R, n_columns)."""
        lo, hi = own_range(thread, n_threads, sizes[SIZE_R])
        for r in range(lo, hi):
            v = np.intp(tokens[r * n_columns + column])
            if lanes == 1:
                copy(D, table, v * D, out, r * D)
            else:
                at = v // lanes * lanes * D + v % lanes
                for j in range(D):
                    out[r * D + j] = table[at + j * lanes]

    @kernel("clear_table", dtype.name)
    def clear_table(thread, n_threads, table):
        lo, hi = own_range(thread, n_threads, len(table))
        clear(table, lo, hi - lo)

    @kernel("look_up_backward", dtype.name)
    def look_up_backward(thread, n_threads, sizes, tokens, n_columns, column, d, d_row, lanes, D, table):
        """table, or wide sums in its layout, += d (R, d_row) of each token. Threads own columns and walk the
        rows in order."""
        lo, hi = own_range(thread, n_threads, D)
        for r in range(sizes[SIZE_R]):
            v = np.intp(tokens[r * n_columns + column])
            at = v // lanes * lanes * D + v % lanes
            for j in range(lo, hi):
                table[at + j * lanes] += d[r * d_row + j]

    @kernel("round_table", dtype.name)
    def round_table(thread, n_threads, wide, table):
        lo, hi = own_range(thread, n_threads, len(table))
        for i in range(lo, hi):
            table[i] = wide[i]

    return SimpleNamespace(
        look_up=look_up, clear_table=clear_table, look_up_backward=look_up_backward, round_table=round_table
    )


def look_up(rec: Recording, tokens: Rows, column: int, table: np.ndarray, lanes: int, out: Rows) -> None:
    """Rows out (R, D) of the table's vectors."""
    rec.tape.share(
        embedding_kernels(rec.work.dtype).look_up, rec.steps.sizes, tokens.array, tokens.row, column, table,
        lanes, out.row, out.array,
    )  # fmt: skip


def look_up_backward(
    rec: Recording, tokens: Rows, column: int, d: Rows, width: int, lanes: int, table: np.ndarray
) -> None:
    """The gradient of the table, all of which is written."""
    kernels, tape = embedding_kernels(rec.work.dtype), rec.tape
    wide = beside(rec.steps.max_rows, len(table), rec.work, "wide table")
    sums = wide if len(wide) else table
    tape.share(embedding_kernels(sums.dtype).clear_table, sums)
    tape.share(
        kernels.look_up_backward, rec.steps.sizes, tokens.array, tokens.row, column, d.array, d.row, lanes,
        width, sums,
    )  # fmt: skip
    if sums is wide:
        tape.share(kernels.round_table, wide, table)
