import numpy as np
import pandas as pd
import pytest

from skrnn.forecasting.frequency import (
    find_freq,
    infer_freq,
    missing_after,
    off_freq,
    stamps_after,
    times_of_day,
)
from skrnn.forecasting.stamps import as_stamps

# Every kind of step: what pandas calls it, a first stamp, and a time zone where the clocks change.
KINDS = [
    ("h", "2020-03-28 05:00", None),
    ("h", "2020-03-28 05:00", "Europe/Berlin"),
    ("30min", "2020-10-24 05:00", "Europe/Berlin"),
    ("6h", "2020-03-28 06:00", "Europe/Berlin"),
    ("D", "2020-03-27", "Europe/Berlin"),
    ("D", "2020-03-27 12:00", "Europe/Berlin"),
    ("2D", "2020-10-20", "America/New_York"),
    ("W-SUN", "2020-03-01", "Europe/Berlin"),
    ("B", "2020-02-28", None),
    ("B", "2020-03-02", "Europe/Berlin"),
    ("ME", "2020-01-31", None),
    ("ME", "2020-01-31 12:00", None),
    ("MS", "2020-01-01", "Europe/Berlin"),
    ("BME", "2020-01-31", None),
    ("QE-DEC", "2019-12-31", None),
    ("QS-OCT", "2020-01-01", None),
    ("YE-DEC", "2019-12-31", None),
    ("SMS", "2020-01-01", None),
    (pd.offsets.DateOffset(months=1), "2020-01-17", None),
    (pd.offsets.BusinessHour(), "2020-01-02 09:00", None),
    (pd.offsets.CustomBusinessDay(holidays=["2020-01-06"]), "2020-01-02", None),
]


def dates(freq, start, tz=None, periods=60, unit="ns"):
    # pandas counts days from midnight to midnight here, before and after version 3.
    return pd.date_range(start, periods=periods, freq=freq, tz=tz).as_unit(unit)


def one(stamps):
    """The bounds of one series."""
    return np.array([0, len(stamps)])


@pytest.mark.parametrize("unit", ["s", "ns"])
@pytest.mark.parametrize(("freq", "start", "tz"), KINDS)
def test_stamps_after_are_those_of_date_range(freq, start, tz, unit):
    stamps = dates(freq, start, tz, unit=unit)
    freq = find_freq(stamps, one(stamps), freq)
    assert not missing_after(stamps, one(stamps), freq).any()
    after = stamps_after(stamps[:1], len(stamps) - 1, freq)
    assert after.equals(stamps[1:])
    assert after.dtype == stamps.dtype


@pytest.mark.parametrize(("freq", "start", "tz"), KINDS)
def test_missing_stamps_are_counted_and_found(freq, start, tz):
    stamps = dates(freq, start, tz)
    freq = find_freq(stamps, one(stamps), freq)
    kept = np.delete(np.arange(60), [7, 20, 21, 22])
    missing = missing_after(stamps[kept], one(kept), freq)
    assert dict(enumerate(missing[missing > 0].tolist())) == {0: 1, 1: 3}
    assert kept[np.flatnonzero(missing)].tolist() == [6, 19]
    found = stamps_after(stamps[kept], missing, freq)
    assert found.equals(stamps[[7, 20, 21, 22]])


def test_several_series_at_once():
    a, b = dates("ME", "2020-01-31", periods=3), dates("ME", "2010-01-31", periods=4)[[0, 1, 3]]
    freq = find_freq(a, one(a), "ME")
    missing = missing_after(a.append(b), np.array([0, 3, 6]), freq)
    assert missing.tolist() == [0, 0, 0, 0, 1, 0]  # no step from one series to the next
    after = stamps_after(pd.DatetimeIndex([a[-1], b[-1]]), np.array([2, 1]), freq)
    assert after.astype(str).tolist() == ["2020-04-30", "2020-05-31", "2010-05-31"]


@pytest.mark.parametrize(
    ("freq", "stamps"),
    [
        ("h", ["2020-01-01 00:00", "2020-01-01 00:30", "2020-01-01 01:00"]),
        ("ME", ["2020-01-31", "2020-02-10", "2020-02-29"]),
        ("B", ["2020-01-03", "2020-01-04", "2020-01-06"]),
    ],
)
def test_off_the_frequency(freq, stamps):
    stamps = pd.DatetimeIndex(stamps)
    missing = missing_after(stamps, one(stamps), find_freq(stamps, one(stamps), freq))
    assert missing[0] == -1


def test_stamps_that_cannot_be_counted_from():
    stamps = pd.DatetimeIndex(["2020-01-31", "2020-01-15", "2020-02-29"])
    assert off_freq(stamps, pd.offsets.MonthEnd()).tolist() == [1]
    assert off_freq(stamps, pd.offsets.Week(weekday=5)).tolist() == [0, 1]
    assert off_freq(stamps, pd.offsets.Hour()).tolist() == []
    assert off_freq(pd.Index([3, 4]), 5).tolist() == []


