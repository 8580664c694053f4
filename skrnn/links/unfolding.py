"""All steps of a sequence in one row."""

from __future__ import annotations

from typing import Any

from ..batches import SIZE_B
from ..recording import Recording, Rows
from .link import Link


class Unfold(Link):
    """Sequences of `n_steps` each, as rows, oldest step first."""

    per, whole = SIZE_B, True

    def __init__(self, name: str, read: str, n_steps: int, n_in: int) -> None:
        super().__init__(name, read)
        self.n_steps, self.n_in, self.width = n_steps, n_in, n_steps * n_in

    def forward(self, rec: Recording, value: Any) -> Rows:
        out = rec.new_rows(self.name, "out", row=self.width, per=SIZE_B)
        rec.backend.unfold(rec, value.rows(rec), self.n_in, out)
        return out

    def backward(self, rec: Recording, *gradients: Rows, need: tuple[bool, ...]) -> tuple[Rows | None, ...]:
        dX = rec.new_rows(self.name, "dX", row=self.n_in)
        rec.backend.fold(rec, *gradients, dX)
        return (dX,)
