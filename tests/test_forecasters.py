"""What a user does with a forecaster: covariates, backtests, updates, searches."""

import pickle
import re
from io import BytesIO

import joblib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from forms import MODEL, N, after, few_forms, head, kind, long, noise, same, series, tail, wide
from pandas.testing import assert_frame_equal, assert_series_equal
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from spies import H, forecaster

from skrnn import GRURegressor, LSTMRegressor
from skrnn.forecasting import GRUForecaster, LSTMForecaster, RNNForecaster, RollingOrigin, evaluate


# --- covariates -------------------------------------------------------------------------------------
def with_covariates():
    """Two shops; sales follow the price of the same day, which is known ahead."""
    rng = np.random.default_rng(0)
    parts = []
    for shop, n in ("north", 90), ("south", 70):
        price, visitors = rng.standard_normal((2, n))
        sales = 5 + 3 * price + np.r_[0, visitors[:-1]]
        parts.append(
            pd.DataFrame(
                {
                    "unique_id": shop,
                    "ds": pd.date_range("2024-01-01", periods=n, freq="D"),
                    "y": sales,
                    "price": price,
                    "visitors": visitors,
                    "size": {"north": 2.0, "south": 5.0}[shop],
                    "region": pd.Categorical([shop] * n, ["north", "south"]),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


ROLES = dict(futr_exog="price", hist_exog=["visitors"], stat_exog=["size", "region"], calendar="dayofweek")


def test_what_is_known_ahead_is_used():
    data = with_covariates()
    model = GRUForecaster(h=2, lags=4, max_steps=400, learning_rate_init=0.01, random_state=0, **ROLES)
    known, held_back = head(data, 2), tail(data, 2)
    forecast = model.fit(known).predict(X_df=held_back)
    error = forecast["GRUForecaster"] - held_back["y"]
    # The visitors of the last day are known for the first step and not for the second.
    assert np.abs(error[::2]).max() < 1
    assert np.abs(error).max() < 3
    other = held_back.assign(price=held_back["price"] + 1)
    moved = model.predict(X_df=other)["GRUForecaster"] - forecast["GRUForecaster"]
    np.testing.assert_allclose(moved, 3, atol=1)


def test_static_covariates_in_a_frame_of_their_own():
    data = with_covariates()
    table = data.drop_duplicates("unique_id")[["unique_id", "region", "size"]]
    inside = forecaster(ROLES).fit(data)
    beside = forecaster(ROLES).fit(data.drop(columns=["size", "region"]), static_df=table)
    future = inside.make_future_dataframe().assign(price=1.0)
    expected = inside.predict(X_df=future)
    assert_frame_equal(beside.predict(X_df=future), expected)
    assert_frame_equal(beside.predict(data, X_df=future), expected)  # those of fit where there are none
    other = beside.predict(data, X_df=future, static_df=table.assign(size=[5.0, 2.0]))
    assert (other[MODEL] != expected[MODEL]).all()


def test_series_of_a_wide_frame_share_covariates():
    data = wide().assign(price=noise(seed=9))
    model = forecaster(futr_exog=["price"], calendar=["month", "dayofweek"]).fit(head(data, H))
    forecast = model.predict(X_df=tail(data, H)[["price"]])
    assert forecast.columns.tolist() == ["b", "a", 7]
    other = model.predict(X_df=tail(data, H)[["price"]] + 1)
    assert (other != forecast).all(axis=None)
    scores = model.cross_validation(data, n_windows=1)
    np.testing.assert_array_equal(scores.xs(MODEL, axis=1, level=1), forecast)


# --- backtests --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("refit", "fits"), [(True, [0, 1, 2, 3]), (False, [0] * 4), (2, [0, 0, 2, 2]), (3, [0, 0, 0, 3])]
)
def test_how_often_a_backtest_fits_anew(refit, fits):
    data, step = series(), 2
    scores = forecaster().cross_validation(data, n_windows=4, step_size=step, refit=refit)
    for k, fitted_at in enumerate(fits):
        held_back = [H + (3 - window) * step for window in (fitted_at, k)]
        model = forecaster().fit(head(data, held_back[0]))
        expected = model.predict(head(data, held_back[1]))
        np.testing.assert_array_equal(scores[MODEL].iloc[k * H : (k + 1) * H], expected)


def test_another_horizon_of_a_backtest():
    data = series()
    model = forecaster()
    scores = model.cross_validation(data, n_windows=3, h=2)
    assert_frame_equal(scores, forecaster(h=2).cross_validation(data, n_windows=3))
    assert model.h == H
    assert scores["cutoff"].tolist() == list(data.index[[-7, -7, -5, -5, -3, -3]])


@pytest.mark.parametrize("parameters", [{"level": 80}, {"level": 80, "intervals": "conformal"}])
def test_threads_do_not_change_a_bit(parameters):
    data = wide()
    one, two = (
        forecaster(parameters, n_jobs=n).cross_validation(data, n_windows=3, step_size=2) for n in (1, 2)
    )
    assert_frame_equal(one, two)
    forecasts = [forecaster(parameters, n_jobs=n).fit(data).predict() for n in (1, 2)]
    assert_frame_equal(*forecasts)


def test_a_backtest_leaves_the_forecaster_alone():
    model = forecaster().fit(series())
    before = model.predict()
    model.cross_validation(wide(), n_windows=2)
    assert_series_equal(model.predict(), before)
    assert model.get_params() == forecaster().get_params()


def test_errors_of_a_backtest():
    pytest.importorskip("utilsforecast")
    data = long()
    scores = forecaster(level=80).cross_validation(data, n_windows=3)
    errors = evaluate(scores, ["mae", "mase", "coverage"], train=data)
    difference = (scores["y"] - scores[MODEL]).abs()
    assert errors.loc["mae", MODEL] == pytest.approx(difference.groupby(scores["unique_id"]).mean().mean())
    within = scores["y"].between(scores[f"{MODEL}-lo-80"], scores[f"{MODEL}-hi-80"])
    assert errors.loc["coverage-80", MODEL] == pytest.approx(
        within.groupby(scores["unique_id"]).mean().mean()
    )
    assert errors.loc["mase", MODEL] > 0


# --- update -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("lags", [5, None])
def test_training_goes_on(lags):
    """On the longer history, from the weights and with the scales of before."""
    data = wide()
    model = forecaster(lags=lags, max_steps=20).fit(head(data, 10))
    weights = {name: w.copy() for name, w in model.regressor_.weights_.items()}
    transform, epochs = model.model_.models[0].transform, model.regressor_.n_iter_
    expected = model.predict(data)
    parameters = model.regressor_.get_params()
    model.update(tail(data, 10), max_steps=15)
    assert all((model.regressor_.weights_[name] != w).any() for name, w in weights.items())
    assert model.regressor_.n_iter_ > epochs
    assert model.regressor_.get_params() == parameters
    assert model.model_.models[0].transform is transform
    later = model.predict()
    assert not later.equals(expected)
    assert_frame_equal(model.predict(data), later)


def test_update_of_some_series():
    data = long()
    rows = data["unique_id"] != "a"
    model = forecaster().fit(head(data, 4))
    before = model.predict()
    model.update(tail(data, 4)[rows[after(data) < 4].to_numpy()])
    after_it, whole = model.predict(), model.predict(data)
    is_a = before["unique_id"] == "a"
    assert_frame_equal(after_it[is_a], before[is_a])
    assert_frame_equal(after_it[~is_a], whole[~is_a])


# --- as an estimator --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("cls", "cell"), [(RNNForecaster, "RNN"), (LSTMForecaster, "LSTM"), (GRUForecaster, "GRU")]
)
def test_the_cell_is_that_of_the_name(cls, cell):
    model = forecaster(cls=cls).fit(long())
    assert type(model.regressor_).__name__ == f"{cell}Regressor"
    assert model.predict().columns[-1] == f"{cell}Forecaster"


def test_parameters_of_the_network_that_is_built():
    model = forecaster(hidden_size=3, loss="huber", learning_rate_init=0.1, linear_skip=False).fit(series())
    own = model.regressor_
    assert (own.hidden_size, own.loss, own.learning_rate_init, own.linear_skip) == (3, "huber", 0.1, False)
    assert "skip.weight" not in own.weights_
    assert "skip.weight" in forecaster().fit(series()).regressor_.weights_


@pytest.mark.parametrize("n", [40, 200, 3000])
def test_updates_of_the_weights(n):
    """As many as asked for, rounded to whole passes over the windows."""
    data = pd.Series(noise(n))
    windows = n - 5 - H + 1
    model = forecaster(max_steps=23).fit(data)
    batch_size = min(64, max(8, windows // 16))
    per_epoch = -(-min(windows, 64 * 23) // batch_size)
    assert model.regressor_.n_iter_ == round(23 / per_epoch)
    assert forecaster(max_steps=1).fit(data).regressor_.n_iter_ == 1
    by_default = forecaster(max_steps=None, linear_skip=False).fit(data).regressor_
    assert by_default.n_iter_ == min(30, round(1000 / -(-windows // batch_size)))
    assert by_default.batch_size == batch_size


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"level": 80},
        {"lags": None, "strategy": "recursive"},
        {"regressor": GRURegressor(3, max_iter=2, random_state=1)},
    ],
)
def test_the_same_seed_the_same_bits(parameters):
    data = wide()
    one = forecaster(parameters).fit(data)
    assert_frame_equal(forecaster(parameters).fit(data).predict(), one.predict())
    assert_frame_equal(clone(one).fit(data).predict(), one.predict())
    again = one.predict()
    assert_frame_equal(one.fit(data).predict(), again)  # a second fit is a first one
    if "regressor" not in parameters:
        other = forecaster(parameters, random_state=1).fit(data).predict()
        assert (other != again).any(axis=None)


@pytest.mark.parametrize("store", [pickle, joblib])
@few_forms
def test_stored_and_loaded(store, few):
    data, parameters = few
    model = forecaster(parameters, level=80, intervals="conformal").fit(data)
    file = BytesIO()
    store.dump(model, file)
    file.seek(0)
    loaded = store.load(file)
    assert_frame_equal(loaded.predict(), model.predict())
    assert_frame_equal(
        loaded.update(model_rows_of(loaded, data)).predict(),
        model.update(model_rows_of(model, data)).predict(),
    )


def model_rows_of(model, data):
    """The next rows, made up."""
    future = model.make_future_dataframe()
    if kind(data) == "long":
        return future.assign(value=20.0).set_axis(data.columns, axis=1)
    if kind(data) == "series":
        return pd.Series(20.0, future.index, name=data.name)
    return pd.DataFrame(20.0, future.index, data.columns)


def test_parameters_in_and_out():
    model = LSTMForecaster(7, 14, regressor=GRURegressor(8), level=[80, 95])
    assert model.get_params(deep=False)["h"] == 7
    assert model.get_params()["regressor__hidden_size"] == 8
    model.set_params(regressor__hidden_size=5, h=2)
    assert model.regressor.hidden_size == 5
    copied = clone(model)
    assert copied.regressor is not model.regressor
    assert repr(copied) == repr(model)
    assert repr(LSTMForecaster(h=7, lags=14)) == "LSTMForecaster(h=7, lags=14)"
    with pytest.raises(ValueError, match="Invalid parameter 'horizon' for estimator LSTMForecaster"):
        model.set_params(horizon=3)


def test_the_users_regressor_is_not_fitted():
    own = LSTMRegressor(3, max_iter=2, random_state=0)
    model = forecaster(regressor=own, level=80).fit(series())
    assert not hasattr(own, "weights_")
    assert own.loss == "squared_error"
    assert model.regressor_.quantiles == [0.1, 0.5, 0.9]
    assert model.regressor is own


def test_later_parameters_wait_for_the_next_fit():
    """As with the estimators: what was learnt is what is asked."""
    data = series()
    model = forecaster(level=80, intervals="conformal").fit(data)
    expected = model.predict()
    model.set_params(h=2 * H, level=[50, 99], intervals="quantile", lags=2, strategy="recursive")
    assert_frame_equal(model.predict(), expected)
    assert len(model.make_future_dataframe()) == H
    assert len(model.set_params(intervals="conformal", strategy="direct").fit(data).predict()) == 2 * H


def test_grid_search_of_a_long_frame():
    data, grid = long().sample(frac=1, random_state=0), {"lags": [3, 6]}
    search = GridSearchCV(forecaster(), grid, cv=RollingOrigin(2, h=H), error_score="raise").fit(data)
    by_hand = [
        forecaster(lags=3).fit(data.iloc[train]).score(data.iloc[test])
        for train, test in RollingOrigin(2, h=H).split(data)
    ]
    assert search.cv_results_["mean_test_score"][0] == np.mean(by_hand)
    assert len(search.best_estimator_.predict()) == 3 * H


@pytest.mark.parametrize(
    "data", [series(), wide(), wide().assign(price=noise(seed=9))], ids=["series", "wide", "exog"]
)
def test_grid_search(data):
    """Over rolling origins; the score is that of a fit on each history, on the rows that follow."""
    futr = "price" if isinstance(data, pd.DataFrame) and "price" in data.columns else None
    origin = RollingOrigin(2, h=H, step_size=4)
    grid = {"lags": [3, 6], "hidden_size": [2, 4]}
    search = GridSearchCV(forecaster(futr_exog=futr, max_steps=20), grid, cv=origin, error_score="raise")
    search.fit(data)
    assert set(search.best_params_) == set(grid)
    assert len(set(search.cv_results_["mean_test_score"])) == 4
    best = search.cv_results_["params"][search.best_index_]
    for k, (train, test) in enumerate(origin.split(data)):
        model = forecaster(best, futr_exog=futr, max_steps=20).fit(data.iloc[train])
        truth = data.iloc[test]
        forecast = model.predict(X_df=truth[["price"]]) if futr else model.predict()
        error = (forecast - (truth.drop(columns="price") if futr else truth)).abs()
        history = data.iloc[train] if futr is None else data.iloc[train].drop(columns="price")
        expected = -(error / history.diff().abs().mean()).to_numpy().mean()
        assert search.cv_results_[f"split{k}_test_score"][search.best_index_] == pytest.approx(expected)
    assert len(search.best_estimator_.panel_.values) == data.size - (len(data) if futr else 0)


def test_score_of_fewer_rows_than_the_horizon():
    data = series()
    model = forecaster().fit(head(data, H))
    error = np.abs(model.predict() - tail(data, H)) / head(data, H).diff().abs().mean()
    assert model.score(tail(data, H)) == pytest.approx(-error.mean())
    assert model.score(head(tail(data, H), 1)) == pytest.approx(-error.iloc[:2].mean())
    assert model.panel_.lengths.tolist() == [N - H]


# --- messages ---------------------------------------------------------------------------------------
def test_silent_by_default(capsys):
    model = forecaster().fit(series())
    model.cross_validation(series(), n_windows=2)
    output = capsys.readouterr()
    assert output.out == output.err == ""


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (series(), "series 'sales' of 40 rows"),
        (wide(), "3 series, 'b' to 7, of 40 to 40 rows"),
        (long(), "3 series, 'a' to 'c', of 30 to 40 rows"),
    ],
    ids=["series", "wide", "long"],
)
def test_verbose_names_the_series(capsys, data, named):
    model = forecaster(verbose=True).fit(data)
    output = capsys.readouterr()
    assert output.out == f"LSTMForecaster: {named}\n"
    assert "LSTMRegressor: 100%" in output.err
    model.cross_validation(data, n_windows=3)
    output = capsys.readouterr()
    assert output.out == ""
    assert re.search(r"LSTMForecaster: 100%.* 3/3 .*cutoff", output.err)


def test_a_regressor_of_scikit_learn_is_named_too(capsys):
    forecaster(regressor=Ridge(), verbose=True).fit(series())
    assert capsys.readouterr().out == "LSTMForecaster: series 'sales' of 40 rows\n"


def test_update_trains_a_regressor_with_its_own_batch_size():
    """Its own parameters are as before afterwards; "auto" is a number of windows, too."""
    data = series()
    model = forecaster(regressor=LSTMRegressor(4, max_iter=2, random_state=0)).fit(head(data, 10))
    before, predicted = model.regressor_.get_params(), model.predict(data)
    model.update(tail(data, 10), max_steps=7)
    assert model.regressor_.get_params() == before
    assert not np.array_equal(model.predict(), predicted)
    windows = len(data) - 5 - H + 1
    assert model.regressor_.n_iter_ == 2 + round(7 / -(-windows // 32))


@few_forms
def test_an_alias_is_the_name_in_answers(few):
    data, parameters = few
    model = forecaster(parameters, level=80).fit(data)
    for call in lambda: model.predict(), lambda: model.cross_validation(data, 2):
        expected = call()
        model.set_params(alias="mine")
        names = {f"{MODEL}{end}": f"mine{end}" for end in ("", "-lo-80", "-hi-80")}
        same(call(), expected.rename(columns=names))
        plt.close(model.plot(forecast=model.predict()).figure_)
        model.set_params(alias=None)
