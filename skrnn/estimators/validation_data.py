"""Validation data: passed by the user, or held back from the training data."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import InvalidParameterError

from ..sequences import Targets
from ..training import Data, Diverged, Trainer
from .containers import opened_on_host
from .devices import to_host
from .inputs import Input
from .parameters import as_python
from .prediction import FittedNetwork
from .reading import check_equal_lengths
from .tables import check_tokens
from .targets import read_weights, read_window_weights


class Validated(FittedNetwork):
    """Mixin: the validation data of a fit, and the score on them."""

    _read_targets: Any
    _score_rows: Any
    _needed_to_score = 1  # targets

    def _stratify(self, data: Data) -> np.ndarray | None:
        """Labels (n,) by which a random validation split is stratified."""
        return None

    def _read_weights(self, sample_weight: Any, y: Any, input: Input, name: str) -> np.ndarray | None:
        if isinstance(y, Targets):
            return read_window_weights(sample_weight, len(y), name)
        return read_weights(opened_on_host(sample_weight), input, self.return_sequences, name)

    def _validation_data(
        self, data: Data, X: Any, y: Any, X_val: Any, y_val: Any, sample_weight_val: Any, again: bool
    ) -> tuple[Data, Data | None]:
        """Training and validation data, from X_val or from a split of the training data."""
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val go together: one of them is missing")
        if X_val is not None:
            return data, self._given(len(data.sequences), X_val, y_val, sample_weight_val)
        if sample_weight_val is not None:
            raise ValueError("sample_weight_val goes with X_val and y_val, which are missing")
        if not self.early_stopping:
            return data, None
        if not again or not hasattr(self, "_split_seed"):
            self._split_seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        return hold_back(
            data,
            X,
            opened_on_host(y),
            split=self.validation_split,
            fraction=as_python(self.validation_fraction),
            seed=self._split_seed,
            labels=self._stratify(data),
            per_step=self.return_sequences,
            needed=self._needed_to_score,
        )

    def _given(self, n_train: int, X_val: Any, y_val: Any, sample_weight_val: Any) -> Data:
        try:
            input = self._read_X(X_val, reset=False, device=self.device_)
            if self._skip_steps is not None:
                check_equal_lengths(input.sequences, self._skip_steps)
            check_tokens(input.sequences, self._categories, self._tables)
        except ValueError as error:
            raise ValueError(f"X_val: {error}") from error
        check_not_cut(len(input.sequences), n_train)
        y_val = opened_on_host(y_val)
        w = self._read_weights(sample_weight_val, y_val, input, "sample_weight_val")
        targets = self._read_targets(y_val, w, input, reset=False, name="y_val")
        validation = Data(input.sequences, targets, w)
        n = int(targets_that_count(validation, self.return_sequences).sum())
        if n < self._needed_to_score:
            raise ValueError(
                f"The validation set is too small: its score needs at least {self._needed_to_score} targets, "
                f"X_val and y_val hold {n}"
            )
        return validation

    def _validation_score(self, trainer: Trainer, validation: Data) -> float:
        wanted = "outputs" if trainer.network.chain is None else "labels"
        raw = to_host(trainer.predict(validation.sequences, wanted=wanted))
        if not np.isfinite(raw).all():
            raise Diverged("The output", trainer.settings)
        rows = target_rows(validation, self.return_sequences)
        y = validation.y.take(rows).matrix()
        return self._score_rows(raw, y, None if validation.w is None else validation.w[rows])


def check_validation_split(split: Any) -> None:
    """Raise an error for a string that names no split: strings have a method `split`, too."""
    if isinstance(split, str) and split not in ("random", "last"):
        raise InvalidParameterError(
            "The 'validation_split' parameter must be 'random', 'last' or a splitter with a method "
            f"`split`. Got {split!r} instead."
        )


# The modules of scikit-learn that fit on folds of X and cut metadata of X's length with it.
CUTTING = {
    "sklearn.calibration",
    "sklearn.model_selection._classification_threshold",
    "sklearn.model_selection._validation",
}


def inside_a_search() -> bool:
    """Whether scikit-learn's cross-validation called us. It does not say so: its frames are on the stack."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") in CUTTING:
            return True
        frame = frame.f_back
    return False


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
    X: Any,
    y: Any,
    *,
    split: Any,
    fraction: float,
    seed: int,
    labels: np.ndarray | None,
    per_step: bool,
    needed: int,
) -> tuple[Data, Data]:
    """Split sequences into training and validation data, a share of those that have a weight.

    Parameters
    ----------
    data : Data
    X, y : as passed to `fit`
        For a splitter.
    split, fraction
        The estimators' `validation_split` and `validation_fraction`.
    seed : int
        Of a random split. The same seed splits the same sequences alike, and of more sequences, where those
        came first, most as before.
    labels : ndarray of shape (n,) or None
        Classes by which a random split is stratified.
    per_step : bool
        Whether targets and weights belong to steps.
    needed : int
        Targets that the validation data have to hold.

    Raises
    ------
    ValueError
        If a part would be empty, or hold only weights of zero.
    """
    counts = targets_that_count(data, per_step)
    if isinstance(split, str):
        train, held_back = _share(counts, split, fraction, seed, labels, needed)
    else:
        train, held_back = _first_that_counts(counts, split, X, y, needed)
    return part(data, train, per_step), part(data, held_back, per_step)


