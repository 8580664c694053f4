"""Products of bfloat16: what is rounded, and what follows from it."""

import warnings

import numpy as np
import pytest
from passes import Forward, PackedSteps
from sklearn.exceptions import NotFittedError

from skrnn import GRUClassifier, LSTMRegressor, RNNRegressor, backends
from skrnn.recipe import recurrent_network

needs_bfloat16 = pytest.mark.skipif(
    not backends.get("cpu").supports_bfloat16(), reason="this processor has no AVX512_BF16"
)
CELLS = [
    {"cell": "rnn"},
    {"cell": "rnn", "activation": "relu"},
    {"cell": "lstm"},
    {"cell": "gru"},
    {"cell": "gru", "reset_after": False},
]


def label(options):
    return "-".join(map(str, options.values()))


def rounded(x):
    """To 8 bits of precision, to nearest, ties to even."""
    bits = np.asarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32).astype(float)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def textbook(weights, X, cell, activation="tanh", reset_after=True):
    """States of one layer, sequences X (B, T, F), with the operands of every product rounded."""
    W, U = (rounded(weights[f"weight_{k}_l0"]).T for k in ("ih", "hh"))
    b, b_hh = (weights[f"bias_{k}_l0"].astype(float) for k in ("ih", "hh"))
    H = U.shape[0]
    h, c, states = np.zeros((len(X), H)), np.zeros((len(X), H)), []
    for t in range(X.shape[1]):
        x = rounded(X[:, t]) @ W + b
        if cell == "rnn":
            z = x + rounded(h) @ U + b_hh
            h = np.tanh(z) if activation == "tanh" else np.maximum(z, 0)
        elif cell == "lstm":
            i, f, g, o = np.split(x + rounded(h) @ U + b_hh, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        else:
            r, u, n = np.split(x, 3, axis=1)
            U_r, U_u, U_n = np.split(U, 3, axis=1)
            b_r, b_u, b_n = np.split(b_hh, 3)
            r, u = sigmoid(r + rounded(h) @ U_r + b_r), sigmoid(u + rounded(h) @ U_u + b_u)
            if reset_after:
                n = np.tanh(n + r * (rounded(h) @ U_n + b_n))
                h = (1 - u) * n + u * h
            else:
                n = np.tanh(n + rounded(r * h) @ U_n + b_n)
                h = (1 - u) * h + u * n
        states.append(h)
    return np.stack(states, axis=1)


@needs_bfloat16
@pytest.mark.sampled(11)
@pytest.mark.parametrize("hidden_size", [5, 16, 33, 64])
@pytest.mark.parametrize("n_in", [1, 4, 7])
@pytest.mark.parametrize("cell", CELLS, ids=label)
def test_only_the_operands_of_products_are_rounded(cell, n_in, hidden_size):
    rng, B, T = np.random.default_rng(0), 9, 6
    network = recurrent_network(n_in, 1, hidden_size=hidden_size, dtype="bfloat16", **cell)
    weights = network.parameters.initial(np.random.RandomState(0))
    weights = {k: (w + rng.normal(0, 0.1, w.shape)).astype(np.float32) for k, w in weights.items()}
    X = rng.standard_normal((B, T, n_in)).astype(np.float32)
    packed = PackedSteps(np.full(B, T))
    rows = X.transpose(1, 0, 2).reshape(-1, n_in)
    hidden = Forward(network, network.pack(weights), rows, packed).hidden()
    hidden = hidden.reshape(T, B, -1).transpose(1, 0, 2)
    expected = textbook(weights, X, **cell)
    # A state that lies between two bfloat16 numbers may round to the other: then 2**-9 of it differs.
    np.testing.assert_allclose(hidden[:, :2], expected[:, :2], rtol=1e-3, atol=2e-4)
    np.testing.assert_allclose(hidden, expected, rtol=1e-2, atol=2e-3)
    exact = np.abs(hidden[:, 0] - expected[:, 0])  # before any state is rounded
    assert exact.max() < 2e-6 * max(1, np.abs(expected).max())
    single = recurrent_network(n_in, 1, hidden_size=hidden_size, **cell)
    other = Forward(single, single.pack(weights), rows, packed).hidden().reshape(T, B, -1).transpose(1, 0, 2)
    assert np.abs(other[:, 0] - expected[:, 0]).max() > 1e-4  # so that rounding is what was compared


@needs_bfloat16
@pytest.mark.sampled(7)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_layers": 2, "bidirectional": True, "pooling": "mean"},
        {"num_layers": 2, "return_sequences": True},
        {"recurrent_dropout": 0.3, "dropout": 0.3, "num_layers": 2},
    ],
    ids=lambda o: label(o) or "plain",
)
@pytest.mark.parametrize("cell", CELLS, ids=label)
def test_gradients_are_those_of_float32_but_for_rounding(cell, options):
    lengths, H, n_in = [7, 3, 1, 5, 7, 7, 2, 4, 6, 6], 20, 3
    packed, rng, found = PackedSteps(lengths), np.random.default_rng(0), []
    X = rng.standard_normal((packed.n_rows, n_in)).astype(np.float32)
    dropout = (3, 0, np.arange(len(lengths))) if "dropout" in options else None
    for dtype in ("float32", "bfloat16"):
        network = recurrent_network(n_in, 2, hidden_size=H, dtype=dtype, **cell, **options)
        weights = network.parameters.initial(np.random.RandomState(1))
        pass_ = Forward(network, network.pack(weights), X, packed, keep=True, dropout=dropout)
        grads = np.full(network.size, np.nan, np.float32)
        dX, _ = pass_.backprop(np.ones_like(pass_.out), grads, d_input=True)
        found.append(network.unpack(grads) | {"X": dX})
    single, half = found
    for name, expected in single.items():
        error = np.linalg.norm(half[name] - expected) / np.linalg.norm(expected)
        # where rounding moves a state over relu's kink, the gradient jumps
        assert error < (0.15 if "activation" in cell else 0.03), (name, error)
    assert any(np.any(half[name] != expected) for name, expected in single.items())


