"""The solvers against plain NumPy, clipping, and the minibatches they see."""

import numpy as np
import pytest
import reference

from skrnn import GRURegressor, LSTMRegressor, RNNRegressor


def data(n=40, T=5, F=2, dtype=np.float64, seed=0):
    X = np.random.default_rng(seed).standard_normal((n, T, F)).astype(dtype)
    return X, X[:, -2, 0]


def small(cls=GRURegressor, **options):
    defaults = {"hidden_size": 4, "max_iter": 4, "random_state": 0, "dtype": "float64"}
    return cls(**defaults | options)


def assert_same(one, other, **tolerance):
    """Same weights: to the bit, or within a tolerance."""
    for name, w in one.weights_.items():
        if tolerance:
            np.testing.assert_allclose(other.weights_[name], w, err_msg=name, **tolerance)
        else:
            np.testing.assert_array_equal(other.weights_[name], w, err_msg=name)


def problem():
    rng = np.random.default_rng(0)
    X = reference.random_sequences(rng, [4, 2, 3, 1], 2)
    return X, rng.standard_normal((4, 1)), rng.uniform(0.5, 2, 4)


def gradients(weights, X, y, w, **how):
    def loss():
        return reference.losses("squared_error", reference.forward(weights, X, **how).output, y, w)

    return {name: reference.central_differences(loss, a) for name, a in weights.items()}


def textbook(solver, weights, X, y, w, *, lr, alpha, max_norm, momentum, nesterov, steps):
    """Plain NumPy updates of float64 weights; the norms of the gradients."""
    weights = {name: a.copy() for name, a in weights.items()}
    m = {name: np.zeros_like(a) for name, a in weights.items()}
    v = {name: np.zeros_like(a) for name, a in weights.items()}
    norms = []
    for t in range(1, steps + 1):
        grads = gradients(weights, X, y, w)
        norms.append(np.sqrt(sum((g**2).sum() for g in grads.values())))
        for name, a in weights.items():
            g, decay = grads[name], 0.0 if "bias" in name else alpha
            if max_norm is not None and norms[-1] > max_norm:
                g = g * max_norm / norms[-1]
            if solver == "adamw":
                a -= lr * decay * a
            else:
                g = g + decay * a
            if solver in ("adam", "adamw"):
                m[name] = 0.8 * m[name] + 0.2 * g
                v[name] = 0.95 * v[name] + 0.05 * g**2
                a -= lr * m[name] / (1 - 0.8**t) / (np.sqrt(v[name] / (1 - 0.95**t)) + 1e-3)
            elif solver == "rmsprop":
                v[name] = 0.95 * v[name] + 0.05 * g**2
                a -= lr * g / (np.sqrt(v[name]) + 1e-3)
            else:
                m[name] = momentum * m[name] - lr * g
                a += momentum * m[name] - lr * g if nesterov else m[name]
    return weights, norms


@pytest.mark.parametrize("max_norm", [None, 0.3])
@pytest.mark.parametrize(
    ("solver", "momentum", "nesterov"),
    [
        ("adam", 0.9, True),
        ("adamw", 0.9, True),
        ("rmsprop", 0.9, True),
        ("sgd", 0.7, True),
        ("sgd", 0.7, False),
        ("sgd", 0.0, True),
    ],
)
def test_solvers_are_the_textbooks(solver, momentum, nesterov, max_norm):
    X, y, w = problem()
    est = small(
        RNNRegressor, hidden_size=3, solver=solver, momentum=momentum, nesterovs_momentum=nesterov,
        beta_1=0.8, beta_2=0.95, epsilon=1e-3, alpha=0.3, batch_size=100, shuffle=False, max_iter=1,
        max_grad_norm=max_norm, learning_rate_init=1e-15, tol=0.0,
    )  # fmt: skip
    start = est.fit(X, y, w).weights_
    rng = np.random.default_rng(7)
    start = {name: rng.normal(0, 0.7, a.shape) for name, a in start.items()}
    # rather than from zero biases, where weight decay of biases would not show
    est.set_weights(start).set_params(warm_start=True, max_iter=3, learning_rate_init=0.02)
    est.fit(X, y, w)
    expected, norms = textbook(
        solver, start, X, y, w, lr=0.02, alpha=0.3, max_norm=max_norm, momentum=momentum,
        nesterov=nesterov, steps=3,
    )  # fmt: skip
    for name, a in expected.items():
        np.testing.assert_allclose(est.weights_[name], a, rtol=1e-6, atol=1e-8, err_msg=name)
    np.testing.assert_allclose(est.history_["gradient_norm"][1:], norms, rtol=1e-6)
    assert max_norm is None or min(norms) > max_norm


def test_minibatches_are_consecutive_without_shuffling():
    X, y = data(10)
    parts = small(LSTMRegressor, shuffle=False, batch_size=4, max_iter=1).fit(X, y)
    by_hand = small(LSTMRegressor, shuffle=False, batch_size=4)
    for rows in (slice(0, 4), slice(4, 8), slice(8, 10)):
        by_hand.partial_fit(X[rows], y[rows])
    assert_same(parts, by_hand)
    # the epoch's loss is the mean over sequences, not over minibatches
    expected = np.average(by_hand.loss_curve_, weights=[4, 4, 2])
    assert parts.loss_ == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("batch_size", [40, 41, 10**9])
def test_batches_larger_than_the_data(batch_size):
    X, y = data()
    est = small(batch_size=batch_size, shuffle=False).fit(X, y)
    assert_same(est, small(batch_size=40, shuffle=False).fit(X, y))
    assert_same(small().fit(X, y), small(batch_size=32).fit(X, y))  # "auto"
    assert_same(small().fit(X[:9], y[:9]), small(batch_size=9).fit(X[:9], y[:9]))
