"""The table that a network reads: targets, covariates and calendar, one row per step.

What is known of the future is moved up by the horizon: the row of a step holds the covariates of the step
that is `ahead` of it. So the window that ends today has the future in its last rows, windows stay views on
one table, and no row holds a target from behind its own step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from . import calendar as calendars
from .panel import Panel


class Table(NamedTuple):
    """Rows of all series, one series below the other.

    Attributes
    ----------
    values : ndarray of shape (n_rows, n_columns)
        Targets first; then whether they were observed, covariates, calendar.
    starts, stops : ndarray of shape (n_series,)
        The histories are rows ``starts[i]:stops[i]``; the rows behind them are steps to come.
    n_targets, known_from : int
        Columns of targets; the first of those that are known ahead or do not change.
    """

    values: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    n_targets: int
    known_from: int

    def ahead(self, targets: bool) -> np.ndarray:
        """The columns that are known of steps to come, with the targets in front of them or not; a copy,
        unless these are all. Where there is none, zeros."""
        if targets and self.known_from == self.n_targets:
            return self.values
        known = self.values[:, self.known_from :]
        if targets:
            return np.hstack([self.values[:, : self.n_targets], known])
        return np.ascontiguousarray(known) if known.shape[1] else np.zeros_like(self.values[:, :1], order="C")


class Features:
    """Columns and scales, as they were in fit.

    Parameters
    ----------
    panel : Panel
        The history of fit.
    calendar : list of str
        As of `calendar.features`.
    ahead : list of int
        By how many steps the columns that are known in the future are moved up, one copy for each.
    dtype : dtype of the table
    """

    def __init__(self, panel: Panel, calendar: list[str], ahead: list[int], dtype: np.dtype) -> None:
        self.calendar, self.ahead, self.dtype = calendar, ahead, dtype
        self.masked = panel.form.missing == "mask"
        rows = history_rows(panel)
        self.exog = _scale(panel.exog[rows], panel.form.exog_columns)
        self.static = _scale(panel.static, panel.static_columns)

    def table(
        self,
        panel: Panel,
        tail: int | None = None,
        future: np.ndarray | None = None,
        stamps: pd.Index | None = None,
    ) -> Table:
        """The rows of a panel.

        Parameters
        ----------
        panel : Panel
            Its targets as they are learnt.
        tail : int or None
            Only the last rows of every history; None: all.
        future : ndarray of shape (n_series, h, n_futr), and the stamps (n_series * h,)
            The steps to come, which get rows of their own behind the history; their targets are 0. None:
            there are no such rows, and what is known of the future is 0 in the last rows.
        """
        h = 0 if future is None else future.shape[1]
        lengths = panel.lengths if tail is None else np.minimum(panel.lengths, tail)
        starts = np.cumsum(lengths + h) - (lengths + h)
        stops = starts + lengths
        source, here = ranges(panel.stops - lengths, panel.stops), ranges(starts, stops)
        later = ranges(stops, stops + h)
        n_rows, n_targets, n_hist = int((lengths + h).sum()), panel.values.shape[1], panel.form.n_hist
        exog = (panel.exog[source] - self.exog[0]) / self.exog[1]
        known = np.zeros((n_rows, exog.shape[1] - n_hist + 2 * len(self.calendar)))
        known[here, : exog.shape[1] - n_hist] = exog[:, n_hist:]
        if self.calendar:
            known[here, exog.shape[1] - n_hist :] = calendars.features(panel.stamps[source], self.calendar)
        if future is not None:
            futr = (future - self.exog[0][n_hist:]) / self.exog[1][n_hist:]
            known[later, : futr.shape[2]] = futr.reshape(len(later), futr.shape[2])
            if self.calendar:
                known[later, futr.shape[2] :] = calendars.features(stamps, self.calendar)
        n_columns = n_targets * (1 + self.masked) + n_hist + known.shape[1] * len(self.ahead)
        values = np.zeros((n_rows, n_columns + panel.static.shape[1]), self.dtype)
        values[here, :n_targets] = np.nan_to_num(panel.values[source])
        at = n_targets
        if self.masked:
            values[here, at : at + n_targets] = panel.observed[source]
            at += n_targets
        values[here, at : at + n_hist] = exog[:, :n_hist]
        at = known_from = at + n_hist
        ends = np.repeat(stops + h, lengths + h)  # of each row's series
        for step in self.ahead if known.shape[1] else ():
            ahead = np.arange(n_rows) + step
            inside = np.flatnonzero(ahead < ends)
            values[inside, at : at + known.shape[1]] = known[ahead[inside]]
            at += known.shape[1]
        static = (panel.static - self.static[0]) / self.static[1]
        values[:, at:] = np.repeat(static, lengths + h, axis=0)
        return Table(values, starts, stops, n_targets, known_from)


def _scale(table: np.ndarray, columns: Any) -> tuple[np.ndarray, np.ndarray]:
    """The unit scale of columns of numbers; categories stay 0 and 1."""
    numeric = np.array([category is None for _, category in columns], bool)
    shift, scale = unit_scale(table)
    return np.where(numeric, shift, 0.0), np.where(numeric, scale, 1.0)


def unit_scale(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column; 1 for a constant one."""
    if not columns.size:
        return np.zeros(columns.shape[1]), np.ones(columns.shape[1])
    shift, scale = columns.mean(axis=0), columns.std(axis=0)
    return shift, np.where(scale > 10 * np.finfo(float).eps * np.abs(columns).max(axis=0), scale, 1.0)


def ranges(starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """``range(start, stop)`` for each pair, one after the other."""
    lengths = stops - starts
    return np.arange(lengths.sum()) + np.repeat(starts - np.cumsum(lengths) + lengths, lengths)


def history_rows(panel: Panel) -> Any:
    """The rows of all histories."""
    return ranges(panel.starts[:-1], panel.stops)
