"""Plots of forecasts in the style of scikit-learn's displays."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from .output import POINT, read_forecast
from .panel import Panel, check_integer, first_few, quote
from .scores import read_scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SERIES = 4  # as many as are drawn where `ids` does not say which
ALPHA = 0.18, 0.4  # of the widest and of the narrowest band


class ForecastDisplay:
    """Histories and forecasts over time, one below the other, with a band for each prediction interval.

    Use `from_estimator`, or the `plot` of a forecaster, to make one; or `from_cross_validation`. Where a
    value was missing, lines have a gap, also where it was filled to train and to forecast.

    Parameters
    ----------
    history : dict from name to Series
        The values of each series, by stamp: dates, periods or integers. Its name and that of its index are
        the labels of the axes.
    forecast : dict from name to DataFrame
        For the same names, by stamp, the column "point" and, for each interval, two such as "lo-80" and
        "hi-80". A row of NaN ends a line, as of one cutoff.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, shape (n_series,)
    figure_ : matplotlib Figure
    lines_ : dict from name to a pair of matplotlib Line2D
        History and forecast. The forecast begins at the last value of the history before it, where there is
        one.
    bands_ : dict from name to dict
        From the level to matplotlib's PolyCollection, the widest first. They begin where the forecast does.

    Examples
    --------
    >>> from skrnn.forecasting import ForecastDisplay, GRUForecaster
    >>> model = GRUForecaster(h=12, lags=24, level=[80, 95]).fit(df)  # doctest: +SKIP
    >>> ForecastDisplay.from_estimator(model).figure_.savefig("forecast.png")  # doctest: +SKIP
    """

    def __init__(self, *, history: Mapping[Any, pd.Series], forecast: Mapping[Any, pd.DataFrame]) -> None:
        self.history = history
        self.forecast = forecast

    @classmethod
    def from_estimator(
        cls,
        forecaster: Any,
        df: Any = None,
        forecast: Any = None,
        *,
        ids: Any = None,
        max_rows: int | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> ForecastDisplay:
        """Plot what a forecaster says of some series.

        Parameters
        ----------
        forecaster : forecaster
            Fitted.
        df : Series or DataFrame, default=None
            The histories, which may go on beside the forecast; None: those of `fit` and `update`.
        forecast : Series or DataFrame, default=None
            As of `predict`; None: `predict` is asked, which cannot know `futr_exog`.
        ids : name or list of names, default=None
            Which series, or which targets of several; None: the first four of the forecast.
        max_rows : int, default=None
            Rows of each history before its forecast, the last ones; None: 8 times those of the forecast, and
            100 at least.
        ax : matplotlib Axes or array-like of them, default=None
            Where to draw, one for each series; None makes a new figure.
        **kwargs
            For `plot`.

        Returns
        -------
        ForecastDisplay

        Raises
        ------
        NotFittedError
            If the forecaster is not fitted.
        ValueError
            If `forecast` is not one of this forecaster and these series, or does not have `ids`.
        ImportError
            If matplotlib is not installed.
        """
        check_is_fitted(forecaster)
        if max_rows is not None:
            max_rows = check_integer("max_rows", max_rows)
        panel = forecaster._histories(df)
        if forecast is None:
            if panel.form.futr_exog:
                raise ValueError(
                    f"plot needs a forecast, since it cannot know {first_few(panel.form.futr_exog)}: give it "
                    "what predict(X_df=...) answers"
                )
            forecast = forecaster.predict(df)
        rows, statistics = read_forecast(panel, forecast, forecaster._name)
        histories, forecasts = {}, {}
        for name in _chosen(ids, rows.ids, "the forecast"):
            k = rows.ids.get_loc(name)
            part = slice(rows.starts[k], rows.starts[k + 1])
            forecasts[name] = pd.DataFrame(rows.values[part], rows.stamps[part], statistics)
            most = max(100, 8 * len(forecasts[name])) if max_rows is None else max_rows
            history = _history(panel, name)
            first = int(history.index.searchsorted(rows.stamps[part][0]))
            stop = int(history.index.searchsorted(rows.stamps[part][-1], side="right"))
            histories[name] = history.iloc[max(first - most, 0) : stop]
        return cls(history=histories, forecast=forecasts).plot(ax, **kwargs)

    @classmethod
    def from_cross_validation(
        cls,
        scores: Any,
        model: Any = None,
        *,
        ids: Any = None,
        id_col: Hashable = "unique_id",
        time_col: Hashable = "ds",
        target_col: Hashable = "y",
        ax: Any = None,
        **kwargs: Any,
    ) -> ForecastDisplay:
        """Plot forecasts from several cutoffs, each a line of its own, beside the true values.

        Where there are stamps between two windows, of which `scores` say nothing, the lines have a gap.

        Parameters
        ----------
        scores : DataFrame
            As of `cross_validation`, of a Series, a wide or a long frame.
        model : name, default=None
            Of the columns with forecasts, as `alias` or the name of the class; None: the first.
        ids : name or list of names, default=None
            Which series; None: the first four.
        id_col, time_col, target_col : names
            Columns of a long frame.
        ax : matplotlib Axes or array-like of them, default=None
            Where to draw, one for each series; None makes a new figure.
        **kwargs
            For `plot`.

        Returns
        -------
        ForecastDisplay

        Raises
        ------
        ValueError
            If `scores` is not of `cross_validation`, or does not have `model` or `ids`.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> from skrnn.forecasting import ForecastDisplay, GRUForecaster
        >>> scores = GRUForecaster(h=12, level=80).cross_validation(df, n_windows=4)  # doctest: +SKIP
        >>> display = ForecastDisplay.from_cross_validation(scores)  # doctest: +SKIP
        >>> display.figure_.savefig("backtest.png")  # doctest: +SKIP
        """
        table = read_scores(scores, id_col, time_col, target_col)
        model = table.models[0] if model is None else model
        if model not in table.models:
            raise ValueError(f"model {quote(model)} is not in scores, which have {first_few(table.models)}")
        levels = [level for level, models in table.levels.items() if model in models]
        columns = {POINT: model} | {
            f"{side}-{level}": f"{model}-{side}-{level}" for level in levels for side in ("lo", "hi")
        }
        histories, forecasts = {}, {}
        for name in _chosen(ids, table.ids, "scores"):
            part = table.frame[table.frame["series"] == table.ids.get_loc(name)]
            true = part.drop_duplicates("time").sort_values("time")
            known = pd.Series(true["y"].to_numpy(), table.times[true["time"]], name=target_col)
            # A cutoff that no other forecast reaches is a stamp of which scores do not tell the value.
            between = table.cutoffs[part["cutoff"].unique()].rename(known.index.name)
            histories[name] = known.reindex(known.index.union(between))
            windows = []
            for _, window in part.sort_values("time").groupby("cutoff"):
                own = window[list(columns.values())].set_axis(list(columns), axis=1)
                own.index = table.times[window["time"]]
                windows += [own, pd.DataFrame(np.nan, own.index[-1:], own.columns)]
            forecasts[name] = pd.concat(windows[:-1])
        return cls(history=histories, forecast=forecasts).plot(ax, **kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        history_kwargs: dict[str, Any] | None = None,
        forecast_kwargs: dict[str, Any] | None = None,
        band_kwargs: dict[str, Any] | None = None,
    ) -> ForecastDisplay:
        """Draw the series.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of them, default=None
            Where to draw, one for each series; None makes a new figure.
        history_kwargs, forecast_kwargs : dict, default=None
            For matplotlib's `plot` of either line, for instance ``{"color": "black"}``.
        band_kwargs : dict, default=None
            For matplotlib's `fill_between`.

        Returns
        -------
        ForecastDisplay

        Raises
        ------
        ValueError
            If there is not one of `ax` for each series.
        ImportError
            If matplotlib is not installed.
        """
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ImportError('ForecastDisplay needs matplotlib: pip install "skrnn[plot]"') from error
        n = len(self.forecast)
        if ax is None:
            size = 8, 3.6 if n == 1 else 2.4 * n
            _, ax = plt.subplots(n, figsize=size, layout="constrained", squeeze=False)
        self.axes_ = np.asarray(ax).reshape(-1)
        if len(self.axes_) != n:
            raise ValueError(f"there are {n} series, but ax has {len(self.axes_)} axes")
        self.figure_ = self.axes_[0].figure
        self.lines_: dict[Any, tuple[Any, Any]] = {}
        self.bands_: dict[Any, dict[float, Any]] = {}
        for axes, (name, forecast) in zip(self.axes_, self.forecast.items()):
            history = self.history[name]
            x, ahead = _positions(history.index), _positions(forecast.index)
            style = {"color": "0.35", "lw": 1.2, "label": "history"} | _dots(history) | (history_kwargs or {})
            (past,) = axes.plot(x, history, **style)
            # From the last value known to the first forecast; where nothing is known before, from that.
            last = np.flatnonzero((x < ahead[0]) & history.notna())[-1:]
            xs = np.concatenate([x[last], ahead])
            lines = {key: np.concatenate([history.iloc[last], forecast[key]]) for key in forecast}
            point = lines[POINT]
            style = {"color": "C0", "lw": 1.6, "label": "forecast"} | _dots(point) | (forecast_kwargs or {})
            (line,) = axes.plot(xs, point, **style)
            self.lines_[name], self.bands_[name] = (past, line), {}
            levels = sorted((key[3:] for key in lines if key.startswith("lo-")), key=float, reverse=True)
            for level, alpha in zip(levels, np.linspace(*ALPHA, len(levels))):
                style = {"color": line.get_color(), "alpha": alpha, "lw": 0, "label": f"{level} %"}
                self.bands_[name][float(level)] = axes.fill_between(
                    xs, lines[f"lo-{level}"], lines[f"hi-{level}"], **style | (band_kwargs or {})
                )
            axes.set_title(name, loc="left")
            axes.set_ylabel(history.name)
            axes.margins(x=0.01)
            _format(axes, history.index)
        axes.set_xlabel(history.index.name)
        # Above the first axes, where no line runs; a label once, though several forecasts may be drawn.
        handles = dict(zip(*reversed(self.axes_[0].get_legend_handles_labels())))
        self.axes_[0].legend(
            handles.values(), handles.keys(), ncols=len(handles), frameon=False,
            loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2,
        )  # fmt: skip
        return self


def _chosen(ids: Any, there: pd.Index, where: str) -> list:
    """The series to draw, of those that are there."""
    if ids is None:
        ids = there[:SERIES]
    ids = [ids] if pd.api.types.is_scalar(ids) else list(ids)
    lacking = [name for name in ids if name not in there]
    if lacking:
        raise ValueError(f"ids are not in {where}: {first_few(lacking)}")
    if not ids:
        raise ValueError("ids names no series to draw")
    return ids


def _dots(values: Any) -> dict[str, Any]:
    """Marks for values between two gaps, where there is no line."""
    known = np.pad(~np.isnan(np.asarray(values, np.float64)), 1)
    alone = np.flatnonzero(known[1:-1] & ~known[:-2] & ~known[2:]).tolist()
    return {"marker": ".", "markevery": alone} if alone else {}


def _history(panel: Panel, name: Any) -> pd.Series:
    """A series, or a target of several, NaN where no value was measured."""
    if panel.form.multivariate:
        i, target = 0, panel.form.names.get_loc(name)
    else:
        i, target = panel.ids.get_loc(name), 0
    own = slice(panel.starts[i], panel.stops[i])
    values = np.where(panel.measured[own, target], panel.values[own, target], np.nan)
    stamps = panel.stamps[own].rename(panel.form.stamp_name)
    return pd.Series(values, stamps, name=panel.form.names[0] if panel.form.kind == "long" else None)


def _positions(stamps: pd.Index) -> np.ndarray:
    """Stamps as matplotlib can place them: dates, those of a time zone as UTC, or integers."""
    if isinstance(stamps, pd.PeriodIndex):
        stamps = stamps.to_timestamp()
    if isinstance(stamps, pd.DatetimeIndex):
        stamps = stamps.tz_convert(None) if stamps.tz is not None else stamps
    return stamps.to_numpy()


def _format(axes: Axes, stamps: pd.Index) -> None:
    """Few and short labels on the time axis, in the time zone of the stamps."""
    import matplotlib.dates as dates

    if not isinstance(stamps, pd.DatetimeIndex | pd.PeriodIndex):
        axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
        return
    zone = getattr(stamps, "tz", None)
    locator = dates.AutoDateLocator(tz=zone, minticks=4, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=zone))
