"""The one container of sequences that everything below the estimators works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

FLOATS = np.dtype(np.float32), np.dtype(np.float64)
TOKEN = np.dtype(np.int32)  # half the memory of an index, and no vocabulary has more


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences of any lengths over one table of steps; nothing is padded and nothing is copied.

    Inside the package every estimator takes them in the place of X.

    Sequence ``i`` is ``values[starts[i] : starts[i] + lengths[i]]``, and likewise of ``tokens``. ``starts``
    need not be cumulative: overlapping windows over one long series share their rows. Neither is written to:
    who has copied them knows them again by identity.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_features)
        The steps; C-contiguous, float32 or float64, may be read-only, and an array of a GPU where that is
        to read it.
    starts : ndarray of shape (n_sequences,), dtype intp
        First row of each sequence.
    lengths : ndarray of shape (n_sequences,), dtype intp
        Steps of each sequence, at least 1.
    shift, scale : ndarray of shape (n_sequences, n_features) or None
        With them, a step of sequence ``i`` reads ``(row - shift[i]) * scale[i]``; same dtype as
        `values`. They are applied when a minibatch is gathered.
    tokens : ndarray of shape (n_rows, n_columns), dtype int32, or None
        Integers beside the numbers of each step, or instead of them where `n_features` is 0: words,
        characters, categories.

    Raises
    ------
    ValueError
        If a shape, a dtype or a range would let a kernel, which does not check bounds, read
        outside of `values`.
    """

    values: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    shift: np.ndarray | None = None
    scale: np.ndarray | None = None
    tokens: np.ndarray | None = None

    def __post_init__(self) -> None:
        values, starts, lengths = self.values, self.starts, self.lengths
        _check_table("values", values)
        if self.tokens is not None:
            _check_table("tokens", self.tokens, (TOKEN,))
            if len(self.tokens) != len(values):
                raise ValueError(f"{len(values)} rows of values but {len(self.tokens)} of tokens")
        for name, index in ("starts", starts), ("lengths", lengths):
            if index.ndim != 1 or index.dtype != np.intp:
                raise ValueError(f"{name} must be a 1-D array of intp, got {_describe(index)}")
        if len(starts) != len(lengths):
            raise ValueError(f"{len(starts)} starts but {len(lengths)} lengths")
        if (lengths < 1).any():
            raise ValueError(f"sequence {lengths.argmin()} has no time steps")
        # A huge length must not wrap around: compare with what is left, do not add.
        if ((starts < 0) | (lengths > len(values) - starts)).any():
            raise ValueError(f"a sequence reads outside of the {len(values)} rows of values")
        for name, table in ("shift", self.shift), ("scale", self.scale):
            if table is not None:
                _check_table(name, table)
                expected = (len(starts), self.n_features)
                if table.shape != expected or table.dtype != values.dtype:
                    raise ValueError(
                        f"{name} must have shape {expected} and the dtype of values "
                        f"({values.dtype}), got {_describe(table)}"
                    )

    @classmethod
    def from_arrays(cls, arrays: Sequence[np.ndarray], dtype: Any = None) -> Sequences:
        """Concatenate arrays of shape (T_i, F); a single one that fits is not copied."""
        lengths = np.array([len(array) for array in arrays], dtype=np.intp)
        if len(arrays) == 1:
            values = _as_table(arrays[0], dtype)
        else:
            shape = (lengths.sum(), arrays[0].shape[1])
            values = np.empty(shape, dtype or np.result_type(*arrays))
            # without `out` the result would have the memory order of the arrays
            np.concatenate(arrays, out=values, casting="unsafe")
        return cls.consecutive(values, lengths)

    @classmethod
    def from_dense(cls, array: np.ndarray, dtype: Any = None) -> Sequences:
        """Read an array of shape (n, T, F): a view where it is C-contiguous and of `dtype`."""
        n, steps, features = array.shape
        values = _as_table(array, dtype).reshape(n * steps, features)
        starts, lengths, offsets = (_few_places if n <= FEW else _places)(n, steps)
        if steps == 0:
            return cls(values, starts, lengths)  # which says what is wrong
        _check_table("values", values)
        # Places made here are right, and to check them would take half of the time.
        sequences = object.__new__(cls)
        sequences.__dict__.update(
            values=values,
            starts=starts,
            lengths=lengths,
            shift=None,
            scale=None,
            tokens=None,
            offsets=offsets,
        )
        return sequences

    @classmethod
    def consecutive(cls, values: np.ndarray, lengths: np.ndarray) -> Sequences:
        """Sequences that follow on one another in a table."""
        return cls(values, lengths.cumsum() - lengths, lengths)

    @classmethod
    def from_tokens(cls, arrays: Sequence[np.ndarray], dtype: Any = np.float32) -> Sequences:
        """Concatenate arrays of integers, of shape (T_i,) or (T_i, n_columns). `dtype` is the type of the
        numbers beside them, of which there are none."""
        lengths = np.array([len(array) for array in arrays], dtype=np.intp)
        if len(lengths) and lengths.min() < 1:
            raise ValueError(f"sequence {lengths.argmin()} has no time steps")
        tokens = np.concatenate([np.asarray(array).reshape(len(array), -1) for array in arrays])
        if tokens.dtype.kind not in "iu":
            raise ValueError(f"tokens are integers, got {tokens.dtype}")
        outside = (tokens < 0) | (tokens > np.iinfo(TOKEN).max)
        if outside.any():
            row, column = np.argwhere(outside)[0]
            ends = np.cumsum(lengths)
            i = int(np.searchsorted(ends, row, side="right"))
            raise ValueError(
                f"sequence {i}, step {row - ends[i] + lengths[i]}: {tokens[row, column]} is no token"
            )
        values = np.empty((len(tokens), 0), dtype)
        starts = np.cumsum(lengths) - lengths
        return cls(values, starts, lengths, tokens=tokens.astype(TOKEN, order="C"))

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def n_features(self) -> int:
        return self.values.shape[1]

    @cached_property
    def offsets(self) -> np.ndarray:
        """Where each sequence begins, and the last ends, among all steps in sequence order."""
        return np.concatenate([np.zeros(1, dtype=np.intp), np.cumsum(self.lengths)])

    @property
    def n_steps(self) -> int:
        return int(self.offsets[-1])

    @cached_property
    def token_range(self) -> np.ndarray:
        """The smallest and the largest of each column of `tokens`: (2, n_columns)."""
        return np.array([self.tokens.min(axis=0, initial=0), self.tokens.max(axis=0, initial=-1)])

    def token_beyond(self, column: int, n_tokens: int) -> tuple[int, int, int] | None:
        """Sequence, step and number of the first token that is none of 0 to n_tokens - 1, if there is one."""
        tokens: Any = self.tokens
        least, most = self.token_range[:, column]
        if least >= 0 and most < n_tokens:
            return None
        # rows of the table that no sequence reads may hold anything
        for i, (start, n) in enumerate(zip(self.starts, self.lengths, strict=True)):
            own = tokens[start : start + n, column]
            outside = (own < 0) | (own >= n_tokens)
            if outside.any():
                step = int(outside.argmax())
                return i, step, int(own[step])
        return None

    def take(self, rows: Any) -> Sequences:
        """The sequences that an index array, a mask or a slice picks; `values` and `tokens` are shared."""
        return Sequences(
            self.values,
            self.starts[rows],
            self.lengths[rows],
            None if self.shift is None else np.ascontiguousarray(self.shift[rows]),
            None if self.scale is None else np.ascontiguousarray(self.scale[rows]),
            self.tokens,
        )

    def chunk(self, first: int, size: int) -> Sequences:
        """Of each, up to `size` steps from number `first` on, which all have."""
        return replace(self, starts=self.starts + first, lengths=np.minimum(self.lengths - first, size))

    def row_index(self) -> np.ndarray:
        """The row of `values` of every step, in sequence order; shape (n_steps,)."""
        return np.repeat(self.starts - self.offsets[:-1], self.lengths) + np.arange(self.n_steps)

    def split(self, steps: np.ndarray) -> list[np.ndarray]:
        """Cut an array of shape (n_steps, ...) in sequence order into one view per sequence."""
        if len(steps) != self.n_steps:
            raise ValueError(f"got {len(steps)} rows for {self.n_steps} steps")
        bounds = self.offsets.tolist()
        return [steps[begin:end] for begin, end in pairwise(bounds)]


