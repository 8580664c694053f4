"""Losses, quantiles and class weights, through the estimators."""

import numpy as np
import pytest
import reference
from sklearn.metrics import mean_pinball_loss
from sklearn.utils.class_weight import compute_sample_weight

from skrnn import GRUClassifier, GRURegressor, LSTMRegressor, RNNClassifier, RNNRegressor

LENGTHS = [7, 3, 1, 5, 5, 2, 4, 6]


def sequences(lengths=LENGTHS, n_features=2, seed=0):
    return reference.random_sequences(np.random.default_rng(seed), lengths, n_features)


def short(cls, **options):
    return cls(**{"hidden_size": 5, "max_iter": 3, "random_state": 0} | options)


def first_loss(est, X, y, w=None):
    """`loss_` of the first epoch in one batch: the loss of the initial weights."""
    est.set_params(dtype="float64", max_iter=1, batch_size=1000)
    loss = est.fit(X, y, w).loss_
    # An update by next to nothing shows the same weights.
    est.set_params(learning_rate_init=1e-15).fit(X, y, w)
    assert est.loss_ == loss
    return loss


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "poisson"])
@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_is_the_oracles(loss, n_outputs, weighted):
    X, rng = sequences(), np.random.default_rng(1)
    y = rng.poisson(2, (len(X), n_outputs)).astype(float)
    w = rng.uniform(0.5, 3, len(X)) if weighted else None
    est = short(RNNRegressor, loss=loss, huber_delta=0.7)
    value = first_loss(est, X, y, w)
    raw = reference.forward(est.weights_, X, cell="rnn").output
    assert value == pytest.approx(reference.losses(loss, raw, y, w, delta=0.7), rel=1e-9)
    link = np.exp if loss == "poisson" else lambda z: z
    np.testing.assert_allclose(est.predict(X), link(raw), rtol=1e-9)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_log_loss_is_the_oracles(kind):
    X, rng = sequences(), np.random.default_rng(1)
    y = {
        "binary": np.array([0, 1, 1, 0, 1, 0, 0, 0]),
        "multiclass": np.array([0, 1, 2, 0, 1, 2, 2, 2]),
        "multilabel": rng.integers(0, 2, (8, 3)),
    }[kind]
    est = short(RNNClassifier)
    w = rng.uniform(0.5, 3, len(X))
    value = first_loss(est, X, y, w)
    raw = reference.forward(est.weights_, X, cell="rnn").output
    targets = y[:, None] if y.ndim == 1 else y
    expected = reference.losses(f"log_loss_{kind}", raw, targets, w)
    assert value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "poisson", "quantile"])
def test_every_loss_learns(loss):
    X = np.random.default_rng(0).standard_normal((150, 5, 1)).astype(np.float32)
    y = np.exp(0.5 * X[:, -2, 0])
    est = GRURegressor(16, loss=loss, max_iter=60, random_state=0).fit(X, y)
    assert est.score(X, y) > 0.8
    assert est.loss_ < est.loss_curve_[0]


def test_poisson_predicts_rates_and_wants_counts():
    X = sequences()
    est = short(RNNRegressor, loss="poisson").fit(X, np.arange(8.0))
    assert (est.predict(X) > 0).all()
    y = np.arange(8.0)
    y[3] = -0.5
    with pytest.raises(ValueError, match=r"y >= 0, but y\[3\] is negative"):
        est.fit(X, y)
    steps = [np.ones(n) for n in LENGTHS]
    steps[3][2] = -1
    with pytest.raises(ValueError, match=r"y\[3\] at step 2 is negative"):
        short(RNNRegressor, loss="poisson", return_sequences=True).fit(X, steps)


# Quantiles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (2,)], ids=str)
@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("levels", [None, [0.5], [0.05, 0.3, 0.6, 0.95], (0.8, 0.9)], ids=str)
def test_quantiles_never_cross(shape, per_step, levels):
    X, rng = sequences(), np.random.default_rng(1)
    y = [rng.standard_normal((n, *shape) if per_step else shape) for n in LENGTHS]
    est = short(LSTMRegressor, loss="quantile", quantiles=levels, return_sequences=per_step)
    est.fit(X, y)
    # also for weights that were never trained to keep them apart
    est.set_weights({k: rng.normal(0, 3, w.shape) for k, w in est.weights_.items()})
    expected = [0.1, 0.5, 0.9] if levels is None else list(levels)
    assert list(est.quantiles_) == expected
    all_of_them, middle = est.predict_quantiles(X), est.predict(X)
    nearest = int(np.argmin(np.abs(np.array(expected) - 0.5)))
    if per_step:
        assert all_of_them.dtype == object
        assert [len(part) for part in all_of_them] == LENGTHS
        all_of_them, middle = np.concatenate(all_of_them), np.concatenate(middle)
    assert all_of_them.shape == (*middle.shape, len(expected))
    assert (np.diff(all_of_them, axis=-1) >= 0).all()
    np.testing.assert_array_equal(all_of_them[..., nearest], middle)


