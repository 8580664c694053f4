"""`device=`: where estimators compute, what they do without a GPU, and arrays that lie on one.

A stand-in takes the GPU's place; `test_cuda_estimators.py` has the kernels.
"""

import pickle
import re
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.callback import ScoringMonitor
from sklearn.pipeline import make_pipeline
from stand_in import TURNS, GpuArray, Tensor, install, remove

from skrnn import GRUClassifier, GRURegressor, LSTMRegressor, RNNClassifier, RNNRegressor, backends
from skrnn.estimators import devices
from skrnn.estimators.devices import device_for, device_to_read, gpu_of, in_turn, to_host
from skrnn.forecasting import LSTMForecaster
from skrnn.sequences import object_array

N, T, F = 8, 4, 2
X0 = np.random.default_rng(0).standard_normal((N, T, F)).astype(np.float32)
Y0 = X0[:, -2, 0].astype(float)
RAGGED = [x[: 1 + i % T] for i, x in enumerate(X0)]


@pytest.fixture
def gpu(monkeypatch):
    install(monkeypatch)


def short(cls=GRURegressor, **options):
    return cls(**{"hidden_size": 3, "max_iter": 2, "random_state": 0} | options)


def on_gpu(X, kind=GpuArray):
    """X, or the arrays of a list, on the stand-in."""
    return [kind(x) for x in X] if isinstance(X, list) else kind(X)


def picture(est):
    return pickle.dumps({k: v for k, v in est.__getstate__().items() if k not in est.get_params()})


def same(answer, expected):
    """The same numbers, on the GPU where `expected` is on the host."""
    if isinstance(expected, np.ndarray) and expected.dtype == object:
        assert isinstance(answer, np.ndarray)
        assert len(answer) == len(expected)
        for one, other in zip(answer, expected):
            same(one, other)
        return
    assert isinstance(answer, GpuArray), type(answer)
    assert answer.dtype == expected.dtype
    np.testing.assert_array_equal(answer.host, expected)


# Where a fit computes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "expected"), [("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:0", "cuda:0"), ("cuda:1", "cuda:1")]
)
def test_the_device_asked_for(gpu, device, expected):
    est = short(device=device, early_stopping=True, validation_fraction=0.3).fit(X0, Y0)
    assert est.device_ == expected
    answer = est.predict(X0)
    assert set(TURNS) == {expected} - {"cpu"}
    on_cpu = short(early_stopping=True, validation_fraction=0.3).fit(X0, Y0)
    np.testing.assert_array_equal(answer, on_cpu.predict(X0))


def test_partial_fit_says_where_it_computed(gpu):
    est = short(device="cuda").partial_fit(X0, Y0)
    assert (est.device_, set(TURNS)) == ("cuda:0", {"cuda:0"})
    est.set_params(device="cpu").partial_fit(X0, Y0)
    assert est.device_ == "cpu"


def test_auto_takes_a_gpu_for_large_work(gpu, monkeypatch):
    est = short(device="auto").fit(X0, Y0)
    assert (est.device_, TURNS) == ("cpu", [])
    rows = N * T  # all sequences are one minibatch
    flops = est._predictor("cpu").network.flops(rows, training=True)
    monkeypatch.setattr(devices, "ENOUGH_FLOPS", flops)
    assert short(device="auto").fit(X0, Y0).device_ == "cuda:0"
    assert short(device="auto", tbptt_steps=T - 1).fit(X0, Y0).device_ == "cpu"
    assert short(device="auto", batch_size=N - 1).fit(X0, Y0).device_ == "cpu"
    assert short(device="auto").fit([*X0[1:], X0[0, 1:]], Y0).device_ == "cpu"
    monkeypatch.setattr(devices, "ENOUGH_FLOPS", 0)
    est = short(device="auto").fit(X0, Y0)
    TURNS.clear()
    est.predict(X0)
    assert TURNS == ["cuda:0"]  # where it was fitted
    remove(monkeypatch)
    assert short(device="auto").fit(X0, Y0).device_ == "cpu"


def test_what_is_large_work(gpu, monkeypatch):
    assert device_for(devices.ENOUGH_FLOPS) == "cuda:0"
    assert device_for(devices.ENOUGH_FLOPS * 0.99) == "cpu"
    remove(monkeypatch)
    assert device_for(devices.ENOUGH_FLOPS) == "cpu"


