"""Weights that are refused: with names, shapes, values or parameters that contradict each other."""

import numpy as np
import pytest
from foreign import H, X, good, keras_weights, random, state_dict

from skrnn import GRURegressor, LSTMClassifier, LSTMRegressor, RNNRegressor


def without(*names):
    return {name: w for name, w in good().items() if name not in names}


BAD_ARRAYS = {
    "lacking": (without("weight_hh_l0"), "weights lack 'weight_hh_l0'"),
    "lacking input": (without("weight_ih_l0"), "weights lack 'weight_ih_l0'"),
    "lacking bias": (without("bias_hh_l0"), "weights lack 'bias_hh_l0' of an LSTM with hidden_size 4"),
    "empty": ({}, r"weights lack 'weight_ih_l0' and all of a recurrent layer: they hold \[\]"),
    "checkpoint": ({"state_dict": good(), "epoch": 3}, r"they hold \['state_dict', 'epoch'\]"),
    "no second direction": (
        {k: w for k, w in state_dict(layers=2, bidirectional=True).items() if k != "weight_hh_l1_reverse"},
        "weights lack 'weight_hh_l1_reverse' of an LSTM with hidden_size 4 in two directions and 2 layers",
    ),
    "no layer 1": (
        good() | {"weight_ih_l2": random(16, 4)},
        "weights lack 'weight_ih_l1', but hold later layers",
    ),
    "prefix": (
        {k: w for k, w in state_dict(prefix="a.lstm.").items() if k != "a.lstm.weight_hh_l0"},
        "weights lack 'a.lstm.weight_hh_l0'",
    ),
    "no head": (without("head.weight", "head.bias"), r"no head.* 'head.weight' of shape \(n_outputs, 4\)"),
    "two heads": (
        good() | {"fc.weight": random(1, 4), "fc.bias": random(1)},
        "several linear layers, 'head', 'fc'",
    ),
    "embedding": (
        without("head.weight", "head.bias") | {"embed.weight": random(9, 4)},
        r"no head.* 'head.weight' of shape \(n_outputs, 4\)",
    ),
    "two embeddings": (
        good() | {"a.emb.weight": random(9, 4), "b.emb.weight": random(9, 4)},
        r"unknown arrays: \['b.emb.weight'\]",
    ),
    "wide embedding": (
        good() | {"embed.weight": random(9, 40)},
        "vectors of 40 numbers, of which weight_ih_l0 reads",
    ),
    "norm": (good() | {"norm.weight": random(4)}, r"unknown arrays: \['norm.weight'\]"),
    "digits": (good() | {"weight_ih_l01": random(16, 4)}, r"unknown arrays: \['weight_ih_l01'\]"),
    "key": (good() | {3: random(4)}, r"unknown arrays: \['3'\]"),
    "two modules": (
        state_dict(prefix="enc.") | state_dict(prefix="dec."),
        "several recurrent modules, 'enc.', 'dec.'",
    ),
    "projection": (good() | {"weight_hr_l0": random(2, 4)}, "'weight_hr_l0', of an LSTM with proj_size"),
    "gates": (
        good() | {"weight_hh_l0": random(20, 4)},
        r"\(20, 4\), expected hidden_size columns and 1 \(RNN",
    ),
    "hidden_size": (
        good() | {"weight_ih_l0": random(32, 3)},
        r"weights\['weight_ih_l0'\] has shape \(32, 3\), but weights\['weight_hh_l0'\] of shape \(16, 4\) "
        r"says an LSTM with hidden_size 4: expected \(16, 3\)",
    ),
    "head inputs": (good() | {"head.weight": random(1, 8)}, r"has shape \(1, 8\), .* expected \(1, 4\)"),
    "head bias": (good() | {"head.bias": random(2)}, r"'head.bias'\] has shape \(2,\), .* expected \(1,\)"),
    "axes": (good() | {"bias_ih_l0": random(16, 1)}, r"\(16, 1\), expected one axis"),
    "scalar": (good() | {"weight_ih_l0": 1.0}, r"'weight_ih_l0'\] has shape \(\), expected two axes"),
    "no features": (good() | {"weight_ih_l0": np.zeros((16, 0))}, r"is empty: it has shape \(16, 0\)"),
    "NaN": (good() | {"bias_ih_l0": np.full(16, np.nan)}, r"weights\['bias_ih_l0'\] holds NaN"),
    "infinity": (good() | {"head.bias": np.array([np.inf])}, r"'head.bias'\] holds infinity"),
    "too large": (good() | {"head.bias": np.array([1e300])}, "a value too large for float32"),
    "object": (good() | {"head.bias": np.array([None])}, "has dtype object, expected real numbers"),
    "complex": (good() | {"head.bias": np.array([1j])}, "has dtype complex128, expected real numbers"),
    "strings": (good() | {"head.bias": ["1"]}, "has dtype <U1, expected real numbers"),
    "ragged": (good() | {"head.weight": [[1, 2], [3]]}, r"'head.weight'\] cannot be read as an array"),
    "masked": (good() | {"head.bias": np.ma.array([1.0])}, "is a masked array"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_arrays_that_contradict_each_other(case):
    weights, message = BAD_ARRAYS[case]
    with pytest.raises(ValueError, match=message):
        RNNRegressor.from_weights(weights)
    est = LSTMRegressor(H)
    before = dict(vars(est))
    with pytest.raises(ValueError):  # noqa: PT011 (the same one)
        est.set_weights(weights)
    assert vars(est) == before
    fitted = LSTMRegressor.from_weights(good())
    weights_before, expected = fitted.weights_, fitted.predict(X)
    with pytest.raises(ValueError, match=r"weight|head"):
        fitted.set_weights(weights)
    assert fitted.weights_ is weights_before
    np.testing.assert_array_equal(fitted.predict(X), expected)


LSTM, GRU = keras_weights("lstm"), keras_weights("gru")
BAD_LISTS = {
    "empty": ([], r"weights\[0:\] have the shapes \[\]"),
    "PyTorch's": (list(good().values()), r"weights\[0:\] have the shapes \[\(16, 3\), \(16, 4\)"),
    "no head": (LSTM[:3], r"no head.* kernel of shape \(4, n_outputs\)"),
    "no head, no bias": (LSTM[:2], "weights hold no head"),
    "no head, both ways": (
        keras_weights("lstm", layers=2, bidirectional=True)[:12],
        r"no head.* kernel of shape \(8, n_outputs\)",
    ),
    "sums of both ways": (
        [*keras_weights("lstm", bidirectional=True)[:6], random(4, 1), random(1)],
        r'like weights\[0\], .* only merge_mode="concat" is known: .* 8 inputs, weights\[6\] has 4',
    ),
    "two Dense": (
        [*LSTM, random(2, 1), random(1)],
        r"weights\[3:\] have the shapes \[\(4, 2\), \(2,\), \(2, 1\)",
    ),
    "bias": ([*LSTM[:2], random(12), *LSTM[3:]], r"weights\[2:\] have the shapes"),
    "head inputs": ([*LSTM[:3], random(5, 2), random(2)], r"weights\[3\] \(transposed\) has shape \(2, 5\)"),
    "head bias": ([*LSTM[:4], random(3)], r"weights\[4\] has shape \(3,\)"),
    "below": (
        [*LSTM[:3], random(5, 16), *LSTM[1:]],
        r"weights\[3\] \(transposed\) has shape \(16, 5\), .* expected \(16, 4\)",
    ),
    "other sizes": (
        [*LSTM[:3], random(4, 20), random(5, 20), random(20), random(5, 1), random(1)],
        r"weights\[4\] has shape \(5, 20\), weights\[1\] has \(4, 16\): the layers",
    ),
    "other cells": (
        [*GRU[:3], random(4, 16), random(4, 16), random(16), *GRU[3:]],
        r"weights\[4\] has shape \(4, 16\), weights\[1\] has \(4, 12\): the layers",
    ),
    "other GRUs": (
        [*GRU[:3], random(4, 12), GRU[1], random(12), *GRU[3:]],
        "GRU layers with reset_after=True and",
    ),
    "NaN": ([*LSTM[:4], np.array([0, np.nan])], r"weights\[4\] holds NaN"),
    "complex": ([*LSTM[:4], np.array([0, 1j])], r"weights\[4\] has dtype complex128"),
}


@pytest.mark.parametrize("case", BAD_LISTS)
def test_lists_that_are_not_keras(case):
    weights, message = BAD_LISTS[case]
    with pytest.raises(ValueError, match=message):
        RNNRegressor.from_weights(weights)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hidden_size": 16}, "hidden_size=16, but the weights say 4"),
        ({"num_layers": 2}, "num_layers=2, but the weights say 1"),
        ({"bidirectional": True}, "bidirectional=True, but the weights say False"),
        ({"hidden_size": 0}, "'hidden_size' parameter of LSTMRegressor must be"),
        ({"linear_skip": True, "return_sequences": True}, "linear_skip cannot be combined"),
        ({"device": "cuda", "dtype": "bfloat16"}, "is for the CPU"),
    ],
    ids=str,
)
def test_parameters_that_contradict_the_weights(given, message):
    with pytest.raises(ValueError, match=message):
        LSTMRegressor.from_weights(good(), **given)
    est = LSTMRegressor(**{"hidden_size": H} | given)
    before = dict(vars(est))
    with pytest.raises(ValueError, match=message):
        est.set_weights(good())
    assert vars(est) == before