@needs_bfloat16
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "recurrent_dropout": 0.2}])
def test_same_bits_alone_or_together_on_one_thread_or_two(options):
    rng = np.random.default_rng(0)
    X = [rng.standard_normal((k, 3)).astype(np.float32) for k in rng.integers(40, 90, 24)]
    y = [x[-1, 0] for x in X]
    fits = [
        LSTMRegressor(128, dtype="bfloat16", max_iter=2, n_jobs=n, random_state=0, **options).fit(X, y)
        for n in (1, 2)
    ]
    for name, w in fits[0].weights_.items():
        assert w.dtype == np.float32
        np.testing.assert_array_equal(fits[1].weights_[name], w)
    together = fits[0].predict(X)
    for x, expected in zip(X, together, strict=True):
        assert fits[0].predict([x])[0] == expected


@needs_bfloat16
def test_learns_like_float32():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 12, 2))
    y = X[:, :, 0].sum(axis=1) > 0
    scores = [
        GRUClassifier(32, dtype=dtype, max_iter=40, learning_rate_init=5e-3, random_state=0)
        .fit(X[:200], y[:200])
        .score(X[200:], y[200:])
        for dtype in ("float32", "bfloat16")
    ]
    assert min(scores) > 0.85
    assert abs(scores[0] - scores[1]) < 0.05


@needs_bfloat16
def test_streams_too():
    X = np.random.default_rng(0).standard_normal((5, 7, 3)).astype(np.float32)
    est = RNNRegressor(9, cell="gru", dtype="bfloat16", max_iter=1, random_state=0).fit(X, X[:, 0, 0])
    stream = est.stream(5)
    for t in range(7):
        answer = stream.step(X[:, t])
    np.testing.assert_array_equal(answer, est.predict(X))


@pytest.fixture
def another_processor(monkeypatch):
    def forbid():
        monkeypatch.setattr("skrnn.backends.cpu.bfloat16.available", lambda: False)
        monkeypatch.setattr("skrnn.backends.cpu.supports_bfloat16", lambda: False)

    return forbid


def test_a_fit_is_refused_where_the_processor_cannot(another_processor):
    another_processor()
    X = np.zeros((4, 3, 2))
    est = LSTMRegressor(4, dtype="bfloat16", max_iter=1)
    with pytest.raises(ValueError, match="needs a processor with AVX512_BF16"):
        est.fit(X, np.arange(4))
    with pytest.raises(NotFittedError):
        est.predict(X)


@needs_bfloat16
def test_a_fitted_model_predicts_in_float32_elsewhere(another_processor):
    X = np.random.default_rng(0).standard_normal((5, 7, 3))
    est = LSTMRegressor(16, dtype="bfloat16", max_iter=1, random_state=0).fit(X, X[:, 0, 0])
    here = est.predict(X)
    another_processor()
    with pytest.warns(RuntimeWarning, match="predicting in float32"):
        there = est.predict(X)
    single = LSTMRegressor(16, max_iter=1, random_state=0).fit(X, X[:, 0, 0]).set_weights(est.weights_)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(there, single.predict(X))
    assert 0 < np.abs(here - there).max() < 0.02
