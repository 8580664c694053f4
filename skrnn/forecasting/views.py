"""Windows over the series of a table: views with a scale of their own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..sequences import Sequences, Targets

# Shift and size of each window, a row.
WINDOW_SCALES: dict[str, Callable] = {
    "standard": lambda x: (x.mean(axis=1), x.std(axis=1)),
    "robust": lambda x: (np.median(x, axis=1), np.subtract(*np.quantile(x, [0.75, 0.25], axis=1))),
    "minmax": lambda x: (x.min(axis=1), np.ptp(x, axis=1)),
    "mean": lambda x: (0 * x[:, 0], np.abs(x).mean(axis=1)),
    "last": lambda x: (0 * x[:, 0], np.abs(x[:, -1])),
}

QUIET = 0.01  # standard deviations of a series
CHUNK = 1 << 16  # numbers that are copied at once


def window_scale(
    scale: str, values: np.ndarray, lags: int, starts: np.ndarray, unit: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Shift and scale of windows, so that ``(values - shift) / scale`` is of unit size.

    Parameters
    ----------
    scale : {"standard", "robust", "minmax", "mean", "last"}
    values : ndarray of shape (n_rows, n_targets)
    lags : int
    starts : ndarray of shape (n_windows,)
    unit : bool, default=False
        Whether each series as a whole is of unit size.

    Returns
    -------
    shift, scale : ndarray of shape (n_windows, n_targets), float64
        Where a window has no size, being constant, its level is one, or 1 where that is 0. In a series of
        unit size, 1 where it is less than a hundredth: what follows a quiet window need not be quiet.
    """
    shift, size, level = np.empty((3, len(starts), values.shape[1]))
    step = max(1, CHUNK // lags)
    for target in range(values.shape[1]):
        windows = np.lib.stride_tricks.sliding_window_view(values[:, target], lags)
        for k in range(0, len(starts), step):
            rows, own = slice(k, k + step), windows[starts[k : k + step]].astype(np.float64)
            shift[rows, target], size[rows, target] = WINDOW_SCALES[scale](own)
            level[rows, target] = np.abs(own).mean(axis=1)
    tiny = 1e-6 * level  # what single precision leaves of a constant
    if unit:
        return shift, np.where(size > np.maximum(tiny, QUIET), size, 1.0)
    return shift, np.where(size > tiny, size, np.where(level > 0, level, 1.0))


def scaled_windows(
    values: np.ndarray,
    starts: np.ndarray,
    lengths: np.ndarray | int,
    scaling: tuple[np.ndarray, np.ndarray] | None,
) -> Sequences:
    """Windows of so many rows; `scaling` is the shift and the scale of their first columns."""
    lengths = np.full(len(starts), lengths, np.intp)
    if scaling is None:
        return Sequences(values, starts, lengths)
    shift, scale = np.zeros((2, len(starts), values.shape[1]), values.dtype)
    scale[:] = 1
    n_targets = scaling[0].shape[1]
    shift[:, :n_targets], scale[:, :n_targets] = scaling[0], 1 / scaling[1]
    return Sequences(values, starts, lengths, shift, scale)


def picked_windows(
    values: np.ndarray, rows: np.ndarray, scaling: tuple[np.ndarray, np.ndarray] | None
) -> Sequences:
    """Windows of some rows, (n_windows, n_lags); copies, as they do not lie side by side."""
    n, n_lags = rows.shape
    return scaled_windows(values[rows.reshape(-1)], n_lags * np.arange(n), n_lags, scaling)


def scaled_targets(
    values: np.ndarray, at: np.ndarray, h: int, scaling: tuple[np.ndarray, np.ndarray] | None
) -> Targets:
    """The `h` rows from `at` on, scaled like the windows before them."""
    if scaling is None:
        return Targets(values, at, h)
    shift, scale = scaling[0].astype(values.dtype), (1 / scaling[1]).astype(values.dtype)
    return Targets(values, at, h, shift, scale)


def flat_windows(windows: Sequences) -> np.ndarray:
    """Windows of equal length as rows of a 2-D array, for regressors that know no sequences; a copy."""
    lags = int(windows.lengths[0])
    return Targets(windows.values, windows.starts, lags, windows.shift, windows.scale).matrix()
