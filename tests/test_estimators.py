"""The six estimators: input forms, predictions, losses, weights in both senses, states."""

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score, r2_score

from skrnn import (
    GRUClassifier,
    GRURegressor,
    LSTMClassifier,
    LSTMRegressor,
    RNNClassifier,
    RNNRegressor,
)
from skrnn.sequences import object_array

REGRESSORS = [
    (RNNRegressor, {}),
    (RNNRegressor, {"cell": "lstm"}),
    (RNNRegressor, {"cell": "gru"}),
    (LSTMRegressor, {}),
    (GRURegressor, {}),
    (GRURegressor, {"reset_after": False}),
]
CLASSIFIERS = [(RNNClassifier, {}), (LSTMClassifier, {}), (GRUClassifier, {})]
LENGTHS = [7, 3, 1, 5, 5, 2, 4, 6]


def name(value):
    if isinstance(value, type):
        return value.__name__
    return "-".join(map(str, value.values())) or "default" if isinstance(value, dict) else None


def sequences(lengths=LENGTHS, n_features=2, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n, n_features)).astype(dtype) for n in lengths]


def short(cls, **options):
    """Few epochs, small, the same each time."""
    return cls(**{"hidden_size": 5, "max_iter": 3, "random_state": 0} | options)


# Input forms -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cls", "options"), REGRESSORS + CLASSIFIERS, ids=name)
@pytest.mark.parametrize("per_step", [False, True])
def test_all_forms_of_X_agree(cls, options, per_step):
    X = np.random.default_rng(0).standard_normal((12, 4, 2))
    y = X[:, :, 0] if per_step else X[:, -1, 0]
    if "Classifier" in cls.__name__:
        y = y > 0
    options = options | {"return_sequences": per_step}
    rows = X.reshape(12, 8)
    reverse = X[:, ::-1].reshape(12, 8)
    columns = [f"c{i}" for i in range(8)]
    forms = {
        "3-D": (X, {}),
        "Fortran": (np.asfortranarray(X), {}),
        "list": (list(X), {}),
        "nested lists": (X.tolist(), {}),
        "object": (object_array(list(X)), {}),
        "rows": (rows, {"features_per_step": 2}),
        "row lists": (list(rows), {"features_per_step": 2}),
        "frame": (pd.DataFrame(rows, columns=columns), {"features_per_step": 2}),
        "newest first": (reverse, {"features_per_step": 2, "newest_first": True}),
    }
    expected = None
    for form, (given, how) in forms.items():
        est = short(cls, **options, **how).fit(given, y)
        prediction = est.predict(given)
        if per_step and form in ("list", "nested lists", "object"):
            assert prediction.dtype == object
            assert prediction.ndim == 1
            prediction = np.stack(list(prediction))
        expected = prediction if expected is None else expected
        np.testing.assert_array_equal(prediction, expected, err_msg=form)
        assert est.n_features_in_ == (8 if how else 2)
        assert hasattr(est, "feature_names_in_") == (form == "frame")
    assert list(short(cls, **options, **how).fit(forms["frame"][0], y).feature_names_in_) == columns


