"""One regressor on all series of a panel, trained on their windows or histories."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.multioutput import MultiOutputRegressor
from sklearn.utils import get_tags

from ..estimators.base import RecurrentEstimator
from ..estimators.encoder_decoder import Pairs
from ..recipe import array_dtype
from ..sequences import Sequences, Targets
from .features import Features, Table, ranges
from .panel import Panel
from .ridge import MOST_ROWS, RidgePath, evenly
from .scaling import Transform
from .short_series import lengthened
from .splits import hold_back_windows
from .views import flat_windows, picked_windows, scaled_targets, scaled_windows, window_scale

Scaling = tuple[np.ndarray, np.ndarray] | None  # shift and scale of each window


class NothingToLearn(ValueError):
    """No target, or no row of as many as are answered at once, is known."""


@dataclass(frozen=True)
class Task:
    """What is learnt, and of what; see the forecasters' parameters of the same names.

    Attributes
    ----------
    h : int
        The horizon.
    step : int
        Steps that the regressor answers at once, of which the horizon is a multiple: all, or fewer, which
        it reads to answer the next.
    levels : tuple of float
        Of the intervals, in per cent.
    heads : bool
        Whether the network has an output for each quantile.
    pairs : bool
        Whether a decoder answers step by step to what an encoder has read.
    autoregressive : bool
        Whether that reads its answers.
    lags : int or None
        Steps of a window.
    picked : tuple of int or None
        Lags that are read of them, in order; None: all.
    ridge : float or None
        Strength of the ridge regression that a network's linear map begins at; None: it begins at random.
    short_series : {"raise", "drop", "pad"}
        What is done about series that are too short, before they come here.
    """

    h: int
    lags: int | None
    step: int
    transform: Transform
    levels: tuple[float, ...]
    heads: bool
    window_scale: str | None
    calendar: tuple[str, ...]
    max_windows: int | None
    validation_fraction: float | None
    pairs: bool = False  # as in models of earlier versions, like the next
    autoregressive: bool = False
    ridge: float | None = None
    picked: tuple[int, ...] | None = None
    short_series: str = "raise"

    @property
    def streams(self) -> bool:
        """Whether a network is carried through whole histories, with an answer after every step."""
        return self.lags is None and not self.pairs

    @property
    def n_rows(self) -> int:
        """Rows of a series from which a forecast can be made."""
        return self.transform.n_lost + (self.lags or 1)

    @property
    def n_rows_needed(self) -> int:
        """Rows of a series of which one window, or one step of a history, can be learnt."""
        return self.n_rows + self.step

    def n_windows(self, panel: Panel) -> int:
        """Windows that there are to learn, without those held back."""
        n = int(np.maximum(panel.lengths - self.n_rows_needed + 1, 0).sum())
        return round(n * (1 - (self.validation_fraction or 0)))


class Model:
    """A regressor and what is done to its data.

    Parameters
    ----------
    task : Task
    panel : Panel
        The histories from which scales are taken.
    regressor : regressor
        Unfitted; `learn` fits it.
    """

    def __init__(self, task: Task, panel: Panel, regressor: Any) -> None:
        self.task, self.regressor = task, regressor
        self.recurrent = isinstance(regressor, RecurrentEstimator)
        if self.recurrent:
            regressor.set_params(return_sequences=task.streams)
        dtype = array_dtype(regressor.dtype) if self.recurrent else np.dtype(np.float64)
        self.n_targets = panel.values.shape[1]
        self.transform = task.transform.fit(panel)
        if task.pairs:  # a step is answered from the row before it
            ahead = [1]
        else:
            ahead = [task.step] if task.lags is None else [*range(task.step, 0, -task.lags)]
            if task.picked is not None:  # the last row that is read tells of all steps
                ahead = [*range(task.picked[0] + task.step - 1, task.picked[0] - 1, -1)]
        self.features = Features(panel, list(task.calendar), ahead, dtype)

    # --- training --------------------------------------------------------------------------------------
    def learn(self, panel: Panel, rng: np.random.RandomState) -> Self:
        """Fit the regressor.

        Parameters
        ----------
        panel : Panel
            The histories to learn.
        rng : RandomState
            Which windows are taken where there are more than `max_windows`.

        Returns
        -------
        self : Model

        Raises
        ------
        ValueError
            If a series is too short, which is named.
        """
        learnt = self.transform.transform(panel)
        table = self.features.table(learnt)
        targets = np.ascontiguousarray(table.values[:, : self.n_targets])
        unknown = ~learnt.observed[ranges(panel.starts[:-1], panel.stops)]
        if self.task.streams:
            self._learn_histories(panel, table, targets, unknown)
        else:
            self._learn_windows(panel, table, targets, unknown, rng)
        return self

    def _first_rows(self, panel: Panel, table: Table, needed: int, what: str) -> np.ndarray:
        """The first row of each series that is learnt; a ValueError where fewer than `needed` follow."""
        lost = self.transform.settings.n_lost
        short = np.flatnonzero(panel.lengths < lost + needed)
        if len(short):
            i = int(short[0])
            more = f" and {lost} for differences" if lost else ""
            others = f" ({len(short)} series are too short)" if len(short) > 1 else ""
            has = f"{panel.name(i)} has {panel.lengths[i]} rows"
            raise ValueError(f"{has}, but {what} needs at least {needed}{more}{others}")
        return table.starts + lost

    def _learn_windows(
        self, panel: Panel, table: Table, targets: np.ndarray, unknown: np.ndarray, rng: np.random.RandomState
    ) -> None:
        s, lags, step = self.task, self.task.lags, self.task.step
        what = f"a horizon of {step}" if lags is None else f"lags={lags} with a horizon of {step}"
        first = self._first_rows(panel, table, (lags or 1) + step, what)
        counts = table.stops - first - (lags or 1) - step + 1
        # Rows where targets begin; without lags, a window begins where its series does.
        at = ranges(first, first + counts) + (lags or 1)
        begins = np.repeat(first, counts) if lags is None else at - lags
        chosen, held_back = np.arange(len(at)), None
        if s.validation_fraction is not None:
            # no target of a window to train on is one of a window held back
            chosen, held_back = hold_back_windows(counts, s.validation_fraction, gap=step - 1)
        if s.max_windows is not None and len(chosen) > s.max_windows:
            chosen = np.sort(rng.choice(chosen, s.max_windows, replace=False))
        X, y, w = self._windows(table, targets, unknown, begins[chosen], at[chosen])
        if w is not None:
            self._check_known(panel, w)
        if not self.recurrent:
            self._fit_flat(X, y, w)
            return
        validation: dict[str, Any] = {}
        if held_back is not None:
            X_val, y_val, w_val = self._windows(table, targets, unknown, begins[held_back], at[held_back])
            of_known = slice(None) if w_val is None else w_val > 0
            validation = {"X_val": X_val.take(of_known), "y_val": y_val.take(of_known)}
        if s.ridge is not None and not hasattr(self.regressor, "weights_"):
            self.regressor._first_map = self._ridge(X, y, w, s.ridge)
        self.regressor.fit(X, y, w, **validation)
        vars(self.regressor).pop("_first_map", None)

    @staticmethod
    def _ridge(
        X: Sequences, y: Targets, w: np.ndarray | None, strength: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """The linear map that ridge regression finds."""
        rows = evenly(np.arange(len(X)) if w is None else np.flatnonzero(w), MOST_ROWS)
        path = RidgePath([strength]).fit(flat_windows(X.take(rows)), y.take(rows).matrix())
        return path.weights[0], path.biases[0]

    def _check_known(self, panel: Panel, weights: np.ndarray) -> None:
        whole = not self.recurrent and not isinstance(self.regressor, RidgePath)
        if not (weights == 1 if whole else weights).any():
            step = self.task.step
            what = f"one in every {step} targets in a row is" if whole and step > 1 else "every target is"
            raise NothingToLearn(f"there is nothing to learn from {panel}: {what} missing")

    def _windows(
        self, table: Table, targets: np.ndarray, unknown: np.ndarray, starts: np.ndarray, at: np.ndarray
    ) -> tuple[Any, Targets, np.ndarray | None]:
        """Windows of rows from `starts` on, with the targets behind them, from `at` on.

        What is unknown of these is NaN, and the share of the others the weight of a window; None: all are 1.
        """
        step, scaling = self.task.step, self._scaling(targets, starts)
        X = self._read(table, starts, at, scaling)
        y = scaled_targets(_known(targets, unknown), at, step, scaling)
        return X, y, _shares(unknown, at, step) if unknown.any() else None

    def _read(self, table: Table, starts: np.ndarray, at: np.ndarray, scaling: Scaling) -> Any:
        """What the regressor reads to answer the rows from `at` on: `Sequences`, or `Pairs`."""
        if self.task.picked is not None:
            rows = at[:, None] - np.array(self.task.picked[::-1])
            return picked_windows(table.values, rows, scaling)
        windows = scaled_windows(table.values, starts, at - starts, scaling)
        if not self.task.pairs:
            return windows
        answers, n_steps = self.task.autoregressive, self.task.step
        ahead = table.ahead(answers)
        steps = scaled_windows(ahead, at - 1, n_steps, scaling if answers else None)
        return Pairs(windows, steps, answers, self.task.lags)

    def _scaling(self, targets: np.ndarray, starts: np.ndarray) -> Scaling:
        scale, lags = self.task.window_scale, self.task.lags
        if scale is None or lags is None:
            return None
        return window_scale(scale, targets, lags, starts, unit=self.task.transform.scale is not None)

    def _fit_flat(self, X: Sequences, y: Targets, w: np.ndarray | None) -> None:
        known: Any = slice(None)
        if w is not None:
            known = w > 0 if isinstance(self.regressor, RidgePath) else w == 1
        rows, answers = flat_windows(X.take(known)), y.take(known).matrix()
        if y.width == 1:
            answers = answers[:, 0]
        elif not get_tags(self.regressor).target_tags.multi_output:
            self.regressor = MultiOutputRegressor(self.regressor)
        self.regressor.fit(rows, answers)

    def _learn_histories(self, panel: Panel, table: Table, targets: np.ndarray, unknown: np.ndarray) -> None:
        """Whole histories, with an answer after every step."""
        step, n_rows = self.task.step, len(targets)
        first = self._first_rows(panel, table, 1 + step, f"a horizon of {step}")
        lengths = table.stops - first
        X = Sequences(table.values, first, lengths)
        at = np.minimum(np.arange(n_rows) + 1, n_rows - step)
        known = np.zeros(n_rows)
        inside = ranges(first, table.stops - step)
        known[inside] = _shares(unknown, inside + 1, step)
        self._check_known(panel, known)
        self.regressor.fit(X, Targets(_known(targets, unknown), at, step), known)

    # --- forecasts -------------------------------------------------------------------------------------
    def forecast(
        self, panel: Panel, future: np.ndarray, stamps: pd.Index, method: str = "predict"
    ) -> np.ndarray:
        """The steps after the histories of a panel, in the user's units.

        Parameters
        ----------
        panel : Panel
            Series of fit, with these or other histories, or other series.
        future : ndarray of shape (n_series, h, n_futr)
            What is known of these steps, which may be several horizons.
        stamps : Index of shape (n_series * h,)
        method : {"predict", "predict_quantiles"}

        Returns
        -------
        ndarray of shape (n_series, h, n_targets) or (n_series, h, n_targets, n_quantiles)
        """
        h, lags = future.shape[1], self.task.lags
        if self.task.short_series == "pad":
            panel = lengthened(panel, self.task.n_rows)
        learnt = self.transform.transform(panel)
        table = self.features.table(learnt, lags, future, stamps)
        if self.features.masked:
            later = ranges(table.stops, table.stops + h)
            table.values[later, self.n_targets : 2 * self.n_targets] = 1
        what = "a forecast" if lags is None else f"a forecast from lags={lags}"
        first = self._first_rows(panel, table, lags or 1, what)
        if self.task.streams:
            answers = self._from_histories(table, first, h, method)
        else:
            answers = self._step_by_step(table, first, h, method)
        return self.transform.invert(answers, panel, quantiles=method == "predict_quantiles")

    def _ask(self, table: Table, starts: np.ndarray, at: np.ndarray, method: str) -> np.ndarray:
        """Answers (n_series, step, n_targets) to windows that end before rows `at`, in units of the table."""
        n = self.n_targets
        scaling = self._scaling(table.values[:, :n], starts)
        X = self._read(table, starts, at, scaling)
        if self.recurrent:
            answers = getattr(self.regressor, method)(X)
        else:
            answers = self.regressor.predict(flat_windows(X))
        answers = np.asarray(answers, np.float64).reshape(len(starts), self.task.step, n, *answers.shape[2:])
        if scaling is None:
            return answers
        extra = (None,) * (answers.ndim - 3)
        shift, scale = (part[:, None, :][..., *extra] for part in scaling)
        return answers * scale + shift

    def _step_by_step(self, table: Table, first: np.ndarray, h: int, method: str) -> np.ndarray:
        """What was answered becomes the last rows of the next window."""
        step, lags, answers = self.task.step, self.task.lags, []
        for k in range(0, h, step):
            at = table.stops + k
            answers.append(self._ask(table, first if lags is None else at - lags, at, method))
            rows = _middle(answers[-1]).reshape(-1, self.n_targets)
            table.values[ranges(at, at + step), : self.n_targets] = rows
        return self._widened(answers)

    def _from_histories(self, table: Table, first: np.ndarray, h: int, method: str) -> np.ndarray:
        """The answers after the last step; where there are to be more, they are read in turn."""
        n, step = self.n_targets, self.task.step
        X = Sequences(table.values, first, table.stops - first)
        answer, state = self.regressor._last_answer(X, method)
        stream, answers = None, []
        for k in range(0, h, step):
            answer = np.asarray(answer, np.float64)
            answers.append(answer.reshape(len(first), step, n, *answer.shape[2:]))
            if k + step == h:
                break
            if stream is None:
                stream = self.regressor.stream(batch=len(first), method=method)
                stream.state = state
            for j, row in enumerate(_middle(answers[-1]).swapaxes(0, 1)):
                table.values[table.stops + k + j, :n] = row
                answer = stream.step(table.values[table.stops + k + j])
        return self._widened(answers)

    def _widened(self, answers: list[np.ndarray]) -> np.ndarray:
        """Answers to answers; of quantiles, deviations add up like those of independent steps."""
        for before, after in pairwise(answers if answers[0].ndim == 4 else []):
            if not self.task.transform.differences:  # which are summed up later
                middle = _middle(after)[..., None]
                apart, known = after - middle, (before - _middle(before)[..., None])[:, -1:]
                after[:] = middle + np.sign(apart) * np.hypot(apart, known)
        return np.concatenate(answers, axis=1)


def _known(targets: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """NaN where a target is not known."""
    return np.where(unknown, targets.dtype.type(np.nan), targets) if unknown.any() else targets


def _shares(unknown: np.ndarray, at: np.ndarray, step: int) -> np.ndarray:
    """How much is known of so many rows of targets from `at` on."""
    before = np.concatenate([[0], np.cumsum(np.count_nonzero(unknown, axis=1))])
    return 1 - (before[at + step] - before[at]) / (step * unknown.shape[1])


def _middle(answers: np.ndarray) -> np.ndarray:
    """The median where there are quantiles."""
    return answers if answers.ndim == 3 else answers[..., answers.shape[3] // 2]