def test_midnight_stays_midnight_and_hours_pass():
    """The clocks of Berlin go forward on the 29th of March 2020 and back on the 25th of October."""
    before = pd.DatetimeIndex(["2020-03-28", "2020-10-24"], tz="Europe/Berlin")
    days = stamps_after(before, 2, find_freq(before, np.array([0, 1, 2]), "D"))
    assert days.hour.tolist() == [0, 0, 0, 0]
    assert (days[1] - days[0], days[3] - days[2]) == (pd.Timedelta("23h"), pd.Timedelta("25h"))
    hours = stamps_after(before, 30, pd.offsets.Hour())
    assert set(np.diff(hours.as_unit("s").asi8.reshape(2, 30)).flat) == {3600}
    assert hours[25].hour == 3  # one o'clock, then three
    assert hours[30 + 25].hour == hours[30 + 26].hour == 2
    week = stamps_after(before[:1], 1, pd.offsets.Week())
    assert str(week[0]) == "2020-04-04 00:00:00+02:00"


def test_local_times_that_the_clocks_skip_or_repeat():
    skipped = stamps_after(pd.DatetimeIndex(["2020-03-28 02:30"], tz="Europe/Berlin"), 2, pd.offsets.Day())
    assert skipped.astype(str).tolist() == ["2020-03-29 03:00:00+02:00", "2020-03-30 02:30:00+02:00"]
    twice = stamps_after(pd.DatetimeIndex(["2020-10-24 02:30"], tz="Europe/Berlin"), 1, pd.offsets.Day())
    assert str(twice[0]) == "2020-10-25 02:30:00+02:00"


SKIPS = [  # zone, freq, the day that begins late, when it begins, and the usual time of day
    ("Africa/Cairo", "D", "2024-04-26", "01:00", "00:00"),
    ("Africa/Cairo", "D", "2024-04-26", "01:00", "00:30"),
    ("Africa/Cairo", "D", "2024-04-26", "01:00", "01:00"),
    ("America/Santiago", "D", "2024-09-08", "01:00", "00:00"),
    ("Asia/Beirut", "W", "2024-03-31", "01:00", "00:00"),
    ("America/Asuncion", "MS", "2017-10-01", "01:00", "00:00"),
    ("Europe/Berlin", "D", "2024-03-31", "03:00", "02:30"),
]


@pytest.mark.parametrize(("tz", "freq", "day", "begins", "usual"), SKIPS)
@pytest.mark.parametrize("at", [0, 1, 2, 11])
def test_a_day_that_begins_late_is_a_day(tz, freq, day, begins, usual, at):
    plain = pd.date_range(end=day, periods=at + 1, freq=freq)
    plain = plain.append(pd.date_range(day, periods=12 - at, freq=freq)[1:])
    local = [f"{each:%Y-%m-%d} {begins if i == at else usual}" for i, each in enumerate(plain)]
    stamps = pd.DatetimeIndex(local).tz_localize(tz)
    freq = find_freq(stamps, one(stamps), freq)
    assert not missing_after(stamps, one(stamps), freq).any()
    assert find_freq(stamps, one(stamps)) == freq
    kept = np.delete(np.arange(12), [3, 4])
    assert missing_after(stamps[kept], one(kept), freq).tolist() == [0, 0, 2] + [0] * 7
    usual = times_of_day(stamps, one(stamps))
    for first in range(11):
        after = stamps_after(stamps[first : first + 1], 11 - first, freq, usual)
        assert after.equals(stamps[first + 1 :])


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint16, "Int64"])
def test_integers(dtype):
    assert find_freq(pd.Index([5, 10, 20, 21, 31, 32], dtype=dtype), np.array([0, 3, 5, 6])) == 5
    stamps = pd.Index([5, 10, 20, 100, 105], dtype=dtype)
    starts = np.array([0, 3, 5])
    assert missing_after(stamps, starts, 5).tolist() == [0, 1, 0, 0, 0]
    after = stamps_after(stamps[[2, 4]], 2, 5)
    pd.testing.assert_index_equal(after, pd.Index([25, 30, 110, 115], dtype=dtype))
    assert missing_after(pd.Index([0, 5, 12]), np.array([0, 3]), 5).tolist() == [0, -1, 0]


def test_integers_beyond_their_width():
    after = stamps_after(pd.Index([120, 126], dtype="int8"), 2, 5)
    assert (after.tolist(), after.dtype) == ([125, 130, 131, 136], np.int64)
    for dtype in np.int8, "Int8":
        stamps = pd.Index([-100, 100], dtype=dtype)
        assert missing_after(stamps, one(stamps), find_freq(stamps, one(stamps), np.uint8(50)))[0] == 3
    with pytest.raises(ValueError, match=f"after {2**62} is beyond 64 bits"):
        stamps_after(pd.Index([2**62]), 3, 2**61)
    with pytest.raises(ValueError, match="after 2262-04-01 00:00:00 is beyond 64 bits"):
        stamps_after(pd.DatetimeIndex(["2262-04-01"]).as_unit("ns"), 30, pd.offsets.Day())
    with pytest.raises(ValueError, match=f"the index has {2**63} in row 1, more than"):
        as_stamps(pd.Index([1, 2**63], dtype=np.uint64), "the index")


