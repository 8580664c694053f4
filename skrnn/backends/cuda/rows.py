"""From rows to rows: columns copied, also of the mirrored steps, added, cleared, and those of mates."""

from __future__ import annotations

from typing import Any

from numba import cuda

from ...batches import SIZE_B, SIZE_R
from ...recording import Recording, Rows
from .jit import kernel


@kernel("copy_columns")
def copy_columns(sizes, which, mirror, reverse, source, source_row, source0, target, target_row, target0, n):
    """target[r, target0:][:n] = source[r, source0:][:n] of `sizes[which]` rows, of the mirrored row if
    `reverse`."""
    for k in range(cuda.grid(1), sizes[which] * n, cuda.gridsize(1)):
        r, j = k // n, k % n
        from_row = mirror[r] if reverse else r
        target[r * target_row + target0 + j] = source[from_row * source_row + source0 + j]


@kernel("add_mirrored")
def add_mirrored(sizes, mirror, row, source, target):
    """target[r] += source[mirrored r], `row` columns."""
    for k in range(cuda.grid(1), sizes[SIZE_R] * row, cuda.gridsize(1)):
        target[k] += source[mirror[k // row] * row + k % row]


@kernel("add_rows")
def add_rows(sizes, which, row, target, n, source):
    """target (M, row) += source (M, n), the columns that both have."""
    both = min(n, row)
    for k in range(cuda.grid(1), sizes[which] * both, cuda.gridsize(1)):
        target[k // both * row + k % both] += source[k // both * n + k % both]


@kernel("add_flat")
def add_flat_kernel(n, target, source):
    for k in range(cuda.grid(1), n, cuda.gridsize(1)):
        target[k] += source[k]


@kernel("copy_mates")
def copy_mates(sizes, mate, back, row, source, target):
    """target (B, row): of each sequence's mate; or, going back, to its mate."""
    for k in range(cuda.grid(1), sizes[SIZE_B] * row, cuda.gridsize(1)):
        i, j = k // row, k % row
        if back:
            target[mate[i] * row + j] = source[k]
        else:
            target[k] = source[mate[i] * row + j]


@kernel("clear")
def clear(n, out):
    for k in range(cuda.grid(1), n, cuda.gridsize(1)):
        out[k] = 0


@kernel("clear_tail")
def clear_tail(sizes, which, n_rows, row, X):
    """Rows from that of `sizes[which]` on: products over all rows that there is room for read them."""
    for at in range(sizes[which] * row + cuda.grid(1), n_rows * row, cuda.gridsize(1)):
        X[at] = 0


def copy_rows(
    rec: Recording, source: Rows, source0: int, target: Rows, target0: int, n: int, *,
    reverse: bool = False, pad: bool = False,
) -> None:  # fmt: skip
    """Some columns, of the steps in reverse if asked for; rows here are not padded."""
    s = rec.tape.steps(rec.steps)
    rec.tape.each(
        copy_columns, rec.room(target.per) * n, s.sizes, target.per, s.mirror, reverse, source.array,
        source.row, source0, target.array, target.row, target0, n,
    )  # fmt: skip


def add_reversed(rec: Recording, target: Rows, source: Rows) -> None:
    """Add the gradient of a reversed input, `source`, to that of the input."""
    s = rec.tape.steps(rec.steps)
    rec.tape.each(
        add_mirrored, s.max_rows * target.row, s.sizes, s.mirror, target.row, source.array, target.array
    )


def add(rec: Recording, target: Rows, source: Rows) -> None:
    """Add one gradient of a value to another."""
    rec.tape.each(
        add_rows, rec.room(target.per) * target.row, rec.tape.steps(rec.steps).sizes, target.per, target.row,
        target.array, source.row, source.array,
    )  # fmt: skip


def add_flat(rec: Recording, target: Any, source: Any) -> None:
    """Add flat arrays of one size."""
    rec.tape.each(add_flat_kernel, len(target), len(target), target, source)


def take_mates(rec: Recording, source: Rows, target: Rows, *, back: bool = False) -> None:
    """Rows (B, .) of the other side, in the order of this one; `back`: of this one, in the other's."""
    s, row = rec.tape.steps(rec.steps), source.row
    rec.tape.each(copy_mates, s.max_sequences * row, s.sizes, s.mate, back, row, source.array, target.array)


def clear_rows(rec: Recording, rows: Rows) -> None:
    size = rec.room(rows.per) * rows.row
    rec.tape.each(clear, size, size, rows.array)
