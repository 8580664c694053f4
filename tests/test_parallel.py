"""The same bits for any number of threads, any batch, any process; and no thread where none may be."""

import hashlib
import os
import subprocess
import sys
import threading
import time

import joblib
import numpy as np
import pytest
from numba.core import config
from sklearn.model_selection import cross_val_score
from threadpoolctl import threadpool_limits

import skrnn.backends.cpu.threads as threads
from skrnn import GRURegressor, LSTMClassifier, LSTMRegressor, RNNRegressor
from skrnn.backends.cpu.tape import Tape
from skrnn.estimators.n_jobs import effective_threads

CHECKED = bool(config.BOUNDSCHECK)  # then one thread makes all calls, from Python, in the place of each
CELLS = [
    {"cell": "rnn"},
    {"cell": "rnn", "activation": "relu"},
    {"cell": "lstm"},
    {"cell": "gru"},
    {"cell": "gru", "reset_after": False},
]


def name(options):
    return "-".join(map(str, options.values())) or "plain" if isinstance(options, dict) else None


def digest(est):
    bits = b"".join(w.tobytes() for w in est.weights_.values())
    return hashlib.sha256(bits + np.array(est.loss_curve_).tobytes()).hexdigest()


@pytest.fixture
def seen(monkeypatch):
    """For each replay that may have help, how many threads took part; it waits for those asleep."""
    teams, lead = [], threads.Pool.lead

    def record(self, *args, **options):
        before = self.boxes[threads.CALLS :: threads.BOX].copy()
        lead(self, *args, **options)
        teams.append(1 + np.count_nonzero(self.boxes[threads.CALLS :: threads.BOX] > before))

    monkeypatch.setattr(threads.Pool, "lead", record)
    monkeypatch.setattr(threads, "WAKE_FLOPS", 0)
    monkeypatch.setattr(threads, "LOOK_FLOPS", 1.0)
    yield from keep(max(1, threads.usable_processors() - 1), teams, monkeypatch)


def keep(n, value, monkeypatch):
    """The helpers of this test, however many processors there are, that do not go to sleep; gives `value`."""
    pool = threads.Pool(n)
    monkeypatch.setattr(threads, "_pool", pool)
    monkeypatch.setattr(threads, "usable_processors", lambda: n + 1)
    monkeypatch.setattr(threads, "LAST_LOOK", 2**60)  # also of a forked child's own helpers
    pool.boxes[threads.PATIENCE :: threads.BOX] = threads.LAST_LOOK
    yield value
    pool.boxes[threads.PATIENCE :: threads.BOX] = 0


@pytest.fixture
def eight_threads(seen, monkeypatch):
    """A pool for teams of eight, whatever the machine has."""
    yield from keep(7, None, monkeypatch)


# Threads -----------------------------------------------------------------------------------------


