import numpy as np
import pandas as pd
import pytest

from skrnn.forecasting.frames import future_frame, futures, read_future, read_panel

NAN = np.nan


def days(n, start="2020-01-01", **kwargs):
    return pd.date_range(start, periods=n, freq="D", **kwargs)


@pytest.fixture
def panel():
    """Series b ends on the 4th of January, a on the 7th."""
    frame = pd.DataFrame(
        {
            "unique_id": list("bbbb") + list("aaaaaa"),
            "ds": days(4).append(days(6, "2020-01-02")),
            "y": np.arange(10.0),
            "x": 0.0,
            "u": 0,
        }
    )
    return read_panel(frame, futr_exog=["x", "u"])


@pytest.fixture
def X_df(panel):
    """x is the day of the month, and 100 more for series b; u its negative."""
    frame = future_frame(panel, 3)
    frame["x"] = frame["ds"].dt.day + 100 * (frame["unique_id"] == "b")
    return frame.assign(u=-frame["x"]).sample(frac=1, random_state=0)


# --- stamps ---------------------------------------------------------------------------------------
def test_every_series_goes_on_from_its_own_end(panel):
    assert futures(panel, 2).astype(str).tolist() == ["2020-01-08", "2020-01-09", "2020-01-05", "2020-01-06"]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (pd.date_range("2019-12-31", periods=3, freq="ME"), ["2020-03-31", "2020-04-30"]),
        (pd.date_range("2020-01-01", periods=3, freq="B"), ["2020-01-06", "2020-01-07"]),
        (pd.date_range("2019-12-31", periods=3, freq="QE"), ["2020-09-30", "2020-12-31"]),
        (pd.period_range("2020Q1", periods=3, freq="Q"), ["2020Q4", "2021Q1"]),
        (pd.RangeIndex(0, 15, 5), ["15", "20"]),
        (
            pd.date_range("2020-10-22", periods=3, freq="D", tz="Europe/Berlin"),
            ["2020-10-25 00:00:00+02:00", "2020-10-26 00:00:00+01:00"],
        ),
        (
            pd.date_range("2020-10-24 23:00", periods=3, freq="h", tz="Europe/Berlin"),
            ["2020-10-25 02:00:00+02:00", "2020-10-25 02:00:00+01:00"],
        ),
    ],
)
def test_future_frame_of_an_index(index, expected):
    panel = read_panel(pd.Series(1.0, index.rename("when")))
    frame = future_frame(panel, 2)
    assert frame.index.astype(str).tolist() == expected
    assert frame.index.dtype == index.dtype
    assert frame.index.name == "when"
    assert frame.shape == (2, 0)
    if isinstance(index, pd.DatetimeIndex):
        assert frame.index.freq == index.freq


def test_a_skipped_local_time_has_no_frequency():
    index = pd.date_range("2020-03-26 02:30", periods=3, freq="D", tz="Europe/Berlin")
    frame = future_frame(read_panel(pd.Series(1.0, index)), 1)
    assert frame.index.astype(str).tolist() == ["2020-03-29 03:00:00+02:00"]


def test_future_frame_of_a_long_frame(panel):
    frame = future_frame(panel, 2)
    assert frame.columns.tolist() == ["unique_id", "ds"]
    assert frame["unique_id"].tolist() == ["a", "a", "b", "b"]
    assert frame["unique_id"].dtype == panel.ids.dtype
    assert frame["ds"].tolist() == futures(panel, 2).tolist()
    categories = pd.DataFrame({"unique_id": pd.Categorical(["q"] * 3), "ds": [5, 10, 15], "y": 1.0})
    frame = future_frame(read_panel(categories), 2)
    assert frame["unique_id"].dtype == categories["unique_id"].dtype
    assert frame["ds"].tolist() == [20, 25]


# --- covariates -----------------------------------------------------------------------------------
def test_rows_in_any_order(panel, X_df):
    values = read_future(X_df, panel, 3, ["u", "x"])
    assert values.shape == (2, 3, 2)
    assert values[:, :, 1].tolist() == [[8, 9, 10], [105, 106, 107]]
    assert np.array_equal(values[:, :, 0], -values[:, :, 1])
    assert values.dtype == np.float64


def test_what_is_not_needed_is_left_out(panel, X_df):
    more = X_df.assign(unique_id="c").iloc[:2]
    late = X_df.assign(ds=X_df["ds"] + pd.Timedelta("90D"))
    broken = X_df.assign(ds=X_df["ds"] - pd.Timedelta("90D"), x=NAN)
    both = pd.concat([more, late, X_df, broken, broken])
    assert np.array_equal(read_future(both, panel, 3, ["x"]), read_future(X_df, panel, 3, ["x"]))
    assert np.array_equal(read_future(X_df, panel, 2, ["x"]), read_future(X_df, panel, 3, ["x"])[:, :2])
    assert read_future(X_df, panel, 3, []).shape == (2, 3, 0)


