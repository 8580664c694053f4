"""Tables of vectors that tokens look up.

A table for V tokens of D numbers is kept in panels of `lanes` tokens, (V / lanes, D, lanes); with V lanes it
is the transposed one that products keep, with one it is row-major. Token v's numbers begin at
``v // lanes * lanes * D + v % lanes`` and lie `lanes` apart.

The rows that a minibatch touches are listed once each: ``place[v]`` is where token v stands in the list if v
stands there, so that `place` may begin with anything (Briggs & Torczon 1993, "An efficient representation
for sparse sets"), and rows that are not touched cost nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from ...batches import SIZE_R
from ...recording import Recording, Rows
from .jit import kernel
from .rows import clear

FEW = 1024  # terms that float32 may add up one by one


@kernel("look_up_rows")
def look_up_rows(sizes, tokens, n_columns, column, table, lanes, D, out):
    """out (R, D): the vectors of column `column` of tokens (R, n_columns)."""
    for k in range(cuda.grid(1), sizes[SIZE_R] * D, cuda.gridsize(1)):
        r, j = k // D, k % D
        v = tokens[r * n_columns + column]
        out[k] = table[v // lanes * lanes * D + v % lanes + j * lanes]


@kernel("add_to_table")
def add_to_table(sizes, tokens, n_columns, column, d, d_row, lanes, D, table):
    """table, or wide sums in its layout, += d (R, d_row) of each token. Threads own columns and walk the rows
    in order."""
    for j in range(cuda.grid(1), D, cuda.gridsize(1)):
        for r in range(sizes[SIZE_R]):
            v = tokens[r * n_columns + column]
            table[v // lanes * lanes * D + v % lanes + j * lanes] += d[r * d_row + j]


@kernel("round_table")
def round_table(n, wide, table):
    for k in range(cuda.grid(1), n, cuda.gridsize(1)):
        table[k] = wide[k]


@kernel("list_touched")
def list_touched(sizes, tokens, n_columns, column, place, touched, n_touched):
    """touched (n_touched,): each token that is read, in the order in which the rows have them first."""
    if cuda.grid(1) != 0:
        return
    n = 0
    for r in range(sizes[SIZE_R]):
        v = tokens[r * n_columns + column]
        k = place[v]
        if k < 0 or k >= n or touched[k] != v:
            place[v] = n
            touched[n] = v
            n += 1
    n_touched[0] = n


@kernel("add_touched")
def add_touched(sizes, tokens, n_columns, column, place, n_touched, d, d_row, D, sums):
    """sums (n_touched, D): of d (R, d_row), those of each token. Threads own columns and walk the rows in
    order."""
    for j in range(cuda.grid(1), D, cuda.gridsize(1)):
        for k in range(n_touched[0]):
            sums[k * D + j] = 0
        for r in range(sizes[SIZE_R]):
            sums[place[tokens[r * n_columns + column]] * D + j] += d[r * d_row + j]


@kernel("round_touched")
def round_touched(n_touched, D, wide, out):
    for k in range(cuda.grid(1), n_touched[0] * D, cuda.gridsize(1)):
        out[k] = wide[k]


def look_up(rec: Recording, tokens: Rows, column: int, table: Any, lanes: int, out: Rows) -> None:
    """Rows out (R, D) of the table's vectors."""
    s = rec.tape.steps(rec.steps)
    rec.tape.each(
        look_up_rows, s.max_rows * out.row, s.sizes, tokens.array, tokens.row, column, table, lanes, out.row,
        out.array,
    )  # fmt: skip


def look_up_backward(
    rec: Recording, tokens: Rows, column: int, d: Rows, width: int, lanes: int, table: Any
) -> None:
    """The gradient of the table, all of which is written."""
    n, tape, sums = len(table), rec.tape, table
    if rec.steps.max_rows > FEW:
        sums = rec.buffer("wide table", size=n, dtype=np.dtype(np.float64))
    tape.each(clear, n, n, sums)
    tape.each(
        add_to_table, width, tape.steps(rec.steps).sizes, tokens.array, tokens.row, column, d.array, d.row,
        lanes, width, sums,
    )  # fmt: skip
    if sums is not table:
        tape.each(round_table, n, n, sums, table)


def touched_gradient(
    rec: Recording, tokens: Rows, column: int, d: Rows, width: int, n_tokens: int, name: str
) -> tuple[Any, Any, Any]:
    """Of a row-major table, the numbers of the rows that are touched, how many, and their gradient."""
    tape, sizes, ints = rec.tape, rec.tape.steps(rec.steps).sizes, np.dtype(tokens.array.dtype)
    most = min(rec.steps.max_rows, n_tokens)
    place = rec.buffer("place", size=n_tokens, dtype=ints)
    touched = rec.buffer(name, "touched", size=most, dtype=ints)
    n_touched = rec.buffer(name, "n_touched", size=1, dtype=np.dtype(np.intp))
    sums = gradient = rec.buffer(name, "gradient of touched", size=most * width)
    if rec.steps.max_rows > FEW:
        sums = rec.buffer("wide rows", size=most * width, dtype=np.dtype(np.float64))
    tape.once(list_touched, sizes, tokens.array, tokens.row, column, place, touched, n_touched)
    tape.each(
        add_touched, width, sizes, tokens.array, tokens.row, column, place, n_touched, d.array, d.row, width,
        sums,
    )  # fmt: skip
    if sums is not gradient:
        tape.each(round_touched, most * width, n_touched, width, sums, gradient)
    return touched, n_touched, gradient
