"""A recurrent layer in one direction.

Parameters live in one flat vector: for the slots that the input, the state, and r * h feed, weights
(n_in, slots * H), so that neighbouring threads read neighbouring numbers, then biases. `pack` and
`unpack` translate from and to arrays in PyTorch's layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ... import cells
from ...batches import SIZE_R, Steps
from ..cpu.workspace import Parameters
from . import devices, stepwise, tiles
from .elementary import functions
from .recurrent import clear_tail, copy, sum_biases
from .seam import Matrix
from .tape import Tape
from .workspace import Rows, Workspace


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
        shapes = {
            f"{part} weight": (n_in if part == "input" else n_hidden, columns)
            for part, columns in self.columns.items()
        }
        self.bias_from = sum(prod(shape) for shape in shapes.values())
        shapes |= {f"{part} bias": (columns,) for part, columns in self.columns.items()}
        self.parameters = Parameters(shapes)
        self.size = self.parameters.size

    # --- PyTorch's layout and back -----------------------------------------------------------------
    def _sections(self):
        """(section, PyTorch name, gate letters) of every section."""
        for part, (lo, hi) in self.ranges.items():
            for kind in ("weight", "bias"):
                name = f"{kind}_ih" if part == "input" else f"{kind}_hh"
                yield f"{part} {kind}", name, self.cell.slots[lo:hi]

    def pack(self, weights: Mapping[str, np.ndarray], flat: np.ndarray) -> None:
        """Write weight_ih (g H, F), weight_hh (g H, H), bias_ih, bias_hh (g H,) into `flat`."""
        views = self.parameters.views(flat)
        for section, name, letters in self._sections():
            by_gate = weights[name].reshape(len(self.gates), self.n_hidden, -1)
            by_slot = by_gate[[self.gates.index(g) for g in letters]]
            views[section][:] = by_slot.transpose(2, 0, 1).ravel()

    def unpack(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """The inverse of `pack`."""
        views, H, n_gates = self.parameters.views(flat), self.n_hidden, len(self.gates)
        shapes = {"weight_ih": (n_gates * H, self.n_in), "weight_hh": (n_gates * H, H)}
        weights = {}
        for section, name, letters in self._sections():
            if name not in weights:
                weights[name] = np.zeros(shapes.get(name, (n_gates * H,)), self.dtype)
            by_slot = views[section].reshape(-1, len(letters), H).transpose(1, 2, 0)
            by_gate = weights[name].reshape(n_gates, H, -1)
            by_gate[[self.gates.index(g) for g in letters]] = by_slot
        return weights

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

    def late_weight(self, views: dict[str, Any], work: Workspace) -> Any:
        """The weights of r * h, flat; of a cell without them something that nobody reads."""
        return views.get("late weight", work.resident(None))

    def forward(self, tape: Tape, params, X: Rows, steps: Steps, mask, keep, work: Workspace, name) -> Trace:
        """Record a pass over time.

        Parameters
        ----------
        X : rows (R, F)
        mask : flat (B, H) recurrent dropout, or None
        keep : whether `backward` will follow
        """
        H, S, has_c = self.n_hidden, self.cell.n_slots, self.cell.has_c
        B, R = steps.max_sequences, steps.max_rows
        on_device, views, nothing = tape.steps(steps), self.parameters.views(params), work.resident(None)

        def buffer(key: str, size: int, needed: bool = True) -> Any:
            return work.get(name, key, size=size) if needed else nothing

        trace = Trace(
            X, buffer("G", R * S * H), buffer("H", R * H), buffer("A", R * H, keep),
            buffer("C", R * H, keep and has_c), buffer("RH", R * H, keep and self.cell.reset is not None),
            buffer("h first", B * H, keep), buffer("c first", B * H, keep and has_c),
            buffer("h last", B * H), buffer("c last", B * H, has_c),
            nothing if mask is None else mask, mask is not None,
        )  # fmt: skip
        carried = [rows.array for rows in self.carried(steps, work, name)] + [nothing]
        bias = work.get(name, "bias", size=S * H)
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
        self.regime.forward(tape, self, on_device, views, trace, bias, carried[:2], keep, work, name)
        return trace

    def states(self, trace: Trace) -> Rows:
        """The hidden states as rows (R, H)."""
        return Rows(trace.H, self.n_hidden)

    def carried(self, steps: Steps, work: Workspace, name) -> list[Rows]:
        """States (B, H) that a chunk takes over from the one before: h, and c of a cell that has it."""
        names, size = ("h", "c") if self.cell.has_c else ("h",), steps.max_sequences * self.n_hidden
        return [Rows(work.get(name, "carried", state, size=size), self.n_hidden) for state in names]

    def keep_last(self, tape: Tape, trace: Trace, steps: Steps, keep, work: Workspace, name) -> None:
        """Record that the last states go into `carried`."""
        size = steps.max_sequences * self.n_hidden
        for last, carried in zip((trace.h_last, trace.c_last), self.carried(steps, work, name), strict=False):
            tape.each(copy, size, size, last, carried.array)

    def backward(
        self, tape: Tape, params, grads, trace: Trace, dY: Rows | None, steps: Steps, need_dX, work, name
    ) -> Rows | None:
        """Record back-propagation through time; consumes `trace`.

        Parameters
        ----------
        dY : rows (R, at least H), gradient of each hidden state, or None
        grads : flat, written with the gradient of `params`

        Returns
        -------
        dX : rows (R, F), or None

        Notes
        -----
        `gradient_of_states`, in: of the last states; out: of the first ones.
        """
        H, S, F, R = self.n_hidden, self.cell.n_slots, self.n_in, steps.max_rows
        on_device, nothing = tape.steps(steps), work.resident(None)
        views, into = self.parameters.views(params), self.parameters.views(grads)
        has_dY = dY is not None
        d_states = (dY.array if has_dY else nothing), (dY.row if has_dY else 0), has_dY
        into_states = self.gradient_of_states(steps, work, name)
        self.regime.backward(tape, self, on_device, views, trace, d_states, into_states, work, name)
        # Products over all rows that there is room for: those that the minibatch lacks are to count nothing.
        tails = [(trace.G, S * H), (trace.X.array, trace.X.row), (trace.A, H)]
        for array, row in [*tails, *([(trace.RH, H)] if self.cell.reset is not None else [])]:
            tape.each(clear_tail, R * row, on_device.sizes, SIZE_R, R, row, array)
        read = {
            "input": Matrix(trace.X.array, R, F, trace.X.row),
            "hidden": Matrix(trace.A, R, H, H),
            "late": Matrix(trace.RH, R, H, H),
        }
        ones = Matrix(work.ones(R), 1, R, R)
        for part, columns in self.columns.items():
            dz = self.gates_of(trace.G, R, part)
            tape.multiply(read[part], dz, self.weight_of(into, part), ta=True)
            tape.multiply(ones, dz, Matrix(into[f"{part} bias"], 1, columns, columns))
        if not need_dX:
            return None
        dX = work.get(name, "dX", size=R * F)
        tape.multiply(
            self.gates_of(trace.G, R, "input"), self.weight_of(views, "input"), Matrix(dX, R, F, F), tb=True
        )
        return Rows(dX, F)

    def gradient_of_states(self, steps: Steps, work: Workspace, name) -> tuple[Any, Any]:
        """Flat (B, H) dH and dC."""
        size = steps.max_sequences * self.n_hidden
        dH = work.get(name, "dH", size=size)
        return dH, work.get(name, "dC", size=size) if self.cell.has_c else work.resident(None)
