"""From the states of all steps to one row for each sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..batches import SIZE_B
from ..recording import Recording, Rows
from .link import Link


class Last(Link):
    """The states after a sequence's last step, directions side by side: the backward direction's is after the
    first.

    Parameters
    ----------
    name, read : str
    width : int
    """

    per = SIZE_B

    def __init__(self, name: str, read: str, width: int) -> None:
        super().__init__(name, read)
        self.width = width

    def forward(self, rec: Recording, states: Any) -> Rows:
        return rec.backend.last_states(rec, states.parts, self.name)

    def backward(self, rec: Recording, *gradients: Rows, need: tuple[bool, ...]) -> tuple[Rows | None, ...]:
        return gradients


class Pool(Link):
    """The mean or the maximum over time.

    Parameters
    ----------
    name, read : str
    width : int
    kind : {"mean", "max"}
    """

    per = SIZE_B

    def __init__(self, name: str, read: str, width: int, kind: str) -> None:
        super().__init__(name, read)
        self.width, self.kind = width, kind

    def forward(self, rec: Recording, states: Any) -> Rows:
        out, rec.kept[self.name] = rec.backend.pool(rec, self.kind, states.rows(rec), self.width, self.name)
        return out

    def backward(self, rec: Recording, *gradients: Rows, need: tuple[bool, ...]) -> tuple[Rows | None, ...]:
        (d,), where = gradients, rec.kept[self.name]
        return (rec.backend.pool_backward(rec, self.kind, d, where, self.width, self.name),)

    def pooled(self, rec: Recording) -> Rows:
        """Where what has been pooled over time is carried over, as rows (B, .)."""
        return rec.backend.pooled(rec, self.kind, self.width, self.name)

    def begin(self, n: int, dtype: np.dtype) -> np.ndarray:
        """What `pooled` is to hold of n sequences that begin."""
        if self.kind == "max":
            return np.full((n, self.width), -np.inf, dtype)
        return np.zeros((n, self.width + 1))
