"""Sums of very many terms are right to float32's rounding, however many they are.

The terms are all alike where that is possible: what is lost then lies on one side, and a sum that float32
adds up term by term is 1e-3 off at 200,000 of them.
"""

import numpy as np
import pytest
from kernel_calls import CELLS, AtOnce, by_each_thread
from passes import Forward, PackedSteps, dense, matrix, recording

from skrnn import GRURegressor, LSTMRegressor, RNNRegressor, backends, losses
from skrnn.backends.cpu.embedding import look_up_backward
from skrnn.backends.cpu.objective import add_losses, objective
from skrnn.backends.cpu.recurrent import compiled
from skrnn.backends.cpu.simd import lanes
from skrnn.backends.cpu.sums import SPAN
from skrnn.backends.cpu.tape import Tape
from skrnn.backends.cpu.updates import Optimizer
from skrnn.backends.cpu.workspace import Workspace
from skrnn.batches import SIZE_B, SIZE_R
from skrnn.layout import Parameters
from skrnn.links import Dense, Pool, Softmax
from skrnn.optimizers import SetUp
from skrnn.recipe import recurrent_network
from skrnn.recording import Rows
from skrnn.sequences import Targets

FLOAT = np.dtype(np.float32)
N = 200_000
TENTH = FLOAT.type(0.1)
CLOSE = SPAN * 2.0**-24  # what float32 may be off at the end of a span
ROUNDED = 1e-7


def test_these_sums_go_wrong_term_by_term():
    one_by_one = np.cumsum(np.full(N, TENTH))[-1]
    assert abs(one_by_one / (N * float(TENTH)) - 1) > 10 * CLOSE


