"""Dropout and masks, from `skrnn.counters`."""

from __future__ import annotations

from typing import Any

from numba import cuda

from ... import counters
from ...batches import SIZE_B, SIZE_EPOCH, SIZE_FIRST, SIZE_R
from ...recording import Recording, Rows
from .jit import function, kernel

mix, sequence_key, survives, uniform, stretch = counters.functions(function)


@kernel("fill_mask")
def fill_mask(sizes, sequence, seed, stream, units, rate, scale, out):
    """out (B, units): inverted dropout, one mask per sequence."""
    for k in range(cuda.grid(1), sizes[SIZE_B] * units, cuda.gridsize(1)):
        key = sequence_key(seed, sizes[SIZE_EPOCH], stream, sequence[k // units])
        out[k] = scale if survives(key, k % units, rate) else 0


@kernel("drop")
def drop(sizes, step_of, place_of, sequence, seed, stream, width, rate, scale, per, x_row, X):
    """Inverted dropout of every element of X (M, x_row), in place; its own backward pass. A row per sequence
    is like a first step."""
    for k in range(cuda.grid(1), sizes[per] * width, cuda.gridsize(1)):
        r, j = k // width, k % width
        i, counter = r, j
        if per == SIZE_R:
            i, counter = place_of[r], (sizes[SIZE_FIRST] + step_of[r]) * width + j
        key = sequence_key(seed, sizes[SIZE_EPOCH], stream, sequence[i])
        X[r * x_row + j] *= scale if survives(key, counter, rate) else 0


@kernel("drop_rows")
def drop_rows(sizes, place_of, sequence, tokens, n_columns, column, seed, stream, rate, scale, width, x_row,
              X):  # fmt: skip
    """Inverted dropout of rows of X (R, x_row), in place; of a sequence, all that read one token."""
    for k in range(cuda.grid(1), sizes[SIZE_R] * width, cuda.gridsize(1)):
        r, j = k // width, k % width
        key = sequence_key(seed, sizes[SIZE_EPOCH], stream, sequence[place_of[r]])
        X[r * x_row + j] *= scale if survives(key, tokens[r * n_columns + column], rate) else 0


@kernel("mask")
def mask(sizes, step_of, place_of, lengths, sequence, seed, stream, width, n_steps, of_steps, n_features,
         of_features, x_row, X):  # fmt: skip
    """Stretches of steps, and of features, of X (R, x_row) become zero."""
    for k in range(cuda.grid(1), sizes[SIZE_R] * width, cuda.gridsize(1)):
        r, j = k // width, k % width
        i, t = place_of[r], step_of[r]
        key = sequence_key(seed, sizes[SIZE_EPOCH], stream, sequence[i])
        for number in range(n_steps):
            begin, end = stretch(key, number, lengths[i], of_steps)
            if begin <= t < end:
                X[r * x_row + j] = 0
        for number in range(n_features):
            begin, end = stretch(key, n_steps + number, width, of_features)
            if begin <= j < end:
                X[r * x_row + j] = 0


def sequence_mask(rec: Recording, stream: int, layer, rate: float, name: str) -> Any:
    """Recurrent dropout: flat (B, H), one mask per sequence."""
    s, size = rec.tape.steps(rec.steps), rec.steps.max_sequences * layer.n_hidden
    out = rec.buffer(name, "mask", size=size)
    rec.tape.each(
        fill_mask, size, s.sizes, s.sequence, rec.dropout_seed, stream, layer.n_hidden, float(rate),
        rec.work.dtype.type(1 / (1 - rate)), out,
    )  # fmt: skip
    return out


def drop_out(rec: Recording, X: Rows, stream: int, width: int, rate: float) -> None:
    """Dropout of single elements of rows X (M, width), in place; also its backward pass."""
    s = rec.tape.steps(rec.steps)
    rec.tape.each(
        drop, rec.room(X.per) * width, s.sizes, s.step_of, s.place_of, s.sequence, rec.dropout_seed, stream,
        width, float(rate), rec.work.dtype.type(1 / (1 - rate)), X.per, X.row, X.array,
    )  # fmt: skip


def drop_tokens(
    rec: Recording, X: Rows, tokens: Rows, column: int, stream: int, width: int, rate: float
) -> None:
    """Dropout of whole tokens from rows X (R, width), in place; also its backward pass."""
    s = rec.tape.steps(rec.steps)
    rec.tape.each(
        drop_rows, s.max_rows * width, s.sizes, s.place_of, s.sequence, tokens.array, tokens.row, column,
        rec.dropout_seed, stream, float(rate), rec.work.dtype.type(1 / (1 - rate)), width, X.row, X.array,
    )  # fmt: skip


def mask_out(rec: Recording, X: Rows, stream: int, width: int, steps, features) -> None:
    """Masks over steps and features of rows X (R, width), in place; also its backward pass."""
    s = rec.tape.steps(rec.steps)
    rec.tape.each(
        mask, s.max_rows * width, s.sizes, s.step_of, s.place_of, s.lengths, s.sequence, rec.dropout_seed,
        stream, width, *steps, *features, X.row, X.array,
    )  # fmt: skip