def targets_that_count(data: Data, per_step: bool) -> np.ndarray:
    """How many targets of each sequence have a weight."""
    sequences, w = data.sequences, data.w
    if w is None:
        return sequences.lengths if per_step else np.ones(len(sequences), np.intp)
    used = (w[target_rows(data, per_step)] > 0).astype(np.intp)
    return np.add.reduceat(used, sequences.offsets[:-1]) if per_step else used


def part(data: Data, rows: np.ndarray, per_step: bool) -> Data:
    """The sequences `rows` with their targets; per step, all targets stay where they are."""
    sequences = data.sequences.take(rows)
    if per_step:
        return Data(sequences, data.y, data.w)
    return Data(sequences, data.y.take(rows), None if data.w is None else data.w[rows])


def target_rows(data: Data, per_step: bool) -> Any:
    """Index of the rows of `data.y` that belong to its sequences."""
    return data.sequences.row_index() if per_step else slice(None)


def _share(
    counts: np.ndarray, split: str, fraction: float, seed: int, labels: np.ndarray | None, needed: int
) -> tuple[np.ndarray, np.ndarray]:
    """A random share of the sequences that count, or the last ones; the others stay for training."""
    used = np.flatnonzero(counts)
    n = len(used)
    what = f"{n} sequences" if n == len(counts) else f"{n} sequences that have a weight"
    if n < 2:
        raise ValueError(f"early_stopping needs at least 2 sequences to split, got {what}; or pass X_val")
    if split == "last":
        order, n_held_back = used[::-1], round(n * fraction)
    else:
        # A sequence's key does not depend on how many follow.
        keys = np.random.RandomState(seed).random_sample(len(counts))[used]
        order = used[_stratified_order(keys, np.zeros(n) if labels is None else labels[used])]
        n_held_back = int(np.ceil(n * fraction))
    enough = int(np.searchsorted(np.cumsum(counts[order]), needed)) + 1
    n_held_back = max(n_held_back, enough)
    if n_held_back >= n:
        raise ValueError(
            f"validation_fraction={fraction} leaves nothing of {what} to train on (validation needs {needed} "
            "targets or more); or pass X_val"
        )
    held_back = np.sort(order[:n_held_back])
    return np.delete(np.arange(len(counts)), held_back), held_back


def _stratified_order(keys: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """An order by keys in which the first share of all holds the same share of each class."""
    by_class = np.lexsort([keys, labels])
    _, counts = np.unique(labels, return_counts=True)
    rank = np.arange(len(keys)) - np.repeat(np.cumsum(counts) - counts, counts)
    share = (rank + 0.5) / np.repeat(counts, counts)
    return by_class[np.lexsort([keys[by_class], share])]


def _splits(splitter: Any, X: Any, y: Any) -> Any:
    """A splitter's splits; what it says against these X and y is told with its name."""
    try:
        yield from splitter.split(X, y)
    except ValueError as error:
        advice = " fit gives it no groups: take PredefinedSplit, or X_val" if "'groups'" in str(error) else ""
        raise ValueError(f"validation_split={splitter!r}: {error}{advice}") from error


def _first_that_counts(
    counts: np.ndarray, splitter: Any, X: Any, y: Any, needed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The first of a splitter's splits that has something to train on and to score."""
    n, split = len(counts), None
    for split in _splits(splitter, X, y):
        try:
            train, held_back = (np.arange(n)[np.asarray(rows, None if len(rows) else int)] for rows in split)
        except IndexError as error:
            raise ValueError(
                f"validation_split={splitter!r} picks sequences that are not among the {n} of X: {error}"
            ) from error
        held_back = held_back[counts[held_back] > 0]
        if counts[train].any() and counts[held_back].sum() >= needed:
            return train, held_back
    if split is None:
        raise ValueError(f"validation_split={splitter!r} makes no split of {n} sequences")
    raise ValueError(
        f"validation_split={splitter!r}: none of its splits of {n} sequences has a weight in the training "
        f"part and {needed} or more targets with a weight in the validation part"
    )
