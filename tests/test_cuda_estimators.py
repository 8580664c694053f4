"""Estimators on a GPU, or in Numba's simulator: what the CPU gives, from and in arrays of either kind.

NUMBA_ENABLE_CUDASIM=1 python -m pytest tests/test_cuda_estimators.py
"""

import os
import pickle
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pandas as pd
import pytest
from gpu import needs_gpu, simulated
from sklearn.base import is_regressor
from sklearn.callback import ScoringMonitor
from sklearn.model_selection import GridSearchCV

from skrnn import GRUClassifier, GRURegressor, LSTMClassifier, LSTMRegressor, RNNRegressor, backends
from skrnn.estimators import devices
from skrnn.estimators.devices import gpu_of, to_host
from skrnn.forecasting import GRUForecaster

pytestmark = needs_gpu

N, T, F = 6, 4, 2
X0 = np.random.default_rng(0).standard_normal((N, T, F))
Y0 = X0[:, -2, 0]
RAGGED = [x[: 1 + i % T] for i, x in enumerate(X0)]


def short(cls=GRURegressor, **options):
    return cls(**{"hidden_size": 3, "max_iter": 2, "batch_size": 4, "random_state": 0} | options)


def there(x):
    """An array, or a list of arrays, on the GPU."""
    if isinstance(x, list):
        return [there(item) for item in x]
    with backends.turn("cuda"):
        return backends.get("cuda").arrays.adopt(x)


def close(answer, expected, dtype="float64"):
    tolerance = 1e-10 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(answer, expected, rtol=tolerance, atol=tolerance)


FITS = {
    "plain": (GRURegressor, {}),
    "float32": (LSTMRegressor, {"dtype": "float32"}),
    "stacked": (
        LSTMRegressor,
        {"num_layers": 2, "bidirectional": True, "dropout": 0.3, "recurrent_dropout": 0.2},
    ),
    "pooled": (RNNRegressor, {"pooling": "max", "loss": "huber", "solver": "rmsprop"}),
    "early": (GRURegressor, {"early_stopping": True, "validation_fraction": 0.4, "max_iter": 3}),
    "truncated": (GRURegressor, {"tbptt_steps": 2, "reset_after": False}),
    "quantiles": (RNNRegressor, {"loss": "quantile", "linear_skip": True}),
    "classes": (GRUClassifier, {"pooling": "mean"}),
    "labels per step": (LSTMClassifier, {"return_sequences": True}),
}


@pytest.mark.parametrize("case", FITS)
def test_fit_and_predict_as_on_the_cpu(case):
    cls, options = FITS[case]
    options = {"dtype": "float64"} | options
    X = X0 if options.get("linear_skip") else RAGGED
    y = Y0 if is_regressor(cls()) else np.array(["b", "a", "c"])[np.arange(N) % 3]
    if options.get("return_sequences"):
        y = [np.arange(len(x)) % 2 for x in X]
    est = short(cls, device="cuda", **options).fit(X, y)
    on_cpu = short(cls, **options).fit(X, y)
    assert est.device_ == "cuda:0"
    for name, weights in on_cpu.weights_.items():
        close(est.weights_[name], weights, options["dtype"])
    close(est.loss_curve_, on_cpu.loss_curve_, options["dtype"])
    method = "predict" if is_regressor(cls()) else "predict_proba"
    for answer, expected in zip(getattr(est, method)(X), getattr(on_cpu, method)(X)):
        close(answer, expected, options["dtype"])
    assert est.score(X, y) == pytest.approx(on_cpu.score(X, y), rel=1e-4)
    np.testing.assert_array_equal(short(cls, device="cuda", **options).fit(X, y).weights_["head.weight"],
                                  est.weights_["head.weight"])  # fmt: skip


@pytest.mark.parametrize("go_on", ["warm_start", "partial_fit"])
def test_training_goes_on_on_the_other_device(go_on):
    """With the optimiser's state."""

    def train(first, then):
        est = short(dtype="float64", device=first, warm_start=True).fit(X0, Y0)
        est.set_params(device=then)
        est = est.fit(X0, Y0) if go_on == "warm_start" else est.partial_fit(X0, Y0)
        assert est.device_.startswith(then)
        return est.predict(X0)

    expected = train("cpu", "cpu")
    close(train("cuda", "cpu"), expected)
    close(train("cpu", "cuda"), expected)


@pytest.mark.parametrize("form", ["3-D", "2-D", "list", "other type"])
def test_X_on_the_gpu(form):
    X = {"3-D": X0, "2-D": X0.reshape(N, -1), "list": RAGGED, "other type": X0.astype(np.float32)}[form]
    per_step = form == "list"
    y = [x[:, :1] for x in RAGGED] if per_step else Y0
    est = short(dtype="float64", device="cuda", return_sequences=per_step)
    est.fit(there(X), there(y), there(np.ones(N)))
    on_host = short(dtype="float64", device="cuda", return_sequences=per_step).fit(X, y, np.ones(N))
    for method in ("predict", "hidden_states"):
        answer, expected = getattr(est, method)(there(X)), getattr(on_host, method)(X)
        assert gpu_of(answer) == "cuda:0"
        assert gpu_of(expected) is None
        for one, other in zip(to_host(answer), expected):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
    assert est.score(there(X), there(y)) == on_host.score(X, y)


