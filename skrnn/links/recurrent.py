"""A recurrent layer, in one direction or both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from ..batches import SIZE_B, SIZE_R
from ..cells import GATES, STATES, read_by
from ..layout import Place, Section
from ..recording import Distinct, Recording, Rows
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
            self._rows = self.copied(rec, self.name) if others else layer.states(trace)
        return self._rows

    def copied(self, rec: Recording, name: str, width: int | None = None) -> Rows:
        """The same, in a buffer of that name, to be changed in place. `width`: theirs."""
        out, at = rec.new_rows(name, "joined", row=sum(layer.n_hidden for layer, _ in self.parts)), 0
        for layer, trace in self.parts:
            rec.backend.copy_rows(rec, layer.states(trace), 0, out, at, layer.n_hidden, reverse=at > 0)
            at += layer.n_hidden
        return out

    def last(self, rec: Recording, name: str, cell: bool = False) -> Rows:
        """After each sequence's last step, directions side by side: rows (B, D) of h, or of c."""
        if cell and not self.parts[0][0].cell.has_c:
            raise ValueError(f"{name!r} asks for memory cells, which {self.name!r} lacks")
        row, at = sum(layer.n_hidden for layer, _ in self.parts), 0
        out = rec.new_rows(name, "last", row=row, per=SIZE_B)._replace(cell=cell)
        for layer, trace in self.parts:
            layer.last_states(rec, trace, out, at)
            at += layer.n_hidden
        return out


