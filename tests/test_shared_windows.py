"""Windows that share the rows of a series: the same fits as on copies of them."""

import numpy as np
import pytest

from skrnn import GRUClassifier, GRURegressor, LSTMRegressor, RNNRegressor
from skrnn.sequences import Sequences, Targets

LAGS, H = 7, 3


def windows(n_targets=1, n_columns=2, dtype=np.float32, scaled=False, n=60):
    """The same windows as views and as copies, and their targets."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((n, n_columns)).astype(dtype)
    targets = np.ascontiguousarray(values[:, :n_targets])
    starts = rng.permutation(n - LAGS - H)[:40].astype(np.intp)
    X = values[starts[:, None] + np.arange(LAGS)]
    y = targets[starts[:, None] + LAGS + np.arange(H)]
    if not scaled:
        views = (
            Sequences(values, starts, np.full(len(starts), LAGS, np.intp)),
            Targets(targets, starts + LAGS, H),
        )
        return views, (X, y.reshape(len(starts), -1))
    shift, scale = rng.standard_normal((2, len(starts), n_columns)).astype(dtype)
    shift_y, scale_y = (np.ascontiguousarray(a[:, :n_targets]) for a in (shift, scale))
    views = (
        Sequences(values, starts, np.full(len(starts), LAGS, np.intp), shift, scale),
        Targets(targets, starts + LAGS, H, shift_y, scale_y),
    )
    y = (y - shift_y[:, None]) * scale_y[:, None]
    return views, ((X - shift[:, None]) * scale[:, None], y.reshape(len(starts), -1))


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"linear_skip": True},
        {"linear_skip": True, "num_layers": 2, "bidirectional": True, "dropout": 0.2, "pooling": "mean"},
        {"loss": "quantile", "quantiles": [0.1, 0.5, 0.9], "linear_skip": True},
        {"early_stopping": True, "validation_split": "last"},
        {"dtype": "float64", "linear_skip": True, "n_jobs": 2},
    ],
    ids=lambda options: "-".join(options) or "plain",
)
def test_views_train_like_copies(options, n_targets, scaled):
    """To the bit."""
    (X, y), (X_copy, y_copy) = windows(n_targets, dtype=options.get("dtype", np.float32), scaled=scaled)
    options = dict(hidden_size=5, max_iter=3, batch_size=16, random_state=0) | options
    one = LSTMRegressor(**options).fit(X, y)
    two = LSTMRegressor(**options).fit(X_copy, y_copy)
    for name, w in two.weights_.items():
        np.testing.assert_array_equal(one.weights_[name], w)
    np.testing.assert_array_equal(one.predict(X), two.predict(X_copy))
    assert one.predict(X).shape == (40, H * n_targets)


@pytest.mark.parametrize("cell", ["rnn", "gru"])
def test_weights_of_windows(cell):
    (X, y), (X_copy, y_copy) = windows()
    w = np.random.default_rng(1).integers(0, 3, len(X)).astype(float)
    options = dict(hidden_size=4, max_iter=2, random_state=0, cell=cell)
    one, two = RNNRegressor(**options).fit(X, y, w), RNNRegressor(**options).fit(X_copy, y_copy, w)
    np.testing.assert_allclose(one.loss_curve_, two.loss_curve_, rtol=1e-6)
    np.testing.assert_allclose(one.predict(X), two.predict(X_copy), atol=1e-6)


@pytest.mark.parametrize("tbptt_steps", [None, 8])
def test_targets_of_steps_share_rows(tbptt_steps):
    """Two series in one table: after each step the next H values of it, where there are as many."""
    rng, lengths = np.random.default_rng(0), np.array([30, 21])
    values = rng.standard_normal((52, 1)).astype(np.float32)  # a row that belongs to none
    starts = np.array([0, 31])
    at = np.minimum(np.arange(52) + 1, 52 - H)
    w, X, y, weights = np.zeros(52), [], [], []
    for start, n in zip(starts, lengths):
        w[start : start + n - H] = 1
        X.append(values[start : start + n])
        rows = at[start : start + n, None] + np.arange(H)
        y.append(values[rows, 0])
        weights.append(w[start : start + n])
    options = dict(hidden_size=4, max_iter=3, return_sequences=True, tbptt_steps=tbptt_steps, random_state=0)
    one = GRURegressor(**options).fit(Sequences(values, starts, lengths), Targets(values, at, H), w)
    two = GRURegressor(**options).fit(X, y, weights)
    for name, expected in two.weights_.items():
        np.testing.assert_array_equal(one.weights_[name], expected)


def test_targets():
    values = np.arange(10.0)[:, None] * [1, 10]
    y = Targets(values, np.array([0, 7]), 3)
    assert (len(y), y.width) == (2, 6)
    assert y.matrix().tolist() == [[0, 0, 1, 10, 2, 20], [7, 70, 8, 80, 9, 90]]
    assert y.take([1]).matrix().tolist() == [[7, 70, 8, 80, 9, 90]]
    scaled = Targets(values, np.array([0, 7]), 1, np.array([[1.0, 2], [3, 4]]), np.array([[2.0, 1], [1, 3]]))
    assert scaled.matrix().tolist() == [[-2, -2], [4, 198]]
    assert scaled.take(np.array([False, True])).matrix().tolist() == [[4, 198]]
    assert Targets(values).take(slice(1, 3)).matrix().tolist() == [[1, 10], [2, 20]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"at": np.array([8])}, "outside of the 10 rows"),
        ({"at": np.array([-1])}, "outside of the 10 rows"),
        ({"at": np.array([0.0])}, "at must be a 1-D array of intp"),
        ({"at": None}, "need `at`"),
        ({"values": np.arange(10)}, "2-D array of float32 or float64"),
        ({"shift": np.zeros((2, 1)), "scale": np.zeros((2, 1))}, r"shift must have shape \(1, 1\)"),
    ],
)
def test_targets_outside_of_their_rows_are_refused(arguments, message):
    """The kernels would read there."""
    with pytest.raises(ValueError, match=message):
        Targets(**{"values": np.zeros((10, 1)), "at": np.array([0]), "steps": 3} | arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"return_sequences": True}, "linear_skip cannot be combined with return_sequences"),
        ({"tbptt_steps": 3}, "linear_skip cannot be combined with tbptt_steps"),
    ],
)
def test_a_skip_needs_whole_windows(options, message):
    X = np.zeros((4, 5, 1))
    with pytest.raises(ValueError, match=message):
        GRURegressor(3, linear_skip=True, **options).fit(X, X[:, 0, 0])


def test_a_skip_needs_equal_lengths():
    X = [np.zeros((n, 1)) for n in (5, 5, 4)]
    with pytest.raises(ValueError, match="equal length: sequence 2 has 4 steps, expected 5"):
        GRURegressor(3, linear_skip=True).fit(X, np.zeros(3))
    est = GRURegressor(3, linear_skip=True, max_iter=1).fit(X[:2], np.zeros(2))
    with pytest.raises(ValueError, match="sequence 1 has 4 steps, expected 5"):
        est.predict(X[1:])
    with pytest.raises(ValueError, match="cannot be streamed"):
        est.stream()


def test_what_is_linear_is_learnt_by_the_skip():
    """A season ago, out of reach for the state of so few units."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 24, 1)).astype(np.float32)
    y = X[:, 3, 0] - 0.5 * X[:, -1, 0]
    options = dict(hidden_size=4, max_iter=15, learning_rate_init=5e-3, random_state=0)
    with_skip = GRURegressor(linear_skip=True, **options).fit(X[:1500], y[:1500])
    without = GRURegressor(**options).fit(X[:1500], y[:1500])
    assert with_skip.score(X[1500:], y[1500:]) > 0.95 > without.score(X[1500:], y[1500:])


