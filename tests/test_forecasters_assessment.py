"""Fitted values, and scores for a search."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pandas.testing import assert_frame_equal
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.model_selection import GridSearchCV, cross_val_score
from spies import LAGS, WINDOW, H, forecaster, name_of, walk

from skrnn.forecasting import RollingOrigin, evaluate, fitted, forecast_scorer

NAME = "LSTMForecaster"
KINDS = [
    {},
    WINDOW,
    {"lags": None},
    {"strategy": "recursive"},
    {"strategy": "encoder_decoder", "lags": None},
    {"differences": [1, 7]},
    {"log1p": True, "calendar": ["dayofweek"]},
    {"regressor": Ridge()},
    {"level": 80, "intervals": "quantile"},
    {"level": 80, "intervals": "conformal"},
]


def long(n=(30, 41)):
    parts = [pd.DataFrame({"unique_id": k, "ds": walk(n=rows).index, "y": walk(n=rows, seed=k).to_numpy()})
             for k, rows in enumerate(n)]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("step", [1, H])
@pytest.mark.parametrize("parameters", KINDS, ids=name_of)
def test_each_value_from_what_lay_before_it(parameters, step, monkeypatch):
    monkeypatch.setattr("skrnn.forecasting.fitted.MOST_ROWS", 100)
    data = long()
    model = forecaster(parameters).fit(data)
    found = model.fitted_values(step)
    assert_frame_equal(found[["unique_id", "ds", "y"]], data)
    n_rows = LAGS + 8 * ("differences" in parameters) if parameters.get("lags", 1) else 1
    for name, part in found.groupby("unique_id"):
        own = data[data["unique_id"] == name]
        assert part[NAME].isna().to_numpy().tolist() == (np.arange(len(part)) < n_rows + step - 1).tolist()
        for row in (n_rows + step - 1, 20, len(part) - 1):
            known = pd.concat([own.iloc[: row + 1 - step], data[data["unique_id"] != name]])
            again = model.predict(known)
            expected = again.loc[again["unique_id"] == name, NAME].iloc[step - 1]
            assert_allclose(part[NAME].iloc[row], expected, rtol=1e-5)


@pytest.mark.parametrize("parameters", [{}, {"strategy": "encoder_decoder"}], ids=name_of)
def test_with_covariates(parameters):
    data = long().assign(x=lambda d: np.random.default_rng(0).normal(size=len(d)), z=2.0)
    data["z"] += data["x"].cumsum()
    model = forecaster(parameters, futr_exog=["x"], hist_exog=["z"]).fit(data)
    found, end = model.fitted_values(), data["ds"].iloc[29]
    for row in (10, 25, 29):
        own = data[data["unique_id"] == 0]
        later = own.iloc[row : row + H]
        held = pd.DataFrame({"unique_id": 0, "ds": pd.date_range(end, periods=4)[1:], "x": own["x"].iloc[-1]})
        X = pd.concat([later, held.iloc[: H - len(later)]])
        X = pd.concat([X, X.assign(unique_id=1)])  # nobody looks at it
        rest = data[(data["unique_id"] == 1) & (data["ds"] < own["ds"].iloc[row])]
        expected = model.predict(pd.concat([own.iloc[:row], rest]), X_df=X)[NAME].iloc[0]
        assert_allclose(found[NAME].iloc[row], expected, rtol=1e-5)


def test_in_the_form_of_the_data():
    data = walk()
    found = forecaster().fit(data).fitted_values()
    assert found.columns.tolist() == ["y", NAME]
    assert found.index.equals(data.index)
    assert_array_equal(found["y"], data)
    assert found.index.freq == data.index.freq
    wide = pd.DataFrame({"a": data, "b": walk(seed=1)})
    wide.loc[wide.index[:9], "b"] = np.nan
    both = forecaster(missing="interpolate").fit(wide).fitted_values()
    assert both.columns.tolist() == [("a", "y"), ("a", NAME), ("b", "y"), ("b", NAME)]
    assert_array_equal(both["b", NAME].isna(), np.arange(len(wide)) < 9 + LAGS)
    several = forecaster(multivariate=True).fit(wide.ffill().bfill()).fitted_values()
    assert several.columns.tolist() == both.columns.tolist()
    assert several.notna().all(axis=1).sum() == len(wide) - LAGS


def test_no_value_from_behind():
    """Gaps were filled with what came after them; a forecast within one knows what came before it."""
    data = walk()
    data.iloc[20:25] = np.nan
    model = forecaster(missing="interpolate", **WINDOW).fit(data)
    found, changed = model.fitted_values(), data.copy()
    assert found["y"].isna().tolist() == data.isna().tolist()
    changed.iloc[25:] += 50
    model.panel_ = forecaster(missing="interpolate", **WINDOW).fit(changed).panel_
    again = model.fitted_values()
    assert_allclose(again[NAME][:26], found[NAME][:26])
    assert (again[NAME][26:] != found[NAME][26:]).all()


def test_a_gap_longer_than_what_is_read():
    data = walk()
    data.iloc[20 : 20 + LAGS + 2] = np.nan
    found = forecaster(missing="interpolate").fit(data).fitted_values()[NAME]
    assert np.flatnonzero(found.isna()).tolist() == [*range(LAGS), 20 + LAGS, 21 + LAGS, 22 + LAGS]


def test_a_gap_of_a_covariate_longer_than_what_is_read():
    data = long((40,)).assign(x=np.arange(40.0))
    data.loc[20 : 20 + LAGS, "x"] = np.nan
    found = forecaster(missing="interpolate", hist_exog=["x"]).fit(data).fitted_values()[NAME]
    assert np.flatnonzero(found.isna()).tolist() == [*range(LAGS), 20 + LAGS, 21 + LAGS]


def test_their_errors():
    found = forecaster().fit(long()).fitted_values()
    table = evaluate(found.dropna(), metrics=["mae"])
    expected = (found["y"] - found[NAME]).abs().groupby(found["unique_id"]).mean()
    assert_allclose(table[NAME], expected.mean())


@pytest.mark.parametrize("step", [0, H + 1, 1.5])
def test_steps_that_are_none(step):
    with pytest.raises(ValueError, match="step"):
        forecaster().fit(walk()).fitted_values(step)


def test_chunks_hold_all(monkeypatch):
    model = forecaster().fit(long())
    whole = model.fitted_values()
    for most in (1, 17, 10_000):
        monkeypatch.setattr(fitted, "MOST_ROWS", most)
        assert_frame_equal(model.fitted_values(), whole)


# --- scores --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("metric", "sign", "given"),
    [(root_mean_squared_error, -1, {}), (r2_score, 1, {"greater_is_better": True})],
)
def test_scores_of_any_metric(metric, sign, given):
    data = pd.DataFrame({"a": walk(), "b": walk(seed=1)})
    model = forecaster().fit(data.iloc[:-2])
    scorer = pickle.loads(pickle.dumps(forecast_scorer(metric, **given)))
    y, forecast = data.iloc[-2:].to_numpy(), model.predict().iloc[:2].to_numpy()
    assert_allclose(scorer(model, data.iloc[-2:]), sign * metric(y.T.ravel(), forecast.T.ravel()))


def test_values_that_were_missing_have_no_score():
    data = walk()
    model = forecaster(missing="interpolate").fit(data.iloc[:-H])
    later = data.iloc[-H:].copy()
    later.iloc[0] = np.nan
    expected = np.abs(data.iloc[-H + 1 :] - model.predict().iloc[1:]).mean()
    assert_allclose(forecast_scorer(mean_absolute_error)(model, later), -expected)


def test_in_a_search():
    scorer = forecast_scorer(mean_absolute_error, sample_weight=None)
    search = GridSearchCV(forecaster(), {"lags": [4, 6]}, cv=RollingOrigin(2, h=H), scoring=scorer)
    search.fit(walk())
    expected = [
        cross_val_score(forecaster(lags=lags), walk(), cv=RollingOrigin(2, h=H), scoring=scorer).mean()
        for lags in (4, 6)
    ]
    assert_allclose(search.cv_results_["mean_test_score"], expected)
    assert search.best_params_["lags"] == (4, 6)[int(np.argmax(expected))]
    with pytest.raises(ValueError, match=r"y has to be None.*forecast_scorer"):
        GridSearchCV(forecaster(), {"lags": [4]}, cv=RollingOrigin(2, h=H), error_score="raise").fit(
            walk(), walk()
        )
    with pytest.raises(ValueError, match="y has to be None"):
        scorer(forecaster().fit(walk()), walk(), walk())


def test_a_name_for_two_columns():
    with pytest.raises(ValueError, match="'y'"):
        forecaster(alias="y").fit(walk()).fitted_values()
