"""RNNForecaster, LSTMForecaster, GRUForecaster: from a frame with dates to a frame with forecasts."""

from __future__ import annotations

import math
from collections.abc import Hashable
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import joblib
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, _fit_context, clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, InvalidParameterError, StrOptions
from sklearn.utils.validation import check_is_fitted

from ..estimators import GRURegressor, LSTMRegressor, RNNRegressor
from ..estimators.base import RecurrentEstimator
from ..estimators.jobs import effective_threads
from ..estimators.progress import progress
from . import frames, intervals
from .model import Model, Settings
from .output import POINT
from .panel import Panel, check_integer
from .parameters import documented
from .scaling import SCALES, Transform
from .splits import RollingOrigin
from .windows import WINDOW_SCALES

BATCH_SIZE = 64  # windows of a minibatch of the regressor that is built here
CHUNK = 128  # steps of a history between two updates

COUNT = Interval(Integral, 1, None, closed="left")


class _Forecaster(BaseEstimator):
    """Parameters, frames and intervals; what is learnt, and how, is in `model`."""

    _regressor_class: ClassVar[type[RecurrentEstimator]]
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "h": [COUNT],
        "lags": [COUNT, None],
        "regressor": [HasMethods(["fit", "predict"]), None],
        "strategy": [StrOptions({"direct", "recursive"})],
        "linear_skip": ["boolean"],
        "scaling": [StrOptions({*SCALES, *WINDOW_SCALES}), None],
        "scale_by": [StrOptions({"series", "window"})],
        "log1p": ["boolean"],
        "differences": ["array-like", COUNT, None],
        "multivariate": ["boolean"],
        "level": ["array-like", Interval(Real, 0, 100, closed="neither"), None],
        "intervals": [StrOptions({"quantile", "conformal"})],
        "calibration_windows": [Interval(Integral, 2, None, closed="left")],
        "loss": [StrOptions({"squared_error", "absolute_error", "huber"})],
        "hidden_size": [COUNT],
        "max_steps": [COUNT],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "missing": [StrOptions({"error", "interpolate", "mask"})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        h: int = 1,
        lags: int | None = None,
        *,
        regressor: Any = None,
        strategy: str = "direct",
        linear_skip: bool = True,
        scaling: str | None = "standard",
        scale_by: str = "series",
        log1p: bool = False,
        differences: Any = None,
        calendar: Any = None,
        futr_exog: Any = None,
        hist_exog: Any = None,
        stat_exog: Any = None,
        multivariate: bool = False,
        level: Any = None,
        intervals: str = "quantile",
        calibration_windows: int = 10,
        loss: str = "absolute_error",
        hidden_size: int = 32,
        max_steps: int = 1000,
        learning_rate_init: float = 2e-3,
        validation_fraction: float | None = None,
        freq: Any = None,
        missing: str = "error",
        id_col: Hashable = "unique_id",
        time_col: Hashable = "ds",
        target_col: Hashable = "y",
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.h = h
        self.lags = lags
        self.regressor = regressor
        self.strategy = strategy
        self.linear_skip = linear_skip
        self.scaling = scaling
        self.scale_by = scale_by
        self.log1p = log1p
        self.differences = differences
        self.calendar = calendar
        self.futr_exog = futr_exog
        self.hist_exog = hist_exog
        self.stat_exog = stat_exog
        self.multivariate = multivariate
        self.level = level
        self.intervals = intervals
        self.calibration_windows = calibration_windows
        self.loss = loss
        self.hidden_size = hidden_size
        self.max_steps = max_steps
        self.learning_rate_init = learning_rate_init
        self.validation_fraction = validation_fraction
        self.freq = freq
        self.missing = missing
        self.id_col = id_col
        self.time_col = time_col
        self.target_col = target_col
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    # --- what is asked for -----------------------------------------------------------------------------
    @property
    def _levels(self) -> list[float]:
        return [] if self.level is None else sorted({float(level) for level in np.atleast_1d(self.level)})

    @property
    def _by_window(self) -> bool:
        return self.scaling is not None and (self.scale_by == "window" or self.scaling == "last")

    @property
    def _heads(self) -> bool:
        """Whether the network has an output for each quantile."""
        return bool(self._levels) and self.intervals == "quantile"

    @property
    def _validation_fraction(self) -> float | None:
        """The share of windows to hold back, which may be what the user's own regressor asks for."""
        own = self.regressor
        if self.validation_fraction is None and isinstance(own, RecurrentEstimator) and own.early_stopping:
            return own.validation_fraction
        return self.validation_fraction

    def _check_parameters(self) -> None:
        self._validate_params()
        recurrent = self.regressor is None or isinstance(self.regressor, RecurrentEstimator)
        if any(not 0 < level < 100 for level in self._levels):
            raise InvalidParameterError(f"level must be in per cent, between 0 and 100, got {self.level!r}")
        if self.lags is None and self._by_window:
            raise InvalidParameterError(
                f"scaling={self.scaling!r} with scale_by={self.scale_by!r} is for windows: set lags"
            )
        if self.lags is None and not recurrent:
            raise InvalidParameterError(
                f"lags=None lets a network read whole histories, which {type(self.regressor).__name__} "
                "cannot: set lags"
            )
        if self.hist_exog is not None and self.strategy == "recursive" and self.h > 1:
            raise InvalidParameterError(
                'a recursive forecast reads steps of which hist_exog are not known: use strategy="direct"'
            )
        if self._heads and self.strategy == "recursive":
            raise InvalidParameterError(
                'quantiles of recursive forecasts are not those of the series: use intervals="conformal" or '
                'strategy="direct"'
            )
        if not recurrent and self.validation_fraction is not None:
            raise InvalidParameterError(
                f"{type(self.regressor).__name__} cannot stop early: leave validation_fraction=None"
            )
        if self.lags is None and self._validation_fraction is not None:
            raise InvalidParameterError(
                "windows are held back to stop early, of which whole histories have none: set lags, or "
                "neither validation_fraction nor early_stopping"
            )
        if self._heads and not recurrent:
            raise InvalidParameterError(
                f'{type(self.regressor).__name__} has no quantiles: use intervals="conformal"'
            )

    def _settings(self) -> Settings:
        differences = () if self.differences is None else tuple(np.atleast_1d(self.differences).tolist())
        calendar = [self.calendar] if isinstance(self.calendar, str) else self.calendar or ()
        return Settings(
            lags=self.lags,
            step=1 if self.strategy == "recursive" else self.h,
            transform=Transform(None if self._by_window else self.scaling, self.log1p, differences),
            window_scale=self.scaling if self._by_window else None,
            calendar=tuple(calendar),
            max_windows=None if self.regressor is not None else BATCH_SIZE * self.max_steps,
            validation_fraction=self._validation_fraction,
        )

    def _read(self, df: Any, static_df: pd.DataFrame | None) -> Panel:
        return frames.read_panel(
            df, freq=self.freq, missing=self.missing, id_col=self.id_col, time_col=self.time_col,
            target_col=self.target_col, futr_exog=self.futr_exog, hist_exog=self.hist_exog,
            stat_exog=self.stat_exog, static_df=static_df, multivariate=self.multivariate,
        )  # fmt: skip

    # --- training --------------------------------------------------------------------------------------
    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, df: Any, y: Any = None, *, static_df: pd.DataFrame | None = None) -> Self:
        """Learn the series of a frame.

        Parameters
        ----------
        df : Series or DataFrame
            - A Series or a wide frame, one column per series, with a sorted index of dates, periods or
              integers.
            - A long frame with the columns `id_col`, `time_col` and `target_col`, rows in any order.

            Covariates are further columns; those of a wide frame are shared by its series.
        y : ignored
        static_df : DataFrame, default=None
            One row per series with `id_col` and the columns of `stat_exog`, where they are not in `df`.

        Returns
        -------
        self : forecaster

        Raises
        ------
        ValueError
            For data that cannot be used, naming the series and the stamp: gaps, stamps twice or unsorted,
            NaN, series shorter than lags and horizon, a frequency that is missing or mixed. The forecaster
            is then what it was before.
        """
        self._check_parameters()
        panel = self._read(df, static_df)
        model, widths = self._train(panel)
        self.panel_, self.model_, self.widths_ = panel, model, widths
        self.regressor_ = model.regressor
        return self

    def _train(self, panel: Panel) -> tuple[Model, np.ndarray | None]:
        """A model of these histories, and the half widths of its conformal intervals."""
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        settings, widths = self._settings(), None
        if self._levels and self.intervals == "conformal":
            widths = self._calibrate(panel, settings, seed)
        return self._learn(panel, settings, seed), widths

    def _learn(self, panel: Panel, settings: Settings, seed: int) -> Model:
        if self.verbose:
            print(f"{type(self).__name__}: {panel}")
        model = Model(settings, panel, self._make_regressor(panel, settings))
        return model.learn(panel, np.random.RandomState(seed))

    def _make_regressor(self, panel: Panel, settings: Settings) -> Any:
        quantile = {"loss": "quantile", "quantiles": intervals.quantiles(self._levels)} if self._heads else {}
        if self.regressor is not None:
            return clone(self.regressor).set_params(**quantile)
        own: dict[str, Any]
        if settings.lags is None:
            own = {"tbptt_steps": CHUNK, "batch_size": min(BATCH_SIZE, len(panel.ids))}
        else:
            own = {"linear_skip": self.linear_skip, "batch_size": BATCH_SIZE}
        epochs = max(1, round(self.max_steps / self._steps_per_epoch(panel, settings, own["batch_size"])))
        if settings.validation_fraction is not None:
            own |= {"early_stopping": True, "n_iter_no_change": max(3, epochs // 5)}
        else:
            own |= {"n_iter_no_change": epochs}
        return self._regressor_class(
            self.hidden_size, max_iter=epochs, tol=0.0, learning_rate="cosine",
            learning_rate_init=self.learning_rate_init, random_state=self.random_state, n_jobs=self.n_jobs,
            verbose=self.verbose, **{"loss": self.loss} | own | quantile,
        )  # fmt: skip

    @staticmethod
    def _steps_per_epoch(panel: Panel, settings: Settings, batch_size: int) -> int:
        """Updates of the weights in one pass over the data."""
        if settings.lags is None:
            return math.ceil(len(panel.ids) / batch_size) * math.ceil(panel.lengths.max() / CHUNK)
        return math.ceil(min(settings.n_windows(panel), settings.max_windows or math.inf) / batch_size)

    def _calibrate(self, panel: Panel, settings: Settings, seed: int) -> np.ndarray:
        """Half widths (n_levels, h), from forecasts of the last windows by a model that has not seen them."""
        needed, shortest = settings.n_rows_needed, int(panel.lengths.argmin())
        n_windows = min(self.calibration_windows, int(panel.lengths[shortest] - needed) // self.h)
        if n_windows < 2:
            raise ValueError(
                f"{panel.name(shortest)} has {panel.lengths[shortest]} rows, but conformal intervals need at "
                f"least {needed + 2 * self.h}"
            )
        folds = list(RollingOrigin(n_windows, self.h, self.h).folds(panel))
        model = self._learn(folds[0].panel, settings, seed)
        errors = [
            np.abs(fold.y - model.forecast(fold.panel, fold.future, fold.stamps))
            / intervals.spread(fold.panel)[:, None]
            for fold in folds
        ]
        return intervals.conformal_widths(np.stack(errors), self._levels)

    # --- forecasts -------------------------------------------------------------------------------------
    def predict(
        self, df: Any = None, *, X_df: pd.DataFrame | None = None, static_df: pd.DataFrame | None = None
    ) -> Any:
        """Forecast the next `h` steps of every series.

        Parameters
        ----------
        df : Series or DataFrame, default=None
            Histories to forecast from instead of those of `fit`, in their form; the model stays as it is.
        X_df : DataFrame, default=None
            The columns of `futr_exog` for the steps to come; `make_future_dataframe` makes the rows.
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
            If `df` has series that were not in `fit`, or too few rows; if `X_df` does not cover the horizon.
        """
        check_is_fitted(self)
        panel = self.panel_ if df is None else frames.read_panel(df, like=self.panel_, static_df=static_df)
        futr = list(panel.form.futr_exog)
        if futr and X_df is None:
            raise ValueError(
                f"predict needs X_df with {', '.join(map(repr, futr))} for the next {self.h} steps; "
                "make_future_dataframe() makes its rows"
            )
        stamps = frames.futures(panel, self.h)
        future = (
            frames.read_future(X_df, panel, self.h, futr) if futr else np.empty((len(panel.ids), self.h, 0))
        )
        statistics = self._statistics(self.model_, self.widths_, panel, future, stamps)
        return frames.write_forecast(panel, stamps, statistics, type(self).__name__)

    def _statistics(
        self, model: Model, widths: np.ndarray | None, panel: Panel, future: np.ndarray, stamps: pd.Index
    ) -> dict[str, np.ndarray]:
        """Point forecast and bounds, each (n_series, h, n_targets)."""
        if self._heads:
            answers = model.forecast(panel, future, stamps, "predict_quantiles")
            return intervals.from_quantiles(answers, self._levels)
        point = model.forecast(panel, future, stamps)
        if widths is None:
            return {POINT: point}
        return intervals.from_widths(point, widths, intervals.spread(panel), self._levels)

    def make_future_dataframe(self) -> pd.DataFrame:
        """The rows for which `predict` needs covariates.

        Returns
        -------
        DataFrame
            With the id and time columns of a long frame, or with the index and no column.
        """
        check_is_fitted(self)
        return frames.future_frame(self.panel_, self.h)

    def update(self, df: Any, max_steps: int = 0) -> Self:
        """Append new rows to the histories.

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
            As of `fit`, and if a stamp is not after the end of its series.
        """
        check_is_fitted(self)
        panel = frames.extend(self.panel_, df)
        if max_steps:
            if not isinstance(self.regressor_, RecurrentEstimator):
                raise ValueError(f"{type(self.regressor_).__name__} cannot be trained further: fit anew")
            own = self.regressor_
            per_epoch = self._steps_per_epoch(panel, self.model_.settings, own.batch_size)
            before = own.get_params()
            own.set_params(warm_start=True, max_iter=max(1, round(max_steps / per_epoch)))
            try:
                self.model_.learn(panel, check_random_state(self.random_state))
            finally:
                own.set_params(warm_start=before["warm_start"], max_iter=before["max_iter"])
        self.panel_ = panel
        return self

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
    ) -> pd.DataFrame:
        """Forecast from several cutoffs, each time knowing only what was before it.

        Parameters
        ----------
        df : Series or DataFrame
            As in `fit`. The last window ends where each series ends.
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

        Returns
        -------
        DataFrame
            Forecasts with the true values and the cutoffs; `evaluate` makes errors of them. For a long frame
            with the columns ``cutoff``, the target and the statistics; for a Series the same, by stamp; for a
            wide frame with rows (cutoff, stamp) and columns (series, statistic).

        Notes
        -----
        This forecaster stays as it is. Fits of several cutoffs run in `n_jobs` threads.
        """
        if h is not None:
            return (
                clone(self)
                .set_params(h=h)
                .cross_validation(df, n_windows, step_size=step_size, refit=refit, static_df=static_df)
            )
        self._check_parameters()
        if not isinstance(refit, bool):
            check_integer("refit", refit)
        panel, settings = self._read(df, static_df), self._settings()
        origin = RollingOrigin(n_windows, self.h, self.h if step_size is None else step_size)
        folds = list(origin.folds(panel, settings.n_rows_needed))
        every = 1 if refit is True else n_windows if refit is False else refit

        def forecast(first: int) -> list[dict[str, np.ndarray]]:
            own = clone(self).set_params(n_jobs=1, verbose=False)
            model, widths = own._train(folds[first].panel)
            return [
                own._statistics(model, widths, fold.panel, fold.future, fold.stamps)
                for fold in folds[first : first + every]
            ]

        starts = range(0, n_windows, every)
        run = joblib.Parallel(effective_threads(self.n_jobs), backend="threading", return_as="generator")
        parts = run(joblib.delayed(forecast)(first) for first in starts)
        parts = progress(parts, self.verbose, type(self).__name__, len(starts), "cutoff")
        statistics = [each for part in parts for each in part]
        return frames.write_cross_validation(panel, folds, statistics, type(self).__name__)

    def score(self, df: Any, y: Any = None) -> float:
        """How well the rows that follow the histories are forecast, for a search with `RollingOrigin`.

        Parameters
        ----------
        df : Series or DataFrame
            The rows that follow, in the form of the data and with its covariates.
        y : ignored

        Returns
        -------
        float
            Minus the mean absolute error, that of each series in units of its mean absolute step.
        """
        check_is_fitted(self)
        panel = frames.extend(self.panel_, df)
        later = panel.lengths - self.panel_.lengths
        if (later < 1).any():
            raise ValueError(f"{panel.name(int(later.argmin()))} has no row to compare with")
        stops = panel.stops - later
        rows = np.minimum(stops[:, None] + np.arange(self.h), panel.stops[:, None] - 1)
        beyond = np.arange(self.h) >= later[:, None]
        if len(panel.form.futr_exog) and beyond.any():
            raise ValueError(
                f"{panel.name(int(later.argmin()))} has {later.min()} rows to compare with, but the "
                f"covariates of {self.h} are needed"
            )
        known = panel.until(stops)
        statistics = self._statistics(
            self.model_, self.widths_, known, panel.futr_exog[rows], frames.futures(known, self.h)
        )
        errors = np.abs(panel.values[rows] - statistics[POINT]) / intervals.spread(known)[:, None]
        return -float(errors[panel.observed[rows] & ~beyond[:, :, None]].mean())

    def plot(self, df: Any = None, forecast: Any = None, **kwargs: Any) -> Any:
        """Draw histories and forecasts, with a band for each level.

        Parameters
        ----------
        df : Series or DataFrame, default=None
            The histories; None: those of `fit` and `update`.
        forecast : Series or DataFrame, default=None
            As of `predict`; None: `predict` is asked.
        **kwargs
            For `skrnn.ForecastDisplay.from_frames`.

        Returns
        -------
        ForecastDisplay
            With matplotlib's `figure_` and `axes_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        raise NotImplementedError


@documented
class RNNForecaster(_Forecaster):
    """Forecasts with Elman's recurrent network.

    {parameters}
    See Also
    --------
    LSTMForecaster, GRUForecaster : Gated cells, which remember for longer.
    """

    _regressor_class = RNNRegressor


@documented
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


@documented
class GRUForecaster(_Forecaster):
    """Forecasts with gated recurrent units.

    {parameters}
    See Also
    --------
    LSTMForecaster : Another cell.
    """

    _regressor_class = GRURegressor
