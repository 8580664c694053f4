"""Models of several views, whose forecasts are averaged."""

from __future__ import annotations

from typing import Self

import numpy as np
import pandas as pd

from .model import Model, Task
from .panel import Panel


class Ensemble:
    """One or several models of the same series and horizon.

    Parameters
    ----------
    models : list of Model
        The one that is thought best first.
    least : ndarray of shape (n_targets,)
        Which no forecast is below.
    """

    def __init__(self, models: list[Model], least: np.ndarray) -> None:
        self.models, self.least = models, least

    @property
    def task(self) -> Task:
        """What is learnt; of the steps read and the scales, those of the first model."""
        return self.models[0].task

    @property
    def n_rows(self) -> int | None:
        """Rows of a history that forecasts are made from; None: all."""
        tasks = [model.task for model in self.models]
        return None if any(task.lags is None for task in tasks) else self.n_rows_to_read

    @property
    def n_rows_to_read(self) -> int:
        """Rows of a series from which all of them can forecast."""
        return max(model.task.n_rows for model in self.models)

    @property
    def n_rows_needed(self) -> int:
        """Rows of a series of which all of them can learn."""
        return max(model.task.n_rows_needed for model in self.models)

    def views(self) -> tuple[list[int | list[int] | None], list[str], list[tuple[int, ...]], list[bool]]:
        """Lags, by what is scaled, differences and whether logarithms are learnt, of each model."""
        tasks = [model.task for model in self.models]
        return (
            [task.lags if task.picked is None else list(task.picked) for task in tasks],
            ["series" if task.window_scale is None else "window" for task in tasks],
            [task.transform.differences for task in tasks],
            [task.transform.log1p for task in tasks],
        )

    def learn(self, panel: Panel, rng: np.random.RandomState) -> Self:
        """Fit all; see `Model.learn`."""
        for model in self.models:
            model.learn(panel, rng)
        return self

    def forecast(
        self, panel: Panel, future: np.ndarray, stamps: pd.Index, method: str = "predict"
    ) -> np.ndarray:
        """The mean of the forecasts in the user's units; see `Model.forecast`.

        Of four and more, the highest and the lowest of each step are left out: one that has run away, as
        powers of a logarithm do, does not take the others with it. Quantiles stay in order.
        """
        forecasts = [model.forecast(panel, future, stamps, method) for model in self.models]
        if len(forecasts) < TRIMMED:
            return np.mean(forecasts, axis=0)
        return np.sort(forecasts, axis=0)[1:-1].mean(axis=0)


TRIMMED = 4
