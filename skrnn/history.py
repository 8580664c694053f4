"""What becomes of a fit, row by row."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

HISTORY = ("epoch", "loss", "validation_score", "learning_rate", "gradient_norm", "seconds")


@dataclass
class Progress:
    """How far a fit has come.

    Attributes
    ----------
    before : dict of str to ndarray
        The `history` of earlier calls, which stays as it is.
    columns : dict of str to list
        Of `HISTORY`, a value for each epoch of this one, or part of it; NaN where there is none.
    best_loss, best_score : float or None
        Of all epochs.
    """

    before: dict[str, np.ndarray] | None = None
    best_loss: float | None = None
    best_score: float | None = None
    columns: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in HISTORY})
    interrupted: bool = False

    @property
    def n_iter(self) -> int:
        """Whole epochs so far."""
        return int(self.epoch)

    @property
    def epoch(self) -> float:
        """Epochs so far, also a part of one."""
        for epochs in (self.columns["epoch"], [] if self.before is None else self.before["epoch"]):
            if len(epochs):
                return epochs[-1]
        return 0

    def add(self, row: dict[str, float]) -> None:
        """One more row."""
        for name, column in self.columns.items():
            column.append(row.get(name, math.nan))
        loss, score = row["loss"], row.get("validation_score", math.nan)
        self.best_loss = loss if self.best_loss is None else min(self.best_loss, loss)
        if not math.isnan(score):
            self.best_score = score if self.best_score is None else max(self.best_score, score)

    def history(self, most: int | None = None) -> dict[str, np.ndarray]:
        """Columns ready for ``pandas.DataFrame``; the last rows, if there are more than `most` of them
        and than before."""
        found = {}
        for name, column in self.columns.items():
            whole = name == "epoch" and all(isinstance(value, int) for value in column)
            own = np.array(column, int if whole else float)
            if self.before is not None:
                earlier = self.before[name]
                own = np.concatenate([earlier, own])
                if most is not None:
                    own = own[-max(most, len(earlier)) :]
            found[name] = own
        return found
