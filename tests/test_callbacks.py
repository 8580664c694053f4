"""What is seen of a running fit, and what can stop it: bar, callbacks, Ctrl-C, the plot."""

import os
import re
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from sklearn.callback import ScoringMonitor
from sklearn.model_selection import GridSearchCV

from skrnn import GRUClassifier, GRURegressor, LossCurveDisplay, RNNRegressor


def data(n=40):
    X = np.random.default_rng(0).standard_normal((n, 5, 2))
    return X, X[:, -2, 0]


def small(cls=GRURegressor, **options):
    return cls(**{"hidden_size": 4, "max_iter": 6, "random_state": 0} | options)


class Watcher:
    """A callback that calls `act(estimator, epoch)` after every epoch."""

    def __init__(self, act):
        self.act, self.epochs = act, 0
        self.tasks = []

    def setup(self, estimator, context):
        self.epochs = 0

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.tasks.append(("begin", context.task_name))

    def on_fit_task_end(self, estimator, context, *, X, y, metadata, fitted_estimator):
        self.tasks.append(("end", context.task_name))
        if context.task_name == "epoch":
            self.epochs += 1
            return self.act(fitted_estimator, self.epochs)
        return None


# The bar -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("early_stopping", [False, True])
def test_verbose_shows_a_bar_on_stderr(capsys, early_stopping):
    X, y = data()
    est = small(verbose=1, early_stopping=early_stopping).fit(X, y)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "GRURegressor: 100%" in shown.err
    assert "6/6" in shown.err
    assert f"loss={est.loss_:.4g}" in shown.err
    assert ("validation score=" in shown.err) == early_stopping
    assert re.search(r"\d\d:\d\d<\d\d:\d\d", shown.err)  # time passed and left
    quiet = small().fit(*data())
    assert capsys.readouterr() == ("", "")
    if not early_stopping:
        np.testing.assert_array_equal(quiet.predict(X), est.predict(X))


# Callbacks ---------------------------------------------------------------------------------------


def test_scoring_monitor_follows_the_epochs():
    X, y = data()
    monitor = ScoringMonitor(scoring="r2")
    est = small().set_callbacks(monitor).fit(X, y)
    log = monitor.get_logs().data_as_pandas
    scores = log[log["task_name"] == "epoch"]["r2"]
    # the estimator that a callback gets predicts like one whose training ended there
    expected = [small(max_iter=k).fit(X, y).score(X, y) for k in range(1, 7)]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert len(log) == 7  # and the whole fit
    assert est.n_iter_ == 6
    np.testing.assert_array_equal(est.predict(X), small().fit(X, y).predict(X))


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_scoring_monitor_inside_a_search(n_jobs):
    X, y = data()
    monitor = ScoringMonitor(scoring="r2")
    est = small().set_callbacks(monitor)
    search = GridSearchCV(est, {"hidden_size": [2, 3]}, cv=2, n_jobs=n_jobs, error_score="raise")
    search.fit(X, y)
    logs = monitor.get_logs(select="all")
    assert sum(len(log.data) for log in logs) >= 6 * (2 * 2 + 1)  # with the refit


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # rich's console
@pytest.mark.parametrize("inside", [False, True])
def test_scikit_learns_progress_bar(inside, capsys):
    pytest.importorskip("rich")
    from sklearn.callback import ProgressBar

    X, y = data()
    est = small()
    if inside:
        est = GridSearchCV(est, {"hidden_size": [2, 3]}, cv=2)
    est.set_callbacks(ProgressBar()).fit(X, y)
    assert ("GridSearchCV" if inside else "GRURegressor") in capsys.readouterr().out


def test_a_callback_can_stop_the_training():
    X, y = data()
    watcher = Watcher(lambda est, epoch: epoch == 3)
    est = small().set_callbacks(watcher).fit(X, y)
    assert est.n_iter_ == 3
    np.testing.assert_array_equal(est.predict(X), small(max_iter=3).fit(X, y).predict(X))
    begun = [name for what, name in watcher.tasks if what == "begin"]
    ended = [name for what, name in watcher.tasks if what == "end"]
    assert begun.count("epoch") == ended.count("epoch") == 3
    assert len(begun) == len(ended) == 4
    assert est.set_params(max_iter=2).fit(X, y).n_iter_ == 2  # callbacks stay for the next fit


def test_callbacks_see_a_fitted_estimator_and_the_history():
    X, y = data()
    seen = []

    def look(est, epoch):
        seen.append((est.n_iter_, len(est.loss_curve_), est.predict(X).shape))

    small().set_callbacks(Watcher(look)).fit(X, y)
    assert seen == [(k, k, (40,)) for k in range(1, 7)]


def test_an_error_in_a_callback_leaves_the_earlier_model():
    X, y = data()
    est = small().fit(X, y)
    expected = est.predict(X)

    def fail(_, epoch):
        if epoch == 2:
            raise RuntimeError("of the callback")

    with pytest.raises(RuntimeError, match="of the callback"):
        est.set_callbacks(Watcher(fail)).fit(X[:20], y[:20])
    np.testing.assert_array_equal(est.predict(X), expected)
    assert est.n_iter_ == 6


# Ctrl-C ------------------------------------------------------------------------------------------


