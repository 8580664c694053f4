"""Streams: one step at a time gives the bits of `predict` on the whole sequence."""

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from skrnn import GRUClassifier, LSTMClassifier, LSTMRegressor, RNNRegressor

CELLS = [
    {"cell": "rnn"},
    {"cell": "lstm"},
    {"cell": "gru"},
    {"cell": "gru", "reset_after": False},
]
SHAPES = [
    {"pooling": "last", "num_layers": 2},
    {"pooling": "mean"},
    {"pooling": "max", "num_layers": 2},
    {"return_sequences": True},
]


def label(options):
    return "-".join(map(str, options.values()))


def data(n=5, T=7, F=3, dtype=np.float32):
    X = np.random.default_rng(0).standard_normal((n, T, F)).astype(dtype)
    return X, X[:, :, 0]


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=label)
@pytest.mark.parametrize("cell", CELLS, ids=label)
def test_every_step_is_predict_on_the_sequence_so_far(cell, shape, dtype, batch):
    X, y = data(dtype=dtype)
    per_step = shape.get("return_sequences", False)
    est = RNNRegressor(9, dtype=dtype, max_iter=1, random_state=0, **cell, **shape)
    est.fit(X, y if per_step else y[:, -1])
    stream = est.stream(batch)
    for _ in range(2):
        for t in range(X.shape[1]):
            answer = stream.step(X[:batch, t])
            expected = est.predict(X[:batch, : t + 1])
            assert answer.dtype == np.dtype(dtype)
            np.testing.assert_array_equal(answer, expected[:, -1] if per_step else expected)
        stream.reset()


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("loss", ["squared_error", "poisson", "quantile"])
def test_regressors_answer_in_the_shape_of_predict(loss, several):
    X, y = data()
    y = np.exp(y[:, :2] if several else y[:, 0])
    est = LSTMRegressor(4, loss=loss, max_iter=1, random_state=0).fit(X, y)
    for method in ["predict"] + ["predict_quantiles"] * (loss == "quantile"):
        expected, stream = getattr(est, method)(X), est.stream(len(X), method)
        for t in range(X.shape[1]):
            answer = stream.step(X[:, t])
        np.testing.assert_array_equal(answer, expected)
        stream = est.stream(method=method)
        for x in X[2]:
            answer = stream.step(x)
        np.testing.assert_array_equal(answer, expected[2])
        assert np.shape(answer) == expected.shape[1:]


@pytest.mark.parametrize("labels", [2, 3, "sets"])
@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_classifiers(method, labels):
    X, y = data(n=9)
    y = (y[:, :2] > 0).astype(int) if labels == "sets" else np.array(["a", "b", "c"])[np.arange(9) % labels]
    est = GRUClassifier(4, max_iter=1, random_state=0).fit(X, y)
    stream = est.stream(9, method)
    for t in range(X.shape[1]):
        answer = stream.step(X[:, t])
    np.testing.assert_array_equal(answer, getattr(est, method)(X))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_states_go_in_and_out(cell):
    X, y = data()
    est = RNNRegressor(4, cell=cell, num_layers=2, max_iter=1, random_state=0).fit(X, y[:, -1])
    first, state = est.predict_with_state(X[:, :4])
    stream = est.stream(5)
    for t in range(4):
        answer = stream.step(X[:, t])
    np.testing.assert_array_equal(answer, first)
    np.testing.assert_array_equal(stream.state, state)
    other = est.stream(5)
    other.state = state
    rest, last = est.predict_with_state(X[:, 4:], state)
    for t in range(4, 7):
        answer = other.step(X[:, t])
    np.testing.assert_array_equal(answer, rest)
    np.testing.assert_array_equal(other.state, last)
    kept = np.array(other.state)
    other.step(X[:, 0])
    assert not np.array_equal(other.state, kept)  # and `kept`, a copy, has not followed
    np.testing.assert_array_equal(kept, last)