def test_auto_takes_the_gpu_where_X_is(gpu):
    est = short(device="auto").fit(GpuArray(X0, 1), Y0)
    assert (est.device_, set(TURNS)) == ("cuda:1", {"cuda:1"})
    assert short(device="auto").fit(X0, Y0, X_val=GpuArray(X0), y_val=Y0).device_ == "cuda:0"
    est = short(device="auto").fit(X0, Y0)
    assert est.device_ == "cpu"
    same(est.predict(GpuArray(X0)), est.predict(X0))


def test_bfloat16_is_for_the_cpu(gpu, monkeypatch):
    est = short(device="cuda", dtype="bfloat16")
    for method in (est.fit, est.partial_fit):
        with pytest.raises(ValueError, match='dtype="bfloat16" is for the CPU'):
            method(X0, Y0)
    assert not hasattr(est, "device_")
    monkeypatch.setattr(devices, "ENOUGH_FLOPS", 0)
    assert device_to_read("auto", "bfloat16", X0) == "cpu"
    est = short(device="auto", dtype="bfloat16")
    with pytest.raises(ValueError, match='dtype="bfloat16" is for the CPU'):
        est.fit(GpuArray(X0), Y0)


def test_turns_are_with_tf32_where_it_is_allowed(gpu):
    est = short(device="cuda", allow_tf32=True).fit(X0, Y0).partial_fit(X0, Y0)
    est.stream(N).step(est.predict_with_state(X0[:, 1:])[0][:, None] + X0[:, 0])
    assert set(TURNS) == {"cuda:0 with TF32"}
    TURNS.clear()
    est.set_params(allow_tf32=False).predict(X0)
    assert TURNS == ["cuda:0"]


def test_forecasters_pass_the_device_on(gpu):
    data = pd.Series(np.sin(np.arange(40.0)), pd.date_range("2026-01-01", periods=40), name="y")
    forecasts = {}
    for device in ("cpu", "cuda:1"):
        model = LSTMForecaster(h=2, lags=4, hidden_size=3, max_steps=4, random_state=0, device=device)
        forecasts[device] = model.fit(data).predict()
        assert model.regressor_.device_ == device
    pd.testing.assert_series_equal(forecasts["cpu"], forecasts["cuda:1"])


def test_a_callback_predicts_where_the_fit_computes(gpu, monkeypatch):
    monkeypatch.setattr(devices, "ENOUGH_FLOPS", 0)
    monitor = ScoringMonitor(scoring="r2")
    est = short(device="auto").set_callbacks(monitor).fit(X0, Y0)
    assert set(TURNS) == {"cuda:0"}
    scores = monitor.get_logs().data_as_pandas["r2"]
    assert scores.iloc[-1] == est.score(X0, Y0)


# Where predictions are made ----------------------------------------------------------------------


def test_predictions_follow_the_parameter(gpu):
    est = short().fit(X0, Y0)
    est.set_params(device="cuda:1").predict(X0)
    assert TURNS == ["cuda:1"]
    assert est.device_ == "cpu"  # of the fit
    est.fit(X0, Y0).set_params(device="cpu")
    TURNS.clear()
    est.predict(X0)
    assert TURNS == []
    est.set_params(device="auto").predict(X0)
    assert TURNS == ["cuda:1"]


ASKED = {
    "predict": lambda est: est.predict(X0),
    "score": lambda est: est.score(X0, Y0),
    "hidden_states": lambda est: est.hidden_states(X0),
    "predict_with_state": lambda est: est.predict_with_state(X0)[0],
    "stream": lambda est: est.stream(N).step(X0[:, 0]),
}


@pytest.mark.parametrize("method", ASKED)
def test_a_model_of_a_gpu_predicts_without_one(gpu, monkeypatch, method):
    est = short(device="cuda", dtype="float32").fit(X0, Y0)
    expected = ASKED[method](est)
    loaded = pickle.loads(pickle.dumps(est))
    remove(monkeypatch)
    with pytest.warns(RuntimeWarning, match="predicting on the CPU: no working GPU") as seen:
        answer = ASKED[method](loaded)
    assert len(seen) == 1
    np.testing.assert_array_equal(answer, expected)
    before = picture(loaded)
    for fit in (loaded.fit, loaded.partial_fit):
        with pytest.raises(backends.Unavailable, match="no working GPU"):
            fit(X0, Y0)
    assert picture(loaded) == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(ASKED[method](loaded.set_params(device="cpu")), expected)


def test_a_model_of_the_cpu_predicts_on_a_gpu(gpu):
    est = pickle.loads(pickle.dumps(short().fit(X0, Y0))).set_params(device="cuda")
    np.testing.assert_array_equal(est.predict(X0), est.set_params(device="cpu").predict(X0))
    assert TURNS == ["cuda:0"]


