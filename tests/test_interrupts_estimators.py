"""Ctrl-C in a call of an estimator: what it was or what it has become, and nothing in between."""

import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from interrupting import at_event, press
from replays import wait_for
from sklearn.callback import CallbackSupportMixin
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import skrnn
from skrnn import GRUClassifier, LSTMRegressor, SequenceTransformer
from skrnn.backends.cpu.tape import Tape
from skrnn.forecasting import LSTMForecaster
from skrnn.training import Trainer

PACKAGE = Path(skrnn.__file__).parent


# --- estimators ---------------------------------------------------------------------------------------
X = np.random.default_rng(0).standard_normal((20, 6, 2)).astype(np.float32)
y = X[:, -1, 0]
FRAME = pd.DataFrame(
    np.random.default_rng(0).standard_normal((60, 2)), pd.date_range("2010", periods=60), ["a", "b"]
)


def regressor(**options):
    return LSTMRegressor(8, max_iter=3, random_state=0, n_jobs=2, **options)


def forecaster(**options):
    return LSTMForecaster(h=2, lags=6, max_steps=3, hidden_size=8, random_state=0, n_jobs=2, **options)


class Fit:
    """Before the first update what it was, then with the weights so far, or done."""

    def __init__(self):
        self.est = regressor(early_stopping=True).fit(X[:, :, :1], y)
        self.before, self.answer = vars(self.est).copy(), self.est.predict(X[:, :, :1])

    def __call__(self):
        self.est.fit(X, y)

    def check(self):
        est = self.est
        if est.n_features_in_ == 1:
            assert est.weights_ is self.before["weights_"]
            assert est._moments is self.before["_moments"]
            np.testing.assert_array_equal(est.predict(X[:, :, :1]), self.answer)
        else:
            assert est.n_iter_ == len(est.loss_curve_) == len(est.validation_scores_ or [])
            assert np.isfinite(est.predict(X)).all()
        np.testing.assert_array_equal(
            est.fit(X, y).predict(X), regressor(early_stopping=True).fit(X, y).predict(X)
        )


class PartialFit:
    """Done, or not."""

    def __init__(self):
        self.est = regressor().fit(X, y)

    def __call__(self):
        self.est.partial_fit(X, y)

    def check(self):
        est, other = self.est, regressor().fit(X, y)
        if est.n_iter_ == 4:
            other.partial_fit(X, y)
        for _ in range(2):
            np.testing.assert_array_equal(est.predict(X), other.predict(X))
            est.partial_fit(X, y)
            other.partial_fit(X, y)


class Predict:
    def __init__(self):
        self.est = GRUClassifier(8, max_iter=2, random_state=0).fit(X, y > 0)
        self.answer = self.est.predict_proba(X)

    def __call__(self):
        self.est.predict_proba(X)

    def check(self):
        np.testing.assert_array_equal(self.est.predict_proba(X), self.answer)


class SetWeights:
    """Never new weights with the optimiser's state of the old ones."""

    def __init__(self):
        self.est = regressor().fit(X, y)
        self.weights, self.moments = self.est.weights_, self.est._moments

    def __call__(self):
        self.est.set_weights({name: 2 * w for name, w in self.weights.items()})

    def check(self):
        is_old = self.est.weights_ is self.weights
        assert self.est._moments is (self.moments if is_old else None)


class Stream:
    """A step is made or not; states of one step never lie beside those of another."""

    def __init__(self):
        self.est = LSTMRegressor(8, num_layers=2, max_iter=2, random_state=0).fit(X, y)
        self.stream, other = self.est.stream(), self.est.stream()
        self.stream.step(X[0, 0])
        self.states = [self.stream.state]
        for t in (0, 1):
            other.step(X[0, t])
        self.states += [other.state, np.zeros_like(other.state)]

    def __call__(self):
        self.stream.step(X[0, 1])
        self.stream.state = self.states[0]
        self.stream.reset()

    def check(self):
        assert any(np.array_equal(self.stream.state, state) for state in self.states)
        self.stream.reset()
        answers = [self.stream.step(x) for x in X[0]]
        assert answers[-1] == self.est.predict(X[:1])[0]


class Transform:
    def __init__(self):
        self.est = SequenceTransformer(StandardScaler()).fit(X[:, :, :1])

    def __call__(self):
        self.est.fit(X)

    def check(self):
        n = self.est.n_features_in_
        assert self.est.transform(X[:, :, :n]).shape == (20, 6, n)


