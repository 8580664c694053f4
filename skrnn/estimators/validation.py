"""Validation data: passed by the user, or held back from the training data."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import InvalidParameterError

from ..training import Data
from .jobs import inside_a_search


def check_validation_split(split: Any) -> None:
    """Raise an error for a string that names no split: strings have a method `split`, too."""
    if isinstance(split, str) and split not in ("random", "last"):
        raise InvalidParameterError(
            "The 'validation_split' parameter must be 'random', 'last' or a splitter with a method "
            f"`split`. Got {split!r} instead."
        )


def check_not_cut(n_validation: int, n_train: int) -> None:
    """Raise a ValueError where scikit-learn may have cut X_val down with X."""
    if n_validation == n_train and inside_a_search():
        raise ValueError(
            f"X_val has as many sequences as X's training fold ({n_train}). Inside cross-validation "
            "scikit-learn cuts everything that is as long as X down to the fold, X_val too. Pass an "
            "X_val of another length than X and its folds"
        )


def hold_back(
    data: Data,
    *,
    split: Any,
    fraction: float,
    random_state: Any,
    labels: np.ndarray | None,
    per_step: bool,
) -> tuple[Data, Data]:
    """Split sequences into training and validation data.

    Parameters
    ----------
    split, fraction, random_state
        The estimators' `validation_split`, `validation_fraction` and `random_state`.
    labels : ndarray of shape (n,) or None
        Classes by which a random split is stratified.
    per_step : bool
        Whether targets and weights belong to steps.

    Raises
    ------
    ValueError
        If a part would be empty, or hold only weights of zero.
    """
    training, validation = (
        part(data, rows, per_step) for rows in _indices(data, split, fraction, random_state, labels, per_step)
    )
    for name, some in ("training", training), ("validation", validation):
        if some.w is not None and not some.w[target_rows(some, per_step)].any():
            raise ValueError(f"sample_weight: all weights of the {name} part of the split are zero")
    return training, validation


def part(data: Data, rows: np.ndarray, per_step: bool) -> Data:
    """The sequences `rows` with their targets; per step, all targets stay where they are."""
    sequences = data.sequences.take(rows)
    if per_step:
        return Data(sequences, data.y, data.w)
    return Data(sequences, data.y.take(rows), None if data.w is None else data.w[rows])


def target_rows(data: Data, per_step: bool) -> Any:
    """Index of the rows of `data.y` that belong to its sequences."""
    return data.sequences.row_index() if per_step else slice(None)


def _indices(
    data: Data, split: Any, fraction: float, random_state: Any, labels: np.ndarray | None, per_step: bool
) -> tuple[np.ndarray, np.ndarray]:
    n = len(data.sequences)
    if n < 2:
        raise ValueError(f"early_stopping needs at least 2 sequences to split, got {n}; or pass X_val")
    if split == "last":
        held_back = max(1, round(n * fraction))
        if held_back >= n:
            raise ValueError(f"validation_fraction={fraction} leaves nothing of {n} sequences")
        return np.arange(n - held_back), np.arange(n - held_back, n)
    if split == "random":
        seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
        kind = ShuffleSplit if labels is None else StratifiedShuffleSplit
        train, held_back = next(
            kind(n_splits=1, test_size=fraction, random_state=seed).split(np.zeros(n), labels)
        )
        return train, held_back
    targets = np.zeros(n) if per_step else data.y.matrix()[:, 0]
    first = next(iter(split.split(np.zeros((n, 1)), targets)), None)
    if first is None:
        raise ValueError(f"validation_split={split!r} makes no split of {n} sequences")
    train, held_back = (np.arange(n)[np.asarray(rows, dtype=None if len(rows) else int)] for rows in first)
    if not len(train) or not len(held_back):
        raise ValueError(f"validation_split={split!r} leaves a part of {n} sequences empty")
    return train, held_back
