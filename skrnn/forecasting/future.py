"""What comes after the history: its stamps, and the covariates that are known there."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from .frequency import stamps_after, times_of_day
from .libraries import as_pandas, in_kind, not_a_frame
from .numeric import coded
from .panel import Panel, first_few, quote, series_name
from .stamps import as_integers, as_stamps, check_same_time


def futures(panel: Panel, h: int) -> pd.Index:
    """The next `h` stamps of every series, after its own last one.

    Parameters
    ----------
    panel : Panel
    h : int

    Returns
    -------
    Index of shape (n_series * h,)
        Series after series, of the dtype of the history's.
    """
    usual = times_of_day(panel.stamps, panel.starts)
    return stamps_after(panel.last_stamps, h, panel.freq, usual)


def future_frame(panel: Panel, h: int) -> pd.DataFrame:
    """The rows for which `predict` needs covariates.

    Parameters
    ----------
    panel : Panel
    h : int

    Returns
    -------
    DataFrame
        In the user's form: the id and the time column of a long frame, or the index and no column; of a
        wide frame, with the stamps that any of its series needs.
    """
    stamps = futures(panel, h)
    if panel.form.kind == "long":
        return in_kind(pd.DataFrame(panel.form.key_columns(panel.ids, stamps)), panel.form.library)
    return pd.DataFrame(index=as_index(_shared(stamps)[1], panel))


def as_index(stamps: pd.Index, panel: Panel) -> pd.Index:
    """Consecutive stamps as the index of an answer, with the name and the frequency of the user's."""
    if isinstance(stamps, pd.DatetimeIndex):
        # It fails where the clocks go forward over one of them, which is off the frequency then; in pandas 2
        # by an error of pytz, which is no ValueError.
        with suppress(Exception):
            stamps = pd.DatetimeIndex(stamps, freq=panel.freq)
    return stamps.rename(panel.form.stamp_name)


def _shared(stamps: pd.Index) -> tuple[np.ndarray, pd.Index]:
    """Where each stamp of some series is among those of all, and these, in time order."""
    return pd.factorize(stamps, sort=True)


def read_future(
    X_df: pd.DataFrame, panel: Panel, h: int, names: Any, needed: int | None = None
) -> np.ndarray:
    """Covariates of the next `h` steps of every series.

    Parameters
    ----------
    X_df : DataFrame
        In the form of the history, rows in any order: with the id and time columns of a long frame, or
        with the index of a Series or wide frame, whose series share the covariates. Other columns, other
        series and stamps outside of the horizon are left out.
    panel : Panel
    h : int
    names : list of k names
        Columns of `X_df`.
    needed : int, default=None
        So many have to be there; what lacks of the others is as in the step before. None: all.

    Returns
    -------
    ndarray of shape (n_series, h, n_columns), float64
        A column for each number and for each category.

    Raises
    ------
    TypeError
        If `X_df` is not a DataFrame.
    ValueError
        If a column or a row is missing, a row is there twice, the times are of another kind or time zone
        than in `fit`, a column is not numeric, a category was not there in `fit`, or a value is NaN or
        infinite. The series and the stamp are named.
    """
    form, names = panel.form, list(names)
    long = form.kind == "long"
    X_df = as_pandas(X_df)
    if not isinstance(X_df, pd.DataFrame):
        raise not_a_frame("X_df has to be a DataFrame", X_df)
    columns = [*(form.keys if long else []), *names]
    lacking = [name for name in columns if name not in X_df.columns]
    if lacking:
        raise ValueError(f"columns are not in X_df: {first_few(lacking)}")
    what = f"column {quote(form.stamp_name)} of X_df" if long else "the index of X_df"
    stamps = as_stamps(pd.Index(X_df[form.stamp_name]) if long else X_df.index, what)
    stamps = check_same_time(stamps, panel.stamps, what)
    wanted = futures(panel, h)
    codes, uniques = _shared(wanted)
    n, own = len(panel.ids), np.zeros(len(panel.ids), np.intp)
    series = np.zeros(len(X_df), np.intp)
    if long and form.id_name is not None:
        own = np.arange(n)
        series = panel.ids.astype(object).get_indexer(pd.Index(X_df[form.id_name]).astype(object))
    times = pd.Index(as_integers(uniques)).get_indexer(as_integers(stamps))
    used = np.flatnonzero((series >= 0) & (times >= 0))
    keys = pd.Index(series[used] * len(uniques) + times[used])
    if keys.has_duplicates:
        row = used[keys.duplicated().argmax()]
        of = f"{series_name(panel.ids[series[row]])} has " if long else ""
        raise ValueError(f"X_df: {of}{stamps[row]}{'' if long else ' is there'} more than once")
    rows = keys.get_indexer(np.repeat(own, h) * len(uniques) + codes).reshape(n, h)
    needed = h if needed is None else needed
    if long:
        _check_rows(rows[:, :needed], wanted, panel, long)
    else:
        all_needed = np.unique(codes.reshape(n, h)[:, :needed])
        _check_rows(keys.get_indexer(all_needed)[None], uniques[all_needed], panel, long)
    for step in range(needed, h):
        rows[:, step] = np.where(rows[:, step] < 0, rows[:, step - 1], rows[:, step])
    found = X_df[names].iloc[used[rows.reshape(-1)]]
    values, known = coded(found, names, form.categories, where="X_df: "), dict(form.categories)
    values = values.reshape(n, h, values.shape[1])
    _check_values(values, [name for name in names for _ in known.get(name, (None,))], wanted, panel, long)
    return values


def _check_rows(rows: np.ndarray, wanted: pd.Index, panel: Panel, long: bool) -> None:
    lacking = rows < 0
    if not lacking.any():
        return
    i = int(lacking.any(axis=1).argmax())
    first = wanted[i * (len(wanted) // len(rows)) + int(lacking[i].argmax())]
    count, series = np.count_nonzero(lacking[i]), np.count_nonzero(lacking.any(axis=1))
    of = f" of {series_name(panel.ids[i])}" if long else ""
    more = f" ({np.count_nonzero(lacking)} rows of {series} series in all)" if series > 1 else ""
    raise ValueError(
        f"X_df lacks {count} of the {rows.shape[1]} rows{of} that are forecast, the first of them {first}"
        f"{more}; make_future_dataframe() makes them"
    )


def _check_values(values: np.ndarray, names: list, wanted: pd.Index, panel: Panel, long: bool) -> None:
    wrong = ~np.isfinite(values)
    if wrong.any():
        i, step, column = (int(place[0]) for place in np.nonzero(wrong))
        what = "NaN" if np.isnan(values[i, step, column]) else "infinite"
        of = f" of {series_name(panel.ids[i])}" if long else ""
        stamp = wanted[i * values.shape[1] + step]
        raise ValueError(f"X_df: {quote(names[column])}{of} is {what} at {stamp}")
