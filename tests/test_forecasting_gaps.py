import numpy as np
import pandas as pd
import pytest

from skrnn.forecasting.frames import extend, read_panel

NAN = np.nan


def days(n, start="2020-01-01", freq="D"):
    return pd.date_range(start, periods=n, freq=freq)


def stack(**series):
    """A long frame."""
    parts = [pd.DataFrame({"unique_id": name, "ds": index, "y": 1.0}) for name, index in series.items()]
    return pd.concat(parts, ignore_index=True)


def holes(series, *positions):
    return series.drop(series.index[list(positions)])


# --- filling --------------------------------------------------------------------------------------
@pytest.mark.parametrize("missing", ["interpolate", "mask"])
def test_gaps_and_nan_are_filled_alike(missing):
    whole = pd.Series([0.0, NAN, 4, 6, 8, 3, 3, 7], days(8), name="a")
    panel = read_panel(holes(whole, 3, 5, 6), missing=missing, freq="D")
    assert panel.values[:, 0].tolist() == [0, 2, 4, 6, 8, 23 / 3, 22 / 3, 7]
    assert panel.stamps.equals(whole.index)
    assert panel.starts.tolist() == [0, 8]
    known = [True, False, True, False, True, False, False, True]
    assert panel.observed[:, 0].tolist() == (known if missing == "mask" else [True] * 8)


def test_filling_is_linear_in_time_and_not_in_rows():
    series = pd.Series([0.0, NAN, 60.0], days(3, "2020-01-31", "ME"))
    assert read_panel(series, missing="interpolate").values[1, 0] == 60 * 29 / 60
    working_days = pd.Series([0.0, NAN, 4.0], days(3, "2020-01-02", "B"))  # Thursday to Monday
    assert read_panel(working_days, missing="interpolate").values[1, 0] == 1


def test_the_end_keeps_the_last_value():
    panel = read_panel(pd.Series([1.0, 2.0, NAN, NAN], days(4)), missing="mask")
    assert panel.values[:, 0].tolist() == [1, 2, 2, 2]
    assert panel.observed[:, 0].tolist() == [True, True, False, False]


@pytest.mark.parametrize("missing", ["interpolate", "mask"])
def test_a_series_begins_with_its_first_value_and_a_column_ends_with_its_last(missing):
    frame = pd.DataFrame({"a": [NAN, 1, NAN, 3, 4], "b": [NAN] * 3 + [5, NAN], "c": 1.0}, days(5))
    panel = read_panel(frame, missing=missing)
    assert panel.starts.tolist() == [0, 4, 5, 10]
    assert panel.values[:, 0].tolist() == [1, 2, 3, 4, 5, 1, 1, 1, 1, 1]
    assert panel.stamps.day.tolist() == [2, 3, 4, 5, 4, 1, 2, 3, 4, 5]
    assert panel.measured[:, 0].tolist() == [True, False, True, True, True] + [True] * 5
    again = read_panel(frame[2:], like=panel)  # a history may begin in a gap
    assert (again.starts.tolist(), again.values[:2, 0].tolist()) == ([0, 2, 3, 6], [3, 4])
    later = pd.DataFrame({"a": [NAN, 6], "b": [7, NAN], "c": NAN}, days(2, "2020-01-06"))
    assert extend(panel, later).values[:, 0].tolist() == [1, 2, 3, 4, 5, 6, 5, 6, 7, *[1] * 5]
    with pytest.raises(ValueError, match="there is no value to go on with: all are NaN"):
        extend(panel, later * NAN)


def test_only_targets_tell_where_a_column_ends():
    """Covariates that are not known as far keep their last value; what is known behind is left out."""
    frame = pd.DataFrame({"a": [1.0, 2, 3, NAN], "b": 1.0, "x": [1, 2, NAN, NAN]}, days(4))
    panel = read_panel(frame, missing="mask", futr_exog="x")
    assert panel.starts.tolist() == [0, 3, 7]
    assert panel.exog[:, 0].tolist() == [1, 2, 2, 1, 2, 2, 2]
    joint = read_panel(frame, missing="mask", hist_exog="x", multivariate=True)
    assert joint.values.tolist() == [[1, 1], [2, 1], [3, 1], [3, 1]]


