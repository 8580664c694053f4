"""What cannot be used is refused, with the series, the stamp or the parameter in the message."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from spies import PLAIN

from skrnn import GRURegressor, LSTMClassifier, LSTMRegressor
from skrnn.forecasting import LSTMForecaster

H, LAGS, N = 3, 5, 30
QUICK = PLAIN | dict(h=H, lags=LAGS, max_steps=2, hidden_size=2, random_state=0)


def forecaster(**parameters):
    return LSTMForecaster(**QUICK | parameters)


def days(n=N, start="2024-01-01"):
    return pd.date_range(start, periods=n, freq="D")


def values(n=N, seed=0):
    return 5 + np.random.default_rng(seed).uniform(0, 1, n)


def series(n=N):
    return pd.Series(values(n), days(n), name="sales")


def wide():
    return pd.DataFrame({"a": values(), "b": values(seed=1), "x": values(seed=2)}, days())


def long(n=N, shorter=N - 4):
    parts = [
        pd.DataFrame({"unique_id": name, "ds": days(rows), "y": values(rows), "x": values(rows, 1)})
        for name, rows in (("north", n), ("south", shorter))
    ]
    return pd.concat(parts, ignore_index=True)


def changed(data, row, column=None, value=np.nan):
    data = data.copy()
    if column is None:
        data.iloc[row] = value
    else:
        data.loc[data.index[row], column] = value
    return data


def refused(error, message, call, *arguments, **keywords):
    """The call fails with a message that has these words, spaces for any number of them."""
    with pytest.raises(error, match=re.escape(message)):
        call(*arguments, **keywords)


# --- data -------------------------------------------------------------------------------------------
BAD_DATA = {
    "unsorted": (
        series().iloc[[0, 1, 3, 2, *range(4, N)]],
        "not sorted: 2024-01-04 00:00:00 is followed by 2024-01-03",
    ),
    "twice": (series().iloc[[0, 1, 1, *range(2, N)]], "the index has 2024-01-02 00:00:00 more than once"),
    "twice, long": (
        long().iloc[[*range(2 * N - 4), 40]],
        "series 'south' has 2024-01-11 00:00:00 more than once",
    ),
    "gap": (
        series().drop(days()[7]),
        "series 'sales' has gaps: 2024-01-08 00:00:00 is missing; the frequency is 'D'",
    ),
    "gaps, long": (
        long().drop([40, 41]),
        "series 'south' has gaps: 2024-01-11 00:00:00 is missing, the first of 2 stamps",
    ),
    "gap, wide": (
        wide().drop(columns="x").drop(days()[7]),
        "the index has gaps: 2024-01-08 00:00:00 is missing",
    ),
    "NaN": (changed(series(), 3), "series 'sales' is NaN at 2024-01-04 00:00:00"),
    "NaN, wide": (changed(wide()[["a", "b"]], 4, "b"), "series 'b' is NaN at 2024-01-05 00:00:00"),
    "NaN, long": (changed(long(), 40, "y"), "series 'south' is NaN at 2024-01-11 00:00:00"),
    "infinite": (changed(series(), 3, value=np.inf), "series 'sales' is infinite at 2024-01-04 00:00:00"),
    "mixed frequencies": (
        long().assign(
            ds=lambda d: d["ds"].where(d["unique_id"] == "north", d["ds"] + (d["ds"] - d["ds"][0]))
        ),
        "series 'south' has the frequency '2D', not 'D', the frequency of the longest series",
    ),
    "no frequency": (
        series().set_axis(pd.DatetimeIndex(days() + pd.to_timedelta(np.arange(N) ** 2, "h"))),
        "has no regular one, or gaps: give freq=",
    ),
    "text": (series().astype(str), "column 'sales' is not numeric"),
    "dates as text": (long().astype({"ds": str}), "pd.to_datetime"),
    "no time": (series().set_axis(np.linspace(0, 1, N)), "the index"),
    "no rows": (series()[:0], "there are no rows"),
    "columns lacking": (long().drop(columns="y"), "columns are not in the frame: 'y'"),
    "an id lacking": (changed(long(), 3, "unique_id"), "'unique_id' is missing in row 3"),
    "short": (series(7), "series 'sales' has 7 rows, but lags=5 with a horizon of 3 needs at least 8"),
    "short, long": (
        long(shorter=6),
        "series 'south' has 6 rows, but lags=5 with a horizon of 3 needs at least 8",
    ),
    "both short": (
        long(7, 6),
        "series 'north' has 7 rows, but lags=5 with a horizon of 3 needs at least 8 (2 series",
    ),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_in_fit_and_backtest(name):
    data, message = BAD_DATA[name]
    refused(ValueError, message, forecaster().fit, data)
    if "short" not in name:
        refused(ValueError, message, forecaster().cross_validation, data, n_windows=2)


@pytest.mark.parametrize("name", [name for name in BAD_DATA if "short" not in name])
def test_bad_data_as_new_histories(name):
    data, message = BAD_DATA[name]
    good = series() if isinstance(data, pd.Series) else wide()[["a", "b"]] if "a" in data else long()
    model = forecaster().fit(good)
    before = model.predict()
    refused(ValueError, "is not on the frequency" if name == "no frequency" else message, model.predict, data)
    assert model.predict().equals(before)


@pytest.mark.parametrize("data", [[1.0, 2], np.ones(30), None])
def test_no_frame(data):
    refused(TypeError, "expected a pandas Series or DataFrame, got", forecaster().fit, data)


@pytest.mark.parametrize(
    ("parameters", "needed"),
    [
        ({}, "lags=5 with a horizon of 3 needs at least 8"),
        ({"strategy": "recursive"}, "lags=5 with a horizon of 1 needs at least 6"),
        ({"lags": None}, "a horizon of 3 needs at least 4"),
        ({"differences": [2, 1]}, "lags=5 with a horizon of 3 needs at least 8 and 3 for differences"),
        ({"regressor": Ridge()}, "lags=5 with a horizon of 3 needs at least 8"),
        ({"level": 80, "intervals": "conformal"}, "conformal intervals need at least 16"),
    ],
)
def test_too_short(parameters, needed):
    """Says how long it is and what is needed; one row more is enough."""
    n = int(re.search(r"least (\d+)", needed)[1]) + (3 if "differences" in parameters else 0)
    model = forecaster(**parameters)
    refused(ValueError, f"series 'sales' has {n - 1} rows, but {needed}", model.fit, series(n - 1))
    assert len(model.fit(series(n)).predict()) == H


def test_too_short_for_differences():
    refused(
        ValueError,
        "series 'sales' has 12 rows, but differences=[12] need more than 12",
        forecaster(differences=12).fit,
        series(12),
    )


def test_too_short_to_forecast_from():
    model = forecaster(differences=1).fit(series())
    refused(
        ValueError,
        "has 5 rows, but a forecast from lags=5 needs at least 5 and 1 for differences",
        model.predict,
        series(5),
    )
    assert len(model.predict(series(6))) == H


def test_too_short_for_a_backtest():
    message = "series 'sales' has 12 rows, but n_windows=3, h=3 and step_size=3 need 17, of which 8 before"
    refused(ValueError, message, forecaster().cross_validation, series(12), 3)
    assert len(forecaster().cross_validation(series(17), 3)) == 9


def test_too_short_to_hold_windows_back():
    model = forecaster(validation_fraction=0.5)
    refused(ValueError, "no series is long enough to validate on 50% of its windows", model.fit, series(10))


def test_log_of_what_has_none():
    message = "series 'south' is -1.0 at 2024-01-11 00:00:00; log1p needs more than -1"
    refused(ValueError, message, forecaster(log1p=True).fit, changed(long(), 40, "y", -1.0))


@pytest.mark.parametrize(
    ("parameters", "missing", "what"),
    [({}, slice(5, None), "every target is"), ({"lags": None}, slice(1, None), "every target is"),
     ({"regressor": Ridge()}, slice(1, None, 3), "one in every 3 targets in a row is")],
)  # fmt: skip
def test_nothing_is_left_to_learn(parameters, missing, what):
    data = series()
    data.iloc[missing] = np.nan
    message = f"nothing to learn from series 'sales' of 30 rows: {what} missing"
    refused(ValueError, message, forecaster(missing="mask", **{"lags": 5} | parameters).fit, data)


def test_of_another_form():
    model = forecaster().fit(series())
    refused(ValueError, "the model was fitted on a Series, got a wide frame", model.predict, wide())
    refused(ValueError, "the model was fitted on a Series, got a long frame", model.update, long())
    refused(ValueError, "series were not there in fit: 'price'", model.update, series().rename("price"))
    refused(ValueError, "the index", model.predict, series().set_axis(range(N)))
    refused(ValueError, "time zone", model.predict, series().tz_localize("Europe/Berlin"))


def test_series_that_were_not_there():
    model = forecaster().fit(long())
    other = long().replace({"unique_id": {"south": "east"}})
    for call in model.score, model.update:
        refused(ValueError, "series were not there in fit: 'east'", call, other)
    model = forecaster().fit(wide())
    refused(ValueError, "series were not there in fit: 'c'", model.update, wide().assign(c=1.0))
    refused(ValueError, "columns are not in the frame: 'b'", model.update, wide().drop(columns="b"))


# --- what is known of the future --------------------------------------------------------------------
def fitted(data=None):
    data = long() if data is None else data
    return forecaster(futr_exog="x").fit(data)


def test_future_covariates():
    model = fitted()
    refused(
        ValueError, "predict needs X_df with 'x' for the next 3 steps; make_future_dataframe()", model.predict
    )
    future = model.make_future_dataframe().assign(x=1.0)
    assert np.isfinite(model.predict(X_df=future).iloc[:, -1]).all()
    cases = {
        "columns are not in X_df: 'x'": future.drop(columns="x"),
        "of series 'south' that are forecast, the first of them 2024-01-28 00:00:00; make": future.drop(4),
        "the first of them 2024-01-31 00:00:00 (3 rows of 2 series in all)": future.drop([0, 1, 5]),
        "X_df: 'x' of series 'north' is NaN at 2024-02-01 00:00:00": changed(future, 1, "x"),
        "X_df: 'x' of series 'north' is infinite at 2024-02-01 00:00:00": changed(future, 1, "x", np.inf),
        "X_df: series 'south' has 2024-01-28 00:00:00 more than once": future.iloc[[*range(6), 4]],
        "X_df: column 'x' is not numeric": future.astype({"x": str}),
    }
    for message, X_df in cases.items():
        refused(ValueError, message, model.predict, X_df=X_df)
    refused(TypeError, "X_df has to be a DataFrame, got numpy.ndarray", model.predict, X_df=future.to_numpy())


def test_future_covariates_of_a_wide_frame():
    model = fitted(wide())
    future = model.make_future_dataframe().assign(x=1.0)
    message = (
        "X_df lacks 1 of the 3 rows that are forecast, the first of them 2024-02-01 00:00:00; make_future"
    )
    refused(ValueError, message, model.predict, X_df=future.drop(future.index[1]))


def test_the_history_of_other_series_needs_their_future():
    """From a history that ends elsewhere, other rows are forecast."""
    model = fitted()
    future = model.make_future_dataframe().assign(x=1.0)
    shorter = long()[long()["ds"] < "2024-01-20"]
    message = "X_df lacks 3 of the 3 rows of series 'north' that are forecast, the first of them 2024-01-20"
    refused(ValueError, message, model.predict, shorter, X_df=future)


def test_covariates():
    refused(ValueError, "columns are not in the frame: 'u'", forecaster(futr_exog="u").fit, long())
    refused(ValueError, "columns have two roles: 'x'", forecaster(futr_exog="x", hist_exog="x").fit, long())
    refused(ValueError, "a Series has no columns, but 'x'", forecaster(hist_exog="x").fit, series())
    refused(
        ValueError,
        "'x' of series 'south' is NaN at 2024-01-11 00:00:00",
        forecaster(hist_exog="x").fit,
        changed(long(), 40, "x"),
    )
    refused(ValueError, "'x'", forecaster(stat_exog="x").fit, long())
    refused(ValueError, "read from static_df: give one", forecaster(stat_exog="x").fit, wide())
    table = pd.DataFrame({"unique_id": ["north"], "size": [1.0]})
    refused(ValueError, "'south'", forecaster(stat_exog="size").fit, long(), static_df=table)
    refused(ValueError, "stat_exog names none", forecaster().fit, long(), static_df=table)
    refused(ValueError, "multivariate=True has one", forecaster(stat_exog="x", multivariate=True).fit, wide())
    refused(ValueError, "needs a wide frame", forecaster(multivariate=True).fit, long())


# --- parameters -------------------------------------------------------------------------------------
REGRESSOR = LSTMRegressor(2, max_iter=1)
BAD_PARAMETERS = [
    ({"h": 0}, "The 'h' parameter of LSTMForecaster must be an int"),
    ({"h": 2.0}, "The 'h' parameter"),
    ({"lags": 0}, "The 'lags' parameter"),
    ({"regressor": "lstm"}, "The 'regressor' parameter"),
    ({"strategy": "both"}, "The 'strategy' parameter"),
    ({"linear_skip": "yes"}, "The 'linear_skip' parameter"),
    ({"scaling": "max"}, "The 'scaling' parameter"),
    ({"scale_by": "row"}, "The 'scale_by' parameter"),
    ({"log1p": 2}, "The 'log1p' parameter"),
    ({"differences": "1"}, "The 'differences' parameter"),
    ({"differences": 0}, "The 'differences' parameter"),
    ({"differences": [1, 0]}, "differences have to be integers of at least 1, got [1, 0]"),
    ({"differences": ["a"]}, "differences have to be integers of at least 1, got ['a']"),
    ({"differences": [1.5]}, "differences have to be integers of at least 1, got [1.5]"),
    ({"calendar": 3}, "The 'calendar' parameter"),
    ({"calendar": ["month", "moon"]}, "dayofyear, week, month, quarter; got 'moon'"),
    ({"multivariate": None}, "The 'multivariate' parameter"),
    ({"level": 100}, "The 'level' parameter"),
    ({"level": "80"}, "The 'level' parameter"),
    ({"level": [0.8]}, "level must be in per cent, from 1 to below 100, got [0.8]"),
    ({"level": [80, 0]}, "level must be in per cent, from 1 to below 100, got [80, 0]"),
    ({"level": [80, np.nan]}, "level must be in per cent, from 1 to below 100, got [80, nan]"),
    ({"level": ["80 %"]}, "level must be in per cent, from 1 to below 100, got ['80 %']"),
    ({"intervals": "bootstrap"}, "The 'intervals' parameter"),
    ({"calibration_windows": 1}, "The 'calibration_windows' parameter"),
    ({"loss": "quantile"}, "The 'loss' parameter"),
    ({"hidden_size": 0}, "The 'hidden_size' parameter"),
    ({"max_steps": 0}, "The 'max_steps' parameter"),
    ({"learning_rate_init": 0}, "The 'learning_rate_init' parameter"),
    ({"validation_fraction": 1.0}, "The 'validation_fraction' parameter"),
    ({"missing": "drop"}, "The 'missing' parameter"),
    ({"random_state": "x"}, "The 'random_state' parameter"),
    ({"device": "gpu"}, "The 'device' parameter"),
    ({"verbose": -1}, "The 'verbose' parameter"),
    ({"n_jobs": 0}, "n_jobs"),
    ({"freq": "blue"}, "freq='blue' is not a frequency of pandas"),
    ({"freq": "h"}, "series 'sales' has the frequency 'D', not 'h'"),
    # what does not go together
    ({"regressor": LSTMClassifier()}, "regressor is LSTMClassifier, a classifier"),
    ({"regressor": LogisticRegression()}, "regressor is LogisticRegression, a classifier"),
    ({"lags": None, "scaling": "last"}, "scaling='last' with scale_by='series' is for windows: set lags"),
    (
        {"lags": None, "scale_by": "window"},
        "scaling='standard' with scale_by='window' is for windows: set lags",
    ),
    ({"lags": None, "regressor": Ridge()}, "which Ridge cannot: set lags"),
    (
        {"lags": None, "regressor": GRURegressor(bidirectional=True)},
        "a bidirectional network reads the steps of a history",
    ),
    ({"lags": None, "validation_fraction": 0.1}, "neither validation_fraction nor early_stopping"),
    (
        {"lags": None, "regressor": LSTMRegressor(early_stopping=True)},
        "neither validation_fraction nor early_stopping",
    ),
    (
        {"lags": None, "regressor": LSTMRegressor(linear_skip=True)},
        "linear_skip cannot be combined with return_sequences",
    ),
    (
        {"hist_exog": "x", "strategy": "recursive"},
        'steps of which hist_exog are not known: use strategy="direct"',
    ),
    ({"level": 80, "strategy": "recursive"}, 'use intervals="conformal" or strategy="direct"'),
    ({"level": 80, "regressor": Ridge()}, 'Ridge has no quantiles: use intervals="conformal"'),
    (
        {"validation_fraction": 0.1, "regressor": Ridge()},
        "Ridge cannot stop early: leave validation_fraction=None",
    ),
    ({"regressor": LSTMRegressor(loss="poisson")}, 'loss="poisson" needs y >= 0'),
    ({"regressor": LSTMRegressor(hidden_size=0)}, "The 'hidden_size' parameter of LSTMRegressor"),
]


@pytest.mark.parametrize(("parameters", "message"), BAD_PARAMETERS, ids=[str(p) for p, _ in BAD_PARAMETERS])
def test_parameters(parameters, message):
    """Named by fit and by a backtest, whatever the data."""
    data = series() if "hist_exog" not in parameters else wide()
    refused(ValueError, message, forecaster(**parameters).fit, data)
    refused(ValueError, message, forecaster(**parameters).cross_validation, data, n_windows=1)


def test_levels_of_a_forecast_at_once_in_any_order():
    """None of these is an error."""
    for level in ([], None, (95, 80, 80), np.array([80.0]), 50):
        forecaster(level=level).fit(series()).predict()
    forecaster(level=80, strategy="recursive", intervals="conformal").fit(series()).predict()
    forecaster(h=1, hist_exog="x", strategy="recursive").fit(wide()).predict()


def test_calendar_of_integers():
    data = series().reset_index(drop=True)
    refused(ValueError, "calendar features need dates or periods", forecaster(calendar="month").fit, data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_windows": 0}, "n_windows must be an integer of at least 1, got 0"),
        ({"step_size": 0}, "step_size must be an integer of at least 1, got 0"),
        ({"h": 0}, "The 'h' parameter"),
        ({"refit": 0}, "refit must be an integer of at least 1, got 0"),
        ({"refit": "yes"}, "refit must be an integer of at least 1, got 'yes'"),
    ],
)
def test_arguments_of_a_backtest(arguments, message):
    refused(ValueError, message, forecaster().cross_validation, series(), **arguments)


@pytest.mark.parametrize("method", ["predict", "make_future_dataframe", "update", "score"])
def test_before_fit(method):
    arguments = [series()] if method in ("update", "score") else []
    refused(
        ValueError,
        "This LSTMForecaster instance is not fitted yet",
        getattr(forecaster(), method),
        *arguments,
    )


# --- after an error ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("parameters", "data"),
    [
        ({"lags": -1}, series()),
        ({}, series(4)),
        ({}, changed(series(), 3)),
        ({"level": 80, "intervals": "conformal"}, series(9)),
        ({"regressor": LSTMRegressor(loss="poisson")}, series()),
        ({"regressor": LSTMRegressor(learning_rate_init=1e30, max_grad_norm=None, solver="sgd")}, series()),
    ],
)
def test_a_fit_that_fails_leaves_the_former_one(parameters, data):
    model = forecaster().fit(series())
    before, kept = model.predict(), dict(vars(model))
    model.set_params(**parameters)
    with pytest.raises(ValueError):  # noqa: PT011  which one is another test's
        model.fit(data)
    model.set_params(**{name: kept[name] for name in parameters})
    assert vars(model) == kept
    pd.testing.assert_series_equal(model.predict(), before)


def test_an_update_that_fails_leaves_everything():
    model = forecaster().fit(series()[:-5])
    before, parameters, new = model.predict(), model.regressor_.get_params(), series()[-5:]
    weights = {name: w.copy() for name, w in model.regressor_.weights_.items()}
    cases = {
        "series 'sales' goes on at 2024-01-25 00:00:00, which is not after 2024-01-25 00:00:00": series()[
            -6:
        ],
        "series 'sales' has gaps: 2024-01-26 00:00:00 is missing": new[1:],
        "series 'sales' is NaN at 2024-01-27 00:00:00": changed(new, 1),
        "the index is not sorted": new[::-1],
    }
    for message, data in cases.items():
        for max_steps in 0, 5:
            refused(ValueError, message, model.update, data, max_steps)
    model.regressor_.set_params(learning_rate_init=1e30, max_grad_norm=None, solver="sgd")
    refused(ValueError, "not finite", model.update, new * 1e6, 20)
    model.regressor_.set_params(**parameters)
    pd.testing.assert_series_equal(model.predict(), before)
    assert model.regressor_.get_params() == parameters
    for name, w in weights.items():
        np.testing.assert_array_equal(model.regressor_.weights_[name], w)
    assert model.update(new).panel_.lengths.tolist() == [N]


@pytest.mark.parametrize("max_steps", [-1, 1.5, "many", True])
def test_updates_of_the_weights(max_steps):
    model = forecaster().fit(series()[:-5])
    refused(
        ValueError,
        f"max_steps must be an integer of at least 0, got {max_steps!r}",
        model.update,
        series()[-5:],
        max_steps,
    )
    assert model.panel_.lengths.tolist() == [N - 5]


def test_what_cannot_be_trained_further():
    model = forecaster(regressor=Ridge()).fit(series()[:-5])
    refused(ValueError, "Ridge cannot be trained further: fit anew", model.update, series()[-5:], 10)
    assert model.panel_.lengths.tolist() == [N - 5]
    pd.testing.assert_series_equal(model.update(series()[-5:]).predict(), model.predict(series()))


def test_score_without_rows_or_covariates():
    model = forecaster().fit(long()[long()["ds"] < "2024-01-20"])
    later = long()[long()["ds"] >= "2024-01-20"]
    refused(
        ValueError,
        "series 'south' has no row to compare with",
        model.score,
        later[later["unique_id"] == "north"],
    )
    model = fitted(wide()[:-2])
    refused(
        ValueError,
        "series 'a' has 2 rows to compare with, but the covariates of 3 are needed",
        model.score,
        wide()[-2:],
    )


def test_covariates_that_nothing_asked_for():
    model = forecaster().fit(series())
    refused(
        ValueError, "there is an X_df, but futr_exog named none of its columns", model.predict, X_df=wide()
    )


def test_a_second_frame_is_no_target():
    """As scikit-learn's users would give one; it would be ignored."""
    for method in forecaster().fit, forecaster().fit(series()).score:
        refused(ValueError, "y has to be None", method, series(), series())


