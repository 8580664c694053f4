"""A recurrent layer in one direction.

Parameters: for the slots that the input, the state, and r * h feed, weights (n_in, slots * H), so that
neighbouring threads read neighbouring numbers, then biases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import cells
from ...batches import SIZE_B, SIZE_R
from ...recording import Recording, Rows
from ..layer import Layer
from . import stepwise, tiles, turns
from .device import Matrix
from .elementary import functions
from .recurrent_kernels import copy, sum_biases
from .rows import clear_tail, copy_rows


@dataclass
class Trace:
    """What a recorded forward pass leaves for the backward pass, and for those who ask for states."""

    X: Rows
    G: Any
    H: Any
    A: Any
    C: Any
    RH: Any
    h_first: Any
    c_first: Any
    h_last: Any
    c_last: Any
    mask: Any
    masked: bool


class RecurrentLayer(Layer):
    """One layer in one direction, see `Layer`; `bf16`, which is not for a GPU, raises a ValueError."""

    def __init__(
        self, cell: str, n_in: int, n_hidden: int, dtype: np.dtype, activation: str, reset_after: bool,
        bf16: bool,
    ) -> None:  # fmt: skip
        if bf16:
            raise ValueError("dtype='bfloat16' is for the CPU: use 'float32' on a GPU, or device='cpu'")
        self.key = cell, activation, reset_after
        built = cells.build(functions(dtype), *self.key)
        super().__init__(cells.GATES[cell], built, n_in, n_hidden, dtype, n_hidden, axes=(1, 2, 0))
        self.tile = tiles.plan(built, n_hidden, dtype, turns.current().shared_bytes)
        self.regime = stepwise if self.tile is None else tiles
        self.columns = {part: (hi - lo) * n_hidden for part, (lo, hi) in self.ranges.items()}

    def stored(self, columns: int, n_slots: int) -> tuple[int, ...]:
        return columns, n_slots, self.n_hidden

    def gates_of(self, G: Any, n_rows: int, part: str) -> Matrix:
        """The columns of G (n_rows, S, H) that belong to a part."""
        H = self.n_hidden
        return Matrix(G, n_rows, self.columns[part], self.cell.n_slots * H, self.ranges[part][0] * H)

    def weight_of(self, views: dict[str, Any], part: str) -> Matrix:
        n_in = self.n_in if part == "input" else self.n_hidden
        return Matrix(views[f"{part} weight"], n_in, self.columns[part], self.columns[part])

    def forward(self, rec: Recording, X: Rows, mask, name: str, begun: bool = False) -> Trace:
        """Record a pass over time with the parameters of the part `name`: of rows X (R, F), with recurrent
        dropout, `mask` flat (B, H), from the first states in `carried` if they are `begun` there."""
        H, S, has_c, tape, keep = self.n_hidden, self.cell.n_slots, self.cell.has_c, rec.tape, rec.keep
        B, R = rec.steps.max_sequences, rec.steps.max_rows
        views, nothing = rec.weights(name), rec.work.resident(None)

        def buffer(key: str, size: int, needed: bool = True) -> Any:
            return rec.buffer(name, key, size=size) if needed else nothing

        trace = Trace(
            X, buffer("G", R * S * H), buffer("H", R * H), buffer("A", R * H, keep),
            buffer("C", R * H, keep and has_c), buffer("RH", R * H, keep and self.cell.reset is not None),
            buffer("h first", B * H, keep), buffer("c first", B * H, keep and has_c),
            buffer("h last", B * H), buffer("c last", B * H, has_c),
            nothing if mask is None else mask, mask is not None,
        )  # fmt: skip
        carried = [rows.array for rows in self.carried(rec, name)] + [nothing]
        bias = rec.buffer(name, "bias", size=S * H)
        late = views.get("late bias", nothing), self.ranges.get("late", (0, 0))
        tape.each(
            sum_biases, S * H, H, *self.ranges["input"], *self.ranges["hidden"], *late[1],
            views["input bias"], views["hidden bias"], late[0], bias,
        )  # fmt: skip
        tape.multiply(
            Matrix(X.array, R, self.n_in, X.row),
            self.weight_of(views, "input"),
            self.gates_of(trace.G, R, "input"),
        )
        self.regime.forward(rec, self, trace, bias, [begun, *carried[:2]], name)
        return trace

    def states(self, trace: Trace) -> Rows:
        """The hidden states as rows (R, H)."""
        return Rows(trace.H, self.n_hidden)

    def last_states(self, rec: Recording, trace: Trace, target: Rows, column: int) -> None:
        """Record that each sequence's last state goes to these columns: h, or c if the target is of cells."""
        last = Rows(trace.c_last if target.cell else trace.h_last, self.n_hidden, SIZE_B)
        copy_rows(rec, last, 0, target, column, self.n_hidden)

    def keep_last(self, rec: Recording, trace: Trace, name: str) -> None:
        """Record that the last states go into `carried`."""
        size = rec.steps.max_sequences * self.n_hidden
        for last, carried in zip((trace.h_last, trace.c_last), self.carried(rec, name), strict=False):
            rec.tape.each(copy, size, size, last, carried.array)

    def backward(
        self, rec: Recording, trace: Trace, dY: Rows | None, need_dX: bool, name: str
    ) -> Rows | None:
        """Record back-propagation through time; consumes `trace`. dY: rows (R, at least H), or None. Returns
        dX, rows (R, F), or None."""
        H, S, F, R = self.n_hidden, self.cell.n_slots, self.n_in, rec.steps.max_rows
        tape, into, nothing, has_dY = rec.tape, rec.gradients(name), rec.work.resident(None), dY is not None
        d_states = (dY.array if has_dY else nothing), (dY.row if has_dY else 0), has_dY
        into_states = [rows.array for rows in self.gradient_of_states(rec, name)] + [nothing]
        self.regime.backward(rec, self, trace, d_states, into_states[:2], name)
        # Products over all rows that there is room for: those that the minibatch lacks are to count nothing.
        tails = [(trace.G, S * H), (trace.X.array, trace.X.row), (trace.A, H)]
        for array, row in [*tails, *([(trace.RH, H)] if self.cell.reset is not None else [])]:
            tape.each(clear_tail, R * row, tape.steps(rec.steps).sizes, SIZE_R, R, row, array)
        read = {
            "input": Matrix(trace.X.array, R, F, trace.X.row),
            "hidden": Matrix(trace.A, R, H, H),
            "late": Matrix(trace.RH, R, H, H),
        }
        ones = Matrix(rec.work.ones(R), 1, R, R)
        for part, columns in self.columns.items():
            dz = self.gates_of(trace.G, R, part)
            tape.multiply(read[part], dz, self.weight_of(into, part), ta=True)
            tape.multiply(ones, dz, Matrix(into[f"{part} bias"], 1, columns, columns))
        if not need_dX:
            return None
        dX, weight = rec.new_rows(name, "dX", row=F), self.weight_of(rec.weights(name), "input")
        tape.multiply(self.gates_of(trace.G, R, "input"), weight, Matrix(dX.array, R, F, F), tb=True)
        return dX
