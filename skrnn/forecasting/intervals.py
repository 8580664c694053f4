"""Prediction intervals: quantile heads, or conformal widths from windows held back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .output import POINT
from .panel import Panel

LEAST_WINDOWS = 5  # by which a series has a size of its own


def quantiles(levels: Sequence[float]) -> list[float]:
    """The quantiles at the ends of central intervals of these levels in per cent, and the median."""
    ends = [end for level in levels for end in (50 - level / 2, 50 + level / 2)]
    return sorted({0.5, *(round(end / 100, 10) for end in ends)})


def n_windows(levels: Sequence[float]) -> int:
    """Windows to calibrate with: five of which lie outside of the widest interval, but ten at least."""
    return max(10, math.ceil(5 / (1 - max(levels) / 100) - 1e-9))


def from_quantiles(answers: np.ndarray, levels: Sequence[float]) -> dict[str, np.ndarray]:
    """Statistics of a forecast from the answers (..., n_quantiles) to `quantiles`."""
    known = quantiles(levels)

    def at(percent: float) -> np.ndarray:
        return answers[..., known.index(round(percent / 100, 10))]

    statistics = {POINT: at(50)}
    for level in levels:
        statistics |= {f"lo-{level:g}": at(50 - level / 2), f"hi-{level:g}": at(50 + level / 2)}
    return statistics


def from_widths(point: np.ndarray, half: np.ndarray, levels: Sequence[float]) -> dict[str, np.ndarray]:
    """Statistics of a forecast (n_series, h, n_targets) from `Widths.half`."""
    statistics = {POINT: point}
    for level, width in zip(levels, half):
        statistics |= {f"lo-{level:g}": point - width, f"hi-{level:g}": point + width}
    return statistics


def spread(panel: Panel) -> np.ndarray:
    """The mean absolute step of every series, (n_series, n_targets); 1 for a constant one.

    The unit in which errors of different series are compared.
    """
    sizes = np.ones((len(panel.ids), panel.values.shape[1]))
    for i, (start, stop) in enumerate(zip(panel.starts[:-1], panel.stops)):
        if stop - start > 1:
            step = np.abs(np.diff(panel.values[start:stop], axis=0)).mean(axis=0)
            sizes[i] = np.where(step > 0, step, 1.0)
    return sizes


@dataclass(frozen=True, eq=False)
class Widths:
    """Half widths of conformal intervals.

    Attributes
    ----------
    ids : Index of shape (n_series,)
    by_step : ndarray of shape (h,)
        Mean errors of the steps of a horizon.
    sizes : ndarray of shape (n_levels, n_series, n_targets)
        By what these are multiplied for each series, in units of its `spread`.
    units : ndarray of shape (n_series, n_targets)
        The `spread` in `fit`, which the last rows of a series need not have.
    """

    ids: pd.Index
    by_step: np.ndarray
    sizes: np.ndarray
    units: np.ndarray

    def half(self, panel: Panel, h: int) -> np.ndarray:
        """In the user's units, (n_levels, n_series, h, n_targets), after the histories of a panel.

        Errors of several horizons in a row add up like those of independent steps. Series of which nothing
        was held back have the mean size of the others.
        """
        before, step = np.divmod(np.arange(h), len(self.by_step))
        by_step = np.hypot(np.sqrt(before) * self.by_step[-1], self.by_step[step])
        series = self.ids.get_indexer(panel.ids)
        new = self.sizes.mean(axis=1, keepdims=True) * spread(panel)
        sizes = np.where(series[:, None] < 0, new, self.sizes[:, series] * self.units[series])
        return by_step[:, None] * sizes[:, :, None]


def conformal_widths(errors: np.ndarray, levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Half widths of intervals from errors of forecasts that were held back.

    Parameters
    ----------
    errors : ndarray of shape (n_windows, n_series, h, n_targets)
        Absolute errors in units of `spread`; NaN where there was no true value.
    levels : sequence of float
        In per cent.

    Returns
    -------
    by_step : ndarray of shape (h,)
    sizes : ndarray of shape (n_levels, n_series, n_targets)
        The half width of a step is the product of both.

    Raises
    ------
    ValueError
        If all errors are NaN.

    Notes
    -----
    Split conformal prediction (Papadopoulos et al. 2002; Lei et al. 2018): with n errors, the one of rank
    ceil((n + 1) level). There are few windows, so errors are divided by their mean for their step of the
    horizon, and all steps share the ranks. Series do where they have fewer windows than a rank needs,
    1 / (1 - level); each error is divided by the mean of its series then, and ranked beside that of its other
    windows, as it does not know those to come. Of fewer than five windows, there is one mean for all series.
    """
    if np.isnan(errors).all():
        raise ValueError("conformal intervals need values in the windows held back, where all are missing")
    n_windows, n_series, h, n_targets = errors.shape
    by_step = np.nanmean(errors, axis=(0, 1, 3))
    by_step = np.where(by_step > 0, by_step, 1.0)
    relative = errors / by_step[:, None]
    shared = [_of_rank(_beside_their_mean(relative), level) * _means(relative) for level in levels]
    sizes = np.stack(shared)
    for series, target in np.ndindex(n_series, n_targets):
        own = relative[:, series, :, target]
        known = np.count_nonzero(~np.isnan(own).all(axis=1))
        for k, level in enumerate(levels):
            if known * (1 - level / 100) > 1 - 1e-9:
                sizes[k, series, target] = _of_rank(own, level)
    return by_step, sizes


def _of_rank(errors: np.ndarray, level: float) -> float:
    """The conformal quantile; 0 if there is none."""
    known = np.sort(errors[np.isfinite(errors)])
    rank = min(len(known), math.ceil((len(known) + 1) * level / 100))
    return float(known[rank - 1]) if rank else 0.0


def _has_means(errors: np.ndarray) -> bool:
    return len(errors) >= LEAST_WINDOWS and errors.shape[1] * errors.shape[3] > 1


def _means(errors: np.ndarray) -> np.ndarray:
    """Of each series and target, (n_series, n_targets); 1 where nothing is known or there is one for all."""
    if not _has_means(errors):
        return np.ones(errors.shape[1::2])
    counts = np.count_nonzero(~np.isnan(errors), axis=(0, 2))
    return np.where(counts, np.nansum(errors, axis=(0, 2)) / np.maximum(counts, 1), 1.0)


def _beside_their_mean(errors: np.ndarray) -> np.ndarray:
    """Errors in units of the mean of their series' other windows, NaN where there is none."""
    if not _has_means(errors):
        return errors
    totals = np.nansum(errors, axis=2, keepdims=True)
    counts = np.count_nonzero(~np.isnan(errors), axis=2, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return errors * (counts.sum(axis=0) - counts) / (totals.sum(axis=0) - totals)