def test_one_feature_per_step_is_the_default():
    X = np.random.default_rng(0).standard_normal((10, 6))
    est = short(GRURegressor).fit(X, X[:, 0])
    assert est.weights_["weight_ih_l0"].shape == (15, 1)
    other = short(GRURegressor).fit(X[:, :, None], X[:, 0])
    np.testing.assert_array_equal(est.predict(X), other.predict(X[:, :, None]))
    assert est.hidden_states(X).shape == (10, 6, 5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("of_X", [np.float32, np.float64])
def test_predictions_have_the_float_type_of_X(dtype, of_X):
    X = np.random.default_rng(0).standard_normal((10, 4, 2)).astype(of_X)
    est = short(RNNRegressor, dtype=dtype).fit(X, X[:, 0, 0])
    assert est.weights_["head.bias"].dtype == dtype
    assert est.predict(X).dtype == of_X
    assert est.predict(list(X)).dtype == of_X
    assert est.hidden_states(X).dtype == of_X
    assert est.predict_with_state(X)[0].dtype == of_X
    est = short(RNNClassifier, dtype=dtype).fit(X, X[:, 0, 0] > 0)
    assert est.predict_proba(X).dtype == of_X
    assert est.decision_function(X).dtype == of_X
    per_step = short(RNNRegressor, return_sequences=True).fit(list(X), list(X[:, :, 0]))
    assert {part.dtype for part in per_step.predict(list(X))} == {np.dtype(of_X)}


def test_integers_are_read_as_numbers():
    X = np.random.default_rng(0).integers(-3, 4, (10, 4, 2))
    est = short(RNNRegressor).fit(X, X[:, 0, 0])
    expected = short(RNNRegressor).fit(X.astype(float), X[:, 0, 0]).predict(X.astype(float))
    assert est.predict(X).dtype == np.float64
    np.testing.assert_array_equal(est.predict(X), expected)


# Scores ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("per_step", "weights"),
    [(False, None), (False, "sequence"), (True, None), (True, "sequence"), (True, "step")],
)
def test_score_is_scikit_learns_on_flat_predictions(per_step, weights):
    X, rng = sequences(), np.random.default_rng(1)
    y = [x[:, 0] + 0.1 for x in X] if per_step else np.array([x[-1, 0] for x in X])
    w = None
    if weights == "sequence":
        w = rng.uniform(0.5, 2, len(X))
    elif weights == "step":
        w = [rng.uniform(0.5, 2, n) for n in LENGTHS]

    def flat(a):
        return np.concatenate(list(a)) if per_step else a

    flat_w = w
    if weights is not None and per_step:
        flat_w = np.repeat(w, LENGTHS) if weights == "sequence" else np.concatenate(w)
    est = short(LSTMRegressor, return_sequences=per_step).fit(X, y)
    expected = r2_score(flat(y), flat(est.predict(X)), sample_weight=flat_w)
    assert est.score(X, y, w) == pytest.approx(expected, rel=1e-6)

    labels = [a > 0 for a in y] if per_step else y > 0
    est = short(LSTMClassifier, return_sequences=per_step).fit(X, labels)
    expected = accuracy_score(flat(labels), flat(est.predict(X)), sample_weight=flat_w)
    assert est.score(X, labels, w) == pytest.approx(expected, rel=1e-6)


# Sample weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [RNNRegressor, LSTMClassifier, GRURegressor])
@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_integer_weights_are_repetitions(cls, per_step, solver):
    """In full batches; scikit-learn's own check compares at 1e-7 after many clipped minibatches."""
    X, rng = sequences(), np.random.default_rng(1)
    y = [rng.choice([0.0, 1.0, 2.0], n if per_step else ()) for n in LENGTHS]
    repeats = np.array([1, 2, 0, 3, 1, 1, 2, 1])
    again = np.repeat(np.arange(len(X)), repeats)
    options = dict(
        dtype="float64", max_iter=10, batch_size=100, shuffle=False, solver=solver, tol=0.0,
        return_sequences=per_step,
    )  # fmt: skip
    weighted = short(cls, **options).fit(X, y, repeats)
    repeated = short(cls, **options).fit([X[i] for i in again], [y[i] for i in again])
    assert weighted.n_iter_ == 10
    for key, w in repeated.weights_.items():
        np.testing.assert_allclose(weighted.weights_[key], w, atol=1e-9, rtol=0)
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-9)
    plain = short(cls, **options).fit(X, y)
    assert np.abs(plain.weights_["head.weight"] - weighted.weights_["head.weight"]).max() > 1e-4