def test_a_series_begins_where_all_its_columns_do():
    frame = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": [NAN, 2, NAN, 4], "x": [NAN, NAN, 7, 8]}, days(4))
    joint = read_panel(frame[["a", "b"]], missing="mask", multivariate=True)
    assert joint.values.tolist() == [[2, 2], [3, 3], [4, 4]]
    panel = read_panel(frame, missing="mask", futr_exog="x")
    assert panel.values[:, 0].tolist() == [3, 4, 4]  # b is not known before the third day
    assert panel.exog[:, 0].tolist() == [7, 8, 8]


def test_series_do_not_fill_each_other():
    frame = stack(a=days(4), b=days(5, "2020-02-01"), c=days(4, "2019-01-01"))
    frame["y"] = np.arange(13.0)
    frame["x"] = -frame["y"]
    frame.loc[[2, 3, 11], "y"] = NAN
    frame.loc[10, "x"] = NAN
    panel = read_panel(frame.drop(index=[1, 5, 7]).iloc[::-1], missing="mask", freq="D", hist_exog="x")
    assert panel.starts.tolist() == [0, 4, 9, 13]
    assert panel.values[:, 0].tolist() == [0, 0, 0, 0, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    lost = [1, 2, 3, 5, 7, 11]
    assert np.flatnonzero(~panel.observed[:, 0]).tolist() == lost
    assert panel.exog[:, 0].tolist() == [0, -1, -2, -3, -4, -5, -6, -7, -8, -9, -10, -11, -12]
    assert panel.stamps.equals(days(4).append([days(5, "2020-02-01"), days(4, "2019-01-01")]))


def test_targets_of_a_multivariate_frame_are_filled_one_by_one():
    frame = pd.DataFrame({"a": [0.0, NAN, 2.0, 3.0], "b": [0.0, 10.0, NAN, 30.0]}, days(4))
    panel = read_panel(holes(frame, 2), missing="mask", freq="D", multivariate=True)
    assert panel.values.tolist() == [[0, 0], [1, 10], [2, 20], [3, 30]]
    assert panel.observed.tolist() == [[True, True], [False, True], [False, False], [True, True]]


@pytest.mark.parametrize(
    "index",
    [
        pd.date_range("2020-10-20", periods=40, freq="D", tz="Europe/Berlin"),
        pd.date_range("2020-10-24", periods=40, freq="h", tz="Europe/Berlin"),
        pd.period_range("2020-01", periods=40, freq="M"),
        pd.RangeIndex(0, 200, 5),
        pd.date_range("2020-01", periods=40, freq="QS"),
    ],
)
def test_gaps_of_every_kind_of_time(index):
    whole = pd.Series(np.arange(40.0), index)
    panel = read_panel(holes(whole, 5, 20, 21, 38), missing="mask")
    assert panel.stamps.equals(index)
    assert np.flatnonzero(~panel.observed[:, 0]).tolist() == [5, 20, 21, 38]


def test_large_integers_are_filled_exactly():
    series = pd.Series([0.0, 4.0], pd.Index([10**18, 10**18 + 4]))
    assert read_panel(series, missing="interpolate", freq=1).values[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_a_sparser_series_is_filled_only_where_the_frequency_is_given():
    frame = stack(a=days(20), b=days(4, freq="3D"))
    assert read_panel(frame, missing="mask", freq="D").lengths.tolist() == [20, 10]
    with pytest.raises(
        ValueError, match="series 'b' has the frequency '3D', not 'D', the frequency of the longest"
    ):
        read_panel(frame, missing="mask")


# --- mistakes -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            stack(a=days(30), b=days(20, "2020-03-01").delete([4, 9, 10])),
            "series 'b' has gaps: 2020-03-05 00:00:00 is missing, the first of 3 stamps; the frequency is "
            "'D'. missing='interpolate' and missing='mask' fill them",
        ),
        (
            stack(a=days(30), b=days(20).delete(4), c=days(9).delete(1)),
            r"series 'b' has gaps: 2020-01-05 00:00:00 is missing \(2 series have gaps\)",
        ),
        (
            stack(a=days(20, freq="B"), b=days(20, freq="B").delete(6)),
            "series 'b' has gaps: 2020-01-09 00:00:00 is missing; the frequency is 'B'",
        ),
        (
            stack(a=days(30), b=days(8, freq="W-SUN")),
            "'b' has the frequency 'W-SUN', not 'D', the frequency of the lo",
        ),
        (stack(a=days(30), b=days(8, freq="h")), "series 'b' has the frequency 'h', not 'D'"),
        (stack(a=days(8, freq="ME"), b=days(8, freq="MS")), "series 'b' has the frequency 'MS', not 'ME'"),
        (
            stack(a=days(30), b=days(3).append(days(2, "2020-01-03 06:00"))),
            "series 'b' is not on the frequency 'D': 2020-01-03 00:00:00 is followed by 2020-01-03 06:00:00",
        ),
        (
            stack(a=days(30, freq="ME"), b=days(2, "2020-01-15")[:1]),
            "series 'b' starts at 2020-01-15 00:00:00, which is not on the frequency 'ME'",
        ),
        (stack(a=range(0, 20, 5), b=range(0, 60, 20)), "series 'b' has the frequency 20, not 5"),
        (stack(a=range(0, 20, 5), b=[0, 5, 15]), "series 'b' has gaps: 10 is missing; the frequency is 5"),
        (stack(a=range(0, 20, 5), b=[0, 20]), "series 'b' has gaps: 5 is missing, the first of 3 stamps"),
        (stack(a=[0, 5, 10, 20, 30, 40]), "series 'a' has gaps: 15 is missing, the first of 3 stamps; the"),
        (
            stack(
                a=pd.period_range("2020", periods=9, freq="M"),
                b=pd.period_range("2020", periods=9, freq="M")[::3],
            ),
            "series 'b' has gaps: 2020-02 is missing, the first of 4 stamps",
        ),
        (stack(a=range(0, 20, 5), b=[0, 5, 12]), "series 'b' is not on the frequency 5: 5 is followed by 12"),
        (
            stack(
                a=pd.period_range("2020", periods=4, freq="M"),
                b=pd.PeriodIndex(["2020-01", "2020-04"], freq="M"),
            ),
            "series 'b' has gaps: 2020-02 is missing, the first of 2 stamps; the frequency is 'M",
        ),
        (
            pd.Series(1.0, pd.date_range("2020-03-28", periods=40, freq="h", tz="Europe/Berlin").delete(26)),
            r"series 'y' has gaps: 2020-03-29 03:00:00\+02:00 is missing",
        ),
    ],
)
def test_gaps_that_are_not_filled(frame, message):
    with pytest.raises(ValueError, match=message):
        read_panel(frame)


