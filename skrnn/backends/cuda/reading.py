"""Reading minibatches: from jobs to packed rows, and results back to their sequences.

`sizes`, `counts`, `row_at`, `lengths`, `whole`, `sequence` and `row` are the arrays of `skrnn.batches.Steps`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numba import cuda

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
from .tape import DeviceSteps, Tape


@kernel("begin_job")
def begin_job(jobs, cursor, job, leads, stop, order, mates, paired, all_lengths, sizes, lengths, whole,
              sequence, mate):  # fmt: skip
    """The next job, or with `leads` unset the same: its sequences order[start:][:count], which are sorted by
    falling length; those that end before its first step take no part. Once stopped, the job stays what it
    is. One block."""
    thread, n_threads = cuda.grid(1), cuda.gridsize(1)
    if leads and thread == 0 and stop[0] == 0:
        cursor[0] += 1
        for k in range(len(job)):
            job[k] = jobs[cursor[0] * len(job) + k]
    cuda.syncthreads()
    start, first, size = job[JOB_START], job[JOB_FIRST], job[JOB_SIZE]
    for i in range(thread, job[JOB_COUNT], n_threads):
        sequence[i] = order[start + i]
        whole[i] = all_lengths[sequence[i]]
        lengths[i] = min(whole[i] - first, size)
        if paired:
            mate[i] = mates[start + i]
    cuda.syncthreads()
    if thread == 0:
        low, high = 0, job[JOB_COUNT]
        while low < high:  # the first that has no steps left
            middle = (low + high) // 2
            if lengths[middle] > 0:
                low = middle + 1
            else:
                high = middle
        sizes[SIZE_B], sizes[SIZE_T] = low, lengths[0]
        sizes[SIZE_FIRST], sizes[SIZE_CARRIED], sizes[SIZE_EPOCH] = first, job[JOB_CARRIED], job[JOB_EPOCH]


@kernel("count_rows")
def count_rows(sizes, lengths, counts, row_at):
    """The sequences that step t has, and where its rows begin."""
    for t in range(cuda.grid(1), sizes[SIZE_T], cuda.gridsize(1)):
        count, before = 0, 0
        for i in range(sizes[SIZE_B]):
            if lengths[i] > t:
                count += 1
            before += min(lengths[i], t)
        counts[t], row_at[t] = count, before
        if t == sizes[SIZE_T] - 1:
            sizes[SIZE_R] = before + count


@kernel("lay_out")
def lay_out(sizes, lengths, sequence, row_at, all_starts, row, step_of, place_of, mirror):
    """What belongs to each packed row: see `DeviceSteps`."""
    B, first = sizes[SIZE_B], sizes[SIZE_FIRST]
    for k in range(cuda.grid(1), B * sizes[SIZE_T], cuda.gridsize(1)):
        t, i = k // B, k % B
        if t < lengths[i]:
            r = row_at[t] + i
            row[r] = all_starts[sequence[i]] + first + t
            step_of[r], place_of[r], mirror[r] = t, i, row_at[lengths[i] - 1 - t] + i


@kernel("gather_rows")
def gather_rows(sizes, row, place_of, sequence, values, width, shift, scale, scaled, out):
    """out (R, width): rows of `values`, as (row - shift) * scale of its sequence if `scaled`."""
    for k in range(cuda.grid(1), sizes[SIZE_R] * width, cuda.gridsize(1)):
        r, j = k // width, k % width
        value = values[row[r] * width + j]
        if scaled:
            own = sequence[place_of[r]] * width + j
            value = (value - shift[own]) * scale[own]
        out[k] = value


@kernel("unfold_rows")
def unfold_rows(sizes, step_of, place_of, F, X, x_row, out):
    """out (B, T F): sequences of equal length, each in a row."""
    T = sizes[SIZE_T]
    for k in range(cuda.grid(1), sizes[SIZE_R] * F, cuda.gridsize(1)):
        r, j = k // F, k % F
        out[(place_of[r] * T + step_of[r]) * F + j] = X[r * x_row + j]


@kernel("fold_rows")
def fold_rows(sizes, step_of, place_of, F, d, d_row, dX):
    """dX (R, F): the inverse."""
    for k in range(cuda.grid(1), sizes[SIZE_R] * F, cuda.gridsize(1)):
        r, j = k // F, k % F
        dX[k] = d[place_of[r] * d_row + step_of[r] * F + j]


@kernel("copy_states")
def copy_states(sizes, sequence, width, given, carried):
    """carried (B, width) = the sequences' rows of `given`."""
    if sizes[SIZE_FIRST] == 0:
        for k in range(cuda.grid(1), sizes[SIZE_B] * width, cuda.gridsize(1)):
            carried[k] = given[sequence[k // width] * width + k % width]


@kernel("copy_first")
def copy_first(sizes, n, column, row, given, width, carried):
    """carried (B, width) = columns of given (B, row), unless states are carried over already."""
    if sizes[SIZE_CARRIED] == 0:
        for k in range(cuda.grid(1), sizes[SIZE_B] * width, cuda.gridsize(1)):
            carried[k] = given[k // width * row + column + k % width] if n > 0 else 0


@kernel("begin_carried")
def begin_carried(sizes):
    if sizes[SIZE_FIRST] == 0:
        sizes[SIZE_CARRIED] = 1


@kernel("scatter_rows")
def scatter_rows(sizes, step_of, place_of, lengths, whole, sequence, per, ends, n, x_row, X, out):
    """Results to the place of their sequences. Per step: out[ends[s] - length + t, :n] = X[r, :n];
    otherwise out[s, :n] = X[i, :n] of the sequences that end in this chunk."""
    first = sizes[SIZE_FIRST]
    for k in range(cuda.grid(1), sizes[per] * n, cuda.gridsize(1)):
        m, j = k // n, k % n
        if per == SIZE_R:
            i = place_of[m]
            at = ends[sequence[i]] - whole[i] + first + step_of[m]
            out[at * n + j] = X[m * x_row + j]
        elif first + lengths[m] == whole[m]:
            out[sequence[m] * n + j] = X[m * x_row + j]


def next_minibatch(rec: Recording, sequences, jobs) -> None:
    """The next of `jobs`, or that which the other side has begun: fills the steps."""
    tape, work, s = rec.tape, rec.work, rec.tape.steps(rec.steps)
    starts, lengths = work.resident(sequences.starts), work.resident(sequences.lengths)
    n_jobs = len(jobs.table)

    def next_job() -> None:  # so that the host knows what a condition asks
        jobs.cursor[0] = min(jobs.cursor[0] + 1, n_jobs - 1)
        jobs.job[:] = jobs.table[jobs.cursor[0]]

    if jobs.leads:
        tape.on_host(next_job)
    paired = len(jobs.mate) > 0
    tape.once(
        begin_job, tape.sent(jobs.table.reshape(-1)), tape.updated(jobs.cursor), tape.fetched(jobs.job),
        jobs.leads, tape.twin(tape.stop), tape.sent(jobs.order), tape.sent(jobs.mate) if paired else s.mate,
        paired, lengths, s.sizes, s.lengths, s.whole, s.sequence, s.mate,
    )  # fmt: skip
    lay_out_steps(tape, s, starts)


def gather(rec: Recording, table: Any, out: Rows, shift, scale) -> None:
    """Rows of a table (., out.row) in the packed order; shift, scale: see `Sequences`, or None."""
    s, resident, width = rec.tape.steps(rec.steps), rec.work.resident, out.row
    shift_, scale_, scaled = resident(shift), resident(scale), shift is not None
    rec.tape.each(
        gather_rows, s.max_rows * width, s.sizes, s.row, s.place_of, s.sequence, resident(table), width,
        shift_, scale_, scaled, out.array,
    )  # fmt: skip


def lay_out_steps(tape: Tape, s: DeviceSteps, starts: Any) -> None:
    """What belongs to each packed row, from the lengths of the sequences."""
    tape.each(count_rows, s.max_steps, s.sizes, s.lengths, s.counts, s.row_at)
    tape.each(
        lay_out, s.max_sequences * s.max_steps, s.sizes, s.lengths, s.sequence, s.row_at, starts, s.row,
        s.step_of, s.place_of, s.mirror,
    )  # fmt: skip


def next_step(rec: Recording, x: np.ndarray, tokens: np.ndarray, finite: np.ndarray) -> tuple[Rows, Rows]:
    """The sequences, read one step at a time, go on by one if all of x (B, F) is finite: ``finite[0]``. Their
    numbers and tokens."""
    tape, steps, device = rec.tape, rec.steps, rec.tape.device
    s, given = tape.steps(steps), [array for array in (x, tokens) if array.size]
    names = ["sizes", "lengths", "whole", "sequence", *(["mate"] if rec.mates is not None else [])]
    numbers = [(getattr(s, name), getattr(steps, name)) for name in names]

    def send() -> None:
        finite[0] = np.isfinite(x).all()
        if finite[0]:
            steps.sizes[SIZE_FIRST] += 1
            steps.whole += 1
            for twin, host in [*((tape.twin(array), array) for array in given), *numbers]:
                device.copy_in(twin, host)

    tape.on_host(send)
    with tape.only_if(finite):
        lay_out_steps(tape, s, s.sequence)  # where the rows lie in a table is of no interest
    return Rows(tape.twin(x), x.shape[1]), Rows(tape.twin(tokens), tokens.shape[1])


def watch(rec: Recording, X: Rows) -> np.ndarray:
    """Rows as an array of the host that shows what is in them after each replay."""
    host = np.zeros(len(X.array), X.array.dtype)
    rec.tape.on_host(partial(rec.tape.device.copy_out, host, X.array))
    return host.reshape(-1, X.row)


def unfold(rec: Recording, X: Rows, F: int, out: Rows) -> None:
    """All steps of each sequence as a row (B, T F), where all have as many."""
    s = rec.tape.steps(rec.steps)
    rec.tape.each(unfold_rows, s.max_rows * F, s.sizes, s.step_of, s.place_of, F, X.array, X.row, out.array)


def fold(rec: Recording, d: Rows, dX: Rows) -> None:
    """The adjoint: rows dX (R, F)."""
    s, F = rec.tape.steps(rec.steps), dX.row
    rec.tape.each(fold_rows, s.max_rows * F, s.sizes, s.step_of, s.place_of, F, d.array, d.row, dX.array)


def start_from(rec: Recording, given: np.ndarray, carried: Rows) -> None:
    """Sequences begin in the states `given` (n, H) instead of zeros."""
    tape, s, n = rec.tape, rec.tape.steps(rec.steps), carried.row
    tape.once(begin_carried, s.sizes)
    tape.each(copy_states, s.max_sequences * n, s.sizes, s.sequence, n, tape.sent(given), carried.array)


def first_states(rec: Recording, given: Rows, column: int, n: int, carried: Rows) -> None:
    """Sequences begin in `n` columns of the rows `given` (B, .), in their order."""
    s = rec.tape.steps(rec.steps)
    rec.tape.each(
        copy_first, s.max_sequences * carried.row, s.sizes, n, column, given.row, given.array, carried.row,
        carried.array,
    )  # fmt: skip


def scatter(rec: Recording, X: Rows, ends: np.ndarray, n: int, out: Any) -> None:
    """Results to their sequences: see the kernel. out (-1, n), of the host or the device."""
    tape, s = rec.tape, rec.tape.steps(rec.steps)
    target = out.reshape(-1) if hasattr(out, "__cuda_array_interface__") else tape.fetched(out)
    tape.each(
        scatter_rows, rec.room(X.per) * n, s.sizes, s.step_of, s.place_of, s.lengths, s.whole, s.sequence,
        X.per, tape.sent(ends), n, X.row, X.array, target,
    )  # fmt: skip
