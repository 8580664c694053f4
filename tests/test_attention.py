"""pooling="attention": against PyTorch and the oracle, and what an estimator does with it."""

import pickle

import gpu
import numpy as np
import pytest
import reference
from passes import Forward, PackedSteps, matrix, recording
from sklearn.base import clone
from sklearn.utils._param_validation import InvalidParameterError

from skrnn import (
    GRUClassifier,
    GRURegressor,
    LSTMClassifier,
    LSTMRegressor,
    RNNClassifier,
    RNNRegressor,
    backends,
)
from skrnn.backends.cpu.tape import Tape
from skrnn.backends.cpu.workspace import Workspace
from skrnn.layout import Parameters
from skrnn.links import Attention
from skrnn.recipe import recurrent_network
from skrnn.recording import Rows

LENGTHS = [7, 3, 1, 5]
ESTIMATORS = [
    RNNRegressor, RNNClassifier, LSTMRegressor, LSTMClassifier, GRURegressor, GRUClassifier,
]  # fmt: skip


def ragged(lengths=LENGTHS, n_features=2, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((n, n_features)) for n in lengths]


def fitted(cls=LSTMRegressor, X=None, size=1.5, **options):
    """An epoch, and then large random weights, so that the steps count differently."""
    X = ragged() if X is None else X
    options = {"dtype": "float64", "max_iter": 1, "random_state": 0, "pooling": "attention"} | options
    y = np.arange(len(X)) % 2
    est = cls(5, **options).fit(X, y)
    rng = np.random.default_rng(1)
    return est.set_weights({name: rng.normal(0, size, w.shape) for name, w in est.weights_.items()})


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_network_of_pytorch(bidirectional):
    """Outputs and all gradients, in float64."""
    torch = pytest.importorskip("torch")
    H, D, options = 5, 5 * (1 + bidirectional), {"num_layers": 2, "bidirectional": bidirectional}
    network = recurrent_network(
        2, 3, cell="lstm", hidden_size=H, pooling="attention", dtype=np.float64, **options
    )
    rng, X, packed = np.random.default_rng(0), ragged(), PackedSteps(LENGTHS)
    weights = {name: rng.normal(0, 0.7, shape) for name, shape in network.parameters.shapes().items()}
    assert weights["attention.weight"].shape == (D, D)
    assert weights["attention.query"].shape == (D,)

    lstm = torch.nn.LSTM(2, H, batch_first=True, dtype=torch.float64, **options)
    there = {name: torch.tensor(w, requires_grad=True) for name, w in weights.items()}
    inputs = [torch.tensor(x, requires_grad=True) for x in X]
    own = {name: there[name] for name, _ in lstm.named_parameters()}
    outputs = []
    for x in inputs:
        states = torch.func.functional_call(lstm, own, (x[None],))[0][0]
        scores = torch.tanh(states @ there["attention.weight"].T) @ there["attention.query"]
        pooled = torch.softmax(scores, 0) @ states
        outputs.append(there["head.weight"] @ pooled + there["head.bias"])
    out, d = torch.stack(outputs), rng.standard_normal((len(X), 3))
    (out * torch.tensor(d)).sum().backward()

    starts = np.cumsum(LENGTHS) - LENGTHS
    rows = packed.rows_of(starts)
    pass_ = Forward(network, network.pack(weights), np.concatenate(X)[rows], packed, keep=True)
    grads = np.full(network.size, np.nan)
    dX, _ = pass_.backprop(d[packed.order], grads, d_input=True)
    np.testing.assert_allclose(pass_.out, out.detach().numpy()[packed.order], rtol=0, atol=1e-10)
    for name, gradient in network.unpack(grads).items():
        np.testing.assert_allclose(gradient, there[name].grad.numpy(), rtol=0, atol=1e-10, err_msg=name)
    expected = np.concatenate([x.grad.numpy() for x in inputs])[rows]
    np.testing.assert_allclose(dX, expected, rtol=0, atol=1e-10)