def test_X_is_read_in_place():
    X = there(X0)
    est = short(dtype="float64", device="cuda")
    with backends.turn("cuda"):
        values = est._read_X(X, True, "cuda:0").sequences.values
        joined = est._read_X(there(RAGGED), True, "cuda:0").sequences.values
    assert gpu_of(joined) == "cuda:0"
    assert values.__cuda_array_interface__["data"] == X.__cuda_array_interface__["data"]


def test_static_columns_channels_and_packed_sequences_on_the_gpu():
    rows, static = X0.reshape(N, -1), X0[:, -1, :1]
    given = dict(features_per_step=F, newest_first=True, static_columns=[-1], device="cuda")
    est = short(**given).fit(there(np.c_[rows, static]), Y0)
    expected = short(**given | {"device": "cpu"}).fit(np.c_[rows, static], Y0)
    close(to_host(est.predict(there(np.c_[rows, static]))), expected.predict(np.c_[rows, static]), "float32")
    first, turned = short(channels_first=True, device="cuda"), X0.transpose(0, 2, 1)
    expected = short().fit(X0, Y0).predict(X0)
    close(to_host(first.fit(there(turned), Y0).predict(there(turned))), expected, "float32")
    close(to_host(first.predict([there(x) for x in turned])), expected, "float32")
    if not simulated():
        torch = pytest.importorskip("torch")
        packed = torch.nn.utils.rnn.pack_sequence([torch.tensor(x).cuda() for x in RAGGED], False)
        answer = short(device="cuda").fit(packed, Y0).predict(packed)
        close(to_host(answer), short().fit(RAGGED, Y0).predict(RAGGED), "float32")


def test_labels_and_probabilities_on_the_gpu():
    for labels in (np.array([5, 7]), np.array(["no", "yes"])):
        y = labels[(Y0 > 0).astype(int)]
        est = short(GRUClassifier, device="cuda").fit(there(X0), y)
        assert gpu_of(est.predict_proba(there(X0))) == "cuda:0"
        answer = est.predict(there(X0))
        assert (gpu_of(answer) is None) == (labels.dtype.kind == "U")
        np.testing.assert_array_equal(to_host(answer), est.predict(X0))


def test_bad_values_on_the_gpu_are_found():
    X = X0.copy()
    X[3, 2, 1] = np.nan
    with pytest.raises(ValueError, match="sequence 3 contains NaN at step 2"):
        short(device="cuda").fit(there(X), Y0)
    rows = X0.reshape(N, -1).copy()
    rows[2, 5] = 1e300
    with pytest.raises(ValueError, match="a value too large for float32: row 2, column 5"):
        short(device="cuda", features_per_step=2).fit(there(rows), Y0)


@pytest.mark.skipif(simulated(), reason="needs a GPU: PyTorch has no simulator")
def test_tensors():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs PyTorch with CUDA")
    X = torch.tensor(X0, device="cuda", dtype=torch.float32)
    est = short(device="cuda").fit(X, torch.tensor(Y0, device="cuda"))
    answer = est.predict(X)
    assert answer.device.type == "cuda"
    np.testing.assert_array_equal(answer.cpu(), est.predict(X.cpu().numpy()))
    assert est.hidden_states(X).device.type == "cuda"


def test_streams():
    est = short(LSTMRegressor, dtype="float64", device="cuda").fit(X0, Y0)
    stream, on_cpu = est.stream(N), est.set_params(device="cpu").stream(N)
    for t in range(3):
        close(stream.step(X0[:, t]), on_cpu.step(X0[:, t]))
    for one, other in zip(stream.state, on_cpu.state):
        close(one, other)
    stream.state = on_cpu.state
    with pytest.raises(ValueError, match="feature 0 of sequence 0"):
        stream.step(X0[:, 0] * np.nan)
    close(stream.step(X0[:, 3]), on_cpu.step(X0[:, 3]))
    stream.reset()
    on_cpu.reset()
    close(stream.step(X0[:, 0]), on_cpu.step(X0[:, 0]))


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_pieces_of_pooled_series(pooling):
    """On the GPU, on the CPU, and from one to the other; streams as well."""
    est = short(LSTMRegressor, dtype="float64", device="cuda", pooling=pooling).fit(X0, Y0)
    for first, second in (("cuda", "cuda"), ("cuda", "cpu"), ("cpu", "cuda")):
        _, state = est.set_params(device=first).predict_with_state(X0[:, :1])
        answer, end = est.set_params(device=second).predict_with_state(X0[:, 1:], state)
        stream = est.stream(N)
        stream.state = state
        for t in range(1, X0.shape[1]):
            streamed = stream.step(X0[:, t])
        whole, last = est.set_params(device="cpu").predict_with_state(X0)
        close(answer, whole)
        close(streamed, whole)
        for other in (end, stream.state, pickle.loads(pickle.dumps(stream)).state):
            for name in ("h", "c", "pooled"):
                close(getattr(other, name), getattr(last, name))


