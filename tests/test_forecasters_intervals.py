"""Prediction intervals: quantiles of a network, and errors of windows held back."""

import math

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge
from spies import WINDOW, H, forecaster, name_of, walk

from skrnn.forecasting.frames import read_panel
from skrnn.forecasting.intervals import Widths, conformal_widths, from_quantiles, quantiles, spread


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


@pytest.mark.parametrize(("n_windows", "n_series"), [(12, 1), (4, 3)])
def test_widths_by_hand(n_windows, n_series):
    """The error of rank ceil((n + 1) level), of all errors in units of the mean of their step."""
    rng, levels = np.random.default_rng(0), [80, 90, 99]
    # (window, series, step, target)
    errors = rng.exponential(1, (n_windows, n_series, 3, 1)) * np.array([1.0, 2, 5])[:, None]
    errors[0, -1, 2] = np.nan
    profile, sizes = conformal_widths(errors, levels)
    means = [np.nanmean(errors[:, :, step]) for step in range(3)]
    assert_allclose(profile, means)
    relative = sorted(e / means[k] for (_, _, k, _), e in np.ndenumerate(errors) if not math.isnan(e))
    n = len(relative)
    assert n == 35
    expected = [relative[min(n, math.ceil((n + 1) * level / 100)) - 1] for level in levels]
    assert_allclose(sizes, np.broadcast_to(np.array(expected)[:, None, None], (3, n_series, 1)))
    assert relative[28] == expected[0]  # rank 29 of 35


def test_series_of_few_windows_share_ranks_but_not_their_size():
    """Errors are ranked beside the mean of the other windows of their series."""
    rng, scale = np.random.default_rng(0), np.array([1.0, 30, 0.1])
    errors = rng.exponential(1, (7, 3, 2, 2)) * scale[:, None, None]
    errors[2, 0, 1, 0] = np.nan
    profile, sizes = conformal_widths(errors, [90, 95])
    assert_allclose(profile, [np.nanmean(errors[:, :, step]) for step in range(2)])
    ratios, means = [], np.empty((3, 2))
    for i in range(3):
        for target in range(2):
            own = errors[:, i, :, target] / profile
            means[i, target] = np.nanmean(own)
            for window in range(7):
                others = np.nanmean(np.delete(own, window, axis=0))
                ratios += [error / others for error in own[window] if not math.isnan(error)]
    ratios.sort()
    assert len(ratios) == 83
    assert_allclose(sizes, np.array([ratios[75], ratios[79]])[:, None, None] * means)  # ranks 76 and 80


def test_series_of_many_windows_have_ranks_of_their_own():
    rng = np.random.default_rng(0)
    errors = np.stack([rng.exponential(1, (20, 2)), rng.uniform(9, 11, (20, 2))], axis=1)[..., None]
    errors[:17, 0] = np.nan  # three windows are left
    profile, sizes = conformal_widths(errors, [90])
    own = np.sort((errors[:, 1, :, 0] / profile).ravel())
    assert_allclose(sizes[0, 1, 0], own[36])  # rank 37 of 40
    assert 0 < sizes[0, 0, 0] < sizes[0, 1, 0]


@pytest.mark.parametrize("n_windows", [3, 8])
@pytest.mark.parametrize("n_series", [1, 2])
def test_errors_of_zero_make_intervals_of_width_zero(n_windows, n_series):
    _, sizes = conformal_widths(np.zeros((n_windows, n_series, 2, 1)), [80, 95])
    assert (sizes == 0).all()


def test_a_constant_among_others():
    """Has intervals as narrow as its errors are small."""
    data = pd.DataFrame({"a": walk(), "b": 50 * walk(seed=1), "c": 7.0})
    model = forecaster(level=80, intervals="conformal", calibration_windows=8, regressor=Ridge()).fit(data)
    forecast = model.predict()
    width = {n: forecast[n, "LSTMForecaster-hi-80"] - forecast[n, "LSTMForecaster-lo-80"] for n in "abc"}
    assert (width["c"] < 0.2).all()
    assert (width["c"] > np.abs(forecast["c", "LSTMForecaster"] - 7)).all()
    assert (width["a"] > 0.1).all()
    assert (width["b"] > 5).all()


