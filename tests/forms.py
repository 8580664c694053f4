"""Every form of data that a forecaster takes, each small, and parts of it."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

N = 40
MODEL = "LSTMForecaster"
BERLIN = "Europe/Berlin"
INDICES = {
    "days": pd.date_range("2024-01-25", periods=N, freq="D", name="day"),
    "month ends": pd.date_range("2020-11-30", periods=N, freq="ME"),
    "business days": pd.date_range("2024-01-01", periods=N, freq="B"),
    "hours, clocks forward": pd.date_range("2024-03-29 13:00", periods=N, freq="h", tz=BERLIN),
    "hours, clocks back": pd.date_range("2024-10-25 14:00", periods=N, freq="h", tz=BERLIN),
    "local days, clocks forward": pd.date_range("2024-02-22", periods=N, freq="D", tz=BERLIN),
    "local days, midnight skipped": pd.date_range("2024-03-20", periods=N, freq="D").tz_localize(
        "Africa/Cairo", nonexistent="shift_forward"
    ),
    "months": pd.period_range("2020-01", periods=N, freq="M", name="month"),
    "quarters": pd.period_range("2020Q1", periods=N, freq="Q"),
    "integers": pd.RangeIndex(N, name="step"),
    "every fifth integer": pd.Index(np.arange(100, 100 + 5 * N, 5), dtype="int32"),
}


def noise(n=N, seed=0):
    """A random walk, never the same at two places."""
    return 20 + np.random.default_rng(seed).standard_normal(n).cumsum()


def series(index="days", name="sales"):
    return pd.Series(noise(), INDICES[index], name=name)


def wide(index="days", names=("b", "a", 7)):
    columns = pd.Index(names, name="shop", dtype=object)
    return pd.DataFrame({name: noise(seed=i) for i, name in enumerate(names)}, INDICES[index])[
        columns
    ].rename_axis(columns="shop")


def long(ids=("b", "a", "c"), names=("unique_id", "ds", "y")):
    """Series of unequal lengths and starts, the second from the end of one to the start of another."""
    parts = [
        pd.DataFrame(
            {names[0]: each, names[1]: INDICES["days"][i : N - 4 * i], names[2]: noise(N - 5 * i, i)}
        )
        for i, each in enumerate(sorted(ids))
    ]
    return pd.concat(parts, ignore_index=True)


OTHER_NAMES = ("shop", "day", 0)
# name: data, parameters
FORMS = {
    **{f"series, {index}": (series(index), {}) for index in INDICES},
    "series, no name": (series(name=None), {}),
    **{f"wide, {index}": (wide(index), {}) for index in ("days", "months", "hours, clocks forward")},
    **{
        f"multivariate, {index}": (wide(index), {"multivariate": True})
        for index in ("days", "every fifth integer")
    },
    "long": (long(), {}),
    "long, integers for names": (long((10, 2, 30)), {}),
    "long, other names": (
        long(names=OTHER_NAMES),
        dict(zip(("id_col", "time_col", "target_col"), OTHER_NAMES)),
    ),
}
FEW = ["series, days", "wide, months", "multivariate, days", "long, other names"]
few_forms = pytest.mark.parametrize("few", [FORMS[name] for name in FEW], ids=FEW)


def kind(data):
    if isinstance(data, pd.Series):
        return "series"
    return "long" if "day" in data.columns or "ds" in data.columns else "wide"


def head(data, n):
    """Without the last `n` rows, of every series."""
    return data[after(data) >= n] if kind(data) == "long" else data.iloc[: len(data) - n]


def tail(data, n):
    return data[after(data) < n].reset_index(drop=True) if kind(data) == "long" else data.iloc[-n:]


def after(long):
    """How many rows of its series follow each row."""
    return long.groupby(long.columns[0]).cumcount(ascending=False)


def same(one, two, **kwargs):
    (assert_series_equal if isinstance(one, pd.Series) else assert_frame_equal)(one, two, **kwargs)
