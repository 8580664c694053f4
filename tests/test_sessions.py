"""What an estimator keeps between two calls changes no bit, and is never stored."""

import copy
import pickle
import threading

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from pictures import bits
from sklearn import clone

from skrnn import (
    GRURegressor,
    LSTMClassifier,
    LSTMRegressor,
    RNNRegressor,
    backends,
    inference,
    sessions,
)
from skrnn.estimators import online
from skrnn.links import Dense, Embedding, Last, Recurrent
from skrnn.network import Network
from skrnn.recipe import recurrent_network
from skrnn.sequences import Sequences
from skrnn.sessions import Predictor

rng = np.random.default_rng(0)
X = rng.standard_normal((40, 9, 3)).astype(np.float32)
RAGGED = [x[: 1 + i % 9] for i, x in enumerate(X)]
y = X.mean(axis=(1, 2))

NETWORKS = [
    {"cell": "rnn", "activation": "relu"},
    {"cell": "lstm", "num_layers": 2, "bidirectional": True, "pooling": "mean"},
    {"cell": "gru", "reset_after": False, "pooling": "max"},
    {"cell": "gru", "return_sequences": True},
    {"cell": "lstm", "pooling": "attention"},
    {"cell": "gru", "return_sequences": True, "crf": True},
    {"cell": "lstm", "dtype": np.float64},
]


def without_sessions(monkeypatch):
    monkeypatch.setattr(sessions, "fits", lambda *_: False)
    monkeypatch.setattr(online, "fits", lambda *_: False)


def assert_same_state(found, expected):
    for mine, theirs in zip(found.arrays(), expected.arrays(), strict=True):
        assert_array_equal(mine, theirs)


# --- one pass -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("options", NETWORKS, ids=str)
def test_a_session_answers_with_the_bits_of_a_new_recording(options):
    """One after the other in the same arrays: what an earlier, longer call has left there is not read."""
    network = recurrent_network(3, 2, hidden_size=5, **options)
    params = network.pack(network.parameters.initial(np.random.RandomState(0)))
    predictor = Predictor(network, params)
    asked = [{}, {"wanted": "states"}] + [{"wanted": "attention"}] * (network.attention is not None)
    asked += [{"wanted": "labels"}, {"wanted": "marginals"}] * (network.chain is not None)
    for n in (8, 7, 1, 8, 5):
        sequences = Sequences.from_arrays([x.astype(network.dtype) for x in RAGGED[n:0:-1]])
        for what in asked:
            found, _ = predictor.run(sequences, 1, **what)
            assert_array_equal(found, inference.run(network, params, sequences, **what)[0])
        found, end = predictor.run(sequences, 1, last=True)
        expected, expected_end = inference.run(network, params, sequences, last=True)
        assert_array_equal(found, expected)
        assert_same_state(end, expected_end)
        found, again = predictor.run(sequences, 1, state=end, last=True)
        expected, expected_again = inference.run(network, params, sequences, state=end, last=True)
        assert_array_equal(found, expected)
        assert_same_state(again, expected_again)
    assert all(len(waiting) == 1 for waiting in predictor._waiting.values())


def test_scaled_windows_over_a_long_series():
    """Which has more rows than there is room for."""
    network = recurrent_network(3, 1, cell="gru")
    params = network.pack(network.parameters.initial(np.random.RandomState(0)))
    values = rng.standard_normal((10_000, 3)).astype(np.float32)
    starts, lengths = np.array([9_000, 8_995, 17]), np.array([12, 7, 30])
    shift, scale = rng.standard_normal((2, 3, 3)).astype(np.float32)
    predictor = Predictor(network, params)
    for windows in (
        Sequences(values, starts, lengths, shift, scale),
        Sequences(values[:60], starts % 10, lengths, shift, scale),
        Sequences(values, starts, lengths),
    ):
        found, _ = predictor.run(windows, 1)
        assert_array_equal(found, inference.run(network, params, windows)[0])
    assert len(predictor._waiting) == 2  # scaled or not


