"""Directions of a layer: reading backwards, states side by side, gradients apart again."""

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
def direction_kernels(dtype: np.dtype) -> SimpleNamespace:
    @kernel("copy_columns", dtype.name)
    def copy_columns(thread, n_threads, sizes, counts, row_at, lengths, reverse, source, source_row,
                     past, source0, target, target_row, target0, n, cleared):  # fmt: skip
        """target[r, target0:][:n] = source[r, source0:][:n], of the mirrored row if `reverse`.

        The source's rows begin after B more if `past`; `cleared` columns after them become 0.
        """
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

    @kernel("last_states", dtype.name)
    def last_states(sizes, row_at, lengths, width, states, kept, n, column, out_row, out):
        """out[i, column:][:n] = sequence i's state after its last step; rest of a row of width `out_row`
        untouched. states (B + R, width) or, if not `kept`, (B, width)."""
        B = sizes[SIZE_B]
        for i in range(B):
            row = B + row_at[lengths[i] - 1] + i if kept else i
            copy(n, states, row * width, out, i * out_row + column)

    @kernel("split_last", dtype.name)
    def split_last(sizes, d_row, column, n, width, d, dH):
        """dH (B, width) = columns of d (B, d_row), zero beyond the first n."""
        for i in range(sizes[SIZE_B]):
            copy(n, d, i * d_row + column, dH, i * width)
            clear(dH, i * width + n, width - n)

    @kernel("clear_rows", dtype.name)
    def clear_rows(sizes, width, out):
        clear(out, 0, sizes[SIZE_B] * width)

    return SimpleNamespace(
        copy_columns=copy_columns,
        add_reversed=add_reversed,
        add_rows=add_rows,
        last_states=last_states,
        split_last=split_last,
        clear_rows=clear_rows,
    )


def _copy(rec: Recording, reverse, source: Rows, source0, target: Rows, target0, n, cleared=0) -> None:
    rec.tape.share(
        direction_kernels(rec.work.dtype).copy_columns, *rec.steps.layout, reverse, source.array, source.row,
        source.past, source0, target.array, target.row, target0, n, cleared,
    )  # fmt: skip


def reverse(rec: Recording, X: Rows, n: int, name: str) -> Rows:
    """Every sequence from its own end."""
    out = rec.rows(name, "reverse", row=n)
    _copy(rec, True, X, 0, out, 0, n)
    return out


def join(rec: Recording, parts, name: str) -> Rows:
    """The states of a layer's directions, (layer, trace) each, side by side and in forward order."""
    out, at = rec.rows(name, "join", row=sum(layer.n_hidden for layer, _ in parts)), 0
    for d, (layer, trace) in enumerate(parts):
        _copy(rec, d == 1, layer.states(trace), 0, out, at, layer.n_hidden)
        at += layer.n_hidden
    return out


def split(rec: Recording, dY: Rows, column, layer, reverse, name: str) -> Rows:
    """The columns of a joined gradient that are one direction's, in its own order."""
    out = rec.rows(name, "split", row=layer.width)
    _copy(rec, reverse, dY, column, out, 0, layer.n_hidden, layer.width - layer.n_hidden)
    return out


def add_reversed(rec: Recording, target: Rows, source: Rows) -> None:
    """Add the gradient of a reversed input, `source`, to that of the input."""
    rec.tape.share(
        direction_kernels(rec.work.dtype).add_reversed, *rec.steps.layout, target.row, source.array,
        target.array,
    )  # fmt: skip


def add(rec: Recording, target: Rows, source: Rows) -> None:
    """Add one gradient of a value to another; what their rows have more than it is zero."""
    rec.tape.share(
        direction_kernels(rec.work.dtype).add_rows, rec.steps.sizes, target.per, target.row, target.array,
        source.row, source.array,
    )  # fmt: skip


def last_states(rec: Recording, parts, name: str) -> Rows:
    """Hidden states after each sequence's last step, directions side by side: rows (B, D)."""
    out, at = rec.rows(name, "last states", row=sum(layer.n_hidden for layer, _ in parts), per=SIZE_B), 0
    for layer, trace in parts:
        rec.tape.call(
            direction_kernels(rec.work.dtype).last_states, rec.steps.sizes, rec.steps.row_at,
            rec.steps.lengths, layer.width, trace.H, True, layer.n_hidden, at, out.row, out.array,
        )  # fmt: skip
        at += layer.n_hidden
    return out


def begin_backward(rec: Recording, layer, d_last: Rows | None, column, name: str) -> None:
    """The gradient of the last states: columns of `d_last`, or zero."""
    kernels, sizes = direction_kernels(rec.work.dtype), rec.steps.sizes
    dH, dC = layer.gradient_of_states(rec, name)
    if d_last is None:
        rec.tape.call(kernels.clear_rows, sizes, layer.width, dH)
    else:
        rec.tape.call(
            kernels.split_last, sizes, d_last.row, column, layer.n_hidden, layer.width, d_last.array, dH
        )
    if layer.cell.has_c:
        rec.tape.call(kernels.clear_rows, sizes, layer.width, dC)
