"""Directions of a layer: reading backwards, states side by side, gradients apart again."""

from __future__ import annotations

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


@kernel("clear")
def clear(n, out):
    for k in range(cuda.grid(1), n, cuda.gridsize(1)):
        out[k] = 0


def _copy(rec: Recording, reverse, source: Rows, source0, target: Rows, target0, n) -> None:
    s = rec.tape.steps(rec.steps)
    rec.tape.each(
        copy_columns, rec.room(target.per) * n, s.sizes, target.per, s.mirror, reverse, source.array,
        source.row, source0, target.array, target.row, target0, n,
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
    out = rec.rows(name, "split", row=layer.n_hidden)
    _copy(rec, reverse, dY, column, out, 0, layer.n_hidden)
    return out


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


def last_states(rec: Recording, parts, name: str) -> Rows:
    """Hidden states after each sequence's last step, directions side by side: rows (B, D)."""
    out, at = rec.rows(name, "last states", row=sum(layer.n_hidden for layer, _ in parts), per=SIZE_B), 0
    for layer, trace in parts:
        n = layer.n_hidden
        _copy(rec, False, Rows(trace.h_last, n, SIZE_B), 0, out, at, n)
        at += n
    return out


def begin_backward(rec: Recording, layer, d_last: Rows | None, column, name: str) -> None:
    """The gradient of the last states: columns of `d_last`, or zero."""
    (dH, dC), n = layer.gradient_of_states(rec, name), layer.n_hidden
    size = rec.steps.max_sequences * n
    if d_last is None:
        rec.tape.each(clear, size, size, dH)
    else:
        _copy(rec, False, d_last, column, Rows(dH, n, SIZE_B), 0, n)
    if layer.cell.has_c:
        rec.tape.each(clear, size, size, dC)
