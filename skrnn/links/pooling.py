"""From the states of all steps to one row for each sequence."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..batches import SIZE_B
from ..recording import Recording, Rows
from .link import Link


class Last(Link):
    """The states after a sequence's last step, directions side by side: the backward direction's is after the
    first. With `cell`, those of the memory cells of an LSTM, c, and not h. It reads a `Recurrent`."""

    per = SIZE_B

    def __init__(self, name: str, read: str, width: int, cell: bool = False) -> None:
        super().__init__(name, read)
        self.width, self.cell = width, cell

    def forward(self, rec: Recording, states: Any) -> Rows:
        return states.last(rec, self.name, self.cell)

    def backward(self, rec: Recording, *gradients: Rows, need: tuple[bool, ...]) -> tuple[Rows | None, ...]:
        return tuple(d._replace(cell=self.cell) for d in gradients)


class Pool(Link):
    """The mean or the maximum over time: its `kind` is "mean" or "max"."""

    per = SIZE_B

    def __init__(self, name: str, read: str, width: int, kind: str) -> None:
        super().__init__(name, read)
        self.width, self.kind = width, kind

    def forward(self, rec: Recording, states: Any) -> Rows:
        so_far = self.pooled(rec)
        if self.kind == "max":
            rec.kept[self.name] = rec.new_rows(
                self.name, "where", row=self.width, per=SIZE_B, dtype=np.dtype(np.intp)
            )
            rec.backend.pool_max(rec, states.rows(rec), so_far, rec.kept[self.name])
            return so_far
        out = rec.new_rows(self.name, "mean", row=self.width, per=SIZE_B)
        rec.backend.pool_mean(rec, states.rows(rec), so_far, out)
        return out

    def backward(self, rec: Recording, *gradients: Rows, need: tuple[bool, ...]) -> tuple[Rows | None, ...]:
        (d,) = gradients
        dX = rec.new_rows(self.name, "dX", row=d.row)
        if self.kind == "max":
            rec.backend.pool_max_backward(rec, d, rec.kept[self.name], dX)
        else:
            rec.backend.pool_mean_backward(rec, d, self.width, dX)
        return (dX,)

    def pooled(self, rec: Recording) -> Rows:
        """Where what has been pooled over time is carried over, rows (B, .): the maximum so far; for a mean,
        in float64, the sum and behind it the number of steps."""
        if self.kind == "max":
            return rec.new_rows(self.name, "so far", row=self.width, per=SIZE_B)
        return rec.new_rows(self.name, "so far", row=self.width + 1, per=SIZE_B, dtype=np.dtype(np.float64))

    def begin(self, n: int, dtype: np.dtype) -> np.ndarray:
        """What `pooled` is to hold of n sequences that begin."""
        if self.kind == "max":
            return np.full((n, self.width), -np.inf, dtype)
        return np.zeros((n, self.width + 1))
