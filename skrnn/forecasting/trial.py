"""The last windows of some series, by which what was learnt from all before them is judged."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd

from .intervals import spread
from .panel import Panel
from .ridge import evenly
from .splits import RollingOrigin

N_WINDOWS = 8  # within the last third of the series
MOST_SERIES = 200  # of a panel that are looked at


class Trial:
    """Windows that are held back.

    Attributes
    ----------
    known : Panel
        The histories before the first of them.
    cut : Panel
        The last rows before each of them, as so many series: what a forecast costs is mostly not its rows.
    future : ndarray of shape (n_cuts, h, n_futr), and the stamps (n_cuts * h,)
        What is known of them.
    y : ndarray of shape (n_cuts, h, n_targets)
        What came; NaN where it was missing.
    unit : ndarray of shape (n_cuts, 1, n_targets)
        Mean absolute steps of the series, in which errors are told.
    """

    def __init__(self, panel: Panel, origin: RollingOrigin, n_rows: int) -> None:
        folds = list(origin.folds(panel))
        repeated = np.tile(np.arange(len(panel.ids)), len(folds))
        self.known = folds[0].panel
        self.cut = panel.histories(repeated, np.concatenate([fold.panel.stops for fold in folds]), n_rows)
        self.y, self.future = (
            np.concatenate([getattr(fold, of) for fold in folds]) for of in ("y", "future")
        )
        self.stamps: pd.Index = folds[0].stamps.append([fold.stamps for fold in folds[1:]])
        self.unit = spread(self.known)[repeated, None]

    @classmethod
    def of(cls, panel: Panel, n_rows: int, h: int) -> Self | None:
        """Of series of at least middling length; None where they are too short.

        Parameters
        ----------
        panel : Panel
        n_rows : int
            Of which something can be learnt.
        h : int
        """
        middling = int(np.median(panel.lengths))
        span = min(middling - n_rows, max(h, middling // 3))
        if span < h:
            return None
        step = max(1, min(h, (span - h) // (N_WINDOWS - 1)))
        long = evenly(np.flatnonzero(panel.lengths >= middling), MOST_SERIES)
        origin = RollingOrigin(min(N_WINDOWS, (span - h) // step + 1), h, step)
        return cls(panel.take(long), origin, n_rows)

    def error(self, model: Any, squared: bool = False) -> np.ndarray:
        """The mean error of each of a model's answers; NaN where nothing is known of what came.

        Parameters
        ----------
        model : Model
            Which has learnt `known`.
        squared : bool, default=False
            Whether errors are squared.

        Returns
        -------
        ndarray of shape (n_answers,)
        """
        answers = model.forecast(self.cut, self.future, self.stamps)
        answers = answers.reshape(*self.y.shape, -1)
        errors = (np.abs(self.y[..., None] - answers) / self.unit[..., None]).reshape(-1, answers.shape[-1])
        errors = errors[~np.isnan(self.y).reshape(-1)]
        if not len(errors):
            return np.full(answers.shape[-1], np.nan)
        return np.asarray((errors**2 if squared else errors).mean(axis=0))