# --- weights ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("cls", ESTIMATORS)
def test_weights_are_the_oracles(cls):
    X = ragged()
    est = fitted(cls, X)
    weights = est.attention_weights(X)
    assert weights.dtype == object
    expected = [reference.attention(est.weights_, states) for states in est.hidden_states(X)]
    assert max(np.ptp(a) for a in expected) > 0.1
    for a, b in zip(weights, expected, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
        assert a.sum() == pytest.approx(1, abs=1e-14)


def test_weights_of_equal_lengths():
    """In X's float type and, without `newest_first`, in X's order."""
    X = np.random.default_rng(0).standard_normal((4, 6, 2)).astype(np.float32)
    est = fitted(X=X, dtype="float32")
    weights = est.attention_weights(X)
    assert (weights.shape, weights.dtype) == ((4, 6), np.float32)
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(weights[0], est.attention_weights([X[0].astype("f8")])[0], rtol=1e-6)
    flat = fitted(X=X.reshape(4, 12), features_per_step=2, newest_first=True)
    turned = fitted(X=X.reshape(4, 12), features_per_step=2)
    turned.set_weights(flat.weights_)
    expected = turned.attention_weights(X[:, ::-1].reshape(4, 12))
    np.testing.assert_array_equal(flat.attention_weights(X.reshape(4, 12)), expected)


@pytest.mark.parametrize("options", [{"pooling": "mean"}, {"return_sequences": True}], ids=str)
def test_weights_of_other_networks_are_refused(options):
    X = ragged()
    y = [x[:, 0] for x in X] if "return_sequences" in options else np.zeros(4)
    est = GRURegressor(3, **{"pooling": "attention"} | options, max_iter=1).fit(X, y)
    with pytest.raises(ValueError, match="attention_weights are those of pooling='attention'"):
        est.attention_weights(X)


# --- the same bits ----------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [{}, {"bidirectional": True, "num_layers": 2}], ids=str)
def test_alone_and_among_others(shape, dtype):
    lengths = np.random.default_rng(0).integers(1, 12, 300)
    X = [x.astype(dtype) for x in ragged([*lengths, 150, 290, 129, 128, 127])]
    est = fitted(RNNRegressor, X[:9], cell="gru", size=0.8, dtype=dtype, **shape)
    together, weights = est.predict(X), est.attention_weights(X)
    assert np.std(together) > 0.01
    for i in (*range(0, 300, 29), *range(300, 305)):
        np.testing.assert_array_equal(est.predict([X[i]])[0], together[i])
        np.testing.assert_array_equal(est.attention_weights([X[i]])[0], weights[i])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_threads(dtype):
    rng = np.random.default_rng(0)
    X = [rng.standard_normal((n, 3)).astype(dtype) for n in rng.integers(1, 60, 64)]
    y = np.array([x.sum() for x in X])
    ones = [
        GRURegressor(48, pooling="attention", dtype=dtype, max_iter=2, n_jobs=n, random_state=0).fit(X, y)
        for n in (1, 2)
    ]
    for name, w in ones[0].weights_.items():
        np.testing.assert_array_equal(ones[1].weights_[name], w)
    np.testing.assert_array_equal(*(est.predict(X) for est in ones))


def test_kernels_shared_by_any_number_of_threads():
    """Called one thread after the other: the same bits for one, two, three and seven."""
    results = []
    for n_threads in (1, 2, 3, 7):
        network = recurrent_network(2, 1, cell="gru", hidden_size=9, pooling="attention", dtype=np.float32)
        params = network.pack(network.parameters.initial(np.random.RandomState(0)))
        packed, grads = PackedSteps(LENGTHS), np.full(network.size, np.nan, np.float32)
        X = np.concatenate(ragged()).astype(np.float32)
        pass_ = Forward(network, params, X, packed, keep=True)
        rec, tape = pass_.rec, InTurns(n_threads)
        rec.grads, rec.tape = grads, tape
        d = rec.new_rows("d", row=pass_.raw.row, per=pass_.raw.per)
        d.array[:] = 1
        network.backward(rec, d)
        results.append(grads)
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


class InTurns:
    """A tape that makes its calls at once, each thread's share after the other's."""

    def __init__(self, n_threads):
        self.n_threads = n_threads

    def call(self, function, *args):
        function(*args)

    def share(self, function, *args):
        for thread in range(self.n_threads):
            function(thread, self.n_threads, *args)


def test_very_long_sequences():
    """Of 300,000 steps in float32, of which all count the same: nothing is lost in the sums."""
    N, D, dtype = 300_000, 3, np.dtype(np.float32)
    packed = PackedSteps([N, 3])
    link = Attention(backends.get("cpu"), dtype, "attention", "x", D)
    parameters = Parameters([link], dtype)
    weights = parameters.initial(np.random.RandomState(0))
    steps, work, tape = packed.filled(), Workspace(dtype), Tape()
    flat, grads = parameters.pack(weights), np.full(parameters.size, np.nan, dtype)
    rec = recording(tape, steps, work, parameters, params=flat, grads=grads)
    X = np.tile(np.array([0.1, -0.7, 1e-3], dtype), (packed.n_rows, 1))
    X[packed.sequence == 1] = [[0.3, 0.1, -0.2], [1, 2, 3], [0, 0, 1]]
    rec.values["x"] = Rows(X.ravel(), D)
    out = link.forward(rec, rec.values["x"])
    d = rec.new_rows("d", row=D, per=out.per)
    d.array[:] = np.arange(1, 7)
    (dX,) = link.backward(rec, d, need=(True,))
    tape.run()
    a = rec.kept["attention"][1].array[: packed.n_rows]
    assert abs(a[packed.sequence == 0].sum() - 1) < 1e-10
    np.testing.assert_allclose(matrix(out, steps, 2, D)[0], X[0], rtol=2e-7)
    # All steps alike: the gradient goes to them in equal parts, and none to the query but the short one's.
    short, weight, query = (
        X[packed.sequence == 1].astype("f8"),
        weights["attention.weight"],
        np.arange(4, 7.0),
    )
    U = np.tanh(short @ weight.T.astype("f8"))
    s = reference.attention({k: w.astype("f8") for k, w in weights.items()}, short)
    ds = s * (short @ query - s @ (short @ query))
    found = parameters.unpack(grads)["attention.query"]
    np.testing.assert_allclose(found, ds @ U, rtol=1e-5)
    first = matrix(dX, steps, packed.n_rows, D)[packed.sequence == 0]
    np.testing.assert_allclose(first.sum(axis=0, dtype="f8"), [1, 2, 3], rtol=1e-5)


# --- estimators -------------------------------------------------------------------------------------
def test_it_learns_which_step_counts():
    """The target is the value of the one step that is marked."""
    rng = np.random.default_rng(0)
    X = np.zeros((256, 20, 2), np.float32)
    X[..., 0] = rng.standard_normal((256, 20))
    at = rng.integers(0, 20, 256)
    X[np.arange(256), at, 1] = 1
    y = X[np.arange(256), at, 0]
    est = GRURegressor(16, pooling="attention", max_iter=60, learning_rate_init=0.02, random_state=0).fit(
        X, y
    )
    assert est.score(X, y) > 0.9
    weights = est.attention_weights(X)
    assert (weights.argmax(axis=1) == at).mean() > 0.9


def test_refused_before_anything_runs():
    est, X = fitted(), ragged()
    with pytest.raises(ValueError, match=r"pooling='attention' .* cannot be streamed"):
        est.stream()
    with pytest.raises(ValueError, match=r"pooling='attention' .* cannot be read piece by piece"):
        est.predict_with_state(X)
    with pytest.raises(InvalidParameterError, match="tbptt_steps cannot be combined with pooling"):
        LSTMRegressor(3, pooling="attention", tbptt_steps=2).fit(X, np.zeros(4))
    with pytest.raises(InvalidParameterError, match="'pooling' parameter"):
        LSTMRegressor(3, pooling="attend").fit(X, np.zeros(4))


def test_an_output_for_each_step_is_not_pooled():
    """Then there is no attention to train, and nothing to refuse."""
    X = ragged()
    est = GRURegressor(3, pooling="attention", return_sequences=True, tbptt_steps=2, max_iter=1)
    est.fit(X, [x[:, 0] for x in X])
    assert "attention.weight" not in est.weights_
    est.predict_with_state(X)
    est.stream().step(X[0][0])


def test_copies():
    est, X = fitted(), ragged()
    for other in (pickle.loads(pickle.dumps(est)), clone(est).fit(X, np.arange(4) % 2)):
        assert other.pooling == "attention"
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(est)).attention_weights(X)[0],
                                  est.attention_weights(X)[0])  # fmt: skip


