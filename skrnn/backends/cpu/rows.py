"""From rows to rows: columns copied, also of the mirrored steps, added, cleared, and those of mates."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np

from ...batches import SIZE_B, SIZE_T
from ...recording import Recording, Rows
from .jit import kernel
from .simd import clear, copy, part
from .threads import own_range


@kernel("mirrored")
def mirrored(row_at, lengths, t, i):
    """Packed row of sequence i's step t counted from its end."""
    return row_at[lengths[i] - 1 - t] + i


@cache
def row_kernels(dtype: np.dtype) -> SimpleNamespace:
    @kernel("copy_columns", dtype.name)
    def copy_columns(thread, n_threads, sizes, counts, row_at, lengths, per, reverse, source, source_row,
                     past, source0, target, target_row, target0, n, cleared):  # fmt: skip
        """target[r, target0:][:n] = source[r, source0:][:n], of the mirrored row if `reverse`.

        The source's rows begin after B more if `past`; `cleared` columns after them become 0.
        """
        if per == SIZE_B:
            lo, hi = own_range(thread, n_threads, sizes[SIZE_B])
            for i in range(lo, hi):
                copy(n, source, i * source_row + source0, target, i * target_row + target0)
                clear(target, i * target_row + target0 + n, cleared)
            return
        lo, hi = own_range(thread, n_threads, sizes[SIZE_T])
        skip = sizes[SIZE_B] if past else 0
        for t in range(lo, hi):
            for i in range(counts[t]):
                r = row_at[t] + i
                a = (skip + (mirrored(row_at, lengths, t, i) if reverse else r)) * source_row + source0
                b = r * target_row + target0
                copy(n, source, a, target, b)
                clear(target, b + n, cleared)

    @kernel("add_reversed", dtype.name)
    def add_reversed(thread, n_threads, sizes, counts, row_at, lengths, row, source, target):
        """target[mirrored r] += source[r], `row` columns."""
        lo, hi = own_range(thread, n_threads, sizes[SIZE_T])
        for t in range(lo, hi):
            for i in range(counts[t]):
                a, b = (row_at[t] + i) * row, mirrored(row_at, lengths, t, i) * row
                x, y = part(source, a, row), part(target, b, row)
                for j in range(row):
                    y[j] += x[j]

    @kernel("add_rows", dtype.name)
    def add_rows(thread, n_threads, sizes, per, row, target, n, source):
        """target (M, row) += source (M, n), the columns that both have."""
        lo, hi = own_range(thread, n_threads, sizes[per])
        for m in range(lo, hi):
            x, y = part(source, m * n, min(n, row)), part(target, m * row, min(n, row))
            for j in range(len(x)):
                y[j] += x[j]

    @kernel("add_flat", dtype.name)
    def add_flat(thread, n_threads, target, source):
        lo, hi = own_range(thread, n_threads, len(target))
        x, y = part(source, lo, hi - lo), part(target, lo, hi - lo)
        for j in range(len(x)):
            y[j] += x[j]

    @kernel("take_mates", dtype.name)
    def take_mates(sizes, mate, back, row, source, target):
        """target (B, row): of each sequence's mate; or, going back, to its mate."""
        for i in range(sizes[SIZE_B]):
            a, b = mate[i], i
            if back:
                a, b = i, mate[i]
            copy(row, source, a * row, target, b * row)

    @kernel("last_states", dtype.name)
    def last_states(sizes, row_at, lengths, width, states, kept, n, column, out_row, out):
        """out[i, column:][:n] = sequence i's state after its last step; rest of a row of width `out_row`
        untouched. states (B + R, width) or, if not `kept`, (B, width)."""
        B = sizes[SIZE_B]
        for i in range(B):
            row = B + row_at[lengths[i] - 1] + i if kept else i
            copy(n, states, row * width, out, i * out_row + column)

    @kernel("clear_rows", dtype.name)
    def clear_rows(sizes, per, row, out):
        clear(out, 0, sizes[per] * row)

    return SimpleNamespace(
        copy_columns=copy_columns,
        add_reversed=add_reversed,
        add_rows=add_rows,
        add_flat=add_flat,
        take_mates=take_mates,
        last_states=last_states,
        clear_rows=clear_rows,
    )


def copy_rows(
    rec: Recording, source: Rows, source0: int, target: Rows, target0: int, n: int, *,
    reverse: bool = False, pad: bool = False,
) -> None:  # fmt: skip
    """Some columns, of the steps in reverse if asked for; with `pad`, those after them become zero."""
    rec.tape.share(
        row_kernels(rec.work.dtype).copy_columns, *rec.steps.layout, target.per, reverse, source.array,
        source.row, source.past, source0, target.array, target.row, target0, n,
        target.row - target0 - n if pad else 0,
    )  # fmt: skip


def add_reversed(rec: Recording, target: Rows, source: Rows) -> None:
    """Add the gradient of a reversed input, `source`, to that of the input."""
    rec.tape.share(
        row_kernels(rec.work.dtype).add_reversed, *rec.steps.layout, target.row, source.array,
        target.array,
    )  # fmt: skip


def add(rec: Recording, target: Rows, source: Rows) -> None:
    """Add one gradient of a value to another; columns that only one of them has are zero."""
    rec.tape.share(
        row_kernels(rec.work.dtype).add_rows, rec.steps.sizes, target.per, target.row, target.array,
        source.row, source.array,
    )  # fmt: skip


def add_flat(rec: Recording, target: np.ndarray, source: np.ndarray) -> None:
    """Add flat arrays of one size."""
    rec.tape.share(row_kernels(rec.work.dtype).add_flat, target, source)


def take_mates(rec: Recording, source: Rows, target: Rows, *, back: bool = False) -> None:
    """Rows (B, .) of the other side, in the order of this one; `back`: of this one, in the other's."""
    rec.tape.call(
        row_kernels(rec.work.dtype).take_mates, rec.steps.sizes, rec.steps.mate, back, source.row,
        source.array, target.array,
    )  # fmt: skip


def clear_rows(rec: Recording, rows: Rows) -> None:
    kernel = row_kernels(rec.work.dtype).clear_rows
    rec.tape.call(kernel, rec.steps.sizes, rows.per, rows.row, rows.array)
