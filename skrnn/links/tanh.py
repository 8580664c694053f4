"""The hyperbolic tangent of each number."""

from __future__ import annotations

from typing import Any

from ..recording import Recording, Rows
from .link import Link


class Tanh(Link):
    """tanh(x); going back, the gradient that comes in becomes that of x."""

    def __init__(self, name: str, read: str, width: int) -> None:
        super().__init__(name, read)
        self.width = width

    def forward(self, rec: Recording, value: Any) -> Rows:
        X = value.rows(rec)
        out = rec.new_rows(self.name, "out", row=X.row, per=X.per)
        rec.backend.tanh(rec, X, out)
        return out

    def backward(self, rec: Recording, *gradients: Rows, need: tuple[bool, ...]) -> tuple[Rows | None, ...]:
        (d,) = gradients
        rec.backend.tanh_backward(rec, rec.values[self.name], d)
        return (d,)
