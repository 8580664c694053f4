import numpy as np
import pandas as pd
import pytest

from skrnn.forecasting.calendar import PLACES, features


def turn(stamps, name):
    """Where on the circle, from 0 to 1."""
    sine, cosine = features(stamps, [name]).T
    np.testing.assert_allclose(sine**2 + cosine**2, 1)
    return np.arctan2(sine, cosine) / (2 * np.pi) % 1


@pytest.mark.parametrize(
    ("name", "stamp", "expected"),
    [
        ("minute", "2020-01-01 05:15", 15 / 60),
        ("hour", "2020-01-01 18:59", 18 / 24),
        ("dayofweek", "2020-01-06", 0),  # a Monday
        ("dayofweek", "2020-01-05", 6 / 7),
        ("day", "2020-01-01", 0),
        ("day", "2020-01-31", 30 / 31),
        ("day", "2020-02-29", 28 / 29),
        ("day", "2021-02-28", 27 / 28),
        ("dayofyear", "2020-12-31", 365 / 366),
        ("dayofyear", "2021-12-31", 364 / 365),
        ("dayofyear", "2021-01-01", 0),
        ("week", "2021-01-03", 52 / 53),  # the last week of 2020, which has 53
        ("week", "2021-01-04", 0),
        ("week", "2022-01-02", 51 / 52),
        ("month", "2020-12-31", 11 / 12),
        ("quarter", "2020-12-31", 3 / 4),
    ],
)
def test_places(name, stamp, expected):
    assert turn(pd.DatetimeIndex([stamp]), name)[0] == pytest.approx(expected, abs=1e-12)
    assert turn(pd.DatetimeIndex(["1999-07-07 07:07", stamp]), name)[1] == pytest.approx(expected, abs=1e-12)


def test_columns_are_sine_and_cosine_by_name():
    stamps = pd.date_range("2020-01-01 06:00", periods=3, freq="6h")
    table = features(stamps, ["hour", "month"])
    np.testing.assert_allclose(table[:, :2], [[1, 0], [0, -1], [-1, 0]], atol=1e-12)
    np.testing.assert_allclose(table[:, 2:], [[0, 1]] * 3)
    assert table.dtype == np.float64
    assert np.array_equal(features(stamps, "hour"), table[:, :2])
    assert features(stamps, []).shape == (3, 0)
    assert features(pd.RangeIndex(3), []).shape == (3, 0)


def test_local_time_counts():
    stamps = pd.DatetimeIndex(["2020-07-01 06:00"]).tz_localize("Europe/Berlin")
    assert turn(stamps, "hour")[0] == pytest.approx(6 / 24)
    assert turn(stamps.tz_convert("UTC"), "hour")[0] == pytest.approx(4 / 24)


def test_a_period_is_where_it_starts():
    quarter = pd.PeriodIndex(["2020Q2"], freq="Q")
    assert turn(quarter, "quarter")[0] == pytest.approx(1 / 4)
    assert turn(quarter, "month")[0] == pytest.approx(3 / 12)
    assert turn(pd.PeriodIndex(["2020-01-06"], freq="W"), "dayofweek")[0] == pytest.approx(0)
    hours = pd.period_range("2020-01-01", periods=24, freq="h")
    np.testing.assert_allclose(turn(hours, "hour"), np.arange(24) / 24, atol=1e-12)


@pytest.mark.parametrize("name", PLACES)
def test_every_feature_goes_round(name):
    step = {"minute": "min", "hour": "h"}.get(name, "D")
    places = turn(pd.date_range("2019-01-01", periods=4 * 366, freq=step), name)
    steps = np.diff(places) % 1
    assert steps.max() < 0.26  # no jump, over years of 52 and 53 weeks and a leap year
    assert steps[steps > 1e-9].size


def test_mistakes():
    with pytest.raises(
        ValueError, match=r"calendar knows minute, hour, .*, quarter; got 'weekday', 'century'"
    ):
        features(pd.date_range("2020", periods=2), ["hour", "weekday", "century"])
    with pytest.raises(ValueError, match=r"need dates or periods; the time is in integers .int64"):
        features(pd.RangeIndex(2), ["hour"])
