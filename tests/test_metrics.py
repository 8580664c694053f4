import pickle
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    f1_score,
    get_scorer,
    log_loss,
    mean_absolute_error,
    mean_pinball_loss,
    r2_score,
    roc_auc_score,
)
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate

import skrnn
from skrnn import GRURegressor
from skrnn.metrics import (
    flat_accuracy_score,
    flat_accuracy_scorer,
    flat_f1_score,
    flat_f1_scorer,
    flat_neg_log_loss_scorer,
    flat_neg_mean_absolute_error_scorer,
    flat_neg_mean_squared_error_scorer,
    flat_r2_score,
    flat_r2_scorer,
    flat_score,
    flat_scorer,
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


@pytest.mark.parametrize("form", [list, object_array, lambda frames: pd.Series(frames, dtype=object)])
def test_names_of_targets_are_compared(form):
    steps = [pd.DataFrame(RNG.normal(size=(length, 2)), columns=["u", "v"]) for length in LENGTHS]
    turned = [step[["v", "u"]] for step in steps]
    others = [step.rename(columns={"v": "w"}) for step in steps]
    assert flat_r2_score(form(steps), form(steps)) == 1
    arrays = [step.to_numpy() for step in steps]
    assert flat_r2_score(form(steps), arrays) == flat_r2_score(arrays, form(steps)) == 1
    for wrong in turned, others:
        columns = wrong[0].columns.tolist()
        message = f"y_pred has the columns {columns}, but in y_true they came as ['u', 'v']"
        with pytest.raises(ValueError, match=re.escape(message)):
            flat_r2_score(form(steps), form(wrong))
    with pytest.raises(ValueError, match=r"y_true\[1\] has the labels of y_true\[0\] in another order"):
        flat_r2_score(form([steps[0], turned[1], *steps[2:]]), arrays)
    X = [np.zeros((length, 1)) for length in LENGTHS]
    est = GRURegressor(2, return_sequences=True, max_iter=1, random_state=0).fit(X, steps)
    assert flat_r2_scorer(est, X, form(steps)) == flat_r2_scorer(est, X, arrays)
    for wrong in turned, others:
        with pytest.raises(ValueError, match=r"y_true has .*, but in fit they came as \['u', 'v'\]"):
            flat_r2_scorer(est, X, form(wrong))


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


# any metric ---------------------------------------------------------------------------------------


def test_any_metric_over_all_steps():
    expected = mean_pinball_loss(np.concatenate(VALUES), np.concatenate(FORECASTS), alpha=0.1)
    assert flat_score(mean_pinball_loss, VALUES, FORECASTS, alpha=0.1) == expected


def test_probabilities_have_an_axis_more():
    true = [np.array([0, 1, 1]), np.array([1])]
    probabilities = [np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4]]), np.array([[0.1, 0.9]])]
    expected = -np.log([0.8, 0.7, 0.4, 0.9]).mean()
    assert flat_score(log_loss, true, probabilities) == pytest.approx(expected, rel=1e-12)
    # of sequences, not of steps: a row of probabilities is one prediction
    plain = flat_score(log_loss, np.concatenate(true), np.concatenate(probabilities))
    assert plain == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="y_true has 3 sequences but y_pred has 2"):
        flat_score(log_loss, [0, 1, 1], [[0.5, 0.5]] * 2)


def test_unlabelled_steps_may_hold_none():
    true = [np.array(["a", None], object), np.array(["b"], object)]
    assert flat_score(accuracy_score, true, [["a", "b"], ["b"]], sample_weight=[[1, 0], [1]]) == 1
    true = [np.array([1, None], object), np.array([0], object)]
    assert flat_score(accuracy_score, true, [[1, 1], [1]], sample_weight=[[1, 0], [1]]) == 0.5