def test_weights_per_step():
    """Weights per sequence are weights of its steps; integers repeat a step's target."""
    X = sequences()
    y = [x[:, 0] for x in X]
    of_sequence = np.arange(1.0, 9.0)
    options = {"return_sequences": True, "dtype": "float64", "max_iter": 5}
    one = short(GRURegressor, **options).fit(X, y, of_sequence)
    forms = [np.full(n, w) for n, w in zip(LENGTHS, of_sequence)]
    for steps in (forms, object_array(forms), [f.tolist() for f in forms]):
        other = short(GRURegressor, **options).fit(X, y, steps)
        np.testing.assert_array_equal(other.weights_["head.weight"], one.weights_["head.weight"])
    # The network emits one output per step, so a step cannot be repeated in X: two copies of a
    # sequence whose weights sum to the weights of one are the repetition.
    rng = np.random.default_rng(3)
    whole = [rng.uniform(1, 2, n) for n in LENGTHS]
    share = [rng.uniform(0, 1, n) for n in LENGTHS]
    rest = [w - s for w, s in zip(whole, share)]
    full = options | {"batch_size": 100, "shuffle": False}
    one = short(GRURegressor, **full).fit(X, y, whole)
    two = short(GRURegressor, **full).fit(X + X, y + y, share + rest)
    for key, w in one.weights_.items():
        np.testing.assert_allclose(two.weights_[key], w, atol=1e-9, rtol=0)


@pytest.mark.parametrize("standing", [np.nan, np.inf, 1e300, 7.0])
@pytest.mark.parametrize("cls", [LSTMRegressor, LSTMClassifier])
def test_unlabelled_steps_may_hold_anything(cls, standing):
    X = np.random.default_rng(0).standard_normal((10, 6, 2))
    y = np.where(X[:, :, 0] > 0, 1.0, 0.0)
    w = np.ones((10, 6))
    w[::2, 1], w[3], w[1:, 5] = 0, 0, 0
    y_other = np.where(w > 0, y, standing)
    options = {"return_sequences": True, "early_stopping": True, "validation_fraction": 0.3}
    one = short(cls, **options).fit(X, y, w)
    other = short(cls, **options).fit(X, y_other, w)
    if cls is LSTMClassifier:
        np.testing.assert_array_equal(other.classes_, [0, 1])
    assert np.isfinite(one.loss_curve_).all()
    assert one.loss_curve_ == other.loss_curve_
    assert one.validation_scores_ == other.validation_scores_
    np.testing.assert_array_equal(one.predict(X), other.predict(X))
    assert one.score(X, y, w) == other.score(X, y_other, w)
    other = short(cls, return_sequences=True)
    classes = {"classes": [0, 1]} if cls is LSTMClassifier else {}
    other.partial_fit(X, y_other, sample_weight=w, **classes)
    assert np.isfinite(np.concatenate([v.ravel() for v in other.weights_.values()])).all()


def test_unlabelled_steps_of_objects():
    """Labels with None where they are unknown; strings and integers."""
    X = sequences([4, 3])
    w = [[1, 0, 1, 1], [1, 1, 0]]
    for a, b in [("a", "b"), (3, 4)]:
        y = [np.array([a, None, b, a], object), np.array([b, a, None], object)]
        est = short(RNNClassifier, return_sequences=True).fit(X, y, w)
        assert list(est.classes_) == [a, b]
        assert set(np.concatenate(list(est.predict(X)))) <= {a, b}
        assert 0 <= est.score(X, y, w) <= 1


def test_frames_and_scalars_as_targets_and_weights():
    X = np.random.default_rng(0).standard_normal((10, 6, 2))
    y, w = X[:, :, 0], np.random.default_rng(1).uniform(1, 2, (10, 6))
    est = short(RNNRegressor, return_sequences=True)
    expected = est.fit(X, y, w).predict(X)
    got = est.fit(X, pd.DataFrame(y), pd.DataFrame(w)).predict(X)
    np.testing.assert_array_equal(got, expected)
    expected = est.fit(X, y).predict(X)
    np.testing.assert_allclose(est.fit(X, y, 2.0).predict(X), expected, rtol=1e-5)
    index = [7, 3, 1, 0, 2, 9, 8, 6, 5, 4]  # order counts, not the labels of the index
    est = short(RNNRegressor)
    expected = est.fit(X, y[:, 0], w[:, 0]).predict(X)
    got = est.fit(X, pd.Series(y[:, 0], index), pd.Series(w[:, 0], index)).predict(X)
    np.testing.assert_array_equal(got, expected)


