"""Prediction intervals: quantile heads, or conformal widths from windows held back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .output import POINT
from .panel import Panel


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


def from_widths(
    point: np.ndarray, widths: np.ndarray, spread: np.ndarray, levels: Sequence[float]
) -> dict[str, np.ndarray]:
    """Statistics of a forecast (n_series, h, n_targets) from `conformal_widths` and each series' `spread`."""
    statistics = {POINT: point}
    for level, width in zip(levels, widths):
        half = width[: point.shape[1], None] * spread[:, None]
        statistics |= {f"lo-{level:g}": point - half, f"hi-{level:g}": point + half}
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


def conformal_widths(errors: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Half widths of intervals from errors of forecasts that were held back.

    Parameters
    ----------
    errors : ndarray of shape (n_windows, n_series, h, n_targets)
        Absolute errors in units of `spread`; NaN where there was no true value.
    levels : sequence of float
        In per cent.

    Returns
    -------
    ndarray of shape (n_levels, h)

    Raises
    ------
    ValueError
        If all errors are NaN.

    Notes
    -----
    Split conformal prediction (Papadopoulos et al. 2002; Lei et al. 2018): with n errors, the one of rank
    ceil((n + 1) level). There are few windows, so errors are divided by their mean for their step of the
    horizon, and all steps share the ranks.
    """
    if np.isnan(errors).all():
        raise ValueError("conformal intervals need values in the windows held back, where all are missing")
    by_step = errors.swapaxes(0, 2).reshape(errors.shape[2], -1)
    mean = np.nanmean(by_step, axis=1)
    mean = np.where(mean > 0, mean, 1.0)
    relative = by_step / mean[:, None]
    relative = np.sort(relative[~np.isnan(relative)])
    n = len(relative)
    ranks = np.array([min(n, math.ceil((n + 1) * level / 100)) for level in levels])
    return relative[ranks - 1][:, None] * mean
