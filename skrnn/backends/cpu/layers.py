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
from ...batches import PackedSteps
from .elementary import functions, keyed
from .gemm import matmul_kernels, panel_widths
from .recurrent import compile_cell, layer_kernels
from .simd import lanes
from .workspace import Parameters, Workspace, run


@cache
def compiled(cell: str, activation: str, reset_after: bool, dtype: np.dtype):
    key = f"{cell} {activation} {reset_after}"
    named_after_cell = functions(dtype)._replace(jit=keyed(key, dtype.name))
    built = cells.build(named_after_cell, cell, activation, reset_after)
    return built, compile_cell(built, key, dtype)


@dataclass
class Trace:
    """What a forward pass leaves for the backward pass."""

    steps: PackedSteps
    X: np.ndarray
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
    """

    def __init__(self, cell, n_in, n_hidden, dtype, *, activation="tanh", reset_after=True) -> None:
        if cell != "rnn":
            activation = "tanh"  # one compiled kernel whatever the unused parameter says
        if cell != "gru":
            reset_after = True
        self.cell, self.kernels = compiled(cell, activation, bool(reset_after), dtype)
        self.dtype, self.n_in, self.n_hidden = dtype, n_in, n_hidden
        self.lanes = L = lanes(dtype)
        self.panels = P = -(-n_hidden // L)
        self.width = P * L  # Hp: hidden units with the unused lanes of the last panel
        self.gates = cells.GATES[cell]
        self.ranges = {"input": self.cell.input_slots, "hidden": self.cell.hidden_slots}
        if self.cell.reset is not None:
            self.ranges["late"] = self.cell.late_slots
        shapes = {}
        for part, (lo, hi) in self.ranges.items():
            shapes[f"{part} weight"] = (P, n_in if part == "input" else n_hidden, (hi - lo) * L)
        for part, (lo, hi) in self.ranges.items():
            shapes[f"{part} bias"] = (P, (hi - lo) * L)
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
        P, L, H = self.panels, self.lanes, self.n_hidden
        for section, name, letters in self._sections():
            by_gate = weights[name].reshape(len(self.gates), H, -1)
            padded = np.zeros((len(letters), P * L, by_gate.shape[2]), self.dtype)
            padded[:, :H] = by_gate[[self.gates.index(g) for g in letters]]
            panels = padded.reshape(len(letters), P, L, -1).transpose(1, 3, 0, 2)
            views[section][:] = panels.ravel()

    def unpack(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """The inverse of `pack`."""
        views = self.parameters.views(flat)
        P, L, H, n_gates = self.panels, self.lanes, self.n_hidden, len(self.gates)
        weights = {
            "weight_ih": np.zeros((n_gates, H, self.n_in), self.dtype),
            "weight_hh": np.zeros((n_gates, H, H), self.dtype),
            "bias_ih": np.zeros((n_gates, H, 1), self.dtype),
            "bias_hh": np.zeros((n_gates, H, 1), self.dtype),
        }
        for section, name, letters in self._sections():
            panels = views[section].reshape(P, -1, len(letters), L).transpose(2, 0, 3, 1)
            by_gate = panels.reshape(len(letters), P * L, -1)[:, :H]
            weights[name][[self.gates.index(g) for g in letters]] = by_gate
        shapes = {"weight_ih": (-1, self.n_in), "weight_hh": (-1, H)}
        return {name: w.reshape(shapes.get(name, -1)) for name, w in weights.items()}

    # --- passes ------------------------------------------------------------------------------------
    def _flops(self, steps: PackedSteps) -> float:
        return 2.0 * steps.n_rows * self.width * self.cell.n_slots * (self.n_in + self.n_hidden + 8)

    def forward(self, params, X, steps, state, mask, keep, work: Workspace, name) -> Trace:
        """Run over time.

        Parameters
        ----------
        X : flat (R, F); state : (h, c) each (B, H) in sorted order, or None for zeros
        mask : flat (B, Hp) recurrent dropout, or None; keep : whether `backward` will follow
        """
        cell, B, R, Hp = self.cell, len(steps), steps.n_rows, self.width
        views = self.parameters.views(params)
        empty = np.empty(0, self.dtype)
        bias = work.get(name, "bias", size=self.panels * cell.n_slots * self.lanes)
        by_slot = bias.reshape(self.panels, cell.n_slots, self.lanes)
        by_slot[:] = 0
        for part, (lo, hi) in self.ranges.items():
            with np.errstate(over="ignore", invalid="ignore"):  # weights that diverge end in `Diverged`
                by_slot[:, lo:hi] += views[f"{part} bias"].reshape(self.panels, hi - lo, self.lanes)
        H = work.get(name, "H", size=(B + R) * Hp)
        C = work.get(name, "C", size=((B + R) if keep else B) * Hp) if cell.has_c else empty
        G = work.get(name, "G", size=(R if keep else B) * Hp * cell.n_slots)
        RH = work.get(name, "RH", size=((B + R) if keep else B) * Hp) if cell.reset else empty
        h0, c0 = state if state is not None else (None, None)
        self._set_first(H, h0, B)
        if cell.has_c:
            self._set_first(C, c0, B)
        A = H
        if mask is not None:
            A = work.get(name, "A", size=(B + R) * Hp)
            np.multiply(H[: B * Hp], mask, out=A[: B * Hp])

        def part(lo, hi):
            self.kernels.forward(
                lo, hi, B, self.n_in, self.n_hidden, self.panels, steps.counts, steps.row_at, X,
                views["input weight"], views["hidden weight"], views.get("late weight", empty), bias,
                H, A, C, G, RH, empty if mask is None else mask, mask is not None, keep,
            )  # fmt: skip

        run(part, work.shares(steps, self._flops(steps)))
        return Trace(steps, X, H, A, C, G, RH, mask)

    def _set_first(self, states, first, B) -> None:
        rows = states[: B * self.width].reshape(B, self.width)
        rows[:] = 0
        if first is not None:
            rows[:, : self.n_hidden] = first

    def last_states(self, trace: Trace) -> tuple[np.ndarray, np.ndarray | None]:
        """(h, c) of shape (B, H) after each sequence's last step; copies, in sorted order."""
        steps, B = trace.steps, len(trace.steps)
        h = trace.H.reshape(-1, self.width)[B + steps.last_rows, : self.n_hidden]
        if not self.cell.has_c:
            return h, None
        C = trace.C.reshape(-1, self.width)
        rows = B + steps.last_rows if len(C) > B else np.arange(B)
        return h, C[rows, : self.n_hidden]

    def backward(self, params, grads, trace, dY, dH, dC, need_dX, work: Workspace, name):
        """Back-propagation through time; consumes `trace`.

        Parameters
        ----------
        dY : flat (R, Hp), gradient of each hidden state, or None
        dH, dC : flat (B, Hp), gradient of the last states; overwritten with that of the first ones
        grads : flat, written with the gradient of `params`

        Returns
        -------
        dX : flat (R, Fp) with row length Fp = F rounded up to whole vectors, or None
        """
        cell, steps, L, P = self.cell, trace.steps, self.lanes, self.panels
        B, R, F, H, Hp = len(steps), steps.n_rows, self.n_in, self.n_hidden, self.width
        kernels, views, into = (
            layer_kernels(self.dtype),
            self.parameters.views(params),
            self.parameters.views(grads),
        )
        S, z_row = cell.n_slots, P * cell.n_slots * L
        empty, masked, late = (
            np.empty(0, self.dtype),
            trace.mask is not None,
            cell.reset is not None,
        )
        transposed = {"late": empty}
        for part in (set(self.ranges) - {"input"}) | ({"input"} if need_dX else set()):
            lo, hi = self.ranges[part]
            n_out = F if part == "input" else H
            transposed[part] = work.get(
                name,
                "transposed",
                part,
                size=sum(panel_widths(n_out, self.dtype)) * L * P * (hi - lo) * L,
            )
            kernels.transpose_panels(P, n_out, hi - lo, views[f"{part} weight"], transposed[part])
        D = work.get(name, "D", size=B * Hp) if masked or late else empty
        flops = self._flops(steps)

        def through_time(lo, hi):
            self.kernels.backward(
                lo, hi, B, H, P, steps.counts, steps.row_at, transposed["hidden"], transposed["late"],
                trace.H, trace.A, trace.C, trace.G, empty if dY is None else dY, dY is not None, dH,
                dC if cell.has_c else empty, D, trace.mask if masked else empty, masked,
            )  # fmt: skip

        run(through_time, work.shares(steps, flops))

        ragged = steps.counts[-1] != B
        past = {"hidden": trace.A, "late": trace.RH}
        if ragged:
            for part in past.keys() & self.ranges.keys():
                packed = work.get(name, "past", part, size=R * Hp)
                kernels.previous_rows(B, steps.counts, steps.row_at, Hp, past[part], packed)
                past[part] = packed
        grads[:] = 0
        sums = work.get(name, "bias sums", size=z_row)

        def of_weights(p_lo, p_hi):
            for part, (lo, hi) in self.ranges.items():
                a, a_row, n = (trace.X, F, F) if part == "input" else (past[part], Hp, H)
                kernels.weight_gradients(
                    p_lo,
                    p_hi,
                    R,
                    n,
                    a,
                    a_row,
                    trace.G,
                    z_row,
                    S,
                    lo,
                    hi - lo,
                    into[f"{part} weight"],
                )
            kernels.column_sums(p_lo * S * L, p_hi * S * L, R, trace.G, z_row, sums)

        run(of_weights, work.split(P, flops))
        for part, (lo, hi) in self.ranges.items():
            into[f"{part} bias"].reshape(P, -1)[:] = sums.reshape(P, -1)[:, lo * L : hi * L]
        if not need_dX:
            return None
        lo, hi = self.ranges["input"]
        vectors = sum(panel_widths(F, self.dtype))
        dX = work.get(name, "dX", size=R * vectors * L)
        dX[:] = 0
        matmul, _ = matmul_kernels(self.dtype)

        def of_input(r_lo, r_hi):
            matmul(
                r_hi - r_lo, vectors, trace.G, r_lo * z_row + lo * L, z_row, S * L, (hi - lo) * L, P,
                transposed["input"], dX, r_lo * vectors * L, vectors * L,
            )  # fmt: skip

        run(of_input, work.split(R, flops))
        return dX
