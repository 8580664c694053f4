"""Dropout of single elements (Hinton et al. 2012; inverted, so that predictions need no factor)."""

from __future__ import annotations

from typing import Any

from ..recording import Recording, Rows
from .link import Link


class Dropout(Link):
    """Some of the numbers that it reads, per step or per sequence, become zero in training. `stream` numbers
    its random numbers."""

    def __init__(self, name: str, read: str, width: int, rate: float, stream: int) -> None:
        super().__init__(name, read)
        self.width, self.rate, self.stream = width, rate, stream

    def forward(self, rec: Recording, value: Any) -> Rows:
        if rec.dropout_seed is None:
            return value.rows(rec)
        out = value.copied(rec, self.name, self.width)
        rec.backend.drop_out(rec, out, self.stream, self.width, self.rate)
        return out

    def backward(self, rec: Recording, *gradients: Rows, need: tuple[bool, ...]) -> tuple[Rows | None, ...]:
        (d,) = gradients
        if rec.dropout_seed is not None:
            rec.backend.drop_out(rec, d, self.stream, self.width, self.rate)
        return (d,)
