"""Arrays that keep their places, with room for any data of about one size: what is recorded once is bound to
addresses, and reads there what has been copied there last."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from .batches import Jobs, Steps
from .sequences import TOKEN, Sequences, Targets

MOST_SEQUENCES = 1024  # of what is copied, instead of being read where it is
MOST_STEPS = 4096  # of all of them
MOST_NUMBERS = 2**20  # features and states of all of those


class Room(NamedTuple):
    """Sizes of arrays: powers of two, so that similar data share them."""

    n: int
    longest: int
    steps: int
    scaled: bool
    n_tokens: int  # columns

    @classmethod
    def of(cls, sequences: Sequences) -> Room:
        n, tokens = len(sequences), sequences.tokens
        n_steps = sequences.n_steps
        longest = n_steps if n == 1 else int(sequences.lengths.max())
        return cls._rounded(
            n, longest, n_steps, sequences.shift is not None, 0 if tokens is None else tokens.shape[1]
        )

    @classmethod
    @lru_cache(256)
    def _rounded(cls, n: int, longest: int, n_steps: int, scaled: bool, n_tokens: int) -> Room:
        n, longest, n_steps = (1 << (size - 1).bit_length() for size in (n, longest, n_steps))
        return cls(n, longest, max(longest, n_steps), scaled, n_tokens)

    def with_room_for(self, other: Room) -> Room:
        """Itself, or larger where the other is."""
        return Room(*map(max, self, other))

    def minibatch(self, jobs: Jobs) -> Steps:
        """`Steps` for jobs that read what is here."""
        longest, size = min(self.longest, jobs.chunk_size), jobs.batch_size
        return Steps(size, longest, min(self.steps, size * longest))


def fits(sequences: Sequences, n_numbers: int, most_numbers: int = MOST_NUMBERS) -> bool:
    """Whether these are few enough to be copied; `n_numbers` are those of a step."""
    most = min(MOST_STEPS, most_numbers // n_numbers)
    return len(sequences) <= MOST_SEQUENCES and sequences.n_steps <= most


class Held:
    """Sequences in arrays of their own.

    Attributes
    ----------
    sequences : Sequences
        As many as there is room for; the first of them are those copied last.
    ends : ndarray of shape (n,)
        Where each of them ends among the steps of all.
    """

    def __init__(self, room: Room, n_features: int, dtype: np.dtype) -> None:
        n, shape = room.n, (room.n, n_features)
        shift, scale = (np.zeros(shape, dtype) if room.scaled else None for _ in range(2))
        self.sequences = Sequences(
            np.zeros((room.steps, n_features), dtype),
            np.zeros(n, np.intp),
            np.full(n, room.longest, np.intp),
            shift,
            scale,
            np.zeros((room.steps, room.n_tokens), TOKEN) if room.n_tokens else None,
        )
        self.ends = np.zeros(n, np.intp)
        self._places: tuple[Any, Any] = None, None  # starts and lengths that were copied last

    def copy(self, given: Sequences) -> slice | np.ndarray:
        """Copy sequences here; returns which rows of their table, in the order they have here."""
        own, n = self.sequences, len(given)
        rows: slice | np.ndarray = slice(None)
        n_rows, starts, (last_starts, last_lengths) = len(given.values), given.starts, self._places
        if n_rows > len(own.values):  # a few windows over a long series
            rows, n_rows, starts = given.row_index(), given.n_steps, given.offsets[:-1]
        own.values[:n_rows] = given.values[rows]
        if starts is not last_starts or given.lengths is not last_lengths:
            own.starts[:n], own.lengths[:n], self.ends[:n] = starts, given.lengths, given.offsets[1:]
            self._places = starts, given.lengths
        if own.shift is not None and own.scale is not None:
            own.shift[:n], own.scale[:n] = given.shift, given.scale
        if own.tokens is not None and given.tokens is not None:
            own.tokens[:n_rows] = given.tokens[rows]
        return rows


class HeldTargets:
    """Targets, and weights if there are, of sequences that are held.

    Parameters
    ----------
    n : int
        Room for so many: sequences, or rows of their table where each step has its own.
    """

    def __init__(self, n: int, y: Targets, w: np.ndarray | None, per_step: bool) -> None:
        self.y, self._per_step = Targets(np.zeros((n, y.width), y.values.dtype)), per_step
        self.w = None if w is None else np.zeros(n, w.dtype)

    def copy(self, y: Targets, w: np.ndarray | None, rows: slice | np.ndarray) -> None:
        """Those of the sequences that `Held.copy` has answered with these rows."""
        of_each = rows if self._per_step else slice(None)
        values = y.values[of_each]
        self.y.values[: len(values)] = values
        if self.w is not None and w is not None:
            self.w[: len(values)] = w[of_each]