class Stepwise(BaseEstimator):
    """A plain model of single steps, asked for ragged sequences."""

    def __init__(self, model, as_list=False):
        self.model, self.as_list = model, as_list

    def _ask(self, method, X):
        parts = [getattr(self.model, method)(part) for part in X]
        return parts if self.as_list else object_array(parts)

    def fit(self, X, y):
        self.model.fit(np.concatenate(list(X)), np.concatenate(list(y)))
        return self

    def predict(self, X):
        return self._ask("predict", X)


class StepwiseClassifier(ClassifierMixin, Stepwise):
    @property
    def classes_(self):
        return self.model.classes_

    def predict_proba(self, X):
        return self._ask("predict_proba", X)

    def decision_function(self, X):
        return self._ask("decision_function", X)


STEPS = [RNG.normal(size=(length, 2)) for length in LENGTHS * 3]
NOISY = [part[:, 0] + RNG.normal(size=len(part)) for part in STEPS]
CLASSES = {
    "two": [(part > 0).astype(int) for part in NOISY],
    "strings": [np.where(part > 0, "yes", "no") for part in NOISY],
    "three": [np.digitize(part, [-0.5, 0.5]) for part in NOISY],
}
PROBA = dict(response_method="predict_proba")
SCORERS = {
    "neg_log_loss": flat_neg_log_loss_scorer,
    "roc_auc": flat_scorer(roc_auc_score, response_method=("decision_function", "predict_proba")),
    "roc_auc_ovr": flat_scorer(roc_auc_score, **PROBA, multi_class="ovr"),
    "neg_brier_score": flat_scorer(brier_score_loss, **PROBA, greater_is_better=False),
    "accuracy": flat_accuracy_scorer,
    "f1_macro": flat_f1_scorer,
}


@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize("labels", CLASSES)
@pytest.mark.parametrize("name", SCORERS)
def test_scorers_are_scikit_learns_of_all_steps(name, labels, as_list):
    if name == "roc_auc" and labels == "three":
        name = "roc_auc_ovr"
    y = CLASSES[labels]
    estimator = StepwiseClassifier(LogisticRegression(), as_list).fit(STEPS, y)
    steps = np.concatenate(STEPS)
    if name == "neg_brier_score" and labels == "strings":  # where scikit-learn's asks for a pos_label
        expected = -np.mean((estimator.model.predict_proba(steps)[:, 1] - (np.concatenate(y) == "yes")) ** 2)
    else:
        expected = get_scorer(name)(estimator.model, steps, np.concatenate(y))
    assert SCORERS[name](estimator, STEPS, y) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("positive", ["no", "yes"])
@pytest.mark.parametrize("response", ["predict_proba", "decision_function"])
def test_the_positive_class(response, positive):
    y = CLASSES["strings"]
    estimator = StepwiseClassifier(LogisticRegression()).fit(STEPS, y)
    scorer = flat_scorer(average_precision_score, response_method=response, pos_label=positive)
    scores = np.concatenate(list(estimator._ask(response, STEPS)))
    if response == "predict_proba":
        scores = scores[:, ["no", "yes"].index(positive)]
    elif positive == "no":
        scores = -scores
    expected = average_precision_score(np.concatenate(y) == positive, scores)
    assert scorer(estimator, STEPS, y) == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match=r"pos_label=1 is not among the classes \['no' 'yes'\]"):
        flat_scorer(average_precision_score, response_method=response)(estimator, STEPS, y)


@pytest.mark.parametrize("labels", CLASSES)
def test_log_loss_of_a_fold_that_lacks_a_class(labels):
    y = CLASSES[labels]
    estimator = StepwiseClassifier(LogisticRegression()).fit(STEPS, y)
    one = [np.full_like(part, y[0][0]) for part in y]
    chosen = np.searchsorted(estimator.classes_, y[0][0])
    expected = np.log(np.concatenate(list(estimator.predict_proba(STEPS)))[:, chosen]).mean()
    assert flat_neg_log_loss_scorer(estimator, STEPS, one) == pytest.approx(expected, rel=1e-12)


