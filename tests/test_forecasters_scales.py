"""Scales of series and of windows: by hand, undone by forecasts, and of what has no size."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from spies import LAGS, SCALINGS, WINDOW, H, forecaster, name_of, panel_of, spied, walk

from skrnn.forecasting.views import WINDOW_SCALES, window_scale


@pytest.mark.parametrize("scale", WINDOW_SCALES)
def test_scales_of_windows_by_hand(scale):
    rng = np.random.default_rng(0)
    values = np.concatenate(
        [rng.normal(0, 1e9, 40), rng.normal(1, 0.1, 40), rng.normal(-1e6, 1e4, 40)]  # series side by side
    )[:, None] * [1.0, -2.0]  # fmt: skip
    starts = np.concatenate([np.arange(40 * i, 40 * i + 34) for i in range(3)])
    shift, size = window_scale(scale, values, 7, starts)
    statistics = {
        "standard": (np.mean, np.std),
        "robust": (np.median, lambda x: np.subtract(*np.percentile(x, [75, 25]))),
        "minmax": (np.min, np.ptp),
        "mean": (lambda x: 0, lambda x: np.abs(x).mean()),
        "last": (lambda x: 0, lambda x: abs(x[-1])),
    }[scale]
    for k, start in enumerate(starts):
        for column in range(2):
            window = values[start : start + 7, column]
            expected = [function(window) for function in statistics]
            assert_allclose([shift[k, column], size[k, column]], expected, rtol=1e-9, err_msg=f"{start}")


@pytest.mark.parametrize("scale", WINDOW_SCALES)
def test_windows_without_a_size(scale):
    """Their level, or 1."""
    values = np.r_[np.zeros(6), np.full(6, -4.0)][:, None]
    _, size = window_scale(scale, values, 3, np.array([0, 6]))
    assert size[:, 0].tolist() == [1, 4]


@pytest.mark.parametrize("scaling", SCALINGS, ids=name_of)
def test_a_window_is_learnt_in_units_of_its_scale(scaling):
    data = walk()
    model = spied(data, **scaling)
    windows = np.lib.stride_tricks.sliding_window_view(data.to_numpy(), LAGS + H)
    if scaling["scale_by"] == "window":
        shift, size = window_scale(
            scaling["scaling"], data.to_numpy()[:, None], LAGS, np.arange(len(windows))
        )
    else:
        shift, size = model.model_.models[0].transform.shift, model.model_.models[0].transform.scale
    assert_allclose(model.regressor_.X_, ((windows - shift) / size)[:, :LAGS], rtol=1e-6)
    assert_allclose(model.regressor_.y_, ((windows - shift) / size)[:, LAGS:], rtol=1e-6)
    assert_allclose(model.predict(), data.iloc[-1])  # what the spy says, back in the units of the data


def test_each_target_of_a_window_has_its_scale_and_covariates_have_none():
    data = pd.DataFrame({"a": walk(), "b": -1000 * walk(seed=1), "z": walk(seed=2)})
    model = spied(data, multivariate=True, hist_exog="z", scaling="minmax", **WINDOW)
    z = (data["z"] - data["z"].mean()) / data["z"].std(ddof=0)
    windows = np.lib.stride_tricks.sliding_window_view(data.assign(z=z), LAGS + H, axis=0).swapaxes(1, 2)
    X, y = windows[:, :LAGS], windows[:, LAGS:, :2]
    low, high = X[:, :, :2].min(axis=1, keepdims=True), X[:, :, :2].max(axis=1, keepdims=True)
    expected = np.dstack([(X[:, :, :2] - low) / (high - low), X[:, :, 2:]])
    assert_allclose(model.regressor_.X_, expected.reshape(len(X), -1), atol=1e-6)
    assert_allclose(model.regressor_.y_, ((y - low) / (high - low)).reshape(len(y), -1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("log1p", [False, True])
@pytest.mark.parametrize("differences", [None, 1, [7, 1]])
@pytest.mark.parametrize("scaling", [*SCALINGS, {"scaling": None}], ids=name_of)
def test_every_transform_is_undone(scaling, differences, log1p):
    """The last change that was learnt, repeated: by hand from the transformed series."""
    data = walk()
    model = spied(data, **scaling, differences=differences, log1p=log1p)
    forecast = model.predict()
    changed = np.log1p(data.to_numpy()) if log1p else data.to_numpy()
    lags = [] if differences is None else [differences] if isinstance(differences, int) else differences
    stages = [changed]
    for lag in lags:
        stages.append(stages[-1][lag:] - stages[-1][:-lag])
    expected = np.repeat(stages[-1][-1], H)
    for lag, before in zip(lags[::-1], stages[-2::-1]):
        past = before.tolist()
        for step in expected:
            past.append(step + past[-lag])
        expected = np.array(past[-H:])
    assert_allclose(forecast, np.expm1(expected) if log1p else expected, rtol=1e-5)


@pytest.mark.parametrize("scaling", SCALINGS, ids=name_of)
@pytest.mark.parametrize("differences", [None, 1])
def test_units_do_not_matter(scaling, differences):
    """The same fit in other units; and from another zero, where the scale has a shift."""
    data = walk()
    model = forecaster(scaling, differences=differences, max_steps=20)
    expected = model.fit(data).predict()
    for factor in 1e-3, 1e5:
        assert_allclose(model.fit(factor * data).predict() / factor, expected, rtol=1e-4)
    if differences or scaling["scaling"] not in ("mean", "last"):
        for level in 1e3, -1e7:
            assert_allclose(model.fit(data + level).predict() - level, expected, atol=1e-3)


@pytest.mark.parametrize("scaling", [*SCALINGS, {"scaling": None}], ids=name_of)
@pytest.mark.parametrize("differences", [None, 1])
@pytest.mark.parametrize("value", [0.0, 7.3, -1e6])
def test_constant_series(scaling, differences, value):
    """No division by zero, no NaN; the forecast is the constant, in units of the size of its level."""
    data = pd.Series(np.full(60, value))
    model = forecaster(scaling, differences=differences, max_steps=200, learning_rate_init=0.05, level=80)
    if scaling["scaling"] is None and not differences and value == -1e6:
        data = data / 1e6  # a network does not reach a million by itself
    forecast = model.fit(data).predict()
    assert_allclose(forecast, data.iloc[0], atol=0.1 * max(1, abs(value)))
    conformal = model.set_params(intervals="conformal").fit(data).predict()
    assert np.isfinite(conformal.to_numpy()).all()


def test_a_constant_series_among_others():
    data = panel_of()
    data.loc[data["unique_id"] == "s1", "y"] = 5.0
    for scaling in SCALINGS:
        forecast = forecaster(scaling, max_steps=100, learning_rate_init=0.01).fit(data).predict()
        assert_allclose(forecast["LSTMForecaster"][H:], 5, atol=1)


@pytest.mark.parametrize("scale", WINDOW_SCALES)
def test_a_window_is_scaled_by_itself_to_the_bit(scale):
    """Whatever lies around it, however large."""
    rng = np.random.default_rng(0)
    own = rng.normal(size=(40, 2)).astype(np.float32)
    among = np.concatenate([1e7 * rng.normal(size=(500, 2)), own, [[1e20, 3e15]]]).astype(np.float32)
    starts = np.array([3, 8, 11])
    for alone, found in zip(
        window_scale(scale, own, 29, starts), window_scale(scale, among, 29, starts + 500)
    ):
        assert_array_equal(alone, found)