@dataclass(frozen=True, eq=False)
class Targets:
    """What sequences, or their steps, are to be answered with: rows of a table, or stretches of it.

    Inside the package every estimator takes them in the place of y.

    Parameters
    ----------
    values : ndarray of shape (n_rows, k)
        C-contiguous; of numbers, or with k = 1 of tokens, int32.
    at : ndarray of shape (n,), dtype intp, or None
        First row of each target: of sequence i, or of the step in row i of the table of steps. None: row i.
    steps : int
        Rows of a target, one after the other: targets over one long series share them, as windows do.
    shift, scale : ndarray of shape (n, k) or None
        With them, the target of sequence i is ``(rows - shift[i]) * scale[i]``; not for targets of steps.
    lengths : ndarray of shape (n,), dtype intp, or None
        Of tokens: rows of each target, which may be none, where they differ.

    Raises
    ------
    ValueError
        If a shape, a dtype or a range would let a kernel read outside of `values`.
    """

    values: np.ndarray
    at: np.ndarray | None = None
    steps: int = 1
    shift: np.ndarray | None = None
    scale: np.ndarray | None = None
    lengths: np.ndarray | None = None

    def __post_init__(self) -> None:
        values, at = self.values, self.at
        _check_table("targets", values, (TOKEN,) if values.dtype == TOKEN else FLOATS)
        if values.dtype == TOKEN and (values.shape[1] != 1 or self.steps != 1 or self.shift is not None):
            raise ValueError("targets that are tokens are single ones, and not scaled")
        if at is None:
            if self.steps != 1 or self.shift is not None or self.lengths is not None:
                raise ValueError("targets of several steps, or scaled ones, need `at`")
            return
        if (self.shift is None) != (self.scale is None):
            raise ValueError("shift and scale go together: one of them is missing")
        if at.ndim != 1 or at.dtype != np.intp:
            raise ValueError(f"at must be a 1-D array of intp, got {_describe(at)}")
        counts = self.steps if self.lengths is None else self.lengths
        if self.lengths is not None and (
            self.lengths.shape != at.shape or self.lengths.dtype != np.intp or values.dtype != TOKEN
        ):
            raise ValueError("targets of different lengths are tokens, and lengths an array of intp")
        least = 1 if self.lengths is None else 0
        if np.any((at < 0) | (counts < least) | (counts > len(values) - at)):
            raise ValueError(f"a target reads outside of the {len(values)} rows of values")
        for name, table in ("shift", self.shift), ("scale", self.scale):
            if table is not None and (
                table.shape != (len(at), values.shape[1]) or table.dtype != values.dtype
            ):
                raise ValueError(
                    f"{name} must have shape {(len(at), values.shape[1])} and dtype {values.dtype}, got "
                    f"{_describe(table)}"
                )

    def __len__(self) -> int:
        return len(self.values) if self.at is None else len(self.at)

    @classmethod
    def of_tokens(cls, texts: Sequence[np.ndarray]) -> Targets:
        """Sequences of tokens, of any lengths."""
        lengths = np.array([len(tokens) for tokens in texts], np.intp)
        values = np.concatenate([np.zeros(0, TOKEN), *texts], dtype=TOKEN, casting="unsafe")
        return cls(values[:, None], np.cumsum(lengths) - lengths, lengths=lengths)

    def texts(self) -> list[np.ndarray]:
        """What `of_tokens` was made of."""
        if self.at is None or self.lengths is None:
            raise ValueError("these targets are no sequences of tokens")
        return [self.values[at : at + n, 0] for at, n in zip(self.at, self.lengths, strict=True)]

    @property
    def width(self) -> int:
        """Numbers of one target."""
        if self.lengths is not None:
            raise ValueError("targets of different lengths have no width")
        return self.steps * self.values.shape[1]

    def take(self, rows: Any) -> Targets:
        """The targets that an index array, a mask or a slice picks."""
        if self.at is None:
            return Targets(self.values[rows])
        shift, scale = (
            None if table is None else np.ascontiguousarray(table[rows]) for table in (self.shift, self.scale)
        )
        lengths = None if self.lengths is None else self.lengths[rows]
        return Targets(self.values, self.at[rows], self.steps, shift, scale, lengths)

    def matrix(self) -> np.ndarray:
        """All targets as rows (n, width)."""
        if self.at is None:
            return self.values
        each = self.values[self.at[:, None] + np.arange(self.steps)]
        if self.shift is not None and self.scale is not None:
            each = (each - self.shift[:, None]) * self.scale[:, None]
        return each.reshape(len(self.at), -1)


