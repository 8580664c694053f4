"""How a forecaster is trained."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..estimators.base import RecurrentEstimator
from ..estimators.encoder_decoder import EncoderDecoder
from ..estimators.fitting import BATCH_SIZE as DEFAULT_BATCH_SIZE
from ..estimators.parameters import as_python
from ..estimators.versions import Versioned
from . import automatic, frames, intervals
from .asked import COUNTS, Asked
from .automatic import View
from .ensemble import Ensemble
from .intervals import Widths
from .model import Model, Task
from .output import POINT
from .panel import Panel, check_integer
from .parameters import ATTRIBUTES
from .scaling import Transform
from .short_series import to_learn, to_read, usual, warn_of_short
from .splits import RollingOrigin
from .storage import from_plain, to_plain
from .trial import Trial

# A minibatch of the regressor that is built here is a sixteenth of the windows within these bounds, and by
# default it takes that many updates and passes at most: what is read too often is learnt with its noise.
LEAST_BATCH_SIZE, BATCH_SIZE = 8, 64
MAX_STEPS, MAX_PASSES = 1000, 30
FEW_STEPS = 100
CHUNK = 128  # steps of a history between two updates


class BaseForecaster(Versioned, Asked):
    """Training; what is learnt is in `model`, the public methods are in `forecasters`."""

    _regressor_class: ClassVar[type[RecurrentEstimator]]
    _attributes = ATTRIBUTES

    # --- what is stored --------------------------------------------------------------------------------
    def __getstate__(self) -> dict[str, Any]:
        return {name: to_plain(value) for name, value in super().__getstate__().items()}

    def _read_state(self, state: dict[str, Any]) -> dict[str, Any]:
        read = {name: from_plain(value) for name, value in state.items()}
        if isinstance(read.get("model_"), Model):  # of a version before ensembles
            read["model_"] = Ensemble([read["model_"]], np.array([-np.inf]))
        if isinstance(read.get("widths_"), np.ndarray):  # of a version in which series had no sizes
            panel, widths = read["panel_"], read["widths_"]
            ratios = widths.max(axis=1) / (widths[0].max() or 1)
            units = intervals.spread(panel)
            sizes = ratios[:, None, None] * np.ones_like(units)
            read["widths_"] = Widths(panel.ids, widths[0], sizes, units)
        return read

    @property
    def _max_steps(self) -> int:
        return MAX_STEPS if self.max_steps is None else as_python(self.max_steps)

    def _task(self, view: View, heads: bool = False) -> Task:
        calendar = () if self.calendar is None else np.atleast_1d(self.calendar).tolist()
        by_window = self._scaling is not None and view.scale_by == "window"
        # Single precision does not tell the steps of a series from a far higher level, so the series' own
        # shift comes off first: a window's scale is the same after it.
        scale = None if by_window and self._scaling in ("mean", "last") else self._scaling
        return Task(
            h=as_python(self.h),
            lags=automatic.longest(view.lags),
            picked=view.lags if isinstance(view.lags, tuple) else None,
            step=view.step,
            levels=tuple(self._levels),
            heads=heads,
            transform=Transform(scale, view.log1p, view.differences, clipped=self.log1p == "auto"),
            window_scale=self._scaling if by_window else None,
            calendar=tuple(calendar),
            max_windows=None if self.regressor is not None else BATCH_SIZE * self._max_steps,
            validation_fraction=as_python(self._validation_fraction),
            pairs=self._pairs,
            autoregressive=self._pairs and bool(self.autoregressive),
            ridge=view.ridge if self._begins_at_ridge else None,
            short_series=self.short_series,
        )

    @property
    def _begins_at_ridge(self) -> bool:
        own = self.regressor is None and self.linear_skip and self.loss != COUNTS
        return own and self.lags is not None and not self._pairs

    def _views(self, panel: Panel) -> list[View]:
        """What the networks are to see, the best view first."""
        given, only = self._given, self._given.view
        if only is not None and not self._begins_at_ridge:
            return [only] * (1 if self.n_networks == "auto" else as_python(self.n_networks))
        squared = self._loss(panel) == "squared_error"
        found = [only] if only is not None else automatic.views(panel, as_python(self.h), given, mean=squared)

        def direct(view: View) -> Task:
            step, task = view.step if given.fewer else as_python(self.h), self._task(view)
            return replace(task, step=step, pairs=False, autoregressive=False, validation_fraction=None)

        if given.lags is None:  # of a network that reads whole histories
            return [only or found[0]]
        found = automatic.judged(panel, found, as_python(self.h), direct, squared)
        n = as_python(self.n_networks)
        if n == "auto":
            n = 1 if self.regressor is not None or self._pairs else None
        return automatic.chosen(found, n)

    @property
    def _n_rows_needed(self) -> int:
        """Rows of a series of which something can be learnt, whatever "auto" comes to."""
        given = self._given
        lags = 1 if given.lags == "auto" else automatic.longest(given.lags) or 1
        lost = 0 if given.differences == automatic.AUTO else sum(given.differences)
        return lost + lags + (1 if self.strategy == "recursive" else as_python(self.h))

    @property
    def _n_rows_of_fold(self) -> tuple[int, int | None]:
        """Of which one series, or all; and with how many a series takes part, if others need not."""
        needed, step = self._n_rows_needed, 1 if self.strategy == "recursive" else as_python(self.h)
        return {"raise": (needed, None), "drop": (needed, needed - step), "pad": (1, 1)}[self.short_series]

    def _read(self, df: Any, static_df: pd.DataFrame | None) -> Panel:
        panel = frames.read_panel(
            df, freq=self.freq, missing=self.missing, id_col=self.id_col, time_col=self.time_col,
            target_col=self.target_col, futr_exog=self.futr_exog, hist_exog=self.hist_exog,
            stat_exog=self.stat_exog, static_df=static_df, multivariate=self.multivariate,
        )  # fmt: skip
        return self._check_counts(panel)

    # --- training --------------------------------------------------------------------------------------
    def _train(self, panel: Panel) -> tuple[Ensemble, Widths | None]:
        """Models of these histories, and the half widths of their conformal intervals."""
        seed, widths = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max)), None
        heads = self._heads
        held_back = usual(panel, self._n_rows_to_calibrate, self.short_series)
        if self._levels and self.intervals == "auto":
            heads = self._may_have_heads and self._calibration(held_back) is None
        if self._levels and not heads:
            widths = self._calibrate(held_back, seed)
        return self._learn(panel, seed, heads), widths

    def _learn(self, panel: Panel, seed: int, heads: bool = False) -> Ensemble:
        if self.verbose:
            print(f"{type(self).__name__}: {panel}")
        typical = usual(panel, self._n_rows_needed, self.short_series)
        models, chosen = [], self._views(typical)
        if self.verbose and self._given.view is None:
            print("\n".join(map(str, chosen)))
        steps = self._steps(typical, chosen[0])
        tasks = [self._task(view, heads) for view in chosen]
        panel = to_learn(panel, max(task.n_rows_needed for task in tasks), self.short_series)
        for k, task in enumerate(tasks):
            own = self.random_state if k == 0 else (seed + k) % np.iinfo(np.int32).max
            models.append(Model(task, panel, self._make_regressor(panel, task, own, steps)))
        return Ensemble(models, self._least(panel)).learn(panel, np.random.RandomState(seed))

    def _steps(self, panel: Panel, view: View) -> int:
        """Updates of the weights: where noise is all there is to learn, few are better."""
        task, h = self._task(view), as_python(self.h)
        if self.max_steps is not None or not self._begins_at_ridge or task.validation_fraction is not None:
            return self._max_steps
        trial = Trial.of(panel, view.n_rows + view.step, h)
        if trial is None:
            return FEW_STEPS
        errors, squared = [], self._loss(panel) == "squared_error"
        for steps in (MAX_STEPS, FEW_STEPS):
            model = Model(task, trial.known, self._make_regressor(trial.known, task, 0, steps))
            errors.append(float(trial.error(model.learn(trial.known, np.random.RandomState(0)), squared)[0]))
        return FEW_STEPS if errors[1] < errors[0] else MAX_STEPS

    def _least(self, panel: Panel) -> np.ndarray:
        """What forecasts of each target are not below."""
        n_targets = panel.values.shape[1]
        if self.non_negative == "auto":
            return np.where(automatic.never_negative(panel), 0.0, -np.inf)
        return np.full(n_targets, 0.0 if self.non_negative else -np.inf)

    def _make_regressor(self, panel: Panel, task: Task, random_state: Any, steps: int) -> Any:
        quantile = {"loss": "quantile", "quantiles": intervals.quantiles(self._levels)} if task.heads else {}
        if self.regressor is not None:
            given = clone(self.regressor)
            given = EncoderDecoder.like(given) if task.pairs else given
            given.set_params(**quantile)
            seeds = [
                name
                for name, value in given.get_params().items()
                if re.search(r"(^|_)random_state$", name) and value is None
            ]
            return given.set_params(**dict.fromkeys(seeds, random_state))
        own: dict[str, Any]
        if task.streams:
            own = {"tbptt_steps": CHUNK, "batch_size": min(BATCH_SIZE, len(panel.ids))}
        else:
            batch_size = min(BATCH_SIZE, max(LEAST_BATCH_SIZE, task.n_windows(panel) // 16))
            own = {"linear_skip": self.linear_skip, "batch_size": batch_size}
        epochs = self._epochs(steps, panel, task, own["batch_size"])
        if self.max_steps is None and not task.streams:
            epochs = min(epochs, MAX_PASSES * steps // MAX_STEPS)
        if task.validation_fraction is not None:
            own |= {"early_stopping": True, "n_iter_no_change": max(3, epochs // 5)}
        else:
            own |= {"n_iter_no_change": epochs}
        regressor = self._regressor_class(
            self.hidden_size, max_iter=epochs, tol=0.0, learning_rate="cosine",
            learning_rate_init=self.learning_rate_init, random_state=random_state, device=self.device,
            n_jobs=self.n_jobs, verbose=self.verbose, **{"loss": self._loss(panel)} | own | quantile,
        )  # fmt: skip
        return EncoderDecoder.like(regressor) if task.pairs else regressor

    def _train_further(self, model: Model, panel: Panel, max_steps: int) -> None:
        own, before = model.regressor, model.regressor.get_params()
        batch_size = DEFAULT_BATCH_SIZE if own.batch_size == "auto" else own.batch_size
        epochs = self._epochs(max_steps, panel, model.task, batch_size)
        patience = own.n_iter_no_change if own.early_stopping else epochs
        changed = {"warm_start": True, "max_iter": epochs, "n_iter_no_change": patience}
        own.set_params(**changed)
        model.learn(panel, check_random_state(self.random_state))
        own.set_params(**{name: before[name] for name in changed})

    @staticmethod
    def _epochs(max_steps: int, panel: Panel, task: Task, batch_size: int) -> int:
        """Passes over the data with about as many updates of the weights."""
        if task.streams:
            per_epoch = math.ceil(len(panel.ids) / batch_size) * math.ceil(panel.lengths.max() / CHUNK)
        else:
            n_windows = min(task.n_windows(panel), task.max_windows or math.inf)
            per_epoch = max(1, math.ceil(n_windows / batch_size))  # if there are none, `learn` says so
        return max(1, round(max_steps / per_epoch))

    def _loss(self, panel: Panel) -> str:
        """Of where the median says little, such as demand that is mostly nothing, the mean is forecast."""
        if self.loss != "auto":
            return self.loss
        return "squared_error" if automatic.intermittent(panel) else "absolute_error"

    def _check_counts(self, panel: Panel) -> Panel:
        """A panel that has none that are negative, where counts are forecast."""
        if self.loss == COUNTS:
            for i, target in np.argwhere(automatic.ever_negative(panel)):
                name = panel.name(int(i), int(target))
                raise ValueError(f'loss="poisson" needs values from 0 on, and {name} is negative')
        return panel

    @property
    def _n_rows_to_calibrate(self) -> int:
        """Rows of a series that leave room for two windows."""
        return self._n_rows_needed + 2 * (as_python(self.h) + 1)

    def _calibration(self, panel: Panel) -> tuple[int, int] | None:
        """How many windows to calibrate with and how far apart, or None where there is room for none."""
        h, most = as_python(self.h), as_python(self.calibration_windows)
        if most == "auto":
            most = intervals.n_windows(self._levels)
        # Half of what can be spared is left to learn from; where the rest is short, windows overlap.
        span = min(most * h, int(panel.lengths.min() - self._n_rows_needed) // 2)
        if span <= h:
            return None
        step_size = min(h, max(1, (span - h) // (most - 1)))
        return min(most, (span - h) // step_size + 1), step_size

    def _calibrate(self, panel: Panel, seed: int) -> Widths:
        """Half widths, from forecasts of the last windows by a model that has not seen them."""
        found, h = self._calibration(panel), as_python(self.h)
        if found is None:
            shortest = int(panel.lengths.argmin())
            hint = "; or use intervals='quantile'" if self._may_have_heads else ""
            raise ValueError(
                f"{panel.name(shortest)} has {panel.lengths[shortest]} rows, but conformal intervals need at "
                f"least {self._n_rows_to_calibrate}{hint}"
            )
        n_windows, step_size = found
        folds = list(RollingOrigin(n_windows, h, step_size).folds(panel))
        model = self._learn(folds[0].panel, seed)
        errors = [
            np.abs(fold.y - self._point(model, fold.panel, fold.future, fold.stamps))
            / intervals.spread(fold.panel)[:, None]
            for fold in folds
        ]
        by_step, sizes = intervals.conformal_widths(np.stack(errors), self._levels)
        return intervals.Widths(panel.ids, by_step, sizes, intervals.spread(panel))

    # --- forecasts -------------------------------------------------------------------------------------
    @property
    def _own_histories(self) -> Panel:
        check_is_fitted(self)
        if not len(self.panel_.stamps):
            raise ValueError("its histories were left out of this forecaster (without_histories)")
        return self.panel_

    def _histories(self, df: Any, static_df: pd.DataFrame | None = None) -> Panel:
        """Of the series that can be forecast; a warning counts others, if they are left out."""
        check_is_fitted(self)
        if df is None:
            panel = self._own_histories
        else:
            panel = self._check_counts(frames.read_panel(df, like=self.panel_, static_df=static_df))
        known, n = self._readable(panel), self.model_.n_rows_to_read
        if known is not panel:
            warn_of_short(panel, panel.lengths < n, f"with fewer than {n} rows, and not forecast")
        return known

    def _readable(self, panel: Panel) -> Panel:
        return to_read(panel, self.model_.n_rows_to_read, self.model_.task.short_series)

    def _steps_ahead(self, h: int | None) -> tuple[int, int]:
        """How many are asked for, and how many there are in whole horizons."""
        horizon = self.model_.task.h
        h = horizon if h is None else check_integer("h", h)
        return h, math.ceil(h / horizon) * horizon

    def _statistics(
        self, model: Ensemble, widths: Widths | None, panel: Panel, future: np.ndarray, stamps: pd.Index
    ) -> dict[str, np.ndarray]:
        """Point forecast and bounds, each (n_series, h, n_targets)."""
        levels = model.task.levels
        if model.task.heads:
            answers = model.forecast(panel, future, stamps, "predict_quantiles")
            statistics = intervals.from_quantiles(answers, levels)
        else:
            statistics = {POINT: self._point(model, panel, future, stamps)}
        if widths is not None:
            half = widths.half(panel, future.shape[1])
            statistics = intervals.from_widths(statistics[POINT], half, levels)
        return {name: self._clipped(model, values, panel) for name, values in statistics.items()}

    def _point(self, model: Ensemble, panel: Panel, future: np.ndarray, stamps: pd.Index) -> np.ndarray:
        """The forecast around which intervals lie."""
        return self._clipped(model, model.forecast(panel, future, stamps), panel)

    def _clipped(self, model: Ensemble, values: np.ndarray, panel: Panel) -> np.ndarray:
        least = np.broadcast_to(model.least, (len(panel.ids), 1, len(model.least)))
        if self.non_negative == "auto":  # a history that has become negative is told by itself
            least = np.where(automatic.ever_negative(panel)[:, None], -np.inf, least)
        return np.maximum(values, least)
