"""All series of a data set in one table."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True, eq=False)
class Form:
    """How the user's data are written, which is how to read more of them and how to answer.

    Attributes
    ----------
    kind : {"series", "wide", "long"}
    names : Index
        The name of a Series (None where it has none), the target columns of a wide frame, or the
        target column of a long one.
    id_name, stamp_name : name
        The id and the time column of a long frame, the former None where it is one series;
        `stamp_name` is else the name of the index.
    hist_exog, futr_exog, stat_exog : tuple of names
        Covariates that are known up to now, known in the future, and constant per series.
    multivariate : bool
        Whether the columns of a wide frame are one series with several targets.
    missing : {"error", "interpolate", "mask"}
    library : str
        Of the frames, such as "pandas" or "polars".
    categories : tuple of (name, tuple of categories)
        Of the columns of `hist_exog` and `futr_exog` that are no numbers.
    """

    kind: str
    names: pd.Index
    id_name: Hashable
    stamp_name: Hashable
    hist_exog: tuple = ()
    futr_exog: tuple = ()
    stat_exog: tuple = ()
    multivariate: bool = False
    missing: str = "error"
    library: str = "pandas"
    categories: tuple = ()

    @property
    def exog_columns(self) -> list[tuple[Hashable, Any]]:
        """Name and category of each column that changes in time, those of the past only first; the category
        is None for a number."""
        known = dict(self.categories)
        return [(name, each) for name in self.hist_exog + self.futr_exog for each in known.get(name, (None,))]

    @property
    def n_hist(self) -> int:
        """How many of them are of the past only."""
        known = dict(self.categories)
        return sum(len(known.get(name, (None,))) for name in self.hist_exog)

    @property
    def keys(self) -> list[Hashable]:
        """The columns of a long frame that tell its rows apart."""
        return [self.stamp_name] if self.id_name is None else [self.id_name, self.stamp_name]

    def series_columns(self, ids: pd.Index) -> np.ndarray:
        """The columns of a wide frame that hold these series."""
        return np.zeros(1, np.intp) if self.multivariate else self.names.get_indexer(ids)

    def key_columns(self, ids: pd.Index, stamps: pd.Index) -> dict[Any, pd.Index]:
        """The same, for rows in equal numbers for each series."""
        columns = ids.repeat(len(stamps) // len(ids)), stamps
        return dict(zip(self.keys, columns[-len(self.keys) :]))


@dataclass(frozen=True, eq=False)
class Panel:
    """One or many series, one below the other in one table, each in time order and without gaps.

    Attributes
    ----------
    ids : Index of shape (n_series,)
        Names of the series. A multivariate panel has one series, and its targets have the names.
    starts : ndarray of shape (n_series + 1,), dtype intp
        The table has rows ``starts[i]:starts[i + 1]`` for series i.
    stops : ndarray of shape (n_series,), dtype intp
        The history of series i is rows ``starts[i]:stops[i]``. The rest of its rows, of which there
        are some only in what `until` gives, is the future.
    stamps : Index of shape (n_rows,)
    values : ndarray of shape (n_rows, n_targets), float64
        No NaN: what was missing is filled.
    observed : ndarray of shape (n_rows, n_targets), bool
        False where ``missing="mask"`` filled a value.
    exog : ndarray of shape (n_rows, n_exog), float64
        Covariates that change in time, in the order of `form.exog_columns`.
    filled : ndarray of shape (n_rows, n_targets + n_exog), bool
        Where a target or a covariate was missing.
    static : ndarray of shape (n_series, n_static), float64
        Covariates that do not; numbers as they are, categories as 0 and 1.
    static_columns : tuple of (name, category)
        What each column of `static` holds; the category is None for a number.
    freq : offset or int
        One step in time; an int for integer stamps.
    form : Form
    """

    ids: pd.Index
    starts: np.ndarray
    stops: np.ndarray
    stamps: pd.Index
    values: np.ndarray
    observed: np.ndarray
    exog: np.ndarray
    filled: np.ndarray
    static: np.ndarray
    static_columns: tuple
    freq: Any
    form: Form

    @property
    def futr_exog(self) -> np.ndarray:
        """The columns of `exog` that are known in the future."""
        return self.exog[:, self.form.n_hist :]

    @property
    def measured(self) -> np.ndarray:
        """Which values are the user's own, not filled, shape (n_rows, n_targets)."""
        return ~self.filled[:, : self.values.shape[1]]

    @property
    def lengths(self) -> np.ndarray:
        """Rows of each series' history, shape (n_series,)."""
        return self.stops - self.starts[:-1]

    @property
    def last_stamps(self) -> pd.Index:
        """The last stamp of each series' history, shape (n_series,)."""
        return self.stamps[self.stops - 1]

    def until(self, stops: np.ndarray) -> Panel:
        """The same panel with shorter histories; the tables are shared, not copied.

        Only where a history is cut within a gap there are others: the end of the history is filled with
        the last known value, not from what comes behind it.

        Parameters
        ----------
        stops : ndarray of shape (n_series,), dtype intp
            One past the last row of each series that is to be seen.

        Returns
        -------
        Panel

        Raises
        ------
        ValueError
            If a series is left without a row, or has fewer rows than that; it is named.
        """
        stops = np.asarray(stops, np.intp)
        wrong = np.flatnonzero((stops <= self.starts[:-1]) | (stops > self.stops))
        if len(wrong):
            i = wrong[0]
            kept = stops[i] - self.starts[i]
            raise ValueError(f"{self.name(i)} has {self.lengths[i]} rows, of which {kept} cannot be kept")
        if not self.filled[stops - 1].any():
            return replace(self, stops=stops)
        table = np.hstack([self.values, self.exog])
        for i, column in zip(*np.nonzero(self.filled[stops - 1])):
            rows = slice(self.starts[i], stops[i])
            known = self.starts[i] + np.flatnonzero(~self.filled[rows, column])[-1:]
            if len(known):  # there need not be, in a part of a history that is all gap
                table[known[0] + 1 : stops[i], column] = table[known[0], column]
        values, exog = np.hsplit(table, [self.values.shape[1]])
        return replace(self, stops=stops, values=np.ascontiguousarray(values), exog=exog)

    def take(self, series: np.ndarray) -> Panel:
        """Some of the series, by their positions."""
        lengths = np.diff(self.starts)[series]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        rows = np.arange(starts[-1]) + np.repeat(self.starts[series] - starts[:-1], lengths)
        return self._rows(series, starts, starts[:-1] + (self.stops - self.starts[:-1])[series], rows)

    def histories(self, series: np.ndarray, stops: np.ndarray, n_rows: int | None) -> Panel:
        """What lies before each of some rows, as so many series; the tables are copies.

        Parameters
        ----------
        series : ndarray of shape (n_histories,)
            Their positions.
        stops : ndarray of shape (n_histories,)
            One past the last row of each history.
        n_rows : int or None
            How many rows of each, which there have to be; None: all.
        """
        begin = self.starts[series] if n_rows is None else stops - n_rows
        starts = np.concatenate([[0], np.cumsum(stops - begin)])
        rows = np.arange(starts[-1]) + np.repeat(begin - starts[:-1], stops - begin)
        part = self._rows(series, starts, starts[1:], rows)
        return part.until(part.stops)

    def _rows(self, series: np.ndarray, starts: np.ndarray, stops: np.ndarray, rows: np.ndarray) -> Panel:
        tables = ("stamps", "values", "observed", "exog", "filled")
        own = {name: getattr(self, name)[rows] for name in tables}
        return replace(
            self, ids=self.ids[series], starts=starts, stops=stops, static=self.static[series], **own
        )

    def emptied(self) -> Panel:
        """The same series without a row: what is needed to read more of them."""
        tables = ("stamps", "values", "observed", "exog", "filled")
        nothing = {name: getattr(self, name)[:0].copy() for name in tables}
        return replace(self, starts=0 * self.starts, stops=0 * self.stops, **nothing)

    def __str__(self) -> str:
        n, rows = len(self.ids), self.lengths
        if n == 1:
            return f"{self.name(0)} of {rows[0]} rows"
        first, last = quote(self.ids[0]), quote(self.ids[-1])
        return f"{n} series, {first} to {last}, of {rows.min()} to {rows.max()} rows"

    def name(self, i: int, target: int = 0) -> str:
        """Series i, or a target of a multivariate panel, in the words of an error message."""
        return series_name(self.form.names[target] if self.form.multivariate else self.ids[i])

    def series_of(self, row: int) -> int:
        """The series that a row belongs to."""
        return int(np.searchsorted(self.starts, row, side="right")) - 1


def check_integer(name: str, value: Any, least: int = 1) -> int:
    """The value as Python's integer, which NumPy's small ones overflow beside; else a ValueError."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    return int(value)


def check_known(ids: pd.Index, known: pd.Index) -> np.ndarray:
    """The positions of names among those of `fit`; a ValueError if there are others."""
    positions = known.astype(object).get_indexer(ids.astype(object))
    if (positions < 0).any():
        raise ValueError(f"series were not there in fit: {first_few(ids[positions < 0])}")
    return positions


def series_name(name: Any) -> str:
    return f"series {quote(name)}"


def quote(name: Any) -> str:
    """A name as the user would write it; NumPy's scalars would say their type."""
    return repr(name.item() if isinstance(name, np.generic) else name)


def first_few(names: Any, count: int = 5) -> str:
    names = list(names)
    return ", ".join(quote(name) for name in names[:count]) + (", ..." if len(names) > count else "")
