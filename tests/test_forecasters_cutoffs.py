"""Backtests from cutoffs that all series share, though they begin and end at different times."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal
from spies import LAGS, H, forecaster, panel_of, walk

from skrnn.forecasting import evaluate

MODEL = "LSTMForecaster"


def shops():
    """From day 0, 10 and 20 on, to day 60, 45 and 60."""
    whole = pd.DataFrame({name: walk(60, seed=k) for k, name in enumerate("abc")})
    parts = {"a": whole["a"], "b": whole["b"][10:45], "c": whole["c"][20:]}
    return pd.concat(parts, names=["unique_id", "ds"]).rename("y").reset_index()


def day(n):
    return pd.Timestamp("2024-01-01") + pd.Timedelta(days=n)


def quiet(call, *arguments, **keywords):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(*arguments, **keywords)


def test_each_forecast_is_that_of_a_fit_on_what_was_known():
    """Of all series, also of one that has ended; the last stamp known is one for all."""
    data, cutoffs = shops(), [day(54), day(30), day(41)]
    with pytest.warns(
        UserWarning, match="1 of 3 series does not go on for h=3 rows after each cutoff, .*'b'"
    ):
        scores = forecaster().cross_validation(data, cutoffs=cutoffs)
    found = {cutoff: part["unique_id"].unique().tolist() for cutoff, part in scores.groupby("cutoff")}
    assert found == {day(30): ["a", "b", "c"], day(41): ["a", "b", "c"], day(54): ["a", "c"]}
    for cutoff, part in scores.groupby("cutoff"):
        expected = forecaster().fit(data[data["ds"] <= cutoff]).predict()
        expected = expected[expected["unique_id"].isin(found[cutoff])]
        assert_array_equal(part[MODEL], expected[MODEL])
        assert part["ds"].tolist() == expected["ds"].tolist()
        assert part["ds"].tolist() == [cutoff + pd.Timedelta(days=k) for k in (1, 2, 3)] * len(found[cutoff])
    truth = scores.merge(data, on=["unique_id", "ds"])
    assert len(truth) == len(scores)
    assert (truth["y_x"] == truth["y_y"]).all()
    assert scores.groupby("unique_id")["cutoff"].is_monotonic_increasing.all()


def test_a_fit_for_several_cutoffs():
    data, cutoffs = shops(), [day(30), day(35), day(40)]
    scores = forecaster().cross_validation(data, cutoffs=cutoffs, refit=False)
    model = forecaster().fit(data[data["ds"] <= day(30)])
    for cutoff, part in scores.groupby("cutoff"):
        assert_array_equal(part[MODEL], model.predict(data[data["ds"] <= cutoff])[MODEL])


@pytest.mark.parametrize("form", ["series", "wide", "multivariate"])
def test_from_the_end_it_is_the_rolling_origin(form):
    data = pd.DataFrame({"a": walk(), "b": walk(seed=1)})
    data = data["a"] if form == "series" else data
    model = forecaster(multivariate=form == "multivariate", level=80)
    expected = model.cross_validation(data, 2, step_size=4)
    cutoffs = data.index[[-H - 5, -H - 1]]
    assert_frame_equal(model.cross_validation(data, cutoffs=cutoffs), expected)
    assert_frame_equal(model.set_params(h=1).cross_validation(data, h=H, cutoffs=cutoffs[::-1]), expected)


def test_future_covariates_are_those_after_the_cutoff():
    data = panel_of((40, 30))
    model = forecaster(futr_exog="x", stat_exog="size")
    scores = model.cross_validation(data, cutoffs=20)
    known = model.fit(data[data["ds"] <= 20])
    assert_array_equal(scores[MODEL], known.predict(X_df=data)[MODEL])


@pytest.mark.parametrize(
    ("index", "cutoffs"),
    [
        (pd.date_range("2024-01-01", periods=40), ["2024-01-20", "2024-01-25"]),
        (pd.date_range("2024-01-01", periods=40), [pd.Timestamp("2024-01-20 13:00").date(), day(24).date()]),
        (pd.date_range("2024-01-01", periods=40), pd.to_datetime(["2024-01-20 13:00", "2024-01-25 23:59"])),
        (pd.date_range("2024-01-01", periods=40, tz="Europe/Berlin"), ["2024-01-20", "2024-01-25"]),
        (pd.period_range("2024-01-01", periods=40, freq="D"), ["2024-01-20", "2024-01-25"]),
        (pd.RangeIndex(10, 210, 5), np.array([105, 133], np.int32)),
    ],
)
def test_times_of_any_kind(index, cutoffs):
    """Also between two stamps: the answer has the last one that was known."""
    scores = forecaster().cross_validation(pd.Series(walk(40).to_numpy(), index), cutoffs=cutoffs)
    assert scores["cutoff"].tolist() == [index[19]] * H + [index[24]] * H
    assert scores.index.tolist() == [*index[20 : 20 + H], *index[25 : 25 + H]]


def test_series_without_enough_rows_before():
    data = shops()
    message = r"'c' has 1 rows up to the cutoff 2024-01-21 00:00:00, but 8 are needed; short_series='drop'"
    with pytest.raises(ValueError, match=message):
        forecaster().cross_validation(data, cutoffs=[day(30), day(20)])
    for short_series, there in ("drop", ["a", "b"]), ("pad", ["a", "b", "c"]):
        model = forecaster(short_series=short_series)
        with pytest.warns(
            UserWarning, match="1 of 3 series is too short, before some of the cutoffs"
        ) as found:
            scores = model.cross_validation(data, cutoffs=[day(30), day(20)])
        assert len(found) == 1
        first = scores[scores["cutoff"] == day(20)]
        assert first["unique_id"].unique().tolist() == there
        known = data[data["ds"] <= day(20)]
        assert_array_equal(first[MODEL], quiet(lambda m, d: m.fit(d).predict(), model, known)[MODEL])
    later = forecaster(short_series="drop")
    scores = quiet(later.cross_validation, data, cutoffs=[day(5 + LAGS), day(30)])
    assert scores[scores["cutoff"] == day(5 + LAGS)]["unique_id"].unique().tolist() == ["a"]


def test_a_wide_frame_has_gaps():
    data = shops().pivot(index="ds", columns="unique_id", values="y").loc[: day(40)]
    model = forecaster(short_series="drop", missing="interpolate")
    scores = quiet(model.cross_validation, data, cutoffs=[day(20), day(30)])
    assert scores["c"].isna().all(axis=1).tolist() == [True] * H + [False] * H
    assert scores[["a", "b"]].notna().all(axis=None)
    assert scores.index.tolist() == [(day(c), day(c + k)) for c in (20, 30) for k in (1, 2, 3)]


def test_errors_of_shared_cutoffs():
    pytest.importorskip("utilsforecast")
    data = shops()
    scores = quiet(forecaster().cross_validation, data, cutoffs=[day(30), day(50)])
    found = evaluate(scores, ["mae", "mase"], train=data)
    own = (scores["y"] - scores[MODEL]).abs().groupby(scores["unique_id"]).mean().mean()
    assert found.loc["mae", MODEL] == pytest.approx(own)
    assert found.loc["mase", MODEL] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(cutoffs=[]), "cutoffs has no stamp"),
        (dict(cutoffs=[day(30), day(30)]), "cutoffs has 2024-01-31 00:00:00 more than once"),
        (dict(cutoffs=["soon"]), "cutoffs has text that is no time: .*soon"),
        (dict(cutoffs=[30, 40]), "cutoffs holds integers, but those of fit are dates"),
        (
            dict(cutoffs=[day(30).tz_localize("UTC")]),
            "cutoffs has time zone UTC, but the data of fit have no",
        ),
        (dict(cutoffs=[pd.NaT, day(30)]), "cutoffs has no time .NaT. in row 0"),
        (dict(cutoffs=[2.5]), "cutoffs holds float64, not dates"),
        (dict(cutoffs=day(30), step_size=2), "step_size is between windows from the end"),
        (
            dict(cutoffs=day(-1)),
            "series 'a' has 0 rows up to the cutoff 2023-12-31 00:00:00, but 8 are needed",
        ),
        (dict(cutoffs=day(58)), "no series goes on for .* the cutoff 2024-02-28 00:00:00"),
    ],
)
def test_what_is_no_cutoff(arguments, message):
    with pytest.raises(ValueError, match=message):
        forecaster().cross_validation(shops(), **arguments)
