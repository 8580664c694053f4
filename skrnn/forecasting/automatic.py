"""What "auto" means: how many steps to read, of what, and in which scale.

A view is what a network is shown of a history: the logarithm or not, differences to the step or the season
before or none, scaled by series or by window, a season or two. Every view is judged by ridge regression, at
which the network begins: it learns what lies before the last windows and forecasts them. Networks are trained
on the best views, each of another kind, and their forecasts averaged: what one view fits badly another fits,
and errors of different kinds cancel out (Bates & Granger 1969; Petropoulos & Svetunkov 2020).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from .features import history_rows
from .intervals import spread
from .model import Model, NothingToLearn, Task
from .panel import Panel
from .ridge import STRENGTHS, RidgePath, evenly
from .seasons import seasons
from .trial import MOST_SERIES, Trial

N_NETWORKS = 5
MOST_LAGS = 400
HISTORIES = 3  # horizons that there should be
MANY_ROWS = 1000  # from which on a network learns by itself what differences would tell it
MUCH_WORSE = 1.5  # times the error of the best view: such ones take no part
MUCH_WORSE_NAIVE = 1.3  # the same, of what is not judged
ZEROS = 1 - 1 / 1.32  # the share of zeros from which on demand is intermittent
UNJUDGED = 30.0  # strength where there is too little to judge by


AUTO = ("auto",)  # of differences, which are a tuple


def longest(lags: int | tuple[int, ...] | None) -> int | None:
    """Steps of a window."""
    return lags[-1] if isinstance(lags, tuple) else lags


@dataclass(frozen=True)
class View:
    """What a network is shown of a history; see the forecasters' parameters of the same names.

    Attributes
    ----------
    step : int
        Steps that are answered at once.
    ridge : float or None
        Strength of the ridge regression that the network begins at; None: it begins at random.
    error : float
        Of that regression on the windows held back, in mean absolute steps of a series; NaN: not judged.
    """

    lags: int | tuple[int, ...] | None
    scale_by: str
    differences: tuple[int, ...]
    log1p: bool
    step: int
    ridge: float | None = None
    error: float = np.nan

    def __str__(self) -> str:
        steps = self.differences[0] if len(self.differences) == 1 else list(self.differences) or None
        lags = list(self.lags) if isinstance(self.lags, tuple) else self.lags
        found = f"lags={lags}, scale_by={self.scale_by!r}, differences={steps}, log1p={self.log1p}"
        return found if np.isnan(self.error) else f"{found}: error {self.error:.3g} by ridge regression"

    @property
    def kind(self) -> tuple:
        """What makes errors differ; more or fewer lags hardly do."""
        return self.scale_by, self.differences, self.log1p

    @property
    def n_rows(self) -> int:
        """Rows of a series before a target."""
        return (longest(self.lags) or 1) + sum(self.differences)


@dataclass(frozen=True)
class Given:
    """The parameters that may be "auto", as a user gave them."""

    lags: Any
    scale_by: Any
    differences: Any
    log1p: Any
    scaled: bool  # whether there is a scale to take by window
    step: int  # that are answered at once
    fewer: bool  # whether these may be fewer

    @property
    def view(self) -> View | None:
        """The only view there is, if nothing is "auto"."""
        if "auto" in (self.lags, self.scale_by, self.log1p) or self.differences == AUTO:
            return None
        return View(self.lags, self.scale_by, self.differences, self.log1p, self.step)


def never_negative(panel: Panel) -> np.ndarray:
    """Of which targets no value is negative, shape (n_targets,), bool."""
    return np.asarray(~ever_negative(panel).any(axis=0))


def ever_negative(panel: Panel) -> np.ndarray:
    """Of which series and targets some value is negative, shape (n_series, n_targets), bool."""
    below = np.concatenate(
        [np.zeros((1, panel.values.shape[1]), np.intp), np.cumsum(panel.values < 0, axis=0)]
    )
    return below[panel.stops] > below[panel.starts[:-1]]


def intermittent(panel: Panel) -> bool:
    """Whether targets are never negative and 0 in a quarter of the steps (Syntetos & Boylan 2005)."""
    rows = history_rows(panel)
    values = panel.values[rows][panel.observed[rows]]
    return bool(never_negative(panel).all() and np.mean(values == 0) > ZEROS)


def views(panel: Panel, h: int, given: Given, mean: bool = False) -> list[View]:
    """All that come into question.

    Parameters
    ----------
    panel : Panel
    h : int
    given : Given
    mean : bool, default=False
        Whether means are forecast, which are not those of logarithms.

    Returns
    -------
    list of View
        Of which a window of each series can be learnt. If there is none so short, one that reads as little as
        it can.
    """
    periods = seasons(panel)
    shortest, middling = int(panel.lengths.min()), int(np.median(panel.lengths))
    step = answered_at_once(h, middling) if given.fewer and given.lags == "auto" else given.step
    differences = [given.differences]
    if given.differences == AUTO:
        few = panel.lengths.sum() < MANY_ROWS
        differences = [(), *([(1,), *((period,) for period in periods)] if few else [])]
    logarithms = [given.log1p]
    if given.log1p == "auto":
        logarithms = [False, True] if never_negative(panel).all() and not mean else [False]
    scales = [given.scale_by]
    if given.scale_by == "auto":
        scales = ["series", "window"] if given.scaled and given.lags is not None else ["series"]
    steps = [k * period for period in periods for k in (1, 2, 4) if k * period <= MOST_LAGS] or [2, h, 2 * h]

    def lags(lost: int) -> list:
        if given.lags != "auto":
            return [given.lags]
        most = max(1, min((middling - lost - step) // 3, shortest - lost - step - 1))
        return sorted({min(max(2, n), most) for n in steps})

    found = [
        View(n, by, tuple(lag), bool(log), step)
        for log, lag, by in product(logarithms, differences, scales)
        for n in lags(sum(lag))
    ]
    return [v for v in found if v.n_rows + step <= shortest] or found[:1]


def answered_at_once(h: int, n_rows: int) -> int:
    """The most steps of which the horizon is a multiple and a short history several times as long."""
    return max(n for n in range(1, h + 1) if h % n == 0 and n <= max(1, n_rows // HISTORIES))


def judged(
    panel: Panel, found: list[View], h: int, task: Callable[[View], Task], squared: bool = False
) -> list[View]:
    """Views with the strength and the error of their ridge regression, the best first.

    Parameters
    ----------
    panel : Panel
    found : list of View
    h : int
    task : callable
        From a view to what is learnt.
    squared : bool, default=False
        Whether errors are squared.

    Returns
    -------
    list of View
        Where no window can be held back, those that `unjudged` leaves.
    """
    step = task(found[0]).step
    trial = Trial.of(panel, max(view.n_rows for view in found) + step, h)
    if trial is None:
        return unjudged(panel, found, h)
    # All strengths at once, unless answers are read: then each reads its own.
    paths = [STRENGTHS] if step == h else [(strength,) for strength in STRENGTHS]
    result = []
    for view in found:
        models = [Model(task(view), trial.known, RidgePath(path)) for path in paths]
        try:
            for model in models:
                model.learn(trial.known, np.random.RandomState(0))
        except NothingToLearn:
            continue
        errors = np.concatenate([trial.error(model, squared) for model in models])
        if np.isfinite(errors).any():
            best = int(np.nanargmin(errors))
            result.append(replace(view, ridge=STRENGTHS[best], error=float(errors[best])))
    if not result:
        return unjudged(panel, found, h)
    return sorted(result, key=lambda view: view.error)


def unjudged(panel: Panel, found: list[View], h: int) -> list[View]:
    """Views that do the least harm where there is nothing to judge by.

    A strong penalty makes of each what a naive forecast is: the mean, the last value or that of the season
    before, and a drift. These are compared.
    """
    plain = [view for view in found if view.scale_by == "series" and not view.log1p] or found
    errors = {view.differences: naive_error(panel, view.differences, h) for view in plain}
    worst = MUCH_WORSE_NAIVE * min(errors.values())
    plain = [view for view in plain if not errors[view.differences] > worst]
    return [replace(view, ridge=UNJUDGED) for view in sorted(plain, key=lambda v: errors[v.differences])]


def naive_error(panel: Panel, differences: tuple[int, ...], h: int) -> float:
    """Of the mean of a series, or of a value before and the mean change since, in mean absolute steps."""
    panel = panel.take(evenly(np.arange(len(panel.ids)), MOST_SERIES))
    lag, errors = sum(differences), []
    for start, stop, unit in zip(panel.starts[:-1], panel.stops, spread(panel)):
        values = panel.values[start:stop]
        if not lag:
            errors.append(np.abs(values - values.mean(axis=0)).mean(axis=0) / unit)
        for k in range(1, h + 1) if lag else ():
            back = -(-k // lag) * lag
            if back < len(values):
                change = values[back:] - values[:-back]
                errors.append(np.abs(change - change.mean(axis=0)).mean(axis=0) / unit)
    return float(np.mean(errors)) if errors else np.inf


def chosen(sorted_views: list[View], n: int | None = None) -> list[View]:
    """The best view of each of the n best kinds that are not much worse than the first.

    Where there are not so many, they are taken in turn; with None, each once, but `N_NETWORKS` at most.
    """
    worst = MUCH_WORSE * sorted_views[0].error
    best: dict[tuple, View] = {}
    for view in sorted_views:
        if not view.error > worst:  # NaN: not judged
            best.setdefault(view.kind, view)
    kinds = list(best.values())
    return [kinds[k % len(kinds)] for k in range(n or min(N_NETWORKS, len(kinds)))]
