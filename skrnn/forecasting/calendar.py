"""Calendar features: where in the day, the week or the year a stamp is, on a circle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from .panel import first_few


def _minute(stamps: pd.DatetimeIndex) -> tuple[Any, Any]:
    return stamps.minute, 60


def _hour(stamps: pd.DatetimeIndex) -> tuple[Any, Any]:
    return stamps.hour, 24


def _dayofweek(stamps: pd.DatetimeIndex) -> tuple[Any, Any]:
    return stamps.day_of_week, 7


def _day(stamps: pd.DatetimeIndex) -> tuple[Any, Any]:
    return stamps.day - 1, stamps.days_in_month


def _dayofyear(stamps: pd.DatetimeIndex) -> tuple[Any, Any]:
    return stamps.day_of_year - 1, 365 + stamps.is_leap_year.astype(int)


def _week(stamps: pd.DatetimeIndex) -> tuple[Any, Any]:
    """ISO weeks; the 28th of December is always in the last one of its year."""
    iso = stamps.isocalendar()
    years, codes = np.unique(iso["year"].to_numpy(np.int64), return_inverse=True)
    last = pd.DatetimeIndex([pd.Timestamp(year, 12, 28) for year in years.tolist()])
    return iso["week"].to_numpy(np.int64) - 1, last.isocalendar()["week"].to_numpy(np.int64)[codes]


def _month(stamps: pd.DatetimeIndex) -> tuple[Any, Any]:
    return stamps.month - 1, 12


def _quarter(stamps: pd.DatetimeIndex) -> tuple[Any, Any]:
    return stamps.quarter - 1, 4


# Each gives a place from 0 on, and the number of places, which for some depends on the stamp.
PLACES: dict[str, Callable] = {
    "minute": _minute,
    "hour": _hour,
    "dayofweek": _dayofweek,
    "day": _day,
    "dayofyear": _dayofyear,
    "week": _week,
    "month": _month,
    "quarter": _quarter,
}


def features(stamps: pd.Index, names: Any) -> np.ndarray:
    """Sine and cosine of the place of each stamp in its hour, day, week, month or year.

    Parameters
    ----------
    stamps : DatetimeIndex or PeriodIndex of shape (n,)
        Local time counts where there is a time zone, and the start of a period.
    names : str or list of str
        Of "minute", "hour", "dayofweek", "day" (of the month), "dayofyear", "week" (of the ISO year),
        "month" and "quarter". The last day of a month is next to the first one, whatever its length.

    Returns
    -------
    ndarray of shape (n, 2 * len(names)), float64
        The sine and the cosine for the first name, then for the second, and so on.

    Raises
    ------
    ValueError
        If a name is unknown, or the stamps are integers, which have no calendar.
    """
    names = [names] if isinstance(names, str) else list(names)
    unknown = [name for name in names if name not in PLACES]
    if unknown:
        raise ValueError(f"calendar knows {', '.join(PLACES)}; got {first_few(unknown)}")
    if isinstance(stamps, pd.PeriodIndex):
        stamps = stamps.to_timestamp(how="start")
    if names and not isinstance(stamps, pd.DatetimeIndex):
        raise ValueError(f"calendar features need dates or periods; the time is in integers ({stamps.dtype})")
    columns = np.empty((len(stamps), 2 * len(names)))
    for k, name in enumerate(names):
        place, places = PLACES[name](stamps)
        angle = 2 * np.pi * np.asarray(place) / np.asarray(places)
        columns[:, 2 * k], columns[:, 2 * k + 1] = np.sin(angle), np.cos(angle)
    return columns
