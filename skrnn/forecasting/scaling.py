"""Transforms of the targets of each series, and the way back for forecasts: log1p, differences, scales."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from .panel import Panel, check_integer


def _standard(x: np.ndarray) -> tuple[float, float]:
    return x.mean(), x.std()


def _robust(x: np.ndarray) -> tuple[float, float]:
    low, middle, high = np.quantile(x, [0.25, 0.5, 0.75])
    return middle, high - low if high > low else x.std()  # mostly one value, with a few others


def _minmax(x: np.ndarray) -> tuple[float, float]:
    return x.min(), x.max() - x.min()


def _mean(x: np.ndarray) -> tuple[float, float]:
    return 0.0, np.abs(x).mean()


SCALES: dict[str, Callable] = {"standard": _standard, "robust": _robust, "minmax": _minmax, "mean": _mean}


def fit_scale(
    scale: str, values: np.ndarray, observed: np.ndarray, starts: np.ndarray, stops: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Shift and scale of every series and column, so that ``(values - shift) / scale`` is of unit size.

    Parameters
    ----------
    scale : {"standard", "robust", "minmax", "mean"}
        Mean and standard deviation; median and interquartile range, or where that is 0 the standard
        deviation; minimum and range; 0 and the mean of the absolute values.
    values : ndarray of shape (n_rows, n_columns)
    observed : ndarray of shape (n_rows, n_columns), bool
        What counts. NaN never does.
    starts, stops : ndarray of shape (n_series,)
        The rows of series i are ``starts[i]:stops[i]``.

    Returns
    -------
    shift, scale : ndarray of shape (n_series, n_columns)
        The scale is 1 where all values of a series are the same, or there are none.
    """
    statistics = SCALES[scale]
    shifts = np.zeros((len(starts), values.shape[1]))
    scales = np.ones_like(shifts)
    observed = observed & ~np.isnan(values)
    for i, (start, stop) in enumerate(zip(starts, stops)):
        for column in range(values.shape[1]):
            x = values[start:stop, column][observed[start:stop, column]]
            if len(x):
                shifts[i, column], size = statistics(x)
                # A constant need not have a deviation of exactly 0.
                if size > 10 * np.finfo(float).eps * np.abs(x).max():
                    scales[i, column] = size
    return shifts, scales


@dataclass(frozen=True)
class Transform:
    """What is done to the targets before they are learnt: log1p, then differences, then a scale.

    Parameters
    ----------
    scale : {"standard", "robust", "minmax", "mean"} or None, default=None
        As of `fit_scale`, for each series and target by itself.
    log1p : bool, default=False
        Learn log(1 + y), which needs y > -1.
    differences : tuple of int, default=()
        Lags of the differences to take, one after the other: ``(1,)`` learns the steps of a series,
        ``(12,)`` the change to the month one year before, ``(1, 12)`` the steps and of these the change.
    clipped : bool, default=False
        Whether `log1p` takes values below 0 to be 0: where nobody has asked for it, and none was when it was
        chosen, later ones are no error.

    Raises
    ------
    ValueError
        If `scale` is unknown or a lag is not a positive integer.
    """

    scale: str | None = None
    log1p: bool = False
    differences: tuple[int, ...] = ()
    clipped: bool = False  # as in models of earlier versions

    def __post_init__(self) -> None:
        if self.scale is not None and self.scale not in SCALES:
            raise ValueError(
                f"scale must be one of {', '.join(map(repr, SCALES))} or None, got {self.scale!r}"
            )
        for lag in self.differences:
            check_integer("a lag of differences", lag)

    @property
    def n_lost(self) -> int:
        """Rows at the start of every series that have no difference."""
        return sum(self.differences)

    def fit(self, panel: Panel) -> FittedTransform:
        """Take the scales from the observed values of the histories.

        Parameters
        ----------
        panel : Panel

        Returns
        -------
        FittedTransform

        Raises
        ------
        ValueError
            If a value is not above -1 with `log1p`, or a series has no more rows than `n_lost`; the
            series and the stamp are named.
        """
        n_targets = panel.values.shape[1]
        shift, scale = np.zeros((len(panel.ids), n_targets)), np.ones((len(panel.ids), n_targets))
        unscaled = FittedTransform(self, panel.ids, shift, scale)
        if self.scale is None:
            return unscaled
        changed = unscaled.unscaled(panel)
        shift, scale = fit_scale(self.scale, changed.values, changed.observed, panel.starts[:-1], panel.stops)
        return FittedTransform(self, panel.ids, shift, scale)


