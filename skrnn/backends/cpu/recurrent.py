"""A recurrent layer in one direction.

Parameters are kept in the layout of the kernels' panels, so that a training step only transposes those
through which gradients go back (and with bfloat16 rounds them all). Lanes beyond the last hidden unit hold
zero weights and get zero gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from types import SimpleNamespace

import numpy as np

from ... import cells
from ...batches import SIZE_B, SIZE_CARRIED, SIZE_R
from ...recording import Distinct, Recording, Rows
from ..layer import Layer
from . import bfloat16
from .elementary import functions, keyed
from .folding import projection_kernel, sum_alike_kernel
from .gemm import widest
from .jit import kernel
from .recurrent_kernels import INPUT_ROWS, Panels, backward_kernel, forward_kernel
from .rows import row_kernels
from .simd import clear, copy, lanes
from .sums import beside
from .transposed import make_input_gradient, make_transpose
from .weight_gradients import weight_gradients_kernel

BF16 = np.dtype(np.uint16)  # what holds a bfloat16


@cache
def compiled(cell: str, activation: str, reset_after: bool, dtype: np.dtype, units: int, bf16: bool):
    """The cell, and its kernels: ``forward``, ``project``, ``weight_gradients`` and a factory for
    ``backward(wide)``; each is compiled when first called."""
    key = f"{cell} {activation} {reset_after}"
    named_after_cell = functions(dtype)._replace(jit=keyed(key, dtype.name))
    built = cells.build(named_after_cell, cell, activation, reset_after)
    panels = Panels(built, key, dtype, units, bf16)
    return built, SimpleNamespace(
        forward=forward_kernel(panels),
        project=projection_kernel(panels),
        backward=cache(partial(backward_kernel, panels)),
        weight_gradients=weight_gradients_kernel(panels),
    )


@cache
def layer_kernels(dtype: np.dtype) -> SimpleNamespace:
    """What a layer does around the recurrence: first states and biases."""

    @kernel("begin", dtype.name)
    def begin(sizes, begun, width, carried, states):
        """The first B rows of `states`: those in `carried`, of the chunk before or where all are `begun`
        there; or else zero."""
        n = sizes[SIZE_B] * width
        if begun or sizes[SIZE_CARRIED] != 0:
            copy(n, carried, 0, states, 0)
        else:
            clear(states, 0, n)

    @kernel("mask_first", dtype.name)
    def mask_first(sizes, width, H, mask, A):
        """The first B rows of what the recurrent product reads."""
        for at in range(sizes[SIZE_B] * width):
            A[at] = H[at] * mask[at]

    @kernel("add_bias", dtype.name)
    def add_bias(P, part_row, bias_row, first, source, begins, bias):
        """bias (P, bias_row), cleared if it `begins`, += `source` (P, part_row) from column `first` on."""
        if begins:
            clear(bias, 0, P * bias_row)
        for p in range(P):
            for j in range(part_row):
                bias[p * bias_row + first + j] += source[p * part_row + j]

    @kernel("take_bias", dtype.name)
    def take_bias(P, part_row, bias_row, first, sums, out):
        """The adjoint: out (P, part_row) = columns of the bias' gradient."""
        for p in range(P):
            for j in range(part_row):
                out[p * part_row + j] = sums[p * bias_row + first + j]

    return SimpleNamespace(begin=begin, mask_first=mask_first, add_bias=add_bias, take_bias=take_bias)


@dataclass
class Trace:
    """What a recorded forward pass leaves."""

    X: Rows | Distinct
    H: np.ndarray
    A: np.ndarray
    C: np.ndarray
    G: np.ndarray
    RH: np.ndarray
    mask: np.ndarray | None


