"""Tables of vectors that tokens look up.

A table for V tokens of D numbers is kept in panels of `lanes` tokens, (V / lanes, D, lanes), as the product
that it may be tied to keeps its weights; with one lane it is row-major. Token v's numbers begin at
``v // lanes * lanes * D + v % lanes`` and lie `lanes` apart.

The rows that a minibatch touches are listed once each: ``place[v]`` is where token v stands in the list if v
stands there, so that `place` may begin with anything (Briggs & Torczon 1993, "An efficient representation
for sparse sets"), and rows that are not touched cost nothing.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np

from ...batches import SIZE_B, SIZE_R, SIZE_T, Steps
from ...recording import Distinct, Recording, Rows
from .jit import kernel
from .simd import clear, copy, part
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

    @kernel("add_touched", dtype.name)
    def add_touched(thread, n_threads, sizes, which, touched_sizes, d, d_row, D, sums):
        """sums (n_touched, D): of d (R, d_row), those of each token. Threads own columns and walk the rows in
        order."""
        lo, hi = own_range(thread, n_threads, D)
        n = hi - lo
        for k in range(touched_sizes[SIZE_R]):
            clear(sums, k * D + lo, n)
        for r in range(sizes[SIZE_R]):
            total, term = part(sums, which[r] * D + lo, n), part(d, r * d_row + lo, n)
            for j in range(n):
                total[j] += term[j]

    @kernel("round_touched", dtype.name)
    def round_touched(thread, n_threads, touched, n_touched, in_table, D, wide, out):
        """Of wide sums (n_touched, D): their rows in a table, or rows like themselves."""
        lo, hi = own_range(thread, n_threads, n_touched[0])
        for k in range(lo, hi):
            to = np.intp(touched[k]) if in_table else k
            sums, row = part(wide, k * D, D), part(out, to * D, D)
            for j in range(D):
                row[j] = sums[j]

    return SimpleNamespace(
        look_up=look_up, clear_table=clear_table, look_up_backward=look_up_backward, round_table=round_table,
        add_touched=add_touched, round_touched=round_touched,
    )  # fmt: skip


@kernel("list_touched")
def list_touched(sizes, tokens, n_columns, column, place, touched, which, touched_sizes, touched_counts):
    """touched (n_touched,): each token that is read, in the order in which the rows have them first; and
    which of them each row reads. They are counted as sequences of one step."""
    n = 0
    for r in range(sizes[SIZE_R]):
        v = tokens[r * n_columns + column]
        k = np.intp(place[v])
        if k < 0 or k >= n or touched[k] != v:
            k = n
            place[v], touched[k] = k, v
            n += 1
        which[r] = k
    touched_sizes[SIZE_B], touched_sizes[SIZE_T], touched_sizes[SIZE_R], touched_counts[0] = n, 1, n, n


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
    if lanes == 1:
        n_tokens = len(table) // width
        wide = beside(rec.steps.max_rows, most_touched(rec, n_tokens) * width, rec.work, "wide rows")
        if len(wide):
            touched = distinct_tokens(rec, tokens, column, n_tokens, "touched")
            add_up(rec, touched, d, width, wide)
            tape.share(kernels.clear_table, table)
            tape.share(
                kernels.round_touched, touched.kept.array, touched.steps.sizes, True, width, wide, table
            )
            return
    wide = beside(rec.steps.max_rows, len(table), rec.work, "wide table")
    sums = wide if len(wide) else table
    add_to_table(rec, tokens, column, d, width, lanes, sums)
    if sums is wide:
        tape.share(kernels.round_table, wide, table)


def add_to_table(
    rec: Recording, tokens: Rows, column: int, d: Rows, width: int, lanes: int, sums: np.ndarray
) -> None:
    """Record sums in a table's layout, all of which is written."""
    kernels, tape = embedding_kernels(sums.dtype), rec.tape
    tape.share(kernels.clear_table, sums)
    tape.share(
        kernels.look_up_backward, rec.steps.sizes, tokens.array, tokens.row, column, d.array, d.row, lanes,
        width, sums,
    )  # fmt: skip


def touched_gradient(
    rec: Recording, tokens: Rows, column: int, d: Rows, width: int, n_tokens: int, name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a row-major table, the numbers of the rows that are touched, how many, and their gradient."""
    most = most_touched(rec, n_tokens)
    gradient = rec.buffer(name, "gradient of touched", size=most * width)
    wide = beside(rec.steps.max_rows, most * width, rec.work, "wide rows")
    sums = wide if len(wide) else gradient
    touched = distinct_tokens(rec, tokens, column, n_tokens, name)
    add_up(rec, touched, d, width, sums)
    numbers, n_touched = touched.kept.array, touched.steps.sizes
    if sums is wide:
        rec.tape.share(
            embedding_kernels(rec.work.dtype).round_touched, numbers, n_touched, False, width, wide, gradient
        )
    return numbers, n_touched, gradient


def distinct_tokens(rec: Recording, tokens: Rows, column: int, n_tokens: int, name: str) -> Distinct:
    """Those that are read, each once, in the order in which the rows have them first."""
    most, ints = most_touched(rec, n_tokens), tokens.array.dtype
    place = rec.buffer("place", size=n_tokens, dtype=ints)
    touched = rec.buffer(name, "touched", size=most, dtype=ints)
    which = rec.buffer(name, "which", size=rec.steps.max_rows, dtype=np.dtype(np.intp))
    steps = Steps(most, 1, most)
    rec.tape.call(
        list_touched, rec.steps.sizes, tokens.array, tokens.row, column, place, touched, which, steps.sizes,
        steps.counts,
    )  # fmt: skip
    return Distinct(Rows(touched, 1), steps, which)


def most_touched(rec: Recording, n_tokens: int) -> int:
    return min(rec.steps.max_rows, n_tokens)


def add_up(rec: Recording, touched: Distinct, d: Rows, width: int, sums: np.ndarray) -> None:
    """Record sums (n_touched, D) of the rows of each token."""
    rec.tape.share(
        embedding_kernels(rec.work.dtype).add_touched, rec.steps.sizes, touched.which, touched.steps.sizes,
        d.array, d.row, width, sums,
    )  # fmt: skip