@dataclass(frozen=True, eq=False)
class FittedTransform:
    """A `Transform` with the scales of each series.

    Attributes
    ----------
    settings : Transform
    ids : Index of shape (n_series,)
    shift, scale : ndarray of shape (n_series, n_targets)
    """

    settings: Transform
    ids: pd.Index
    shift: np.ndarray
    scale: np.ndarray

    def transform(self, panel: Panel) -> Panel:
        """Transform the targets.

        Parameters
        ----------
        panel : Panel
            Series of `fit`, whose histories may be others; or series that were not there, whose scales are
            then those of these histories.

        Returns
        -------
        Panel
            With other `values`, and `observed` only where all values of a difference are. The first
            `n_lost` rows of each series are NaN and not observed. Rows behind the histories are
            transformed too.

        Raises
        ------
        ValueError
            As of `Transform.fit`.
        """
        changed, counts = self.unscaled(panel), np.diff(panel.starts)
        shift, scale = (np.repeat(part, counts, axis=0) for part in self._scales(panel))
        return replace(changed, values=(changed.values - shift) / scale)

    def unscaled(self, panel: Panel) -> Panel:
        """The same, but for the scale; series may have names in common."""
        shortest = int(panel.lengths.argmin())
        if panel.lengths[shortest] <= self.settings.n_lost:
            raise ValueError(
                f"{panel.name(shortest)} has {panel.lengths[shortest]} rows, but differences="
                f"{list(self.settings.differences)} need more than {self.settings.n_lost}"
            )
        values, observed = self._log(panel, panel.values), panel.observed
        position = np.arange(len(values)) - np.repeat(panel.starts[:-1], np.diff(panel.starts))
        lost = 0
        for lag in self.settings.differences:
            lost += lag
            values, observed = _difference(values, lag), observed & np.roll(observed, lag, axis=0)
            values[position < lost], observed[position < lost] = np.nan, False
        return replace(panel, values=values, observed=observed)

    def invert(self, forecast: np.ndarray, panel: Panel, quantiles: bool = False) -> np.ndarray:
        """Bring forecasts of transformed targets back to the user's units.

        Parameters
        ----------
        forecast : ndarray of shape (n_series, h, n_targets) or (n_series, h, n_targets, n_answers)
            Of the steps after the histories of `panel`.
        panel : Panel
            The histories, NOT transformed.
        quantiles : bool, default=False
            Whether answers are quantiles, that in the middle the median.

        Returns
        -------
        ndarray of the shape of `forecast`, float64
            Differences are summed up. A quantile of sums is not the sum of quantiles: what a quantile is from
            the median grows like the deviation of independent steps, as the root of the sum of squares.
        """
        if not quantiles or not self.settings.differences:
            return self._inverted(forecast, panel)
        middle = forecast.shape[3] // 2
        medians = forecast[..., middle : middle + 1]
        apart = (forecast - medians) * self._scales(panel)[1][:, None, :, None]
        for lag in self.settings.differences[::-1]:
            apart = np.sign(apart) * np.sqrt(_summed(apart**2, lag))
        result = self._inverted(medians, panel, log1p=False) + apart
        return np.expm1(result) if self.settings.log1p else result

    def _inverted(self, forecast: np.ndarray, panel: Panel, log1p: bool = True) -> np.ndarray:
        answers = (None,) * (forecast.ndim - 3)
        shift, scale = (part[:, None, :, *answers] for part in self._scales(panel))
        result = forecast * scale + shift
        lags = self.settings.differences
        rows = panel.stops[:, None] - self.settings.n_lost + np.arange(self.settings.n_lost)
        known = [self._log(panel, panel.values[rows])]  # (n_series, n_lost, n_targets), then ever shorter
        for lag in lags:
            known.append(known[-1][:, lag:] - known[-1][:, :-lag])
        for lag, before in zip(lags[::-1], known[-2::-1]):
            past = before[:, before.shape[1] - lag :][..., *answers]
            past = np.broadcast_to(past, (len(past), lag, *result.shape[2:]))
            result = _summed(np.concatenate([past, result], axis=1), lag)[:, lag:]
        return np.expm1(result) if self.settings.log1p and log1p else result

    def _scales(self, panel: Panel) -> tuple[np.ndarray, np.ndarray]:
        """Shift and scale of the series of a panel, each (n_series, n_targets)."""
        series = self.ids.get_indexer(panel.ids)
        shift, scale = self.shift[series], self.scale[series]
        new = np.flatnonzero(series < 0)
        if len(new) and self.settings.scale is None:
            shift[new], scale[new] = 0, 1
        elif len(new):
            own = self.settings.fit(panel.take(new))
            shift[new], scale[new] = own.shift, own.scale
        return shift, scale

    def _log(self, panel: Panel, values: np.ndarray) -> np.ndarray:
        if not self.settings.log1p:
            return values
        if self.settings.clipped:
            return np.log1p(np.maximum(values, 0))
        wrong = panel.values <= -1
        if wrong.any():
            row = int(wrong.any(axis=1).argmax())
            target = int(wrong[row].argmax())
            name = panel.name(panel.series_of(row), target)
            raise ValueError(
                f"{name} is {panel.values[row, target]} at {panel.stamps[row]}; log1p needs more than -1"
            )
        return np.log1p(values)


def _summed(steps: np.ndarray, lag: int) -> np.ndarray:
    """Each step (along axis 1) and all those a multiple of `lag` before it."""
    result = steps.copy()
    for step in range(lag, result.shape[1]):
        result[:, step] += result[:, step - lag]
    return result


def _difference(values: np.ndarray, lag: int) -> np.ndarray:
    """Row minus the row `lag` before, across all series; the caller blanks what is not of one series."""
    result = np.full_like(values, np.nan)
    result[lag:] = values[lag:] - values[:-lag]
    return result