class Forecast:
    def __init__(self):
        self.est = forecaster().fit(FRAME[:50])
        self.old = self.est.predict()

    def __call__(self):
        self.est.fit(FRAME)

    def check(self):
        got = self.est.predict()
        pd.testing.assert_frame_equal(
            got, self.old if got.index[0] == self.old.index[0] else forecaster().fit(FRAME).predict()
        )


class Update(Forecast):
    """The network is trained further and the rows are known, or neither."""

    def __call__(self):
        self.est.update(FRAME[50:], max_steps=4)

    def check(self):
        got, params = self.est.predict(), forecaster().fit(FRAME[:50]).regressor_.get_params()
        done = forecaster().fit(FRAME[:50]).update(FRAME[50:], max_steps=4).predict()
        pd.testing.assert_frame_equal(got, self.old if got.index[0] == self.old.index[0] else done)
        assert self.est.regressor_.get_params() == params


class Backtest:
    def __init__(self):
        self.est = forecaster()

    def __call__(self):
        self.got = self.est.cross_validation(FRAME, n_windows=2)

    def check(self):
        before = forecaster().cross_validation(FRAME, n_windows=2)
        self()
        pd.testing.assert_frame_equal(self.got, before)


# What Python itself swallows, in ends of objects of other packages, it says.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("twice", [0, 7], ids=["once", "twice"])
@pytest.mark.parametrize(
    "case", [Fit, PartialFit, Predict, SetWeights, Stream, Transform, Forecast, Update, Backtest]
)
def test_wherever_it_falls(case, twice):
    """Into one of ten places, all over the call; also where warnings are errors, as in this suite.

    Other packages may swallow it: NumPy clears errors of some look-ups, Python those of weak references.
    """
    case()()
    _, n, _ = at_event(0, case())
    rng = random.Random(twice)
    for k in range(10):
        number, work = rng.randrange(n * k // 10, n * (k + 1) // 10) + 1, case()
        error, _, file = at_event(number, work, twice=twice)
        if error is None:
            assert file is None or not Path(file).is_relative_to(PACKAGE), number
        else:
            assert isinstance(error, KeyboardInterrupt), number
        work.check()


def test_where_scikit_learn_prepares_callbacks(monkeypatch):
    """Between two attributes of which its own end looks for both."""
    prepare = CallbackSupportMixin._init_callback_context

    def landing(self, **options):
        self._callback_fit_ctx = None
        signal.raise_signal(signal.SIGINT)
        return prepare(self, **options)

    monkeypatch.setattr(CallbackSupportMixin, "_init_callback_context", landing)
    with pytest.raises(KeyboardInterrupt):
        LSTMRegressor(4, max_iter=1).fit(np.ones((4, 3, 1)), np.arange(4.0))


def test_a_second_one_does_not_lose_what_was_learnt(monkeypatch):
    """While the first one is handled."""
    est, pressed_again = pressed(), []
    est.early_stopping, check = True, Trainer.check

    def press_again(self):
        if not pressed_again:
            pressed_again.append(press())
        check(self)

    monkeypatch.setattr(Trainer, "check", press_again)
    with pytest.raises(KeyboardInterrupt), pytest.warns(RuntimeWarning, match="after 2 epochs"):
        est.fit(X, y)
    assert pressed_again
    assert est.n_iter_ == 2
    assert np.isfinite(est.predict(X)).all()


def test_before_the_first_update_there_is_nothing_to_keep(monkeypatch):
    est = regressor().fit(X, y)
    expected, tape_run = est.predict(X), Tape.run

    def press_first(self, *args, **options):
        press()
        tape_run(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Tape, "run", press_first)
        with pytest.raises(KeyboardInterrupt):  # and no warning, which would be an error
            est.fit(X[:, :, :1], y)
    np.testing.assert_array_equal(est.predict(X), expected)


# --- the warning --------------------------------------------------------------------------------------
class PressAt:
    """A callback that presses Ctrl-C after the second epoch."""

    def setup(self, estimator, context):
        self.epochs = 0

    def teardown(self, estimator, context):
        pass

    on_fit_task_begin = teardown

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch":
            self.epochs += 1
            if self.epochs == 2:
                press()


def pressed():
    return regressor().set_callbacks(PressAt())


CALLS = {
    "fit": lambda: pressed().fit(X, y),
    "pipeline": lambda: make_pipeline(FunctionTransformer(), pressed()).fit(X, y),
    "search": lambda: GridSearchCV(pressed(), {"alpha": [0, 1]}, cv=2).fit(X, y),
    "forecaster": lambda: LSTMForecaster(h=2, lags=6, regressor=pressed()).fit(FRAME),
    "backtest": lambda: LSTMForecaster(h=2, lags=6, regressor=pressed(), n_jobs=1).cross_validation(FRAME, 1),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_warning_points_at_the_callers_line(name):
    call = CALLS[name]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(KeyboardInterrupt):
            call()
    (warning,) = [w for w in caught if "interrupted" in str(w.message)]
    assert Path(warning.filename) == Path(__file__)
    assert warning.lineno == call.__code__.co_firstlineno
    assert "LSTMRegressor keeps" in str(warning.message)


# --- other threads and processes ----------------------------------------------------------------------
def test_backtests_in_threads_end_too():
    """Nobody waits for them: they do not train on in the background, and say nothing."""
    training, frames_of = threading.Event(), sys._current_frames

    class Tell(PressAt):
        def on_fit_task_end(self, estimator, context):
            training.set()

    def press_in_time():
        training.wait()
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press_in_time, daemon=True).start()
    endless = LSTMRegressor(8, max_iter=10**7, n_iter_no_change=10**7, tol=0).set_callbacks(Tell())
    with pytest.raises(KeyboardInterrupt):
        LSTMForecaster(h=2, lags=6, regressor=endless, n_jobs=2).cross_validation(FRAME, n_windows=4)

    def at_work():
        for thread, frame in frames_of().items():
            while frame is not None and thread != threading.get_ident():
                if frame.f_code.co_name == "cross_validation" or "training.py" in frame.f_code.co_filename:
                    return True
                frame = frame.f_back
        return False

    wait_for(lambda: not at_work(), seconds=600)


STRESS = """
import faulthandler, os, random, signal, sys, threading, time, warnings
import numpy as np, pandas as pd
from sklearn.callback import CallbackSupportMixin
from sklearn.model_selection import GridSearchCV
from skrnn import GRURegressor, LSTMRegressor
from skrnn.forecasting import LSTMForecaster

faulthandler.dump_traceback_later(600, exit=True)
signal.signal(signal.SIGINT, signal.default_int_handler)
warnings.simplefilter("ignore")
rng, draw = np.random.default_rng(0), random.Random(sys.argv[1])
X = rng.standard_normal((64, 40, 2)).astype(np.float32)
y = X[:, -1, 0]
frame = pd.DataFrame(rng.standard_normal((200, 4)), pd.date_range("2010", periods=200))
est = LSTMRegressor(64, max_iter=8, n_jobs=2, random_state=0, early_stopping=True)
fitted = LSTMRegressor(64, max_iter=2, n_jobs=2, random_state=0).fit(X, y)
search = GridSearchCV(GRURegressor(64, max_iter=2, n_jobs=2, random_state=0), {"alpha": [0, 1]}, cv=2,
                      error_score=np.nan)
model = LSTMForecaster(h=3, lags=12, max_steps=20, hidden_size=64, n_jobs=2, random_state=0)
calls = [
    lambda: est.fit(X, y).predict(X),
    lambda: np.concatenate([fitted.predict(X) for _ in range(10)]),
    lambda: search.fit(X, y).cv_results_["mean_test_score"],
    lambda: model.fit(frame).predict().to_numpy(),
    lambda: model.cross_validation(frame, n_windows=3).to_numpy(float),
]
right, seconds = [], []
for call in calls:
    call()
    start = time.perf_counter()
    right.append(call())
    seconds.append(time.perf_counter() - start)
caught = 0
for k in range(15):
    call = calls[k % len(calls)]
    ended, sent = threading.Event(), threading.Event()

    def press(wait=draw.uniform(0, 0.9 * seconds[k % len(calls)])):
        if not ended.wait(wait):
            os.kill(os.getpid(), signal.SIGINT)
        sent.set()

    try:
        threading.Thread(target=press, daemon=True).start()
        call()
        ended.set()
        while not sent.is_set():
            time.sleep(1e-3)
    except KeyboardInterrupt:
        caught += 1
    ended.set()
    if k % 3 == 0 or k > 9:
        np.testing.assert_array_equal(call(), right[k % len(calls)])
print(caught)
"""


@pytest.mark.sampled(3)
@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for one process")
@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_at_random_moments(seed):
    """Of fits, predictions, searches, forecasts and backtests with helpers: nothing hangs, no number is wrong
    afterwards, and no other error comes in its place."""
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-c", STRESS, seed], env=os.environ | {"PYTHONPATH": path}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= 4
    assert "ignored" not in result.stderr
