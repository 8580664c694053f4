"""A recurrent layer in one direction.

Parameters: for the slots that the input, the state, and r * h feed, weights (n_in, slots * H), so that
neighbouring threads read neighbouring numbers, then biases.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ... import cells
from ...batches import SIZE_B, SIZE_R
from ...parameters import Place
from ...recording import Recording, Rows
from . import devices, stepwise, tiles
from .elementary import functions
from .recurrent import clear_tail, copy, sum_biases
from .seam import Matrix


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


class RecurrentLayer:
    """One layer in one direction.

    Parameters
    ----------
    cell, activation, reset_after
        See `skrnn.cells.build`.
    n_in, n_hidden : int
        Features per step, hidden units.
    bf16 : bool
        Not on a GPU.

    Raises
    ------
    ValueError
        For `bf16`.
    """

    def __init__(
        self, cell, n_in, n_hidden, dtype, *, activation="tanh", reset_after=True, bf16=False
    ) -> None:
        if bf16:
            raise ValueError("dtype='bfloat16' is for the CPU: use 'float32' on a GPU, or device='cpu'")
        if cell != "rnn":
            activation = "tanh"  # one compiled kernel whatever the unused parameter says
        if cell != "gru":
            reset_after = True
        self.key = cell, activation, bool(reset_after)
        self.dtype, self.n_in, self.n_hidden = dtype, n_in, n_hidden
        self.width = n_hidden
        self.cell = cells.build(functions(dtype), *self.key)
        self.tile = tiles.plan(self.cell, n_hidden, dtype, devices.current().shared_bytes)
        self.regime = stepwise if self.tile is None else tiles
        self.gates = cells.GATES[cell]
        self.ranges = {"input": self.cell.input_slots, "hidden": self.cell.hidden_slots}
        if self.cell.reset is not None:
            self.ranges["late"] = self.cell.late_slots
        self.columns = {part: (hi - lo) * n_hidden for part, (lo, hi) in self.ranges.items()}

    def places(self, suffix: str) -> Iterator[Place]:
        """How it keeps weight_ih (g H, F), weight_hh (g H, H), bias_ih, bias_hh (g H,)."""
        for kind in ("weight", "bias"):
            for part, (lo, hi) in self.ranges.items():
                section = f"{kind}_ih{suffix}" if part == "input" else f"{kind}_hh{suffix}"
                n_in = 1 if kind == "bias" else self.n_in if part == "input" else self.n_hidden
                gates = tuple(self.gates.index(gate) for gate in self.cell.slots[lo:hi])
                stored = (n_in, hi - lo, self.n_hidden)
                yield Place(f"{part} {kind}", section, len(self.gates), gates, stored, (1, 2, 0))

    # --- passes ------------------------------------------------------------------------------------
    def flops(self, n_rows: float) -> float:
        """Of a forward pass over so many steps; activations count as eight products."""
        return 2.0 * n_rows * self.n_hidden * self.cell.n_slots * (self.n_in + self.n_hidden + 8)

    def gates_of(self, G: Any, n_rows: int, part: str) -> Matrix:
        """The columns of G (n_rows, S, H) that belong to a part."""
        H = self.n_hidden
        return Matrix(G, n_rows, self.columns[part], self.cell.n_slots * H, self.ranges[part][0] * H)

    def weight_of(self, views: dict[str, Any], part: str) -> Matrix:
        n_in = self.n_in if part == "input" else self.n_hidden
        return Matrix(views[f"{part} weight"], n_in, self.columns[part], self.columns[part])

    def forward(self, rec: Recording, X: Rows, mask, name: str) -> Trace:
        """Record a pass over time with the parameters of the part `name`.

        Parameters
        ----------
        X : rows (R, F)
        mask : flat (B, H) recurrent dropout, or None
        """
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
        self.regime.forward(rec, self, trace, bias, carried[:2], name)
        return trace

    def states(self, trace: Trace) -> Rows:
        """The hidden states as rows (R, H)."""
        return Rows(trace.H, self.n_hidden)

    def carried(self, rec: Recording, name: str) -> list[Rows]:
        """States (B, H) that a chunk takes over from the one before: h, and c of a cell that has it."""
        names = ("h", "c") if self.cell.has_c else ("h",)
        return [rec.rows(name, "carried", state, row=self.n_hidden, per=SIZE_B) for state in names]

    def keep_last(self, rec: Recording, trace: Trace, name: str) -> None:
        """Record that the last states go into `carried`."""
        size = rec.steps.max_sequences * self.n_hidden
        for last, carried in zip((trace.h_last, trace.c_last), self.carried(rec, name), strict=False):
            rec.tape.each(copy, size, size, last, carried.array)

    def backward(self, rec: Recording, trace: Trace, dY: Rows | None, need_dX: bool, name: str) -> Rows | None:
        """Record back-propagation through time; consumes `trace`.

        Parameters
        ----------
        dY : rows (R, at least H), gradient of each hidden state, or None

        Returns
        -------
        dX : rows (R, F), or None

        Notes
        -----
        `gradient_of_states`, in: of the last states; out: of the first ones.
        """
        H, S, F, R = self.n_hidden, self.cell.n_slots, self.n_in, rec.steps.max_rows
        tape, into, nothing, has_dY = rec.tape, rec.gradients(name), rec.work.resident(None), dY is not None
        d_states = (dY.array if has_dY else nothing), (dY.row if has_dY else 0), has_dY
        self.regime.backward(rec, self, trace, d_states, self.gradient_of_states(rec, name), name)
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
        dX, weight = rec.rows(name, "dX", row=F), self.weight_of(rec.weights(name), "input")
        tape.multiply(self.gates_of(trace.G, R, "input"), weight, Matrix(dX.array, R, F, F), tb=True)
        return dX

    def gradient_of_states(self, rec: Recording, name: str) -> tuple[Any, Any]:
        """Flat (B, H) dH and dC."""
        size = rec.steps.max_sequences * self.n_hidden
        dH = rec.buffer(name, "dH", size=size)
        return dH, rec.buffer(name, "dC", size=size) if self.cell.has_c else rec.work.resident(None)