def test_widths_beyond_the_horizon():
    panel = read_panel(pd.DataFrame({"a": [0.0, 2, 0, 2], "b": [0.0, 1, 0, 1]}))
    sizes, units = np.array([[[1.0], [10]]]), np.array([[2.0], [1]])
    widths = Widths(panel.ids, np.array([3.0, 4]), sizes, units)
    steps = np.array([3, 4, 5, np.sqrt(32), np.sqrt(41), np.sqrt(48), np.sqrt(57)])
    assert_allclose(widths.half(panel, 7)[0, :, :, 0], [2 * steps, 10 * steps])
    assert_allclose(widths.half(panel.take([1]), 1), [[[[30.0]]]])


def test_new_series_have_the_mean_size():
    panel = read_panel(pd.DataFrame({"a": [0.0, 2], "b": [0.0, 1], "c": [0.0, 1], "new": [0.0, 5]}))
    sizes = np.array([[[1.0], [2], [6]]])
    widths = Widths(panel.ids[:3], np.array([4.0]), sizes, np.ones((3, 1)))
    assert_allclose(widths.half(panel.take([3]), 1), [[[[4 * 3 * 5.0]]]])


@pytest.mark.parametrize("windows", [10, 25])
def test_coverage_where_series_are_of_all_sizes_and_shapes(windows):
    """Each series' errors have a size and a shape of their own, whatever its steps are."""
    rng = np.random.default_rng(0)
    scale = np.exp(rng.normal(size=300))[:, None, None]

    def drawn(n):
        normal = np.abs(rng.normal(size=(n, 300, 1, 1))) * scale
        spikes = np.where(rng.random(normal.shape) < 0.15, 10.0, 0.1) * scale * rng.random(normal.shape)
        return np.where(np.arange(300)[:, None, None] % 4 > 0, spikes, normal)

    profile, sizes = conformal_widths(drawn(windows), [80])
    inside = drawn(400)[:, :, 0, 0] <= profile[0] * sizes[0, :, 0]
    for k in range(4):  # of ten windows the ninth, which covers 9 / 11
        assert 0.78 < inside[:, k::4].mean() < 0.86


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
    parameters = dict(level=[60, 90], intervals="conformal", calibration_windows=6)
    forecast = forecaster(parameters).fit(data).predict()
    scores = forecaster().cross_validation(data, n_windows=6, refit=False)
    errors = np.empty((6, 2, H, 1))
    for k, cutoff in enumerate(scores.index.unique(0)):
        for i, name in enumerate(data):
            part = scores.loc[cutoff, name]
            size = data[name][:cutoff].diff().abs().mean()
            errors[k, i, :, 0] = np.abs(part["y"] - part["LSTMForecaster"]) / size
    profile, sizes = conformal_widths(errors, [60, 90])
    plain = forecaster().fit(data).predict()
    for i, name in enumerate(data):
        unit = data[name].diff().abs().mean()
        for level, size in zip((60, 90), sizes[:, i, 0]):
            for sign, side in (-1, "lo"), (1, "hi"):
                bound = forecast[name, f"LSTMForecaster-{side}-{level}"]
                assert_allclose(bound, plain[name] + sign * profile * size * unit, rtol=1e-9)


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


def test_widths_stay_as_in_fit():
    """Whatever histories are like that a forecast is made from: short, quiet, or longer and wild."""
    data = walk()
    given = dict(level=80, intervals="conformal", calibration_windows=6, non_negative=False)
    model = forecaster(given).fit(data)

    def width(forecast):
        return forecast.iloc[:, 2] - forecast.iloc[:, 1]

    expected = width(model.predict())
    quiet = data[-20:].copy()
    quiet[:] = 3.0
    for history in (data[-20:], quiet):
        assert_allclose(width(model.predict(history)), expected)
    wild = pd.Series([50.0, -50, 50, -50], pd.date_range(data.index[-1], periods=5)[1:], name=data.name)
    assert_allclose(width(model.update(wild).predict()), expected)


def test_intervals_lie_around_what_is_forecast():
    """A forecast below 0 is 0, and so are the errors that widths come from."""
    data = pd.Series(np.linspace(100, 3, 60), walk(60).index, name="y")
    data += np.abs(np.random.default_rng(0).normal(size=60))
    given = dict(h=10, level=80, intervals="conformal", regressor=Ridge(), differences=1)
    forecast = forecaster(given, non_negative="auto").fit(data).predict()
    assert (forecast["y"].iloc[-3:] == 0).all()
    assert (forecast["y-hi-80"] > 0.1).all()
