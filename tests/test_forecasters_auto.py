"""What a forecaster chooses by itself, and that it keeps what it is told."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from spies import PLAIN, walk

from skrnn.forecasting import GRUForecaster, LSTMForecaster
from skrnn.forecasting.automatic import (
    Given,
    View,
    answered_at_once,
    chosen,
    judged,
    naive_error,
    unjudged,
    views,
)
from skrnn.forecasting.ensemble import Ensemble
from skrnn.forecasting.frames import read_panel
from skrnn.forecasting.ridge import STRENGTHS, RidgePath, evenly
from skrnn.forecasting.seasons import seasons
from skrnn.forecasting.trial import Trial

AUTO = Given("auto", "auto", ("auto",), "auto", scaled=True, step=5, fewer=False)
STEPS = np.arange(200.0)


def series(values, freq="D"):
    return pd.Series(values, pd.date_range("2020-01-01", periods=len(values), freq=freq), name="y")


def quick(**parameters):
    return LSTMForecaster(**dict(h=5, max_steps=20, hidden_size=3, random_state=0) | parameters)


# --- seasons -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("freq", "expected"),
    [("D", [7, 365]), ("h", [24, 168]), ("30min", [48, 336]), ("2h", [12, 84]), ("15min", [96, 672]),
     ("W-SUN", [52]), ("2W", [26]), ("MS", [12]), ("ME", [12]), ("2MS", [6]), ("QS", [4]), ("QE-NOV", [4]),
     ("B", [5]), ("BME", [12]), ("YS", []), ("YE", []), ("s", []), ("5h", []), ("3D", [])],
)  # fmt: skip
def test_seasons_of_frequencies(freq, expected):
    assert seasons(read_panel(series(np.zeros(2100), freq), freq=freq)) == expected


def test_seasons_of_periods():
    index = pd.period_range("2020-01", periods=60, freq="M")
    assert seasons(read_panel(pd.Series(np.arange(60.0), index))) == [12]


@pytest.mark.parametrize(("rows", "expected"), [(20, []), (21, [7]), (1094, [7]), (1095, [7, 365])])
def test_a_season_is_there_three_times(rows, expected):
    assert seasons(read_panel(series(np.zeros(rows)))) == expected


@pytest.mark.parametrize("period", [3, 10, 24])
def test_season_of_integer_times(period):
    noise = 0.05 * np.random.default_rng(0).normal(size=200)
    found = seasons(read_panel(pd.Series(np.sin(2 * np.pi * STEPS / period) + noise + 0.1 * STEPS)))
    assert len(found) == 1
    assert found[0] % period == 0


@pytest.mark.parametrize("values", [np.random.default_rng(0).normal(size=200), STEPS, 0 * STEPS, STEPS[:5]])
def test_no_season_of_integer_times(values):
    assert seasons(read_panel(pd.Series(values))) == []


class Weighed(Ridge):
    """By scikit-learn, targets beyond unit size counting as of that."""

    def fit(self, X, y):
        return super().fit(X, y, 1 / np.maximum(1, np.mean(np.reshape(y, (len(y), -1)) ** 2, axis=1)))


# --- ridge regression ----------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(40, 7), (9, 30)])
def test_a_path_of_ridge_regressions(shape):
    rng = np.random.default_rng(0)
    X, Y, new = rng.normal(size=shape), rng.normal(size=(shape[0], 3)), rng.normal(size=(4, shape[1]))
    path = RidgePath().fit(X, Y)
    assert path.predict(new).shape == (4, 3, len(STRENGTHS))
    for k, strength in enumerate(STRENGTHS):
        oracle = Weighed(strength).fit(X, Y)
        np.testing.assert_allclose(path.weights[k], oracle.coef_, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(path.predict(new)[:, :, k], oracle.predict(new), rtol=1e-8)


def test_evenly():
    np.testing.assert_array_equal(evenly(np.arange(5), 5), np.arange(5))
    np.testing.assert_array_equal(evenly(np.arange(0, 22, 2), 3), [0, 10, 20])


@pytest.mark.parametrize("level", [None, [50, 80]])
@pytest.mark.parametrize("cls", [LSTMForecaster, GRUForecaster])
def test_a_network_begins_at_ridge_regression(cls, level):
    """A rate of nearly nothing leaves it there, beside what the recurrent part says at random."""
    data, given = walk(60), PLAIN | dict(h=2, lags=6, hidden_size=4, random_state=0, max_steps=1)
    weights = cls(**given, learning_rate_init=1e-30, level=level).fit(data).regressor_.weights_
    oracle = {
        strength: LSTMForecaster(**given, regressor=Weighed(strength)).fit(data).regressor_
        for strength in STRENGTHS
    }
    n = 5 if level else 1
    W, b = weights["skip.weight"], weights["head.bias"]
    same = [
        np.allclose(W[n // 2 :: n], one.coef_, atol=1e-5)
        and np.allclose(b[n // 2 :: n], one.intercept_, atol=1e-5)
        for one in oracle.values()
    ]
    assert sum(same) == 1
    if level:
        others = np.arange(len(W)) % n != n // 2
        assert np.abs(W[others]).max() < 1e-20
        assert np.abs(b[others]).max() < 1e-20


@pytest.mark.parametrize(
    "parameters", [{"linear_skip": False}, {"lags": None}, {"strategy": "encoder_decoder"}]
)
def test_what_does_not_begin_there(parameters):
    model = quick(**PLAIN | {"lags": 6} | parameters).fit(walk(60))
    assert model.model_.task.ridge is None


@pytest.mark.parametrize("shape", [(40, 7), (9, 30)])
def test_ridge_regression_of_what_is_known(shape):
    """Near the regression of each output on the rows where it is known."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=shape), rng.normal(size=(shape[0], 3))
    Y[:, :2] /= 10  # no row is beyond unit size
    Y[:, 2] = 0.1 * X[:, 0]
    Y[rng.random(Y.shape) < 0.2] = np.nan
    path = RidgePath([3.0, 300.0]).fit(X, Y)
    for k, strength in enumerate((3.0, 300.0)):
        for j in range(3):
            known = ~np.isnan(Y[:, j])
            oracle = Ridge(strength).fit(X[known], Y[known, j])
            near = 1e-6 if shape[0] > shape[1] else 3e-3  # where the map fits all, rounds change little
            np.testing.assert_allclose(path.weights[k, j], oracle.coef_, atol=near)
            np.testing.assert_allclose(path.biases[k, j], oracle.intercept_, atol=near)