def test_integers_without_a_step():
    assert find_freq(pd.Index([7, 3]), np.array([0, 1, 2])) == 1
    assert find_freq(pd.Index([7, 3]), np.array([0, 1, 2]), np.int32(4)) == 4


@pytest.mark.parametrize(
    ("freq", "following"),
    [("M", ["2020-03", "2020-04"]), ("2M", ["2020-04", "2020-06"]), ("D", ["2020-02-02", "2020-02-03"])],
)
def test_periods(freq, following):
    stamps = pd.PeriodIndex(["2020-02"], freq=freq)
    after = stamps_after(stamps, 2, find_freq(stamps, one(stamps)))
    pd.testing.assert_index_equal(after, pd.PeriodIndex(following, freq=freq))
    apart = pd.PeriodIndex([stamps[0], after[1]])
    assert missing_after(apart, one(apart), find_freq(apart, one(apart))).tolist() == [1, 0]


def test_the_frequency_of_the_longest_series():
    stamps = dates("W-MON", "2020-01-06", periods=3).append(dates("MS", "2020-01-01", periods=5))
    assert find_freq(stamps, np.array([0, 3, 8])) == pd.offsets.MonthBegin()


@pytest.mark.parametrize("freq", ["D", "B", "h", "ME", "W-SUN"])
def test_gaps_do_not_hide_the_frequency(freq):
    stamps = dates(freq, "2020-01-01", periods=120).delete([3, 50, 51, 100])
    assert infer_freq(stamps[:9]) is None  # too few rows to vote
    assert infer_freq(stamps) == pd.tseries.frequencies.to_offset(freq)


def test_three_stamps_have_a_frequency():
    assert infer_freq(dates("ME", "2020", periods=3)) == pd.offsets.MonthEnd()
    assert find_freq(dates("ME", "2020", periods=3), np.array([0, 3])) == pd.offsets.MonthEnd()


def test_no_frequency_is_made_up():
    parts = dates("h", "2020", periods=40), dates("D", "2021", periods=40), dates("W", "2022", periods=40)
    assert infer_freq(parts[0].append([*parts[1:]])) is None
    assert infer_freq(parts[0].append(parts[1][:20])) == pd.offsets.Hour()
    assert infer_freq(dates("D", "2020", periods=2)) is None
    assert infer_freq(dates("D", "2020", periods=9).delete(4)) is None  # might be working days
    steps = np.cumsum(np.random.default_rng(0).integers(1, 9, 200))
    assert infer_freq(pd.Timestamp("2020") + pd.to_timedelta(steps, "D")) is None


@pytest.mark.parametrize(
    ("stamps", "given", "error", "message"),
    [
        (
            dates("D", "2020", periods=2),
            None,
            ValueError,
            r"frequency is not known.*\(2 rows\) is too short.*freq=",
        ),
        (
            dates("D", "2020", periods=9).delete(4),
            None,
            ValueError,
            r"\(8 rows\) has no regular one, or gaps",
        ),
        (
            dates("D", "2020", periods=4).delete(1),
            None,
            ValueError,
            r"\(3 rows\) has no regular one, or gaps",
        ),
        (dates("D", "2020"), "XYZ", ValueError, "freq='XYZ' is not a frequency of pandas"),
        (dates("D", "2020"), "-1D", ValueError, "freq='-1D' does not go forward"),
        (dates("D", "2020"), 1, TypeError, "freq=1 is a number, but the time is in dates"),
        (pd.RangeIndex(3), "D", TypeError, "the time is in integers, so freq has to be one too, got 'D'"),
        (pd.RangeIndex(3), True, TypeError, "got True"),
        (pd.RangeIndex(3), 0, ValueError, "freq=0 does not go forward"),
        (
            pd.period_range("2020", periods=3, freq="M"),
            "D",
            ValueError,
            "freq='D' is not 'M', the frequency of",
        ),
        (pd.period_range("2020", periods=3, freq="M"), 1, ValueError, "freq=1 is not 'M'"),
    ],
)
def test_find_freq_mistakes(stamps, given, error, message):
    with pytest.raises(error, match=message):
        find_freq(stamps, one(stamps), given)


def test_a_frequency_finer_than_the_stamps():
    stamps = dates("D", "2020", unit="s")
    with pytest.raises(ValueError, match="freq='ms' is finer than the stamps, which count in 's'"):
        missing_after(stamps, one(stamps), pd.offsets.Milli())
