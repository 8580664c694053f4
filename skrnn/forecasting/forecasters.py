"""RNNForecaster, LSTMForecaster, GRUForecaster: from a frame with dates to a frame with forecasts."""

from __future__ import annotations

import copy
from contextlib import ExitStack
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import _fit_context, clone
from sklearn.utils.validation import check_is_fitted

from ..estimators import GRURegressor, LSTMRegressor, RNNRegressor
from ..estimators.base import RecurrentEstimator
from ..estimators.declare import with_parameters
from ..estimators.parameters import as_python
from ..estimators.unchanged import unchanged_on_error
from ..interrupts import deferred
from . import frames
from .assessment import Assessed, check_no_y
from .backtest import backtest, find_folds
from .display import ForecastDisplay
from .output import check_names
from .panel import check_integer
from .short_series import DONE, to_learn, warn_of_short


class _Forecaster(Assessed):
    """The public methods."""

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, df: Any, y: Any = None, *, static_df: pd.DataFrame | None = None) -> Self:
        """Learn the series of a frame.

        Parameters
        ----------
        df : Series or DataFrame
            - A Series or a wide frame, one column per series, with a sorted index of dates, periods or
              integers.
            - A long frame with the columns `id_col`, `time_col` and `target_col`, rows in any order.
              Without `id_col`, where that has its default, it is one series.

            Covariates are further columns; those of a wide frame are shared by its series. Frames are those
            of pandas; or long ones of polars or pyarrow, which are answered in kind.
        y : None
            There is none: the frame holds the targets.
        static_df : DataFrame, default=None
            One row per series with `id_col` and the columns of `stat_exog`, where they are not in `df`.

        Returns
        -------
        self : forecaster

        Raises
        ------
        ValueError
            For data that cannot be used, naming the series and the stamp: gaps, stamps twice or unsorted,
            NaN, series shorter than lags and horizon, a frequency that is missing or mixed; a
            column of the name of a forecast's. The forecaster is then what it was before, as after Ctrl-C.

        Warns
        -----
        UserWarning
            If series are too short, and `short_series` says what to do about it.
        """
        self._check_parameters()
        check_no_y(y)
        panel = self._read(df, static_df)
        check_names(panel.form, self._name, self._levels, backtest=False)
        model, widths = self._train(panel)
        if self.short_series != "raise":
            n, done = model.n_rows_needed, DONE[self.short_series]
            warn_of_short(panel, panel.lengths < n, f"with fewer than {n} rows, and {done} in training")
        with deferred():
            self.panel_, self.model_, self.widths_ = panel, model, widths
            self.regressor_ = model.models[0].regressor
            self.lags_, self.scale_by_, self.differences_, self.log1p_ = model.views()
        return self

    # --- forecasts -------------------------------------------------------------------------------------
    def predict(
        self,
        df: Any = None,
        h: int | None = None,
        *,
        X_df: pd.DataFrame | None = None,
        static_df: pd.DataFrame | None = None,
    ) -> Any:
        """Forecast the next steps of every series.

        Parameters
        ----------
        df : Series or DataFrame, default=None
            Histories to forecast from instead of those of `fit`, in their form; the model stays as it is.
            Series need not have been in `fit`: one that was not is scaled by the history given, so give as
            much of it as there is; others keep the scale of `fit`.
        h : int, default=None
            How many steps; None: the horizon of `fit`. Of fewer, the rest is left out. For more, forecasts
            are read as if they had been observed, to forecast the next horizon, and so on; intervals widen as
            if horizons did not depend on each other.
        X_df : DataFrame, default=None
            The columns of `futr_exog` for the steps to come; `make_future_dataframe` makes the rows. Where
            they end within a horizon, the rest of it is taken to be as the last row.
        static_df : DataFrame, default=None
            As in `fit`, for `df`.

        Returns
        -------
        Series or DataFrame
            In the form of the data, with the stamps to come. With `level`, a Series becomes a frame with the
            columns ``name, name-lo-80, name-hi-80``, a wide frame has columns of two levels (series,
            statistic), and a long one the columns ``LSTMForecaster, LSTMForecaster-lo-80, ...``.

        Raises
        ------
        ValueError
            If `df` has too few rows; if it has series that were not in `fit` and something is learnt of
            each: `stat_exog` that are not given, the targets of `multivariate=True`; if `X_df` does not cover
            the horizon, or is given without `futr_exog`; if `h` is more than that of `fit` and there are
            `hist_exog`, which nobody knows of the first horizon.

        Warns
        -----
        UserWarning
            If series are too short to be forecast, with ``short_series="drop"``.
        """
        panel = self._histories(df, static_df)
        h, whole = self._steps_ahead(h)
        if whole > self.model_.task.h and panel.form.hist_exog:
            raise ValueError(
                f"h={h} is more than the horizon of fit, {self.model_.task.h}, whose hist_exog would be read "
                "to forecast more: fit with that h"
            )
        futr = list(panel.form.futr_exog)
        if futr and X_df is None:
            raise ValueError(
                f"predict needs X_df with {', '.join(map(repr, futr))} for the next {h} steps; "
                "make_future_dataframe() makes its rows"
            )
        if X_df is not None and not futr:
            raise ValueError("there is an X_df, but futr_exog named none of its columns")
        future = np.empty((len(panel.ids), whole, 0))
        if futr:
            future = frames.read_future(X_df, panel, whole, futr, needed=h)
        stamps = frames.futures(panel, whole)
        statistics = self._statistics(self.model_, self.widths_, panel, future, stamps)
        statistics = {name: values[:, :h] for name, values in statistics.items()}
        asked = np.arange(len(stamps)) % whole < h
        return frames.write_forecast(panel, stamps[asked], statistics, self._name)

    def make_future_dataframe(self, df: Any = None, h: int | None = None) -> pd.DataFrame:
        """The rows for which `predict` needs covariates.

        Parameters
        ----------
        df : Series or DataFrame, default=None
            As for `predict`.
        h : int, default=None
            As for `predict`.

        Returns
        -------
        DataFrame
            With the id and time columns of a long frame, or with the index and no column.
        """
        return frames.future_frame(self._histories(df), self._steps_ahead(h)[0])

    def update(self, df: Any, max_steps: int = 0) -> Self:
        """Append new rows to the histories; scales and the widths of conformal intervals stay as in `fit`.

        Parameters
        ----------
        df : Series or DataFrame
            Rows that come after the known ones, in the form of the data.
        max_steps : int, default=0
            Updates of the weights on the longer histories, at least one epoch; 0: the model stays.

        Returns
        -------
        self : forecaster

        Raises
        ------
        ValueError
            As of `fit`, and if a stamp is not after the end of its series. The forecaster is then what it was
            before, as after Ctrl-C.
        """
        before = self._own_histories
        max_steps = check_integer("max_steps", max_steps, least=0)
        panel = self._check_counts(frames.extend(before, df))
        if max_steps:
            if not isinstance(self.regressor_, RecurrentEstimator):
                raise ValueError(f"{type(self.regressor_).__name__} cannot be trained further: fit anew")
            with ExitStack() as unchanged:
                for model in self.model_.models:
                    unchanged.enter_context(unchanged_on_error(model.regressor))
                task = self.model_.task
                learnt = to_learn(panel, self.model_.n_rows_needed, task.short_series)
                for model in self.model_.models:
                    self._train_further(model, learnt, max_steps)
        self.panel_ = panel
        return self

    def without_histories(self) -> Self:
        """A copy that does not hold the data it was fitted to, for files that are small or go elsewhere.

        It forecasts from the histories that `predict` is given, and knows the names of the series, their
        scales and their static covariates; what needs histories of its own says that they were left out.

        Returns
        -------
        forecaster

        Examples
        --------
        >>> import pickle
        >>> import numpy as np, pandas as pd
        >>> from skrnn.forecasting import GRUForecaster
        >>> sales = pd.Series(np.sin(np.arange(5000.0)))
        >>> model = GRUForecaster(h=2, lags=4, max_steps=10, random_state=0).fit(sales)
        >>> len(pickle.dumps(model)) > 2 * len(pickle.dumps(model.without_histories()))
        True
        >>> len(model.without_histories().predict(sales[-20:]))
        2
        """
        check_is_fitted(self)
        result = copy.copy(self)
        result.panel_ = self.panel_.emptied()
        return copy.deepcopy(result)

    # --- how good it is --------------------------------------------------------------------------------
    def cross_validation(
        self,
        df: Any,
        n_windows: int = 5,
        h: int | None = None,
        step_size: int | None = None,
        refit: bool | int = True,
        *,
        static_df: pd.DataFrame | None = None,
        cutoffs: Any = None,
    ) -> pd.DataFrame:
        """Forecast from several cutoffs, each time knowing only what was before it.

        Parameters
        ----------
        df : Series or DataFrame
            As in `fit`. The last window ends where each series ends, if there are no `cutoffs`.
        n_windows : int, default=5
            How many cutoffs.
        h : int, default=None
            Steps after each; None: those of the forecaster.
        step_size : int, default=None
            Steps from one cutoff to the next; None: `h`, so that windows do not overlap.
        refit : bool or int, default=True
            Whether to fit anew at each cutoff, only at the first one, or at every so many.
        static_df : DataFrame, default=None
            As in `fit`.
        cutoffs : date, period, integer or list of them, default=None
            The last times that are known, for all series, in place of `n_windows` and `step_size`. A series
            that does not go on for `h` rows after one is learnt there, but not forecast, with a warning.

        Returns
        -------
        DataFrame
            Forecasts with the true values and the cutoffs; `evaluate` makes errors of them, and
            `ForecastDisplay.from_cross_validation` a picture. For a long frame with the columns ``cutoff``,
            the target and the statistics; for a Series the same, by stamp; for a wide frame with rows
            (cutoff, stamp) and columns (series, statistic).

        Raises
        ------
        ValueError
            As of `fit`, and if a series is too short for the first cutoff. With `short_series` such ones are
            left out of the cutoffs for which they are too short, or lengthened there, with a warning.

        Notes
        -----
        This forecaster stays as it is. Fits of several cutoffs run in `n_jobs` threads. Ctrl-C ends them too,
        where networks train; another `regressor` comes to its own end.
        """
        if h is not None:
            own, more = clone(self).set_params(h=h), {"static_df": static_df, "cutoffs": cutoffs}
            return own.cross_validation(df, n_windows, None, step_size, refit, **more)
        self._check_parameters()
        refit = as_python(refit)
        if not isinstance(refit, bool):
            check_integer("refit", refit)
        panel = self._read(df, static_df)
        check_names(panel.form, self._name, self._levels, backtest=True)
        folds = find_folds(self, panel, n_windows, step_size, cutoffs)
        folds, statistics = backtest(self, panel, folds, refit)
        return frames.write_cross_validation(panel, folds, statistics, self._name)

    def plot(self, df: Any = None, forecast: Any = None, **kwargs: Any) -> ForecastDisplay:
        """Draw histories and forecasts, with a band for each level.

        Parameters
        ----------
        df : Series or DataFrame, default=None
            The histories, which may go on beside the forecast; None: those of `fit` and `update`.
        forecast : Series or DataFrame, default=None
            As of `predict`; None: `predict` is asked, which cannot know `futr_exog`.
        **kwargs
            For `ForecastDisplay.from_estimator`, as `ids`, `max_rows` and `ax`.

        Returns
        -------
        ForecastDisplay
            With matplotlib's `figure_` and `axes_`.

        Raises
        ------
        ValueError
            If `forecast` is not one of this forecaster and these series.
        ImportError
            If matplotlib is not installed.
        """
        return ForecastDisplay.from_estimator(self, df, forecast, **kwargs)


