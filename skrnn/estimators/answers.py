"""Targets and predictions of any form as rows, and back, for `SequenceTargetRegressor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..sequences import object_array
from .containers import as_array, opened_on_host
from .devices import holds_arrays
from .names import check_labels
from .targets import names_of


@dataclass(frozen=True)
class Answers:
    """Targets or predictions as rows.

    Attributes
    ----------
    name : str
        For messages.
    rows : ndarray of shape (m, k)
    flat : bool
        Whether a row was one number, without an axis of outputs.
    lengths : ndarray of shape (n,), or None
        Rows of each sequence; None: one.
    form : type
        Of what was given: `list`, `object` for an object array, `np.ndarray`.
    names : list of str or None
        Of the columns of frames.
    """

    name: str
    rows: np.ndarray
    flat: bool
    lengths: np.ndarray | None
    form: type
    names: list[str] | None = None

    def shaped(self, rows: np.ndarray) -> Any:
        """Other rows, in the form of what was given."""
        if self.flat and rows.shape[1] == 1:
            rows = rows[:, 0]
        if self.lengths is None:
            return rows
        if self.form is np.ndarray:
            return rows.reshape(len(self.lengths), -1, *rows.shape[1:])
        parts = np.split(rows, np.cumsum(self.lengths)[:-1])
        return parts if self.form is list else object_array(parts)

    def place(self, row: int) -> str:
        if self.lengths is None:
            return f"{self.name}[{row}]"
        ends = np.cumsum(self.lengths)
        i = int(np.searchsorted(ends, row, side="right"))
        return f"{self.name}[{i}] at step {row - ends[i] + self.lengths[i]}"

    def weights(self, sample_weight: Any) -> np.ndarray:
        """Weights of the rows, (m,), from such of the sequences or of the rows."""
        given = read_answers("sample_weight", sample_weight, self.lengths is not None)
        if given.rows.shape[1] != 1:
            raise ValueError(f"sample_weight must be one number for each target, got {given.rows.shape[1]}")
        w = given.rows[:, 0]
        if self.lengths is not None and given.lengths is None and len(w) == len(self.lengths):
            return np.repeat(w, self.lengths)
        self.check_lengths(given)
        return w

    def check_lengths(self, other: Answers) -> None:
        n, n_other = (len(a.rows) if a.lengths is None else len(a.lengths) for a in (self, other))
        if n != n_other:
            raise ValueError(f"{self.name} has {n} sequences, {other.name} has {n_other}")
        if self.lengths is None or other.lengths is None:
            if self.lengths is not other.lengths:
                raise ValueError(f"one of {self.name} and {other.name} is per step, the other per sequence")
            return
        wrong = np.flatnonzero(self.lengths != other.lengths)
        if len(wrong):
            i = int(wrong[0])
            raise ValueError(
                f"{self.name}[{i}] has {self.lengths[i]} steps, {other.name}[{i}] has {other.lengths[i]}"
            )

    def used(self, sample_weight: Any) -> np.ndarray:
        """Which rows have a weight, (m,); a ValueError where one of them is no finite number."""
        used = np.ones(len(self.rows), bool) if sample_weight is None else self.weights(sample_weight) > 0
        if not used.any():
            raise ValueError("sample_weight: all weights are zero, at least one must be positive")
        wrong = used & ~np.isfinite(self.rows).all(axis=1)
        if wrong.any():
            row = int(wrong.argmax())
            what = "NaN" if np.isnan(self.rows[row]).any() else "infinity"
            raise ValueError(f"Input {self.name} contains {what}: {self.place(row)}")
        return used


def read_answers(name: str, y: Any, per_step: bool) -> Answers:
    """Targets, predictions or weights as rows; 2-D ones are per step if that is said."""
    if y is None:
        raise ValueError(f"requires {name} to be passed, but the target {name} is None")
    form: type = list if isinstance(y, list | tuple) else np.ndarray
    names, y = names_of(y), opened_on_host(y)
    if not isinstance(y, list | tuple):
        y = as_array(y)  # of a Series, which may hold arrays
    if form is np.ndarray and holds_arrays(y):  # a column of lists, too, when it is opened
        form = object
    if form is not np.ndarray:
        check_labels(list(y), name)
        names = next(filter(None, map(names_of, y)), None)
        items = [as_array(item) for item in y]
        shapes = {item.shape for item in items}
        if len(shapes) > 1 or (per_step and shapes != {()}):
            return _read_steps(name, items, form, names)
        y, form = np.asarray(items), np.ndarray  # numbers, or rows of equal length
    if y.ndim > 3 or y.ndim == 0:
        raise ValueError(f"{name} has {y.ndim} dimensions, expected 1 to 3")
    y = _numbers(name, y)
    if y.ndim == 1 or (y.ndim == 2 and not per_step):
        return Answers(name, y.reshape(len(y), -1), y.ndim == 1, None, form, names)
    lengths = np.full(len(y), y.shape[1])
    return Answers(name, y.reshape(lengths.sum(), -1), y.ndim == 2, lengths, form, names)


def _read_steps(name: str, items: list[np.ndarray], form: type, names: list[str] | None) -> Answers:
    for i, item in enumerate(items):
        if item.ndim not in (1, 2) or item.shape[1:] != items[0].shape[1:]:
            raise ValueError(f"{name}[{i}] has shape {item.shape}, {name}[0] has {items[0].shape}")
    rows = _numbers(name, np.concatenate(items))
    lengths = np.array([len(item) for item in items])
    return Answers(name, rows.reshape(len(rows), -1), items[0].ndim == 1, lengths, form, names)


def _numbers(name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f":
        return values
    if values.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} has dtype {values.dtype}")
    if values.dtype.kind not in "biuO":
        raise ValueError(f"{name} is not numeric: it has dtype {values.dtype}")
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} is not numeric: {error}") from error
