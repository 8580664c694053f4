"""Forecasts of counts."""

import numpy as np
import pandas as pd
import pytest
from spies import WINDOW, H, forecaster, name_of, spied

from skrnn.forecasting import GRUForecaster, LSTMForecaster

DAYS = pd.date_range("2024-01-01", periods=420, freq="D")


def counts(size=1.0, seed=0):
    """Seven times as many on one day of the week as on the others, of which most have none."""
    mean = size * np.where(np.arange(420) % 7 == 3, 2.8, 0.4)
    return pd.Series(np.random.default_rng(seed).poisson(mean).astype(float), DAYS, name="sold")


@pytest.mark.parametrize("size", [1.0, 1000.0])
def test_the_mean_of_each_day(size):
    model = LSTMForecaster(h=14, loss="poisson", lags=14, random_state=0).fit(counts(size))
    forecast = model.predict().to_numpy()
    expected = size * np.where(np.arange(420, 434) % 7 == 3, 2.8, 0.4)
    assert (forecast > 0).all()
    many = expected > size
    assert forecast[many].min() > 1.5 * forecast[~many].max()
    np.testing.assert_allclose(forecast.mean(), expected.mean(), rtol=0.2)
    np.testing.assert_allclose(forecast[many].mean(), 2.8 * size, rtol=0.35)


@pytest.mark.parametrize(
    "parameters",
    [{}, WINDOW, {"lags": None}, {"strategy": "recursive"}, {"strategy": "encoder_decoder"},
     {"scaling": None}, {"scaling": "last"}, {"linear_skip": False},
     {"level": 80, "intervals": "conformal"}, {"multivariate": True}],
    ids=name_of,
)  # fmt: skip
def test_of_all_kinds(parameters):
    data = pd.DataFrame({"a": counts()[:80], "b": counts(30.0, seed=1)[:80]})
    model = forecaster(parameters, loss="poisson").fit(data)
    forecast = model.predict()
    assert (forecast.to_numpy() >= 0).all()
    assert model.regressor_.loss == "poisson"
    assert model.model_.task.ridge is None
    assert model.model_.task.transform.differences == ()


def test_nothing_is_taken_off_and_nothing_chosen_that_would():
    data = counts()
    model = spied(data[:60], loss="poisson", scaling="standard")
    np.testing.assert_allclose(model.regressor_.X_.min(), 0)
    np.testing.assert_allclose(model.model_.models[0].transform.scale, data[:60].mean())
    chosen = GRUForecaster(h=H, loss="poisson", max_steps=10, random_state=0).fit(data)
    assert {*chosen.log1p_} == {False}
    assert {*chosen.differences_} == {()}
    assert {*chosen.scale_by_} == {"series"}


@pytest.mark.parametrize(
    "parameters",
    [{"differences": 7}, {"log1p": True}, {"scaling": "minmax"}, {"scaling": "robust"}],
    ids=name_of,
)
def test_what_does_not_suit_counts(parameters):
    with pytest.raises(ValueError, match='loss="poisson" learns values from 0 on'):
        LSTMForecaster(h=H, loss="poisson", **parameters).fit(counts())


@pytest.mark.parametrize("place", [0, 3])
def test_negative_values_are_named(place):
    data = pd.DataFrame({"a": counts()[:60], "b": counts(seed=1)[:60], "c": counts(seed=2)[:60]})
    data.iloc[place, 1] = -1.0
    with pytest.raises(
        ValueError, match="loss=\"poisson\" needs values from 0 on, and series 'b' is negative"
    ):
        forecaster(loss="poisson").fit(data)


def test_later_negative_values_are_named():
    data = counts()[:60]
    model = forecaster(loss="poisson").fit(data)
    for method in (model.predict, lambda frame: model.update(frame.shift(60, freq="D"))):
        with pytest.raises(ValueError, match="needs values from 0 on, and series 'sold' is negative"):
            method(data - 1)