# --- views ---------------------------------------------------------------------------------------------
def test_all_views_of_a_seasonal_series():
    found = views(read_panel(series(np.exp(np.sin(STEPS)))), 5, AUTO)
    assert {view.lags for view in found} == {7, 14, 28}
    assert {view.differences for view in found} == {(), (1,), (7,)}
    assert {view.scale_by for view in found} == {"series", "window"}
    assert {view.log1p for view in found} == {False, True}
    assert len(found) == 36


def test_no_logarithm_of_what_is_negative_or_whose_mean_is_asked_for():
    assert not any(view.log1p for view in views(read_panel(series(np.sin(STEPS))), 5, AUTO))
    assert not any(view.log1p for view in views(read_panel(series(STEPS)), 5, AUTO, mean=True))


@pytest.mark.parametrize("n", [4, 6, 9, 15, 40])
def test_windows_fit_in_the_shortest_series(n):
    data = pd.concat([series(np.random.default_rng(k).normal(size=rows)) for k, rows in enumerate([n, 60])])
    long = pd.DataFrame({"unique_id": [0] * n + [1] * 60, "ds": data.index, "y": data.to_numpy()})
    found = views(read_panel(long), 3, replace(AUTO, step=3))
    assert found
    assert all(view.n_rows + 3 <= n for view in found)


@pytest.mark.parametrize(
    "given",
    [{"lags": 9}, {"scale_by": "series"}, {"scale_by": "window"}, {"differences": None},
     {"differences": [1, 7]}, {"log1p": True}, {"log1p": False}, {"scaling": "last"}, {"scaling": None},
     {"lags": 9, "differences": 2, "scaling": "minmax"}],
)  # fmt: skip
def test_what_is_given_is_kept(given):
    model = quick(**given).fit(series(5 + np.sin(STEPS)))
    kept = {"lags": model.lags_, "scale_by": model.scale_by_, "log1p": model.log1p_}
    for name, value in given.items():
        if name in kept:
            assert set(kept[name]) == {value}
    if "differences" in given:
        value = given["differences"]
        assert set(model.differences_) == {() if value is None else tuple(np.atleast_1d(value))}
    if given.get("scaling", "") in ("last", None):
        assert set(model.scale_by_) == {"window" if given["scaling"] else "series"}


