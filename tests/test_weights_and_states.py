"""The network's weights and states as the estimators show them: PyTorch's names, the oracle's values."""

import numpy as np
import pytest
import reference

from skrnn import GRURegressor, LSTMRegressor, RNNRegressor

REGRESSORS = [
    (RNNRegressor, {"activation": "relu"}),
    (RNNRegressor, {"activation": "sigmoid"}),
    (RNNRegressor, {"cell": "lstm"}),
    (RNNRegressor, {"cell": "gru"}),
    (LSTMRegressor, {}),
    (GRURegressor, {"reset_after": False}),
]
LENGTHS = [7, 3, 1, 5, 5, 2, 4, 6]


def name(value):
    if isinstance(value, type):
        return value.__name__
    return "-".join(map(str, value.values())) or "default"


def sequences(lengths=LENGTHS, n_features=2, seed=0):
    return reference.random_sequences(np.random.default_rng(seed), lengths, n_features)


def short(cls, **options):
    """Few epochs, small, the same each time."""
    return cls(**{"hidden_size": 5, "max_iter": 3, "random_state": 0} | options)


# Weights of the network --------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [RNNRegressor, LSTMRegressor, GRURegressor])
@pytest.mark.parametrize("shape", [{}, {"num_layers": 2}, {"num_layers": 2, "bidirectional": True}], ids=name)
def test_weights_have_pytorchs_names_and_shapes(cls, shape):
    X = sequences()
    y = np.random.default_rng(0).standard_normal((len(X), 3))
    est = short(cls, **shape).fit(X, y)
    gates = {RNNRegressor: 1, LSTMRegressor: 4, GRURegressor: 3}[cls] * 5
    directions = 2 if shape.get("bidirectional") else 1
    expected = {}
    for k in range(shape.get("num_layers", 1)):
        for suffix in ["", "_reverse"][:directions]:
            expected |= {
                f"weight_ih_l{k}{suffix}": (gates, 5 * directions if k else 2),
                f"weight_hh_l{k}{suffix}": (gates, 5),
                f"bias_ih_l{k}{suffix}": (gates,),
                f"bias_hh_l{k}{suffix}": (gates,),
            }
    expected |= {"head.weight": (3, 5 * directions), "head.bias": (3,)}
    assert list(est.weights_) == list(expected)  # PyTorch's order too
    assert {k: w.shape for k, w in est.weights_.items()} == expected

    other = short(cls, **shape, max_iter=1, random_state=1).fit(X, y)
    before = other.predict(X)
    assert other.set_weights(est.weights_) is other
    np.testing.assert_array_equal(other.predict(X), est.predict(X))
    assert np.abs(before - est.predict(X)).max() > 1e-3
    for key, w in est.weights_.items():
        np.testing.assert_array_equal(other.weights_[key], w)
        assert not np.shares_memory(other.weights_[key], w)


def test_set_weights_refuses_what_does_not_fit():
    X = sequences()
    est = short(LSTMRegressor)
    est.fit(X, [0.0, 1.0] * 4)
    expected, good = est.predict(X), {k: w.copy() for k, w in est.weights_.items()}
    bad = {
        "lack 'weight_hh_l0'": {k: w for k, w in good.items() if k != "weight_hh_l0"},
        r"'head.weight'\] has shape \(2, 5\)": good | {"head.weight": np.zeros((2, 5))},
        "unknown arrays: .'weight_ih_l1'": good | {"weight_ih_l1": np.zeros((20, 5))},
        r"'bias_ih_l0'\] holds NaN": good | {"bias_ih_l0": np.full(20, np.nan)},
    }
    for message, weights in bad.items():
        with pytest.raises(ValueError, match=message):
            est.set_weights(weights)
        np.testing.assert_array_equal(est.predict(X), expected)


@pytest.mark.parametrize(("cls", "options"), REGRESSORS, ids=name)
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"num_layers": 2},
        {"num_layers": 2, "bidirectional": True},
        {"pooling": "mean"},
        {"return_sequences": True},
    ],
    ids=name,
)
def test_predictions_hidden_states_and_last_states_are_the_oracles(cls, options, shape):
    X = sequences()
    y = [x[:, 0] for x in X] if "return_sequences" in shape else [x[0, 0] for x in X]
    est = short(cls, dtype="float64", max_iter=1, **options, **shape).fit(X, y)
    rng = np.random.default_rng(5)
    est.set_weights({k: rng.normal(0, 0.6, w.shape) for k, w in est.weights_.items()})
    cell = options.get("cell", cls.__name__.removesuffix("Regressor").lower())
    how = {k: v for k, v in options.items() if k != "cell"} | shape
    zeros = reference.forward(est.weights_, X, cell=cell, **how)
    for a, b in zip(est.predict(X), zeros.output, strict=True):
        np.testing.assert_allclose(a, b[..., 0], rtol=1e-12, atol=1e-13)
    for a, b in zip(est.hidden_states(X), zeros.hidden, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    if "bidirectional" in shape:  # which is not read piece by piece
        return
    state = reference.random_state(
        rng, cell=cell, n=len(X), hidden_size=5, num_layers=shape.get("num_layers", 1)
    )
    expected = reference.forward(est.weights_, X, cell=cell, initial_state=state, **how)
    out, last = est.predict_with_state(X, state)
    for a, b in zip(out, expected.output, strict=True):
        np.testing.assert_allclose(a, b[..., 0], rtol=1e-12, atol=1e-13)
    if shape.get("pooling") == "mean":
        last = last.h if last.c is None else (last.h, last.c)
    np.testing.assert_allclose(np.array(last), np.array(expected.state), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("cls", "options"), REGRESSORS, ids=name)
@pytest.mark.parametrize("layers", [1, 2])
def test_carried_state_gives_the_bits_of_the_whole(cls, options, layers):
    X = np.random.default_rng(0).standard_normal((9, 20, 2)).astype(np.float32)
    est = short(cls, return_sequences=True, num_layers=layers, **options).fit(X, X[:, :, 0])
    whole, last = est.predict_with_state(X)
    np.testing.assert_array_equal(whole, est.predict(X))
    state, pieces = None, []
    for a, b in [(0, 1), (1, 8), (8, 20)]:
        out, state = est.predict_with_state(X[:, a:b], state)
        pieces.append(out)
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)
    np.testing.assert_array_equal(state, last)
    pair = isinstance(state, tuple)
    assert pair == (cls is LSTMRegressor or options.get("cell") == "lstm")
    assert (state[0] if pair else state).shape == (layers, 9, 5)


def test_carried_state_of_ragged_sequences_keeps_their_order():
    X = sequences([2, 9, 4, 9, 3])
    est = short(GRURegressor, return_sequences=True).fit(X, [x[:, 0] for x in X])
    first, state = est.predict_with_state([x[:2] for x in X])
    rest = [i for i, x in enumerate(X) if len(x) > 2]
    second, _ = est.predict_with_state([X[i][2:] for i in rest], state[:, rest])
    for i, part in zip(rest, second, strict=True):
        np.testing.assert_array_equal(np.concatenate([first[i], part]), est.predict(X)[i])


def test_bad_states_are_refused():
    X = np.zeros((4, 3, 2))
    est = short(LSTMRegressor).fit(X, [0.0, 1.0] * 2)
    good = np.zeros((1, 4, 5))
    for state, message in [
        (good, "pair"),
        ((good,), "pair"),
        ((good, good[:, :3]), r"state c has shape \(1, 3, 5\)"),
        ((good + np.nan, good), "state h must hold finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            est.predict_with_state(X, state)