def test_a_long_frame_by_other_names_lacks_one():
    """It is not taken for a wide one, whose columns are all to be forecast."""
    frame = pd.DataFrame({"shop": [1] * 30, "day": range(30), "sales": np.arange(30.0)})
    refused(ValueError, "'week'", forecaster(id_col="store", time_col="week", target_col="sales").fit, frame)


@pytest.mark.parametrize("missing", ["interpolate", "mask"])
def test_nothing_measured_to_compare_with(missing):
    data = series(60)
    model = forecaster(missing=missing).fit(data[:40])
    refused(ValueError, "there is no value to compare with", model.score, data[50:])


def test_nothing_measured_to_calibrate_with():
    data = series(60)
    data.iloc[-20:] = np.nan
    model = forecaster(level=80, intervals="conformal", calibration_windows=2, missing="mask")
    refused(ValueError, "conformal intervals need values in the windows held back", model.fit, data)


def test_a_calendar_may_be_an_array():
    assert len(forecaster(calendar=np.array(["dayofweek", "month"])).fit(series()).predict()) == H


# --- names of answers -----------------------------------------------------------------------------
def renamed(id_col="unique_id", time_col="ds", target_col="y"):
    """A long frame, and parameters, of these names."""
    days = pd.date_range("2024", periods=N)
    frame = pd.DataFrame({id_col: "a", time_col: days, target_col: np.sin(np.arange(N))})
    return frame, dict(id_col=id_col, time_col=time_col, target_col=target_col)


