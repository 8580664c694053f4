"""Missing values: filled or told to the network, and never learnt as if they were known."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.linear_model import Ridge
from spies import LAGS, H, SpyNetwork, forecaster, name_of, spied, walk

from skrnn.forecasting import ForecastDisplay, evaluate
from skrnn.forecasting.model import Model


def with_gaps(n=60):
    data = walk(n)
    data.iloc[[10, 11, 30, 47]] = np.nan
    return data


@pytest.mark.parametrize("lags", [LAGS, None])
def test_the_network_is_told_what_was_missing(lags):
    """A second column says what was observed, and what was not is no target."""
    own = SpyNetwork(2, max_iter=1, random_state=0)
    data = with_gaps()
    model = spied(data, own, missing="mask", lags=lags)
    network, observed = model.regressor_, data.notna().to_numpy()
    assert_array_equal(network.X_.values[:, 1], observed)
    if lags:
        expected = [observed[at : at + H].all() for at in network.y_.at]
        assert_array_equal(network.w_, expected)
    else:
        expected = [t + H < 60 and observed[t + 1 : t + 1 + H].all() for t in range(60)]
        assert_array_equal(network.w_ > 0, expected)
    assert 0 < sum(expected) < len(expected)


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
        other = np.where(unknown[:, None], 1e3, targets).astype(targets.dtype)
        return original(self, *arguments[:place], other, *arguments[place + 1 :])

    monkeypatch.setattr(Model, method, spoilt)
    pd.testing.assert_frame_equal(model.fit(data).predict(), expected)
    assert max(calls) >= 4


def test_missing_values_do_not_stop_a_fit_early():
    """Windows that are held back with targets that are known, all of them."""
    own = SpyNetwork(2, max_iter=2, random_state=0)
    data = with_gaps()
    network = spied(data, own, missing="mask", validation_fraction=0.3).regressor_
    held_back, observed = network.validation_["y_val"], data.notna().to_numpy()
    windows = [at for at in range(held_back.at.min(), 60 - H + 1) if observed[at : at + H].all()]
    assert held_back.at.tolist() == windows
    assert network.validation_["X_val"].starts.tolist() == [at - LAGS for at in windows]
    assert 47 in range(min(windows), 60)


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