def test_parameters_stay_as_they_are():
    with pytest.raises(ValueError, match="hidden_size=32, but the weights say 4"):
        LSTMRegressor().set_weights(good())
    est = LSTMRegressor(np.int8(H)).set_weights(good())
    assert type(est.hidden_size) is np.int8
    with pytest.raises(TypeError, match="unexpected keyword argument 'hidden'"):
        LSTMRegressor.from_weights(good(), hidden=4)


def test_weights_of_another_cell():
    message = r"weights\['weight_hh_l0'\] of shape \(16, 4\) is of an LSTM, but GRURegressor is a GRU"
    with pytest.raises(ValueError, match=message):
        GRURegressor.from_weights(good())
    with pytest.raises(ValueError, match="is of a GRU, but LSTMClassifier is an LSTM"):
        LSTMClassifier(H).set_weights(keras_weights("gru", n_out=1))
    message = "is of an LSTM, but RNNRegressor with cell='rnn' is an RNN"
    with pytest.raises(ValueError, match=message):
        RNNRegressor(H).set_weights(good())
    with pytest.raises(ValueError, match=message):
        RNNRegressor.from_weights(good(), cell="rnn")
    with pytest.raises(ValueError, match="reset_after=True, but the weights say False"):
        GRURegressor.from_weights(keras_weights("gru", reset_after=False), reset_after=True)
    with pytest.raises(ValueError, match="reset_after=True, but the weights say False"):
        GRURegressor(H).set_weights(keras_weights("gru", reset_after=False))


