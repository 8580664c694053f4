import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted

from skrnn.estimators.inputs import read_X, shape_like
from skrnn.sequences import object_array


class LSTMRegressor(RegressorMixin, BaseEstimator):
    """Predicts from the mean of a row; all that matters here is how it reads X."""

    def fit(self, X, y):
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        y = column_or_1d(check_array(y, ensure_2d=False), warn=True)
        X = read_X(self, X, reset=True, dtype=np.float32).sequences
        means = np.array([steps.mean() for steps in X.split(X.values)])
        if len(means) != len(y):
            raise ValueError("X and y differ in length")
        self.coef_ = np.polyfit(means, y.astype(float), 1) if np.ptp(means) else [0.0, y.mean()]
        return self

    def predict(self, X):
        check_is_fitted(self)
        data = read_X(self, X, reset=False, dtype=np.float32)
        means = [steps.mean() for steps in data.sequences.split(data.sequences.values)]
        return np.polyval(self.coef_, means).astype(data.float_type)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.regressor_tags.poor_score = True
        return tags


# scikit-learn's own messages: names of features, sparse, complex, 1-D, empty, NaN, ...
@parametrize_with_checks([LSTMRegressor()])
@pytest.mark.filterwarnings("ignore::numpy.exceptions.RankWarning")
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def read(X, *, dtype=np.float64, **kwargs):
    return read_X(BaseEstimator(), X, reset=True, dtype=dtype, **kwargs)


def steps(data):
    return [part.tolist() for part in data.sequences.split(data.sequences.values)]


A, B = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([[7.0, 8.0]])


# Kinds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "X",
    [
        [A, B],
        (A, B),
        object_array([A, B]),
        [A.tolist(), B.tolist()],
        [A.astype(int), B.astype(object)],
        [pd.DataFrame(A), pd.DataFrame(B).convert_dtypes()],
        [pd.DataFrame(A, columns=["u", "v"]), pd.DataFrame(B, columns=["u", "v"]).convert_dtypes()],
        pd.Series([A, B]),
    ],
)
def test_ragged_forms(X):
    data = read(X)
    assert data.kind == "sequences"
    assert data.ragged
    assert steps(data) == [A.tolist(), B.tolist()]


@pytest.mark.parametrize("X", [np.stack([A, A]), np.stack([A, A]).astype(object)])
def test_dense_3d(X):
    data = read(X)
    assert (data.kind, data.ragged) == ("sequences", False)
    assert steps(data) == [A.tolist(), A.tolist()]


def test_lists_are_ragged_though_lengths_agree():
    assert read([A, A]).ragged
    assert read(object_array([A, A])).ragged


class ArrayLike:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype=dtype)


ROWS = [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]


@pytest.mark.parametrize(
    "X",
    [
        ROWS,
        np.array(ROWS),
        np.array(ROWS, dtype=object),
        np.asfortranarray(ROWS),
        [np.array(row) for row in ROWS],
        object_array([np.array(row) for row in ROWS]),
        tuple(map(tuple, ROWS)),
        [pd.Series(row) for row in ROWS],
        pd.DataFrame(ROWS),
        pd.DataFrame(ROWS).convert_dtypes(),
        pd.DataFrame(ROWS).astype({0: "Float64", 1: "int8"}),
        ArrayLike(ROWS),
    ],
)
def test_rows(X):
    data = read(X)
    assert (data.kind, data.ragged) == ("rows", False)
    assert steps(data) == [[[1], [2], [3], [4]], [[5], [6], [7], [8]]]


def test_3d_array_like():
    assert read(ArrayLike(np.stack([A, A]))).kind == "sequences"


def test_features_per_step_and_newest_first():
    assert steps(read(ROWS, features_per_step=2))[0] == [[1, 2], [3, 4]]
    assert steps(read(ROWS, newest_first=True))[0] == [[4], [3], [2], [1]]
    # the steps turn round, what is inside of a step does not
    assert steps(read(ROWS, features_per_step=2, newest_first=True))[0] == [[3, 4], [1, 2]]


def test_options_of_rows_do_not_touch_sequences():
    assert steps(read([A, B], features_per_step=5, newest_first=True)) == [A.tolist(), B.tolist()]


# Types and copies --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        (("float32", "float32"), np.float32),
        (("float32", "float64"), np.float64),
        (("float32", "int8"), np.float64),
        (("float16", "float16"), np.float64),
        (("bool", "int64"), np.float64),
    ],
)
def test_float_type(dtypes, expected):
    X = [np.ones((2, 1), dtype) for dtype in dtypes]
    data = read(X, dtype=None)
    assert data.float_type is expected
    assert data.sequences.values.dtype == expected
    assert read(X, dtype=np.float32).float_type is expected
    if len(set(dtypes)) == 1:
        assert read(np.stack(X)).float_type is expected
        assert read(np.stack(X)[:, :, 0]).float_type is expected


def test_dense_and_rows_are_not_copied():
    for X in np.ones((3, 4, 2)), np.ones((3, 8)):
        X.flags.writeable = False
        assert np.shares_memory(read(X).sequences.values, X)
        assert not np.shares_memory(read(X, dtype=np.float32).sequences.values, X)


