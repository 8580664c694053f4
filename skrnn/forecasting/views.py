"""Windows over the series of a table: views with a scale of their own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from ..sequences import Sequences, Targets

# Shift and size of each window from rolling statistics of `lags` rows, ending with a window's last row.
WINDOW_SCALES: dict[str, Callable] = {
    "standard": lambda x, lags: (x.rolling(lags).mean(), x.rolling(lags).std(ddof=0)),
    "robust": lambda x, lags: (
        x.rolling(lags).median(),
        x.rolling(lags).quantile(0.75) - x.rolling(lags).quantile(0.25),
    ),
    "minmax": lambda x, lags: (x.rolling(lags).min(), x.rolling(lags).max() - x.rolling(lags).min()),
    "mean": lambda x, lags: (0 * x, x.abs().rolling(lags).mean()),
    "last": lambda x, lags: (0 * x, x.abs()),
}

QUIET = 0.01  # standard deviations of a series


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
    frame, ends = pd.DataFrame(np.asarray(values, np.float64)), starts + lags - 1
    shift, size = (part.to_numpy()[ends] for part in WINDOW_SCALES[scale](frame, lags))
    level = frame.abs().rolling(lags).mean().to_numpy()[ends]
    # The rolling sums carry roundings of larger values that have left them.
    tiny = 1e-6 * level
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
