"""Directions of a layer: reading backwards, states side by side, gradients apart again."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np

from ...batches import SIZE_B, SIZE_T
from .jit import kernel
from .simd import clear, copy, part
from .threads import own_range
from .workspace import Rows


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
        last_states=last_states,
        split_last=split_last,
        clear_rows=clear_rows,
    )


def reverse(tape, X: Rows, steps, n, work, name) -> Rows:
    """Every sequence from its own end."""
    out = work.get("reverse", name, size=steps.max_rows * n)
    tape.share(direction_kernels(work.dtype).copy_columns, *steps.layout, True, *X, 0, out, n, 0, n, 0)
    return Rows(out, n, False)


def join(tape, parts, steps, work, name) -> Rows:
    """The states of a layer's directions, (layer, trace) each, side by side and in forward order."""
    row, at = sum(layer.n_hidden for layer, _ in parts), 0
    out = work.get("join", name, size=steps.max_rows * row)
    for d, (layer, trace) in enumerate(parts):
        tape.share(
            direction_kernels(work.dtype).copy_columns, *steps.layout, d == 1, *layer.states(trace), 0,
            out, row, at, layer.n_hidden, 0,
        )  # fmt: skip
        at += layer.n_hidden
    return Rows(out, row, False)


def split(tape, dY: Rows, column, layer, reverse, steps, work, name) -> Rows:
    """The columns of a joined gradient that are one direction's, in its own order."""
    width, n = layer.width, layer.n_hidden
    out = work.get("split", name, size=steps.max_rows * width)
    tape.share(
        direction_kernels(work.dtype).copy_columns, *steps.layout, reverse, *dY, column, out, width, 0, n,
        width - n,
    )  # fmt: skip
    return Rows(out, width, False)


def add_reversed(tape, target: Rows, source: Rows, steps) -> None:
    """Add the gradient of a reversed input, `source`, to that of the input."""
    tape.share(
        direction_kernels(target.array.dtype).add_reversed, *steps.layout, target.row, source.array,
        target.array,
    )  # fmt: skip


def last_states(tape, parts, steps, work) -> Rows:
    """Hidden states after each sequence's last step, directions side by side: rows (B, D)."""
    row, at = sum(layer.n_hidden for layer, _ in parts), 0
    out = work.get("last states", size=steps.max_sequences * row)
    for layer, trace in parts:
        tape.call(
            direction_kernels(work.dtype).last_states, steps.sizes, steps.row_at, steps.lengths, layer.width,
            trace.H, True, layer.n_hidden, at, row, out,
        )  # fmt: skip
        at += layer.n_hidden
    return Rows(out, row, False)


def begin_backward(tape, layer, d_last: Rows | None, column, steps, work, name) -> None:
    """The gradient of the last states: columns of `d_last`, or zero."""
    kernels = direction_kernels(work.dtype)
    dH, dC = layer.gradient_of_states(steps, work, name)
    if d_last is None:
        tape.call(kernels.clear_rows, steps.sizes, layer.width, dH)
    else:
        tape.call(
            kernels.split_last, steps.sizes, d_last.row, column, layer.n_hidden, layer.width, d_last.array, dH
        )
    if layer.cell.has_c:
        tape.call(kernels.clear_rows, steps.sizes, layer.width, dC)