def test_tokens_are_checked_in_every_call():
    backend, dtype = backends.get("cpu"), np.dtype(np.float32)
    links = [
        Embedding(backend, dtype, "embedding", 5, 4),
        Recurrent(backend, dtype, "states", "embedding", "_l0", "gru", 4, 6),
        Last("last", "states", 6),
        Dense(backend, dtype, "out", {"head": ("last", 6)}, 2),
    ]
    network = Network(0, links, dtype=dtype)
    params = network.pack(network.parameters.initial(np.random.RandomState(0)))
    predictor = Predictor(network, params)
    for texts in ([[1, 2, 3], [4]], [[0, 0], [3, 1]]):
        sequences = Sequences.from_tokens([np.array(text) for text in texts])
        assert_array_equal(predictor.run(sequences, 1)[0], inference.run(network, params, sequences)[0])
    with pytest.raises(ValueError, match="5"):
        predictor.run(Sequences.from_tokens([np.array([1, 5])]), 1)


# --- estimators ---------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def fitted():
    return LSTMRegressor(8, max_iter=2, random_state=0).fit(X, y)


def test_predict_leaves_nothing_behind_that_is_stored(fitted):
    est = copy.deepcopy(fitted)
    before, stored, hashed = vars(est).copy(), pickle.dumps(est), joblib.hash(est)
    expected = est.predict(X[:3])
    assert est._memory._known
    assert vars(est) == before
    assert pickle.dumps(est) == stored
    assert joblib.hash(est) == hashed
    for other in (copy.copy(est), copy.deepcopy(est), pickle.loads(stored)):
        assert not other._memory._known
        assert_array_equal(other.predict(X[:3]), expected)
    assert clone(est)._memory is None


def test_weights_are_read_only_and_new_ones_are_seen(fitted):
    est = pickle.loads(pickle.dumps(fitted))
    first = est.predict(X[:2])
    for array in est.weights_.values():
        with pytest.raises(ValueError, match="read-only"):
            array += 1
    est.weights_["head.bias"] = est.weights_["head.bias"] + 1  # writable: nothing is kept of it
    np.testing.assert_allclose(est.predict(X[:2]), first + 1, rtol=1e-6)
    est.weights_["head.bias"][:] += 1
    np.testing.assert_allclose(est.predict(X[:2]), first + 2, rtol=1e-6)
    est.set_weights(fitted.weights_)
    assert_array_equal(est.predict(X[:2]), first)
    est.set_params(random_state=1).fit(X, y)
    assert not np.array_equal(est.predict(X[:2]), first)


def test_other_parameters_wait_for_a_fit_as_before(fitted):
    est = copy.deepcopy(fitted)
    first = est.predict(X[:2])
    assert_array_equal(est.set_params(hidden_size=3, pooling="mean").predict(X[:2]), first)


def test_threads_share_an_estimator(fitted):
    est, sizes = copy.deepcopy(fitted), [1, 2, 3, 5, 8]
    expected = {n: est.predict(RAGGED[:n]) for n in sizes}
    wrong = []

    def ask(k):
        for i in range(200):
            n = sizes[(i + k) % len(sizes)]
            if not np.array_equal(est.predict(RAGGED[:n]), expected[n]):
                wrong.append((k, i))

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    ((_, _, predictor),) = est._memory._known
    assert all(1 <= len(waiting) <= 8 for waiting in predictor._waiting.values())