def test_series_of_a_wide_frame_share_the_covariates():
    frame = pd.DataFrame({"a": [1.0, 2], "b": [1.0, 2], "x": [0.0, 1]}, days(2))
    X_df = pd.DataFrame({"x": [4, 3, 2]}, days(3, "2020-01-03")[::-1])
    panel = read_panel(frame, futr_exog="x")
    assert read_future(X_df, panel, 3, ["x"]).tolist() == [[[2], [3], [4]]] * 2
    joint = read_panel(frame, futr_exog="x", multivariate=True)
    assert read_future(X_df, joint, 3, ["x"]).tolist() == [[[2], [3], [4]]]


def test_resolution_and_dtype_of_ids_may_differ(panel, X_df):
    X_df["ds"] = X_df["ds"].astype("datetime64[s]")
    X_df["unique_id"] = X_df["unique_id"].astype("category")
    assert read_future(X_df, panel, 3, ["x"])[0].tolist() == [[8], [9], [10]]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda X: X["x"], TypeError, r"X_df has to be a DataFrame, got pandas.*\.Series"),
        (lambda X: X.drop(columns=["u"]), ValueError, "columns are not in X_df: 'u'"),
        (lambda X: X.drop(columns="ds"), ValueError, "columns are not in X_df: 'ds'"),
        (
            lambda X: X[X["x"] != 106],
            ValueError,
            r"X_df lacks 1 of the 3 rows of series 'b' that are forecast, the first of them 2020-01-06 "
            r"00:00:00; make_future_dataframe\(\) makes them",
        ),
        (
            lambda X: X[~X["x"].isin([9, 10, 105])],
            ValueError,
            r"lacks 2 of the 3 rows of series 'a' .* them 2020-01-09 00:00:00 \(3 rows of 2 series in all\)",
        ),
        (lambda X: X[:0], ValueError, r"lacks 3 of the 3 rows of series 'a' .*\(6 rows of 2 series in all\)"),
        (
            lambda X: pd.concat([X, X[X["x"] == 9]]),
            ValueError,
            "X_df: series 'a' has 2020-01-09 00:00:00 more than",
        ),
        (
            lambda X: X.assign(u=X["u"].replace(-106, NAN)),
            ValueError,
            "X_df: 'u' of series 'b' is NaN at 2020-01-06",
        ),
        (
            lambda X: X.assign(x=X["x"].replace(9, np.inf)),
            ValueError,
            "X_df: 'x' of series 'a' is infinite at 2020-0",
        ),
        (lambda X: X.assign(x="yes"), ValueError, "X_df: column 'x' is not numeric but (str|object)"),
        (
            lambda X: X.assign(ds=X["ds"].dt.tz_localize("UTC")),
            ValueError,
            "column 'ds' of X_df has time zone UTC, but the data of fit have no time zone",
        ),
        (
            lambda X: X.assign(ds=X["ds"].astype(str)),
            ValueError,
            "column 'ds' of X_df holds .* pd.to_datetime",
        ),
        (
            lambda X: X.assign(ds=range(6)),
            ValueError,
            "column 'ds' of X_df holds integers, but those of fit are dates",
        ),
        (
            lambda X: X.assign(ds=X["ds"].where(X["x"] > 8)),
            ValueError,
            r"'ds' of X_df has no time \(NaT\) in row \d",
        ),
    ],
)
def test_mistakes(panel, X_df, change, error, message):
    with pytest.raises(error, match=message):
        read_future(change(X_df), panel, 3, ["x", "u"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda X: X[1:],
            "lacks 1 of the 3 rows that are forecast, the first of them 2020-01-03 00:00:00; make_fut",
        ),
        (lambda X: pd.concat([X, X[:1]]), "X_df: 2020-01-03 00:00:00 is there more than once"),
        (lambda X: X.replace(3, NAN), "X_df: 'x' is NaN at 2020-01-04"),
        (lambda X: X.tz_localize("UTC"), "the index of X_df has time zone UTC"),
        (lambda X: X.reset_index(), "the index of X_df holds integers, but those of fit are dates"),
    ],
)
def test_mistakes_with_a_wide_frame(change, message):
    panel = read_panel(pd.DataFrame({"a": [1.0, 2], "b": [1.0, 2], "x": [0.0, 1]}, days(2)), futr_exog="x")
    with pytest.raises(ValueError, match=message):
        read_future(change(pd.DataFrame({"x": [2, 3, 4]}, days(3, "2020-01-03"))), panel, 3, ["x"])
