"""Reading minibatches: from jobs to packed rows, and results back to their sequences.

`sizes`, `counts`, `row_at`, `lengths`, `whole`, `sequence` and `row` are the arrays of `skrnn.batches.Steps`.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np

from ...batches import (
    JOB_CARRIED,
    JOB_COUNT,
    JOB_EPOCH,
    JOB_FIRST,
    JOB_SIZE,
    JOB_START,
    SIZE_B,
    SIZE_CARRIED,
    SIZE_EPOCH,
    SIZE_FIRST,
    SIZE_R,
    SIZE_T,
)
from ...recording import Recording, Rows
from .jit import kernel
from .simd import clear, copy
from .threads import own_range


@kernel("next_job")
def next_job(jobs, cursor, job):
    """cursor[0] += 1; job = that row of jobs (n, len(job))."""
    n = len(job)
    cursor[0] += 1
    copy(n, jobs, cursor[0] * n, job, 0)


@kernel("pack")
def pack(job, order, mates, all_starts, all_lengths, sizes, counts, row_at, lengths, whole, sequence, row,
         mate):  # fmt: skip
    """Lay out the steps of a job: sequences order[start:][:count], `size` steps from step `first` on.

    The job's sequences are sorted by falling length; those that end before `first` take no part. `row`
    (R,): where each packed row lies in the table of all steps.
    """
    start, first, size = job[JOB_START], job[JOB_FIRST], job[JOB_SIZE]
    B = 0
    while job[JOB_COUNT] > B and all_lengths[order[start + B]] > first:
        sequence[B] = order[start + B]
        whole[B] = all_lengths[sequence[B]]
        lengths[B] = min(whole[B] - first, size)
        if len(mates) > 0:
            mate[B] = mates[start + B]
        B += 1
    R, n, T = 0, B, lengths[0]
    for t in range(T):
        while lengths[n - 1] <= t:
            n -= 1
        counts[t], row_at[t] = n, R
        for i in range(n):
            row[R + i] = all_starts[sequence[i]] + first + t
        R += n
    sizes[SIZE_B], sizes[SIZE_T], sizes[SIZE_R] = B, T, R
    sizes[SIZE_FIRST], sizes[SIZE_CARRIED], sizes[SIZE_EPOCH] = first, job[JOB_CARRIED], job[JOB_EPOCH]


@cache
def reading_kernels(dtype: np.dtype) -> SimpleNamespace:
    @kernel("gather", dtype.name)
    def gather(thread, n_threads, sizes, counts, row_at, sequence, row, values, width, shift, scale, scaled,
               out):  # fmt: skip
        """out (R, width): rows of `values`, as (row - shift) * scale of its sequence if `scaled`."""
        if not scaled:
            lo, hi = own_range(thread, n_threads, sizes[SIZE_R])
            for r in range(lo, hi):
                copy(width, values, row[r] * width, out, r * width)
            return
        lo, hi = own_range(thread, n_threads, sizes[SIZE_T])
        for t in range(lo, hi):
            for i in range(counts[t]):
                r, own = row_at[t] + i, sequence[i] * width
                for j in range(width):
                    value = (values[row[r] * width + j] - shift[own + j]) * scale[own + j]
                    out[r * width + j] = value

    @kernel("unfold", dtype.name)
    def unfold(thread, n_threads, sizes, row_at, F, X, x_row, x_past, out):
        """out (B, T F): sequences of equal length, each in a row."""
        lo, hi = own_range(thread, n_threads, sizes[SIZE_B])
        T, x_first = sizes[SIZE_T], sizes[SIZE_B] if x_past else 0
        for i in range(lo, hi):
            for t in range(T):
                copy(F, X, (x_first + row_at[t] + i) * x_row, out, (i * T + t) * F)

    @kernel("fold", dtype.name)
    def fold(thread, n_threads, sizes, row_at, F, d, d_row, dX):
        """dX (R, F): the inverse."""
        lo, hi = own_range(thread, n_threads, sizes[SIZE_B])
        for i in range(lo, hi):
            for t in range(sizes[SIZE_T]):
                copy(F, d, i * d_row + t * F, dX, (row_at[t] + i) * F)

    @kernel("next_step", dtype.name)
    def next_step(x, finite, sizes, whole):
        """One more step of every sequence, if all of x is `finite`."""
        finite[0] = 1
        for j in range(len(x)):
            if not np.isfinite(x[j]):
                finite[0] = 0
        if finite[0] != 0:
            sizes[SIZE_FIRST] += 1
            for i in range(len(whole)):
                whole[i] += 1

    @kernel("start_from", dtype.name)
    def start_from(sizes, sequence, width, n, given, carried):
        """carried (B, width) = the sequences' rows of `given` (., n), where they begin."""
        if sizes[SIZE_FIRST] > 0:
            return
        sizes[SIZE_CARRIED] = 1
        for i in range(sizes[SIZE_B]):
            copy(n, given, sequence[i] * n, carried, i * width)
            clear(carried, i * width + n, width - n)

    @kernel("first_states", dtype.name)
    def first_states(sizes, n, column, row, given, width, carried):
        """carried (B, width) = columns of given (B, row), unless states are carried over already."""
        if sizes[SIZE_CARRIED] != 0:
            return
        for i in range(sizes[SIZE_B]):
            copy(n, given, i * row + column, carried, i * width)
            clear(carried, i * width + n, width - n)

    @kernel("scatter", dtype.name)
    def scatter(sizes, counts, row_at, lengths, whole, sequence, per, ends, n, x_row, x_past, X,
                out):  # fmt: skip
        """Results to the place of their sequences. Per step: out[ends[s] - length + t, :n] = X[r, :n];
        otherwise out[s, :n] = X[i, :n] of the sequences that end in this chunk."""
        B, first = sizes[SIZE_B], sizes[SIZE_FIRST]
        if per == SIZE_B:
            for i in range(B):
                if first + lengths[i] == whole[i]:
                    copy(n, X, i * x_row, out, sequence[i] * n)
            return
        x_first = B if x_past else 0
        for t in range(sizes[SIZE_T]):
            for i in range(counts[t]):
                at = ends[sequence[i]] - whole[i] + first + t
                copy(n, X, (x_first + row_at[t] + i) * x_row, out, at * n)

    return SimpleNamespace(
        gather=gather,
        next_step=next_step,
        start_from=start_from,
        first_states=first_states,
        scatter=scatter,
        unfold=unfold,
        fold=fold,
    )


