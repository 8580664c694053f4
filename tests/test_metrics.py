import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score, f1_score, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score

from skrnn.metrics import (
    flat_accuracy_score,
    flat_accuracy_scorer,
    flat_f1_score,
    flat_f1_scorer,
    flat_r2_score,
    flat_r2_scorer,
)
from skrnn.sequences import object_array

LENGTHS = (7, 3, 1, 5)
RNG = np.random.default_rng(0)


def ragged(draw):
    return object_array([draw(length) for length in LENGTHS])


def labels(length):
    return RNG.integers(3, size=length)


LABELS, GUESSES = ragged(labels), ragged(labels)
VALUES, FORECASTS = (ragged(lambda n: RNG.normal(size=n)) for _ in range(2))
VALUES_2, FORECASTS_2 = (ragged(lambda n: RNG.normal(size=(n, 2))) for _ in range(2))

SCORES = [
    (flat_accuracy_score, accuracy_score, {}, LABELS, GUESSES),
    (flat_accuracy_score, accuracy_score, {"normalize": False}, LABELS, GUESSES),
    (flat_f1_score, f1_score, {"average": "macro"}, LABELS, GUESSES),
    (flat_f1_score, f1_score, {"average": None}, LABELS, GUESSES),
    (flat_f1_score, f1_score, {"average": "micro", "labels": [0, 1]}, LABELS, GUESSES),
    (flat_r2_score, r2_score, {}, VALUES, FORECASTS),
    (flat_r2_score, r2_score, {"multioutput": "raw_values"}, VALUES_2, FORECASTS_2),
]


@pytest.mark.parametrize(("flat", "plain", "kwargs", "true", "predicted"), SCORES)
def test_flat_is_the_plain_score_of_all_steps(flat, plain, kwargs, true, predicted):
    expected = plain(np.concatenate(true), np.concatenate(predicted), **kwargs)
    forms = [np.asarray, list, tuple, lambda y: [part.tolist() for part in y]]
    for form in forms:
        np.testing.assert_array_equal(flat(form(true), predicted, **kwargs), expected)
        np.testing.assert_array_equal(flat(true, form(predicted), **kwargs), expected)


@pytest.mark.parametrize(("flat", "plain", "kwargs", "true", "predicted"), SCORES)
def test_weights(flat, plain, kwargs, true, predicted):
    per_sequence = [0.5, 2.0, 1.0, 3.0]
    per_step = ragged(lambda n: RNG.uniform(0.1, 1, size=n))
    for weights, steps in (
        (per_sequence, np.repeat(per_sequence, LENGTHS)),
        (per_step, np.concatenate(per_step)),
    ):
        expected = plain(np.concatenate(true), np.concatenate(predicted), sample_weight=steps, **kwargs)
        result = flat(true, predicted, sample_weight=weights, **kwargs)
        np.testing.assert_allclose(result, expected)


def test_f1_is_macro_by_default():
    assert flat_f1_score([["a", "a"], ["b"]], [["a", "a"], ["a"]]) == pytest.approx(0.4)
    assert flat_f1_score(["a", "a", "b"], ["a", "a", "a"]) == pytest.approx(0.4)


def test_dense_and_plain():
    true, predicted = RNG.integers(2, size=(2, 4, 5))
    assert flat_accuracy_score(true, predicted) == np.mean(true == predicted)
    assert flat_accuracy_score(true[0], predicted[0]) == np.mean(true[0] == predicted[0])
    # one output with and without an axis of its own
    assert flat_accuracy_score(true[:, :, None], predicted) == np.mean(true == predicted)
    assert flat_r2_score(true[:, :, None], predicted) == r2_score(true.ravel(), predicted.ravel())


def test_steps_without_weight_may_be_unlabelled():
    true = [np.array([1.0, np.nan]), np.array([np.nan])]
    weights = [[1.0, 0.0], [0.0]]
    assert flat_accuracy_score(true, [[1, 0], [1]], sample_weight=weights) == 1
    true = [np.array([1.0, 2.0]), np.array([np.nan])]
    assert flat_r2_score(true, [[1.0, 2.0], [9.0]], sample_weight=[1, 0]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0, 1], [1]], [[0, 1], [1, 1]]), "sequence 1 has 1 steps in y_true but 2 in y_pred"),
        (([[0, 1], [1]], [[0, 1]]), "y_true has 2 sequences but y_pred has 1"),
        ((np.zeros((2, 3)), np.zeros((2, 4))), "sequence 0 has 3 steps in y_true but 4 in y_pred"),
        (([[0, 1], [1]], [[0, 1], [1]], [1, 1, 1]), "got 3 weights for 2 sequences"),
        (
            ([[0, 1], [1]], [[0, 1], [1]], [[1, 1], [1, 1]]),
            "sequence 1 has 1 steps in y_true but 2 in sample_weight",
        ),
    ],
)
@pytest.mark.parametrize("score", [flat_accuracy_score, flat_f1_score, flat_r2_score])
def test_mistakes_name_the_sequence(score, arguments, message):
    true, predicted, *weights = arguments
    with pytest.raises(ValueError, match=message):
        score(true, predicted, sample_weight=weights[0] if weights else None)


class Threshold(ClassifierMixin, BaseEstimator):
    """Labels each step by its sign, but for a share of mistakes."""

    def __init__(self, threshold=0.0):
        self.threshold = threshold

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.array([0, 1])
        return self

    def predict(self, X):
        return object_array([(part[:, 0] > self.threshold).astype(int) for part in X])


X = [RNG.normal(size=(length, 1)) for length in LENGTHS * 3]
Y = object_array([(part[:, 0] > 0).astype(int) for part in X])


@pytest.mark.parametrize(
    ("scorer", "score"),
    [
        (flat_accuracy_scorer, flat_accuracy_score),
        (flat_f1_scorer, flat_f1_score),
        (flat_r2_scorer, flat_r2_score),
    ],
)
def test_scorers(scorer, score):
    estimator = Threshold(0.5).fit(X, Y)
    assert scorer(estimator, X, Y) == score(Y, estimator.predict(X)) < 1
    weights = np.arange(1.0, len(X) + 1)
    weighted = scorer(estimator, X, Y, sample_weight=weights)
    assert weighted == score(Y, estimator.predict(X), sample_weight=weights)
    assert (cross_val_score(Threshold(), X, Y, scoring=scorer, cv=3) == 1).all()


@pytest.mark.parametrize("scoring", [flat_accuracy_scorer, flat_f1_scorer, flat_r2_scorer])
def test_grid_search_in_processes(scoring):
    grid = {"threshold": [-1.0, 0.0, 1.0]}
    search = GridSearchCV(Threshold(), grid, scoring=scoring, cv=3, n_jobs=2).fit(X, Y)
    assert search.best_params_ == {"threshold": 0.0}
    assert search.best_score_ == 1
