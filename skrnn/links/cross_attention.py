"""Attention of one side of pairs to the other: each step looks back at all steps of its mate.

The form is the global one of Luong, Pham & Manning (2015, "Effective approaches to attention-based neural
machine translation"): what a step looks for is known from its own layers, and no layer waits for what it has
found, so that these stay one product for all steps.
"""

from __future__ import annotations

from typing import Any

from ..batches import SIZE_R
from ..recording import Recording, Rows
from .link import Link


class CrossAttention(Link):
    """c_t = a_t1 v_1 + a_t2 v_2 + ... over the steps s of the mate, with a_ts = softmax_s(q_t . k_s).

    It reads `queries` of this side, and `keys` and `values`, which may be the same, of the other one. Queries
    and keys are of the width `n_key`, values and what it makes of `width`.
    """

    per, side, whole, crosses = SIZE_R, 0, True, (0, 1, 1)

    def __init__(self, name: str, queries: str, keys: str, values: str, n_key: int, width: int) -> None:
        super().__init__(name, queries, keys, values)
        self.n_key, self.width = n_key, width

    def forward(self, rec: Recording, *values: Any) -> Rows:
        Q, K, V = self._read(rec)
        out = rec.new_rows(self.name, "out", row=self.width)
        rec.backend.attend_mates(rec, self.n_key, Q, K, V, out)
        return out

    def backward(self, rec: Recording, *gradients: Rows, need: tuple[bool, ...]) -> tuple[Rows | None, ...]:
        (d,), theirs = gradients, rec.of(1)
        dQ = rec.new_rows(self.name, "dQ", row=self.n_key)
        dK = theirs.new_rows(self.name, "dK", row=self.n_key)
        dV = theirs.new_rows(self.name, "dV", row=self.width)
        rec.backend.attend_mates_backward(rec, d, *self._read(rec), dQ, dK, dV)
        return dQ, dK, dV

    def weights(self, rec: Recording) -> Rows:
        """Record a, rows (R, steps of the longest mate) in the network's type; after `forward`."""
        Q, K, V = self._read(rec)
        a = rec.new_rows(self.name, "weights", row=rec.of(1).steps.max_steps)
        out = rec.new_rows(self.name, "out", row=self.width)
        rec.backend.attend_mates(rec, self.n_key, Q, K, V, out, a)
        return a

    def _read(self, rec: Recording) -> tuple[Rows, Rows, Rows]:
        queries, keys, values = (rec.values[name] for name in self.reads)
        theirs = rec.of(1)
        return queries.rows(rec), keys.rows(theirs), values.rows(theirs)

    def flops(self, n_rows: float) -> float:
        """For mates of few steps."""
        return 40.0 * (self.n_key + self.width) * n_rows
