import numpy as np
import pandas as pd
import pytest

from skrnn.forecasting.frames import futures, read_panel, write_cross_validation, write_forecast
from skrnn.forecasting.splits import RollingOrigin


def days(n, start="2020-01-01", **kwargs):
    return pd.date_range(start, periods=n, freq="D", **kwargs)


def long():
    return pd.DataFrame(
        {
            "unique_id": pd.Categorical(list("bbbb") + list("aaaaaa")),
            "ds": days(4).append(days(6, "2020-01-02")),
            "y": np.arange(10.0),
        }
    )


def wide(n=6):
    n = np.arange(n)
    frame = pd.DataFrame({"a": n, "b": 10 * n, 0: 100.0 * n}, index=days(len(n), tz="Europe/Berlin"))
    return frame.rename_axis(index="when", columns="city")


def answer(panel, h, levels=()):
    """Statistics whose every value tells the series, the step and the target."""
    shape = len(panel.ids), h, panel.values.shape[1]
    point = np.sum(np.indices(shape) * np.array([100, 1, 10])[:, None, None, None], axis=0).astype(float)
    bounds = {
        f"{side}-{level}": point + sign * level for level in levels for side, sign in (("lo", -1), ("hi", 1))
    }
    return {"point": point} | bounds


def forecast(data, h=2, levels=(), **arguments):
    panel = read_panel(data, **arguments)
    return write_forecast(panel, futures(panel, h), answer(panel, h, levels), "LSTM")


# --- predict --------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["co2", None, 0, ("a", 1)])
def test_a_series_gives_a_series(name):
    series = pd.Series(1.0, pd.date_range("2020-01-31", periods=3, freq="ME", name="when"), name=name)
    result = forecast(series)
    expected = pd.date_range("2020-04-30", periods=2, freq="ME", name="when")
    pd.testing.assert_series_equal(result, pd.Series([0.0, 1.0], expected, name=name))
    assert result.index.freq == series.index.freq


def test_levels_of_a_series():
    result = forecast(pd.Series(1.0, days(3), name="co2"), levels=[80, 95.5])
    assert result.columns.tolist() == ["co2", "co2-lo-80", "co2-hi-80", "co2-lo-95.5", "co2-hi-95.5"]
    assert result.iloc[1].tolist() == [1, -79, 81, -94.5, 96.5]
    assert result.index.equals(days(2, "2020-01-04"))
    assert forecast(pd.Series(1.0, days(3)), levels=[80]).columns.tolist() == ["y", "y-lo-80", "y-hi-80"]
    assert forecast(pd.Series(1.0, days(3), name=0), levels=[80]).columns.tolist() == [
        0,
        "0-lo-80",
        "0-hi-80",
    ]


@pytest.mark.parametrize(("multivariate", "factor"), [(False, 100), (True, 10)])
def test_wide_frame(multivariate, factor):
    result = forecast(wide(), multivariate=multivariate)
    index = days(2, "2020-01-07", tz="Europe/Berlin")
    steps = np.arange(2.0)
    columns = {name: steps + factor * k for k, name in enumerate(["a", "b", 0])}
    expected = pd.DataFrame(columns, index).rename_axis(index="when", columns="city")
    pd.testing.assert_frame_equal(result, expected)
    assert result.index.freq == index.freq


@pytest.mark.parametrize(("multivariate", "factor"), [(False, 100), (True, 10)])
def test_levels_of_a_wide_frame(multivariate, factor):
    result = forecast(wide(), levels=[80], multivariate=multivariate)
    assert result.columns.names == ["city", "statistic"]
    assert result.columns.tolist()[:4] == [
        ("a", "LSTM"),
        ("a", "LSTM-lo-80"),
        ("a", "LSTM-hi-80"),
        ("b", "LSTM"),
    ]
    assert result[0]["LSTM"].tolist() == [2 * factor, 2 * factor + 1]
    assert result["b"]["LSTM-lo-80"].tolist() == [factor - 80, factor - 79]
    assert result["a"].columns.tolist() == ["LSTM", "LSTM-lo-80", "LSTM-hi-80"]


def test_one_column_stays_a_frame():
    assert forecast(wide()[["a"]]).columns.tolist() == ["a"]
    assert forecast(wide()[["a"]], multivariate=True).shape == (2, 1)


def test_covariates_are_not_in_the_answer():
    assert forecast(wide(), hist_exog="b").columns.tolist() == ["a", 0]


def test_long_frame():
    result = forecast(long(), levels=[80])
    expected = pd.DataFrame(
        {
            "unique_id": pd.Categorical(["a", "a", "b", "b"]),
            "ds": days(2, "2020-01-08").append(days(2, "2020-01-05")),
            "LSTM": [0.0, 1.0, 100.0, 101.0],
            "LSTM-lo-80": [-80.0, -79.0, 20.0, 21.0],
            "LSTM-hi-80": [80.0, 81.0, 180.0, 181.0],
        }
    )
    pd.testing.assert_frame_equal(result, expected)


def test_names_and_types_of_a_long_frame():
    frame = long().rename(columns={"unique_id": "city", "ds": "when", "y": "sales"})
    frame["city"] = pd.array([7] * 4 + [3] * 6, "Int64")
    frame["when"] = pd.PeriodIndex(frame["when"], freq="D")
    result = forecast(frame, id_col="city", time_col="when", target_col="sales")
    assert result.columns.tolist() == ["city", "when", "LSTM"]
    assert result["city"].tolist() == [3, 3, 7, 7]
    assert result.dtypes[["city", "when"]].tolist() == frame.dtypes[["city", "when"]].tolist()


def test_integers():
    index = pd.RangeIndex(0, 15, 5, name="step")
    result = forecast(pd.Series(1.0, index))
    assert result.index.equals(pd.Index([15, 20]))
    assert result.index.name == "step"