def test_an_error_amid_a_call_drops_the_session(fitted, monkeypatch):
    est = copy.deepcopy(fitted)
    expected = est.predict(X[:2])
    ((_, _, predictor),) = est._memory._known
    (waiting,) = predictor._waiting.values()
    (session,) = waiting

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(session._pass.tape, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        est.predict(X[:2])
    assert not waiting
    assert_array_equal(est.predict(X[:2]), expected)


def test_memory_is_bounded(fitted, monkeypatch):
    estimators = [copy.deepcopy(fitted) for _ in range(5)]
    estimators[0].predict(X[:2])
    ((_, _, predictor),) = estimators[0]._memory._known
    ((session,),) = predictor._waiting.values()
    monkeypatch.setattr(sessions, "_kept", [])
    monkeypatch.setattr(sessions, "MEMORY", 3 * session.nbytes)
    expected = [est.predict(X[:2]) for est in estimators]
    predictors = [est._memory._known[0][2] for est in estimators]
    # That of the first one was made before; of the four others three may stay.
    assert [len(predictor._waiting) for predictor in predictors] == [1, 0, 1, 1, 1]
    assert_array_equal(np.array([est.predict(X[:2]) for est in estimators]), np.array(expected))
    assert len(sessions._kept) == 3


# --- learning online ----------------------------------------------------------------------------------
def calls(est, classifier=False, n_calls=30):
    """What `partial_fit` and its neighbours leave, in all sorts of turns."""
    rng, seen = np.random.default_rng(1), []
    for i in range(n_calls):
        n = int(rng.integers(1, 40))
        own = X[:n] if i % 3 else RAGGED[:n]
        targets, w = y[:n], rng.uniform(0.1, 2, n) if i % 4 == 0 else None
        if classifier:
            est.partial_fit(own, (targets > 0).astype(int), [0, 1], w)
        else:
            est.partial_fit(own, targets, w)
        if i == 9:
            est.set_params(learning_rate_init=0.01)
        if i == 14:
            est.set_weights({name: 0.9 * array for name, array in est.weights_.items()})
        if i == 19:
            est.fit(X, (y > 0).astype(int) if classifier else y)
        if i == 24:
            est = copy.copy(est)
        seen.append(est.predict(RAGGED[:5]))
        if i % 5 == 0:
            seen += [est.loss_, est.n_iter_, *est.weights_.values()]
    return seen


@pytest.mark.parametrize(
    "est",
    [
        GRURegressor(5, max_iter=1, dropout=0.2, recurrent_dropout=0.2, num_layers=2, random_state=0),
        LSTMRegressor(5, max_iter=1, batch_size=7, solver="sgd", tbptt_steps=4, random_state=0),
        RNNRegressor(5, max_iter=1, loss="quantile", quantiles=[0.1, 0.9], pooling="mean", random_state=0),
        LSTMClassifier(5, max_iter=1, class_weight={0: 2, 1: 1}, bidirectional=True, random_state=0),
    ],
    ids=["gru", "lstm", "rnn", "classifier"],
)
def test_partial_fit_leaves_the_bits_of_new_recordings(est, monkeypatch):
    classifier = isinstance(est, LSTMClassifier)
    found = calls(clone(est), classifier)
    without_sessions(monkeypatch)
    for mine, theirs in zip(found, calls(clone(est), classifier), strict=True):
        assert_array_equal(mine, theirs)


def test_partial_fit_per_step_and_with_a_skip(monkeypatch):
    def learnt():
        steps = GRURegressor(4, return_sequences=True, random_state=0)
        windows = RNNRegressor(4, linear_skip=True, random_state=0)
        for n in (40, 3, 17):
            steps.partial_fit(
                RAGGED[:n], [x[:, 0] for x in RAGGED[:n]], [1 + x[:, 1] ** 2 for x in RAGGED[:n]]
            )
            windows.partial_fit(X[:n], y[:n])
        return [*steps.weights_.values(), *windows.weights_.values()]

    found = learnt()
    without_sessions(monkeypatch)
    for mine, theirs in zip(found, learnt(), strict=True):
        assert_array_equal(mine, theirs)


def test_the_trainer_is_kept_for_the_next_call():
    est = GRURegressor(4, random_state=0).partial_fit(X[:8], y[:8])
    first = est._memory.trainer[-1]
    est.partial_fit(X[8:15], y[8:15])
    assert est._memory.trainer[-1] is first
    est.partial_fit(X, y)
    larger = est._memory.trainer[-1]
    assert larger is not first
    est.partial_fit(X[:1], y[:1])
    assert est._memory.trainer[-1] is larger
    other = copy.copy(est)
    assert other._memory.trainer is None
    est.partial_fit(X[:8], y[:8])
    other.partial_fit(X[:8], y[:8])
    for name, array in est.weights_.items():
        assert_array_equal(array, other.weights_[name])
    assert GRURegressor(4, max_iter=1).fit(X, y)._memory.trainer is None


def test_a_failed_call_leaves_weights_and_moments(monkeypatch):
    good, est = (GRURegressor(4, random_state=0).partial_fit(X[:8], y[:8]) for _ in range(2))
    before = pickle.dumps(est)
    with pytest.raises(ValueError, match="not finite"):
        est.partial_fit(1e30 * X[:8], np.full(8, 1e30))
    with pytest.raises(ValueError, match="NaN"):
        est.partial_fit(X[:8] * np.nan, y[:8])
    assert pickle.dumps(est) == before
    for each in (good, est):
        each.partial_fit(X[8:20], y[8:20])
    for name, array in est.weights_.items():
        assert_array_equal(array, good.weights_[name])


def test_parameters_are_validated_when_they_have_changed():
    est = GRURegressor(4, random_state=0).partial_fit(X[:8], y[:8])
    with pytest.raises(ValueError, match="'alpha' parameter"):
        est.set_params(alpha=-1.0).partial_fit(X[:8], y[:8])
    with pytest.raises(ValueError, match="'alpha' parameter"):
        est.partial_fit(X[:8], y[:8])
    est.set_params(alpha=1e-4).partial_fit(X[:8], y[:8])


def test_the_history_of_many_calls_does_not_grow(monkeypatch):
    monkeypatch.setattr("skrnn.estimators.base.MOST_CALLS", 20)
    est, losses, sizes = RNNRegressor(2, random_state=0), [], []
    for _ in range(60):
        losses.append(est.partial_fit(X[:4], y[:4]).loss_)
        sizes.append(len(pickle.dumps(est)))
    assert est.n_iter_ == 60
    assert est.loss_curve_ == est.history_["loss"].tolist() == losses[-20:]
    assert est.history_["epoch"].tolist() == list(range(41, 61))
    assert est.best_loss_ == min(losses)
    assert max(sizes[20:]) - min(sizes[20:]) < 50
    est.set_params(max_iter=30, n_iter_no_change=30).fit(X, y).partial_fit(X[:4], y[:4])
    assert len(est.loss_curve_) == 30  # those of a fit are not thinned out, but no more are added


def test_random_numbers_are_stored_though_they_are_drawn_again():
    """A generator's state is taken down only now and then; a copy goes on from it with the same bits."""
    model, twins = GRURegressor(4, batch_size=7, random_state=0), []
    for k in range(2 * online.Shuffled.MOST + 5):
        n = 20 + k % 5
        model.partial_fit(X[:n], y[:n])
        for twin in twins:
            twin.partial_fit(X[:n], y[:n])
            assert bits(vars(twin)["weights_"]) == bits(model.weights_)
        twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))] if k % 9 < 3 else []
        for twin in twins:
            assert isinstance(vars(twin)["_rng"], dict)


def test_a_shallow_copy_remembers_by_itself():
    model = LSTMRegressor(3, random_state=0).partial_fit(X, y)
    other = copy.copy(model)
    assert other._memory is not model._memory
    assert other.weights_ is model.weights_
    expected = copy.deepcopy(model).partial_fit(X[:20], y[:20])
    model.partial_fit(X[:20], y[:20])
    assert bits(model.weights_) == bits(expected.weights_) != bits(other.weights_)
    assert bits(other.partial_fit(X[:20], y[:20]).weights_) == bits(expected.weights_)
    assert copy.copy(LSTMRegressor(3)).get_params() == LSTMRegressor(3).get_params()


def test_the_order_of_lengths_changes_from_call_to_call():
    """Falling and rising lengths share a room, and a session."""
    model = GRURegressor(4, max_iter=2, random_state=0).fit(RAGGED, y)
    parts = [X[0, :n] for n in range(1, 8)]
    answers = model.predict(parts)
    assert_array_equal(model.predict(parts[::-1])[::-1], answers)
    some = [3, 0, 6, 2, 5, 1, 4]
    assert_array_equal(model.predict([parts[i] for i in some]), answers[some])
    assert_array_equal(model.predict(X[:7, :7])[0], answers[6])