def test_a_fitted_estimator_takes_foreign_weights():
    weights = keras_weights("gru", reset_after=False)
    est = GRURegressor.from_weights(keras_weights("gru", reset_after=False)).partial_fit(X, X[:, -1, :2])
    expected = GRURegressor.from_weights(weights).predict(X)
    np.testing.assert_array_equal(est.set_weights(weights).predict(X), expected)
    with pytest.raises(ValueError, match="the fit had reset_after=False, but the weights say True"):
        est.set_weights(GRU)
    weights = state_dict("gru", n_out=2, prefix="gru.", head="fc")
    expected = GRURegressor.from_weights(weights, reset_after=False).predict(X)
    np.testing.assert_array_equal(est.set_weights(weights).predict(X), expected)
    with pytest.raises(ValueError, match="but the parameters ask"):
        est.set_weights(LSTM)


@pytest.mark.parametrize("weights", [3, None, X, object()], ids=lambda w: type(w).__name__)
def test_no_weights(weights):
    with pytest.raises(TypeError, match="weights must be a mapping of names to arrays"):
        LSTMRegressor.from_weights(weights)


def test_models_are_asked_for_their_weights():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"got LSTM: pass its state_dict\(\)"):
        LSTMRegressor.from_weights(torch.nn.LSTM(2, 2))