def test_what_a_step_returns_is_the_callers():
    X, y = data()
    est = LSTMRegressor(4, max_iter=1, random_state=0).fit(X, y[:, :2])
    stream = est.stream(5)
    first = stream.step(X[:, 0])
    kept = first.copy()
    second = stream.step(X[:, 1])
    np.testing.assert_array_equal(first, kept)
    assert not np.array_equal(second, kept)
    alone = est.stream()
    first = alone.step(X[0, 0])
    alone.step(X[0, 1])
    np.testing.assert_array_equal(first, kept[0])


def test_a_list_or_other_numbers_will_do():
    X, y = data(F=2)
    est = LSTMRegressor(4, max_iter=1, random_state=0).fit(X, y[:, -1])
    one, other = est.stream(), est.stream()
    expected = one.step(np.array([[1.0, 2.0]], np.float32))
    assert other.step([1, 2]) == expected[0]
    assert est.stream().step([[1, 2]]).shape == (1,)


@pytest.mark.parametrize("given", ["float32", "float64", "int64"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_steps_of_any_type_are_answered_as_predict_does(method, dtype, given):
    X = (data(dtype=np.float64)[0] * 3).astype(given)
    if method == "predict":
        est = LSTMRegressor(4, dtype=dtype, max_iter=1, random_state=0).fit(X, X[:, -1, 0])
    else:
        est = LSTMClassifier(4, dtype=dtype, max_iter=1, random_state=0).fit(X, [0, 1, 2, 0, 1])
    stream = est.stream(5, method)
    for t in range(X.shape[1]):
        answer, expected = stream.step(X[:, t]), getattr(est, method)(X[:, : t + 1])
        assert answer.dtype == expected.dtype == (np.float32 if given == "float32" else np.float64)
        np.testing.assert_array_equal(answer, expected)


def test_labels_of_a_step_are_the_features_of_the_fit():
    X, y = data()
    frames = [pd.DataFrame(x, columns=["a", "b", "c"]) for x in X]
    est = LSTMRegressor(4, max_iter=1, random_state=0).fit(frames, y[:, -1])
    stream, untouched = est.stream(), est.stream()
    row = frames[0].iloc[0]
    assert stream.step(row) == untouched.step(X[0, 0])
    for wrong in (row[["b", "a", "c"]], row.rename({"c": "d"}), frames[0][:1][["c", "b", "a"]]):
        for x in (wrong, [wrong]) if wrong.ndim == 1 else (wrong,):
            with pytest.raises(ValueError, match=r"the labels .*expected the features \['a', 'b', 'c'\]"):
                stream.step(x)
    assert stream.step(frames[0].iloc[1:2]).tolist() == [untouched.step(X[0, 1])]
    side_by_side = est.stream(5).step([frame.iloc[0] for frame in frames])
    np.testing.assert_array_equal(side_by_side, est.predict([frame[:1] for frame in frames]))
    # without names on either side there is nothing to compare
    assert stream.step(row.set_axis([0, 1, 2])) == untouched.step(X[0, 0])
    assert est.fit(X, y[:, -1]).stream().step(row) == est.predict([frames[0][:1].to_numpy()])


def test_labels_of_a_step_of_a_table():
    X = pd.DataFrame(data(T=1, F=4)[0][:, 0], columns=["lag_1", "promo", "lag_2", "price"])
    with pytest.warns(UserWarning, match="read by their names"):
        est = LSTMRegressor(4, max_iter=1, random_state=0).fit(X, X["promo"])
    stream, row = est.stream(), X.iloc[0]
    stream.step(row[["lag_2", "promo", "price"]])
    assert stream.step(row[["lag_1", "promo", "price"]]) == est.predict(X[:1])[0]
    with pytest.raises(ValueError, match=r"expected the features \['lag_1', 'promo', 'price'\]"):
        stream.step(row[["promo", "lag_1", "price"]])
    stream.step(row[["lag_1", "promo", "price"]].rename({"lag_1": "y"}))


def test_rows_of_a_table_are_read_from_left_to_right():
    X = np.random.default_rng(0).standard_normal((20, 6)).astype(np.float32)
    est = LSTMRegressor(4, features_per_step=2, max_iter=1, random_state=0).fit(X, X[:, 0])
    stream = est.stream(20)
    for t in range(3):
        answer = stream.step(X[:, 2 * t : 2 * t + 2])
    np.testing.assert_array_equal(answer, est.predict(X))


def test_a_later_fit_does_not_reach_a_stream():
    X, y = data()
    est = LSTMRegressor(4, max_iter=1, random_state=0).fit(X, y[:, -1])
    expected, stream = est.predict(X[:, :1]), est.stream(5)
    est.set_params(max_iter=3).fit(X, -y[:, -1])
    assert not np.array_equal(est.predict(X[:, :1]), expected)
    np.testing.assert_array_equal(stream.step(X[:, 0]), expected)

    labels = np.array(["a", "b"])[np.arange(5) % 2]
    classifier = GRUClassifier(4, max_iter=1, random_state=0).fit(X, labels)
    expected, stream = classifier.predict(X[:, :1]), classifier.stream(5)
    classifier.fit(X, np.arange(5))
    np.testing.assert_array_equal(stream.step(X[:, 0]), expected)


def test_bad_steps_change_nothing():
    X, y = data()
    est = LSTMRegressor(4, max_iter=1, random_state=0).fit(X, y[:, -1])
    stream, untouched = est.stream(5), est.stream(5)
    stream.step(X[:, 0]), untouched.step(X[:, 0])
    spoilt = X[:, 1].copy()
    spoilt[3, 2] = np.nan
    with pytest.raises(ValueError, match="holds nan in feature 2 of sequence 3"):
        stream.step(spoilt)
    spoilt[3, 2] = -np.inf
    with pytest.raises(ValueError, match="holds -inf in feature 2"):
        stream.step(spoilt)
    for wrong in (X[:, 0, :2], X[0, 0], X[:4, 0], X[:, :2], 1.0):
        with pytest.raises(ValueError, match=r"expected \(batch, n_features\) = \(5, 3\)"):
            stream.step(wrong)
    np.testing.assert_array_equal(stream.step(X[:, 1]), untouched.step(X[:, 1]))
    for wrong in (X[:, 1] + 0j, np.full((5, 3), "1"), np.ma.masked_array(X[:, 1], X[:, 1] > 0)):
        with pytest.raises(ValueError, match=r"x (has dtype|is a masked array)"):
            stream.step(wrong)
    with pytest.raises(ValueError, match="state"):
        stream.state = np.zeros((1, 5, 4))
    np.testing.assert_array_equal(stream.step(X[:, 2]), untouched.step(X[:, 2]))


def test_what_cannot_be_streamed():
    X, y = data()
    with pytest.raises(NotFittedError):
        LSTMRegressor().stream()
    est = LSTMRegressor(4, bidirectional=True, max_iter=1).fit(X, y[:, -1])
    with pytest.raises(ValueError, match="bidirectional"):
        est.stream()
    est = LSTMRegressor(4, max_iter=1).fit(X, y[:, -1])
    for batch in (0, -1, 2.5, "1", None):
        with pytest.raises(ValueError, match="batch must be an integer of at least 1"):
            est.stream(batch)
    with pytest.raises(ValueError, match="predict_quantiles needs loss="):
        est.stream(method="predict_quantiles")
    with pytest.raises(ValueError, match="method must be one of predict"):
        est.stream(method="predict_proba")
    with pytest.raises(ValueError, match="method must be one of predict, predict_proba, decision_function"):
        LSTMClassifier(4, max_iter=1).fit(X, y[:, -1] > 0).stream(method="transform")
