"""Bad input: an error that names the place, and an estimator that is what it was before."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from pictures import bits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GroupKFold

from skrnn import (
    GRUClassifier,
    GRURegressor,
    LSTMClassifier,
    LSTMRegressor,
    RNNClassifier,
    RNNRegressor,
)
from skrnn.sequences import object_array

ALL = [RNNRegressor, LSTMRegressor, GRURegressor, RNNClassifier, LSTMClassifier, GRUClassifier]
METHODS = ["fit", "predict", "predict_with_state", "hidden_states", "score", "partial_fit"]


def data(n=8, T=4, F=2):
    X = np.random.default_rng(0).standard_normal((n, T, F))
    return X, (X[:, -1, 0] > 0).astype(int)


def short(cls, **options):
    return cls(**{"hidden_size": 3, "max_iter": 2, "random_state": 0} | options)


def call(est, method, X, y):
    if method in ("fit", "score", "partial_fit"):
        return getattr(est, method)(X, y)
    return getattr(est, method)(X)


def changed(X, index, value, dtype=None):
    X = X.astype(dtype) if dtype else X.copy()
    X[index] = value
    return X


# X -----------------------------------------------------------------------------------------------

X0, Y0 = data()
BAD_X = {
    "nan": (changed(X0, (3, 2, 1), np.nan), "sequence 3 contains NaN at step 2"),
    "inf": (changed(X0, (3, 2, 1), -np.inf), "sequence 3 contains infinity at step 2"),
    "too large": (
        changed(X0, (5, 1, 0), 1e300),
        "sequence 5 contains a value too large for float32 at step 1",
    ),
    "nan in a list": ([*X0[:7], [[0.0, np.nan]]], "sequence 7 contains NaN at step 0"),
    "no steps": ([*X0[:7], np.empty((0, 2))], "sequence 7 has no time steps"),
    "empty list": ([*X0[:7].tolist(), []], "sequence 7 has no time steps"),
    "no steps 3-D": (np.empty((8, 0, 2)), "sequence 0 has no time steps"),
    "features": ([*X0[:7], np.zeros((4, 3))], "sequence 7 has 3 features, expected 2"),
    "1-D among 2-D": ([*X0[:7], np.zeros(4)], r"sequence 7 has shape \(4,\)"),
    "unequal 1-D": (
        [np.zeros(n) for n in range(2, 10)],
        r"item 1 has length 3 and item 0 has length 2.*\(T, 1\)",
    ),
    "strings": (X0.astype(str), "dtype <U32, expected numbers"),
    "object strings": (changed(X0, (0, 0, 0), "a", object), "X is not numeric.*'a'"),
    "string in a list": ([*X0[:7], [["a", "b"]]], "sequence 7 has dtype <U1, expected numbers"),
    "complex": (X0 + 1j, "Complex data not supported"),
    "complex in a list": ([*X0[:7], X0[7] * 1j], "Complex data not supported: sequence 7"),
    "4-D": (X0[..., None], "X has 4 dimensions"),
    "none": ([], "no sequences"),
    "none 3-D": (X0[:0], "no sequences"),
    "masked": (np.ma.masked_array(X0, mask=X0 > 2), "masked array"),
    "sparse in a list": ([*X0[:7], sp.csr_array(X0[7])], "sequence 7 is sparse"),
}


@pytest.mark.parametrize("case", BAD_X)
@pytest.mark.parametrize("method", METHODS)
def test_bad_X(case, method):
    X, message = BAD_X[case]
    for cls in (GRURegressor, GRUClassifier):
        est = short(cls).fit(X0, Y0)
        before, expected = bits(est), est.predict(X0)
        with pytest.raises(ValueError, match=message):
            call(est, method, X, Y0)
        assert bits(est) == before
        np.testing.assert_array_equal(est.predict(X0), expected)
    if method == "fit":
        est = short(cls)
        with pytest.raises(ValueError, match=message):
            est.fit(X, Y0)
        assert vars(est) == vars(short(cls))
        with pytest.raises(NotFittedError):
            est.predict(X0)


def test_values_too_large_for_float32_are_fine_in_float64():
    X = X0 * 1e300
    assert np.isfinite(short(RNNRegressor, dtype="float64").fit(X, Y0).predict(X)).all()


@pytest.mark.parametrize("cls", ALL)
def test_two_dimensional_X(cls):
    rows = X0.reshape(8, 8)
    cases = {
        "8 columns, which is not a multiple of features_per_step=3": (rows, 3),
        "X contains NaN: row 2, column 5": (changed(rows, (2, 5), np.nan), 2),
        "X contains infinity: row 2, column 5": (changed(rows, (2, 5), -np.inf), 2),
        "X contains a value too large for float32: row 2, column 5": (
            changed(rows, (2, 5), 1e300),
            2,
        ),
        "Sparse data was passed|sparse": (sp.csr_array(rows), 2),
        "could not convert string|dtype": (changed(rows, (2, 5), "a", object), 2),
    }
    for message, (X, per_step) in cases.items():
        est = short(cls, features_per_step=per_step)
        with pytest.raises((ValueError, TypeError), match=message):
            est.fit(X, Y0)
        assert not hasattr(est, "n_features_in_")
    est = short(cls, features_per_step=2).fit(rows, Y0)
    with pytest.raises(ValueError, match=r"X has 6 features, but .* is expecting 8 features"):
        est.predict(rows[:, :6])
    frame = pd.DataFrame(rows, columns=list("abcdefgh"))
    est.fit(frame, Y0)
    with pytest.raises(ValueError, match="feature names"):
        est.predict(frame[list("bacdefgh")])
    assert list(est.feature_names_in_) == list("abcdefgh")


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("method", ["predict", "score", "partial_fit", "warm_start"])
def test_another_kind_or_number_of_features(cls, method):
    rows = X0.reshape(8, 8)
    est = short(cls, warm_start=method == "warm_start").fit(X0, Y0)
    method = "fit" if method == "warm_start" else method
    before = bits(est)
    for X, message in [
        (rows, "fitted on sequences .* but X is now 2-D X"),
        (X0[:, :, :1], "X has 1 features, but .* is expecting 2 features"),
        (list(X0[:, :, :1]), "X has 1 features, but .* is expecting 2 features"),
    ]:
        with pytest.raises(ValueError, match=message):
            call(est, method, X, Y0)
        assert bits(est) == before
    est = short(cls, warm_start=method == "fit").fit(rows, Y0)
    with pytest.raises(ValueError, match=r"fitted on 2-D X .* but X is now sequences"):
        call(est, method, X0, Y0)


# y and weights -----------------------------------------------------------------------------------

STEPS = [np.zeros(4) for _ in range(8)]
BAD_Y = {
    "too few": (Y0[:7], "X has 8 sequences, y has 7"),
    "none": (None, "requires y to be passed"),
    "complex": (Y0 + 1j, "Complex data not supported"),
    "nan": (changed(Y0, 3, np.nan, float), r"Input y contains NaN: y\[3\]"),
    "inf": (changed(Y0, 3, np.inf, float), r"Input y contains infinity: y\[3\]"),
    "3-D": (np.zeros((8, 4, 2)), "3 dimensions.*return_sequences=True"),
    "ragged": ([np.zeros(n) for n in range(2, 10)], "per step.*return_sequences=True"),
    "ragged objects": (
        object_array([np.zeros(n) for n in range(2, 10)]),
        "per step.*return_sequences=True",
    ),
}
BAD_STEPS = {
    "too few": (STEPS[:7], "X has 8 sequences, y has 7"),
    "wrong length": ([*STEPS[:5], np.zeros(3), *STEPS[:2]], r"y\[5\] has 3 steps, sequence 5 has 4"),
    "one too many": ([*STEPS[:5], np.zeros(5), *STEPS[:2]], r"y\[5\] has 5 steps, sequence 5 has 4"),
    "per sequence": (Y0, "one value per sequence.*needs one per step"),
    "not even a list": (3, "y"),
    "nan": (np.array(changed(np.zeros((8, 4)), (5, 2), np.nan)), r"NaN: y\[5\] at step 2"),
    "inf": (list(changed(np.zeros((8, 4)), (5, 2), np.inf)), r"infinity: y\[5\] at step 2"),
    "shapes": ([*STEPS[:7], np.zeros((4, 2))], r"y\[7\] has shape \(4, 2\)"),
    "no columns": (np.zeros((8, 4, 0)), "y"),
    "complex": (np.zeros((8, 4)) + 1j, "Complex data not supported"),
}


@pytest.mark.parametrize("case", [*BAD_Y, *(f"steps: {case}" for case in BAD_STEPS)])
@pytest.mark.parametrize("cls", [LSTMRegressor, LSTMClassifier])
@pytest.mark.parametrize("method", ["fit", "partial_fit", "score"])
def test_bad_y(case, cls, method):
    per_step = case.startswith("steps: ")
    y, message = BAD_STEPS[case.removeprefix("steps: ")] if per_step else BAD_Y[case]
    est = short(cls, return_sequences=per_step)
    good = (X0[:, :, 0] > 0).astype(int) if per_step else Y0
    est.fit(X0, good)
    before = bits(est)
    with pytest.raises(ValueError, match=message):
        call(est, method, X0, y)
    assert bits(est) == before
    if method == "fit":
        est = short(cls, return_sequences=per_step)
        with pytest.raises(ValueError, match=message):
            est.fit(X0, y)
        assert vars(est) == vars(short(cls, return_sequences=per_step))


def test_targets_of_regression_are_numbers_that_fit():
    for y, message in [
        (["a"] * 8, "y (is not numeric|has dtype)"),
        (np.zeros(8, "datetime64[s]"), "datetime"),
        (changed(Y0, 2, 1e300, float), r"too large for float32: y\[2\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            short(RNNRegressor).fit(X0, y)
    est = short(RNNRegressor).fit(X0, np.zeros((8, 3)))
    with pytest.raises(ValueError, match="y has 2 outputs, expected 3"):
        est.partial_fit(X0, np.zeros((8, 2)))


def test_classes():
    est = short(RNNClassifier)
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        est.partial_fit(X0, Y0)
    with pytest.raises(ValueError, match=r"y\[2\] is 7, which is not among the classes"):
        est.partial_fit(X0, changed(Y0, 2, 7), classes=[0, 1])
    assert not hasattr(est, "classes_")
    est.partial_fit(X0, Y0, classes=[0, 1, 2])
    before = bits(est)
    for y, classes, message in [
        (changed(Y0, 2, 7), None, r"y\[2\] is 7, which is not among the classes"),
        (np.where(Y0, "a", "b"), None, "which is not among the classes"),
        (Y0, [0, 1], "are not those of the first call"),
        (np.eye(8, 3, dtype=int), None, "another kind"),
    ]:
        with pytest.raises(ValueError, match=message):
            est.partial_fit(X0, y, classes=classes)
        assert bits(est) == before
    with pytest.raises(ValueError, match="at least 2 classes"):
        short(RNNClassifier).fit(X0, np.ones(8))
    with pytest.raises(ValueError, match="columns but is not multilabel"):
        short(RNNClassifier).fit(X0, np.arange(16).reshape(8, 2) % 3)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        short(RNNClassifier).fit(X0, X0[:, 0, 0])
    per_step = short(RNNClassifier, return_sequences=True)
    steps = (X0[:, :, 0] > 0).astype(int)
    per_step.fit(X0, steps)
    with pytest.raises(ValueError, match=r"y\[2\] at step 3 is 7, which is not among the classes"):
        per_step.partial_fit(X0, changed(steps, (2, 3), 7))


BAD_WEIGHTS = {
    "negative": (changed(np.ones(8), 2, -1.0), "(?i)negative values.*sample_weight"),
    "nan": (changed(np.ones(8), 2, np.nan), "sample_weight contains NaN"),
    "inf": (changed(np.ones(8), 2, np.inf), "sample_weight contains infinity"),
    "zero": (np.zeros(8), "(?i)sample.weights? .*zero"),
    "too few": (np.ones(7), "(?i)sample.weight.*"),
    "2-D": (np.ones((8, 2)), "(?i)sample.weight"),
    "strings": (["a"] * 8, "could not convert|sample_weight"),
}


@pytest.mark.parametrize("case", BAD_WEIGHTS)
@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("cls", [LSTMRegressor, LSTMClassifier])
def test_bad_weights(case, per_step, cls):
    w, message = BAD_WEIGHTS[case]
    y = (X0[:, :, 0] > 0).astype(int) if per_step else Y0
    if per_step and case not in ("too few", "2-D"):
        w = [np.full(4, value) for value in w]
    est = short(cls, return_sequences=per_step)
    with pytest.raises(ValueError, match=message):
        est.fit(X0, y, w)
    assert vars(est) == vars(short(cls, return_sequences=per_step))
    est.fit(X0, y)
    before = bits(est)
    with pytest.raises(ValueError, match=message):
        est.partial_fit(X0, y, sample_weight=w)
    assert bits(est) == before


def test_only_ratios_of_weights_count():
    """They must not round to zero, or to infinity, in float32."""
    w = np.arange(1.0, 9.0)
    expected = short(RNNRegressor).fit(X0, Y0, w).predict(X0)
    for factor in (1e-60, 1e60, 1e-307):
        got = short(RNNRegressor).fit(X0, Y0, w * factor).predict(X0)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


# Validation data ---------------------------------------------------------------------------------


def test_bad_validation_data_is_named():
    est = short(RNNRegressor)
    for X_val, y_val, message in [
        (X0, None, "X_val.*y_val"),
        (None, Y0, "X_val.*y_val"),
        (X0, Y0[:3], "y_val has 3"),
        (X0, changed(Y0, 3, np.nan, float), r"y_val\[3\]"),
        (X0[:, :, :1], Y0, "X_val has 1 features|X has 1 features"),
        (changed(X0, (3, 2, 1), np.nan), Y0, "sequence 3"),
    ]:
        with pytest.raises(ValueError, match=message):
            est.fit(X0, Y0, X_val=X_val, y_val=y_val)
        assert vars(est) == vars(short(RNNRegressor))
    with pytest.raises(ValueError, match=r"y_val\[0\] is"):
        short(RNNClassifier).fit(X0, Y0, X_val=X0, y_val=Y0 + 5)


class Splitter:
    def __init__(self, *splits):
        self.splits = splits

    def split(self, X, y=None, groups=None):
        return iter(self.splits)


def test_splits_that_leave_too_little():
    for n, options, message in [
        (1, {}, "at least 2 sequences"),
        (3, {"validation_fraction": 0.9, "validation_split": "last"}, "leaves nothing"),
        (8, {"validation_split": GroupKFold(2)}, "groups"),
    ]:
        est = short(RNNRegressor, early_stopping=True, **options)
        with pytest.raises(ValueError, match=message):
            est.fit(X0[:n], Y0[:n])
        assert not hasattr(est, "weights_")

    for splits in ([([], np.arange(8))], [(np.arange(8), [])], []):
        est = short(RNNRegressor, early_stopping=True, validation_split=Splitter(*splits))
        with pytest.raises(ValueError, match=r"validation"):
            est.fit(X0, Y0)
    # one value has no R2
    with pytest.raises(ValueError, match="validation"):
        short(RNNRegressor, early_stopping=True).fit(X0[:2], X0[:2, 0, 0])
    with pytest.raises(ValueError, match=r"validation set is too small: .* at least 2 .* hold 1"):
        short(RNNRegressor).fit(X0, X0[:, 0, 0], X_val=X0[:1], y_val=X0[:1, 0, 0])
    assert np.isfinite(  # but its steps have one
        short(RNNRegressor, early_stopping=True, return_sequences=True)
        .fit(X0[:2], X0[:2, :, 0])
        .best_validation_score_
    )


@pytest.mark.parametrize(
    "split", ["last", "random", Splitter((np.arange(6), np.arange(6, 8)))], ids=["last", "random", "splitter"]
)
def test_a_part_of_the_split_without_weight(split):
    w = np.array([0, 0, 0, 0, 0, 0, 1, 1.0])
    est = short(RNNRegressor, early_stopping=True, validation_split=split, validation_fraction=0.25)
    with pytest.raises(
        ValueError, match=r"leaves nothing of 2 sequences that have a weight|weight in the train"
    ):
        est.fit(X0, X0[:, 0, 0], w)
    assert not hasattr(est, "weights_")


@pytest.mark.parametrize("per_step", [False, True])
def test_bad_weights_are_named_by_their_place(per_step):
    y = X0[:, :, 0] if per_step else Y0
    weights = np.ones(y.shape)
    index = (3, 1) if per_step else 3
    where = r"sample_weight\[3\]" + (" at step 1" if per_step else "")
    for value, problem in (np.nan, "NaN"), (np.inf, "infinity"), (-1.0, "Negative"):
        weights[index] = value
        with pytest.raises(ValueError, match=f"{problem}.*{where}"):
            short(LSTMRegressor, return_sequences=per_step).fit(X0, y, weights)


def test_integers_beyond_floats():
    X = [[10**400, 1], [2, 3]]
    with pytest.raises(ValueError, match="too large"):
        short(LSTMRegressor).fit(X, [0.0, 1.0])
    with pytest.raises(ValueError, match="too large"):
        short(LSTMRegressor).fit(X0, [10**400] * 8)


def test_sequences_for_a_model_of_rows_as_wide_are_refused():
    """Before the numbers are looked at: nothing else tells such an array from one of sequences."""
    rng = np.random.default_rng(0)
    rows = GRURegressor(2, max_iter=1).fit(rng.standard_normal((8, 6)), rng.standard_normal(8))
    sequences = GRURegressor(2, max_iter=1).fit(rng.standard_normal((8, 3, 6)), rng.standard_normal(8))
    with pytest.raises(ValueError, match="was fitted on 2-D X"):
        rows.predict(rng.standard_normal((4, 3, 6)))
    with pytest.raises(ValueError, match="was fitted on sequences"):
        sequences.predict(rng.standard_normal((4, 6)))