class RecurrentLayer(Layer):
    """One layer in one direction, see `Layer`; with `bf16`, products in time read bfloat16, all else float32.

    Raises
    ------
    ValueError
        If the processor cannot multiply bfloat16.
    """

    def __init__(
        self, cell: str, n_in: int, n_hidden: int, dtype: np.dtype, activation: str, reset_after: bool,
        bf16: bool,
    ) -> None:  # fmt: skip
        if bf16 and not bfloat16.available():
            raise ValueError(
                "dtype='bfloat16' needs a processor with AVX512_BF16, which this one lacks; use 'float32'"
            )
        self.bf16, self.lanes = bf16, lanes(dtype)
        self.vectors = -(-n_hidden // self.lanes)
        # A cell with one slot fills a tile with several vectors of units instead.
        self.units = units = widest(self.vectors) if cell == "rnn" else 1
        built, self.kernels = compiled(cell, activation, reset_after, dtype, units, bf16)
        self.panels = self.vectors // units
        # Hp: hidden units with the unused lanes of the last vector
        width, axes = self.vectors * self.lanes, (3, 0, 2, 4, 1)
        super().__init__(cells.GATES[cell], built, n_in, n_hidden, dtype, width, axes)
        self.z_row = units * built.n_slots * self.lanes
        self.rows = {part: units * (hi - lo) * self.lanes for part, (lo, hi) in self.ranges.items()}

    def stored(self, columns: int, n_slots: int) -> tuple[int, ...]:
        return self.panels, columns, self.units, n_slots, self.lanes

    def forward(self, rec: Recording, X: Rows | Distinct, mask, name: str, begun: bool = False) -> Trace:
        """Record a pass over time with the parameters of the part `name`: of rows X (R, F), with recurrent
        dropout, `mask` flat (B, Hp), from the first states in `carried` if they are `begun` there."""
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
        G = rec.buffer(name, "G", size=(R if keep else B + tape.n_threads * INPUT_ROWS) * P * self.z_row)
        RH = rec.buffer(name, "RH", size=((B + R) if keep else B) * Hp) if cell.reset else empty
        carried = self.carried(rec, name)
        for states, first in zip((H, C), carried, strict=False):
            tape.call(kernels.begin, steps.sizes, begun, Hp, first.array, states)
        A = H
        if mask is not None:
            A = rec.buffer(name, "A", size=(B + R) * Hp)
            tape.call(kernels.mask_first, steps.sizes, Hp, H, mask, A)
        weights = {part: views[f"{part} weight"] for part in self.ranges}
        A2 = RH2 = empty
        read, which, n_distinct, Z = X, steps.row, steps.sizes, empty
        if alike := isinstance(X, Distinct):
            read, which, n_distinct = X.kept, X.which, X.steps.sizes
            Z = rec.buffer(name, "Z", size=P * X.steps.max_rows * self.z_row)
            with X.making(tape):
                tape.share(
                    self.kernels.project, n_distinct, self.n_in, P, read.array, read.row, weights["input"],
                    bias, Z,
                )  # fmt: skip
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
            self.kernels.forward, *steps.layout, self.n_in, self.n_hidden, P, read.array, read.row, read.past,
            weights["input"], weights["hidden"], weights.get("late", empty), bias, H, A, A2, C, G, RH, RH2,
            empty if mask is None else mask, mask is not None, keep, which, n_distinct, Z, alike,
        )  # fmt: skip
        return Trace(X, H, A, C, G, RH, mask)

    def _bf16_panels(self, rec, P, depth, row, panels, *name) -> np.ndarray:
        out = rec.buffer(*name, "bf16", size=P * (depth + depth % 2) * row, dtype=BF16)
        rec.tape.share(bfloat16.bf16_panels, P, depth, row, panels, out)
        return out

    def states(self, trace: Trace) -> Rows:
        """The hidden states as rows (R, Hp) of which the first `n_hidden` columns count."""
        return Rows(trace.H, self.width, past=True)

    def last_states(self, rec: Recording, trace: Trace, target: Rows, column: int) -> None:
        """Record that each sequence's last state goes to these columns: h, or c if the target is of cells."""
        states, every_step = (trace.C, rec.keep) if target.cell else (trace.H, True)
        self._last(rec, states, every_step, self.n_hidden, target, column)

    def keep_last(self, rec: Recording, trace: Trace, name: str) -> None:
        """Record that the last states go into `carried`."""
        kept = (trace.H, True), (trace.C, rec.keep)
        for (states, every_step), out in zip(kept, self.carried(rec, name), strict=False):
            self._last(rec, states, every_step, self.width, out, 0)

    def _last(self, rec: Recording, states, every_step, n, target: Rows, column: int) -> None:
        rec.tape.call(
            row_kernels(self.dtype).last_states, rec.steps.sizes, rec.steps.row_at, rec.steps.lengths,
            self.width, states, every_step, n, column, target.row, target.array,
        )  # fmt: skip

    def backward(
        self, rec: Recording, trace: Trace, dY: Rows | None, need_dX: bool, name: str
    ) -> Rows | None:
        """Record back-propagation through time; consumes `trace`. dY: rows (R, at least Hp), or None. Returns
        dX, rows (R, F rounded up to whole vectors), zero beyond F, or None."""
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
        dH, dC, *_ = [rows.array for rows in self.gradient_of_states(rec, name)] + [empty]
        D = rec.buffer(name, "D", size=steps.max_sequences * Hp) if masked or late else empty
        tape.share(
            self.kernels.backward(wide["hidden"]), *steps.layout, P, trace.H, trace.A, trace.C, trace.G, G2,
            empty if dY is None else dY.array, 0 if dY is None else dY.row, dY is not None, dH, dC, D,
            transposed["hidden"], transposed["late"], trace.mask if masked else empty, masked,
        )  # fmt: skip
        sums = rec.buffer(name, "bias sums", size=P * z_row)
        n_weights = sum(len(into[f"{part} weight"]) for part in self.ranges)
        wide_sums = beside(steps.max_rows, n_weights + P * z_row, work, name, "wide sums")
        dW, dU, dV = (into.get(f"{part} weight", empty) for part in ("input", "hidden", "late"))
        alike, of, X, dZ = isinstance(trace.X, Distinct), rec, trace.X, trace.G
        if alike:
            of, X, dZ = rec.along(trace.X.steps), trace.X.kept, self._sum_alike(rec, trace, name)
            tape.share(
                self.kernels.weight_gradients, of.steps.sizes, of.steps.counts, of.steps.row_at, F, 0, P,
                X.array, X.row, X.past, empty, empty, dZ, dW, empty, empty, empty, wide_sums,
            )  # fmt: skip
        tape.share(
            self.kernels.weight_gradients, steps.sizes, steps.counts, steps.row_at, 0 if alike else F, H, P,
            X.array, X.row, X.past, trace.A, trace.RH, trace.G, empty if alike else dW, dU, dV, sums,
            wide_sums,
        )  # fmt: skip
        for part, (lo, _) in self.ranges.items():
            tape.call(
                kernels.take_bias, P, self.rows[part], z_row, lo * self.lanes, sums, into[f"{part} bias"]
            )
        if not need_dX:
            return None
        vectors = -(-F // self.lanes)
        dX = rec.buffer(name, "dX", size=of.steps.max_rows * vectors * self.lanes)
        lo, _ = self.ranges["input"]
        tape.share(
            make_input_gradient(self.dtype, wide["input"]), of.steps.sizes, SIZE_R, P, dZ, z_row,
            lo * self.lanes, self.rows["input"], vectors // wide["input"], transposed["input"],
            P * self.rows["input"], dX,
        )  # fmt: skip
        return Rows(dX, vectors * self.lanes)

    def _sum_alike(self, rec: Recording, trace: Trace, name: str) -> np.ndarray:
        """The gradients in G of all rows that are alike, added up."""
        row, most = self.z_row, trace.X.steps.max_rows
        sums = rec.buffer(name, "dZ", size=self.panels * most * row)
        n_wide = min(rec.tape.n_threads, self.panels)
        wide = beside(rec.steps.max_rows, n_wide * most * row, rec.work, name, "wide dZ")
        rec.tape.share(
            sum_alike_kernel(self.dtype), rec.steps.sizes, trace.X.which, trace.X.steps.sizes,
            self.panels, row, trace.G, sums, wide,
        )  # fmt: skip
        return sums