def large(n=32, T=200, dtype=np.float32):
    rng = np.random.default_rng(0)
    X = [rng.standard_normal((k, 2)).astype(dtype) for k in rng.integers(T // 2, T + 1, n)]
    X[0] = np.resize(X[0], (T, 2))
    return X, np.array([x[-3, 0] for x in X])


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "options",
    [
        {"cell": "rnn"},
        {"cell": "lstm"},
        {"cell": "gru"},
        {"cell": "gru", "reset_after": False, "pooling": "mean"},
        {"cell": "lstm", "bidirectional": True, "recurrent_dropout": 0.2, "pooling": "max"},
        {"cell": "lstm", "num_layers": 2, "return_sequences": True, "dropout": 0.2},
        {"cell": "gru", "tbptt_steps": 100},
    ],
    ids=name,
)
def test_two_threads_give_the_bits_of_one(options, seen):
    X, y = large()
    y = [x[:, 0] for x in X] if options.get("return_sequences") else y
    fits = []
    for n_jobs in (1, 2):
        seen.clear()
        est = RNNRegressor(128, max_iter=2, random_state=0, n_jobs=n_jobs, **options).fit(X, y)
        fits.append((digest(est), est.predict(X)))
        if n_jobs == 1 or CHECKED:
            assert seen == []
        else:
            assert set(seen) == {2}
            assert len(seen) > 2  # both epochs and the prediction
    (one, predicted_by_one), (two, predicted_by_two) = fits
    assert one == two
    for a, b in zip(predicted_by_one, predicted_by_two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_threads_share_all_that_takes_time(monkeypatch):
    """In time and over weights, forward and back; that each has its part is tested kernel by kernel."""
    tapes, run = [], Tape.run

    def record(self, *args, **options):
        tapes.append(self)
        run(self, *args, **options)

    monkeypatch.setattr(Tape, "run", record)
    X, y = large(n=4, T=20)
    LSTMRegressor(9, max_iter=1, num_layers=2, bidirectional=True, dropout=0.1, random_state=0).fit(X, y)
    training, *_ = tapes
    shared = {call.kernel._cache._key[0] for call in training.calls if call.shared}
    assert shared == {
        "gather", "forward", "copy_columns", "drop_out", "dense_forward", "loss", "dense_weight_gradients",
        "transpose", "backward", "weight_gradients", "input_gradient",
        "add_reversed", "squares", "update",
    }  # fmt: skip


@pytest.mark.parametrize("n_jobs", [3, 5, 64])
def test_more_threads_than_processors_or_sequences(n_jobs, seen, eight_threads):
    X, y = large(n=4)
    options = dict(hidden_size=128, max_iter=1, random_state=0)
    expected = digest(LSTMRegressor(n_jobs=1, **options).fit(X, y))
    assert seen == []
    assert digest(LSTMRegressor(n_jobs=n_jobs, **options).fit(X, y)) == expected
    assert CHECKED or max(seen) == min(n_jobs, 8)


def test_small_work_stays_on_one_thread(seen):
    X = np.random.default_rng(0).standard_normal((64, 10, 2))
    LSTMRegressor(8, max_iter=1, n_jobs=2, random_state=0).fit(X, X[:, 0, 0]).predict(X)
    assert seen == []


def test_limits_are_respected():
    processors = effective_threads(-1)
    assert effective_threads(1) == 1
    assert effective_threads(3) == 3
    assert processors >= 1
    with threadpool_limits(1):
        assert effective_threads(None) == 1
        assert effective_threads(2) == 2  # an explicit number counts
    own_limit = "OMP_NUM_THREADS" in os.environ  # then that counts, here and in worker processes
    if processors > 1 and not own_limit:
        assert effective_threads(None) > 1
    nested = joblib.Parallel(n_jobs=2, backend="threading")(
        joblib.delayed(effective_threads)(None) for _ in range(4)
    )
    assert nested == [1, 1, 1, 1]
    in_processes = joblib.Parallel(n_jobs=2, backend="loky")(
        joblib.delayed(effective_threads)(None) for _ in range(4)
    )
    assert own_limit or max(in_processes) <= max(1, processors // 2)


def test_a_limit_reaches_the_kernels(seen):
    X, y = large(n=8)
    LSTMRegressor(128, max_iter=1, random_state=0, n_jobs=2).fit(X, y)
    assert CHECKED or seen  # the work is large enough
    seen.clear()
    with threadpool_limits(1):
        LSTMRegressor(128, max_iter=1, random_state=0).fit(X, y)
    assert seen == []
    cross_val_score(LSTMRegressor(128, max_iter=1), X, y, cv=2, n_jobs=1, error_score="raise")
    with joblib.parallel_backend("threading", n_jobs=2):
        seen.clear()
        cross_val_score(LSTMRegressor(128, max_iter=1), X, y, cv=2, error_score="raise")
    assert seen == []


# Batches -----------------------------------------------------------------------------------------


@pytest.mark.sampled(3)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", CELLS, ids=name)
@pytest.mark.parametrize(
    "shape",
    [
        {"pooling": "last"},
        {"pooling": "mean"},
        {"pooling": "max", "num_layers": 2},
        {"return_sequences": True},
        {"pooling": "last", "bidirectional": True},
        {"pooling": "mean", "bidirectional": True, "num_layers": 2},
        {"return_sequences": True, "bidirectional": True},
    ],
    ids=name,
)
def test_ragged_predictions_are_those_one_by_one(dtype, options, shape):
    """To the bit: many sequences at once, also more than run together, and few long ones."""
    rng = np.random.default_rng(0)
    X = [rng.standard_normal((k, 3)).astype(dtype) for k in rng.integers(1, 12, 300)]
    # Long ones: those that run together are read in chunks, one alone is not.
    X += [rng.standard_normal((k, 3)).astype(dtype) for k in (150, 290, 129, 128, 127)]
    y = [x[:, :2] if shape.get("return_sequences") else x[-1, :2] for x in X]
    est = RNNRegressor(7, dtype=dtype, max_iter=1, random_state=0, **options, **shape).fit(X[:9], y[:9])
    size = 0.25 if "activation" in options else 0.8  # relu would grow without bounds
    est.set_weights({key: rng.normal(0, size, w.shape) for key, w in est.weights_.items()})
    together, hidden = est.predict(X), est.hidden_states(X)
    assert np.std(np.concatenate([np.ravel(part) for part in together])) > 0.01
    some = [*range(0, 300, 17), *range(300, 305)]
    for i in some:
        np.testing.assert_array_equal(est.predict([X[i]])[0], together[i])
        np.testing.assert_array_equal(est.hidden_states([X[i]])[0], hidden[i])
    few = est.predict([X[i] for i in some[::-1]])
    for i, part in zip(some[::-1], few, strict=True):
        np.testing.assert_array_equal(part, together[i])


@pytest.mark.parametrize("options", CELLS, ids=name)
def test_inputs_multiplied_before_their_steps(options, eight_threads):
    """Of panels that do not fit in the L1 cache: the same bits alone, together and by threads at different
    steps."""
    rng = np.random.default_rng(0)
    X = [rng.standard_normal((k, 600)).astype(np.float32) for k in rng.integers(1, 40, 50)]
    est = RNNRegressor(20, max_iter=1, random_state=0, return_sequences=True, **options)
    est.fit(X[:5], [x[:, :2] for x in X[:5]])
    size = 0.02 if "activation" in options else 0.1
    est.set_weights({key: rng.normal(0, size, w.shape) for key, w in est.weights_.items()})
    together = est.predict(X)
    assert np.std(np.concatenate([np.ravel(part) for part in together])) > 0.01
    for n_jobs in (2, 3, 8):
        for a, b in zip(est.set_params(n_jobs=n_jobs).predict(X), together, strict=True):
            np.testing.assert_array_equal(a, b)
    for x, part in zip(X, together, strict=True):
        np.testing.assert_array_equal(est.predict([x])[0], part)


@pytest.mark.parametrize("hidden_size", [1, 16, 33])
@pytest.mark.parametrize("n_outputs", [1, 40])
def test_any_number_of_rows_in_a_tile(hidden_size, n_outputs):
    """Heights of the register tile: 1 to 20 sequences at a time give the same bits."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 6, 5)).astype(np.float32)
    y = rng.standard_normal((20, n_outputs))
    est = GRURegressor(hidden_size, max_iter=1, random_state=0).fit(X, y)
    expected = est.predict(X)
    for m in range(1, 20):
        np.testing.assert_array_equal(est.predict(X[:m]), expected[:m])
        np.testing.assert_array_equal(est.predict(X[m:]), expected[m:])


# Together, in forks and in other processes -------------------------------------------------------


def test_four_threads_fitting_at_once():
    X, y = large(n=12, T=120)
    options = [
        {"hidden_size": 128, "n_jobs": 2},
        {"hidden_size": 32, "n_jobs": 2, "recurrent_dropout": 0.3},
        {"hidden_size": 128, "n_jobs": 2, "bidirectional": True},
        {"hidden_size": 16, "n_jobs": 1},
    ]
    ests = [LSTMRegressor(max_iter=3, random_state=k, **how) for k, how in enumerate(options)]
    expected = [digest(est.fit(X, y)) for est in ests]
    barrier, got, errors = threading.Barrier(4), [None] * 4, []

    def work(k):
        try:
            est = LSTMRegressor(max_iter=3, random_state=k, **options[k])
            barrier.wait()
            got[k] = digest(est.fit(X, y))
            np.testing.assert_array_equal(est.predict(X), ests[k].predict(X))
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert errors == []
    assert got == expected


def test_threads_predicting_with_one_estimator():
    X, y = large(n=12, T=60)
    est = LSTMRegressor(64, max_iter=1, random_state=0, n_jobs=2).fit(X, y)
    expected = est.predict(X)
    results = joblib.Parallel(n_jobs=4, backend="threading")(
        joblib.delayed(est.predict)(X) for _ in range(12)
    )
    for result in results:
        np.testing.assert_array_equal(result, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
# Python warns of a fork beside other threads; that it is safe here is what the test is about.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_predicts_and_fits(seen):
    X, y = large(n=12)
    est = LSTMRegressor(128, max_iter=1, random_state=0, n_jobs=2).fit(X, y)
    assert CHECKED or seen  # so that threads are there that the child will lack
    expected, fitted = est.predict(X), digest(est)
    child = os.fork()
    if child == 0:  # no assertion may escape into pytest's copy
        code = 1
        try:
            again = LSTMRegressor(128, max_iter=1, random_state=0, n_jobs=2).fit(X, y)
            if np.array_equal(est.predict(X), expected) and digest(again) == fitted:
                code = 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            assert os.waitstatus_to_exitcode(status) == 0
            break
        time.sleep(0.02)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    np.testing.assert_array_equal(est.predict(X), expected)  # and the parent's pool still works


PROGRAM = """
import hashlib
import numpy as np
from skrnn import LSTMClassifier

X = np.random.default_rng(0).standard_normal((40, 9, 3)).astype(np.float32)
est = LSTMClassifier(
    128, num_layers=2, bidirectional=True, dropout=0.2, recurrent_dropout=0.2, max_iter=2, random_state=3,
    early_stopping=True, n_jobs={n_jobs},
).fit(X, X[:, -1, 0] > 0)
bits = b"".join(w.tobytes() for w in est.weights_.values()) + np.array(est.loss_curve_).tobytes()
print(hashlib.sha256(bits).hexdigest())
"""


def test_the_same_seed_gives_the_same_bits_in_every_process(seen):
    there = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(n_jobs=1)], check=True, text=True, capture_output=True,
        env=os.environ | {"PYTHONHASHSEED": "1"},
        cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
    ).stdout.strip()  # fmt: skip
    X = np.random.default_rng(0).standard_normal((40, 9, 3)).astype(np.float32)
    est = LSTMClassifier(
        128, num_layers=2, bidirectional=True, dropout=0.2, recurrent_dropout=0.2, max_iter=2,
        random_state=3, early_stopping=True, n_jobs=2,
    )  # fmt: skip
    here = digest(est.fit(X, X[:, -1, 0] > 0))
    assert there == here
    assert CHECKED or seen  # the work is large enough for two threads
    assert digest(est.set_params(random_state=4).fit(X, X[:, -1, 0] > 0)) != here


def test_dropout_does_not_depend_on_the_order_of_batches():
    """A sequence's mask comes from seed, epoch and its number: in one batch, order is no matter."""
    X = np.random.default_rng(0).standard_normal((16, 6, 2))
    options = dict(
        hidden_size=6, recurrent_dropout=0.4, dropout=0.4, num_layers=2, batch_size=16, dtype="float64",
        max_iter=5, random_state=0,
    )  # fmt: skip
    one = GRURegressor(shuffle=False, **options).fit(X, X[:, 0, 0])
    two = GRURegressor(shuffle=True, **options).fit(X, X[:, 0, 0])
    for key, w in one.weights_.items():
        np.testing.assert_allclose(two.weights_[key], w, rtol=1e-8, atol=1e-10)
