"""How well values that are known are forecast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from . import frames, intervals
from .base import BaseForecaster
from .fitted import fitted
from .output import POINT, check_names, write_fitted
from .panel import Panel, check_integer


class Assessed(BaseForecaster):
    """Scores of a fitted forecaster."""

    def score(self, df: Any, y: Any = None) -> float:
        """How well the rows that follow the histories are forecast, for a search with `RollingOrigin`.

        Parameters
        ----------
        df : Series or DataFrame
            The rows that follow, in the form of the data and with its covariates.
        y : None
            There is none.

        Returns
        -------
        float
            Minus the mean absolute scaled error (MASE with a season of one step: the error of each series in
            units of its mean absolute step). `forecast_scorer` makes other scores.
        """
        check_no_y(y)
        known, y_true, y_pred = self._compared(df)
        errors = np.abs(y_true - y_pred) / intervals.spread(known)[:, None]
        return -float(np.nanmean(errors))

    def _compared(self, df: Any) -> tuple[Panel, np.ndarray, np.ndarray]:
        """Histories, the values that follow, NaN where they are not known, and forecasts of them."""
        panel, h = frames.extend(self._own_histories, df), self.model_.task.h
        before = self._readable(self._own_histories)
        panel = panel.take(panel.ids.get_indexer(before.ids))
        later = panel.lengths - before.lengths
        if panel.form.kind == "wide" and (later > 0).any():  # a column may have ended
            there = np.flatnonzero(later > 0)
            panel, later = panel.take(there), later[there]
        if (later < 1).any():
            raise ValueError(f"{panel.name(int(later.argmin()))} has no row to compare with")
        stops = panel.stops - later
        rows = np.minimum(stops[:, None] + np.arange(h), panel.stops[:, None] - 1)
        beyond = np.arange(h) >= later[:, None]
        if len(panel.form.futr_exog) and beyond.any():
            raise ValueError(
                f"{panel.name(int(later.argmin()))} has {later.min()} rows to compare with, but the "
                f"covariates of {h} are needed"
            )
        known = panel.until(stops)
        statistics = self._statistics(
            self.model_, self.widths_, known, panel.futr_exog[rows], frames.futures(known, h)
        )
        compared = panel.measured[rows] & ~beyond[:, :, None]
        if not compared.any():
            raise ValueError("there is no value to compare with: all that follow were missing")
        return known, np.where(compared, panel.values[rows], np.nan), statistics[POINT]

    def fitted_values(self, step: int = 1) -> pd.DataFrame:
        """Forecasts of the values that were learnt, each from what lay before it.

        Weights and scales know all of them, so their errors are less than those of `cross_validation`.

        Parameters
        ----------
        step : int, default=1
            How many steps before a value its forecast is made, up to the horizon.

        Returns
        -------
        DataFrame
            In the form of the data, each row with its true value and its forecast, NaN where there are too
            few rows before it and in series that `short_series` has left out of training: for a long frame
            with the id, the time, the target and the name of the model; for a Series with the columns ``y``
            and that name; for a wide frame with columns of two levels, (series, statistic). Where the
            horizon reaches beyond the data, covariates are taken to stay as they are in the last row.

        Raises
        ------
        ValueError
            If `step` is not of the horizon.
        """
        panel = self._own_histories
        check_names(panel.form, self._name, [], backtest=True)
        step, task = check_integer("step", step), self.model_.task
        if step > task.h:
            raise ValueError(f"step={step} is beyond the horizon of fit, {task.h}")

        def forecast(known: Panel, future: np.ndarray, stamps: pd.Index) -> np.ndarray:
            return self._statistics(self.model_, None, known, future, stamps)[POINT]

        point = fitted(forecast, panel, task.h, step, self.model_.n_rows)
        unlearnt = ~panel.ids.isin(self.model_.models[0].transform.ids)
        point[np.repeat(unlearnt, panel.lengths)] = np.nan
        return write_fitted(panel, point, self._name)


def forecast_scorer(
    metric: Callable[..., float], *, greater_is_better: bool = False, **kwargs: Any
) -> Callable[..., float]:
    """A score of forecasts for ``GridSearchCV(..., scoring=...)``, as scikit-learn's `make_scorer`.

    Scorers of scikit-learn need a ``y`` beside the features, of which forecasters have none.

    Parameters
    ----------
    metric : callable
        From the true values and the forecasts, flat arrays, to a number, such as
        `sklearn.metrics.root_mean_squared_error`.
    greater_is_better : bool, default=False
        Whether it is a score; else it is a loss, whose sign is changed.
    **kwargs
        For `metric`.

    Returns
    -------
    callable
        Of a fitted forecaster and the rows that follow.

    Examples
    --------
    >>> from sklearn.metrics import root_mean_squared_error
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skrnn.forecasting import GRUForecaster, RollingOrigin, forecast_scorer
    >>> search = GridSearchCV(
    ...     GRUForecaster(h=7), {"lags": [7, 14]}, cv=RollingOrigin(3, h=7),
    ...     scoring=forecast_scorer(root_mean_squared_error),
    ... )
    """
    return _ForecastScorer(metric, 1 if greater_is_better else -1, kwargs)


@dataclass(frozen=True)
class _ForecastScorer:
    """A class, so that it can be pickled."""

    metric: Callable[..., float]
    sign: int
    kwargs: dict[str, Any]

    def __call__(self, forecaster: Assessed, df: Any, y: Any = None) -> float:
        check_no_y(y)
        _, y_true, y_pred = forecaster._compared(df)
        known = ~np.isnan(y_true)
        return self.sign * float(self.metric(y_true[known], y_pred[known], **self.kwargs))


def check_no_y(y: Any) -> None:
    if y is not None:
        raise ValueError(
            "y has to be None: the series to forecast are in the frame, covariates by their names; the "
            "scores of a search are those of forecast_scorer"
        )
