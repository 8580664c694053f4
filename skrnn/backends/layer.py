"""What the recurrent layers of all backends have in common."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..batches import SIZE_B
from ..cells import Cell
from ..layout import Place
from ..recording import Recording, Rows


class Layer:
    """One layer in one direction.

    `gates` are letters in PyTorch's order; `width`: numbers in a row of states, of which the first `n_hidden`
    count; `axes` make (slot, unit, column) of what `stored` gives.
    """

    def __init__(
        self, gates: str, cell: Cell, n_in: int, n_hidden: int, dtype: np.dtype, width: int,
        axes: tuple[int, ...],
    ) -> None:  # fmt: skip
        self.gates, self.cell, self.dtype = gates, cell, dtype
        self.n_in, self.n_hidden, self.width, self._axes = n_in, n_hidden, width, axes
        # Which slots the input, the state, and r * h feed.
        self.ranges = {"input": cell.input_slots, "hidden": cell.hidden_slots}
        if cell.reset is not None:
            self.ranges["late"] = cell.late_slots

    def stored(self, columns: int, n_slots: int) -> tuple[int, ...]:
        """The shape in memory of so many slots of all units, with weights for so many columns."""
        raise NotImplementedError

    def places(self, suffix: str, prefix: str = "") -> Iterator[Place]:
        """How it keeps weight_ih (g H, F), weight_hh (g H, H), bias_ih, bias_hh (g H,): first all weights."""
        for kind in ("weight", "bias"):
            for part, (lo, hi) in self.ranges.items():
                section = f"{prefix}{kind}_{'ih' if part == 'input' else 'hh'}{suffix}"
                columns = 1 if kind == "bias" else self.n_in if part == "input" else self.n_hidden
                gates = tuple([self.gates.index(gate) for gate in self.cell.slots[lo:hi]])
                stored = self.stored(columns, hi - lo)
                yield Place(f"{part} {kind}", section, len(self.gates), gates, stored, self._axes)

    def flops(self, n_rows: float) -> float:
        """Of a forward pass over so many steps; activations count as eight products."""
        return 2.0 * n_rows * self.width * self.cell.n_slots * (self.n_in + self.n_hidden + 8)

    def carried(self, rec: Recording, name: str) -> list[Rows]:
        """States (B, H) that a chunk takes over from the one before: h, and c of a cell that has it."""
        return self._of_states(rec, name, "carried")

    def gradient_of_states(self, rec: Recording, name: str) -> list[Rows]:
        """Of h, and c of a cell that has it: before the backward pass of the last ones, after it of the
        first."""
        return self._of_states(rec, name, "gradient")

    def _of_states(self, rec: Recording, *name: str) -> list[Rows]:
        states = "hc" if self.cell.has_c else "h"
        return [rec.new_rows(*name, state, row=self.width, per=SIZE_B) for state in states]
