"""A recurrent layer in one direction.

Parameters are kept in the layout of the kernels' panels, so that nothing is packed again in a training step
but the transposed recurrent panels. Lanes beyond the last hidden unit hold zero weights and get zero
gradients.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from ... import cells
from ...batches import SIZE_B, SIZE_R
from ...parameters import Place
from ...recording import Recording, Rows
from . import bfloat16
from .directions import direction_kernels
from .elementary import functions, keyed
from .gemm import widest
from .recurrent import compile_cell, layer_kernels
from .simd import lanes
from .sums import beside
from .transposed import make_input_gradient, make_transpose

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
        self.panels = self.vectors // units
        self.width = self.vectors * L  # Hp: hidden units with the unused lanes of the last vector
        self.z_row = units * self.cell.n_slots * L
        self.gates = cells.GATES[cell]
        self.ranges = {"input": self.cell.input_slots, "hidden": self.cell.hidden_slots}
        if self.cell.reset is not None:
            self.ranges["late"] = self.cell.late_slots
        self.rows = {part: units * (hi - lo) * L for part, (lo, hi) in self.ranges.items()}

    def places(self, suffix: str) -> Iterator[Place]:
        """How panels keep weight_ih (g H, F), weight_hh (g H, H), bias_ih, bias_hh (g H,)."""
        for kind in ("weight", "bias"):
            for part, (lo, hi) in self.ranges.items():
                section = f"{kind}_ih{suffix}" if part == "input" else f"{kind}_hh{suffix}"
                columns = 1 if kind == "bias" else self.n_in if part == "input" else self.n_hidden
                stored = (self.panels, columns, self.units, hi - lo, self.lanes)
                gates = tuple(self.gates.index(gate) for gate in self.cell.slots[lo:hi])
                yield Place(f"{part} {kind}", section, len(self.gates), gates, stored, (3, 0, 2, 4, 1))

    # --- passes ------------------------------------------------------------------------------------
    def flops(self, n_rows: float) -> float:
        """Of a forward pass over so many steps; activations count as eight products."""
        return 2.0 * n_rows * self.width * self.cell.n_slots * (self.n_in + self.n_hidden + 8)

    def forward(self, rec: Recording, X: Rows, mask, name: str) -> Trace:
        """Record a pass over time with the parameters of the part `name`.

        Parameters
        ----------
        X : rows (R, F)
        mask : flat (B, Hp) recurrent dropout, or None
        """
        cell, Hp, P, keep = self.cell, self.width, self.panels, rec.keep
        tape, steps, B, R = rec.tape, rec.steps, rec.steps.max_sequences, rec.steps.max_rows
        kernels, views, empty = layer_kernels(self.dtype), rec.weights(name), rec.work.empty
        bias = rec.buffer(name, "bias", size=P * self.z_row)
        for k, (part, (lo, _)) in enumerate(self.ranges.items()):
            tape.call(
                kernels.add_bias, P, self.rows[part], self.z_row, lo * self.lanes,
                views[f"{part} bias"], k == 0, bias,
            )  # fmt: skip
        H = rec.buffer(name, "H", size=(B + R) * Hp)
        C = rec.buffer(name, "C", size=((B + R) if keep else B) * Hp) if cell.has_c else empty
        G = rec.buffer(name, "G", size=(R if keep else B) * P * self.z_row)
        RH = rec.buffer(name, "RH", size=((B + R) if keep else B) * Hp) if cell.reset else empty
        carried = self.carried(rec, name)
        for states, first in zip((H, C), carried, strict=False):
            tape.call(kernels.begin, steps.sizes, Hp, first.array, states)
        A = H
        if mask is not None:
            A = rec.buffer(name, "A", size=(B + R) * Hp)
            tape.call(kernels.mask_first, steps.sizes, Hp, H, mask, A)
        weights = {part: views[f"{part} weight"] for part in self.ranges}
        A2 = RH2 = empty
        read = X
        if self.bf16:
            A2, RH2 = (rec.buffer(name, k, size=n * Hp, dtype=BF16) for k, n in (("A2", B + R), ("RH2", B)))
            tape.call(bfloat16.bf16_first, steps.sizes, Hp, A, A2)
            row = self.n_in + self.n_in % 2
            read = Rows(rec.buffer(name, "X2", size=R * row, dtype=BF16), row)
            tape.share(bfloat16.bf16_rows, steps.sizes, self.n_in, X.array, X.row, X.past, row, read.array)
            for part, row in self.rows.items():
                depth = self.n_in if part == "input" else self.n_hidden
                weights[part] = self._bf16_panels(rec, P, depth, row, weights[part], name, part)
        tape.share(
            self.kernels.forward, *steps.layout, self.n_in, self.n_hidden, P, read.array,
            read.row, read.past, weights["input"], weights["hidden"], weights.get("late", empty), bias, H, A, A2, C, G, RH, RH2,
            empty if mask is None else mask, mask is not None, keep,
        )  # fmt: skip
        return Trace(X, H, A, C, G, RH, mask)

    def _bf16_panels(self, rec, P, depth, row, panels, *name) -> np.ndarray:
        out = rec.buffer(*name, "bf16", size=P * (depth + depth % 2) * row, dtype=BF16)
        rec.tape.share(bfloat16.bf16_panels, P, depth, row, panels, out)
        return out

    def states(self, trace: Trace) -> Rows:
        """The hidden states as rows (R, Hp) of which the first `n_hidden` columns count."""
        return Rows(trace.H, self.width, past=True)

    def carried(self, rec: Recording, name: str) -> list[Rows]:
        """States (B, Hp) that a chunk takes over from the one before: h, and c of a cell that has it."""
        names = ("h", "c") if self.cell.has_c else ("h",)
        return [rec.rows(name, "carried", state, row=self.width, per=SIZE_B) for state in names]

    def keep_last(self, rec: Recording, trace: Trace, name: str) -> None:
        """Record that the last states go into `carried`."""
        steps, last, Hp = rec.steps, direction_kernels(self.dtype).last_states, self.width
        kept = (trace.H, True), (trace.C, rec.keep)
        for (states, every_step), out in zip(kept, self.carried(rec, name), strict=False):
            rec.tape.call(
                last, steps.sizes, steps.row_at, steps.lengths, Hp, states, every_step, Hp, 0, Hp, out.array
            )

    def backward(self, rec: Recording, trace: Trace, dY: Rows | None, need_dX: bool, name: str) -> Rows | None:
        """Record back-propagation through time; consumes `trace`.

        Parameters
        ----------
        dY : rows (R, at least Hp), gradient of each hidden state, or None

        Returns
        -------
        dX : rows (R, F rounded up to whole vectors), zero beyond F, or None

        Notes
        -----
        `gradient_of_states`, in: of the last states; out: of the first ones.
        """
        tape, steps, work = rec.tape, rec.steps, rec.work
        cell, P, F, H, Hp, z_row = self.cell, self.panels, self.n_in, self.n_hidden, self.width, self.z_row
        kernels, empty = layer_kernels(self.dtype), work.empty
        views, into = rec.weights(name), rec.gradients(name)
        masked, late = trace.mask is not None, cell.reset is not None
        wide = {part: widest(-(-F // self.lanes)) if part == "input" else widest(self.vectors)
                for part in self.ranges}  # fmt: skip
        transposed = {"late": empty}
        for part, row in self.rows.items():
            if part == "input" and not need_dX:
                continue
            n_out = F if part == "input" else H
            size = -(-n_out // self.lanes) * self.lanes * P * row
            transposed[part] = rec.buffer(name, "transposed", part, size=size)
            tape.share(
                make_transpose(self.dtype), P, n_out, row, wide[part], views[f"{part} weight"],
                transposed[part],
            )  # fmt: skip
        G2 = work.empty
        if self.bf16:
            G2 = rec.buffer(name, "G2", size=steps.max_sequences * P * z_row, dtype=BF16)
            for part in [part for part in self.ranges if part != "input"]:
                columns = wide[part] * self.lanes
                transposed[part] = self._bf16_panels(
                    rec, Hp // columns, P * self.rows[part], columns, transposed[part], name,
                    "transposed", part,
                )  # fmt: skip
        dH, dC = self.gradient_of_states(rec, name)
        D = rec.buffer(name, "D", size=steps.max_sequences * Hp) if masked or late else empty
        tape.share(
            self.kernels.backward(wide["hidden"]), *steps.layout, P, trace.H, trace.A, trace.C, trace.G, G2,
            empty if dY is None else dY.array, 0 if dY is None else dY.row, dY is not None, dH, dC, D,
            transposed["hidden"], transposed["late"], trace.mask if masked else empty, masked,
        )  # fmt: skip
        sums = rec.buffer(name, "bias sums", size=P * z_row)
        n_weights = sum(len(into[f"{part} weight"]) for part in self.ranges)
        wide_sums = beside(steps.max_rows, n_weights + P * z_row, work, name, "wide sums")
        tape.share(
            self.kernels.weight_gradients, steps.sizes, steps.counts, steps.row_at, F, H, P, trace.X.array,
            trace.X.row, trace.X.past, trace.A, trace.RH, trace.G, into["input weight"], into["hidden weight"],
            into.get("late weight", empty), sums, wide_sums,
        )  # fmt: skip
        for part, (lo, _) in self.ranges.items():
            tape.call(
                kernels.take_bias, P, self.rows[part], z_row, lo * self.lanes, sums, into[f"{part} bias"]
            )
        if not need_dX:
            return None
        vectors = -(-F // self.lanes)
        dX = rec.buffer(name, "dX", size=steps.max_rows * vectors * self.lanes)
        lo, _ = self.ranges["input"]
        tape.share(
            make_input_gradient(self.dtype, wide["input"]), steps.sizes, SIZE_R, P, trace.G, z_row,
            lo * self.lanes, self.rows["input"], vectors // wide["input"], transposed["input"],
            P * self.rows["input"], dX,
        )  # fmt: skip
        return Rows(dX, vectors * self.lanes)

    def gradient_of_states(self, rec: Recording, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Flat (B, Hp) dH and dC."""
        size = rec.steps.max_sequences * self.width
        dH = rec.buffer(name, "dH", size=size)
        return dH, rec.buffer(name, "dC", size=size) if self.cell.has_c else rec.work.empty