def lies_on_host(array: Any) -> bool:
    """Whether an array is NumPy's, and none of a GPU."""
    return not hasattr(array, "__cuda_array_interface__")


def object_array(items: list[Any]) -> np.ndarray:
    """A 1-D object array of the items, also where numpy would stack them."""
    array = np.empty(len(items), dtype=object)
    for i, item in enumerate(items):  # array[:] = items would broadcast items of equal shape
        array[i] = item
    return array


def _places(n: int, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts, lengths and offsets of n sequences of equal length."""
    offsets = np.arange(n + 1) * steps
    return offsets[:-1], np.full(n, steps, np.intp), offsets


FEW = 1024  # sequences, whose places are kept for the next ones: nobody writes to them
_few_places = lru_cache(64)(_places)


def _as_table(array: np.ndarray, dtype: Any) -> np.ndarray:
    if type(array) is np.ndarray and array.dtype == dtype and array.flags.carray:
        return array
    # a view where nothing has to change; asarray strips subclasses such as memmap
    return np.asarray(np.require(array, dtype, ["C", "A"]))


def _check_table(name: str, table: np.ndarray, dtypes: tuple[np.dtype, ...] = FLOATS) -> None:
    if (
        table.ndim != 2
        or table.dtype not in dtypes
        or not (table.flags.c_contiguous and getattr(table.flags, "aligned", True))  # a GPU's are
    ):
        raise ValueError(
            f"{name} must be a C-contiguous 2-D array of {' or '.join(map(str, dtypes))}, got "
            f"{_describe(table)}"
        )


def _describe(array: np.ndarray) -> str:
    order = "" if array.flags.c_contiguous else ", not C-contiguous"
    return f"shape {array.shape}, dtype {array.dtype}{order}"