def next_minibatch(rec: Recording, sequences, jobs) -> None:
    """The next of `jobs`, or that which the other side has begun: fills the steps."""
    tape, steps = rec.tape, rec.steps
    if jobs.leads:
        tape.call(next_job, jobs.table.reshape(-1), jobs.cursor, jobs.job)
    tape.call(
        pack, jobs.job, jobs.order, jobs.mate, sequences.starts, sequences.lengths, *steps.layout,
        steps.whole, steps.sequence, steps.row, steps.mate,
    )  # fmt: skip


def gather(rec: Recording, table: np.ndarray, out: Rows, shift, scale) -> None:
    """Rows of a table (., out.row) in the packed order; shift, scale: see `Sequences`, or None."""
    steps, empty, scaled = rec.steps, np.empty(0, table.dtype), shift is not None
    rec.tape.share(
        reading_kernels(table.dtype).gather, steps.sizes, steps.counts, steps.row_at, steps.sequence,
        steps.row, table.reshape(-1), out.row, shift.reshape(-1) if scaled else empty,
        scale.reshape(-1) if scaled else empty, scaled, out.array,
    )  # fmt: skip


def next_step(rec: Recording, x: np.ndarray, tokens: np.ndarray, finite: np.ndarray) -> tuple[Rows, Rows]:
    """The sequences, read one step at a time, go on by one if all of x (B, F) is finite: ``finite[0]``. Their
    numbers and tokens."""
    flat = x.reshape(-1)
    rec.tape.call(reading_kernels(x.dtype).next_step, flat, finite, rec.steps.sizes, rec.steps.whole)
    return Rows(flat, x.shape[1]), Rows(tokens.reshape(-1), tokens.shape[1])


def watch(rec: Recording, X: Rows) -> np.ndarray:
    """Rows as an array of the host that shows what is in them after each replay."""
    return X.array.reshape(-1, X.row)


def unfold(rec: Recording, X: Rows, F: int, out: Rows) -> None:
    """All steps of each sequence as a row (B, T F), where all have as many."""
    rec.tape.share(
        reading_kernels(rec.work.dtype).unfold, rec.steps.sizes, rec.steps.row_at, F, X.array, X.row, X.past,
        out.array,
    )  # fmt: skip


def fold(rec: Recording, d: Rows, dX: Rows) -> None:
    """The adjoint: rows dX (R, F)."""
    rec.tape.share(
        reading_kernels(rec.work.dtype).fold, rec.steps.sizes, rec.steps.row_at, dX.row, d.array, d.row,
        dX.array,
    )  # fmt: skip


def start_from(rec: Recording, given: np.ndarray, carried: Rows) -> None:
    """Sequences begin in the states `given` (n, H) instead of zeros."""
    rec.tape.call(
        reading_kernels(given.dtype).start_from, rec.steps.sizes, rec.steps.sequence, carried.row,
        given.shape[1], given.reshape(-1), carried.array,
    )  # fmt: skip


def first_states(rec: Recording, given: Rows, column: int, n: int, carried: Rows) -> None:
    """Sequences begin in `n` columns of the rows `given` (B, .), in their order."""
    rec.tape.call(
        reading_kernels(rec.work.dtype).first_states, rec.steps.sizes, n, column, given.row, given.array,
        carried.row, carried.array,
    )  # fmt: skip


def scatter(rec: Recording, X: Rows, ends: np.ndarray, n: int, out: np.ndarray) -> None:
    """Results to their sequences: see the kernel. out (-1, n)."""
    steps = rec.steps
    rec.tape.call(
        reading_kernels(X.array.dtype).scatter, *steps.layout, steps.whole, steps.sequence, X.per, ends, n,
        X.row, X.past, X.array, out.reshape(-1),
    )  # fmt: skip
