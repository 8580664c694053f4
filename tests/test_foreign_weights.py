"""Weights without a fit: PyTorch's, Keras's, those of archives and of other estimators.

PyTorch's modules are asked themselves. Keras's equations are written down here, from its documentation, one
step at a time; its GRU has the update gate's other convention where ``reset_after=False``.
"""

import copy
import doctest
import pickle

import numpy as np
import pandas as pd
import pytest
from foreign import GATES, N_OUT, F, H, X, good, keras_weights, random, state_dict
from sklearn.base import clone

from skrnn import (
    GRUClassifier,
    GRURegressor,
    LossCurveDisplay,
    LSTMClassifier,
    LSTMRegressor,
    RNNClassifier,
    RNNRegressor,
)
from skrnn.estimators import loading

RAGGED = [x[:n] for x, n in zip(X, (6, 2, 1, 4, 3), strict=True)]
CLOSE = {"float32": dict(rtol=0, atol=1e-5), "float64": dict(rtol=0, atol=1e-10)}
REGRESSORS = {"rnn": RNNRegressor, "lstm": LSTMRegressor, "gru": GRURegressor}
CLASSIFIERS = {"rnn": RNNClassifier, "lstm": LSTMClassifier, "gru": GRUClassifier}


# --- PyTorch --------------------------------------------------------------------------------------
@pytest.mark.parametrize(("prefix", "head"), [("lstm", "fc"), ("encoder.rnn", "head"), ("module.a", "out.1")])
@pytest.mark.parametrize(
    ("cell", "options"),
    [
        ("rnn", {}),
        ("rnn", {"nonlinearity": "relu"}),
        ("lstm", {"bias": False}),
        ("lstm", {"num_layers": 2, "bidirectional": True}),
        ("gru", {"num_layers": 2}),
        ("gru", {"bidirectional": True}),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", CLOSE)
def test_pytorchs_modules(cell, options, prefix, head, dtype):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    kind = getattr(torch.nn, cell.upper())
    layer = kind(F, H, batch_first=True, dtype=torch.float64, **options)
    linear = torch.nn.Linear(layer.num_layers and H * (1 + layer.bidirectional), N_OUT).double()
    module = torch.nn.Module()
    for path, part in ((prefix, layer), (head, linear)):
        at, (*above, name) = module, path.split(".")
        for step in above:
            at.add_module(step, torch.nn.Module()) if not hasattr(at, step) else None
            at = getattr(at, step)
        at.add_module(name, part)
    with torch.no_grad():
        states, last = layer(torch.tensor(X))
        last = (last[0] if cell == "lstm" else last)[-(1 + layer.bidirectional) :]
        of_last = linear(torch.cat(list(last), dim=1)).numpy()
        per_step = linear(states).numpy()

    given = {"dtype": dtype}
    if "nonlinearity" in options:
        given["activation"] = "relu"
    est = REGRESSORS[cell].from_weights(module.state_dict(), **given)
    np.testing.assert_allclose(est.predict(X), of_last, **CLOSE[dtype])
    np.testing.assert_allclose(est.hidden_states(X), states.numpy(), **CLOSE[dtype])
    assert (est.n_features_in_, est.hidden_size, est.n_outputs_) == (F, H, N_OUT)
    assert est.num_layers == layer.num_layers
    assert est.bidirectional == layer.bidirectional
    est = RNNRegressor.from_weights(module.state_dict(), return_sequences=True, **given)
    assert est.cell == cell
    np.testing.assert_allclose(est.predict(X), per_step, **CLOSE[dtype])


def test_pytorchs_other_types():
    torch = pytest.importorskip("torch")
    tensors = {name: torch.tensor(w, requires_grad=True) for name, w in good().items()}
    expected = LSTMRegressor.from_weights(good()).predict(X)
    np.testing.assert_array_equal(LSTMRegressor.from_weights(tensors).predict(X), expected)
    for dtype in (torch.float16, torch.bfloat16):
        rounded = {name: w.to(dtype) for name, w in tensors.items()}
        predicted = LSTMRegressor.from_weights(rounded).predict(X)
        np.testing.assert_allclose(predicted, expected, atol=0.02)
        assert not np.array_equal(predicted, expected)


# --- Keras ----------------------------------------------------------------------------------------
def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def keras_step(cell, x, h, c, kernel, recurrent_kernel, bias, reset_after):
    """h and c after one step, by the documentation of SimpleRNNCell, LSTMCell and GRUCell."""
    if cell == "rnn":
        return np.tanh(x @ kernel + h @ recurrent_kernel + bias), c
    if cell == "lstm":
        z = x @ kernel + h @ recurrent_kernel + bias
        i, f, c_new, o = z[:H], z[H : 2 * H], z[2 * H : 3 * H], z[3 * H :]
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(c_new)
        return sigmoid(o) * np.tanh(c), c
    input_bias, recurrent_bias = bias if reset_after else (bias, np.zeros(3 * H))
    x_z, x_r, x_h = np.split(x @ kernel + input_bias, 3)
    K_z, K_r, K_h = np.split(recurrent_kernel, 3, axis=1)
    b_z, b_r, b_h = np.split(recurrent_bias, 3)
    z, r = sigmoid(x_z + h @ K_z + b_z), sigmoid(x_r + h @ K_r + b_r)
    if reset_after:
        hh = np.tanh(x_h + r * (h @ K_h + b_h))
    else:
        hh = np.tanh(x_h + (r * h) @ K_h)
    return z * h + (1 - z) * hh, c


def keras_layer(cell, x, arrays, reset_after):
    kernel, recurrent_kernel, *rest = arrays
    bias = rest[0] if rest else np.zeros((2, 3 * H) if cell == "gru" and reset_after else kernel.shape[1])
    h, c, states = np.zeros(H), np.zeros(H), []
    for x_t in x:
        h, c = keras_step(cell, x_t, h, c, kernel, recurrent_kernel, bias, reset_after)
        states.append(h)
    return np.array(states)


def keras_model(cell, x, weights, *, layers, bidirectional, reset_after, n):
    """Outputs of the Dense (return_sequences=False, then True)."""
    for _ in range(layers):
        states = keras_layer(cell, x, weights[:n], reset_after)
        weights, last = weights[n:], states[-1]
        if (
            bidirectional
        ):  # the reverse layer's states are turned around, its last one is that of the first step
            backward = keras_layer(cell, x[::-1], weights[:n], reset_after)
            weights, last = weights[n:], np.concatenate([last, backward[-1]])
            states = np.concatenate([states, backward[::-1]], axis=1)
        x = states
    kernel, bias = weights if len(weights) == 2 else (weights[0], 0)
    return last @ kernel + bias, states @ kernel + bias


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("cell", "reset_after"), [("rnn", True), ("lstm", True), ("gru", True), ("gru", False)]
)
def test_keras_layers(cell, reset_after, bias, layers, bidirectional):
    shape = dict(layers=layers, bidirectional=bidirectional, reset_after=reset_after)
    for n_in in (F, 2, H):  # of two features a kernel looks like the GRU's biases, of H like a layer above
        weights = keras_weights(cell, bias=bias, n_in=n_in, **shape)
        data = random(4, 5, n_in)
        outputs = [keras_model(cell, x, weights, n=2 + bias, **shape) for x in data]
        last, per_step = (np.array(part) for part in zip(*outputs, strict=True))
        given = dict(dtype="float64")
        if cell == "gru" and not bias:  # else the shapes tell
            given["reset_after"] = reset_after
        est = REGRESSORS[cell].from_weights(weights, **given)
        np.testing.assert_allclose(est.predict(data), last, **CLOSE["float64"])
        assert (est.num_layers, est.bidirectional, est.hidden_size) == (layers, bidirectional, H)
        assert est.n_features_in_ == n_in
        if cell == "gru":
            assert est.reset_after == reset_after
        est = RNNRegressor.from_weights(weights, return_sequences=True, **given)
        np.testing.assert_allclose(est.predict(data), per_step, **CLOSE["float64"])


# --- archives -------------------------------------------------------------------------------------
def test_archives(tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, **good())
    expected = LSTMRegressor.from_weights(good()).predict(X)
    np.testing.assert_array_equal(LSTMRegressor.from_weights(path).predict(X), expected)
    np.testing.assert_array_equal(LSTMRegressor.from_weights(str(path)).predict(X), expected)
    with np.load(path) as archive:
        np.testing.assert_array_equal(LSTMRegressor(H).set_weights(archive).predict(X), expected)

    weights = keras_weights("gru", layers=4, reset_after=False)  # 14 arrays: arr_10 is after arr_9
    np.savez(path, *weights)
    expected = GRURegressor.from_weights(weights).predict(X)
    np.testing.assert_array_equal(GRURegressor.from_weights(path).predict(X), expected)

    np.savez(path, **{k: np.array([None]) if k == "head.bias" else w for k, w in good().items()})
    with pytest.raises(ValueError, match="archive of arrays: Object arrays"):
        LSTMRegressor.from_weights(path)
    for name, text in {"a.h5": b"\x89HDF nothing", "b.npz": b"", "c.npz": b"PK\x03\x04 broken"}.items():
        (tmp_path / name).write_bytes(text)
        with pytest.raises(ValueError, match=f"{name}.* cannot be read as an .npz archive"):
            LSTMRegressor.from_weights(tmp_path / name)
    np.save(tmp_path / "one.npy", X)
    with pytest.raises(ValueError, match=r"one.npy'\) is no .npz archive: pass what torch.load"):
        LSTMRegressor.from_weights(tmp_path / "one.npy")
    with pytest.raises(FileNotFoundError):
        LSTMRegressor.from_weights(tmp_path / "none.npz")


def test_a_file_of_pytorch_is_no_archive(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.zeros(2)}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"is no \.npz archive"):
        LSTMRegressor.from_weights(tmp_path / "model.pt")


