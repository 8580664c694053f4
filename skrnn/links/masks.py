"""Masks over steps and features in training (SpecAugment)."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..recording import Recording, Rows
from .link import Link


class Stretches(NamedTuple):
    """Of steps or of features of a sequence: `n` stretches, each of up to a `share` of them all."""

    n: int
    share: float


class Masks(Link):
    """In training, stretches of steps and of features become zero (Park et al. 2019, "SpecAugment"), of each
    sequence in each epoch others; `stream` numbers their random numbers."""

    def __init__(
        self, name: str, read: str, width: int, steps: Stretches, features: Stretches, stream: int
    ) -> None:
        super().__init__(name, read)
        self.width, self.stretches, self.stream = width, (steps, features), stream

    def forward(self, rec: Recording, value: Any) -> Rows:
        if rec.dropout_seed is None:
            return value.rows(rec)
        out = value.copied(rec, self.name, self.width)
        rec.backend.mask_out(rec, out, self.stream, self.width, *self.stretches)
        return out

    def backward(self, rec: Recording, *gradients: Rows, need: tuple[bool, ...]) -> tuple[Rows | None, ...]:
        (d,) = gradients
        if rec.dropout_seed is not None:
            rec.backend.mask_out(rec, d, self.stream, self.width, *self.stretches)
        return (d,)