@pytest.mark.parametrize("missing", ["interpolate", "mask"])
@pytest.mark.parametrize(
    ("values", "arguments", "message"),
    [
        ({"a": [1, NAN, 3], "b": [NAN] * 3}, {}, "series 'b' has no value at all"),
        ({"a": [1, NAN, 3], "b": [NAN] * 3}, dict(multivariate=True), "series 'b' has no value at all"),
        ({"a": [1, NAN, 3], "b": [NAN] * 3}, dict(hist_exog="b"), "column 'b' has no value at all"),
        (
            {"a": [1, NAN, 3], "b": [NAN, 2, NAN]},
            dict(futr_exog="b"),
            "series 'a' has no row with a value in ea",
        ),
        ({"a": [1, NAN, 3], "b": [1, -np.inf, 2]}, {}, "series 'b' is infinite at 2020-01-02"),
        (
            {"a": [1, 2, 3], "b": [1, -1e151, 2]},
            {},
            "series 'b' is beyond 1e.150, too large",
        ),
    ],
)
def test_what_cannot_be_filled(values, arguments, message, missing):
    with pytest.raises(ValueError, match=message):
        read_panel(pd.DataFrame(values, days(3)), missing=missing, **arguments)


@pytest.mark.parametrize("missing", ["interpolate", "mask"])
@pytest.mark.parametrize(
    ("index", "freq", "message"),
    [
        (
            pd.DatetimeIndex(["1900-01-01"]).append(days(60)),
            "D",
            "'b' has 61 rows, but between 1900-01-01 .* 43828",
        ),
        (
            days(60).append(pd.DatetimeIndex(["2200-03-01"])),
            "D",
            "2020-02-29 00:00:00 and 2200-03-01 .* wrong",
        ),
        (days(60, freq="MS").append(pd.DatetimeIndex(["2200-01-01"])), "MS", "2024-12-01 .* 2100 stamps"),
        (np.append(np.arange(60), 10**6), 1, "between 59 and 1000000 999940 stamps are missing"),
    ],
)
def test_gaps_beside_which_little_is_known(index, freq, message, missing):
    with pytest.raises(ValueError, match=message):
        read_panel(stack(b=index), missing=missing, freq=freq)
    known = slice(1, None) if getattr(index[0], "year", 2000) == 1900 else slice(None, -1)
    panel = read_panel(stack(b=index[known]), missing=missing, freq=freq)
    if known == slice(None, -1):
        with pytest.raises(ValueError, match=message):
            extend(panel, stack(b=index[-1:]))


