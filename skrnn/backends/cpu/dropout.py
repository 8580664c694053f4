"""Dropout and masks, from `skrnn.counters`."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np

from ... import counters
from ...batches import SIZE_B, SIZE_EPOCH, SIZE_FIRST, SIZE_R
from ...recording import Recording, Rows
from .elementary import keyed
from .jit import kernel
from .simd import clear, part
from .threads import own_sequences

mix, sequence_key, survives, uniform, stretch = counters.functions(keyed("counters"))


@cache
def dropout_kernels(dtype: np.dtype) -> SimpleNamespace:
    zero, scalar = dtype.type(0), dtype.type

    @kernel("sequence_mask", dtype.name)
    def sequence_mask(sizes, sequence, seed, stream, units, width, rate, out):
        """out (B, width): inverted dropout, one mask per sequence; columns after `units` are zero."""
        scale = scalar(1.0 / (1.0 - rate))
        for i in range(sizes[SIZE_B]):
            key = sequence_key(seed, sizes[SIZE_EPOCH], stream, sequence[i])
            for j in range(width):
                kept = j < units and survives(key, j, rate)
                out[i * width + j] = scale if kept else zero

    @kernel("drop_out", dtype.name)
    def drop_out(thread, n_threads, sizes, row_at, lengths, sequence, seed, stream, width, rate, per,
                 x_row, X):  # fmt: skip
        """Inverted dropout of every element of X (M, x_row), in place; its own backward pass. A row per
        sequence is like a first step."""
        scale = scalar(1.0 / (1.0 - rate))
        lo, hi = own_sequences(thread, n_threads, sizes, lengths)
        for i in range(lo, hi):
            key = sequence_key(seed, sizes[SIZE_EPOCH], stream, sequence[i])
            begin = sizes[SIZE_FIRST] if per == SIZE_R else 0
            for t in range(lengths[i] if per == SIZE_R else 1):
                first, at = (begin + t) * width, (row_at[t] + i) * x_row
                for j in range(width):
                    X[at + j] *= scale if survives(key, first + j, rate) else zero

    @kernel("drop_tokens", dtype.name)
    def drop_tokens(thread, n_threads, sizes, row_at, lengths, sequence, tokens, n_columns, column, seed,
                    stream, rate, width, x_row, X):  # fmt: skip
        """Inverted dropout of rows of X (R, x_row), in place; of a sequence, all that read one token."""
        scale = scalar(1.0 / (1.0 - rate))
        lo, hi = own_sequences(thread, n_threads, sizes, lengths)
        for i in range(lo, hi):
            key = sequence_key(seed, sizes[SIZE_EPOCH], stream, sequence[i])
            for t in range(lengths[i]):
                r = row_at[t] + i
                x = part(X, r * x_row, width)
                factor = scale if survives(key, tokens[r * n_columns + column], rate) else zero
                for j in range(width):
                    x[j] *= factor

    @kernel("mask_out", dtype.name)
    def mask_out(thread, n_threads, sizes, row_at, lengths, sequence, seed, stream, width, n_steps, of_steps,
                 n_features, of_features, x_row, X):  # fmt: skip
        """Stretches of steps, and of features, of X (R, x_row) become zero."""
        lo, hi = own_sequences(thread, n_threads, sizes, lengths)
        for i in range(lo, hi):
            key, T = sequence_key(seed, sizes[SIZE_EPOCH], stream, sequence[i]), lengths[i]
            for number in range(n_steps):
                begin, end = stretch(key, number, T, of_steps)
                for t in range(begin, end):
                    clear(X, (row_at[t] + i) * x_row, width)
            for number in range(n_features):
                begin, end = stretch(key, n_steps + number, width, of_features)
                for t in range(T):
                    clear(X, (row_at[t] + i) * x_row + begin, end - begin)

    return SimpleNamespace(
        sequence_mask=sequence_mask, drop_out=drop_out, drop_tokens=drop_tokens, mask_out=mask_out
    )


def sequence_mask(rec: Recording, stream: int, layer, rate: float, name: str) -> np.ndarray:
    """Recurrent dropout: flat (B, layer.width), one mask per sequence."""
    steps, out = rec.steps, rec.buffer(name, "mask", size=rec.steps.max_sequences * layer.width)
    rec.tape.call(
        dropout_kernels(rec.work.dtype).sequence_mask, steps.sizes, steps.sequence, rec.dropout_seed, stream,
        layer.n_hidden, layer.width, float(rate), out,
    )  # fmt: skip
    return out


def drop_out(rec: Recording, X: Rows, stream: int, width: int, rate: float) -> None:
    """Dropout of single elements of rows X (M, width), in place; also its backward pass."""
    steps = rec.steps
    rec.tape.share(
        dropout_kernels(rec.work.dtype).drop_out, steps.sizes, steps.row_at, steps.lengths, steps.sequence,
        rec.dropout_seed, stream, width, float(rate), X.per, X.row, X.array,
    )  # fmt: skip


def drop_tokens(
    rec: Recording, X: Rows, tokens: Rows, column: int, stream: int, width: int, rate: float
) -> None:
    """Dropout of whole tokens from rows X (R, width), in place; also its backward pass."""
    steps = rec.steps
    rec.tape.share(
        dropout_kernels(rec.work.dtype).drop_tokens, steps.sizes, steps.row_at, steps.lengths, steps.sequence,
        tokens.array, tokens.row, column, rec.dropout_seed, stream, float(rate), width, X.row, X.array,
    )  # fmt: skip


def mask_out(rec: Recording, X: Rows, stream: int, width: int, steps, features) -> None:
    """Masks over steps and features of rows X (R, width), in place; also its backward pass."""
    s = rec.steps
    rec.tape.share(
        dropout_kernels(rec.work.dtype).mask_out, s.sizes, s.row_at, s.lengths, s.sequence, rec.dropout_seed,
        stream, width, *steps, *features, X.row, X.array,
    )  # fmt: skip
