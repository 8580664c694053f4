"""Kernels on packed rows: joining directions, pooling over time, dropout masks."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np

from .jit import kernel


@kernel()
def mix(x):
    """SplitMix64's finaliser (Steele, Lea & Flood 2014): a counter in, 64 random bits out."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@kernel()
def sequence_key(seed, epoch, stream, sequence):
    """Key of one sequence's masks in one epoch; `stream` numbers the network's dropout places."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    key = mix(np.uint64(seed) + golden)
    key = mix(key + np.uint64(epoch) * golden + golden)
    key = mix(key + np.uint64(stream) * golden + golden)
    return mix(key + np.uint64(sequence) * golden + golden)


@kernel()
def survives(key, counter, rate):
    """Whether unit number `counter` is kept, with probability 1 - rate."""
    bits = mix(key + (np.uint64(counter) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15))
    return np.float64(bits >> np.uint64(11)) * 2.0**-53 >= rate


@cache
def packed_kernels(dtype: np.dtype) -> SimpleNamespace:
    zero, scalar = dtype.type(0), dtype.type

    @kernel("sequence_mask", dtype.name)
    def sequence_mask(seed, epoch, stream, sequences, units, width, rate, out):
        """out (B, width): inverted dropout, one mask per sequence; columns after `units` are zero."""
        scale = scalar(1.0 / (1.0 - rate))
        for i in range(len(sequences)):
            key = sequence_key(seed, epoch, stream, sequences[i])
            for j in range(width):
                kept = j < units and survives(key, j, rate)
                out[i * width + j] = scale if kept else zero

    @kernel("drop_steps", dtype.name)
    def drop_steps(seed, epoch, stream, sequences, sequence, step, first_step, width, rate, X):
        """Inverted dropout of every element of X (R, width), in place; its own backward pass."""
        scale = scalar(1.0 / (1.0 - rate))
        keys = np.empty(len(sequences), np.uint64)
        for i in range(len(sequences)):
            keys[i] = sequence_key(seed, epoch, stream, sequences[i])
        for r in range(len(step)):
            key, first = keys[sequence[r]], (first_step + step[r]) * width
            for j in range(width):
                X[r * width + j] *= scale if survives(key, first + j, rate) else zero

    @kernel("gather", dtype.name)
    def gather(values, rows, width, shift, scale, sequence, order, scaled, out):
        """out (R, width): rows of `values`, as (row - shift) * scale of its sequence if `scaled`."""
        for r in range(len(rows)):
            source = values[rows[r] * width : (rows[r] + 1) * width]
            target = out[r * width : (r + 1) * width]
            if scaled:
                own = order[sequence[r]] * width
                for j in range(width):
                    target[j] = (source[j] - shift[own + j]) * scale[own + j]
            else:
                for j in range(width):
                    target[j] = source[j]

    @kernel("copy_columns", dtype.name)
    def copy_columns(rows, source, source_row, source0, target, target_row, target0, width):
        """target[r, target0:] = source[rows[r], source0:], `width` columns."""
        for r in range(len(rows)):
            a, b = rows[r] * source_row + source0, r * target_row + target0
            x, y = source[a : a + width], target[b : b + width]
            for j in range(width):
                y[j] = x[j]

    @kernel("add_columns_at", dtype.name)
    def add_columns_at(rows, source, source_row, source0, target, target_row, width):
        """target[rows[r]] += source[r, source0:], `width` columns."""
        for r in range(len(rows)):
            a, b = r * source_row + source0, rows[r] * target_row
            x, y = source[a : a + width], target[b : b + width]
            for j in range(width):
                y[j] += x[j]

    @kernel("pool_mean", dtype.name)
    def pool_mean(counts, row_at, lengths, width, X, total, out):
        """total (B, width) += sum over each sequence's own steps, in time order; out: over lengths."""
        for t in range(len(counts)):
            x = X[row_at[t] * width : (row_at[t] + counts[t]) * width]
            for j in range(len(x)):
                total[j] += x[j]
        for i in range(len(lengths)):
            for j in range(width):
                out[i * width + j] = total[i * width + j] / scalar(lengths[i])

    @kernel("pool_mean_backward", dtype.name)
    def pool_mean_backward(counts, row_at, lengths, width, d_row, dout, dX):
        for t in range(len(counts)):
            for i in range(counts[t]):
                for j in range(width):
                    dX[(row_at[t] + i) * width + j] = dout[i * d_row + j] / scalar(lengths[i])

    @kernel("pool_max", dtype.name)
    def pool_max(counts, row_at, width, X, out, where):
        """out (B, width): the larger of itself and each sequence's own steps; `where`: which step."""
        where[: counts[0] * width] = -1
        for t in range(len(counts)):
            x = row_at[t] * width
            for j in range(counts[t] * width):
                # A NaN is taken and then stays: it must not be hidden by a later step.
                if X[x + j] > out[j] or X[x + j] != X[x + j]:
                    out[j] = X[x + j]
                    where[j] = t

    @kernel("pool_max_backward", dtype.name)
    def pool_max_backward(counts, row_at, width, d_row, dout, where, dX):
        for t in range(len(counts)):
            for i in range(counts[t]):
                for j in range(width):
                    hit = where[i * width + j] == t
                    dX[(row_at[t] + i) * width + j] = dout[i * d_row + j] if hit else zero

    return SimpleNamespace(
        sequence_mask=sequence_mask,
        drop_steps=drop_steps,
        gather=gather,
        copy_columns=copy_columns,
        add_columns_at=add_columns_at,
        pool_mean=pool_mean,
        pool_mean_backward=pool_mean_backward,
        pool_max=pool_max,
        pool_max_backward=pool_max_backward,
    )