def interrupt(_, epoch):
    if epoch == 3:
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_keeps_what_was_learnt():
    X, y = data()
    est = small().set_callbacks(Watcher(interrupt))
    with pytest.warns(RuntimeWarning, match="interrupted after 3 epochs"), pytest.raises(KeyboardInterrupt):
        est.fit(X, y)
    assert est.n_iter_ == 3
    np.testing.assert_array_equal(est.predict(X), small(max_iter=3).fit(X, y).predict(X))
    est.set_callbacks().set_params(warm_start=True, max_iter=3).fit(X, y)  # and can go on
    assert est.n_iter_ == 6
    np.testing.assert_array_equal(est.predict(X), small().fit(X, y).predict(X))


def test_ctrl_c_keeps_the_best_weights():
    X, y = data(60)
    y = y + np.random.default_rng(1).standard_normal(60)
    options = dict(
        early_stopping=True, hidden_size=16, learning_rate_init=0.05, max_iter=40, n_iter_no_change=100,
        validation_split="last", validation_fraction=0.3,
    )  # fmt: skip
    est = small(**options).set_callbacks(
        Watcher(lambda _, epoch: signal.raise_signal(signal.SIGINT) if epoch == 30 else None)
    )
    with pytest.warns(RuntimeWarning, match="best weights"), pytest.raises(KeyboardInterrupt):
        est.fit(X, y)
    scores = est.validation_scores_
    assert np.argmax(scores) < len(scores) - 1
    assert est.score(X[42:], y[42:]) == pytest.approx(max(scores), rel=1e-4)


def test_ctrl_c_under_warnings_as_errors_is_still_ctrl_c():
    X, y = data()
    with pytest.raises(KeyboardInterrupt):  # the suite runs with warnings as errors
        small().set_callbacks(Watcher(interrupt)).fit(X, y)


def test_ctrl_c_in_a_fit_that_has_just_diverged_is_still_ctrl_c():
    """A search with error_score=nan would go on after the error of the divergence."""
    X, y = data()
    search = GridSearchCV(
        small(RNNRegressor, activation="relu", solver="sgd", max_grad_norm=None, batch_size=40).set_callbacks(
            Watcher(interrupt)
        ),
        {"learning_rate_init": [1e38, 1e-3]},
        cv=2,
        error_score=np.nan,
    )
    with pytest.raises(KeyboardInterrupt):
        search.fit(X, y)


def test_ctrl_c_stops_a_search_too():
    X, y = data()
    fits = []

    def act(est, epoch):
        fits.append(epoch)
        interrupt(est, epoch)

    search = GridSearchCV(small().set_callbacks(Watcher(act)), {"hidden_size": [2, 3, 4]}, cv=2)
    with pytest.warns(RuntimeWarning, match="interrupted"), pytest.raises(KeyboardInterrupt):
        search.fit(X, y)
    assert fits == [1, 2, 3]
    assert not hasattr(search, "best_estimator_")


def test_ctrl_c_before_the_first_epoch_leaves_the_earlier_model(monkeypatch):
    X, y = data()
    est = small().fit(X, y)
    expected = est.predict(X)

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(est), "_trainer", stop)
    with pytest.raises(KeyboardInterrupt):
        est.fit(X[:, :, :1], y)
    assert est.n_features_in_ == 2
    np.testing.assert_array_equal(est.predict(X), expected)


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT for one process")
@pytest.mark.sampled(2)
@pytest.mark.parametrize("n_jobs", [2, 1])
def test_sigint_from_outside(n_jobs):
    """A real signal, wherever it strikes; also while threads run."""
    program = f"""
        import signal, sys, time, warnings
        import numpy as np
        from skrnn import LSTMRegressor

        signal.signal(signal.SIGINT, signal.default_int_handler)

        class Tell:
            told = False
            def setup(self, estimator, context): pass
            teardown = on_fit_task_begin = setup
            def on_fit_task_end(self, estimator, context):
                if not self.told:
                    self.told = True
                    print("running", flush=True)

        X = np.random.default_rng(0).standard_normal((64, 100, 2)).astype(np.float32)
        y = X[:, -2, 0]
        est = LSTMRegressor(
            64, max_iter=10**6, n_iter_no_change=10**6, n_jobs={n_jobs}, random_state=0
        ).set_callbacks(Tell())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                est.fit(X, y)
            except KeyboardInterrupt:
                assert [w for w in caught if "interrupted" in str(w.message)]
                assert np.isfinite(est.predict(X)).all()
                assert est.n_iter_ == len(est.loss_curve_) >= 1
                print("kept")
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True,
        cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
    )  # fmt: skip
    try:
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=600)
    finally:
        process.kill()
        process.wait()
    assert out == "kept\n"
    assert process.returncode == 0


# The plot ----------------------------------------------------------------------------------------


def test_loss_curve_display_from_a_fit():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    X, y = data()
    est = small(GRUClassifier, early_stopping=True).fit(X, y > 0)
    display = LossCurveDisplay.from_estimator(est)
    np.testing.assert_array_equal(display.lines_[0].get_ydata(), est.loss_curve_)
    np.testing.assert_array_equal(display.lines_[1].get_ydata(), est.validation_scores_)
    np.testing.assert_array_equal(display.lines_[0].get_xdata(), np.arange(1, 7))
    display = LossCurveDisplay.from_estimator(small(RNNRegressor).fit(X, y))
    assert display.validation_ax_ is None
    # scores from the second half of the training on: they belong to those epochs
    est = small(warm_start=True, max_iter=3).fit(X, y)
    est.fit(X, y, X_val=X, y_val=y)
    line = LossCurveDisplay.from_estimator(est).lines_[1]
    seen = dict(zip(line.get_xdata(), line.get_ydata(), strict=True))
    assert {epoch: s for epoch, s in seen.items() if s == s} == dict(zip((4, 5, 6), est.validation_scores_))
    plt.close("all")
