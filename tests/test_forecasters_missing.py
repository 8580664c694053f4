"""Missing values: filled or told to the network, and never learnt as if they were known."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from spies import LAGS, H, SpyNetwork, forecaster, name_of, spied, walk

from skrnn.forecasting import ForecastDisplay, LSTMForecaster, evaluate
from skrnn.forecasting.model import Model


def with_gaps(n=60):
    data = walk(n)
    data.iloc[[10, 11, 30, 47]] = np.nan
    return data


@pytest.mark.parametrize("lags", [LAGS, None])
def test_the_network_is_told_what_was_missing(lags):
    """A second column says what was observed, and what was not is no target; the others of its window are."""
    own = SpyNetwork(2, max_iter=1, random_state=0)
    data = with_gaps()
    model = spied(data, own, missing="mask", lags=lags)
    network, observed = model.regressor_, data.notna().to_numpy()
    assert_array_equal(network.X_.values[:, 1], observed)
    assert_array_equal(np.isnan(network.y_.values[:, 0]), ~observed)
    if lags:
        expected = [observed[at : at + H].mean() for at in network.y_.at]
    else:
        expected = [observed[t + 1 : t + 1 + H].mean() if t + H < 60 else 0 for t in range(60)]
    assert_allclose(network.w_, expected)
    assert set(np.unique(np.round(expected, 3))) >= {0.333, 0.667, 1}


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"lags": None},
        {"regressor": Ridge()},
        {"differences": 1},
        {"validation_fraction": 0.3},
        {"multivariate": True},
    ],
    ids=name_of,
)
def test_filled_values_are_never_learnt(parameters, monkeypatch):
    """Other values there, as targets only, and the fit is the same to the bit."""
    data = pd.DataFrame({"a": with_gaps(), "b": walk(seed=3)})
    model = forecaster(parameters, missing="mask", max_steps=5, scaling=None)
    expected = model.fit(data).predict()
    method = "_windows" if model.lags else "_learn_histories"
    place = 1 if model.lags else 2  # of the targets among its arguments; which are unknown comes next
    original, calls = getattr(Model, method), []

    def spoilt(self, *arguments):
        targets, unknown = arguments[place : place + 2]
        calls.append(np.count_nonzero(unknown))
        other = np.where(unknown, 1e3, targets).astype(targets.dtype)
        return original(self, *arguments[:place], other, *arguments[place + 1 :])

    monkeypatch.setattr(Model, method, spoilt)
    pd.testing.assert_frame_equal(model.fit(data).predict(), expected)
    assert max(calls) >= 4


def test_missing_values_do_not_stop_a_fit_early():
    """Of windows that are held back what is known has a score."""
    own = SpyNetwork(2, max_iter=2, random_state=0)
    data = with_gaps()
    network = spied(data, own, missing="mask", validation_fraction=0.3).regressor_
    held_back, observed = network.validation_["y_val"], data.notna().to_numpy()
    assert held_back.at.tolist() == [*range(60 - H + 1 - len(held_back.at), 60 - H + 1)]
    assert 47 in held_back.at
    assert_array_equal(np.isnan(held_back.values[:, 0]), ~observed)
    y = held_back.matrix()
    raw = y[::-1].copy()
    raw[np.isnan(raw)] = 3.0
    scores = [r2_score(true[known], value[known]) for true, value in zip(y.T, raw.T)
              for known in [~np.isnan(true)]]  # fmt: skip
    assert np.isnan(y).any()
    assert network._score_rows(raw, y, None) == pytest.approx(np.mean(scores))


@pytest.mark.parametrize("parameters", [{}, {"lags": None}, {"strategy": "encoder_decoder"}], ids=name_of)
@pytest.mark.parametrize("head", [{}, {"level": 80, "intervals": "quantile"}, {"loss": "huber"}], ids=name_of)
def test_no_window_is_whole(parameters, head):
    """Nor is it wasted: of a third of the values a sine is learnt."""
    t = np.arange(300)
    data = pd.Series(np.sin(t * 2 * np.pi / 12), pd.date_range("2024-01-01", periods=300, freq="h"))
    seen = data.where((t % 3 == 0) | (np.random.default_rng(0).random(300) < 0.1) | (t > 280))
    given = dict(missing="mask", h=6, hidden_size=16, max_steps=1500, lags=24) | parameters | head
    model = forecaster(given, learning_rate_init=0.01).fit(seen)
    forecast = np.asarray(model.predict())
    expected = np.sin((300 + np.arange(6)) * 2 * np.pi / 12)
    assert np.abs(forecast.reshape(6, -1)[:, 0] - expected).mean() < 0.25
    weights = np.convolve(seen.notna(), np.ones(6), "valid")
    assert weights[:270].max() < 6


def test_views_are_judged_where_no_window_is_whole():
    data = walk(200)
    data.iloc[::3] = np.nan
    model = LSTMForecaster(h=H, missing="mask", max_steps=5, random_state=0).fit(data)
    views = model._views(model.panel_)
    assert not np.isnan([view.error for view in views]).any()


def test_a_regressor_of_rows_needs_whole_windows():
    data = walk()
    data.iloc[::3] = np.nan
    with pytest.raises(ValueError, match="one in every 3 targets in a row is missing"):
        forecaster(regressor=Ridge(), missing="mask").fit(data)
    assert forecaster(missing="mask").fit(data).predict().notna().all()


def test_interpolated_values_are_targets_like_others():
    data = with_gaps()
    model = spied(data, missing="interpolate")
    filled = data.interpolate()
    assert len(model.regressor_.X_) == 60 - LAGS - H + 1
    pd.testing.assert_series_equal(spied(filled).predict(), model.predict())


def test_true_values_that_were_missing_are_no_errors():
    data = walk()
    data.iloc[-2] = np.nan
    scores = forecaster(missing="mask").cross_validation(data, n_windows=2)
    assert scores["y"].isna().tolist() == [False] * 4 + [True, False]
    model = forecaster(missing="mask").fit(data[:-H])
    error = (model.predict() - data[-H:]).abs() / data[:-H].diff().abs().mean()
    assert model.score(data[-H:]) == pytest.approx(-error.dropna().mean())


@pytest.mark.parametrize("missing", ["interpolate", "mask"])
@pytest.mark.parametrize("parameters", [{}, {"lags": None}, {"scale_by": "window"}], ids=name_of)
def test_columns_that_begin_late_and_end_early(missing, parameters):
    """As in a long frame without the rows before and behind; NaN where a column has no forecast."""
    wide = pd.DataFrame({"a": with_gaps(), "b": walk(60, seed=3), "c": walk(60, seed=4)})
    wide.iloc[:15, 1] = wide.iloc[56:, 2] = np.nan
    long = wide.rename_axis("ds").melt(ignore_index=False, var_name="unique_id", value_name="y").reset_index()
    long = long[(long["unique_id"] != "b") | (long["ds"] >= wide.index[15])]
    long = long[(long["unique_id"] != "c") | (long["ds"] < wide.index[56])]
    model = forecaster(parameters, missing=missing, level=80)
    answers = []
    for data in wide, long:
        forecast = model.fit(data).predict()
        again = model.predict(data[10:] if data is wide else data[data["ds"] >= wide.index[10]])
        folds = model.cross_validation(data, 2)
        answers.append([forecast, again, folds])
    step = wide.index.freq
    ends = {"a": wide.index[59], "b": wide.index[59], "c": wide.index[55]}
    forecast = answers[0][0]
    assert forecast.index.tolist() == [*[ends["c"] + k * step for k in (1, 2, 3)],
                                       *[ends["a"] + k * step for k in (1, 2, 3)]]  # fmt: skip
    name = type(model).__name__
    for id, end in ends.items():
        assert forecast[id].dropna().index.tolist() == [end + k * step for k in (1, 2, 3)]
        for one, other in zip(*answers):
            own = other[other["unique_id"] == id]
            assert_array_equal(one[id][name].dropna(), own[name])
            assert one[id].dropna().index.get_level_values(-1).tolist() == own["ds"].tolist()
        assert answers[0][2][id].dropna().index.get_level_values(0).max() == end - H * step


def ragged():
    wide = pd.DataFrame({"a": walk(), "b": walk(seed=1), "x": walk(seed=2)})
    wide.iloc[50:, 1] = np.nan
    return wide


def test_future_covariates_of_columns_that_end_early():
    """Of all stamps that one of them needs; each column reads its own."""
    data = ragged()
    model = forecaster(futr_exog="x", missing="interpolate").fit(data)
    rows = model.make_future_dataframe()
    later = data.index[-1] + data.index.freq * np.arange(1, H + 1)
    assert rows.index.tolist() == [*data.index[50 : 50 + H], *later]
    future = rows.assign(x=np.arange(6.0))
    found = model.predict(X_df=future)
    assert found.index.tolist() == rows.index.tolist()
    assert found["a"].isna().tolist() == [True] * H + [False] * H
    assert found["b"].isna().tolist() == [False] * H + [True] * H
    moved = model.predict(X_df=future.assign(x=[0, 1, 2, 9, 9, 9]))
    assert_array_equal(moved["b"], found["b"])
    assert (moved["a"] != found["a"])[H:].all()
    with pytest.raises(
        ValueError, match="X_df lacks 3 of the 6 rows that are forecast, the first of them 2024-02-20"
    ):
        model.predict(X_df=future[H:])


def test_other_horizons_of_columns_that_end_early():
    """The covariates that are needed are those of the steps that are asked for."""
    data = ragged()
    model = forecaster(futr_exog="x", missing="interpolate").fit(data)
    for h in 2, 5:
        rows = model.make_future_dataframe(h=h)
        ends = data.index[[49, 59]]
        ahead = {end + k * data.index.freq for end in ends for k in range(1, h + 1)}
        assert rows.index.tolist() == sorted(ahead)
        found = model.predict(h=h, X_df=rows.assign(x=1.0))
        assert found.notna().sum().tolist() == [h, h]
    values = model.fitted_values()
    assert values["b"]["y"].last_valid_index() == data.index[49]


def test_what_is_made_of_answers_with_gaps():
    """Plots and scores know them."""
    pytest.importorskip("utilsforecast")
    import matplotlib.pyplot as plt

    data = ragged().drop(columns="x")
    model = forecaster(missing="interpolate", level=80).fit(data)
    display = model.plot(max_rows=5)
    for name, first in ("a", 59), ("b", 49):
        line = display.lines_[name][1]
        assert line.get_xdata()[0] == data.index[first].to_numpy()
        assert_array_equal(line.get_ydata()[1:], model.predict()[name][model._name].dropna())
    scores = model.cross_validation(data, 2)
    long = scores.stack(0, future_stack=True).dropna().reset_index(names=["cutoff", "ds", "unique_id"])
    assert len(long) == 2 * 2 * H
    pd.testing.assert_frame_equal(evaluate(scores, ["mae"]), evaluate(long, ["mae"]))
    drawn = ForecastDisplay.from_cross_validation(scores).lines_["b"][1].get_ydata()
    assert_array_equal(drawn[~np.isnan(drawn)], long[long["unique_id"] == "b"][model._name])
    plt.close("all")


def test_columns_go_on_or_not():
    """`update` may leave some where they ended, and `score` compares those that have values."""
    data = ragged().drop(columns="x")
    model = forecaster(missing="mask").fit(data[:55])
    error = (model.predict()["a"][-H:] - data["a"][55 : 55 + H]).abs() / data["a"][:55].diff().abs().mean()
    assert model.score(data[55 : 55 + H]) == pytest.approx(-error.mean())
    model.update(data[55:])
    assert model.panel_.lengths.tolist() == [60, 50]
    pd.testing.assert_frame_equal(model.predict(), model.predict(data))


def test_a_series_without_its_name():
    named = walk().rename("sales")
    for history, later in (named, named.rename(None)), (named.rename(None), named):
        model = forecaster({}).fit(history[:-5])
        model.update(later[-5:])
        assert model.predict().name == history.name
        pd.testing.assert_series_equal(model.predict(later), model.predict())