def test_label_sets_keep_their_columns():
    y = [(part > 0).astype(int) for part in STEPS]
    estimator = StepwiseClassifier(LogisticRegression()).fit(STEPS, CLASSES["two"])
    steps = np.concatenate(STEPS)
    expected = roc_auc_score(np.concatenate(y), estimator.model.predict_proba(steps))
    assert flat_scorer(roc_auc_score, **PROBA)(estimator, STEPS, y) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "scorer"),
    [
        ("neg_mean_absolute_error", flat_neg_mean_absolute_error_scorer),
        ("neg_mean_squared_error", flat_neg_mean_squared_error_scorer),
        ("r2", flat_r2_scorer),
    ],
)
@pytest.mark.parametrize("outputs", [1, 2])
def test_scorers_of_numbers(name, scorer, outputs):
    y = [part**2 if outputs == 2 else part[:, 0] ** 2 for part in STEPS]
    estimator = Stepwise(Ridge()).fit(STEPS, y)
    weights = [RNG.uniform(size=len(part)) for part in STEPS]
    steps = np.concatenate(STEPS), np.concatenate(y)
    expected = get_scorer(name)(estimator.model, *steps)
    assert scorer(estimator, STEPS, y) == pytest.approx(expected, rel=1e-12)
    expected = get_scorer(name)(estimator.model, *steps, sample_weight=np.concatenate(weights))
    assert scorer(estimator, STEPS, y, sample_weight=weights) == pytest.approx(expected, rel=1e-12)


def test_scorers_can_be_stored_and_searched_with():
    y = object_array(CLASSES["three"])
    scoring = {name: SCORERS[name] for name in ("neg_log_loss", "accuracy", "f1_macro")}
    scoring["again"] = flat_neg_log_loss_scorer
    estimator = StepwiseClassifier(LogisticRegression())
    one = cross_validate(estimator, STEPS, y, cv=3, scoring=scoring)
    other = cross_validate(estimator, STEPS, y, cv=3, scoring=pickle.loads(pickle.dumps(scoring)), n_jobs=2)
    for name in scoring:
        # not to the bit: in a worker BLAS has fewer threads for scikit-learn's solver
        np.testing.assert_allclose(one[f"test_{name}"], other[f"test_{name}"], rtol=1e-12)
    np.testing.assert_array_equal(one["test_again"], one["test_neg_log_loss"])
    assert repr(flat_neg_log_loss_scorer) == (
        "flat_scorer(log_loss, greater_is_better=False, response_method='predict_proba')"
    )


@pytest.mark.parametrize("labels", CLASSES)
def test_log_loss_of_a_network(labels):
    y = CLASSES[labels]
    model = skrnn.LSTMClassifier(2, return_sequences=True, max_iter=2, random_state=0).fit(STEPS, y)
    codes = np.searchsorted(model.classes_, np.concatenate(y))
    chosen = np.concatenate(model.predict_proba(STEPS))[np.arange(len(codes)), codes]
    assert flat_neg_log_loss_scorer(model, STEPS, y) == pytest.approx(np.log(chosen).mean(), rel=1e-6)
    X = np.stack([STEPS[0][:3], STEPS[3][:3]])  # dense: the steps are the axis that looks like classes
    codes = np.array([[0, 1, 0], [1, 0, 1]])
    chosen = np.take_along_axis(model.predict_proba(X), codes[:, :, None], axis=2)
    score = flat_neg_log_loss_scorer(model, X, model.classes_[codes])
    assert score == pytest.approx(np.log(chosen).mean(), rel=1e-6)


def test_errors_of_a_network():
    y = [part[:, 0] for part in STEPS]
    model = skrnn.LSTMRegressor(2, return_sequences=True, max_iter=2, random_state=0)
    scores = cross_val_score(model, STEPS, y, cv=2, scoring=flat_neg_mean_absolute_error_scorer)
    half = len(STEPS) // 2
    predicted = model.fit(STEPS[half:], y[half:]).predict(STEPS[:half])
    expected = mean_absolute_error(np.concatenate(y[:half]), np.concatenate(predicted))
    assert scores[0] == pytest.approx(-expected, rel=1e-12)
