"""Ctrl-C in a turn on a GPU, or in Numba's simulator: between replays, and while one waits for the turn.

NUMBA_ENABLE_CUDASIM=1 python -m pytest tests/test_cuda_interrupts.py
"""

import os
import signal
import threading

import numpy as np
import pytest
from gpu import needs_gpu

from skrnn import LSTMRegressor, backends
from skrnn.interrupts import deferred

pytestmark = needs_gpu

X = np.random.default_rng(0).standard_normal((20, 6, 2))
y = X[:, -1, 0]


class PressAt:
    """A callback that presses Ctrl-C after the second epoch."""

    def setup(self, estimator, context):
        self.epochs = 0

    def teardown(self, estimator, context):
        pass

    on_fit_task_begin = teardown

    def on_fit_task_end(self, estimator, context):
        self.epochs += 1
        if self.epochs == 2:
            signal.raise_signal(signal.SIGINT)


def test_who_waits_for_a_turn_can_give_up():
    backends.get("cuda")  # imported
    held, free = threading.Event(), threading.Event()

    def hold():
        with backends.turn("cuda"):
            held.set()
            free.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        LSTMRegressor(2, max_iter=1, device="cuda").fit(X, y)
    timer.join()
    free.set()
    holder.join()
    LSTMRegressor(2, max_iter=1, device="cuda").fit(X, y)  # no lock is left taken


def test_it_falls_between_minibatches():
    est = LSTMRegressor(2, max_iter=3, device="cuda").set_callbacks(PressAt())
    with pytest.warns(RuntimeWarning, match="after 2 epochs"), pytest.raises(KeyboardInterrupt):
        est.fit(X, y)
    assert est.n_iter_ == 2
    with pytest.raises(KeyboardInterrupt), deferred():  # noqa: PT012
        signal.raise_signal(signal.SIGINT)
        est.predict(X)
    assert np.isfinite(est.predict(X)).all()
