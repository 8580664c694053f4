"""Shapes and kinds of predictions, probabilities and scores."""

import numpy as np
import pytest

from skrnn import (
    GRUClassifier,
    GRURegressor,
    LSTMClassifier,
    LSTMRegressor,
    RNNClassifier,
    RNNRegressor,
)
from skrnn.sequences import object_array

LENGTHS = [7, 3, 1, 5, 5, 2, 4, 6]


def sequences(lengths=LENGTHS, n_features=2, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n, n_features)).astype(dtype) for n in lengths]


def short(cls, **options):
    """Few epochs, small, the same each time."""
    return cls(**{"hidden_size": 5, "max_iter": 3, "random_state": 0} | options)


@pytest.mark.parametrize("cls", [RNNRegressor, LSTMRegressor, GRURegressor])
@pytest.mark.parametrize("shape", [(), (1,), (3,)], ids=str)
def test_regression_shapes(cls, shape):
    X, rng = sequences(), np.random.default_rng(1)
    y = rng.standard_normal((len(X), *shape))
    est = short(cls).fit(X, y)
    assert est.predict(X).shape == y.shape
    assert est.n_outputs_ == (shape[0] if shape else 1)

    steps = [rng.standard_normal((len(x), *shape)) for x in X]
    for given in (steps, object_array(steps), [s.tolist() for s in steps]):
        est = short(cls, return_sequences=True).fit(X, given)
        out = est.predict(X)
        assert out.dtype == object
        assert [part.shape for part in out] == [s.shape for s in steps]
    dense = np.random.default_rng(0).standard_normal((6, 4, 2))
    y = rng.standard_normal((6, 4, *shape))
    assert short(cls, return_sequences=True).fit(dense, y).predict(dense).shape == y.shape


@pytest.mark.parametrize("cls", [RNNRegressor, RNNClassifier])
def test_targets_in_any_memory_order(cls):
    """A frame has its columns one after the other, and so have the targets that are made of one."""
    X, y = np.stack(sequences([4] * 8)), np.random.default_rng(1).integers(0, 2, (8, 3))
    expected = short(cls).fit(X, y).predict(X)
    np.testing.assert_array_equal(short(cls).fit(X, np.asfortranarray(y)).predict(X), expected)
    np.testing.assert_array_equal(
        short(cls, dtype="float64").fit(X, np.asfortranarray(y.astype(float))).predict(X),
        short(cls, dtype="float64").fit(X, y.astype(float)).predict(X),
    )


def test_equal_lengths_in_a_list_still_give_an_object_array():
    X = list(np.random.default_rng(0).standard_normal((5, 4, 2)))
    out = short(RNNRegressor, return_sequences=True).fit(X, [x[:, 0] for x in X]).predict(X)
    assert out.shape == (5,)
    assert out.dtype == object


KINDS = {
    "binary": np.array(["no", "yes"]),
    "three": np.array([3, 5, 8]),
    "bool": np.array([False, True]),
}


@pytest.mark.parametrize("cls", [RNNClassifier, LSTMClassifier, GRUClassifier])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("per_step", [False, True])
def test_probabilities_scores_and_labels_agree(cls, kind, per_step):
    classes, X = KINDS[kind], sequences()
    draw = np.random.default_rng(1).choice
    y = [draw(classes, len(x)) for x in X] if per_step else draw(classes, len(X))
    est = short(cls, return_sequences=per_step).fit(X, y)
    np.testing.assert_array_equal(est.classes_, classes)
    assert est.n_outputs_ == (1 if len(classes) == 2 else 3)
    outputs = est.predict(X), est.predict_proba(X), est.decision_function(X)
    if per_step:
        assert all(out.dtype == object and out.shape == (len(X),) for out in outputs)
        assert all([len(part) for part in out] == LENGTHS for out in outputs)
        labels, proba, scores = (np.concatenate(list(out)) for out in outputs)
    else:
        labels, proba, scores = outputs
    m = sum(LENGTHS) if per_step else len(X)
    assert labels.shape == (m,)
    assert labels.dtype == classes.dtype
    assert proba.shape == (m, len(classes))
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(labels, classes[proba.argmax(axis=1)])
    if len(classes) == 2:
        assert scores.shape == (m,)
        np.testing.assert_allclose(1 / (1 + np.exp(-scores)), proba[:, 1], atol=1e-6)
    else:
        exp = np.exp(scores)
        np.testing.assert_allclose(exp / exp.sum(axis=1, keepdims=True), proba, atol=1e-6)


@pytest.mark.parametrize("per_step", [False, True])
def test_multilabel(per_step):
    X = np.random.default_rng(0).standard_normal((60, 5, 3))
    y = (X if per_step else X[:, -1]) > 0
    est = GRUClassifier(16, max_iter=60, learning_rate_init=5e-3, return_sequences=per_step, random_state=0)
    est.fit(X, y.astype(int))
    np.testing.assert_array_equal(est.classes_, [0, 1, 2])
    labels, proba = est.predict(X), est.predict_proba(X)
    assert labels.shape == proba.shape == est.decision_function(X).shape == y.shape
    np.testing.assert_array_equal(labels, (proba > 0.5).astype(int))
    np.testing.assert_allclose(1 / (1 + np.exp(-est.decision_function(X))), proba, atol=1e-6)
    assert (labels == y).mean() > 0.95
    expected = (labels == y).reshape(-1, 3).all(axis=1).mean()  # right in every label
    assert est.score(X, y.astype(int)) == pytest.approx(expected)