# --- cross_validation -----------------------------------------------------------------------------
def validate(data, levels=(), **arguments):
    """Two windows of two steps, the second one step on."""
    panel = read_panel(data, freq="D", **arguments)
    folds = list(RollingOrigin(2, h=2).folds(panel))
    answers = [answer(panel, 2, levels), {k: v + 1000 for k, v in answer(panel, 2, levels).items()}]
    return write_cross_validation(panel, folds, answers, "LSTM")


def test_cross_validation_of_a_long_frame():
    expected = pd.DataFrame(
        {
            "unique_id": pd.Categorical(list("aaaabbbb")),
            "ds": pd.DatetimeIndex([f"2020-01-0{day}" for day in (5, 6, 6, 7, 2, 3, 3, 4)]),
            "cutoff": pd.DatetimeIndex([f"2020-01-0{day}" for day in (4, 4, 5, 5, 1, 1, 2, 2)]),
            "sales": [7.0, 8, 8, 9, 1, 2, 2, 3],
            "LSTM": [0.0, 1, 1000, 1001, 100, 101, 1100, 1101],
        }
    )
    result = validate(long().rename(columns={"y": "sales"}), target_col="sales")
    for time in "ds", "cutoff":
        assert result[time].dtype == long()["ds"].dtype
    pd.testing.assert_frame_equal(result, expected, check_dtype=False)


def test_cross_validation_of_a_series():
    result = validate(pd.Series([0.0, 1, 2, 3], days(4), name="co2").rename_axis("when"), levels=[80])
    assert result.columns.tolist() == ["cutoff", "y", "LSTM", "LSTM-lo-80", "LSTM-hi-80"]
    assert result.index.name == "when"
    assert result.index.astype(str).tolist() == ["2020-01-02", "2020-01-03", "2020-01-03", "2020-01-04"]
    assert result["cutoff"].astype(str).tolist() == ["2020-01-01", "2020-01-01", "2020-01-02", "2020-01-02"]
    assert result["y"].tolist() == [1, 2, 2, 3]
    assert result["LSTM-hi-80"].tolist() == [80, 81, 1080, 1081]


@pytest.mark.parametrize(("multivariate", "factor"), [(False, 100), (True, 10)])
def test_cross_validation_of_a_wide_frame(multivariate, factor):
    result = validate(wide(), levels=[80], multivariate=multivariate)
    assert result.index.names == ["cutoff", "when"]
    days_of_month = [(cutoff.day, stamp.day) for cutoff, stamp in result.index]
    assert days_of_month == [(3, 4), (3, 5), (4, 5), (4, 6)]
    assert result.index.get_level_values(1).dtype == wide().index.dtype
    assert result.columns.names == ["city", "statistic"]
    assert result["a"].columns.tolist() == ["y", "LSTM", "LSTM-lo-80", "LSTM-hi-80"]
    assert result["b"]["y"].tolist() == [30, 40, 40, 50]
    assert result["b"]["LSTM"].tolist() == [factor, factor + 1, factor + 1000, factor + 1001]
    assert result[0]["LSTM-lo-80"].tolist() == [2 * factor + k - 80 for k in (0, 1, 1000, 1001)]


def test_filled_values_are_no_true_values():
    series = pd.Series([0.0, 1, np.nan, 3], days(4))
    for missing in "mask", "interpolate":
        assert np.isnan(validate(series, missing=missing)["y"]).tolist() == [False, True, True, False]


def test_cross_validation_with_periods_and_integers():
    for index in pd.period_range("2020-01", periods=4, freq="M"), pd.RangeIndex(0, 20, 5):
        panel = read_panel(pd.Series([0.0, 1, 2, 3], index))
        folds = list(RollingOrigin(1, h=2).folds(panel))
        result = write_cross_validation(panel, folds, [answer(panel, 2)], "LSTM")
        assert result.index.equals(index[2:])
        assert result["cutoff"].tolist() == [index[1]] * 2
        assert result["cutoff"].dtype == index.dtype


@pytest.mark.parametrize("form", ["long", "wide", "joint", "series"])
def test_every_value_is_in_its_place(form):
    """The true values, the stamps and the cutoffs belong together: y tells the series and the day."""
    frame = pd.DataFrame({f"s{i}": 100 * i + np.arange(1.0, 10) for i in range(2)}, days(9))
    table = (
        frame.melt(ignore_index=False, var_name="unique_id", value_name="y").rename_axis("ds").reset_index()
    )
    data = {"long": table[1:], "series": frame["s1"]}.get(form, frame)
    panel = read_panel(data, multivariate=form == "joint")
    folds = list(RollingOrigin(3, h=4).folds(panel))
    result = write_cross_validation(
        panel, folds, [{"point": -fold.y, "hi-80": fold.y + 0.5} for fold in folds], "M"
    )
    if form in ("wide", "joint"):
        result = result.stack(0, **({} if pd.__version__ >= "3" else dict(future_stack=True)))
        result = result.reset_index(names=["cutoff", "ds", "unique_id"])
    elif form == "series":
        result = result.rename_axis("ds").reset_index().assign(unique_id="s1")
    assert len(result) == 3 * 4 * (1 if form == "series" else 2)
    assert (result["y"] == result["ds"].dt.day + 100 * (result["unique_id"] == "s1")).all()
    assert (result["M"] == -result["y"]).all()
    assert (result["M-hi-80"] == result["y"] + 0.5).all()
    for _, part in result.groupby(["unique_id", "cutoff"]):
        assert (part["ds"] - part["cutoff"]).dt.days.tolist() == [1, 2, 3, 4]
    assert sorted(result["cutoff"].dt.day.unique()) == [3, 4, 5]
