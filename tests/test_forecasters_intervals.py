"""Prediction intervals: quantiles of a network, and errors of windows held back."""

import math

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge
from spies import WINDOW, H, forecaster, name_of, walk

from skrnn.forecasting.frames import read_panel
from skrnn.forecasting.intervals import conformal_widths, from_quantiles, quantiles, spread


def test_quantiles_of_levels():
    assert quantiles([80, 95]) == [0.025, 0.1, 0.5, 0.9, 0.975]
    assert quantiles([99.9, 33.3]) == [0.0005, 0.3335, 0.5, 0.6665, 0.9995]
    assert quantiles([]) == [0.5]


def test_statistics_are_picked_from_the_quantiles():
    answers = np.arange(2 * 3 * 5).reshape(2, 3, 1, 5)
    statistics = from_quantiles(answers, [80, 95])
    assert list(statistics) == ["point", "lo-80", "hi-80", "lo-95", "hi-95"]
    for name, column in {"point": 2, "lo-80": 1, "hi-80": 3, "lo-95": 0, "hi-95": 4}.items():
        assert_array_equal(statistics[name], answers[..., column])


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"lags": None},
        {"multivariate": True},
        {"differences": [1, 7]},
        {"log1p": True, **WINDOW},
        {"strategy": "encoder_decoder", "multivariate": True},
    ],
    ids=name_of,
)
def test_quantiles_never_cross(parameters):
    """And the point forecast is the median, of the same network."""
    data = pd.DataFrame({"a": walk(), "b": walk(seed=1)})
    model = forecaster(parameters, level=[1, 50, 99.5], max_steps=30).fit(data)
    forecast = model.predict()
    for name in "a", "b":
        columns = (
            forecast[name].droplevel(0, axis=1) if forecast[name].columns.nlevels > 1 else forecast[name]
        )
        point = "LSTMForecaster"
        order = [f"{point}-lo-99.5", f"{point}-lo-50", f"{point}-lo-1", point]
        order += [f"{point}-hi-1", f"{point}-hi-50", f"{point}-hi-99.5"]
        assert (np.diff(columns[order].to_numpy(), axis=1) >= 0).all()
        assert (columns[order[-1]] > columns[order[0]]).all()
    assert_allclose(model.regressor_.quantiles_, [0.0025, 0.25, 0.495, 0.5, 0.505, 0.75, 0.9975])


def test_widths_by_hand():
    """The error of rank ceil((n + 1) level), of all errors in units of the mean of their step."""
    rng = np.random.default_rng(0)
    errors = (
        rng.exponential(1, (6, 2, 3, 1)) * np.array([1.0, 2, 5])[:, None]
    )  # (window, series, step, target)
    errors[0, 1, 2] = np.nan
    widths = conformal_widths(errors, [50, 80, 100])
    means = [np.nanmean(errors[:, :, step]) for step in range(3)]
    relative = sorted(e / means[k] for (_, _, k, _), e in np.ndenumerate(errors) if not math.isnan(e))
    n = len(relative)
    assert n == 35
    expected = [relative[min(n, math.ceil((n + 1) * share)) - 1] for share in (0.5, 0.8, 1.0)]
    assert_allclose(widths, np.outer(expected, means))
    assert relative[28] == expected[1]  # rank 29 of 35


def test_errors_of_zero_make_intervals_of_width_zero():
    assert_array_equal(conformal_widths(np.zeros((3, 1, 2, 1)), [80]), np.zeros((1, 2)))


def test_spread():
    """The mean absolute step of the history; 1 for a constant."""
    data = pd.DataFrame({"a": [1.0, 3, 2, 100], "b": [5.0, 5, 5, 9]})
    panel = read_panel(data)
    assert spread(panel.until(panel.stops - 1)).tolist() == [[1.5], [1.0]]
    assert spread(read_panel(data, multivariate=True)).tolist() == [[101 / 3, 4 / 3]]
    assert spread(panel.until(panel.starts[:-1] + 1)).tolist() == [[1], [1]]


def test_conformal_intervals_from_errors_of_windows_held_back():
    """Of a model that knew nothing of them; in units of each series' spread at each cutoff."""
    data = pd.DataFrame({"a": walk(), "b": 50 * walk(seed=1)})
    parameters = dict(level=[60, 90], intervals="conformal", calibration_windows=4)
    forecast = forecaster(parameters).fit(data).predict()
    scores = forecaster().cross_validation(data, n_windows=4, refit=False)
    errors = np.empty((4, 2, H, 1))
    for k, cutoff in enumerate(scores.index.unique(0)):
        for i, name in enumerate(data):
            part = scores.loc[cutoff, name]
            size = data[name][:cutoff].diff().abs().mean()
            errors[k, i, :, 0] = np.abs(part["y"] - part["LSTMForecaster"]) / size
    widths = conformal_widths(errors, [60, 90])
    plain = forecaster().fit(data).predict()
    for name in data:
        size = data[name].diff().abs().mean()
        for level, width in zip((60, 90), widths):
            for sign, side in (-1, "lo"), (1, "hi"):
                bound = forecast[name, f"LSTMForecaster-{side}-{level}"]
                assert_allclose(bound, plain[name] + sign * width * size, rtol=1e-9)


def test_coverage_of_conformal_intervals():
    """On noise that no model can foresee: near the level, over many held-back points."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((400, 8))
    for t in range(1, 400):
        noise[t] += 0.6 * noise[t - 1]
    data = pd.DataFrame(noise, columns=list("abcdefgh"))
    model = forecaster(h=4, regressor=Ridge(), level=80, intervals="conformal", calibration_windows=20)
    scores = model.cross_validation(data, n_windows=25, refit=False)
    y, lo, hi = (
        scores.xs(name, axis=1, level=1) for name in ("y", "LSTMForecaster-lo-80", "LSTMForecaster-hi-80")
    )
    covered = ((lo <= y) & (y <= hi)).to_numpy()
    assert covered.size == 800
    assert 0.74 < covered.mean() < 0.86