def test_long_gaps_of_long_series():
    assert read_panel(stack(a=days(1000).delete(slice(200, 700))), missing="mask").lengths.tolist() == [1000]
    assert read_panel(stack(a=[0, 400]), missing="mask", freq=1).lengths.tolist() == [401]


@pytest.mark.parametrize(
    ("values", "remedy", "left"),
    [
        ([NAN, NAN, 3, 4], "leave out what is before the first value", [3, 4]),
        ([1, 2, 3, NAN], "leave out what is behind the last value", [1, 2, 3]),
        ([NAN, 2, NAN, NAN], "leave out what is before the first value", [2]),
        ([1, NAN, 3, 4], "fill it", [1, 2, 3, 4]),
        ([1, NAN, 3, NAN], "fill it", [1, 2, 3]),
    ],
)
def test_the_remedy_that_a_message_names_works(values, remedy, left):
    frame = pd.DataFrame({"a": [1.0, 2, 3, 4], "b": values}, days(4))
    with pytest.raises(
        ValueError, match=f"series 'b' is NaN at .*missing='interpolate' and missing='mask' {remedy}"
    ):
        read_panel(frame)
    for missing in "interpolate", "mask":
        panel = read_panel(frame, missing=missing)
        assert panel.values[4:, 0].tolist() == left
        assert read_panel(frame["b"], missing=missing).last_stamps[0] == frame.index[-1]  # of a Series


def test_a_sparser_series_is_filled_in_new_data():
    panel = read_panel(stack(a=days(20), b=days(4)), missing="mask")
    sparse = stack(a=days(4, freq="3D"), b=days(3, "2020-01-07", freq="3D"))
    assert read_panel(sparse, like=panel).lengths.tolist() == [10, 7]
    assert extend(panel, sparse[4:]).lengths.tolist() == [20, 13]


def test_the_frequency_of_a_single_series():
    with pytest.raises(ValueError, match=r"series 'a' has the frequency 'D', not 'h'$"):
        read_panel(stack(a=days(5)), freq="h")


def test_a_series_off_the_frequency_is_not_filled():
    index = days(5).append(days(2, "2020-01-05 06:00"))
    with pytest.raises(ValueError, match="is not on the frequency 'D': 2020-01-05 00:00:00 is followed by"):
        read_panel(pd.Series(1.0, index), missing="mask", freq="D")