@with_parameters
class RNNForecaster(_Forecaster):
    """Forecasts with Elman's recurrent network.

    {parameters}
    See Also
    --------
    LSTMForecaster, GRUForecaster : Gated cells, which remember for longer.
    """

    _regressor_class = RNNRegressor


@with_parameters
class LSTMForecaster(_Forecaster):
    """Forecasts with a long short-term memory network.

    {parameters}
    See Also
    --------
    skrnn.LSTMRegressor : The network, for sequences of any kind.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from skrnn.forecasting import LSTMForecaster
    >>> days = pd.date_range("2024-01-01", periods=200, freq="D")
    >>> sales = pd.Series(10 + np.sin(np.arange(200) * 2 * np.pi / 7), days, name="sales")
    >>> forecast = LSTMForecaster(h=7, lags=14, level=80, max_steps=200, random_state=0).fit(sales).predict()
    >>> forecast.columns.tolist()
    ['sales', 'sales-lo-80', 'sales-hi-80']
    >>> forecast.index[0]
    Timestamp('2024-07-19 00:00:00')
    """

    _regressor_class = LSTMRegressor


@with_parameters
class GRUForecaster(_Forecaster):
    """Forecasts with gated recurrent units.

    {parameters}
    See Also
    --------
    LSTMForecaster : Another cell.
    """

    _regressor_class = GRURegressor
