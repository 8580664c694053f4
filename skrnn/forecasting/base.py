"""What is asked of a forecaster, and how one is trained."""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import InvalidParameterError

from ..estimators.base import RecurrentEstimator
from ..estimators.encoder_decoder import EncoderDecoder
from ..estimators.parameters import as_python
from ..estimators.versions import Versioned
from . import frames, intervals
from .model import Model, Task
from .output import POINT, is_bound
from .panel import Panel
from .parameters import ATTRIBUTES, ForecasterParameters
from .scaling import Transform
from .splits import RollingOrigin
from .storage import from_plain, to_plain

# A minibatch of the regressor that is built here is a sixteenth of the windows within these bounds, and by
# default it takes that many updates and passes at most: what is read too often is learnt with its noise.
LEAST_BATCH_SIZE, BATCH_SIZE = 8, 64
MAX_STEPS, MAX_PASSES = 1000, 30
CHUNK = 128  # steps of a history between two updates


class BaseForecaster(Versioned, BaseEstimator, ForecasterParameters):
    """Parameters and training; what is learnt is in `model`, the public methods are in `forecasters`."""

    _regressor_class: ClassVar[type[RecurrentEstimator]]
    _attributes = ATTRIBUTES

    # --- what is stored --------------------------------------------------------------------------------
    def __getstate__(self) -> dict[str, Any]:
        return {name: to_plain(value) for name, value in super().__getstate__().items()}

    def _read_state(self, state: dict[str, Any]) -> dict[str, Any]:
        return {name: from_plain(value) for name, value in state.items()}

    # --- what is asked for -----------------------------------------------------------------------------
    @property
    def _levels(self) -> list[float]:
        return [] if self.level is None else sorted({float(level) for level in np.atleast_1d(self.level)})

    @property
    def _name(self) -> str:
        """Of the model, in answers."""
        return type(self).__name__ if self.alias is None else self.alias

    @property
    def _by_window(self) -> bool:
        return self.scaling is not None and (self.scale_by == "window" or self.scaling == "last")

    @property
    def _pairs(self) -> bool:
        return self.strategy == "encoder_decoder"

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

    @property
    def _max_steps(self) -> int:
        return MAX_STEPS if self.max_steps is None else as_python(self.max_steps)

    def _check_parameters(self) -> None:
        self._validate_params()
        recurrent = self.regressor is None or isinstance(self.regressor, RecurrentEstimator)
        if self.regressor is not None and is_classifier(self.regressor):
            raise InvalidParameterError(f"regressor is {type(self.regressor).__name__}, a classifier")
        try:
            known = all(1 <= level < 100 for level in self._levels)
        except (TypeError, ValueError):
            known = False
        if not known:
            raise InvalidParameterError(f"level must be in per cent, from 1 to below 100, got {self.level!r}")
        if is_bound(self._name):
            raise InvalidParameterError(f"alias={self.alias!r} is what a bound would be called")
        if self.lags is None and self._by_window:
            raise InvalidParameterError(
                f"scaling={self.scaling!r} with scale_by={self.scale_by!r} is for windows: set lags"
            )
        if self.lags is None and not recurrent:
            raise InvalidParameterError(
                f"lags=None lets a network read whole histories, which {type(self.regressor).__name__} "
                "cannot: set lags"
            )
        if self._pairs:
            self._check_regressor_of_pairs()
        elif self.autoregressive:
            raise InvalidParameterError(
                f'autoregressive=True is of strategy="encoder_decoder", not {self.strategy!r}'
            )
        if self.lags is None and not self._pairs and getattr(self.regressor, "bidirectional", False):
            raise InvalidParameterError(
                "a bidirectional network reads the steps of a history that it is to forecast: set lags"
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

    def _check_regressor_of_pairs(self) -> None:
        """Raise an error where a regressor's parameters are not those of an encoder and a decoder."""
        own, what = self.regressor, 'strategy="encoder_decoder"'
        if own is None:
            return
        if not isinstance(own, RecurrentEstimator):
            raise InvalidParameterError(
                f"{what} takes the cell and the parameters of an RNNRegressor, LSTMRegressor or "
                f"GRURegressor, which {type(own).__name__} has not: leave regressor=None"
            )
        for name, needed, why in (
            ("pooling", "last", "a decoder begins in the last states of the encoder"),
            ("tbptt_steps", None, "a decoder looks back at a whole history"),
            ("embedding_size", None, "histories are numbers"),
        ):
            if getattr(own, name) != needed:
                raise InvalidParameterError(
                    f"{what} cannot be combined with {name}={getattr(own, name)!r} of the regressor: {why}"
                )
        if own.bidirectional and own.hidden_size % 2:
            raise InvalidParameterError(
                f"half of the encoder's hidden_size={own.hidden_size} units read backwards: make it even, or "
                "set bidirectional=False"
            )

    def _task(self) -> Task:
        differences = () if self.differences is None else tuple(np.atleast_1d(self.differences).tolist())
        calendar = () if self.calendar is None else np.atleast_1d(self.calendar).tolist()
        # Single precision does not tell the steps of a series from a far higher level, so the series' own
        # shift comes off first: a window's scale is the same after it.
        scale = None if self._by_window and self.scaling in ("mean", "last") else self.scaling
        return Task(
            h=as_python(self.h),
            lags=as_python(self.lags),
            step=1 if self.strategy == "recursive" else as_python(self.h),
            levels=tuple(self._levels),
            heads=self._heads,
            transform=Transform(scale, self.log1p, differences),
            window_scale=self.scaling if self._by_window else None,
            calendar=tuple(calendar),
            max_windows=None if self.regressor is not None else BATCH_SIZE * self._max_steps,
            validation_fraction=as_python(self._validation_fraction),
            pairs=self._pairs,
            autoregressive=self._pairs and bool(self.autoregressive),
        )

    def _read(self, df: Any, static_df: pd.DataFrame | None) -> Panel:
        return frames.read_panel(
            df, freq=self.freq, missing=self.missing, id_col=self.id_col, time_col=self.time_col,
            target_col=self.target_col, futr_exog=self.futr_exog, hist_exog=self.hist_exog,
            stat_exog=self.stat_exog, static_df=static_df, multivariate=self.multivariate,
        )  # fmt: skip

    # --- training --------------------------------------------------------------------------------------
    def _train(self, panel: Panel) -> tuple[Model, np.ndarray | None]:
        """A model of these histories, and the half widths of its conformal intervals."""
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        task, widths = self._task(), None
        if self._levels and self.intervals == "conformal":
            widths = self._calibrate(panel, task, seed)
        return self._learn(panel, task, seed), widths

    def _learn(self, panel: Panel, task: Task, seed: int) -> Model:
        if self.verbose:
            print(f"{type(self).__name__}: {panel}")
        model = Model(task, panel, self._make_regressor(panel, task))
        return model.learn(panel, np.random.RandomState(seed))

    def _make_regressor(self, panel: Panel, task: Task) -> Any:
        quantile = {"loss": "quantile", "quantiles": intervals.quantiles(self._levels)} if self._heads else {}
        if self.regressor is not None:
            given = clone(self.regressor)
            given = EncoderDecoder.like(given) if task.pairs else given
            given.set_params(**quantile)
            seeds = [
                name
                for name, value in given.get_params().items()
                if re.search(r"(^|_)random_state$", name) and value is None
            ]
            return given.set_params(**dict.fromkeys(seeds, self.random_state))
        own: dict[str, Any]
        if task.streams:
            own = {"tbptt_steps": CHUNK, "batch_size": min(BATCH_SIZE, len(panel.ids))}
        else:
            batch_size = min(BATCH_SIZE, max(LEAST_BATCH_SIZE, task.n_windows(panel) // 16))
            own = {"linear_skip": self.linear_skip, "batch_size": batch_size}
        epochs = self._epochs(self._max_steps, panel, task, own["batch_size"])
        if self.max_steps is None and not task.streams:
            epochs = min(epochs, MAX_PASSES)
        if task.validation_fraction is not None:
            own |= {"early_stopping": True, "n_iter_no_change": max(3, epochs // 5)}
        else:
            own |= {"n_iter_no_change": epochs}
        regressor = self._regressor_class(
            self.hidden_size, max_iter=epochs, tol=0.0, learning_rate="cosine",
            learning_rate_init=self.learning_rate_init, random_state=self.random_state, device=self.device,
            n_jobs=self.n_jobs, verbose=self.verbose, **{"loss": self.loss} | own | quantile,
        )  # fmt: skip
        return EncoderDecoder.like(regressor) if task.pairs else regressor

    @staticmethod
    def _epochs(max_steps: int, panel: Panel, task: Task, batch_size: int) -> int:
        """Passes over the data with about as many updates of the weights."""
        if task.streams:
            per_epoch = math.ceil(len(panel.ids) / batch_size) * math.ceil(panel.lengths.max() / CHUNK)
        else:
            n_windows = min(task.n_windows(panel), task.max_windows or math.inf)
            per_epoch = max(1, math.ceil(n_windows / batch_size))  # if there are none, `learn` says so
        return max(1, round(max_steps / per_epoch))

    def _calibrate(self, panel: Panel, task: Task, seed: int) -> np.ndarray:
        """Half widths (n_levels, h), from forecasts of the last windows by a model that has not seen them."""
        needed, shortest = task.n_rows_needed, int(panel.lengths.argmin())
        h, most = task.h, as_python(self.calibration_windows)
        # Half of what can be spared is left to learn from; where the rest is short, windows overlap.
        span = min(most * h, int(panel.lengths[shortest] - needed) // 2)
        if span <= h:
            raise ValueError(
                f"{panel.name(shortest)} has {panel.lengths[shortest]} rows, but conformal intervals need at "
                f"least {needed + 2 * (h + 1)}; or use intervals='quantile'"
            )
        step_size = min(h, max(1, (span - h) // (most - 1)))
        n_windows = min(most, (span - h) // step_size + 1)
        folds = list(RollingOrigin(n_windows, h, step_size).folds(panel))
        model = self._learn(folds[0].panel, task, seed)
        errors = [
            np.abs(fold.y - model.forecast(fold.panel, fold.future, fold.stamps))
            / intervals.spread(fold.panel)[:, None]
            for fold in folds
        ]
        return intervals.conformal_widths(np.stack(errors), self._levels)

    @staticmethod
    def _statistics(
        model: Model, widths: np.ndarray | None, panel: Panel, future: np.ndarray, stamps: pd.Index
    ) -> dict[str, np.ndarray]:
        """Point forecast and bounds, each (n_series, h, n_targets)."""
        levels = model.task.levels
        if model.task.heads:
            answers = model.forecast(panel, future, stamps, "predict_quantiles")
            return intervals.from_quantiles(answers, levels)
        point = model.forecast(panel, future, stamps)
        if widths is None:
            return {POINT: point}
        return intervals.from_widths(point, widths, intervals.spread(panel), levels)
