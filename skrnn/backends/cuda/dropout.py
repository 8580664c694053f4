"""Dropout masks, from `skrnn.counters`."""

from __future__ import annotations

from typing import Any

from numba import cuda

from ... import counters
from ...batches import SIZE_B, SIZE_EPOCH, SIZE_FIRST, SIZE_R
from .jit import function, kernel
from .tape import Tape
from .workspace import Rows

mix, sequence_key, survives = counters.functions(function)


@kernel("fill_mask")
def fill_mask(sizes, sequence, seed, stream, units, rate, scale, out):
    """out (B, units): inverted dropout, one mask per sequence."""
    for k in range(cuda.grid(1), sizes[SIZE_B] * units, cuda.gridsize(1)):
        key = sequence_key(seed, sizes[SIZE_EPOCH], stream, sequence[k // units])
        out[k] = scale if survives(key, k % units, rate) else 0


@kernel("drop")
def drop(sizes, step_of, place_of, sequence, seed, stream, width, rate, scale, x_row, X):
    """Inverted dropout of every element of X (R, x_row), in place; its own backward pass."""
    for k in range(cuda.grid(1), sizes[SIZE_R] * width, cuda.gridsize(1)):
        r, j = k // width, k % width
        key = sequence_key(seed, sizes[SIZE_EPOCH], stream, sequence[place_of[r]])
        counter = (sizes[SIZE_FIRST] + step_of[r]) * width + j
        X[r * x_row + j] *= scale if survives(key, counter, rate) else 0


def sequence_mask(tape: Tape, steps, seed, stream, layer, rate, work, name) -> Any:
    """Recurrent dropout: flat (B, H), one mask per sequence."""
    s, size = tape.steps(steps), steps.max_sequences * layer.n_hidden
    out = work.get("mask", name, size=size)
    tape.each(
        fill_mask, size, s.sizes, s.sequence, seed, stream, layer.n_hidden, float(rate),
        work.dtype.type(1 / (1 - rate)), out,
    )  # fmt: skip
    return out


def drop_steps(tape: Tape, X: Rows, steps, seed, stream, width, rate) -> None:
    """Dropout of single elements of rows X (R, width), in place; also its backward pass."""
    s = tape.steps(steps)
    tape.each(
        drop, s.max_rows * width, s.sizes, s.step_of, s.place_of, s.sequence, seed, stream, width,
        float(rate), X.array.dtype.type(1 / (1 - rate)), X.row, X.array,
    )  # fmt: skip
