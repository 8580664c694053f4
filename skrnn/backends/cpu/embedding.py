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
from .jit import inlined, kernel
from .simd import clear, copy, part
from .sums import SPAN, beside
from .threads import own_range


@inlined
def add_rows_of(R, N, n, which, d, first, d_row, sums, to, row):
    """sums[to:] (N, row), n columns of it: of d[first:] (R, d_row), in the order of the rows, those that are
    one of N."""
    for k in range(N):
        clear(sums, to + k * row, n)
    for r in range(R):
        total, term = part(sums, to + which[r] * row, n), part(d, first + r * d_row, n)
        for j in range(n):
            total[j] += term[j]


@inlined
def sum_rows_of(R, N, n, which, d, first, d_row, sums, to, row, wide, wide_to):
    """The same, in wide[wide_to:] where float32 has too many to add."""
    if len(wide) > 0 and R > SPAN:
        add_rows_of(R, N, n, which, d, first, d_row, wide, wide_to, row)
        for k in range(N):
            x, y = part(wide, wide_to + k * row, n), part(sums, to + k * row, n)
            for j in range(n):
                y[j] = x[j]
    else:
        add_rows_of(R, N, n, which, d, first, d_row, sums, to, row)


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
        """table += d (R, d_row) of each token. Threads own columns."""
        lo, hi = own_range(thread, n_threads, D)
        for r in range(sizes[SIZE_R]):
            v = np.intp(tokens[r * n_columns + column])
            at = v // lanes * lanes * D + v % lanes
            for j in range(lo, hi):
                table[at + j * lanes] += d[r * d_row + j]

    @kernel("add_touched", dtype.name)
    def add_touched(thread, n_threads, sizes, which, touched_sizes, d, d_row, D, sums, wide):
        """sums (n_touched, D): of d (R, d_row), those of each token; in `wide`, where float32 has too many to
        add. Threads own columns and walk the rows in order."""
        lo, hi = own_range(thread, n_threads, D)
        R, N = sizes[SIZE_R], touched_sizes[SIZE_R]
        sum_rows_of(R, N, hi - lo, which, d, lo, d_row, sums, lo, D, wide, lo)

    return SimpleNamespace(
        look_up=look_up, clear_table=clear_table, look_up_backward=look_up_backward, add_touched=add_touched,
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
    touched, sums = sums_by_token(rec, tokens, column, d, width, len(table) // width, "touched")
    write_table(rec, touched, Rows(sums, width), width, lanes, table)


def touched_gradient(
    rec: Recording, tokens: Rows, column: int, d: Rows, width: int, n_tokens: int, name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a row-major table, the numbers of the rows that are touched, how many, and their gradient."""
    touched, sums = sums_by_token(rec, tokens, column, d, width, n_tokens, name)
    return touched.kept.array, touched.steps.sizes, sums


def sums_by_token(
    rec: Recording, tokens: Rows, column: int, d: Rows, width: int, n_tokens: int, name: str
) -> tuple[Distinct, np.ndarray]:
    """The tokens that are read, and of the rows of each the sum."""
    touched = distinct_tokens(rec, tokens, column, n_tokens, name)
    size = touched.steps.max_rows * width
    sums, wide = rec.buffer(name, "sums", size=size), beside(rec.steps.max_rows, size, rec.work, "wide rows")
    rec.tape.share(
        embedding_kernels(rec.work.dtype).add_touched, rec.steps.sizes, touched.which, touched.steps.sizes,
        d.array, d.row, width, sums, wide,
    )  # fmt: skip
    return touched, sums


def distinct_tokens(rec: Recording, tokens: Rows, column: int, n_tokens: int, name: str) -> Distinct:
    """Those that are read, each once, in the order in which the rows have them first."""
    most, ints = min(rec.steps.max_rows, n_tokens), tokens.array.dtype
    place = rec.buffer("place", size=n_tokens, dtype=ints)
    touched = rec.buffer(name, "touched", size=most, dtype=ints)
    which = rec.buffer(name, "which", size=rec.steps.max_rows, dtype=np.dtype(np.intp))
    steps = Steps(most, 1, most)
    rec.tape.call(
        list_touched, rec.steps.sizes, tokens.array, tokens.row, column, place, touched, which, steps.sizes,
        steps.counts,
    )  # fmt: skip
    return Distinct(Rows(touched, 1), steps, which)


def write_table(
    rec: Recording, distinct: Distinct, d: Rows, width: int, lanes: int, table: np.ndarray
) -> None:
    """The gradient of the table, all of which is written, from that of each distinct token."""
    kernels, tokens = embedding_kernels(rec.work.dtype), distinct.kept
    rec.tape.share(kernels.clear_table, table)
    rec.tape.share(
        kernels.look_up_backward, distinct.steps.sizes, tokens.array, tokens.row, 0, d.array, d.row, lanes,
        width, table,
    )  # fmt: skip