def test_initial_and_decayed():
    network = recurrent_network(2, 1, cell="gru", hidden_size=30, pooling="attention")
    weights = network.parameters.initial(np.random.RandomState(0))
    for name, fan_out in ("attention.weight", 30), ("attention.query", 1):
        bound = np.sqrt(6 / (30 + fan_out))
        assert 0.8 * bound < np.abs(weights[name]).max() <= bound
        assert network.parameters.sections[name].decays


def test_weights_from_elsewhere():
    est, X = fitted(), ragged()
    again = LSTMRegressor.from_weights(est.weights_, dtype="float64")
    assert (again.pooling, again.hidden_size) == ("attention", 5)
    assert list(again.weights_) == list(est.weights_)
    np.testing.assert_array_equal(again.predict(X), est.predict(X))
    plain = {name: w for name, w in est.weights_.items() if not name.startswith("attention")}
    without_query = {name: w for name, w in est.weights_.items() if name != "attention.query"}
    for weights, options, message in (
        (est.weights_, {"pooling": "mean"}, "pooling='mean', but the weights say 'attention'"),
        (est.weights_, {"return_sequences": True}, "return_sequences=True, but the weights hold 'attention"),
        (plain, {"pooling": "attention"}, "pooling='attention' .* but the weights lack 'attention.weight'"),
        (without_query, {}, "weights lack 'attention.query'"),
        (est.weights_ | {"attention.query": np.ones(4)}, {}, r"attention.query'\] has shape \(4,\)"),
        (est.weights_ | {"attention.bias": np.ones(5)}, {}, "several linear layers|unknown arrays"),
    ):
        with pytest.raises(ValueError, match=message):
            LSTMRegressor.from_weights(weights, **options)


# --- on a GPU ---------------------------------------------------------------------------------------
class TestOnAGpu:
    pytestmark = gpu.needs_gpu

    def test_weights(self):
        X = ragged()
        est = fitted(GRURegressor, X, bidirectional=True)
        expected = est.attention_weights(X)
        est.set_params(device="cuda")
        for a, b in zip(est.attention_weights(X), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)
