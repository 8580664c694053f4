"""The folds of a backtest, and its fits and forecasts in threads that end together."""

from __future__ import annotations

import warnings
from typing import Any

import joblib
import numpy as np
from sklearn.base import clone

from ..estimators.n_jobs import effective_threads
from ..estimators.parameters import as_python
from ..estimators.progress import progress
from ..interrupts import Errand, deferred
from .cutoffs import folds_at
from .panel import Panel
from .short_series import DONE, to_read, warn_of_short
from .splits import Fold, RollingOrigin


def find_folds(
    forecaster: Any, panel: Panel, n_windows: int, step_size: int | None, cutoffs: Any
) -> list[Fold]:
    """From the end of each series, or at cutoffs that all share; see `cross_validation`."""
    h, needed = as_python(forecaster.h), forecaster._n_rows_of_fold
    if cutoffs is None:
        return list(RollingOrigin(n_windows, h, h if step_size is None else step_size).folds(panel, *needed))
    if step_size is not None:
        raise ValueError("step_size is between windows from the end; cutoffs say by themselves where")
    return folds_at(panel, cutoffs, h, *needed)


def backtest(
    forecaster: Any, panel: Panel, folds: list[Fold], refit: bool | int
) -> tuple[list[Fold], list[dict[str, np.ndarray]]]:
    """Forecast from each cutoff.

    Parameters
    ----------
    forecaster : forecaster
        Stays as it is.
    panel : Panel
        All the data.
    folds : list of Fold
    refit : bool or int
        Whether to fit anew at each cutoff, only at the first one, or at every so many.

    Returns
    -------
    folds : list of Fold
        Without the series that are too short to be forecast there, where `short_series` leaves them out.
    statistics : list of dict
        Of each, as of `write_cross_validation`.

    Warns
    -----
    UserWarning
        If series were too short for a fit, and `short_series` says what to do about it.
    """
    every = 1 if refit is True else len(folds) if refit is False else refit

    def forecast(first: int) -> tuple[list[tuple[Fold, dict[str, np.ndarray]]], Any]:
        with errand.part():
            own = clone(forecaster).set_params(n_jobs=1, verbose=False)
            known = folds[first].learnt or folds[first].panel
            model, widths = own._train(known)
            done = []
            for fold in folds[first : first + every]:
                fold = fold.of(to_read(fold.panel, model.n_rows_to_read, forecaster.short_series))
                done.append((fold, own._statistics(model, widths, fold.panel, fold.future, fold.stamps)))
            return done, known.ids[known.lengths >= model.n_rows_needed]

    starts = range(0, len(folds), every)
    run = joblib.Parallel(effective_threads(forecaster.n_jobs), backend="threading", return_as="generator")
    with Errand() as errand:
        parts = None
        try:
            with deferred():  # Python's own locks do not bear an interrupt where threads are started
                parts = run(joblib.delayed(forecast)(first) for first in starts)
            name = type(forecaster).__name__
            answers = list(progress(parts, forecaster.verbose, name, len(starts), "cutoff"))
        except BaseException:
            with deferred(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # joblib says that tasks are given up, which is meant
                if parts is not None:
                    parts.close()
            raise
    if forecaster.short_series != "raise":
        short = np.zeros(len(panel.ids), bool)
        for _, learnt in answers:
            short |= ~panel.ids.isin(learnt)
        warn_of_short(panel, short, f"before some of the cutoffs, and {DONE[forecaster.short_series]} there")
    pairs = [pair for done, _ in answers for pair in done]
    return [fold for fold, _ in pairs], [statistics for _, statistics in pairs]