def test_the_best_view_of_each_kind():
    a = View(7, "series", (), False, 5)
    b, c = replace(a, lags=14), replace(a, scale_by="window")
    assert chosen([a, b, c], 2) == [a, c]
    assert chosen([a, b, c], 5) == [a, c, a, c, a]
    assert chosen([c, b, a], 1) == [c]
    assert chosen([a, b, c]) == [a, c]
    a, b, c = (replace(view, error=error) for view, error in ((a, 2.0), (b, 2.5), (c, 3.1)))
    assert chosen([a, b, c]) == [a]
    assert chosen([a, b, replace(c, error=3.0)]) == [a, replace(c, error=3.0)]
    assert chosen([a, b, c], 3) == [a, a, a]


def test_many_rows_need_no_differences():
    values = 5 + np.sin(np.arange(999.0))
    assert {view.differences for view in views(read_panel(series(values)), 5, AUTO)} == {(), (1,), (7,)}
    assert {view.differences for view in views(read_panel(series([*values, 5.0])), 5, AUTO)} == {()}


def test_judged_by_what_comes_later():
    """The last eight horizons, forecast by what was learnt before the first of them."""
    data = pd.Series(np.random.default_rng(1).normal(size=400).cumsum())
    panel = read_panel(data)
    found = judged(
        panel, views(panel, 5, replace(AUTO, lags=7, scale_by="series", log1p=False)), 5, quick()._task
    )
    assert [view.error for view in found] == sorted(view.error for view in found)
    assert {view.differences for view in found} == {(), (1,)}
    for view in found:
        plain = PLAIN | {"lags": 7, "differences": list(view.differences) or None}
        errors = []
        for strength in STRENGTHS:
            model = LSTMForecaster(h=5, regressor=Weighed(strength), **plain)
            backtest = model.cross_validation(data, n_windows=8, refit=False)
            errors.append((backtest["y"] - backtest["LSTMForecaster"]).abs().mean())
        assert view.ridge == STRENGTHS[int(np.argmin(errors))]
        assert view.error == pytest.approx(min(errors) / data[:360].diff().abs().mean(), rel=1e-5)


def test_a_network_for_each_of_the_best_five_kinds():
    data = series(5 + np.sin(STEPS))
    model = quick().fit(data)
    kinds = set(zip(model.scale_by_, model.differences_, model.log1p_))
    assert 1 < len(model.model_.models) == len(kinds) <= 5
    assert len(quick(n_networks=2).fit(data).lags_) == 2
    assert len(quick(regressor=Ridge()).fit(data).lags_) == 1
    assert len(quick(lags=None).fit(data).lags_) == 1
    assert len(quick(**PLAIN, lags=5).fit(data).lags_) == 1


def test_several_networks_of_one_view_differ():
    model = quick(**PLAIN, lags=5, n_networks=3).fit(walk(60))
    assert model.lags_ == [5, 5, 5]
    first = [one.regressor.weights_["weight_hh_l0"] for one in model.model_.models]
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[1], first[2])


def test_one_that_runs_away_does_not_take_the_others_with_it():
    class Fixed:
        def __init__(self, value):
            self.value = value

        def forecast(self, *_):
            return np.full((1, 2, 1), self.value)

    def mean(*values):
        return Ensemble([Fixed(value) for value in values], np.array([-np.inf])).forecast(None, None, None)

    np.testing.assert_array_equal(mean(1.0, 2.0, 3.0, 1e9, -1e9), np.full((1, 2, 1), 2.0))
    np.testing.assert_array_equal(mean(1.0, 3.0), np.full((1, 2, 1), 2.0))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_same_bits(n_jobs):
    data = pd.DataFrame({"a": walk(80), "b": walk(80, seed=1)})
    expected = quick().fit(data).predict()
    pd.testing.assert_frame_equal(quick(n_jobs=n_jobs).fit(data).predict(), expected)