def pairs(n=20, dtype="float32"):
    values = np.random.default_rng(0).standard_normal((40, 1)).astype(dtype)
    return Sequences(values, np.arange(n), np.full(n, 5)), Targets(values, np.arange(n) + 5)


@pytest.mark.parametrize(
    ("X", "y", "w", "message"),
    [
        (pairs(20)[0], pairs(10)[1], None, "y has 10 targets, expected 20"),
        (np.zeros((20, 5, 1), "f"), pairs(10)[1], None, "y has 10 targets, expected 20"),
        (*pairs(dtype="float64"), None, "X has values of float64, the network computes in float32"),
        (pairs()[0], pairs(dtype="float64")[1], None, "y has values of float64"),
        (*pairs(), [1.0] * 19, "sample_weight must hold 20 numbers"),
        (*pairs(), [-1.0] * 20, "sample_weight must hold 20 numbers of at least 0"),
        (*pairs(), [0.0] * 20, "not all of them 0"),
    ],
)
def test_windows_that_do_not_belong_together(X, y, w, message):
    """Kernels would read outside of their arrays."""
    with pytest.raises(ValueError, match=message):
        GRURegressor(4, max_iter=1).fit(X, y, w)
    with pytest.raises(ValueError, match=message):
        GRURegressor(4, max_iter=1, early_stopping=True).fit(X, y, w)


def test_validation_windows_that_do_not_belong_together():
    with pytest.raises(ValueError, match="y_val has 10 targets, expected 12"):
        GRURegressor(4, max_iter=1).fit(*pairs(), X_val=pairs(12)[0], y_val=pairs(10)[1])


def test_a_list_of_weights_will_do():
    one, other = (GRURegressor(4, max_iter=1, random_state=0).fit(*pairs(), w) for w in ([2.0] * 20, None))
    np.testing.assert_array_equal(one.predict(pairs()[0]), other.predict(pairs()[0]))


def test_a_classifier_needs_labels():
    with pytest.raises(TypeError, match="y holds numbers, for regressors: GRUClassifier needs labels"):
        GRUClassifier(4, max_iter=1).fit(*pairs())
