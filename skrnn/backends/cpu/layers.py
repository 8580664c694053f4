"""A recurrent layer in one direction.

Parameters live in one flat vector, in the layout of the kernels' panels, so that nothing is packed
again in a training step but the transposed recurrent panels. `pack` and `unpack` translate from and
to arrays in PyTorch's layout. Lanes beyond the last hidden unit hold zero weights and get zero
gradients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import prod

import numpy as np

from ... import cells
from ...batches import Steps
from . import bfloat16
from .directions import direction_kernels
from .elementary import functions, keyed
from .gemm import widest
from .recurrent import compile_cell, layer_kernels
from .simd import lanes
from .sums import beside
from .tape import Tape
from .transposed import make_input_gradient, make_transpose
from .workspace import Parameters, Rows, Workspace

BF16 = np.dtype(np.uint16)  # what holds a bfloat16


@cache
def compiled(cell: str, activation: str, reset_after: bool, dtype: np.dtype, units: int, bf16: bool):
    key = f"{cell} {activation} {reset_after}"
    named_after_cell = functions(dtype)._replace(jit=keyed(key, dtype.name))
    built = cells.build(named_after_cell, cell, activation, reset_after)
    return built, compile_cell(built, key, dtype, units, bf16)


@dataclass
class Trace:
    """What a recorded forward pass leaves for the backward pass."""

    X: Rows
    H: np.ndarray
    A: np.ndarray
    C: np.ndarray
    G: np.ndarray
    RH: np.ndarray
    mask: np.ndarray | None


class RecurrentLayer:
    """One layer in one direction.

    Parameters
    ----------
    cell, activation, reset_after
        See `skrnn.cells.build`.
    n_in, n_hidden : int
        Features per step, hidden units.
    bf16 : bool
        Whether products in time read bfloat16; all else is float32 then.

    Raises
    ------
    ValueError
        If the processor cannot multiply bfloat16.
    """

    def __init__(
        self, cell, n_in, n_hidden, dtype, *, activation="tanh", reset_after=True, bf16=False
    ) -> None:
        if bf16 and not bfloat16.available():
            raise ValueError(
                "dtype='bfloat16' needs a processor with AVX512_BF16, which this one lacks; use 'float32'"
            )
        if cell != "rnn":
            activation = "tanh"  # one compiled kernel whatever the unused parameter says
        if cell != "gru":
            reset_after = True
        self.dtype, self.n_in, self.n_hidden, self.bf16 = dtype, n_in, n_hidden, bf16
        self.lanes = L = lanes(dtype)
        self.vectors = -(-n_hidden // L)
        # A cell with one slot fills a tile with several vectors of units instead.
        self.units = units = widest(self.vectors) if cell == "rnn" else 1
        self.cell, self.kernels = compiled(cell, activation, bool(reset_after), dtype, units, bf16)
        self.panels = P = self.vectors // units
        self.width = self.vectors * L  # Hp: hidden units with the unused lanes of the last vector
        self.z_row = units * self.cell.n_slots * L
        self.gates = cells.GATES[cell]
        self.ranges = {"input": self.cell.input_slots, "hidden": self.cell.hidden_slots}
        if self.cell.reset is not None:
            self.ranges["late"] = self.cell.late_slots
        self.rows = {part: units * (hi - lo) * L for part, (lo, hi) in self.ranges.items()}
        shapes = {}
        for part, row in self.rows.items():
            shapes[f"{part} weight"] = (P, n_in if part == "input" else n_hidden, row)
        for part, row in self.rows.items():
            shapes[f"{part} bias"] = (P, row)
        self.parameters = Parameters(shapes)
        self.size = self.parameters.size
        self.bias_from = sum(prod(s) for name, s in shapes.items() if name.endswith("weight"))

    # --- PyTorch's layout to panels and back -------------------------------------------------------
    def _sections(self):
        """(section, PyTorch name, gate letters) of every section."""
        for part, (lo, hi) in self.ranges.items():
            for kind in ("weight", "bias"):
                name = f"{kind}_ih" if part == "input" else f"{kind}_hh"
                yield f"{part} {kind}", name, self.cell.slots[lo:hi]

    def pack(self, weights: Mapping[str, np.ndarray], flat: np.ndarray) -> None:
        """Write weight_ih (g H, F), weight_hh (g H, H), bias_ih, bias_hh (g H,) into `flat`."""
        views = self.parameters.views(flat)
        P, U, L, H = self.panels, self.units, self.lanes, self.n_hidden
        for section, name, letters in self._sections():
            by_gate = weights[name].reshape(len(self.gates), H, -1)
            padded = np.zeros((len(letters), P * U * L, by_gate.shape[2]), self.dtype)
            padded[:, :H] = by_gate[[self.gates.index(g) for g in letters]]
            panels = padded.reshape(len(letters), P, U, L, -1).transpose(1, 4, 2, 0, 3)
            views[section][:] = panels.ravel()

    def unpack(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """The inverse of `pack`."""
        views = self.parameters.views(flat)
        P, U, L, H, n_gates = self.panels, self.units, self.lanes, self.n_hidden, len(self.gates)
        weights = {
            "weight_ih": np.zeros((n_gates, H, self.n_in), self.dtype),
            "weight_hh": np.zeros((n_gates, H, H), self.dtype),
            "bias_ih": np.zeros((n_gates, H, 1), self.dtype),
            "bias_hh": np.zeros((n_gates, H, 1), self.dtype),
        }
        for section, name, letters in self._sections():
            panels = views[section].reshape(P, -1, U, len(letters), L).transpose(3, 0, 2, 4, 1)
            by_gate = panels.reshape(len(letters), P * U * L, -1)[:, :H]
            weights[name][[self.gates.index(g) for g in letters]] = by_gate
        shapes = {"weight_ih": (-1, self.n_in), "weight_hh": (-1, H)}
        return {name: w.reshape(shapes.get(name, -1)) for name, w in weights.items()}

    # --- passes ------------------------------------------------------------------------------------
    def flops(self, n_rows: float) -> float:
        """Of a forward pass over so many steps; activations count as eight products."""
        return 2.0 * n_rows * self.width * self.cell.n_slots * (self.n_in + self.n_hidden + 8)

    def forward(self, tape: Tape, params, X: Rows, steps: Steps, mask, keep, work: Workspace, name) -> Trace:
        """Record a pass over time.

        Parameters
        ----------
        X : rows (R, F)
        mask : flat (B, Hp) recurrent dropout, or None
        keep : whether `backward` will follow
        """
        cell, Hp, P = self.cell, self.width, self.panels
        B, R = steps.max_sequences, steps.max_rows
        kernels, views, empty = layer_kernels(self.dtype), self.parameters.views(params), work.empty
        bias = work.get(name, "bias", size=P * self.z_row)
        for k, (part, (lo, _)) in enumerate(self.ranges.items()):
            tape.call(
                kernels.add_bias, P, self.rows[part], self.z_row, lo * self.lanes,
                views[f"{part} bias"], k == 0, bias,
            )  # fmt: skip
        H = work.get(name, "H", size=(B + R) * Hp)
        C = work.get(name, "C", size=((B + R) if keep else B) * Hp) if cell.has_c else empty
        G = work.get(name, "G", size=(R if keep else B) * P * self.z_row)
        RH = work.get(name, "RH", size=((B + R) if keep else B) * Hp) if cell.reset else empty
        carried = self.carried(steps, work, name)
        for states, first in zip((H, C), carried, strict=False):
            tape.call(kernels.begin, steps.sizes, Hp, first.array, states)
        A = H
        if mask is not None:
            A = work.get(name, "A", size=(B + R) * Hp)
            tape.call(kernels.mask_first, steps.sizes, Hp, H, mask, A)
        weights = {part: views[f"{part} weight"] for part in self.ranges}
        A2 = RH2 = work.empty
        read = X
        if self.bf16:
            A2, RH2 = (work.get(name, k, size=n * Hp, dtype=BF16) for k, n in (("A2", B + R), ("RH2", B)))
            tape.call(bfloat16.bf16_first, steps.sizes, Hp, A, A2)
            row = self.n_in + self.n_in % 2
            read = Rows(work.get(name, "X2", size=R * row, dtype=BF16), row, False)
            tape.share(bfloat16.bf16_rows, steps.sizes, self.n_in, *X, row, read.array)
            for part, row in self.rows.items():
                depth = self.n_in if part == "input" else self.n_hidden
                weights[part] = self._bf16_panels(tape, P, depth, row, weights[part], work, name, part)
        tape.share(
            self.kernels.forward, *steps.layout, self.n_in, self.n_hidden, P, *read, weights["input"],
            weights["hidden"], weights.get("late", empty), bias, H, A, A2, C, G, RH, RH2,
            empty if mask is None else mask, mask is not None, keep,
        )  # fmt: skip
        return Trace(X, H, A, C, G, RH, mask)

    def _bf16_panels(self, tape, P, depth, row, panels, work, *name) -> np.ndarray:
        out = work.get(*name, "bf16", size=P * (depth + depth % 2) * row, dtype=BF16)
        tape.share(bfloat16.bf16_panels, P, depth, row, panels, out)
        return out

    def states(self, trace: Trace) -> Rows:
        """The hidden states as rows (R, Hp) of which the first `n_hidden` columns count."""
        return Rows(trace.H, self.width, True)

    def carried(self, steps: Steps, work: Workspace, name) -> list[Rows]:
        """States (B, Hp) that a chunk takes over from the one before: h, and c of a cell that has it."""
        names, size = ("h", "c") if self.cell.has_c else ("h",), steps.max_sequences * self.width
        return [Rows(work.get(name, "carried", state, size=size), self.width, False) for state in names]

    def keep_last(self, tape: Tape, trace: Trace, steps: Steps, keep, work: Workspace, name) -> None:
        """Record that the last states go into `carried`."""
        last, Hp = direction_kernels(self.dtype).last_states, self.width
        kept = (trace.H, True), (trace.C, keep)
        for (states, every_step), out in zip(kept, self.carried(steps, work, name), strict=False):
            tape.call(
                last, steps.sizes, steps.row_at, steps.lengths, Hp, states, every_step, Hp, 0, Hp, out.array
            )

    def backward(
        self, tape: Tape, params, grads, trace: Trace, dY: Rows | None, steps: Steps, need_dX, work, name
    ) -> Rows | None:
        """Record back-propagation through time; consumes `trace`.

        Parameters
        ----------
        dY : rows (R, at least Hp), gradient of each hidden state, or None
        grads : flat, written with the gradient of `params`

        Returns
        -------
        dX : rows (R, F rounded up to whole vectors), zero beyond F, or None

        Notes
        -----
        `gradient_of_states`, in: of the last states; out: of the first ones.
        """
        cell, P, F, H, Hp, z_row = self.cell, self.panels, self.n_in, self.n_hidden, self.width, self.z_row
        kernels, empty = layer_kernels(self.dtype), work.empty
        views, into = self.parameters.views(params), self.parameters.views(grads)
        masked, late = trace.mask is not None, cell.reset is not None
        wide = {part: widest(-(-F // self.lanes)) if part == "input" else widest(self.vectors)
                for part in self.ranges}  # fmt: skip
        transposed = {"late": empty}
        for part, row in self.rows.items():
            if part == "input" and not need_dX:
                continue
            n_out = F if part == "input" else H
            size = -(-n_out // self.lanes) * self.lanes * P * row
            transposed[part] = work.get(name, "transposed", part, size=size)
            tape.share(
                make_transpose(self.dtype),
                P,
                n_out,
                row,
                wide[part],
                views[f"{part} weight"],
                transposed[part],
            )
        G2 = work.empty
        if self.bf16:
            G2 = work.get(name, "G2", size=steps.max_sequences * P * z_row, dtype=BF16)
            for part in [part for part in self.ranges if part != "input"]:
                columns = wide[part] * self.lanes
                transposed[part] = self._bf16_panels(
                    tape, Hp // columns, P * self.rows[part], columns, transposed[part], work, name,
                    "transposed", part,
                )  # fmt: skip
        dH, dC = self.gradient_of_states(steps, work, name)
        D = work.get(name, "D", size=steps.max_sequences * Hp) if masked or late else empty
        tape.share(
            self.kernels.backward(wide["hidden"]), *steps.layout, P, trace.H, trace.A, trace.C, trace.G, G2,
            empty if dY is None else dY.array, 0 if dY is None else dY.row, dY is not None, dH, dC, D,
            transposed["hidden"], transposed["late"], trace.mask if masked else empty, masked,
        )  # fmt: skip
        sums = work.get(name, "bias sums", size=P * z_row)
        wide_sums = beside(steps.max_rows, self.bias_from + P * z_row, work, name, "wide sums")
        tape.share(
            self.kernels.weight_gradients, steps.sizes, steps.counts, steps.row_at, F, H, P, *trace.X,
            trace.A, trace.RH, trace.G, into["input weight"], into["hidden weight"],
            into.get("late weight", empty), sums, wide_sums,
        )  # fmt: skip
        for part, (lo, _) in self.ranges.items():
            tape.call(
                kernels.take_bias, P, self.rows[part], z_row, lo * self.lanes, sums, into[f"{part} bias"]
            )
        if not need_dX:
            return None
        vectors = -(-F // self.lanes)
        dX = work.get(name, "dX", size=steps.max_rows * vectors * self.lanes)
        lo, _ = self.ranges["input"]
        tape.share(
            make_input_gradient(self.dtype, wide["input"]), steps.sizes, True, P, trace.G, z_row,
            lo * self.lanes, self.rows["input"], vectors // wide["input"], transposed["input"],
            P * self.rows["input"], dX,
        )  # fmt: skip
        return Rows(dX, vectors * self.lanes, False)

    def gradient_of_states(self, steps: Steps, work: Workspace, name) -> tuple[np.ndarray, np.ndarray]:
        """Flat (B, Hp) dH and dC."""
        size = steps.max_sequences * self.width
        dH = work.get(name, "dH", size=size)
        return dH, work.get(name, "dC", size=size) if self.cell.has_c else work.empty