# Fitted attributes -------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [LSTMRegressor, LSTMClassifier])
def test_fitted_attributes(cls):
    X = np.random.default_rng(0).standard_normal((40, 5, 2))
    y = X[:, -1, 0] if cls is LSTMRegressor else X[:, -1, 0] > 0
    est = short(cls, early_stopping=True, max_iter=4)
    with pytest.raises(NotFittedError):
        est.predict(X)
    est.fit(X, y)
    assert est.n_iter_ == 4
    assert est.loss_ == est.loss_curve_[-1]
    assert est.best_loss_ == min(est.loss_curve_)
    assert est.best_validation_score_ == max(est.validation_scores_)
    assert len(est.loss_curve_) == len(est.validation_scores_) == 4
    frame = pd.DataFrame(est.history_)
    assert list(frame) == [
        "epoch", "loss", "validation_score", "learning_rate", "gradient_norm", "seconds"
    ]  # fmt: skip
    assert frame.epoch.tolist() == [1, 2, 3, 4]
    assert frame.loss.tolist() == est.loss_curve_
    assert frame.validation_score.tolist() == est.validation_scores_
    assert (frame.learning_rate == est.learning_rate_init).all()
    assert (frame.gradient_norm > 0).all()
    assert frame.seconds.is_monotonic_increasing
    est.set_params(early_stopping=False).fit(X, y)
    assert est.validation_scores_ is None
    assert est.best_validation_score_ is None
    assert pd.DataFrame(est.history_).validation_score.isna().all()


@pytest.mark.parametrize("cls", [RNNRegressor, RNNClassifier])
def test_a_fitted_estimator_keeps_its_parameters(cls):
    """Predictions are those of the fit until the next one, whatever set_params says."""
    X = np.random.default_rng(0).standard_normal((10, 12))
    y = X[:, 0] if cls is RNNRegressor else X[:, 0] > 0
    est = short(cls, features_per_step=2).fit(X, y)
    expected, score = est.predict(X), est.score(X, y)
    for change in (
        {"features_per_step": 1},
        {"features_per_step": 4},
        {"newest_first": True},
        {"hidden_size": 9},
        {"cell": "gru"},
        {"activation": "relu"},
        {"num_layers": 2},
        {"bidirectional": True},
        {"pooling": "mean"},
        {"return_sequences": True},
        {"dtype": "float64"},
        {"loss": "quantile", "quantiles": [0.2, 0.3]} if cls is RNNRegressor else {},
    ):
        old = {name: est.get_params()[name] for name in change}
        est.set_params(**change)
        np.testing.assert_array_equal(est.predict(X), expected, err_msg=str(change))
        assert est.score(X, y) == score
        est.set_params(**old)


# Learning ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [RNNRegressor, LSTMRegressor, GRURegressor])
def test_defaults_learn_to_remember(cls):
    X = np.random.default_rng(0).standard_normal((400, 8, 1)).astype(np.float32)
    y = 0.8 * X[:, -3, 0] + 0.6 * X[:, -1, 0]
    est = cls(random_state=0).fit(X[:300], y[:300])
    assert est.score(X[300:], y[300:]) > 0.9


def test_rnn_ignores_the_parameters_of_other_cells():
    X = np.random.default_rng(0).standard_normal((10, 4, 2))
    y = X[:, 0, 0]
    for cell, other in [("lstm", LSTMRegressor), ("gru", GRURegressor)]:
        est = short(RNNRegressor, cell=cell, activation="relu").fit(X, y)
        np.testing.assert_array_equal(est.predict(X), short(other).fit(X, y).predict(X))
    plain = short(RNNRegressor).fit(X, y).predict(X)
    np.testing.assert_array_equal(short(RNNRegressor, reset_after=False).fit(X, y).predict(X), plain)
    assert np.any(short(RNNRegressor, activation="relu").fit(X, y).predict(X) != plain)