class Recurrent(Link):
    """A layer of an RNN, an LSTM or a GRU, in one or two directions.

    The names of its arrays begin with `prefix` and end in `suffix`, "_l0". `stream` numbers the random
    numbers of its recurrent masks; a second direction has the next but one. For `activation` and
    `reset_after` see `skrnn.cells.build`. With `bf16` products in time read bfloat16; all else is float32
    then. `first` names the values, rows (B, directions n_hidden), in which h, and c of an LSTM, begin; those
    that are not named begin at zero.

    Raises
    ------
    ValueError
        If the device cannot multiply bfloat16, or the cell has fewer states than are named.
    """

    def __init__(
        self, backend: ModuleType, dtype: np.dtype, name: str, read: str, suffix: str, cell: str,
        n_in: int, n_hidden: int, *, directions: int = 1, recurrent_dropout: float = 0.0, stream: int = 0,
        activation: str = "tanh", reset_after: bool = True, bf16: bool = False, first: Sequence[str] = (),
        prefix: str = "",
    ) -> None:  # fmt: skip
        super().__init__(name, read, *first)
        if len(first) > len(STATES[cell]):
            raise ValueError(f"{name!r} cannot begin in {len(first)} states, {', '.join(first)}")
        activation, reset_after = read_by(cell, activation, reset_after)
        self.cell, self.n_in, self.n_hidden = cell, n_in, n_hidden
        # What is read from behind, or begins in what has been learnt, is not read in chunks.
        self.width, self.whole = n_hidden * directions, directions == 2 or len(first) > 0
        self.recurrent_dropout, self.stream, self.bf16 = recurrent_dropout, stream, bf16
        self.prefix = prefix
        self.layers = {
            prefix + own: backend.RecurrentLayer(cell, n_in, n_hidden, dtype, activation, reset_after, bf16)
            for own in (suffix, f"{suffix}_reverse")[:directions]
        }

    def sections(self) -> Iterator[Section]:
        """Glorot-uniform input weights, orthogonal recurrent ones, zero biases but 1 for the forget gate
        (Gers et al. 2000)."""
        H, gates = self.n_hidden, GATES[self.cell]

        def biases(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
            return np.concatenate([np.full(H, 1.0 if gate == "f" else 0.0) for gate in gates])

        for part in self.layers:
            rows, prefix, suffix = len(gates) * H, self.prefix, part.removeprefix(self.prefix)
            # gates are separate matrices
            yield Section(f"{prefix}weight_ih{suffix}", (rows, self.n_in), glorot(H), True)
            yield Section(f"{prefix}weight_hh{suffix}", (rows, H), orthogonal_gates, True)
            yield Section(f"{prefix}bias_ih{suffix}", (rows,), biases, False)
            yield Section(f"{prefix}bias_hh{suffix}", (rows,), zeros, False)

    def places(self) -> Iterator[tuple[str, Iterator[Place]]]:
        for part, layer in self.layers.items():
            yield part, layer.places(part.removeprefix(self.prefix), self.prefix)

    def forward(self, rec: Recording, value: Any, *first: Any) -> States:
        X, parts, backend = value.rows(rec), [], rec.backend
        for d, (part, layer) in enumerate(self.layers.items()):
            mask = None
            if rec.dropout_seed is not None and self.recurrent_dropout > 0:
                mask = backend.sequence_mask(rec, self.stream + 2 * d, layer, self.recurrent_dropout, part)
            read = X
            if d and isinstance(X, Distinct):
                read = X.mirrored(rec, part)
            elif d:  # every sequence from its own end
                read = rec.new_rows(part, "reversed", row=self.n_in)
                backend.copy_rows(rec, X, 0, read, 0, self.n_in, reverse=True)
            if first:
                self._begin(rec, d, layer.carried(rec, part), first)
            trace = layer.forward(rec, read, mask, part, begun=len(first) > 0)
            if rec.carry:
                layer.keep_last(rec, trace, part)
            parts.append((layer, trace))
        return States(self.name, parts)

    def backward(self, rec: Recording, *gradients: Rows, need: tuple[bool, ...]) -> tuple[Rows | None, ...]:
        backend, dX, column = rec.backend, [], 0
        of = {(d.per, d.cell): d for d in gradients}
        d_first = [
            rec.new_rows(self.name, "d", name, row=self.width, per=SIZE_B) if needed else None
            for name, needed in zip(self.reads[1:], need[1:], strict=True)
        ]
        for part, (layer, trace) in zip(self.layers, rec.values[self.name].parts, strict=True):
            states = layer.gradient_of_states(rec, part)  # (h, c), or (h,)
            for rows, cell in zip(states, (False, True), strict=False):  # of the last ones
                if (SIZE_B, cell) in of:
                    backend.copy_rows(rec, of[SIZE_B, cell], column, rows, 0, self.n_hidden, pad=True)
                else:
                    backend.clear_rows(rec, rows)
            dY = of.get((SIZE_R, False))
            if dY is not None and (len(self.layers) == 2 or dY.row < layer.width):
                own = rec.new_rows(part, "own gradient", row=layer.width)
                backend.copy_rows(rec, dY, column, own, 0, self.n_hidden, reverse=column > 0, pad=True)
                dY = own
            dX.append(layer.backward(rec, trace, dY, need[0], part))
            for rows, d in zip(states, d_first, strict=False):  # of the first ones
                if d is not None:
                    backend.copy_rows(rec, rows, 0, d, column, self.n_hidden)
            column += self.n_hidden
        if len(dX) == 2 and need[0]:
            if isinstance(trace.X, Distinct):
                backend.add(rec.along(trace.X.steps), *dX)
            else:
                backend.add_reversed(rec, *dX)
        return dX[0], *d_first

    def _begin(self, rec: Recording, direction: int, carried: list[Rows], first: tuple[Any, ...]) -> None:
        """Record that a direction's states begin in its columns of the values `first`."""
        for k, rows in enumerate(carried):
            if k < len(first):
                at = direction * self.n_hidden
                rec.backend.first_states(rec, first[k].rows(rec), at, self.n_hidden, rows)
            else:
                rec.backend.first_states(rec, rows, 0, 0, rows)  # zeros

    def carried(self, rec: Recording) -> list[list[Rows]]:
        """For every direction, where h (and c) are carried over, as rows (B, n_hidden)."""
        return [layer.carried(rec, part) for part, layer in self.layers.items()]

    def flops(self, n_rows: float) -> float:
        return sum(layer.flops(n_rows) for layer in self.layers.values())