# --- the backend's functions on packed rows ---------------------------------------------------------
def gather(values, rows, steps, work, *, shift=None, scale=None):
    """X flat (R, F): the rows of `values` (N, F) in packed order, shifted and scaled by sequence."""
    width = values.shape[1]
    out = work.get("gather", size=len(rows) * width)
    none = np.empty(0, work.dtype)
    scaled = shift is not None
    packed_kernels(work.dtype).gather(
        values.reshape(-1), rows, width, shift.reshape(-1) if scaled else none,
        scale.reshape(-1) if scaled else none, steps.sequence, steps.order, scaled, out,
    )  # fmt: skip
    return out


def join(parts, steps, work, name):
    """The outputs of a layer's directions side by side: flat (R, D) in packed, forward order.

    `parts` are (H flat (B + R, Hp), Hp, width, reverse) per direction.
    """
    B, R, D = len(steps), steps.n_rows, sum(width for _, _, width, _ in parts)
    out = work.get("join", name, size=R * D)
    copy, at = packed_kernels(work.dtype).copy_columns, 0
    for H, row, width, reverse in parts:
        rows = steps.reversed_rows if reverse else steps.forward_rows
        copy(rows, H[B * row :], row, 0, out, D, at, width)
        at += width
    return out


def reverse(X, steps, width, work, name):
    """X flat (R, width) with every sequence read from its own end."""
    out = work.get("reverse", name, size=steps.n_rows * width)
    packed_kernels(work.dtype).copy_columns(steps.reversed_rows, X, width, 0, out, width, 0, width)
    return out


def spread(dX, dX_row, column, row, width, reverse, steps, work, name):
    """Columns of dX (R, dX_row) as the gradient dY (R, row) of one direction's hidden states."""
    out = work.get("spread", name, size=steps.n_rows * row)
    out[:] = 0
    rows = steps.reversed_rows if reverse else steps.forward_rows
    packed_kernels(work.dtype).copy_columns(rows, dX, dX_row, column, out, row, 0, width)
    return out


def add_reversed(dX, dX_reverse, row, steps, work):
    """dX (R, row) += the other direction's, mirrored back."""
    kernels = packed_kernels(work.dtype)
    kernels.add_columns_at(steps.reversed_rows, dX_reverse, row, 0, dX, row, row)


def pool(kind, X, width, steps, lengths, carried, work):
    """Pool X (R, width) over time.

    `lengths` (B,) are the whole sequences' lengths and `carried` (B, width) the sum or maximum over
    their earlier chunks, or None. Returns features flat (B, width), what to carry on, and what
    `pool_backward` needs.
    """
    kernels, B = packed_kernels(work.dtype), len(steps)
    start = 0 if kind == "mean" else -np.inf
    total = np.full(B * width, start, work.dtype) if carried is None else carried.ravel()
    if kind == "mean":
        out = np.empty(B * width, work.dtype)
        kernels.pool_mean(steps.counts, steps.row_at, lengths, width, X, total, out)
        return out, total, None
    where = work.get("pool where", size=B * width, dtype=np.dtype(np.intp))
    kernels.pool_max(steps.counts, steps.row_at, width, X, total, where)
    return total, total, where


def pool_backward(kind, dout, d_row, where, width, steps, lengths, work):
    """dX flat (R, width) from dout flat (B, d_row)."""
    kernels = packed_kernels(work.dtype)
    dX = work.get("pool dX", size=steps.n_rows * width)
    if kind == "mean":
        kernels.pool_mean_backward(steps.counts, steps.row_at, lengths, width, d_row, dout, dX)
    else:
        kernels.pool_max_backward(steps.counts, steps.row_at, width, d_row, dout, where, dX)
    return dX


def sequence_mask(dropout, stream, units, width, rate, work, name):
    """Recurrent dropout: flat (B, width), one mask per sequence."""
    out = work.get("mask", name, size=len(dropout.sequences) * width)
    packed_kernels(work.dtype).sequence_mask(
        dropout.seed, dropout.epoch, stream, dropout.sequences, units, width, rate, out
    )
    return out


def drop_steps(dropout, stream, X, width, rate, steps, work):
    """Dropout of single elements of X flat (R, width), in place; also its backward pass."""
    packed_kernels(work.dtype).drop_steps(
        dropout.seed, dropout.epoch, stream, dropout.sequences, steps.sequence, steps.step,
        dropout.first_step, width, rate, X,
    )  # fmt: skip
