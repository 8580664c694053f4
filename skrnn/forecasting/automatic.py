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
from .model import Model, NothingToLearn, Task
from .panel import Panel
from .ridge import STRENGTHS, RidgePath
from .seasons import seasons
from .trial import Trial

N_NETWORKS = 5
MOST_LAGS = 400
MANY_ROWS = 1000  # from which on a network learns by itself what differences would tell it
MUCH_WORSE = 1.5  # times the error of the best view: such ones take no part
ZEROS = 1 - 1 / 1.32  # the share of zeros from which on demand is intermittent
UNJUDGED = 30.0  # strength where there is too little to judge by


AUTO = ("auto",)  # of differences, which are a tuple


@dataclass(frozen=True)
class View:
    """What a network is shown of a history; see the forecasters' parameters of the same names.

    Attributes
    ----------
    ridge : float or None
        Strength of the ridge regression that the network begins at; None: it begins at random.
    error : float
        Of that regression on the windows held back, in mean absolute steps of a series; NaN: not judged.
    """

    lags: int | None
    scale_by: str
    differences: tuple[int, ...]
    log1p: bool
    ridge: float | None = None
    error: float = np.nan

    def __str__(self) -> str:
        lags = self.differences[0] if len(self.differences) == 1 else list(self.differences) or None
        found = f"lags={self.lags}, scale_by={self.scale_by!r}, differences={lags}, log1p={self.log1p}"
        return found if np.isnan(self.error) else f"{found}: error {self.error:.3g} by ridge regression"

    @property
    def kind(self) -> tuple:
        """What makes errors differ; more or fewer lags hardly do."""
        return self.scale_by, self.differences, self.log1p

    @property
    def n_rows(self) -> int:
        """Rows of a series before a target."""
        return (self.lags or 1) + sum(self.differences)


@dataclass(frozen=True)
class Given:
    """The parameters that may be "auto", as a user gave them."""

    lags: Any
    scale_by: Any
    differences: Any
    log1p: Any
    scaled: bool  # whether there is a scale to take by window

    @property
    def view(self) -> View | None:
        """The only view there is, if nothing is "auto"."""
        if "auto" in (self.lags, self.scale_by, self.log1p) or self.differences == AUTO:
            return None
        return View(self.lags, self.scale_by, self.differences, self.log1p)


def never_negative(panel: Panel) -> np.ndarray:
    """Of which targets no value is negative, shape (n_targets,), bool."""
    rows = history_rows(panel)
    return np.asarray(np.where(panel.observed[rows], panel.values[rows], 0).min(axis=0) >= 0)


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
        Of which a window of each series can be learnt, and some of one of middling length. If there is none
        so short, one that reads as little as it can.
    """
    periods = seasons(panel)
    shortest, middling = int(panel.lengths.min()), int(np.median(panel.lengths))
    lags: list[int | None] = [given.lags]
    if given.lags == "auto":
        steps = [k * period for period in periods for k in (1, 2, 4) if k * period <= MOST_LAGS] or [
            2,
            h,
            2 * h,
        ]
        most = max(1, min((middling - h) // 3, shortest - h - 1))
        lags = [*sorted({min(max(2, n), most) for n in steps})]
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
    found = [
        View(n, by, tuple(lag), bool(log))
        for log, lag, by, n in product(logarithms, differences, scales, lags)
    ]
    long = max(middling, 4 * h)
    return [v for v in found if v.n_rows + h <= shortest and v.n_rows + 3 * h <= long] or found[:1]


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
        From a view to what is learnt, all steps of the horizon at once.
    squared : bool, default=False
        Whether errors are squared.

    Returns
    -------
    list of View
        Where no window can be held back, those that were given, with a strength that suits few windows.
    """
    trial = Trial.of(panel, max(view.n_rows for view in found), h)
    if trial is None:
        return [replace(view, ridge=UNJUDGED) for view in found]
    result = []
    for view in found:
        model = Model(task(view), trial.known, RidgePath())
        try:
            errors = trial.error(model.learn(trial.known, np.random.RandomState(0)), squared)
        except NothingToLearn:
            continue
        if np.isfinite(errors).any():
            best = int(np.nanargmin(errors))
            result.append(replace(view, ridge=STRENGTHS[best], error=float(errors[best])))
    if not result:
        return [replace(view, ridge=UNJUDGED) for view in found]
    return sorted(result, key=lambda view: view.error)


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
