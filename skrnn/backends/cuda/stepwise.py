"""One step at a time, where the recurrent weights are too many for a block; see `recurrent` for the arrays.

Each step is a product (cuBLAS) and a kernel for the cell, on dense matrices (B, .) of all sequences: those
that have ended compute what nobody reads.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np
from numba import cuda

from ... import cells
from ...batches import SIZE_B, SIZE_CARRIED, SIZE_T
from ...recording import Recording
from .device import Matrix
from .elementary import functions
from .jit import function, kernel, numba_type
from .recurrent_kernels import parts


@cache
def step_kernels(key: tuple, H: int, dtype: np.dtype) -> SimpleNamespace:
    """Kernels for the cell of all sequences at step `t`, between products of dense matrices.

    Dense, with a row for each sequence: `h` and `c`; `a`, what the product reads; `products`, what it
    gives, (B, Q) going forward and (B, H) going back; `dz` (B, S, H). They are written for the sequences
    that still run.
    """
    cell = cells.build(functions(dtype), *key)
    hidden, _, load, store, add_up = parts(cell, H)
    S, has_c, two_stage, late_lo = cell.n_slots, cell.has_c, cell.reset is not None, cell.late_slots[0]
    cell_forward, cell_backward = cell.forward, cell.backward
    cell_reset, cell_reset_backward = cell.reset or cell.forward, cell.reset_backward or cell.backward
    T, zero = numba_type(dtype), dtype.type(0)

    @function
    def n_running(t, sizes, counts):
        return counts[t] * H if t < sizes[SIZE_T] else 0

    @kernel("step begin", *key, H, dtype.name)
    def begin(sizes, mask, masked, begun, h_carried, c_carried, h_first, c_first, h, c, a, keep):
        """The first states: carried over from the chunk before, or zero, unless all are `begun` in those."""
        carried = begun or sizes[SIZE_CARRIED] != 0
        for at in range(cuda.grid(1), sizes[SIZE_B] * H, cuda.gridsize(1)):
            h_at = h_carried[at] if carried else zero
            h[at] = h_at
            a[at] = h_at * mask[at] if masked else h_at
            if keep:
                h_first[at] = h_at
            if has_c:
                c_at = c_carried[at] if carried else zero
                c[at] = c_at
                if keep:
                    c_first[at] = c_at

    @kernel("step reset", *key, H, dtype.name)
    def reset(t, sizes, counts, row_at, bias, products, G, a, RH, rh, keep):
        """Of the GRU that resets before the product: the gates, and what the late product reads."""
        z = cuda.local.array(S, T)
        for at in range(cuda.grid(1), n_running(t, sizes, counts), cuda.gridsize(1)):
            i, u = at // H, at % H
            r = row_at[t] + i
            add_up(z, G, r * S * H + u, H, bias, u, H, products, i * hidden + u)
            gates, rh_at = cell_reset(z, a[at])
            store(G, r * S * H + u, gates)
            rh[at] = rh_at
            if keep:
                RH[r * H + u] = rh_at

    @kernel("step advance", *key, H, dtype.name)
    def advance(t, sizes, counts, row_at, bias, products, late_products, G, H_, A, C, mask, masked, h, c, a,
                keep):  # fmt: skip
        """The cell: states of this step to H_, and with `keep` what `retreat` reads to G, A and C."""
        z = cuda.local.array(S, T)
        for at in range(cuda.grid(1), n_running(t, sizes, counts), cuda.gridsize(1)):
            i, u = at // H, at % H
            r = row_at[t] + i
            if two_stage:
                for s in range(S):
                    z[s] = G[(r * S + s) * H + u]
                z[late_lo] += late_products[at]
            else:
                add_up(z, G, r * S * H + u, H, bias, u, H, products, i * hidden + u)
            c_at = c[at] if has_c else zero
            gates, h_at, c_at = cell_forward(z, h[at], c_at)
            if keep:
                A[r * H + u] = a[at]
                store(G, r * S * H + u, gates)
                if has_c:
                    C[r * H + u] = c_at
            H_[r * H + u] = h_at
            h[at] = h_at
            a[at] = h_at * mask[at] if masked else h_at
            if has_c:
                c[at] = c_at

    @kernel("step retreat", *key, H, dtype.name)
    def retreat(t, sizes, counts, row_at, G, H_, C, h_first, c_first, dY, dY_row, has_dY, dH, dC, dz):
        """The cell going back; of the GRU that resets before the product, up to the late product."""
        for at in range(cuda.grid(1), n_running(t, sizes, counts), cuda.gridsize(1)):
            i, u = at // H, at % H
            r = row_at[t] + i
            if t > 0:
                before = (row_at[t - 1] + i) * H + u
                h_prev = H_[before]
                c_prev = C[before] if has_c else zero
            else:
                h_prev = h_first[at]
                c_prev = c_first[at] if has_c else zero
            c = C[r * H + u] if has_c else zero
            dc = dC[at] if has_c else zero
            dh = dH[at] + (dY[r * dY_row + u] if has_dY else zero)
            dz_at, dh, dc = cell_backward(load(G, r * S * H + u), h_prev, c_prev, c, dh, dc)
            store(dz, i * S * H + u, dz_at)
            if not two_stage:
                store(G, r * S * H + u, dz_at)
            dH[at] = dh
            if has_c:
                dC[at] = dc

    @kernel("step reset_back", *key, H, dtype.name)
    def reset_back(t, sizes, counts, row_at, G, A, late_products, dz, direct):
        """Of the GRU that resets before the product: the reset gate, and what reaches the state directly."""
        for at in range(cuda.grid(1), n_running(t, sizes, counts), cuda.gridsize(1)):
            i, u = at // H, at % H
            r = row_at[t] + i
            dz_at, direct_at = cell_reset_backward(load(dz, i * S * H + u), A[r * H + u], late_products[at])
            store(dz, i * S * H + u, dz_at)
            store(G, r * S * H + u, dz_at)
            direct[at] = direct_at

    @kernel("step add_products", *key, H, dtype.name)
    def add_products(t, sizes, counts, products, direct, mask, masked, dH):
        """What reaches the state before through the recurrent weights."""
        for at in range(cuda.grid(1), n_running(t, sizes, counts), cuda.gridsize(1)):
            d = products[at] + (direct[at] if two_stage else zero)
            dH[at] += d * mask[at] if masked else d

    return SimpleNamespace(
        begin=begin,
        reset=reset,
        advance=advance,
        retreat=retreat,
        reset_back=reset_back,
        add_products=add_products,
    )


# --- recording --------------------------------------------------------------------------------------
def forward(rec: Recording, layer, trace, bias, carried, name: str) -> None:
    """Record a layer's pass over time: W x in G becomes gates and states in `trace`."""
    tape, steps, keep, views = rec.tape, rec.tape.steps(rec.steps), rec.keep, rec.weights(name)
    H, B, two_stage = layer.n_hidden, steps.max_sequences, layer.cell.reset is not None
    kernels, nothing = step_kernels(layer.key, H, layer.dtype), rec.work.resident(None)
    h, c, a = trace.h_last, trace.c_last, rec.buffer(name, "a", size=B * H)
    products = rec.buffer(name, "products", size=B * layer.columns["hidden"])
    rh = rec.buffer(name, "rh", size=B * H) if two_stage else nothing
    late_products = rec.buffer(name, "late products", size=B * H) if two_stage else nothing
    tape.each(
        kernels.begin, B * H, steps.sizes, trace.mask, trace.masked, *carried, trace.h_first, trace.c_first,
        h, c, a, keep,
    )  # fmt: skip
    states, weight = Matrix(a, B, H, H), layer.weight_of(views, "hidden")
    gates = Matrix(products, B, layer.columns["hidden"], layer.columns["hidden"])
    for t in range(steps.max_steps):
        at = t, steps.sizes, steps.counts, steps.row_at
        tape.multiply(states, weight, gates)
        if two_stage:
            tape.each(kernels.reset, B * H, *at, bias, products, trace.G, a, trace.RH, rh, keep)
            tape.multiply(Matrix(rh, B, H, H), layer.weight_of(views, "late"), Matrix(late_products, B, H, H))
        tape.each(
            kernels.advance, B * H, *at, bias, products, late_products, trace.G, trace.H, trace.A,
            trace.C, trace.mask, trace.masked, h, c, a, keep,
        )  # fmt: skip


