"""RNNForecaster, LSTMForecaster, GRUForecaster: from a frame with dates to a frame with forecasts."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, ClassVar, Self

import joblib
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..estimators import GRURegressor, LSTMRegressor
from ..estimators.base import RecurrentEstimator
from ..estimators.jobs import effective_threads
from .frames import (
    Panel,
    extend,
    future_frame,
    futures,
    read_future,
    read_panel,
    write_cross_validation,
    write_forecast,
)
from .model import Model, Settings
from .output import POINT
from .scaling import Transform
from .splits import RollingOrigin

import os
BATCH = int(os.environ.get("BATCH", 64))  # windows of a minibatch, of the regressor that is built here


class _Forecaster(BaseEstimator):
    """Parameters, frames and intervals; the regressor and its data are in `model`."""

    _regressor_class: ClassVar[type[RecurrentEstimator]]

    def fit(self, df: Any, y: Any = None, *, static_df: pd.DataFrame | None = None) -> Self:
        panel = read_panel(
            df, freq=self.freq, missing=self.missing, id_col=self.id_col, time_col=self.time_col,
            target_col=self.target_col, futr_exog=self.futr_exog, hist_exog=self.hist_exog,
            stat_exog=self.stat_exog, static_df=static_df, multivariate=self.multivariate,
        )  # fmt: skip
        model, widths = self._train(panel)
        self.model_, self.panel_, self.widths_ = model, panel, widths
        self.regressor_ = model.regressor
        return self

    # --- training --------------------------------------------------------------------------------------
    def _settings(self) -> Settings:
        by_window = self.scaling is not None and (self.scale_by == "window" or self.scaling == "last")
        return Settings(
            lags=self.lags,
            step=1 if self.strategy == "recursive" else self.h,
            transform=Transform(
                None if by_window else self.scaling, self.log1p, tuple(np.atleast_1d(self.differences or ()))
            ),
            window_scale=self.scaling if by_window else None,
            calendar=tuple([self.calendar] if isinstance(self.calendar, str) else self.calendar or ()),
            max_windows=None if self.regressor is not None else BATCH * self.max_steps,
            validation_fraction=self.validation_fraction,
        )

    def _quantiles(self) -> list[float]:
        sides = [side for level in self._levels() for side in (50 - level / 2, 50 + level / 2)]
        return sorted({0.5, *(round(side / 100, 10) for side in sides)})

    def _levels(self) -> list[float]:
        return [] if self.level is None else sorted(set(np.atleast_1d(self.level).tolist()))

    def _make_regressor(self, panel: Panel) -> Any:
        heads = bool(self._levels()) and self.intervals == "quantile"
        if self.regressor is not None:
            regressor = clone(self.regressor)
            if heads:
                regressor.set_params(loss="quantile", quantiles=self._quantiles())
            return regressor
        s = self._settings()
        parameters: dict[str, Any] = {"linear_skip": self.linear_skip and self.lags is not None}
        if heads:
            parameters |= {"loss": "quantile", "quantiles": self._quantiles()}
        if self.lags is None:
            per_epoch = math.ceil(len(panel.ids) / 32) * math.ceil(int(panel.lengths.max()) / 128)
            parameters |= {"batch_size": 32, "tbptt_steps": 128}
        else:
            windows = int(np.maximum(panel.lengths - s.transform.n_lost - self.lags - s.step + 1, 0).sum())
            per_epoch = math.ceil(min(windows, s.max_windows or windows) / BATCH)
            parameters |= {"batch_size": BATCH}
        if os.environ.get("LOSS") and not heads: parameters["loss"]=os.environ["LOSS"]
        epochs = max(1, round(self.max_steps / max(1, per_epoch)))
        if self.validation_fraction is not None:
            parameters |= {"early_stopping": True, "n_iter_no_change": max(3, epochs // 5)}
        else:
            parameters |= {"n_iter_no_change": epochs}
        return self._regressor_class(
            self.hidden_size, learning_rate="cosine", learning_rate_init=self.learning_rate_init,
            max_iter=epochs, tol=0.0, random_state=self.random_state, n_jobs=self.n_jobs, verbose=self.verbose,
            **parameters,
        )  # fmt: skip

    def _train(self, panel: Panel) -> tuple[Model, np.ndarray | None]:
        """A model of these histories, and the widths of its conformal intervals."""
        rng = np.random.RandomState(check_random_state(self.random_state).randint(2**31 - 1))
        settings = self._settings()
        widths = None
        if self._levels() and self.intervals == "conformal":
            widths = self._calibrate(panel, settings, rng)
        return Model(settings, panel, self._make_regressor(panel), rng), widths

    def _calibrate(self, panel: Panel, settings: Settings, rng: np.random.RandomState) -> np.ndarray:
        """(n_levels, h, 1): widths of the intervals, in units of `_spread`, from windows held back."""
        needed = settings.transform.n_lost + (settings.lags or 1) + settings.step + 1
        room = int(panel.lengths.min() - needed)
        n_windows = min(self.calibration_windows, room // self.h)
        if n_windows < 2:
            i = int(panel.lengths.argmin())
            raise ValueError(
                f"{panel.name(i)} has {panel.lengths[i]} rows; conformal intervals need at least "
                f"{needed + 2 * self.h}"
            )
        folds = list(RollingOrigin(n_windows, self.h, self.h).folds(panel))
        model = Model(settings, folds[0].panel, self._make_regressor(folds[0].panel), rng)
        scores = []
        for fold in folds:
            future = fold.exog[:, :, len(panel.form.hist_exog) :]
            error = np.abs(fold.y - model.forecast(fold.panel, future, fold.stamps))
            scores.append(error / self._spread(model, fold.panel)[:, None])
        every = np.stack(scores).swapaxes(0, 2).reshape(self.h, -1)  # (h, windows, series and targets)
        size = np.nanmean(every, axis=1)  # of an error, by step; what is left is pooled over the steps
        size = np.where(size > 0, size, 1.0)
        relative = np.sort((every / size[:, None])[~np.isnan(every)])
        n = len(relative)
        ranks = [min(n, math.ceil((n + 1) * level / 100)) for level in self._levels()]
        return relative[np.array(ranks) - 1, None] * size

    @staticmethod
    def _spread(model: Model, panel: Panel) -> np.ndarray:
        """(n_series, n_targets): the size of a step of each series."""
        spread = np.ones((len(panel.ids), panel.values.shape[1]))
        for i, (start, stop) in enumerate(zip(panel.starts[:-1], panel.stops)):
            size = np.abs(np.diff(panel.values[start:stop], axis=0)).mean(axis=0) if stop - start > 1 else 0
            spread[i] = np.where(size > 0, size, 1.0)
        return spread

    # --- forecasts -------------------------------------------------------------------------------------
    def predict(self, df: Any = None, *, X_df: pd.DataFrame | None = None, static_df: Any = None) -> Any:
        check_is_fitted(self)
        panel = self.panel_ if df is None else read_panel(df, like=self.panel_, static_df=static_df)
        futr = list(panel.form.futr_exog)
        if futr and X_df is None:
            raise ValueError(
                f"predict needs X_df with {', '.join(map(repr, futr))} for the next {self.h} steps; "
                "make_future_dataframe() makes its rows"
            )
        future = np.zeros((len(panel.ids), self.h, 0)) if not futr else read_future(X_df, panel, self.h, futr)
        stamps = futures(panel, self.h)
        statistics = self._statistics(self.model_, self.widths_, panel, future, stamps)
        return write_forecast(panel, stamps, statistics, self._name)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _statistics(
        self, model: Model, widths: np.ndarray | None, panel: Panel, future: np.ndarray, stamps: pd.Index
    ) -> dict[str, np.ndarray]:
        levels = self._levels()
        if not levels:
            return {POINT: model.forecast(panel, future, stamps)}
        if widths is None:
            quantiles, every = self._quantiles(), model.forecast(panel, future, stamps, "predict_quantiles")

            def at(share: float) -> np.ndarray:
                return every[..., quantiles.index(round(share / 100, 10))]

            statistics = {POINT: at(50)}
            for level in levels:
                statistics |= {f"lo-{level:g}": at(50 - level / 2), f"hi-{level:g}": at(50 + level / 2)}
            return statistics
        point = model.forecast(panel, future, stamps)
        statistics, spread = {POINT: point}, self._spread(model, panel)[:, None]
        for level, width in zip(levels, widths):
            half = width[:, None] * spread
            statistics |= {f"lo-{level:g}": point - half, f"hi-{level:g}": point + half}
        return statistics

    def make_future_dataframe(self) -> pd.DataFrame:
        check_is_fitted(self)
        return future_frame(self.panel_, self.h)

    def update(self, df: Any) -> Self:
        check_is_fitted(self)
        self.panel_ = extend(self.panel_, df)
        return self

    def cross_validation(
        self,
        df: Any,
        n_windows: int = 5,
        step_size: int | None = None,
        *,
        refit: bool | int = True,
        static_df: pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        panel = read_panel(
            df, freq=self.freq, missing=self.missing, id_col=self.id_col, time_col=self.time_col,
            target_col=self.target_col, futr_exog=self.futr_exog, hist_exog=self.hist_exog,
            stat_exog=self.stat_exog, static_df=static_df, multivariate=self.multivariate,
        )  # fmt: skip
        settings = self._settings()
        least = settings.transform.n_lost + (settings.lags or 1) + settings.step
        folds = list(RollingOrigin(n_windows, self.h, step_size or self.h).folds(panel, least))
        every = n_windows if refit is False else 1 if refit is True else refit

        def run(first: int) -> list[dict[str, np.ndarray]]:
            own = clone(self).set_params(n_jobs=1)
            model, widths = own._train(folds[first].panel)
            answers = []
            for fold in folds[first : first + every]:
                future = fold.exog[:, :, len(panel.form.hist_exog) :]
                answers.append(own._statistics(model, widths, fold.panel, future, fold.stamps))
            return answers

        workers = effective_threads(self.n_jobs)
        parts = joblib.Parallel(n_jobs=workers, backend="threading")(
            joblib.delayed(run)(first) for first in range(0, n_windows, every)
        )
        return write_cross_validation(panel, folds, [each for part in parts for each in part], self._name)


def _init(self):
    pass


class LSTMForecaster(_Forecaster):
    _regressor_class = LSTMRegressor

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
        hidden_size: int = 32,
        max_steps: int = 1000,
        learning_rate_init: float = 2e-3,
        validation_fraction: float | None = None,
        freq: Any = None,
        missing: str = "error",
        id_col: Hashable = "unique_id",
        time_col: Hashable = "ds",
        target_col: Hashable = "y",
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: bool = False,
    ) -> None:
        for name, value in list(locals().items()):
            if name not in ("self", "__class__"):
                setattr(self, name, value)


class GRUForecaster(LSTMForecaster):
    _regressor_class = GRURegressor

    __init__ = LSTMForecaster.__init__