def test_memmap_is_not_copied(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((3, 4, 2), np.float32))
    X = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert np.shares_memory(read(X, dtype=np.float32).sequences.values, X)


# Fit and predict agree ---------------------------------------------------------------------------


def fitted(X):
    estimator = LSTMRegressor()
    read_X(estimator, X, reset=True)
    return estimator


def test_n_features_in_and_names():
    frame = pd.DataFrame(ROWS, columns=list("abcd"))
    estimator = fitted(frame)
    assert estimator.n_features_in_ == 4
    assert estimator.feature_names_in_.tolist() == list("abcd")
    read_X(estimator, [A, B], reset=True)
    assert estimator.n_features_in_ == 2
    assert not hasattr(estimator, "feature_names_in_")
    with pytest.raises(ValueError, match="feature names should match"):
        read_X(fitted(frame), frame[list("dcba")], reset=False)
    assert pickle.loads(pickle.dumps(estimator))._input_kind == "sequences"


def test_3d_and_lists_are_one_kind():
    read_X(fitted(np.stack([A, A])), [A, B], reset=False)
    read_X(fitted([A, B]), np.stack([A, A]), reset=False)


@pytest.mark.parametrize(("first", "second"), [([A, B], ROWS), (ROWS, [A, B])])
def test_another_kind_is_refused(first, second):
    with pytest.raises(ValueError, match=r"LSTMRegressor was fitted on .* but X is now"):
        read_X(fitted(first), second, reset=False)


@pytest.mark.parametrize("X", [np.ones((2, 4, 3)), [np.ones((2, 3))]])
def test_another_number_of_features_is_refused(X):
    message = "X has 3 features, but LSTMRegressor is expecting 2 features as input"
    with pytest.raises(ValueError, match=message):
        read_X(fitted([A, B]), X, reset=False)


def test_a_refused_X_leaves_no_kind_behind():
    estimator = LSTMRegressor()
    with pytest.raises(ValueError, match="NaN"):
        read_X(estimator, [A, B * np.nan], reset=True)
    assert not vars(estimator)


# Mistakes ----------------------------------------------------------------------------------------


def with_value(value, where, dtype=float):
    array = np.ones((8, 5, 2), dtype)
    array[where] = value
    return array


MISTAKES = {
    "nan": (with_value(np.nan, (7, 3, 1)), "sequence 7 contains NaN at step 3"),
    "inf": (with_value(-np.inf, (2, 0, 0)), "sequence 2 contains infinity at step 0"),
    "inf and -inf": (
        with_value([np.inf, -np.inf], (2, 1)),
        "sequence 2 contains infinity at step 1",
    ),
    "nan in a list": ([A, B, A * np.nan], "sequence 2 contains NaN at step 0"),
    "None in an object array": (
        with_value(None, (1, 2, 0), object),
        "sequence 1 contains NaN at step 2",
    ),
    "length 0": ([A] * 7 + [A[:0]], "sequence 7 has no time steps"),
    "empty list": ([A, []], "sequence 1 has no time steps"),
    "3-D of length 0": (np.ones((3, 0, 2)), "sequence 0 has no time steps"),
    "features differ": ([A] * 7 + [np.ones((2, 3))], "sequence 7 has 3 features, expected 2"),
    "1-D among 2-D": ([A] * 7 + [np.ones(5)], r"sequence 7 has shape \(5,\), expected \(time"),
    "3-D in a list": ([np.ones((1, 2, 3))], r"sequence 0 has shape \(1, 2, 3\)"),
    "None": ([A, None], r"sequence 1 has shape \(\), expected"),
    "number": ([A, 3.0], r"sequence 1 has shape \(\), expected"),
    "nested, ragged": ([A, [[1, 2], [3]]], "sequence 1 cannot be read"),
    "no features": ([np.ones((3, 0))], "X has 0 features per step"),
    "3-D without features": (np.ones((2, 3, 0)), "X has 0 features per step"),
    "strings": ([A, B.astype(str)], "sequence 1 has dtype <U32, expected numbers"),
    "words": ([A, [["a", 2.0]]], "sequence 1 has dtype <U"),
    "words as objects": ([A, np.array([["a", 2.0]], object)], "sequence 1 is not numeric.*'a'"),
    "strings in 3-D": (np.full((1, 2, 2), "a"), "X has dtype <U1, expected numbers"),
    "times": ([A, np.zeros((3, 2), "datetime64[s]")], "sequence 1 has dtype datetime64"),
    "complex": ([A, B * 1j], "Complex data not supported: sequence 1"),
    "complex 3-D": (np.ones((1, 2, 2), complex), "Complex data not supported: X"),
    "pd.NA": ([A, pd.DataFrame({"a": [1, pd.NA], "b": [1, 2]}, dtype="Int64")], "sequence 1"),
    "nothing": ([], "X contains no sequences"),
    "nothing, object array": (np.empty(0, object), "X contains no sequences"),
    "nothing, 3-D": (np.empty((0, 3, 2)), "X contains no sequences"),
    "sparse": ([A, sp.csr_array(A)], "sequence 1 is sparse"),
    "masked": ([A, np.ma.masked_array(A, A > 2)], "sequence 1 is a masked array"),
    "masked 3-D": (np.ma.masked_array(np.ones((2, 3, 2))), "X is a masked array"),
    "masked 2-D": (np.ma.masked_array(A, A > 2), "X is a masked array"),
    "4-D": (np.ones((1, 2, 3, 4)), "X has 4 dimensions, expected 2 or 3"),
    "rows of unequal lengths": (
        [np.ones(4), np.ones(4), np.ones(3)],
        r"item 2 has length 3 and item 0 has length 4.*\(T, 1\).*reshape\(-1, 1\)",
    ),
    "rows of unequal lengths, object array": (
        object_array([np.ones(4), np.ones(3)]),
        r"item 1 has length 3.*\(T, 1\)",
    ),
    "None among rows": ([[1.0, 2.0], None], "item 1 has no length"),
    "numbers": (np.array([1.0, 2.0], object), r"got 1D array.*X\[:1\] in place of X\[0\].*make_windows"),
    "a number": (3.0, "Expected 2D array, got scalar"),
    "sparse 2-D": (sp.csr_array(A), "Sparse data was passed"),
    "NaN in rows": (A * np.nan, "Input X contains NaN"),
    "strings in rows": ([["1", "2"]], "not compatible with arrays of bytes/strings"),
    "pd.NA in rows": (pd.DataFrame({"a": [1, pd.NA]}, dtype="Int64"), "contains NaN"),
}


