"""Metrics over all steps of all sequences; scikit-learn's own refuse ragged input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, make_scorer, r2_score


def flat_accuracy_score(y_true: Any, y_pred: Any, *, sample_weight: Any = None, **kwargs: Any) -> float:
    """Share of all steps that are labelled rightly.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n, T) or (n, T, n_outputs), or list or object array of n \
arrays of shape (T_i,) or (T_i, n_outputs)
        Targets and predictions per step. A plain 1-D array is taken as it is.
    sample_weight : array-like of shape (n,), or of the form of y_true, default=None
        Weights per sequence, which count for each of its steps, or per step. Steps of weight 0 are
        left out, so their targets may be NaN.
    **kwargs
        For `sklearn.metrics.accuracy_score`.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If lengths differ; the message names the sequence.

    Examples
    --------
    >>> from skrnn import flat_accuracy_score
    >>> flat_accuracy_score([["a", "b", "a"], ["b"]], [["a", "b", "b"], ["b"]])
    0.75
    """
    return _flat_score(accuracy_score, y_true, y_pred, sample_weight, **kwargs)


def flat_f1_score(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: Any = None,
    average: str | None = "macro",
    **kwargs: Any,
) -> Any:
    """F1 over all steps; errors as of `flat_accuracy_score`.

    Parameters
    ----------
    y_true, y_pred : ragged (list or object array of arrays) or dense, per step
        Targets and predictions; each sequence's lengths must agree.
    sample_weight : array-like per sequence or per step, default=None
        Weights; a step of weight 0 takes no part, whatever its target.
    average : {"macro", "micro", "weighted", "samples", "binary"} or None, default="macro"
        The default is the plain mean over classes, so that a rare label counts like a common one,
        where `sklearn.metrics.f1_score` has "binary".
    **kwargs
        For `sklearn.metrics.f1_score`.

    Returns
    -------
    float, or ndarray of shape (n_classes,) where `average` is None
    """
    return _flat_score(f1_score, y_true, y_pred, sample_weight, average=average, **kwargs)


def flat_r2_score(y_true: Any, y_pred: Any, *, sample_weight: Any = None, **kwargs: Any) -> Any:
    """Coefficient of determination over all steps; errors as of `flat_accuracy_score`.

    Parameters
    ----------
    y_true, y_pred : ragged (list or object array of arrays) or dense, per step
        Targets and predictions; each sequence's lengths must agree.
    sample_weight : array-like per sequence or per step, default=None
        Weights; a step of weight 0 takes no part, whatever its target.
    **kwargs
        For `sklearn.metrics.r2_score`.

    Returns
    -------
    float, or ndarray of shape (n_outputs,) where ``multioutput="raw_values"``
    """
    return _flat_score(r2_score, y_true, y_pred, sample_weight, **kwargs)


flat_accuracy_scorer = make_scorer(flat_accuracy_score)
flat_f1_scorer = make_scorer(flat_f1_score)
flat_r2_scorer = make_scorer(flat_r2_score)


def _flat_score(score: Callable, y_true: Any, y_pred: Any, sample_weight: Any, **kwargs: Any) -> Any:
    true, lengths = _flatten(y_true)
    predicted, predicted_lengths = _flatten(y_pred)
    _check_lengths("y_true", lengths, "y_pred", predicted_lengths)
    if sample_weight is None:
        return score(true, predicted, **kwargs)
    weights, weight_lengths = _flatten(sample_weight)
    if all(np.ndim(weight) == 0 for weight in sample_weight):  # one per sequence
        if len(weights) != len(lengths):
            raise ValueError(f"got {len(weights)} weights for {len(lengths)} sequences")
        weights = np.repeat(weights, lengths)
    else:
        _check_lengths("y_true", lengths, "sample_weight", weight_lengths)
    used = weights != 0
    return score(true[used], predicted[used], sample_weight=weights[used], **kwargs)


def _flatten(y: Any) -> tuple[np.ndarray, list[int]]:
    """All steps, shape (n_steps,) or (n_steps, n_outputs), and how many each sequence has."""
    y = y if isinstance(y, list | tuple) else np.asarray(y)  # a DataFrame would give its columns
    items = [np.atleast_1d(np.asarray(item)) for item in y]
    flat = np.concatenate(items) if items else np.empty(0)
    return flat, [len(item) for item in items]


def _check_lengths(name: str, lengths: list[int], other: str, other_lengths: list[int]) -> None:
    if len(lengths) != len(other_lengths):
        raise ValueError(f"{name} has {len(lengths)} sequences but {other} has {len(other_lengths)}")
    for i, (expected, given) in enumerate(zip(lengths, other_lengths)):
        if expected != given:
            raise ValueError(f"sequence {i} has {expected} steps in {name} but {given} in {other}")
