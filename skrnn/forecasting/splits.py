"""Splits in time: rolling origins, and held-back windows that share no target with the others."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas.api.types import is_datetime64_any_dtype

from .libraries import as_pandas
from .panel import Panel, check_integer, quote, series_name


class Fold(NamedTuple):
    """One cutoff of a rolling origin.

    Attributes
    ----------
    panel : Panel
        The histories up to the cutoff; ``panel.last_stamps`` are the cutoffs.
    stamps : Index of shape (n_series * h,)
        The stamps that are held back, series after series.
    y : ndarray of shape (n_series, h, n_targets)
        The values held back; NaN where they were missing.
    future : ndarray of shape (n_series, h, n_futr)
        The covariates there that are known in advance.
    learnt : Panel or None
        The histories to learn from, where there are more than those to forecast.
    """

    panel: Panel
    stamps: pd.Index
    y: np.ndarray
    future: np.ndarray
    learnt: Panel | None = None

    def of(self, panel: Panel) -> Fold:
        """The same of some of its series, those of a panel."""
        if len(panel.ids) == len(self.panel.ids):
            return self
        series, h = self.panel.ids.get_indexer(panel.ids), self.y.shape[1]
        rows = (h * series[:, None] + np.arange(h)).reshape(-1)
        return Fold(panel, self.stamps[rows], self.y[series], self.future[series], self.learnt)


def cut(panel: Panel, known: np.ndarray, h: int, there: np.ndarray) -> Fold:
    """Histories of so many rows, and the `h` rows behind them.

    Parameters
    ----------
    panel : Panel
    known : ndarray of shape (n_series,), dtype int
        Rows of each history.
    h : int
    there : ndarray of shape (n_series,), bool
        Which series there are in the fold.
    """
    if not there.all():
        panel, known = panel.take(np.flatnonzero(there)), known[there]
    stops = panel.starts[:-1] + known
    rows = stops[:, None] + np.arange(h)
    y = np.where(panel.measured[rows], panel.values[rows], np.nan)
    return Fold(panel.until(stops), panel.stamps[rows.reshape(-1)], y, panel.futr_exog[rows])


class RollingOrigin:
    """Forecasts from several cutoffs, each knowing only what was before it.

    The last window ends where its series ends. It can be the ``cv=`` of a scikit-learn search whose X is
    a Series or a wide frame, or anything else with its rows in time order; or a long frame, whose rows may
    be in any order and of which each series is counted from its own end.

    Parameters
    ----------
    n_windows : int, default=5
        How many cutoffs.
    h : int, default=1
        Steps after each.
    step_size : int, default=1
        Steps from one cutoff to the next; `h` lets no two windows overlap.
    id_col, time_col : names
        Columns of a long frame, for `split`; a search cannot ask its forecaster for them.

    Examples
    --------
    >>> from skrnn.forecasting import RollingOrigin
    >>> [(train.tolist(), test.tolist()) for train, test in RollingOrigin(2, h=2).split(range(5))]
    [([0, 1], [2, 3]), ([0, 1, 2], [3, 4])]
    """

    def __init__(
        self,
        n_windows: int = 5,
        h: int = 1,
        step_size: int = 1,
        *,
        id_col: Hashable = "unique_id",
        time_col: Hashable = "ds",
    ) -> None:
        self.n_windows = check_integer("n_windows", n_windows)
        self.h = check_integer("h", h)
        self.step_size = check_integer("step_size", step_size)
        self.id_col, self.time_col = id_col, time_col

    def __repr__(self) -> str:
        return f"RollingOrigin({self.n_windows}, h={self.h}, step_size={self.step_size})"

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Number of windows.

        Parameters
        ----------
        X, y, groups : ignored

        Returns
        -------
        int
        """
        return self.n_windows

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Row positions of the history and of the window, for each cutoff.

        Parameters
        ----------
        X : array-like of length n
            Rows in time order, or a long frame.
        y, groups : ignored

        Yields
        ------
        train, test : ndarray of int

        Raises
        ------
        ValueError
            If there are too few rows; of a long frame, the series is named. If a long frame lacks an id or a
            time, or has columns other than `id_col` and `time_col`, as dates tell that are not in order.
        """
        X = as_pandas(X)
        needed, to_end = self._held_back(0) + 1, np.arange(len(X), 0, -1)  # 1 for the last row
        keys = self._keys(X) if isinstance(X, pd.DataFrame) else None
        if keys is not None:
            times = X[self.time_col].groupby(keys, observed=True)
            to_end, counts = times.rank(method="first", ascending=False).to_numpy(), times.size()
            if len(counts) and counts.min() < needed:
                name = series_name(counts.idxmin())
                raise ValueError(f"{self!r} needs at least {needed} rows, {name} has {counts.min()}")
        elif len(X) < needed:
            raise ValueError(f"{self!r} needs at least {needed} rows, got {len(X)}")
        for window in range(self.n_windows):
            held_back = self._held_back(window)
            test = (to_end <= held_back) & (to_end > held_back - self.h)
            yield np.flatnonzero(to_end > held_back), np.flatnonzero(test)

    def _keys(self, X: pd.DataFrame) -> Any:
        """What tells the series of a long frame apart; None if rows are in time order."""
        for column in (self.id_col, self.time_col):
            if column in X.columns and self.time_col in X.columns and X[column].isna().any():
                raise ValueError(f"{quote(column)} is missing in row {X[column].isna().argmax()}")
        if self.id_col in X.columns:
            if self.time_col not in X.columns:
                raise ValueError(f"X has no column {quote(self.time_col)}: give {self!r} the time_col of X")
            return X[self.id_col]
        if self.time_col in X.columns:
            return pd.Series(self.time_col, X.index)
        times = {"the index": X.index} if _dates(X.index) else {}
        times = times or {f"column {quote(name)}": X[name] for name in X.columns if _dates(X[name])}
        if times and not any(each.is_monotonic_increasing and each.is_unique for each in times.values()):
            names = f"{quote(self.id_col)} and {quote(self.time_col)}"
            raise ValueError(
                f"{next(iter(times))} of X is not in time order, row by row: a long frame needs "
                f"RollingOrigin with its id_col and time_col, which are {names}"
            )
        return None

    def folds(self, panel: Panel, min_rows: int = 1, least: int | None = None) -> Iterator[Fold]:
        """Histories and what was held back from them; each series is counted from its own end.

        Parameters
        ----------
        panel : Panel
        min_rows : int, default=1
            Rows of history that every series needs before its first cutoff.
        least : int, default=None
            Series that have fewer rows before a cutoff are left out of that one, and it is enough if one has
            `min_rows` before the first. None: there are none.

        Yields
        ------
        Fold

        Raises
        ------
        ValueError
            If a series is too short; the shortest, or of those that may be left out the longest, is named.
        """
        lengths = panel.lengths
        needed, i = (
            self._held_back(0) + min_rows,
            int(lengths.argmin() if least is None else lengths.argmax()),
        )
        if lengths[i] < needed:
            raise ValueError(
                f"{panel.name(i)} has {lengths[i]} rows, but n_windows={self.n_windows}, "
                f"h={self.h} and step_size={self.step_size} need {needed}, of which {min_rows} before the "
                "first cutoff"
            )
        for window in range(self.n_windows):
            known = lengths - self._held_back(window)
            yield cut(panel, known, self.h, known >= (1 if least is None else least))

    def _held_back(self, window: int) -> int:
        """Rows from a cutoff to the end."""
        return self.h + (self.n_windows - 1 - window) * self.step_size


def _dates(stamps: pd.Index | pd.Series) -> bool:
    return isinstance(stamps.dtype, pd.PeriodDtype) or is_datetime64_any_dtype(stamps.dtype)


def hold_back_windows(counts: np.ndarray, share: float, gap: int) -> tuple[np.ndarray, np.ndarray]:
    """Split windows into those to train on and, later in time, those to validate on.

    Parameters
    ----------
    counts : ndarray of shape (n_series,), dtype int
        Windows of each series. They lie in time order, series after series, and start one step apart.
    share : float
        How many of each series' windows to validate on, between 0 and 1; rounded up.
    gap : int
        Windows left out in between. Windows with `h` targets share no target if it is ``h - 1``; if it
        is the number of lags more than that, they share no row at all.

    Returns
    -------
    train, validation : ndarray of int
        Positions of windows. A series that would have nothing left to train on holds nothing back.

    Raises
    ------
    ValueError
        If all series are too short for that.
    """
    counts = np.asarray(counts)
    if not 0 < share < 1:
        raise ValueError(f"the share of windows to validate on must be between 0 and 1, got {share!r}")
    held_back = np.ceil(share * counts).astype(np.intp)
    held_back[counts - held_back - gap < 1] = 0
    if not held_back.any():
        longest = counts.max(initial=0)
        raise ValueError(
            f"no series is long enough to validate on {share:.0%} of its windows and leave out {gap} before "
            f"them: the longest has {longest}"
        )
    to_end = np.repeat(np.cumsum(counts), counts) - np.arange(counts.sum())  # 1 for the last of a series
    held_back = np.repeat(held_back, counts)
    train = (to_end > held_back + gap) | (held_back == 0)
    return np.flatnonzero(train), np.flatnonzero(to_end <= held_back)
