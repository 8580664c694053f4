"""Directions of a layer: reading backwards, states side by side, gradients apart again."""

from __future__ import annotations

from numba import cuda

from ...batches import SIZE_B, SIZE_R
from .jit import kernel
from .tape import Tape
from .workspace import Rows


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


@kernel("clear")
def clear(n, out):
    for k in range(cuda.grid(1), n, cuda.gridsize(1)):
        out[k] = 0


def _copy(tape: Tape, steps, reverse, source: Rows, source0, target: Rows, target0, n) -> None:
    s = tape.steps(steps)
    tape.each(
        copy_columns,
        s.max_rows * n,
        s.sizes,
        SIZE_R,
        s.mirror,
        reverse,
        *source,
        source0,
        *target,
        target0,
        n,
    )


def reverse(tape: Tape, X: Rows, steps, n, work, name) -> Rows:
    """Every sequence from its own end."""
    out = Rows(work.get("reverse", name, size=steps.max_rows * n), n)
    _copy(tape, steps, True, X, 0, out, 0, n)
    return out


def join(tape: Tape, parts, steps, work, name) -> Rows:
    """The states of a layer's directions, (layer, trace) each, side by side and in forward order."""
    row, at = sum(layer.n_hidden for layer, _ in parts), 0
    out = Rows(work.get("join", name, size=steps.max_rows * row), row)
    for d, (layer, trace) in enumerate(parts):
        _copy(tape, steps, d == 1, layer.states(trace), 0, out, at, layer.n_hidden)
        at += layer.n_hidden
    return out


def split(tape: Tape, dY: Rows, column, layer, reverse, steps, work, name) -> Rows:
    """The columns of a joined gradient that are one direction's, in its own order."""
    n = layer.n_hidden
    out = Rows(work.get("split", name, size=steps.max_rows * n), n)
    _copy(tape, steps, reverse, dY, column, out, 0, n)
    return out


def add_reversed(tape: Tape, target: Rows, source: Rows, steps) -> None:
    """Add the gradient of a reversed input, `source`, to that of the input."""
    s = tape.steps(steps)
    tape.each(
        add_mirrored, s.max_rows * target.row, s.sizes, s.mirror, target.row, source.array, target.array
    )


def last_states(tape: Tape, parts, steps, work) -> Rows:
    """Hidden states after each sequence's last step, directions side by side: rows (B, D)."""
    row, at = sum(layer.n_hidden for layer, _ in parts), 0
    out, s = work.get("last states", size=steps.max_sequences * row), tape.steps(steps)
    for layer, trace in parts:
        n = layer.n_hidden
        tape.each(
            copy_columns, s.max_sequences * n, s.sizes, SIZE_B, s.mirror, False, trace.h_last, n, 0, out, row,
            at, n,
        )  # fmt: skip
        at += n
    return Rows(out, row)


def begin_backward(tape: Tape, layer, d_last: Rows | None, column, steps, work, name) -> None:
    """The gradient of the last states: columns of `d_last`, or zero."""
    dH, dC = layer.gradient_of_states(steps, work, name)
    s, n = tape.steps(steps), layer.n_hidden
    size = s.max_sequences * n
    if d_last is None:
        tape.each(clear, size, size, dH)
    else:
        tape.each(
            copy_columns, size, s.sizes, SIZE_B, s.mirror, False, *d_last, column, dH, n, 0, n
        )  # fmt: skip
    if layer.cell.has_c:
        tape.each(clear, size, size, dC)