def test_quantile_loss_is_the_mean_pinball_loss():
    X, rng = sequences(), np.random.default_rng(1)
    y, w, levels = rng.standard_normal((8, 2)), rng.uniform(0.5, 2, 8), [0.2, 0.5, 0.7]
    est = short(RNNRegressor, loss="quantile", quantiles=levels)
    value = first_loss(est, X, y, w)
    predicted = est.predict_quantiles(X)
    expected = np.mean(
        [mean_pinball_loss(y, predicted[..., k], alpha=q, sample_weight=w) for k, q in enumerate(levels)]
    )
    assert value == pytest.approx(expected, rel=1e-9)


def test_quantiles_are_calibrated():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1500, 3, 1)).astype(np.float32)
    y = X[:, -1, 0] + rng.standard_normal(1500)
    est = GRURegressor(8, loss="quantile", max_iter=40, random_state=0).fit(X[:1000], y[:1000])
    below = (y[1000:, None] <= est.predict_quantiles(X[1000:])).mean(axis=0)
    np.testing.assert_allclose(below, [0.1, 0.5, 0.9], atol=0.06)


@pytest.mark.parametrize(
    "levels", [[0.9, 0.1], [0.5, 0.5], [0.0, 0.5], [0.5, 1.0], [], [[0.1, 0.5]], [np.nan], 0.5, "ab"]
)
def test_bad_quantiles_are_refused(levels):
    est = short(RNNRegressor, loss="quantile", quantiles=levels)
    with pytest.raises(ValueError, match="quantiles"):
        est.fit(sequences(), np.zeros(8))
    assert not hasattr(est, "weights_")


def test_predict_quantiles_needs_the_loss():
    est = short(RNNRegressor).fit(sequences(), np.zeros(8))
    with pytest.raises(ValueError, match=r"predict_quantiles needs loss=\"quantile\""):
        est.predict_quantiles(sequences())


# Class weights -----------------------------------------------------------------------------------


@pytest.mark.parametrize("class_weight", ["balanced", {"b": 5.0, "a": 0.5}, {"b": 5.0}])
@pytest.mark.parametrize("per_step", [False, True])
def test_class_weights_are_sample_weights(class_weight, per_step):
    X = sequences()
    y = np.array(["a", "a", "b", "a", "a", "a", "b", "a"])
    labels, rows = y, np.arange(8)
    if per_step:
        rows = np.repeat(rows, LENGTHS)
        labels = [np.full(n, label) for n, label in zip(LENGTHS, y)]
    w = np.random.default_rng(0).uniform(0.5, 2, 8)
    of_class = compute_sample_weight(class_weight, y[rows])
    both = w[rows] * of_class
    if per_step:
        both = np.split(both, np.cumsum(LENGTHS)[:-1])
    options = {"return_sequences": per_step, "dtype": "float64"}
    one = short(GRUClassifier, class_weight=class_weight, **options).fit(X, labels, w)
    other = short(GRUClassifier, **options).fit(X, labels, both)
    for key, value in one.weights_.items():
        np.testing.assert_allclose(value, other.weights_[key], rtol=1e-9, atol=1e-12)
    plain = short(GRUClassifier, **options).fit(X, labels, w)
    assert np.abs(plain.weights_["head.weight"] - one.weights_["head.weight"]).max() > 1e-5


def test_a_dict_of_class_weights_holds_for_every_part_of_the_data():
    """A batch, or validation data, that lacks a class of the dict is no error."""
    X, y = sequences(), np.array([0, 1] * 4)
    est = short(GRUClassifier, class_weight={0: 2.0})
    est.partial_fit(X, np.ones(8, int), classes=[0, 1])
    assert est.n_iter_ == 1
    est.fit(X, y, X_val=X, y_val=np.ones(8, int))
    assert len(est.validation_scores_) == 3


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_bad_class_weights_are_refused(value):
    with pytest.raises(ValueError, match="class_weight"):
        short(GRUClassifier, class_weight={0: value, 1: 1.0}).fit(sequences(), [0, 1] * 4)


def test_class_weights_with_unlabelled_steps_and_zero_weights():
    X = sequences()
    y = [np.where(x[:, 0] > 0, 1.0, 0.0) for x in X]
    w = [np.ones(n) for n in LENGTHS]
    y[0][2], w[0][2] = np.nan, 0
    est = short(GRUClassifier, class_weight="balanced", return_sequences=True).fit(X, y, w)
    assert np.isfinite(est.loss_)
    with pytest.raises(ValueError, match="zero weights"):
        short(GRUClassifier, class_weight={0: 0.0, 1: 0.0}).fit(X, [0, 1] * 4)
