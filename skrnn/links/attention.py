"""Attention over time: one learned query weighs the steps of each sequence.

The form is that of Bahdanau et al. (2015, "Neural machine translation by jointly learning to align and
translate"), with a query that is learned (Yang et al. 2016, "Hierarchical attention networks").
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from ..batches import SIZE_B
from ..layout import Place, Section
from ..recording import Recording, Rows
from .initial import glorot
from .link import Link


class Attention(Link):
    """The mean over time, a_1 h_1 + a_2 h_2 + ..., with the weights a_t = softmax_t(v . tanh(W h_t))."""

    # The weights of the first steps are known only after the last one.
    per, whole = SIZE_B, True

    def __init__(self, backend: ModuleType, dtype: np.dtype, name: str, read: str, width: int) -> None:
        super().__init__(name, read)
        self.width, self.product = width, backend.Dense(width, width, dtype)

    def sections(self) -> Iterator[Section]:
        """Glorot-uniform both: the query is a map to one score."""
        D = self.width
        yield Section(f"{self.name}.weight", (D, D), glorot(D), True)
        yield Section(f"{self.name}.query", (D,), lambda rng, shape: glorot(1)(rng, (1, *shape))[0], True)

    def places(self) -> Iterator[tuple[str, Iterator[Place]]]:
        columns = {"weight": self.width, "query": 1}  # the query lies as a bias would
        yield (
            self.name,
            (self.product.place(name, f"{self.name}.{name}", n) for name, n in columns.items()),
        )

    def forward(self, rec: Recording, states: Any) -> Rows:
        H, own = states.rows(rec), self.product
        U = rec.new_rows(self.name, "products", row=own.width)
        rec.backend.clear_rows(rec, U)  # without a bias, products are added to what is there
        own.forward(rec, H, self.name, onto=U)
        a = rec.new_rows(self.name, "weights", row=1, dtype=np.dtype(np.float64))
        out = rec.new_rows(self.name, "out", row=self.width, per=SIZE_B)
        rec.backend.attend(rec, H, U, rec.weights(self.name)["query"], a, out)
        rec.kept[self.name] = U, a
        return out

    def backward(self, rec: Recording, *gradients: Rows, need: tuple[bool, ...]) -> tuple[Rows | None, ...]:
        (d,), (read,), (U, a) = gradients, self.reads, rec.kept[self.name]
        H, v = rec.values[read].rows(rec), rec.weights(self.name)["query"]
        dU, dH = (
            rec.new_rows(self.name, "d products", row=U.row),
            rec.new_rows(self.name, "dH", row=self.width),
        )
        rec.backend.attend_backward(rec, d, H, U, v, a, dU, rec.gradients(self.name)["query"], dH)
        dX = self.product.backward(rec, H, dU, need[0], self.name)
        if need[0]:
            rec.backend.add(rec, dX, dH)
        return (dX,)

    def weights(self, rec: Recording) -> Rows:
        """After `forward`: a, rows (R, 1) in float64."""
        return rec.kept[self.name][1]

    def flops(self, n_rows: float) -> float:
        return 2 * self.width**2 * n_rows
