"""Nothing leaks: no value of the future moves a forecast, and none that is held back is learnt."""

import math

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.linear_model import Ridge
from spies import LAGS, WINDOW, H, SpyNetwork, forecaster, panel_of, spied, walk

ROLES = dict(futr_exog="x", hist_exog="z")
LEAKS = {
    "direct": ROLES,
    "h > lags": ROLES | {"lags": 2},
    "window": ROLES | {"scaling": "standard", **WINDOW},
    "differences": ROLES | {"differences": [1, 2]},
    "whole histories": ROLES | {"lags": None},
    "recursive": {"futr_exog": "x", "strategy": "recursive"},
    "encoder and decoder": ROLES | {"strategy": "encoder_decoder"},
    "of whole histories": ROLES | {"strategy": "encoder_decoder", "lags": None},
    "quantiles": ROLES | {"level": 80},
    "conformal": ROLES | {"level": 80, "intervals": "conformal", "calibration_windows": 3},
    "early stopping": ROLES | {"validation_fraction": 0.3},
    "Ridge": ROLES | {"regressor": Ridge()},
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("name", LEAKS)
def test_no_value_of_the_future_moves_a_forecast(name, refit):
    """Each value behind a cutoff, one at a time; but for the known ahead covariates of its horizon."""
    n, n_windows, step = 34, 2, 2
    data = panel_of((n, n - 2))
    model = forecaster(LEAKS[name], max_steps=2)
    columns = ["y", "x"] + (["z"] if "hist_exog" in LEAKS[name] else [])

    def answers(frame):
        scores = model.cross_validation(frame, n_windows, step_size=step, refit=refit)
        return scores.drop(columns="y").iloc[:, 3:].to_numpy().reshape(2, n_windows, H, -1)

    before = answers(data)
    ends = data.groupby("unique_id").indices
    for column in columns:
        for behind in range(1, H + step + 1):  # rows from the end
            frame = data.copy()
            frame.loc[[rows[-behind] for rows in ends.values()], column] += 3.0
            moved = (answers(frame) != before).any(axis=(2, 3))  # (series, window)
            for window in range(n_windows):
                held_back = H + (n_windows - 1 - window) * step
                if behind > held_back:  # known at the cutoff
                    continue
                ahead = held_back - behind + 1  # steps from the cutoff on
                assert moved[:, window].any() == (column == "x" and ahead <= H), (column, behind, window)


@pytest.mark.parametrize("missing", ["interpolate", "mask"])
@pytest.mark.parametrize("rows", [slice(20, 24), slice(22, 27)])
def test_gaps_are_not_filled_from_behind_a_cutoff(missing, rows):
    """The backtest of data with a gap over a cutoff knows what a fit on the data until there knows."""
    data = walk(33)
    data.iloc[rows] = np.nan
    model = forecaster(missing=missing, max_steps=5)
    scores = model.cross_validation(data, n_windows=5, step_size=2)
    for k, cutoff in enumerate(scores["cutoff"].unique()):
        known = model.fit(data[:cutoff])
        assert_array_equal(scores["LSTMForecaster"].iloc[k * H : (k + 1) * H], known.predict())


@pytest.mark.parametrize("missing", ["interpolate", "mask"])
def test_a_gap_at_the_end_is_filled_anew_by_what_follows(missing):
    data = pd.DataFrame({"y": walk(), "z": walk(seed=1)})
    data.iloc[-9:-4] = np.nan
    model = forecaster(missing=missing, hist_exog="z").fit(data[:-6])
    expected = model.predict(data)
    pd.testing.assert_frame_equal(model.update(data[-6:]).predict(), expected)


@pytest.mark.parametrize("lengths", [(60, 40), (60, 10)])
def test_windows_that_are_held_back_share_no_target(lengths):
    data = panel_of(lengths)
    own = SpyNetwork(2, max_iter=2, random_state=0)
    network = spied(data, own, validation_fraction=0.25).regressor_
    learnt = {row for at in network.y_.at for row in range(at, at + H)}
    held_back = {row for at in network.validation_["y_val"].at for row in range(at, at + H)}
    assert not learnt & held_back
    assert max(row for row in learnt if row < 60) < min(held_back)
    first = 60 - LAGS - H + 1
    assert sum(at < 60 for at in network.validation_["y_val"].at) == math.ceil(0.25 * first)
    assert len(network.X_) + len(network.validation_["X_val"]) == first - (H - 1) + (
        lengths[1] - LAGS - H + 1 - (H - 1 if lengths[1] == 40 else 0)
    )


def test_early_stopping_of_the_users_regressor():
    """Asked for there, with its own share; the split is by time all the same."""
    own = SpyNetwork(2, max_iter=2, early_stopping=True, validation_fraction=0.3, random_state=0)
    network = spied(walk(), own).regressor_
    n = 60 - LAGS - H + 1
    assert len(network.validation_["X_val"]) == math.ceil(0.3 * n)
    assert network.X_.starts.max() + LAGS + H <= network.validation_["y_val"].at.min()


def test_early_stopping_keeps_the_best_weights():
    t = np.arange(200)
    data = pd.Series(np.sin(t / 3) + np.random.default_rng(0).normal(0, 0.3, 200))
    model = forecaster(validation_fraction=0.2, max_steps=400, hidden_size=16, learning_rate_init=0.02).fit(
        data
    )
    network = model.regressor_
    assert network.best_validation_score_ == max(network.validation_scores_)
    assert network.n_iter_ < network.max_iter
