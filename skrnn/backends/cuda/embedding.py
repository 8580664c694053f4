"""Tables of vectors that tokens look up.

A table for V tokens of D numbers is kept in panels of `lanes` tokens, (V / lanes, D, lanes); with V lanes it
is the transposed one that products keep, with one it is row-major. Token v's numbers begin at
``v // lanes * lanes * D + v % lanes`` and lie `lanes` apart.
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
