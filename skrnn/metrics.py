"""Metrics over all steps of all sequences; scikit-learn's own refuse ragged input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    log_loss,
    make_scorer,
    mean_absolute_error,
    mean_squared_error,
    r2_score,
)
from sklearn.utils.validation import _check_response_method

from .estimators.targets import check_same_targets, names_in

_Scorer: Any = type(make_scorer(accuracy_score))  # which scikit-learn does not export


def flat_score(
    metric: Callable, y_true: Any, y_pred: Any, *, sample_weight: Any = None, **kwargs: Any
) -> Any:
    """Any metric of scikit-learn, over all steps of all sequences.

    Parameters
    ----------
    metric : callable
        ``metric(y_true, y_pred, **kwargs)``, with a parameter `sample_weight` if weights are given.
    y_true : array-like of shape (n, T) or (n, T, n_outputs), or list or object array of n \
arrays of shape (T_i,) or (T_i, n_outputs)
        Targets per step. A plain 1-D array is taken as it is.
    y_pred : array-like, in the form of y_true
        Predictions, or with an axis more what ``predict_proba`` gives.
    sample_weight : array-like of shape (n,), or of the form of y_true, default=None
        Weights per sequence, which count for each of its steps, or per step. Steps of weight 0 are
        left out, so their targets may be NaN.
    **kwargs
        For the metric.

    Returns
    -------
    float, or whatever the metric returns

    Raises
    ------
    ValueError
        If lengths differ, or the columns of frames in name or order; the message names the sequence.

    Examples
    --------
    >>> from sklearn.metrics import mean_absolute_error
    >>> from skrnn import flat_score
    >>> flat_score(mean_absolute_error, [[1.0, 2.0, 3.0], [4.0]], [[1.0, 2.0, 5.0], [4.0]])
    0.5
    """
    true, predicted, weights = _steps(y_true, y_pred, sample_weight)
    return metric(true, predicted, **kwargs | weights)


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
        If lengths differ, or the columns of frames in name or order; the message names the sequence.

    Examples
    --------
    >>> from skrnn import flat_accuracy_score
    >>> flat_accuracy_score([["a", "b", "a"], ["b"]], [["a", "b", "b"], ["b"]])
    0.75
    """
    return flat_score(accuracy_score, y_true, y_pred, sample_weight=sample_weight, **kwargs)


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
    return flat_score(f1_score, y_true, y_pred, sample_weight=sample_weight, average=average, **kwargs)


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
    return flat_score(r2_score, y_true, y_pred, sample_weight=sample_weight, **kwargs)


class _FlatScorer(_Scorer):
    """scikit-learn's scorer, but for what it makes of a response: it looks for columns in ragged ones."""

    def _score(self, method_caller: Callable, estimator: Any, X: Any, y_true: Any, **kwargs: Any) -> Any:
        self._warn_overlap(message="The scorer has arguments of its own that are also passed.", kwargs=kwargs)
        kwargs = self._kwargs | kwargs
        method = _check_response_method(estimator, self._response_method).__name__
        if method == "predict":  # which a search with several metrics asks for once
            response = method_caller(estimator, method, X)
        else:
            response = getattr(estimator, method)(X)
        check_same_targets(names_in(y_true, "y_true"), getattr(estimator, "_target_names", None), "y_true")
        true, predicted, weights = _steps(y_true, response, kwargs.pop("sample_weight", None))
        multilabel = true.ndim > 1 and true.shape[1] > 1
        if method != "predict" and is_classifier(estimator) and not multilabel:
            predicted = self._of_classes(predicted, estimator.classes_, kwargs)
        return self._sign * self._score_func(true, predicted, **kwargs | weights)

    def _of_classes(self, predicted: np.ndarray, classes: np.ndarray, kwargs: dict[str, Any]) -> np.ndarray:
        """Responses to classes as scikit-learn's metrics want them: of two classes, to the positive one.

        The metric is told the classes, since a fold need not hold them all.
        """
        parameters = signature(self._score_func).parameters
        if "labels" in parameters:
            kwargs.setdefault("labels", classes)
        if len(classes) != 2:
            return predicted
        default = parameters["pos_label"].default if "pos_label" in parameters else None
        positive = kwargs.get("pos_label", default)
        positive = classes[1] if positive is None else positive
        if positive not in classes.tolist():
            raise ValueError(f"pos_label={positive!r} is not among the classes {classes}")
        if "pos_label" in parameters:
            kwargs["pos_label"] = positive
        if predicted.ndim > 1 and predicted.shape[1] == 2:
            return predicted[:, int(positive == classes[1])]
        return predicted if positive == classes[1] else -predicted

    def __repr__(self) -> str:
        return super().__repr__().replace("make_scorer", "flat_scorer", 1)