# --- what it comes to ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("values", "freq"),
    [(STEPS, "D"), (-STEPS[:40], "D"), (STEPS**2, "D"), (np.exp(STEPS / 40), "D"),
     (np.sin(2 * np.pi * STEPS / 7) + np.sin(2 * np.pi * STEPS / 30) / 2, "D"),
     (0.1 * STEPS + 3 * np.sin(2 * np.pi * STEPS / 12), "MS"), (0 * STEPS + 5, "h")],
    ids=["line", "short line", "parabola", "exponential", "sines", "trend and season", "constant"],
)  # fmt: skip
def test_what_has_no_noise_goes_on(values, freq):
    data, h = series(values, freq), 10
    forecast = LSTMForecaster(h=h, random_state=0).fit(data[:-h]).predict()
    np.testing.assert_allclose(forecast, data[-h:], atol=0.01 * (np.ptp(values) or 1))


def test_intermittent_demand_is_forecast_by_its_mean():
    rng = np.random.default_rng(5)
    demand = series(np.where(rng.random(600) < 0.2, rng.poisson(6, 600) + 1.0, 0.0))
    model = LSTMForecaster(h=14, random_state=0)
    found = model.cross_validation(demand, n_windows=3, refit=False)
    assert 0.6 < found["LSTMForecaster"].sum() / found["y"].sum() < 1.5
    assert model.fit(demand).regressor_.loss == "squared_error"
    assert model.set_params(loss="huber").fit(demand).regressor_.loss == "huber"
    assert model.set_params(loss="auto").fit(demand + 1).regressor_.loss == "absolute_error"


@pytest.mark.parametrize("intervals", ["conformal", "quantile"])
def test_what_was_never_negative_is_not_forecast_so(intervals):
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"up": np.abs(rng.normal(size=120)) ** 3, "down": rng.normal(size=120)})
    data.index = pd.date_range("2020", periods=120)
    given = dict(level=95, intervals=intervals, multivariate=True)
    found = quick(**given).fit(data).predict()
    assert found["up"].to_numpy().min() == 0
    assert found["down"].to_numpy().min() < 0
    assert quick(**given, non_negative=False).fit(data).predict()["up"].to_numpy().min() < 0
    assert quick(**given, non_negative=True).fit(data).predict().to_numpy().min() == 0
    assert (
        quick(**given | {"multivariate": False}).fit(data).predict().to_numpy().min() < 0
    )  # one of both was


def test_quantiles_of_a_walk_grow_with_the_root_of_the_horizon():
    h, found = 16, []
    for seed in range(3):
        data = series(np.random.default_rng(seed).normal(size=400).cumsum())
        model = quick(h=h, lags=5, differences=1, log1p=False, level=80, intervals="quantile", max_steps=300)
        forecast = model.fit(data).predict()
        found.append(forecast["y-hi-80"] - forecast["y-lo-80"])
    widths = np.mean(found, axis=0)
    assert 0.7 < widths[0] / 2.563 < 1.4
    assert 3 < widths[-1] / widths[0] < 6  # 4 = sqrt(16)


@pytest.mark.parametrize(("level", "windows"), [(30, 10), (50, 10), (80, 25), ([50, 95], 100), (99, 500)])
def test_windows_to_calibrate_with(level, windows):
    model = quick(level=level, h=2)
    assert model._calibration(read_panel(series(np.zeros(4000)))) == (windows, 2)
    assert quick(level=level, h=2, calibration_windows=7)._calibration(read_panel(series(STEPS))) == (7, 2)


def test_intervals_of_a_series_too_short_to_calibrate_are_quantiles():
    model = quick(level=80).fit(series(STEPS[:14]))
    assert model.widths_ is None
    assert model.model_.task.heads
    assert quick(level=80).fit(series(STEPS[:60])).widths_ is not None


@pytest.mark.parametrize("n", [6, 7, 8, 10, 14])
def test_short_series(n):
    forecast = quick().fit(series(5 + STEPS[:n])).predict()
    assert np.isfinite(forecast).all()


