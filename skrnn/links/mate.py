"""From one side of pairs to the other."""

from __future__ import annotations

from typing import Any

from ..batches import SIZE_B
from ..recording import Recording, Rows
from .link import Link


class Mate(Link):
    """Rows per sequence of the other side, each for its mate."""

    per, side, whole, crosses = SIZE_B, 0, True, (1,)

    def __init__(self, name: str, read: str, width: int) -> None:
        super().__init__(name, read)
        self.width = width

    def forward(self, rec: Recording, value: Any) -> Rows:
        theirs = value.rows(rec.of(1))
        out = rec.new_rows(self.name, "out", row=theirs.row, per=SIZE_B)
        rec.backend.take_mates(rec, theirs, out)
        return out

    def backward(self, rec: Recording, *gradients: Rows, need: tuple[bool, ...]) -> tuple[Rows | None, ...]:
        (d,) = gradients
        dX = rec.of(1).new_rows(self.name, "dX", row=d.row, per=SIZE_B)
        rec.backend.take_mates(rec, d, dX, back=True)
        return (dX,)