def test_pieces_of_long_series():
    est = short(LSTMRegressor, dtype="float64", device="cuda").fit(X0, Y0)
    whole, last = est.predict_with_state(there(X0))
    _, state = est.predict_with_state(there(X0[:, :1]))
    answer, again = est.predict_with_state(there(X0[:, 1:]), there(list(state)))
    close(to_host(answer), to_host(whole))
    for one, other in zip(again, last):
        assert type(one) is np.ndarray
        close(one, other)


def test_auto(monkeypatch):
    assert short(device="auto").fit(X0, Y0).device_ == "cpu"
    monkeypatch.setattr(devices, "ENOUGH_FLOPS", 0)
    assert short(device="auto").fit(X0, Y0).device_ == "cuda:0"


def test_gpus_are_counted():
    with pytest.raises(backends.Unavailable, match="no GPU number 77"):
        short(device="cuda:77").fit(X0, Y0)


def test_a_callback_predicts_during_a_fit():
    monitor = ScoringMonitor(scoring="r2")
    est = short(device="cuda", dtype="float64").set_callbacks(monitor).fit(X0, Y0)
    log = monitor.get_logs().data_as_pandas
    assert log[log["task_name"] == "epoch"]["r2"].iloc[-1] == pytest.approx(est.score(X0, Y0))


def test_threads_take_turns():
    ests = [short(device="cuda", random_state=seed) for seed in range(2)]
    threads = [threading.Thread(target=est.fit, args=(X0, Y0)) for est in ests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for est in ests:
        np.testing.assert_array_equal(est.predict(X0), short(device="cuda", random_state=est.random_state)
                                      .fit(X0, Y0).predict(X0))  # fmt: skip


def test_a_grid_search_in_processes():
    search = GridSearchCV(short(device="cuda"), {"hidden_size": [2, 3]}, cv=2, n_jobs=2, error_score="raise")
    search.fit(X0, Y0)
    alone = GridSearchCV(short(device="cuda"), {"hidden_size": [2, 3]}, cv=2).fit(X0, Y0)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    assert search.best_estimator_.device_ == "cuda:0"


def test_too_little_memory_says_how_much_is_needed(monkeypatch):
    if not simulated():
        pytest.skip("needs the simulator, whose memory has a limit")
    est = short(device="cuda").fit(X0, Y0)
    before = pickle.dumps(est.weights_)
    with monkeypatch.context() as patch:
        patch.setattr("skrnn.backends.cuda.simulator.Simulator.limit", 1000)
        for work in (lambda: est.fit(X0, Y0), lambda: est.partial_fit(X0, Y0), lambda: est.predict(X0)):
            with pytest.raises(MemoryError, match=r"MiB of GPU memory.*batch_size.*tbptt_steps"):
                work()
    assert pickle.dumps(est.weights_) == before
    est.predict(X0)


def test_a_forecaster():
    data = pd.Series(np.sin(np.arange(24.0)), pd.date_range("2026-01-01", periods=24), name="y")
    for lags in (3, None):
        options = {"h": 2, "lags": lags, "hidden_size": 2, "max_steps": 2, "random_state": 0}
        options |= {"strategy": "recursive"} if lags is None else {}
        there, here = (
            GRUForecaster(**options, device=device).fit(data).predict() for device in ("cuda", "cpu")
        )
        pd.testing.assert_series_equal(there, here, rtol=1e-4)


def test_a_pickle_on_a_machine_without_a_gpu(tmp_path):
    est = short(device="cuda", dtype="float64").fit(X0, Y0)
    (tmp_path / "model").write_bytes(pickle.dumps((est, X0, Y0, est.predict(X0))))
    code = """
        import pickle, sys, warnings
        import numpy as np
        est, X, y, expected = pickle.load(open(sys.argv[1], "rb"))
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            np.testing.assert_allclose(est.predict(X), expected, rtol=1e-10)
        assert [str(w.message)[:22] for w in seen] == ["predicting on the CPU:"], seen
        try:
            est.fit(X, y)
        except RuntimeError as error:
            print(type(error).__name__)
    """
    env = os.environ | {"NUMBA_ENABLE_CUDASIM": "0", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path / "model"],
        env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout.strip(), done.stderr) == ("Unavailable", "")
