"""Lags that are named one by one."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pandas.testing import assert_series_equal
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from spies import WINDOW, H, forecaster, name_of, spied, walk

from skrnn import LSTMRegressor
from skrnn.forecasting import LSTMForecaster
from skrnn.forecasting.views import window_scale

PICKED = [7, 1, 3]


def windows(data, n=7):
    return np.lib.stride_tricks.sliding_window_view(np.asarray(data), n + H)


def test_rows_of_the_lags_in_the_order_of_time():
    data = walk()
    model = spied(data, lags=PICKED, scaling=None)
    assert_allclose(model.regressor_.X_, windows(data)[:, [0, 4, 6]], rtol=1e-6)
    assert_allclose(model.regressor_.y_, windows(data)[:, 7:], rtol=1e-6)
    assert model.lags_ == [[1, 3, 7]]


def test_scales_are_those_of_all_steps_between():
    data = walk()
    model = spied(data, lags=PICKED, scaling="mean", **WINDOW)
    shift, scale = window_scale("mean", data.to_numpy()[:, None], 7, np.arange(len(windows(data))))
    expected = (windows(data) - shift) / scale
    assert_allclose(model.regressor_.X_, expected[:, [0, 4, 6]], rtol=1e-6)
    assert_allclose(model.predict(), data.iloc[-1])


@pytest.mark.parametrize("lags", [[1, 4], [3, 5]])
def test_the_last_row_tells_of_all_steps_to_come(lags):
    x = np.random.default_rng(0).normal(size=60)
    frame = pd.DataFrame({"unique_id": "a", "ds": walk().index, "y": walk().to_numpy(), "x": x})
    model = spied(frame, lags=lags, futr_exog="x", scaling=None)
    rows = model.regressor_.X_.reshape(-1, 2, 1 + H)
    known = (x - x.mean()) / x.std()
    at = np.arange(len(rows)) + lags[1]
    assert_allclose(rows[:, :, 0], np.stack([frame["y"].to_numpy()[at - lag] for lag in lags[::-1]], axis=1))
    assert_allclose(rows[:, -1, 1:], np.stack([known[at + step] for step in (2, 1, 0)], axis=1), atol=1e-6)


@pytest.mark.parametrize(
    "parameters",
    [{}, WINDOW, {"strategy": "recursive"}, {"differences": 2}, {"level": 80, "intervals": "quantile"},
     {"regressor": Ridge()}, {"missing": "mask"}, {"multivariate": True}],
    ids=name_of,
)  # fmt: skip
def test_all_lags_by_name_are_a_window(parameters):
    data = pd.DataFrame({"a": walk(), "b": walk(seed=1)})
    one, other = (forecaster(parameters, lags=lags).fit(data) for lags in (4, [1, 2, 3, 4]))
    assert_array_equal(other.predict(h=2 * H + 1), one.predict(h=2 * H + 1))
    assert_array_equal(other.predict(data[:30]), one.predict(data[:30]))
    assert other.lags_ == [[1, 2, 3, 4]]


def test_with_a_regressor_of_rows():
    data, lags = walk(120), [1, 2, 7]
    own = HistGradientBoostingRegressor(max_iter=20)
    model = LSTMForecaster(h=H, lags=lags, regressor=own, strategy="recursive", scaling=None, random_state=0,
                           scale_by="series", differences=None, log1p=False, non_negative=False)  # fmt: skip
    forecast, known = model.fit(data).predict(), data.to_numpy()
    at = np.arange(7, 120)
    rows = np.stack([known[at - lag] for lag in (7, 2, 1)], axis=1)
    alone = HistGradientBoostingRegressor(max_iter=20, random_state=model.regressor_.random_state)
    alone.fit(rows, known[at])
    for step in range(H):
        known = np.append(known, alone.predict(known[None, [-7, -2, -1]]))
        assert_allclose(forecast.iloc[step], known[-1])


def test_with_a_network_of_ones_own_and_what_is_chosen():
    data = walk(120)
    model = forecaster(lags=[1, 7], regressor=LSTMRegressor(2, max_iter=2, random_state=0)).fit(data)
    assert model.predict().notna().all()
    chosen = LSTMForecaster(h=H, lags=(1, 7), max_steps=20, random_state=0).fit(data)
    assert chosen.lags_ == [[1, 7]] * len(chosen.lags_)
    assert_series_equal(chosen.predict(data), chosen.predict())
    assert_series_equal(chosen.fitted_values()["y"].rename(data.name), data)


@pytest.mark.parametrize("lags", [[], [0, 1], [1, 1], [1.5], ["a"], [[1, 2]], [True]])
def test_lists_that_are_none(lags):
    with pytest.raises(ValueError, match="lags"):
        forecaster(lags=lags).fit(walk())


def test_an_encoder_reads_all_steps():
    with pytest.raises(ValueError, match="lags one by one are of strategy"):
        forecaster(lags=[1, 2], strategy="encoder_decoder").fit(walk())
