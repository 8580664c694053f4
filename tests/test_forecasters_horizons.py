"""Forecasts of fewer and of more steps than were learnt."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal, assert_series_equal
from sklearn.linear_model import Ridge
from spies import WINDOW, H, forecaster, name_of, walk

NAME = "LSTMForecaster"
KINDS = [
    {},
    WINDOW,
    {"lags": None},
    {"strategy": "recursive"},
    {"lags": None, "strategy": "recursive"},
    {"strategy": "encoder_decoder"},
    {"strategy": "encoder_decoder", "lags": None},
    {"strategy": "encoder_decoder", "autoregressive": True},
    {"differences": [1, 7]},
    {"log1p": True},
    {"regressor": Ridge()},
]


def data():
    return pd.DataFrame({"a": walk(), "b": 50 * walk(seed=1)})


@pytest.mark.parametrize("h", [1, H, 2 * H, 3 * H + 1, 7])
@pytest.mark.parametrize("parameters", KINDS, ids=name_of)
def test_answers_are_read_as_if_observed(parameters, h):
    model = forecaster(parameters, calendar=["dayofweek"]).fit(data())
    known, horizons = data(), []
    for _ in range(-(-h // H)):
        horizons.append(model.predict(known))
        known = pd.concat([known, horizons[-1]])
    expected = pd.concat(horizons).iloc[:h]
    expected.index.freq = "D"
    assert_frame_equal(model.predict(h=h), expected, rtol=1e-5)
    assert_frame_equal(model.predict(data().iloc[:50], h=h), model.predict(data().iloc[:50], h=20).iloc[:h])


def covariates(n, seed=0):
    return np.random.default_rng(seed).normal(size=n)


@pytest.mark.parametrize("parameters", KINDS, ids=name_of)
def test_with_covariates_that_are_known(parameters):
    """Of the rest of a horizon the last row is taken, unless there are more."""
    stamps = pd.date_range("2024-01-01", periods=60 + 2 * H, freq="D")
    frame = pd.DataFrame({"unique_id": "a", "ds": stamps, "x": covariates(len(stamps))})
    known = frame.iloc[:60].assign(y=walk().to_numpy()[:60])
    model = forecaster(parameters, futr_exog=["x"]).fit(known)
    later = frame.iloc[60:]
    assert len(model.make_future_dataframe(h=H + 1)) == H + 1
    whole = model.predict(h=2 * H, X_df=later)
    first = later.iloc[:H].assign(y=whole[NAME].to_numpy()[:H])
    again = model.predict(pd.concat([known, first]), X_df=later)
    assert_series_equal(again[NAME], whole[NAME][H:].reset_index(drop=True), rtol=1e-5)
    assert_frame_equal(model.predict(h=H + 1, X_df=later), whole.iloc[: H + 1])
    assert_frame_equal(model.predict(h=1, X_df=later), whole.iloc[:1])
    held = later.assign(x=later["x"].where(np.arange(2 * H) < H + 1).ffill())
    assert_frame_equal(model.predict(h=H + 1, X_df=later.iloc[: H + 1]), model.predict(h=H + 1, X_df=held))
    with pytest.raises(ValueError, match="X_df lacks 1 of the 4 rows of series 'a' that are forecast"):
        model.predict(h=H + 1, X_df=later.iloc[:H])


@pytest.mark.parametrize("parameters", [{}, {"lags": None}, {"strategy": "encoder_decoder"}], ids=name_of)
def test_quantiles_widen(parameters):
    model = forecaster(parameters, level=[50, 90], intervals="quantile", max_steps=60).fit(data())
    forecast = model.predict(h=3 * H)
    assert_frame_equal(forecast.iloc[:H], model.predict(), check_freq=False)
    for name in data():
        for level in (50, 90):
            width = forecast[name, f"{NAME}-hi-{level}"] - forecast[name, f"{NAME}-lo-{level}"]
            assert (width.iloc[H : 2 * H] > width.iloc[H - 1]).all()
            assert (width.iloc[2 * H :] > width.iloc[2 * H - 1]).all()
        assert (forecast[name, f"{NAME}-lo-90"] < forecast[name, f"{NAME}-lo-50"]).all()


@pytest.mark.parametrize("differences", [None, 1])
@pytest.mark.parametrize("log1p", [False, True])
def test_quantiles_of_the_second_horizon(differences, log1p):
    """By hand from those of two horizons, each from its history: deviations add up as if independent."""
    given = dict(level=80, intervals="quantile", differences=differences, max_steps=60, scaling=None)
    model = forecaster(given, log1p=log1p, non_negative=False).fit(walk())
    columns, forth, back = ["{}-lo-80", "{}", "{}-hi-80"], np.log1p, np.expm1
    if not log1p:
        forth = back = np.array
    columns = [column.format(walk().name) for column in columns]
    first = model.predict()[columns]
    second = model.predict(pd.concat([walk(), first[columns[1]]]))[columns]
    first, second = forth(first.to_numpy()), forth(second.to_numpy())
    apart, last = second - second[:, 1:2], (first - first[:, 1:2])[-1]
    expected = back(second[:, 1:2] + np.sign(apart) * np.hypot(apart, last))
    assert_allclose(model.predict(h=2 * H)[columns].to_numpy()[H:], expected, rtol=1e-4)


def test_widths_grow():
    given = dict(level=80, intervals="conformal")
    forecast = forecaster(given).fit(data()).predict(h=2 * H)
    half = forecast["a", f"{NAME}-hi-80"] - forecast["a", NAME]
    assert_allclose(half.iloc[H:], np.hypot(half.iloc[:H], half.iloc[H - 1]))


@pytest.mark.parametrize("h", [0, -1, 1.5, True, "3"])
def test_horizons_that_are_none(h):
    model = forecaster().fit(data())
    for method in (model.predict, model.make_future_dataframe):
        with pytest.raises(ValueError, match="h must be an integer of at least 1"):
            method(h=h)


def test_what_nobody_knows_cannot_be_read():
    frame = pd.DataFrame({"unique_id": "a", "ds": walk().index, "y": walk().to_numpy(), "x": 1.0})
    model = forecaster(hist_exog=["x"]).fit(frame)
    assert len(model.predict(h=2)) == 2
    with pytest.raises(ValueError, match="h=4 is more than the horizon of fit, 3, whose hist_exog"):
        model.predict(h=4)
