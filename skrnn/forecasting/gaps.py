"""Gaps and NaN in time series: saying where they are, and filling them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from .frequency import freq_name, infer_freq, missing_after, off_freq, stamps_after, times_of_day
from .panel import Form, quote, series_name
from .stamps import as_integers

FILLED_BY = "missing='interpolate' and missing='mask' fill"
LEFT_OUT_BY = "missing='interpolate' and missing='mask' leave out what is"
# Stamps that are missing one after the other: as many are filled, or as many as there are rows times this.
GAP, GAP_BY_ROWS = 500, 3

LARGEST = 1e150  # whose square is a number


class PanelRows(NamedTuple):
    """Series below series in one table, sorted by time within each; NaN is where a value is missing.

    The fields are those of a `Panel`.
    """

    ids: pd.Index
    starts: np.ndarray
    stamps: pd.Index
    values: np.ndarray
    exog: np.ndarray


def complete(
    rows: PanelRows, form: Form, freq: Any, inferred: bool
) -> tuple[PanelRows, np.ndarray, np.ndarray]:
    """Check that every series follows the frequency, and fill what is missing if the form says so.

    Parameters
    ----------
    rows : PanelRows
    form : Form
    freq : offset or int
    inferred : bool
        Whether `freq` was found in the data and not given. A series that has another frequency is then
        taken for a mistake, and not filled.

    Returns
    -------
    rows : PanelRows
        Without gaps and without NaN: linear in time between what is known, and the last known value at
        the end of a series. What is before the first row of a series in which all targets and covariates
        have a value is left out, since nothing is known from which to fill it.
    observed : ndarray of shape (n_rows, n_targets), bool
        False where ``missing="mask"`` filled a value.
    filled : ndarray of shape (n_rows, n_targets + n_exog), bool
        Where a target or a covariate was missing.

    Raises
    ------
    ValueError
        If a series is off the frequency or has another one; has a gap, or NaN, that is not to be filled; has
        a gap beside which it is short, or no row with a value in each column; or a value is infinite, or
        too large to be squared. The series and the stamp are named.
    """
    missing = _check_steps(rows, form, freq, inferred)
    if missing.any():
        _check_sizes(rows, form, missing)
        rows = _insert(rows, missing, freq)
    if form.missing != "error":
        rows = _from_first_values(rows, form)
    for table, names in (rows.values, None), (rows.exog, [name for name, _ in form.exog_columns]):
        infinite = np.isinf(table)
        if infinite.any():
            raise ValueError(_place(rows, form, infinite, names, "infinite"))
        large = np.abs(table) > LARGEST
        if large.any():
            raise ValueError(_place(rows, form, large, names, f"beyond {LARGEST:g}, too large to be squared"))
        lacking = np.isnan(table)
        if lacking.any() and form.missing == "error":
            remedy, first = f"{FILLED_BY} it", int(lacking.any(axis=1).argmax())
            if first in rows.starts:
                remedy = f"{LEFT_OUT_BY} before the first value"
            elif names is None and ends_itself(form) and lacking[first : _end(rows, first)].all():
                remedy = f"{LEFT_OUT_BY} behind the last value"
            raise ValueError(f"{_place(rows, form, lacking, names, 'NaN')}; {remedy}")
    filled = np.isnan(np.hstack([rows.values, rows.exog]))
    observed = np.ones(rows.values.shape, bool)
    if form.missing == "mask":
        observed = ~filled[:, : rows.values.shape[1]]
    times = as_integers(rows.stamps)
    return (
        rows._replace(
            values=_interpolate(rows.values, rows.starts, times),
            exog=_interpolate(rows.exog, rows.starts, times),
        ),
        observed,
        filled,
    )


def ends_itself(form: Form) -> bool:
    """Whether series share an index that may go on when one of them has ended."""
    return form.kind == "wide" and not form.multivariate


def until_last_values(rows: PanelRows) -> PanelRows:
    """Leave out what is behind the last target of each series, and series that have none."""
    row, known = np.arange(len(rows.values)), ~np.isnan(rows.values).any(axis=1)
    last = np.maximum.reduceat(np.where(known, row, -1), rows.starts[:-1])
    return only(rows, row <= np.repeat(last, np.diff(rows.starts)))


def only(rows: PanelRows, kept: np.ndarray) -> PanelRows:
    """Some of the rows, and the series that have any of them."""
    counts = np.add.reduceat(kept, rows.starts[:-1], dtype=np.intp)
    starts = np.concatenate([[0], np.cumsum(counts[counts > 0])])
    return PanelRows(rows.ids[counts > 0], starts, rows.stamps[kept], rows.values[kept], rows.exog[kept])


def _end(rows: PanelRows, row: int) -> int:
    return int(rows.starts[_series_of(rows, row) + 1])


def _series_of(rows: PanelRows, row: Any) -> Any:
    return np.searchsorted(rows.starts, row, side="right") - 1


def _check_steps(rows: PanelRows, form: Form, freq: Any, inferred: bool) -> np.ndarray:
    """Stamps that are missing after each row, shape (n_rows,); errors as of `complete`."""
    stamps, starts = rows.stamps, rows.starts
    wrong = off_freq(stamps[starts[:-1]], freq)
    if len(wrong):
        _refuse_if_other_freq(rows, form, freq, wrong[:1])
        where = f"{_series(rows, form, wrong[0])} starts at {stamps[starts[wrong[0]]]}"
        raise ValueError(f"{where}, which is not on the frequency {freq_name(freq)}")
    missing = missing_after(stamps, starts, freq)
    wrong = np.flatnonzero(missing < 0)
    if len(wrong):
        row, i = wrong[0], _series_of(rows, wrong[0])
        _refuse_if_other_freq(rows, form, freq, [i])
        steps = f"{stamps[row]} is followed by {stamps[row + 1]}"
        raise ValueError(f"{_series(rows, form, i)} is not on the frequency {freq_name(freq)}: {steps}")
    gaps = np.flatnonzero(missing)
    if len(gaps) and (form.missing == "error" or inferred):
        number = np.bincount(_series_of(rows, gaps), minlength=len(rows.ids))
        _refuse_if_other_freq(
            rows, form, freq, np.flatnonzero((number > 1) & (number == np.diff(starts) - 1))
        )
    if len(gaps) and form.missing == "error":
        i = _series_of(rows, gaps[0])
        total = missing[starts[i] : starts[i + 1]].sum()
        first = stamps_after(stamps[gaps[:1]], 1, freq)[0]
        what = f"{first} is missing" + (f", the first of {total} stamps" if total > 1 else "")
        series = np.count_nonzero(number)
        others = f" ({series} series have gaps)" if series > 1 and form.kind == "long" else ""
        raise ValueError(
            f"{_series(rows, form, i)} has gaps: {what}{others}; the frequency is {freq_name(freq)}. "
            f"{FILLED_BY} them"
        )
    return missing


def _series(rows: PanelRows, form: Form, i: int) -> str:
    """What has stamps: a series, or the index of a wide frame, which all its series share."""
    return "the index" if form.kind == "wide" else series_name(rows.ids[i])


def _refuse_if_other_freq(rows: PanelRows, form: Form, freq: Any, series: Any) -> None:
    """Raise if one of some series that do not follow the frequency is regular by itself."""
    for i in series:
        part = rows.stamps[rows.starts[i] : rows.starts[i + 1]]
        if isinstance(part, pd.DatetimeIndex):
            own = infer_freq(part)
        else:
            steps = np.unique(np.diff(as_integers(part)))
            own = int(steps[0]) if len(steps) == 1 and len(part) > 2 and isinstance(freq, int) else None
        if own is not None and own != freq:
            others = (
                ", the frequency of the longest series" if len(rows.ids) > 1 and form.kind == "long" else ""
            )
            raise ValueError(
                f"{_series(rows, form, i)} has the frequency {freq_name(own)}, not {freq_name(freq)}{others}"
            )


def _place(rows: PanelRows, form: Form, wrong: np.ndarray, names: list | None, what: str) -> str:
    """Where the first wrong value is, in words; `names` are those of covariates, None for targets."""
    row = int(wrong.any(axis=1).argmax())
    column = int(wrong[row].argmax())
    i = int(_series_of(rows, row))
    many = np.count_nonzero(wrong[rows.starts[i] : rows.starts[i + 1], column])
    name = _column(rows, form, i, column, names)
    return f"{name} is {what} at {rows.stamps[row]}" + (f", the first of {many} times" if many > 1 else "")


def _column(rows: PanelRows, form: Form, i: int, column: int, names: list | None) -> str:
    """A target or, of these names, a covariate of a series."""
    if names is None:
        return series_name(form.names[column] if form.multivariate else rows.ids[i])
    own = quote(names[column])
    return f"{own} of {series_name(rows.ids[i])}" if form.kind == "long" else f"column {own}"


def _check_sizes(rows: PanelRows, form: Form, missing: np.ndarray) -> None:
    """Refuse a gap beside which little is known: one stamp of another century, and it would be filled."""
    known = np.repeat(np.diff(rows.starts), np.diff(rows.starts))
    large = np.flatnonzero(missing > np.maximum(GAP, GAP_BY_ROWS * known))
    if len(large):
        row, stamps = large[0], rows.stamps
        name = _series(rows, form, _series_of(rows, row))
        raise ValueError(
            f"{name} has {known[row]} rows, but between {stamps[row]} and {stamps[row + 1]} "
            f"{missing[row]} stamps are missing, too many to fill: is one of the two wrong?"
        )


def _from_first_values(rows: PanelRows, form: Form) -> PanelRows:
    """Leave out the rows of each series before the first that has a value in all columns."""
    tables, firsts = (rows.values, rows.exog), rows.starts[:-1]
    known = ~np.isnan(np.hstack(tables))
    row, whole = np.arange(len(known)), known.all(axis=1)
    if whole[firsts].all():
        return rows
    begins = np.minimum.reduceat(np.where(whole, row, len(row)), firsts)
    if (begins == len(row)).any():
        i, n_targets = int(begins.argmax()), rows.values.shape[1]
        never = ~known[rows.starts[i] : rows.starts[i + 1]].any(axis=0)
        if not never.any():
            raise ValueError(f"{series_name(rows.ids[i])} has no row with a value in each of its columns")
        column = int(never.argmax())
        exog = [name for name, _ in form.exog_columns] if column >= n_targets else None
        name = _column(rows, form, i, column - (n_targets if exog else 0), exog)
        raise ValueError(f"{name} has no value at all")
    return only(rows, row >= np.repeat(begins, np.diff(rows.starts)))


def _insert(rows: PanelRows, missing: np.ndarray, freq: Any) -> PanelRows:
    """Add a row of NaN for every missing stamp."""
    before = np.cumsum(missing) - missing
    place = np.arange(len(missing)) + before
    total = len(missing) + int(missing.sum())
    gaps = np.flatnonzero(missing)
    usual = times_of_day(rows.stamps, rows.starts)
    usual = None if usual is None else usual[_series_of(rows, gaps)]
    added = stamps_after(rows.stamps[gaps], missing[gaps], freq, usual)
    is_new = np.ones(total, bool)
    is_new[place] = False
    order = np.empty(total, np.intp)
    order[place] = np.arange(len(missing))
    order[is_new] = len(missing) + np.arange(len(added))
    tables = []
    for table in rows.values, rows.exog:
        wider = np.full((total, table.shape[1]), np.nan)
        wider[place] = table
        tables.append(wider)
    starts = np.append(place[rows.starts[:-1]], total)
    return PanelRows(rows.ids, starts, rows.stamps.append(added)[order], *tables)


def _interpolate(table: np.ndarray, starts: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Fill NaN of each series and column, linearly in time; behind the last known value with that one."""
    lacking = np.isnan(table)
    if not lacking.any():
        return table
    table = table.copy()
    rows, columns = np.nonzero(lacking)
    series = np.searchsorted(starts, rows, side="right") - 1
    for i, column in np.unique(np.stack([series, columns], axis=1), axis=0):
        part = slice(starts[i], starts[i + 1])
        gap = lacking[part, column]
        time = (times[part] - times[part][0]).astype(np.float64)  # from 0: large integers are not exact
        table[part, column][gap] = np.interp(time[gap], time[~gap], table[part, column][~gap])
    return table