def backward(rec: Recording, layer, trace, d_states, into, name: str) -> None:
    """Record back-propagation through time: gates in G become gradients of the pre-activations.

    d_states: dY, its row and whether there is one; into: dH and dC.
    """
    tape, steps, views = rec.tape, rec.tape.steps(rec.steps), rec.weights(name)
    H, B, two_stage = layer.n_hidden, steps.max_sequences, layer.cell.reset is not None
    kernels, nothing = step_kernels(layer.key, H, layer.dtype), rec.work.resident(None)
    dH, dC = into
    dz = rec.buffer(name, "dz", size=B * layer.cell.n_slots * H)
    products = rec.buffer(name, "d products", size=B * H)
    late_products = rec.buffer(name, "late products", size=B * H) if two_stage else nothing
    direct = rec.buffer(name, "direct", size=B * H) if two_stage else nothing
    for t in reversed(range(steps.max_steps)):
        at = t, steps.sizes, steps.counts, steps.row_at
        tape.each(
            kernels.retreat, B * H, *at, trace.G, trace.H, trace.C, trace.h_first, trace.c_first,
            *d_states, dH, dC, dz,
        )  # fmt: skip
        if two_stage:
            tape.multiply(
                layer.gates_of(dz, B, "late"), layer.weight_of(views, "late"), Matrix(late_products, B, H, H),
                tb=True,
            )  # fmt: skip
            tape.each(kernels.reset_back, B * H, *at, trace.G, trace.A, late_products, dz, direct)
        tape.multiply(
            layer.gates_of(dz, B, "hidden"),
            layer.weight_of(views, "hidden"),
            Matrix(products, B, H, H),
            tb=True,
        )
        tape.each(
            kernels.add_products, B * H, t, steps.sizes, steps.counts, products, direct, trace.mask,
            trace.masked, dH,
        )  # fmt: skip
