"""Forecasts of known values, each from what lay before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from .features import ranges
from .future import futures
from .panel import Panel

MOST_ROWS = 1 << 18  # that are read at once

# From histories, what is known of the steps to come and their stamps to point forecasts of them.
Forecast = Callable[[Panel, np.ndarray, pd.Index], np.ndarray]


def fitted(forecast: Forecast, panel: Panel, h: int, step: int, n_rows: int | None) -> np.ndarray:
    """Forecasts of the rows of a panel, so many steps before each.

    Parameters
    ----------
    forecast : callable
    panel : Panel
    h : int
        The horizon of `forecast`.
    step : int
        From 1 to `h`.
    n_rows : int or None
        Of a history, which forecasts are made from; None: all.

    Returns
    -------
    ndarray of shape (n_history_rows, n_targets)
        NaN where there are too few rows before.
    """
    # Behind each history the stamps of a horizon, whose covariates are taken to be as the last.
    stamps, n = panel.stamps.append(futures(panel, h)), len(panel.stamps)
    first = np.cumsum(panel.lengths) - panel.lengths
    found = np.full((int(panel.lengths.sum()), panel.values.shape[1]), np.nan)
    for series, stops in _origins(panel, step, n_rows):
        known = panel.histories(series, stops, n_rows)
        ahead = stops[:, None] + np.arange(h)
        end = panel.stops[series, None]
        future = panel.futr_exog[np.minimum(ahead, end - 1)]
        at = np.where(ahead < end, ahead, n + series[:, None] * h + ahead - end)
        rows = first[series] + stops - panel.starts[series] + step - 1
        found[rows] = forecast(known, future, stamps[at.reshape(-1)])[:, step - 1]
    return found


def _origins(panel: Panel, step: int, n_rows: int | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Series and the rows at which their histories end, so many at once as may be read."""
    begin = panel.starts[:-1] + (n_rows or 1)
    counts = np.maximum(panel.stops - step + 1 - begin, 0)
    series = np.repeat(np.arange(len(panel.ids)), counts)
    stops = ranges(begin, begin + counts)
    # In a gap longer than what is read there is nothing to forecast from.
    unknown = np.concatenate([np.zeros((1, panel.filled.shape[1]), np.intp), np.cumsum(panel.filled, axis=0)])
    starts = panel.starts[series] if n_rows is None else stops - n_rows
    known = (unknown[stops] - unknown[starts] < (stops - starts)[:, None]).all(axis=1)
    series, stops, read = series[known], stops[known], np.cumsum((stops - starts)[known])
    parts = np.flatnonzero(np.diff(read // MOST_ROWS)) + 1
    yield from zip(np.split(series, parts), np.split(stops, parts))