def test_weights_are_set_without_a_gpu(gpu, monkeypatch):
    est, other = short(device="cuda").fit(X0, Y0), short(random_state=1).fit(X0, Y0)
    remove(monkeypatch)
    est.set_weights({name: Tensor(w) for name, w in other.weights_.items()})
    np.testing.assert_array_equal(est.set_params(device="cpu").predict(X0), other.predict(X0))


def test_every_step_of_a_stream_is_a_turn(gpu):
    est = short(LSTMRegressor, device="cuda").fit(X0, Y0)
    stream, on_cpu = est.stream(N), est.set_params(device="cpu").stream(N)
    TURNS.clear()
    for t in range(T):
        np.testing.assert_array_equal(stream.step(X0[:, t]), on_cpu.step(X0[:, t]))
    h, c = stream.state
    stream.reset()
    stream.state = GpuArray(h), GpuArray(c)
    assert TURNS == ["cuda:0"] * (T + 3)
    np.testing.assert_array_equal(stream.step(X0[:, 0]), on_cpu.step(X0[:, 0]))


def test_the_cpu_needs_no_turn():
    assert in_turn("cpu", False, len) is len


def test_too_little_memory_leaves_the_estimator_as_it_was(gpu, monkeypatch):
    est = short(device="cuda").fit(X0, Y0)
    before, expected = picture(est), est.predict(X0)

    def fail(*args):
        raise MemoryError("this needs 9 MiB of GPU memory: try a smaller batch_size, or tbptt_steps")

    with monkeypatch.context() as patch:
        patch.setattr("skrnn.training.Trainer._record", fail)
        for fit in (est.fit, est.partial_fit, short(device="cuda").fit):
            with pytest.raises(MemoryError, match="batch_size"):
                fit(X0, Y0)
    assert picture(est) == before
    np.testing.assert_array_equal(est.predict(X0), expected)


def test_gpus_are_counted(gpu):
    est = short(device="cuda:7")
    with pytest.raises(backends.Unavailable, match="no GPU number 7"):
        est.fit(X0, Y0)
    assert not hasattr(est, "weights_")


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:-1", "cpu:0", None, 0])
def test_unknown_devices_in_predictions(device):
    est = short().fit(X0, Y0).set_params(device=device)
    with pytest.raises(ValueError, match=re.escape(f"device={device!r} is none of 'cpu', 'cuda'")):
        est.predict(X0)


def test_warnings_point_at_the_caller(gpu, monkeypatch):
    """And not at a line of this package or of scikit-learn, however many of theirs lie between."""
    est = short(device="cuda").fit(X0, Y0)
    remove(monkeypatch)
    for ask in (
        lambda: est.predict(X0),
        lambda: est.score(X0, Y0),
        lambda: est.hidden_states(X0),
        lambda: est.predict_with_state(X0),
        lambda: est.stream(),
        lambda: make_pipeline(est).predict(X0),
    ):
        with pytest.warns(RuntimeWarning, match="predicting on the CPU") as seen:
            ask()
        assert {w.filename for w in seen} == {__file__}


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "skrnn.backends.cuda", None)  # as where Numba has no CUDA part
    monkeypatch.delattr(backends, "cuda", raising=False)
    with pytest.raises(backends.Unavailable, match=r"pip install 'skrnn\[cuda\]'"):
        short(device="cuda").fit(X0, Y0)
    monkeypatch.setattr(devices, "ENOUGH_FLOPS", 0)
    assert short(device="auto").fit(X0, Y0).device_ == "cpu"


# Arrays on a GPU ---------------------------------------------------------------------------------


def test_where_arrays_lie():
    assert gpu_of(X0) is None
    assert gpu_of(pd.DataFrame(X0[0])) is None
    assert gpu_of(X0.tolist()) is None
    assert gpu_of([]) is None
    assert gpu_of(None) is None
    assert gpu_of(GpuArray(X0)) == "cuda:0"
    assert gpu_of(Tensor(X0, 3)) == "cuda:3"
    assert gpu_of([GpuArray(x, 1) for x in X0]) == "cuda:1"
    assert gpu_of(object_array([GpuArray(x) for x in RAGGED])) == "cuda:0"
    with pytest.raises(ValueError, match="different devices: cpu, cuda:0"):
        gpu_of([GpuArray(X0[0]), X0[1]])
    torch = pytest.importorskip("torch")
    assert gpu_of(torch.ones(2, requires_grad=True)) is None


