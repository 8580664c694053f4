"""A recurrent layer, in one direction or both."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from ..batches import SIZE_B, SIZE_R
from ..cells import GATES
from ..parameters import Place, Section
from ..recording import Recording, Rows
from .initial import glorot, orthogonal_gates, zeros
from .link import Link


class States:
    """What a recurrent layer makes: the states of its directions, joined when somebody asks for rows."""

    def __init__(self, name: str, parts: list[tuple[Any, Any]]) -> None:
        self.name, self.parts = name, parts  # of each direction, the layer and its trace
        self._rows: Rows | None = None

    def rows(self, rec: Recording) -> Rows:
        """Side by side in forward order: rows (R, D)."""
        if self._rows is None:
            ((layer, trace), *others) = self.parts
            self._rows = self.copied(rec) if others else layer.states(trace)
        return self._rows

    def copied(self, rec: Recording) -> Rows:
        """The same, to be changed in place."""
        return rec.backend.join(rec, self.parts, self.name)


class Recurrent(Link):
    """A layer of an RNN, an LSTM or a GRU.

    Parameters
    ----------
    name, read : str
    suffix : str
        Of the names of its arrays: "_l0".
    n_in, n_hidden : int
        Features per step, hidden units.
    directions : {1, 2}
    recurrent_dropout : float
    stream : int
        Number of its recurrent masks' stream of random numbers; a second direction has the next but one.
    options
        See the backend's `RecurrentLayer`.
    """

    def __init__(
        self, backend: ModuleType, dtype: np.dtype, name: str, read: str, suffix: str, cell: str, n_in: int,
        n_hidden: int, *, directions: int = 1, recurrent_dropout: float = 0.0, stream: int = 0, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(name, read)
        self.cell, self.n_in, self.n_hidden = cell, n_in, n_hidden
        self.width, self.whole = n_hidden * directions, directions == 2
        self.recurrent_dropout, self.stream = recurrent_dropout, stream
        self.layers = {
            own: backend.RecurrentLayer(cell, n_in, n_hidden, dtype, **options)
            for own in (suffix, f"{suffix}_reverse")[:directions]
        }

    def sections(self) -> Iterator[Section]:
        """Glorot-uniform input weights, orthogonal recurrent ones, zero biases but 1 for the forget gate (Gers
        et al. 2000)."""
        H, gates = self.n_hidden, GATES[self.cell]

        def biases(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
            return np.concatenate([np.full(H, 1.0 if gate == "f" else 0.0) for gate in gates])

        for suffix in self.layers:
            rows = len(gates) * H
            yield Section(f"weight_ih{suffix}", (rows, self.n_in), glorot(H), True)  # gates: separate matrices
            yield Section(f"weight_hh{suffix}", (rows, H), orthogonal_gates, True)
            yield Section(f"bias_ih{suffix}", (rows,), biases, False)
            yield Section(f"bias_hh{suffix}", (rows,), zeros, False)

    def places(self) -> Iterator[tuple[str, Iterator[Place]]]:
        for suffix, layer in self.layers.items():
            yield suffix, layer.places(suffix)

    def forward(self, rec: Recording, value: Any) -> States:
        X, parts, backend = value.rows(rec), [], rec.backend
        for d, (part, layer) in enumerate(self.layers.items()):
            mask = None
            if rec.dropout_seed is not None and self.recurrent_dropout > 0:
                mask = backend.sequence_mask(rec, self.stream + 2 * d, layer, self.recurrent_dropout, part)
            read = backend.reverse(rec, X, self.n_in, part) if d else X
            trace = layer.forward(rec, read, mask, part)
            if rec.carry:
                layer.keep_last(rec, trace, part)
            parts.append((layer, trace))
        return States(self.name, parts)

    def backward(self, rec: Recording, *gradients: Rows, need: tuple[bool, ...]) -> tuple[Rows | None, ...]:
        backend, dX, column = rec.backend, [], 0
        of = {d.per: d for d in gradients}
        for part, (layer, trace) in zip(self.layers, rec.values[self.name].parts, strict=True):
            backend.begin_backward(rec, layer, of.get(SIZE_B), column, part)
            dY = of.get(SIZE_R)
            if dY is not None and len(self.layers) == 2:
                dY = backend.split(rec, dY, column, layer, column > 0, part)
            dX.append(layer.backward(rec, trace, dY, need[0], part))
            column += self.n_hidden
        if len(dX) == 2 and need[0]:
            backend.add_reversed(rec, *dX)
        return (dX[0],)

    def carried(self, rec: Recording) -> list[list[Rows]]:
        """For every direction, where h (and c) are carried over, as rows (B, n_hidden)."""
        return [layer.carried(rec, part) for part, layer in self.layers.items()]

    def flops(self, n_rows: float) -> float:
        return sum(layer.flops(n_rows) for layer in self.layers.values())