@pytest.mark.parametrize("lengths", [[N], [N, N // 2, 3]], ids=str)
def test_mean_pooling(lengths):
    packed = PackedSteps(lengths)
    X = np.full((packed.n_rows, 3), [0.1, -0.7, 1e-3], FLOAT)
    steps = packed.filled()
    rec = recording(AtOnce(), steps, Workspace(FLOAT))
    out = Pool("pool", "x", 3, "mean").forward(rec, Rows(X.ravel(), 3))
    np.testing.assert_array_equal(matrix(out, steps, len(lengths), 3), X[: len(lengths)])


@pytest.mark.parametrize("cls", [RNNRegressor, LSTMRegressor, GRURegressor])
def test_mean_pooling_of_estimators(cls):
    """One piece, two, and a training pass: of states that hardly change."""
    T = 300_000
    est = cls(1, pooling="mean", max_iter=1, random_state=0).fit(np.ones((4, 50, 1), "f4"), np.ones(4))
    X = np.ones((1, T, 1), "f4")
    w, b = (float(est.weights_[f"head.{k}"].ravel()[0]) for k in ("weight", "bias"))
    pooled = est.hidden_states(X).mean(dtype="f8")
    size = abs(w * pooled) + abs(b)
    answer, state = est.predict_with_state(X[:, : T - 5])
    assert abs(state.pooled[0, 0] / state.pooled[0, 1] - pooled) < ROUNDED
    answer, _ = est.predict_with_state(X[:, T - 5 :], state)
    assert answer == est.predict(X)
    assert abs(answer[0] - (w * pooled + b)) < 2 * ROUNDED * size
    # The loss of a training pass is that of the same prediction: the rate is 0.
    training = cls(1, pooling="mean", max_iter=1, learning_rate_init=1e-30, warm_start=True, random_state=0)
    training.fit(X[:, :9], [0.0]).set_weights(est.weights_)
    training.fit(X, [0.0])
    assert abs(training.loss_curve_[-1] / (w * pooled + b) ** 2 - 1) < 1e-5


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_gradients_of_recurrent_weights(cell):
    """Every product that is summed over steps is 0.1 times 0.1, and every gradient of a bias 0.1."""
    *options, units = cell
    built, kernels = compiled(*options, FLOAT, units, False)
    L, S, P, F, H = lanes(FLOAT), built.n_slots, 1, 2, 3
    Hp, width = P * units * L, units * S
    n_columns = {
        name: units * (hi - lo) * L
        for name, (lo, hi) in zip("WUV", (built.input_slots, built.hidden_slots, built.late_slots))
    }
    packed = PackedSteps([N // 2] + [N // 8] * 4)
    B, R = len(packed), packed.n_rows
    steps = packed.filled()
    X, A, RH, G = (np.full(n, TENTH) for n in (R * F, (B + R) * Hp, (B + R) * Hp, P * R * width * L))
    args = (steps.sizes, steps.counts, steps.row_at, F, H, P, X, F, False, A, RH, G)
    outputs = [np.zeros(P * n * n_columns[name], FLOAT) for name, n in zip("WUV", (F, H, H))]
    outputs.append(np.zeros(P * width * L, FLOAT))
    outputs.append(np.zeros(sum(map(len, outputs))))
    results = [by_each_thread(n, kernels.weight_gradients, args, outputs)[0] for n in (1, 3)]
    *products, sums, _ = results[0]
    for array in products:
        np.testing.assert_allclose(array, R * float(TENTH) ** 2, rtol=CLOSE)
    np.testing.assert_allclose(sums, R * float(TENTH), rtol=CLOSE)
    for one, other in zip(*results):
        np.testing.assert_array_equal(one, other)


def gradients_of_head(packed, head, parameters, X, n_threads=1):
    """Where that of every output is 0.1."""
    params, grads = np.zeros(parameters.size, FLOAT), np.full(parameters.size, np.nan, FLOAT)
    steps = packed.filled(room=3)
    rec = recording(AtOnce(n_threads), steps, Workspace(FLOAT), parameters, params=params, grads=grads)
    d = rec.new_rows("d", row=head.width, per=X.per)
    d.array[:] = TENTH
    head.backward(rec, X, d, False, "head")
    return parameters.unpack(grads)


def test_head_per_step():
    """Gradients of its weights and biases, which are summed over all steps."""
    packed, n_in, n_out = PackedSteps([N - 7, 7]), 3, lanes(FLOAT) + 1
    X = Rows(np.full(N * n_in, TENTH), n_in, SIZE_R)
    results = [gradients_of_head(packed, *dense(n_in, n_out, FLOAT), X, n_threads) for n_threads in (1, 2)]
    np.testing.assert_allclose(results[0]["head.weight"], N * float(TENTH) ** 2, rtol=CLOSE)
    np.testing.assert_allclose(results[0]["head.bias"], N * float(TENTH), rtol=CLOSE)
    for name, array in results[0].items():
        np.testing.assert_array_equal(results[1][name], array)


@pytest.mark.parametrize("lanes", [1, 4])
def test_table_of_few_tokens(lanes):
    """Each of which is looked up very often; the rows of two are far more than those of the third."""
    packed, D, V = PackedSteps([N - 7, 7]), 3, 4
    rec = recording(AtOnce(), packed.filled(), Workspace(FLOAT))
    tokens = np.arange(N, dtype=np.int32)[:, None] % 2
    tokens[-5:] = 2
    table = np.full(V * D, np.nan, FLOAT)
    d = Rows(np.full(N * D, TENTH), D)
    look_up_backward(rec, Rows(tokens.ravel(), 1), 0, d, D, lanes, table)
    if lanes == 4:
        table = table.reshape(D, 4).T.ravel()
    expected = np.bincount(tokens[:, 0], minlength=V)[:, None] * np.full(D, float(TENTH))
    np.testing.assert_allclose(table.reshape(V, D), expected, rtol=ROUNDED)


def test_softmax_over_many_rows():
    """The mean gradient of rows that are all alike: that of one."""
    packed, n_in, V = PackedSteps([N - 7, 7]), 3, 5
    link = Softmax(backends.get("cpu"), FLOAT, "out", "X", n_in, V)
    parameters = Parameters([link], FLOAT)
    params, grads = np.zeros(parameters.size, FLOAT), np.full(parameters.size, np.nan, FLOAT)
    rec = recording(Tape(), packed.filled(), Workspace(FLOAT), parameters, params=params, grads=grads)
    X = Rows(np.full(N * n_in, TENTH), n_in, SIZE_R)
    losses, dX = link.forward(rec, X).objective(rec, Targets(np.zeros((N, 1), np.int32)), learns=True)
    rec.tape.run()
    found, p = parameters.unpack(grads), np.full(V, 1 / V) - np.eye(V)[0]
    np.testing.assert_allclose(found["out.bias"], p, rtol=CLOSE)
    np.testing.assert_allclose(found["out.weight"], p[:, None] * np.full(n_in, TENTH), rtol=CLOSE)
    np.testing.assert_allclose(losses.values.array[:N], np.log(V), rtol=1e-6)


def test_head_per_sequence():
    """The same over the sequences of a large minibatch."""
    X = Rows(np.full(N, TENTH), 1, SIZE_B)
    gradients = gradients_of_head(PackedSteps(np.ones(N, int)), *dense(1, 1, FLOAT), X)
    np.testing.assert_allclose(gradients["head.weight"], N * float(TENTH) ** 2, rtol=CLOSE)


@pytest.mark.parametrize("n_in", [SPAN, SPAN + 1, N])
def test_skip_over_long_windows(n_in):
    """A linear map of all steps, which adds to what is there."""
    maps, steps, results = {"head": ("X", 1), "skip": ("X", n_in)}, PackedSteps([1, 1, 1]).filled(room=2), []
    link = Dense(backends.get("cpu"), FLOAT, "out", maps, 2)
    parameters = Parameters([link], FLOAT)
    weights = {name: np.zeros(shape, FLOAT) for name, shape in parameters.shapes().items()}
    params = parameters.pack(weights | {"skip.weight": np.full((2, n_in), TENTH), "head.bias": np.full(2, 7)})
    for n_threads in (1, 2):
        rec = recording(AtOnce(n_threads), steps, Workspace(FLOAT), parameters, params=params)
        out = link.forward(rec, *(Rows(np.full(3 * n, TENTH), n, SIZE_B) for n in (1, n_in)))
        results.append(matrix(out, steps, 3, 2))
    np.testing.assert_allclose(results[0], 7 + n_in * float(TENTH) ** 2, rtol=CLOSE)
    np.testing.assert_array_equal(*results)


def test_losses_weights_and_norms():
    """What is reported of an epoch, and what the gradient is divided by."""
    tape = Tape()
    rec = recording(tape, PackedSteps(np.ones(N, int)).filled(), Workspace(FLOAT))
    statistics, w = np.zeros(3), np.full(N, TENTH)
    raw, d = Rows(np.full(N, TENTH), 1, SIZE_B), Rows(np.zeros(N, FLOAT), 1, SIZE_B)
    number, y = np.zeros(1, np.intp), Targets(np.zeros((N, 1), FLOAT))
    add_losses(rec, objective(rec, losses.squared_error, raw, d, 1, y, w), statistics, number)
    optimizer = Optimizer(SetUp(
        "sgd", [(0, N, False)], N, FLOAT, alpha=0, momentum=0, nesterov=False, beta_1=0.9, beta_2=0.999,
        epsilon=1e-8, max_norm=None,
    ))  # fmt: skip
    optimizer.update(tape, np.zeros(N, FLOAT), np.full(N, TENTH), np.zeros(1), statistics, number)
    tape.run()
    square = float(TENTH * TENTH)
    np.testing.assert_allclose(statistics[0], N * float(TENTH) * square, rtol=ROUNDED)
    np.testing.assert_allclose(statistics[1], N * float(TENTH), rtol=1e-10)
    np.testing.assert_allclose(statistics[2], N**0.5 * float(TENTH), rtol=1e-10)
    np.testing.assert_allclose(d.array, 2 * float(TENTH) / N, rtol=2 * ROUNDED)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_gradients_of_a_network_are_those_of_float64(cell):
    """Of states that differ, and a gradient for each step's outputs."""
    rng, packed, gradients = np.random.default_rng(0), PackedSteps([100_000]), []
    X, dout = 1 + 0.1 * rng.standard_normal((packed.n_rows, 2)), 1 + 0.1 * rng.random((packed.n_rows, 1))
    for dtype in (np.float64, np.float32):
        network = recurrent_network(2, 1, cell=cell, hidden_size=3, return_sequences=True, dtype=dtype)
        weights = network.parameters.initial(np.random.RandomState(0))
        weights = {k: w.astype(np.float32).astype(dtype) for k, w in weights.items()}
        pass_ = Forward(network, network.pack(weights), X.astype(np.float32).astype(dtype), packed, keep=True)
        grads = np.empty(network.size, dtype)
        pass_.backprop(dout.astype(np.float32).astype(dtype), grads)
        gradients.append(network.unpack(grads))
    for name, expected in gradients[0].items():
        atol = 1e-6 * np.abs(expected).max()
        np.testing.assert_allclose(gradients[1][name], expected, rtol=0, atol=atol, err_msg=name)