def test_told_on_the_way(capsys):
    quick(verbose=True, n_networks=2).fit(series(5 + np.sin(STEPS)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("LSTMForecaster: series 'y'")
    assert len(lines) == 3
    assert "lags=" in lines[1]
    assert "by ridge regression" in lines[1]
    quick(verbose=True, **PLAIN, lags=4).fit(series(STEPS))
    assert len(capsys.readouterr().out.splitlines()) == 1


def chaos(n, x=0.3):
    """The logistic map, of which a line cannot tell the next value."""
    return np.array([x := 3.8 * x * (1 - x) for _ in range(n)])


@pytest.mark.parametrize(
    ("values", "passes"), [(np.random.default_rng(0).normal(size=400), 3), (chaos(400), 30)]
)
def test_noise_is_not_learnt_for_long(values, passes):
    model = quick(**PLAIN, lags=3, h=1, hidden_size=16, max_steps=None).fit(series(values))
    assert model.regressor_.n_iter_ == passes


def test_error_of_held_back_windows():
    """Of a model that says that nothing changes, in mean absolute steps."""

    class Last:
        def forecast(self, panel, future, stamps):
            last = [panel.values[stop - 1] for stop in panel.stops]
            return np.repeat(np.asarray(last)[:, None, :, None], 5, axis=1)

    values = np.random.default_rng(0).normal(size=(3, 100)).cumsum(axis=1)
    data = pd.DataFrame(values.T)
    trial = Trial.of(read_panel(data), 10, 5)
    cuts = 100 - 5 - np.array([28 // 7 * k for k in range(8)])[::-1]
    assert (trial.cut.lengths == 10).all()
    assert sorted(trial.cut.last_stamps) == sorted([cut - 1 for cut in cuts] * 3)
    expected = [
        np.abs(one[cut : cut + 5] - one[cut - 1]) / np.abs(np.diff(one[: cuts[0]])).mean()
        for cut in cuts
        for one in values
    ]
    np.testing.assert_allclose(trial.error(Last()), np.mean(expected))
    np.testing.assert_allclose(trial.error(Last(), squared=True), np.mean(np.square(expected)))
    trial.y[:] = np.nan
    assert np.isnan(trial.error(Last())).all()


def test_nothing_is_held_back_of_short_series():
    panel = read_panel(series(STEPS[:20]))
    assert Trial.of(panel, 15, 5) is not None
    assert Trial.of(panel, 16, 5) is None


# --- short series --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("h", "rows", "expected"),
    [(12, 36, 12), (12, 35, 6), (12, 17, 4), (12, 8, 2), (12, 2, 1), (7, 20, 1), (1, 1, 1), (8, 12, 4)],
)
def test_steps_that_are_answered_at_once(h, rows, expected):
    assert answered_at_once(h, rows) == expected
    found = views(read_panel(series(STEPS[:rows])), h, replace(AUTO, step=h, fewer=True))
    assert {view.step for view in found} == {expected}


@pytest.mark.parametrize("calendar", [None, ["dayofweek"]])
def test_answers_are_read_where_a_series_is_short(calendar):
    data, rng = series(np.random.default_rng(0).normal(size=20)), np.random.default_rng(1)
    data = pd.DataFrame({"unique_id": "a", "ds": data.index, "y": data.to_numpy(), "x": rng.normal(size=20)})
    later = pd.DataFrame({"unique_id": "a", "ds": data["ds"].iloc[-1:].repeat(12), "x": rng.normal(size=12)})
    later["ds"] += pd.to_timedelta(np.arange(1, 13), "D")
    model = quick(h=12, n_networks=1, scale_by="series", futr_exog=["x"], calendar=calendar).fit(data)
    assert model.model_.task.step == 6
    forecast = model.predict(X_df=later)
    first = later.iloc[:6].assign(y=forecast["LSTMForecaster"].to_numpy()[:6])
    known = pd.concat([data, first])
    rest = later.iloc[6:]
    rest = pd.concat([rest, rest.assign(ds=rest["ds"] + pd.to_timedelta(6, "D"), x=0.0)])
    again = model.predict(known, X_df=rest)
    np.testing.assert_allclose(forecast["LSTMForecaster"][6:], again["LSTMForecaster"][:6], rtol=1e-6)


@pytest.mark.parametrize("parameters", [{"lags": 5}, {"hist_exog": ["x"]}])
def test_all_steps_at_once_where_that_is_asked_for(parameters):
    data = pd.DataFrame({"unique_id": "a", "ds": series(STEPS[:30]).index, "y": STEPS[:30], "x": STEPS[:30]})
    assert quick(h=12, **parameters).fit(data).model_.task.step == 12
    assert quick(h=12).fit(data[["unique_id", "ds", "y"]]).model_.task.step == 6


def test_deviations_of_answers_to_answers_grow():
    """Of a series that does not depend on itself, the second half of the horizon knows as much as the first;
    its quantiles are wider all the same, as if it depended on the first."""
    data = series(np.random.default_rng(0).normal(size=34))
    model = quick(h=12, differences=None, scale_by="series", n_networks=1, level=80, intervals="quantile")
    forecast = model.fit(data).predict()
    width = (forecast["y-hi-80"] - forecast["y-lo-80"]).to_numpy()
    assert model.model_.task.step == 6
    assert (width[6:] > width[5] * 1.1).all()


def test_naive_forecasts_are_compared():
    values = np.random.default_rng(0).normal(size=(2, 30)).cumsum(axis=1)
    panel, units = read_panel(pd.DataFrame(values.T)), np.abs(np.diff(values)).mean(axis=1)

    def expected(differences, h):
        found = []
        for one, unit in zip(values, units):
            if not differences:
                found.append(np.abs(one - one.mean()).mean() / unit)
            for k in range(1, h + 1) if differences else []:
                lag = next(n for n in range(k, 99) if n % differences[0] == 0)
                steps = np.array([one[t] - one[t - lag] for t in range(lag, 30)])
                found.append(np.abs(steps - steps.mean()).mean() / unit)
        return np.mean(found)

    for differences in ((), (1,), (7,), (12,)):
        np.testing.assert_allclose(naive_error(panel, differences, 9), expected(differences, 9))
    assert naive_error(panel, (40,), 3) == np.inf


@pytest.mark.parametrize(
    ("values", "differences"),
    [(np.tile([1.0, 5, 2, 4, 9, 3, 7], 3), (7,)), (np.random.default_rng(1).normal(size=21), ()),
     (np.random.default_rng(1).normal(1, 0.3, 21).cumsum(), (1,))],
)  # fmt: skip
def test_of_what_cannot_be_judged_the_best_naive_forecast(values, differences):
    panel = read_panel(series(values))
    found = unjudged(panel, views(panel, 7, replace(AUTO, step=7)), 7)
    assert found[0].differences == differences
    assert {view.scale_by for view in found} == {"series"}
    assert not any(view.log1p for view in found)


def test_three_seasons_are_forecast_by_the_season():
    wave = np.array([3.0, 8, 1, 4, 7, 2, 9, 5, 6, 1, 7, 3])
    forecast = quick(h=12, max_steps=None).fit(series(np.tile(wave, 3), "MS")).predict()
    assert np.abs(forecast - wave).max() < 1


# --- what comes later ----------------------------------------------------------------------------------
def test_the_first_negative_value_is_no_error():
    """Logarithms and the sign of forecasts were chosen by what was never negative."""
    values = np.exp(np.random.default_rng(0).normal(size=100))
    history, later = series(values[:99]), series(np.append(values[:99], -3.0))
    model = quick(h=1).fit(history)
    assert any(model.log1p_)
    assert np.isfinite(model.score(later[-1:]))
    assert np.isfinite(model.predict(later)).all()
    assert np.isfinite(model.update(later[-1:]).predict()).all()
    one, other = (quick(h=1).cross_validation(data, 1) for data in (later, series(values)))
    assert one["LSTMForecaster"].tolist() == other["LSTMForecaster"].tolist()
    assert np.isfinite(quick(h=1, level=80).fit(later).predict()).all(axis=None)


def test_a_history_that_has_become_negative():
    data = series(10 + np.sin(STEPS))
    model = quick(log1p=False).fit(data)
    assert (model.predict(data - 100) < -50).all()
    assert (quick(log1p=False, non_negative=True).fit(data).predict(data - 100) == 0).all()


def test_views_are_judged_in_a_gap():
    """Longer than what is read before one of the windows held back."""
    data = series(10 + np.sin(STEPS))
    data.iloc[140:185] = np.nan
    model = quick(missing="interpolate").fit(data)
    assert np.isfinite(model.predict()).all()
    assert not np.isnan([view.error for view in model._views(model.panel_)]).any()