def test_to_the_host():
    frame = pd.DataFrame(X0[0])
    assert to_host(frame) is frame
    for kind in (GpuArray, Tensor):
        np.testing.assert_array_equal(to_host(kind(X0)), X0)
        for one, other in zip(to_host([kind(x) for x in RAGGED]), RAGGED):
            np.testing.assert_array_equal(one, other)


FORMS = {
    "3-D": (X0, {}),
    "3-D, transposed": (X0.transpose(1, 0, 2)[:, :, ::-1], {}),
    "3-D, float64": (X0.astype(float), {}),
    "3-D, float16": (X0.astype(np.float16), {}),
    "3-D, int": (np.round(4 * X0).astype(int), {}),
    "list": (RAGGED, {}),
    "list, two types": ([*RAGGED[:-1], RAGGED[-1].astype(float)], {}),
    "list, transposed": ([np.asfortranarray(x) for x in RAGGED], {}),
    "list of one": (RAGGED[-1:] * 1, {}),
    "2-D": (X0.reshape(N, T * F), {"features_per_step": F}),
    "2-D, newest first": (X0.reshape(N, T * F), {"features_per_step": F, "newest_first": True}),
    "list of 1-D": (list(X0.reshape(N, T * F)), {}),
    "float64 network": (X0, {"dtype": "float64"}),
}


@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_X_on_the_gpu(gpu, form, per_step):
    X, options = FORMS[form]
    n = len(X)
    y = Y0[:n]
    if per_step and isinstance(X, list) and X[0].ndim == 2:
        y = [np.arange(len(x)) / T for x in X]
    elif per_step:
        steps = T * F if isinstance(X, list) else X.shape[1] if X.ndim == 3 else T
        y = np.arange(n * steps).reshape(n, steps) / n
    options = options | {"return_sequences": per_step, "device": "cuda"}
    est, other = short(**options), short(**options)
    there = on_gpu(X)
    expected = other.fit(X, y).predict(X)
    same(est.fit(there, y).predict(there), expected)
    same(est.hidden_states(there), other.hidden_states(X))
    answer, state = est.predict_with_state(there)
    same(answer, expected)
    np.testing.assert_array_equal(state, other.predict_with_state(X)[1])
    if n > 1:
        assert est.score(there, y) == other.score(X, y)


def test_float32_is_read_in_place(gpu):
    est = short(device="cuda")
    there = GpuArray(X0)
    with backends.turn("cuda"):
        assert np.shares_memory(est._read_X(there, True, "cuda:0").sequences.values.host, X0)
        moved = est._read_X([there[0]], True, "cuda:0").sequences.values
    assert np.shares_memory(moved.host, X0)


def test_tensors_are_answered_with_tensors(gpu):
    est = short(GRUClassifier, device="cuda", pooling="attention").fit(Tensor(X0), Y0 > 0)
    for method in ("predict_proba", "decision_function", "hidden_states", "attention_weights", "predict"):
        answer = getattr(est, method)(Tensor(X0))
        assert isinstance(answer, Tensor)
        np.testing.assert_array_equal(answer.host, getattr(est, method)(X0))


def test_a_list_of_tensors_is_answered_with_tensors(gpu):
    X = [Tensor(x) for x in RAGGED]
    est = short(device="cuda", return_sequences=True).fit(X, [x[:, 0] for x in RAGGED])
    answers, expected = est.predict(X), est.predict(RAGGED)
    for answer, other in zip(answers, expected):
        assert isinstance(answer, Tensor)
        np.testing.assert_array_equal(answer.host, other)


@pytest.mark.parametrize("labels", [np.array([3, 7]), np.array([False, True]), np.array(["no", "yes"])])
def test_labels(gpu, labels):
    y = labels[(Y0 > 0).astype(int)]
    est = short(RNNClassifier, device="cuda").fit(GpuArray(X0), y if y.dtype.kind == "U" else GpuArray(y))
    answer, expected = est.predict(GpuArray(X0)), est.predict(X0)
    if y.dtype.kind == "U":
        np.testing.assert_array_equal(answer, expected)
    else:
        same(answer, expected)
    same(est.predict_proba(GpuArray(X0)), est.predict_proba(X0))


def test_quantiles(gpu):
    est = short(RNNRegressor, device="cuda", loss="quantile").fit(GpuArray(X0), GpuArray(Y0))
    same(est.predict_quantiles(GpuArray(X0)), est.predict_quantiles(X0))