def flat_scorer(
    metric: Callable,
    *,
    response_method: str | Sequence[str] = "predict",
    greater_is_better: bool = True,
    **kwargs: Any,
) -> Any:
    """A scorer, for the ``scoring`` of a search, of any metric over all steps.

    Parameters
    ----------
    metric : callable
        ``metric(y_true, y_pred, **kwargs)``, such as one of `sklearn.metrics`.
    response_method : {"predict", "predict_proba", "decision_function"} or list of them, default="predict"
        What the metric compares with the targets; of a list, the first that the estimator has. Of two
        classes it sees the probability, or the score, of the positive one, as in scikit-learn; a metric
        with a parameter `labels` is told all classes of the estimator.
    greater_is_better : bool, default=True
        False for errors, which the scorer negates.
    **kwargs
        For the metric.

    Returns
    -------
    callable
        ``scorer(estimator, X, y, sample_weight=None)``, as made by `sklearn.metrics.make_scorer`. Weights
        as in `flat_score`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.metrics import median_absolute_error
    >>> from sklearn.model_selection import cross_val_score
    >>> from skrnn import GRURegressor, flat_scorer
    >>> X = [np.full((length, 1), 0.5) for length in (3, 5, 4, 6)]
    >>> y = [np.zeros(len(x)) for x in X]
    >>> scorer = flat_scorer(median_absolute_error, greater_is_better=False)
    >>> model = GRURegressor(4, return_sequences=True, max_iter=2, random_state=0)
    >>> (cross_val_score(model, X, y, scoring=scorer, cv=2) < 0).all()
    np.True_
    """
    return _FlatScorer(metric, 1 if greater_is_better else -1, kwargs, response_method)


flat_accuracy_scorer = flat_scorer(accuracy_score)
flat_f1_scorer = flat_scorer(f1_score, average="macro")
flat_r2_scorer = flat_scorer(r2_score)
flat_neg_mean_absolute_error_scorer = flat_scorer(mean_absolute_error, greater_is_better=False)
flat_neg_mean_squared_error_scorer = flat_scorer(mean_squared_error, greater_is_better=False)
flat_neg_log_loss_scorer = flat_scorer(log_loss, response_method="predict_proba", greater_is_better=False)


def _steps(y_true: Any, y_pred: Any, sample_weight: Any) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Targets and predictions of all steps that count, and their weights as an argument, if there are any."""
    check_same_targets(names_in(y_pred, "y_pred"), names_in(y_true, "y_true"), "y_pred", "y_true")
    true, lengths = _flatten(y_true)
    if _is_plain(y_true):  # of one step each, also where a prediction is a row of probabilities
        predicted = np.asarray(y_pred)
        predicted_lengths = [1] * len(predicted)
    else:
        predicted, predicted_lengths = _flatten(y_pred)
    _check_lengths("y_true", lengths, "y_pred", predicted_lengths)
    if sample_weight is None:
        return true, predicted, {}
    weights, weight_lengths = _flatten(sample_weight)
    if _is_plain(sample_weight):  # one per sequence
        if len(weights) != len(lengths):
            raise ValueError(f"got {len(weights)} weights for {len(lengths)} sequences")
        weights = np.repeat(weights, lengths)
    else:
        _check_lengths("y_true", lengths, "sample_weight", weight_lengths)
    used = weights != 0
    true = true[used]
    if true.dtype == object:  # as beside a None, where there is no label
        true = np.array(true.tolist())
    return true, predicted[used], {"sample_weight": weights[used]}


def _is_plain(y: Any) -> bool:
    """Whether these are numbers or labels, not arrays of them."""
    return all(np.ndim(item) == 0 for item in (y if isinstance(y, list | tuple) else np.asarray(y)))


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
