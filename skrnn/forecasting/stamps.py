"""What may be a time: dates, periods and integers, and one and the same kind of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

LARGEST = 2**62  # of integers, so that no difference overflows


def as_stamps(stamps: pd.Index, what: str) -> pd.Index:
    """Check that an index, or a column made one, holds times; `what` is its name in messages.

    Returns
    -------
    DatetimeIndex, PeriodIndex or Index of integers

    Raises
    ------
    ValueError
        If it holds something else, or a missing time; the row is named.
    """
    if isinstance(stamps, pd.MultiIndex):
        raise ValueError(f"{what} has several levels; reset_index() makes a long frame of it")
    if stamps.hasnans:
        raise ValueError(f"{what} has no time (NaT) in row {stamps.isna().argmax()}")
    if isinstance(stamps, pd.DatetimeIndex | pd.PeriodIndex):
        return stamps
    if pd.api.types.is_datetime64_any_dtype(stamps.dtype):  # of Arrow
        return pd.DatetimeIndex(stamps)
    if pd.api.types.is_integer_dtype(stamps.dtype):
        large = (stamps > LARGEST) | (stamps < -LARGEST)
        if large.any():
            raise ValueError(f"{what} has {stamps[large.argmax()]} in row {large.argmax()}, more than 2**62")
        return stamps
    convert = "" if pd.api.types.is_numeric_dtype(stamps.dtype) else ": convert it with pd.to_datetime"
    raise ValueError(f"{what} holds {stamps.dtype}, not dates, periods or integers{convert}")


def check_same_time(stamps: pd.Index, known: pd.Index, what: str) -> pd.Index:
    """Check that times are of the kind and in the time zone of those of `fit`.

    Returns
    -------
    Index
        In the resolution, or the dtype, of `known`.

    Raises
    ------
    ValueError
        If they are not.
    """
    if _kind(stamps) != _kind(known):
        raise ValueError(f"{what} holds {_kind(stamps)}, but those of fit are {_kind(known)}")
    if isinstance(known, pd.DatetimeIndex):
        if str(stamps.tz) != str(known.tz):
            zones = [f"time zone {tz}" if tz is not None else "no time zone" for tz in (stamps.tz, known.tz)]
            raise ValueError(f"{what} has {zones[0]}, but the data of fit have {zones[1]}")
        return stamps.as_unit(known.unit)
    return stamps if isinstance(known, pd.PeriodIndex) else as_index_like(as_integers(stamps), known)


def as_integers(stamps: pd.Index) -> np.ndarray:
    """Stamps as int64, in their own unit."""
    return stamps.asi8 if hasattr(stamps, "asi8") else stamps.to_numpy(np.int64)


def as_index_like(integers: np.ndarray, like: pd.Index) -> pd.Index:
    """Integers of the dtype of others, or of 64 bits where they do not fit."""
    dtype: Any = like.dtype
    bounds = np.iinfo(getattr(dtype, "numpy_dtype", dtype))
    fit = not len(integers) or bounds.min <= int(integers.min()) <= int(integers.max()) <= bounds.max
    return pd.Index(integers, dtype=dtype if fit else np.int64)


def _kind(stamps: pd.Index) -> str:
    if isinstance(stamps, pd.PeriodIndex):
        return f"periods of {stamps.freqstr!r}"
    return "dates" if isinstance(stamps, pd.DatetimeIndex) else "integers"