def test_targets_and_weights_on_the_gpu(gpu):
    w = np.arange(N) % 3 * 1.0
    expected = short(device="cuda").fit(X0, Y0, w, X_val=X0[:3], y_val=Y0[:3])
    on = [GpuArray(part) for part in (X0, Y0, w, X0[:3], Y0[:3])]
    est = short(device="cuda").fit(*on[:3], X_val=on[3], y_val=on[4])
    np.testing.assert_array_equal(est.predict(X0), expected.predict(X0))
    assert est.validation_scores_ == expected.validation_scores_
    assert est.score(*on[:3]) == expected.score(X0, Y0, w)
    other = short(RNNClassifier, device="cuda")
    other.partial_fit(on[0], GpuArray(Y0 > 0), classes=GpuArray(np.array([False, True])))
    same(other.predict(on[0]), other.predict(X0))
    early = {"device": "cuda", "early_stopping": True, "validation_fraction": 0.3}
    np.testing.assert_array_equal(
        short(**early).fit(on[0], on[1]).predict(X0), short(**early).fit(X0, Y0).predict(X0)
    )


def changed(X, index, value):
    X = X.astype(float)
    X[index] = value
    return X


ROWS = X0.reshape(N, T * F)
BAD_X = {
    "nan": changed(X0, (3, 2, 1), np.nan),
    "inf": changed(X0, (3, 2, 1), -np.inf),
    "too large": changed(X0, (5, 1, 0), 1e300),
    "nan in a list": [*RAGGED[:6], changed(RAGGED[6], (1, 1), np.nan)],
    "no steps": [*RAGGED[:7], np.empty((0, 2))],
    "no steps 3-D": np.empty((8, 0, 2)),
    "none 3-D": X0[:0],
    "features": [*RAGGED[:7], np.zeros((4, 3))],
    "no features": np.empty((8, 4, 0)),
    "1-D among 2-D": [*RAGGED[:7], np.zeros(4)],
    "unequal 1-D": [np.zeros(n) for n in range(2, 10)],
    "complex": X0 + 1j,
    "complex in a list": [*RAGGED[:7], RAGGED[7] * 1j],
    "complex rows": ROWS + 1j,
    "4-D": X0[..., None],
    "nan in a row": changed(ROWS, (2, 5), np.nan),
    "too large in a row": changed(ROWS, (2, 5), 1e300),
    "columns": ROWS[:, :7],
    "no rows": ROWS[:0],
    "other features": np.zeros((N, T, F + 1)),
    "other columns": np.zeros((N, T * F + 2)),
}


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("case", BAD_X)
def test_bad_X_has_the_messages_of_the_host(gpu, case, newest_first):
    X = BAD_X[case]
    rows = isinstance(X, np.ndarray) and X.ndim == 2
    est = short(device="cuda", features_per_step=F, newest_first=newest_first).fit(ROWS if rows else X0, Y0)
    before = picture(est)
    for method in ("predict", "fit"):
        if method == "fit" and case.startswith("other"):
            continue
        args = (Y0[: len(X)],) if method == "fit" else ()
        messages = []
        for place in (X, on_gpu(X)):
            try:
                getattr(est, method)(place, *args)
            except ValueError as error:
                messages.append(str(error).partition("\n")[0])  # scikit-learn prints the array after it
        assert len(messages) == 2
        assert messages[1] == messages[0] + (": X has dtype complex64" if case == "complex rows" else "")
        assert picture(est) == before


def test_the_cpu_cannot_read_a_gpu(gpu):
    est = short().fit(X0, Y0)
    for X in (GpuArray(X0), Tensor(X0), [GpuArray(x) for x in RAGGED]):
        for method, args in (("fit", (Y0,)), ("predict", ()), ("partial_fit", (Y0,))):
            with pytest.raises(ValueError, match=r'device="cuda".*X\.get\(\).*X\.cpu\(\)'):
                getattr(est, method)(X, *args)
    with pytest.raises(ValueError, match="X_val: X lies on a GPU"):
        est.fit(X0, Y0, X_val=GpuArray(X0), y_val=Y0)


def test_X_on_a_gpu_that_cannot_be_used(monkeypatch):
    """No fallback: the CPU cannot read it."""
    remove(monkeypatch)
    est = short().fit(X0, Y0).set_params(device="cuda")
    with pytest.raises(backends.Unavailable, match="no working GPU"):
        est.predict(GpuArray(X0))


def test_a_clone_keeps_the_device():
    assert clone(short(device="cuda:1", allow_tf32=True)).get_params()["device"] == "cuda:1"