@pytest.mark.parametrize(("X", "message"), MISTAKES.values(), ids=MISTAKES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mistakes_name_the_place(X, message, dtype):
    with pytest.raises((ValueError, TypeError), match=f"(?s){message}"):
        read(X, dtype=dtype)


@pytest.mark.parametrize(
    ("X", "noun"),
    [
        (with_value(1e300, (4, 1, 1)), "sequence"),
        (list(with_value(-1e300, (4, 1, 1))), "sequence"),
        (with_value(1e300, (4, 1, 1))[:, :, 1], "row"),
        (pd.DataFrame(with_value(1e300, (4, 1, 1))[:, :, 1]), "row"),
    ],
)
def test_too_large_for_float32(X, noun):
    read(X, dtype=np.float64)
    message = {
        "sequence": "sequence 4 contains a value too large for float32 at step 1",
        "row": "X contains a value too large for float32: row 4, column",
    }[noun]
    with pytest.raises(ValueError, match=message):
        read(X, dtype=np.float32)


def test_a_sum_that_overflows_is_no_mistake():
    X = np.full((2, 3, 1), 3e38, np.float32)
    assert read(X, dtype=np.float32).sequences.values.max() == np.float32(3e38)


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize(
    ("value", "problem"), [(1e300, "a value too large"), (np.nan, "NaN"), (np.inf, "inf")]
)
def test_a_mistake_is_named_by_its_column(value, problem, newest_first):
    X = pd.DataFrame(np.ones((2, 4)), columns=list("abcd"))
    X.iloc[1, 2] = value
    options = dict(dtype=np.float32, newest_first=newest_first, features_per_step=2)
    with pytest.raises(ValueError, match=f"X contains {problem}.*: row 1, column 'c'"):
        read(X, **options)
    with pytest.raises(ValueError, match=f"X contains {problem}.*: row 1, column 2"):
        read(X.to_numpy(), **options)


def test_columns_must_divide():
    with pytest.raises(ValueError, match=r"X has 4 columns.*features_per_step=3"):
        read(ROWS, features_per_step=3)


@pytest.mark.parametrize("X", [with_value(np.nan, (1, 2, 0)), A * np.nan, [A * np.nan, B]])
def test_nan_may_be_allowed_but_infinity_not(X):
    assert np.isnan(read(X, allow_nan=True).sequences.values).any()
    X[0][0] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        read(X, allow_nan=True)


# Back into the form of X -------------------------------------------------------------------------


@pytest.mark.parametrize("trailing", [(), (3,)])
def test_shape_like(trailing):
    data = read([A, B])
    flat = np.random.default_rng(0).normal(size=(4, *trailing))
    ragged = shape_like(data, flat)
    assert ragged.shape == (2,)
    assert ragged.dtype == object
    np.testing.assert_array_equal(ragged[0], flat[:3])
    np.testing.assert_array_equal(ragged[1], flat[3:])

    equal = shape_like(read([A[:2], A[1:]]), flat)  # stays an object array
    assert equal.shape == (2,)

    dense = shape_like(read(np.stack([A[:2], A[1:]])), flat)
    np.testing.assert_array_equal(dense, flat.reshape(2, 2, *trailing))
    rows = shape_like(read(ROWS, features_per_step=2, newest_first=True), flat)
    np.testing.assert_array_equal(rows, flat.reshape(2, 2, *trailing))
