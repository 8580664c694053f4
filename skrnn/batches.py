"""Minibatches: which sequences, and where each of their steps sits in packed time-major order."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, lru_cache

import numpy as np

SHARED_ROWS = 100_000  # index arrays of larger minibatches are not kept from one to the next


class PackedSteps:
    """The time-major order of some sequences, sorted by falling length, without padding.

    Parameters
    ----------
    lengths : ndarray of shape (B,)
        Time steps of each sequence, in the caller's order.

    Attributes
    ----------
    order : ndarray of shape (B,)
        The caller's position of each sorted sequence.
    lengths : ndarray of shape (B,)
        Sorted lengths, longest first.
    counts : ndarray of shape (T,)
        Sequences that have a step t.
    row_at : ndarray of shape (T,)
        Packed row of the first sequence's step t.
    n_rows : int
        Steps of all sequences together.
    """

    def __init__(self, lengths: np.ndarray) -> None:
        lengths = np.asarray(lengths, dtype=np.intp)
        # A stable sort keeps ties in the caller's order, so equal lengths cost no permutation.
        self.order = np.argsort(-lengths, kind="stable")
        self.lengths = lengths[self.order]
        longest = int(self.lengths[0])
        ending = np.bincount(self.lengths - 1, minlength=longest)
        self.counts = len(lengths) - np.concatenate(([0], np.cumsum(ending)[:-1])).astype(np.intp)
        ends = np.cumsum(self.counts)
        self.row_at = ends - self.counts
        self.n_rows = int(ends[-1])

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def step(self) -> np.ndarray:
        """(n_rows,): time step of each packed row."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @cached_property
    def sequence(self) -> np.ndarray:
        """(n_rows,): sorted sequence of each packed row."""
        return np.arange(self.n_rows) - self.row_at[self.step]

    @cached_property
    def forward_rows(self) -> np.ndarray:
        """(n_rows,): the packed rows in their own order."""
        return np.arange(self.n_rows)

    @cached_property
    def reversed_rows(self) -> np.ndarray:
        """(n_rows,): packed row of the same sequence's mirrored step; its own inverse."""
        return self.row_at[self.lengths[self.sequence] - 1 - self.step] + self.sequence

    @cached_property
    def last_rows(self) -> np.ndarray:
        """(B,): packed row of each sorted sequence's last step."""
        return self.row_at[self.lengths - 1] + np.arange(len(self))

    def rows_of(self, starts: np.ndarray) -> np.ndarray:
        """(n_rows,): row of `values` behind each packed row; `starts` in the caller's order."""
        return starts[self.order][self.sequence] + self.step

    def shares(self, n_shares: int) -> list[tuple[int, int]]:
        """Ranges of sorted sequences with about the same number of steps each."""
        work = np.cumsum(self.lengths)
        cuts = np.searchsorted(work, work[-1] * np.arange(1, n_shares) / n_shares)
        edges = np.unique(np.concatenate(([0], cuts, [len(self)])))
        return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


@lru_cache(maxsize=8)
def _equal(n: int, length: int) -> PackedSteps:
    return PackedSteps(np.full(n, length))


def packed(lengths: np.ndarray) -> PackedSteps:
    """`PackedSteps` of sorted lengths; short minibatches of equal lengths share one."""
    if lengths[0] == lengths[-1] and lengths[0] * len(lengths) <= SHARED_ROWS:
        return _equal(len(lengths), int(lengths[0]))
    return PackedSteps(lengths)


def chunks(lengths: np.ndarray, size: int | None) -> Iterator[tuple[int, PackedSteps]]:
    """Cut sequences, sorted by falling length, into stretches of at most `size` steps.

    Yields (first step, packed steps of the sequences that reach it). The sequences keep their
    order, so those of one chunk are the first ones of the chunk before.
    """
    longest = int(lengths[0])
    for first in range(0, longest, size or longest):
        left = lengths[lengths > first] - first
        yield first, packed(np.minimum(left, size or longest))