# --- what is fitted then --------------------------------------------------------------------------
@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("kind", [REGRESSORS, CLASSIFIERS], ids=["regressor", "classifier"])
@pytest.mark.parametrize("cell", GATES)
def test_an_estimator_from_anothers_weights(cell, kind, per_step):
    """Like the one that was fitted, in all but what a fit learns."""
    values = X[:, :, 0] if per_step else X[:, -1, 0]
    y = values if kind is REGRESSORS else (values > 0).astype(int)
    parameters = dict(hidden_size=H, return_sequences=per_step, num_layers=2, random_state=0)
    fitted = kind[cell](max_iter=1, **parameters).fit(X, y)
    del parameters["hidden_size"], parameters["num_layers"]
    made = kind[cell].from_weights(fitted.weights_, max_iter=1, **parameters)
    set_ = clone(fitted).set_weights(fitted.weights_)
    assert made.get_params() == fitted.get_params()
    lacking = vars(fitted).keys() - vars(made).keys()
    assert {name for name in lacking if not name.startswith("_skl")} <= {"_input_kind"}
    for est in (made, set_, pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        np.testing.assert_array_equal(est.predict(X), fitted.predict(X))
        np.testing.assert_array_equal(est.hidden_states(X), fitted.hidden_states(X))
        np.testing.assert_array_equal(est.predict_with_state(X)[1], fitted.predict_with_state(X)[1])
        for row in np.swapaxes(X, 0, 1):
            assert est.stream(5).step(row).shape == (5,)
        assert est.score(X, y) == fitted.score(X, y)
        if kind is CLASSIFIERS:
            np.testing.assert_array_equal(est.predict_proba(X), fitted.predict_proba(X))
            assert est.classes_.tolist() == [0, 1]
        assert list(est.weights_) == list(fitted.weights_)
        assert (est.n_iter_, est.loss_curve_, est.loss_, est.validation_scores_) == (0, [], None, None)
        assert est.history_["epoch"].shape == (0,)
        assert est.n_outputs_ == fitted.n_outputs_ == 1
        assert est.n_features_in_ == F
        assert not hasattr(est, "feature_names_in_")
    assert not hasattr(clone(made), "weights_")

    # and training goes on from the weights
    before = {name: w.copy() for name, w in made.weights_.items()}
    set_.set_params(warm_start=True).fit(X, y)
    made.partial_fit(X, y)
    for est in (made, set_):
        assert est.n_iter_ == len(est.loss_curve_) == 1
        for name, w in est.weights_.items():
            assert 0 < np.abs(w - before[name]).max() < 0.01
    assert made.loss_ == set_.loss_
    assert clone(fitted).fit(X, y).loss_ == fitted.loss_  # which drew its own weights


def test_a_loss_curve_of_no_epoch_can_be_drawn():
    pytest.importorskip("matplotlib").use("Agg")
    assert LossCurveDisplay.from_estimator(LSTMRegressor.from_weights(good())).loss_curve == []


def test_a_fit_without_warm_start_begins_anew():
    y = X[:, -1, 0]
    est = LSTMRegressor.from_weights(good(), max_iter=1, random_state=0).fit(X, y)
    fresh = LSTMRegressor(H, max_iter=1, random_state=0).fit(X, y)
    np.testing.assert_array_equal(est.predict(X), fresh.predict(X))
    assert est.fit(X[:, :, :2], y).n_features_in_ == 2


def test_training_draws_its_numbers_from_random_state():
    losses = []
    for seed in (0, 0, 1):
        est = LSTMRegressor.from_weights(good(), batch_size=1, random_state=seed, learning_rate_init=0.1)
        losses.append(est.partial_fit(X, X[:, -1, 0]).loss_)
    assert losses[0] == losses[1] != losses[2]


def test_weights_are_copied():
    weights = {name: w.astype("f4") for name, w in good().items()}
    est = LSTMRegressor.from_weights(weights)
    expected = est.predict(X)
    for w in weights.values():
        w += 1
    np.testing.assert_array_equal(est.predict(X), expected)


def test_either_kind_of_X():
    est = LSTMRegressor.from_weights(good(), features_per_step=F)
    expected = est.predict(X)
    before = dict(vars(est))
    np.testing.assert_array_equal(est.predict(X.reshape(5, -1)), expected)
    np.testing.assert_array_equal(est.predict(X.reshape(5, -1)[:, : 2 * F]), est.predict(X[:, :2]))
    np.testing.assert_array_equal(est.predict(list(X)), expected)
    assert [est.predict([x])[0] for x in RAGGED] == est.predict(RAGGED).tolist()
    assert vars(est).keys() == before.keys()
    assert all(vars(est)[name] is value for name, value in before.items())

    newest = LSTMRegressor.from_weights(good(), features_per_step=F, newest_first=True)
    np.testing.assert_array_equal(newest.predict(X[:, ::-1].reshape(5, -1)), expected)
    first = LSTMRegressor.from_weights(good(), channels_first=True)
    np.testing.assert_array_equal(first.predict(X.transpose(0, 2, 1)), expected)
    still = X.copy()
    still[:, :, 2] = X[:, :1, 2]
    rows = np.concatenate([still[:, :, :2].reshape(5, -1), still[:, 0, 2:]], axis=1)
    static = LSTMRegressor.from_weights(good(), features_per_step=2, static_columns=[-1])
    np.testing.assert_array_equal(static.predict(rows), est.predict(still))
    names = [f"{x}_lag_{6 - t}" for t in range(6) for x in "abc"]
    frame = pd.DataFrame(X.reshape(5, -1), columns=names)
    np.testing.assert_array_equal(est.predict(frame), expected)

    for wrong, message in [
        (X[:, :, :2], "X has 2 features, but LSTMRegressor is expecting 3"),
        (X[:, :1, 0], "1 columns, which is not a multiple of features_per_step=3"),
    ]:
        with pytest.raises(ValueError, match=message):
            est.predict(wrong)
    with pytest.raises(ValueError, match=r"X has 1 features per step, expected 3; .* alone is \[X\]"):
        LSTMRegressor.from_weights(good()).predict(X[0])


def test_training_settles_the_kind_of_X():
    y = X[:, -1, 0]
    est = LSTMRegressor.from_weights(good(), features_per_step=F)
    names = [f"{x}(t-{6 - t})" for t in range(6) for x in "abc"]
    with pytest.raises(ValueError, match="X has 2 features per step, expected 3"):
        est.partial_fit(X[:, :, :2], y)
    assert est.n_features_in_ == F
    est.partial_fit(pd.DataFrame(X.reshape(5, -1), columns=names), y)
    assert est.n_features_in_ == 6 * F
    assert est.feature_names_in_.tolist() == names
    assert est.step_columns_.shape == (6, F)
    with pytest.raises(ValueError, match="was fitted on 2-D X"):
        est.predict(X)


def test_linear_skip():
    y = X[:, -1, 0]
    fitted = GRURegressor(H, linear_skip=True, max_iter=1, random_state=0).fit(X, y)
    est = GRURegressor.from_weights(fitted.weights_)
    assert est.linear_skip
    np.testing.assert_array_equal(est.predict(X), fitted.predict(X))
    with pytest.raises(ValueError, match="sequence 0 has 3 steps, expected 6"):
        est.predict(X[:, :3])
    est.partial_fit(X, y)
    for cls, given, weights, message in [
        (GRURegressor, {"linear_skip": False}, {}, "linear_skip=False, but the weights say True"),
        (GRUClassifier, {}, {}, "linear_skip=False, but the weights say True"),
        (GRURegressor, {}, {"skip.weight": random(1, 17)}, r"skip.weight'\] .* expected \(1, 15\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            cls.from_weights(fitted.weights_ | weights, **given)
    with pytest.raises(ValueError, match="linear_skip=True, but the weights say False"):
        GRURegressor.from_weights(state_dict("gru"), linear_skip=True)


def test_outputs_of_regressors():
    est = LSTMRegressor.from_weights(state_dict(n_out=6), loss="quantile")
    assert est.n_outputs_ == 2
    assert est.predict_quantiles(X).shape == (5, 2, 3)
    assert est.predict(X).shape == (5, 2)
    assert LSTMRegressor.from_weights(state_dict(), loss="poisson").predict(X).min() > 0
    with pytest.raises(ValueError, match="head of 4 outputs, which is no multiple of the 3 quantiles"):
        LSTMRegressor.from_weights(state_dict(n_out=4), loss="quantile")


def test_the_example():
    finder = doctest.DocTestFinder(recurse=False)
    (test,) = finder.find(loading.TakesWeights.__dict__["from_weights"], "from_weights", module=loading)
    assert doctest.DocTestRunner().run(test).failed == 0
    assert test.examples


# --- classes --------------------------------------------------------------------------------------
def test_classes_are_in_the_order_of_the_heads_outputs():
    weights = state_dict(n_out=3)
    plain = LSTMClassifier.from_weights(weights)
    assert plain.classes_.tolist() == [0, 1, 2]
    raw = LSTMRegressor.from_weights(weights).predict(X)
    softmax = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(plain.predict_proba(X), softmax, atol=1e-6)
    names = np.array(["c", "a", "b"])
    est = LSTMClassifier.from_weights(weights, classes=names)
    assert est.classes_.tolist() == ["a", "b", "c"]
    expected = plain.predict_proba(X)[:, [1, 2, 0]]
    np.testing.assert_allclose(est.predict_proba(X), expected, **CLOSE["float64"])
    np.testing.assert_array_equal(est.predict(X), names[plain.predict(X)])
    est.partial_fit(X, names[[0, 1, 2, 0, 1]])
    again = est.set_weights(weights, classes=names).predict_proba(X)
    np.testing.assert_allclose(again, expected, **CLOSE["float64"])
    in_own_order = est.set_weights(weights).predict_proba(X)
    np.testing.assert_array_equal(in_own_order, plain.predict_proba(X))
    with pytest.raises(ValueError, match="are not those of the first call"):
        est.set_weights(weights, classes=["a", "b", "d"])


@pytest.mark.parametrize("classes", [None, ["no", "yes"], ["yes", "no"]])
def test_two_classes_from_one_output_or_two(classes):
    two, one = state_dict(n_out=2), state_dict()
    raw = LSTMRegressor.from_weights(two, dtype="float64").predict(X)
    softmax = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    p = sigmoid(LSTMRegressor.from_weights(one, dtype="float64").predict(X))
    columns = [1, 0] if classes == ["yes", "no"] else [0, 1]
    for weights, expected in [(two, softmax), (one, np.stack([1 - p, p], axis=1))]:
        est = LSTMClassifier.from_weights(weights, classes=classes, dtype="float64")
        assert est.classes_.tolist() == sorted(classes or [0, 1])
        np.testing.assert_allclose(est.predict_proba(X), expected[:, columns], **CLOSE["float64"])
        assert (est.weights_["head.weight"].shape, est.n_outputs_) == ((1, H), 1)
        fresh = LSTMClassifier(H, dtype="float64").set_weights(weights, classes)
        np.testing.assert_array_equal(fresh.predict(X), est.predict(X))
        np.testing.assert_array_equal(est.set_weights(weights, classes).predict(X), fresh.predict(X))


def test_label_sets():
    y = np.where(X[:, -1] > 0, "yes", "no")
    fitted = LSTMClassifier(H, max_iter=1, random_state=0).fit(X, y)
    est = LSTMClassifier.from_weights(fitted.weights_, classes=fitted.label_values_)
    np.testing.assert_array_equal(est.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(est.predict(X), fitted.predict(X))
    assert est.score(X, y) == fitted.score(X, y)
    est.partial_fit(X, y)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["a", "b"], r"classes=\['a', 'b'\] are 2, but the head has 3 outputs"),
        (["a", "b", "a"], "must be a list of different classes"),
        ("abc", "must be a list of different classes"),
        ([[0, 1], [0, 1]], "as many labels, from two on, as the head has outputs, here 3"),
        ([[0, 1], [0, 1], [1, 1]], "two different values for each label"),
    ],
)
def test_bad_classes(classes, message):
    with pytest.raises(ValueError, match=message):
        LSTMClassifier.from_weights(state_dict(n_out=3), classes=classes)