NAME = "LSTMForecaster"


@pytest.mark.parametrize(
    ("names", "parameters", "in_fit", "name"),
    [
        (dict(id_col=NAME), {}, True, NAME),
        (dict(time_col=f"{NAME}-lo-80"), dict(level=80), True, f"{NAME}-lo-80"),
        (dict(id_col=f"{NAME}-hi-97.5"), dict(level=[80, 97.5]), True, f"{NAME}-hi-97.5"),
        (dict(target_col=f"{NAME}-hi-80"), dict(level=80), False, f"{NAME}-hi-80"),
        (dict(target_col=NAME), {}, False, NAME),
        (dict(id_col="cutoff"), {}, False, "cutoff"),
        (dict(time_col="cutoff"), {}, False, "cutoff"),
        (dict(target_col="cutoff"), {}, False, "cutoff"),
        ({}, dict(alias="cutoff"), False, "cutoff"),
        ({}, dict(alias="ds"), True, "ds"),
    ],
)
def test_names_that_answers_would_have_twice(names, parameters, in_fit, name, monkeypatch):
    frame, columns = renamed(**names)
    model = forecaster(**columns, **parameters)
    monkeypatch.setattr(LSTMForecaster, "_train", lambda *_: pytest.fail("it was trained"))
    with pytest.raises(ValueError, match=f"cross_validation would have two columns '{name}': "):
        model.cross_validation(frame, 2)
    if in_fit:
        with pytest.raises(ValueError, match=f"predict would have two columns '{name}': set alias"):
            model.fit(frame)
    monkeypatch.undo()
    if name != "cutoff" or parameters:
        model.set_params(alias="mine").cross_validation(frame, 2)
    else:
        assert model.fit(frame).predict().columns.tolist() == [*frame.columns[:2], NAME]
        plt.close(model.plot(forecast=model.predict()).figure_)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(("alias", "index"), [("y", None), ("cutoff", None), (None, "cutoff"), (None, NAME)])
def test_names_that_answers_of_an_index_would_have_twice(alias, index, wide):
    data = series().rename_axis(index)
    data = data.to_frame("cutoff") if wide else data
    model = forecaster(alias=alias).fit(data)
    with pytest.raises(ValueError, match=f"two columns '{alias or index}'"):
        model.cross_validation(data, 2)
    plt.close(model.plot(forecast=model.predict()).figure_)


def test_an_alias_is_no_bound():
    with pytest.raises(ValueError, match="alias='a-lo-80' is what a bound would be called"):
        forecaster(alias="a-lo-80").fit(series())
