"""Minibatches: which sequences, and where each of their steps sits in packed time-major order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# What `Steps.sizes` holds.
SIZE_B, SIZE_T, SIZE_R, SIZE_FIRST, SIZE_CARRIED, SIZE_EPOCH = range(6)
# A job: which sequences and steps make the next minibatch, whether their states are carried over from
# the job before, number of the epoch, whether it ends in an update of the parameters (the first field,
# which a tape can look at).
JOB_LEARNS, JOB_START, JOB_COUNT, JOB_FIRST, JOB_SIZE, JOB_CARRIED, JOB_EPOCH = range(7)
JOB_FIELDS = 7


@dataclass
class Steps:
    """The packed time-major order of a minibatch's steps, without padding, as arrays that are filled anew.

    The sequences are sorted by falling length. Step t holds the ``counts[t]`` sequences that have one;
    packed row ``row_at[t] + i`` is step t of sequence i.

    Parameters
    ----------
    max_sequences, max_steps, max_rows : int
        Room for so many sequences, steps of one of them, and steps of all of them together.

    Attributes
    ----------
    sizes : ndarray of shape (6,)
        B, T, R: sequences, steps of the longest, steps of all; number of the first step (of sequences
        read in chunks); whether states are carried over from the chunk before; number of the epoch.
    counts, row_at : ndarray of shape (max_steps,)
    lengths, whole : ndarray of shape (max_sequences,)
        Steps of each sequence in this chunk, and in all.
    sequence : ndarray of shape (max_sequences,)
        Its number in the data set.
    row : ndarray of shape (max_rows,)
        Where each packed row lies in the table of all steps.
    mate : ndarray of shape (max_sequences,)
        Of pairs: the place of each sequence's mate among those of the other side, which has an order of
        its own.
    """

    max_sequences: int
    max_steps: int
    max_rows: int

    def __post_init__(self) -> None:
        self.sizes = np.zeros(6, np.intp)
        self.counts, self.row_at = np.zeros((2, self.max_steps), np.intp)
        self.lengths, self.whole, self.sequence, self.mate = np.zeros((4, self.max_sequences), np.intp)
        self.row = np.zeros(self.max_rows, np.intp)

    @property
    def layout(self) -> tuple[np.ndarray, ...]:
        """What most kernels read."""
        return self.sizes, self.counts, self.row_at, self.lengths


class Jobs:
    """What a tape is to read, job by job, in arrays that keep their places from one epoch to the next.

    Parameters
    ----------
    lengths : ndarray of shape (n,)
        Steps of each sequence.
    batch_size : int
    chunk_size : int or None
        Steps of a sequence that are read at a time, at most.
    mate_lengths : ndarray of shape (n,), optional
        Of pairs, which are read whole: steps of the other sequence of each.

    Attributes
    ----------
    order : ndarray of shape (n,)
        Numbers of the sequences: minibatch after minibatch, each sorted by falling length. Of as many as
        are planned: there may be room for more.
    table : ndarray of shape (room, JOB_FIELDS)
    cursor : ndarray of shape (1,)
        Row of the job that was read last.
    job : ndarray of shape (JOB_FIELDS,)
        That row.
    leads : bool
        Whether reading one moves the cursor on; those of `mates` share the cursor of the others.
    mates : Jobs or None
        The other side's, of the same minibatches.
    mate : ndarray of shape (n,), or empty
        For each of `order`, its mate's place in that minibatch of the other side.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        batch_size: int,
        chunk_size: int | None,
        mate_lengths: np.ndarray | None = None,
    ) -> None:
        n = len(lengths)
        self.lengths, self.batch_size, self.longest = lengths, min(batch_size, n), int(lengths.max())
        self.chunk_size = self.longest if chunk_size is None else min(chunk_size, self.longest)
        n_batches = -(-n // self.batch_size)
        self.order, self.leads = np.arange(n), True
        self.mates, self.mate = None, np.zeros(0, np.intp)
        if mate_lengths is not None:
            if len(mate_lengths) != n:
                raise ValueError(f"{n} sequences and {len(mate_lengths)} mates")
            if chunk_size is not None:
                raise ValueError(f"pairs are read whole, not in chunks of {chunk_size} steps")
            self.mates, self.mate = Jobs(mate_lengths, batch_size, None), np.zeros(n, np.intp)
            self.chunk_size = self.mates.chunk_size = max(self.longest, self.mates.longest)
        self.table = np.zeros((n_batches * -(-self.longest // self.chunk_size), JOB_FIELDS), np.intp)
        self.cursor, self.job = np.zeros(1, np.intp), np.zeros(JOB_FIELDS, np.intp)
        if self.mates is not None:
            self.mates.leads = False
            self.mates.table, self.mates.cursor, self.mates.job = self.table, self.cursor, self.job

    def room(self) -> Steps:
        """`Steps` with room for any of the jobs."""
        longest = np.minimum(np.sort(self.lengths)[-self.batch_size :], self.chunk_size)
        return Steps(len(longest), int(longest[-1]), int(longest.sum()))

    def arrange(self, order: np.ndarray) -> np.ndarray:
        """Sort each minibatch of this order; returns it."""
        lengths = self.lengths[order]
        if (lengths != lengths[0]).any():  # ties keep their order
            order = order[np.lexsort((-lengths, np.arange(len(order)) // self.batch_size))]
        self.order[: len(order)] = order
        return self.order[: len(order)]

    def plan(self, order: np.ndarray, epoch: int = 0) -> np.ndarray:
        """Jobs that read each sequence of this order once; the rows of `table` in use."""
        n, size, batch_size = len(order), self.chunk_size, self.batch_size
        arranged = self.arrange(order)
        if self.mates is not None:
            place = np.empty(n, np.intp)
            place[self.mates.arrange(order)] = np.arange(n) % batch_size
            self.mate[:n] = place[arranged]
        start = np.arange(0, n, batch_size)
        chunk = np.zeros(len(start), np.intp)
        if size < self.longest:  # minibatches of several jobs
            n_chunks = -(-self.lengths[arranged[start]] // size)
            chunk = np.arange(n_chunks.sum()) - np.repeat(np.cumsum(n_chunks) - n_chunks, n_chunks)
            start = np.repeat(start, n_chunks)
        jobs = self.table[: len(start)]
        jobs[:, JOB_LEARNS], jobs[:, JOB_SIZE], jobs[:, JOB_EPOCH] = 1, size, epoch
        jobs[:, JOB_START], jobs[:, JOB_COUNT] = start, np.minimum(batch_size, n - start)
        jobs[:, JOB_FIRST], jobs[:, JOB_CARRIED] = chunk * size, chunk > 0
        self.cursor[0] = -1
        return jobs
