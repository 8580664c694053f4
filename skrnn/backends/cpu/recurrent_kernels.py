"""A recurrent layer over time: forward and back-propagation through time, generic over the cell.

Packed layout, as in PyTorch's PackedSequence. The sequences of a minibatch are sorted by falling
length; step t holds the `counts[t]` rows that are still running, and packed row `row_at[t] + i` is
step t of sequence i. There is no padding: a short sequence takes part in its own steps only.

Hidden units are handled in panels of `units` vectors, so that each panel's product is wide enough to
keep the multipliers busy: 1 for LSTM and GRU, whose units have several gates, up to 4 for RNN.

Arrays, all flat, `L` lanes, `P` panels, `Hp = P units L`, `S` slots of the cell, `B` sequences, `R`
steps in all, `F` features, `H` hidden units, `w` the vectors of a panel in a range of slots:

======== ================ ===========================================================================
X        (R, x_row)       inputs in the first F columns; after B more rows if `x_past`
H        (B + R, Hp)      hidden states; the first B rows are the initial ones, which step 0 reads: step t
                          reads rows `B + row_at[t - 1]`, writes `B + row_at[t]`
A        (B + R, Hp)      what the recurrent product reads: H times the dropout mask (H itself if none)
C        (B + R, Hp)      memory cells, for cells that have one; (B, Hp), updated in place, if not kept
G        (P, R, units,    pre-activations, then gates, after the backward pass gradients of the
          S, L)           pre-activations; (P, B + n INPUT_ROWS, ...) for n threads, used anew by each
                          few steps, if not kept
RH       like A           r * h of the GRU that resets before the product; (B, Hp) if not kept
W, U, V  (P, F|H|H, w L)  panels of input, recurrent and late weights
UT, VT   (Q, P w L,       the same transposed, in Q panels of `wide` vectors for a product that gives
          wide L)         hidden units
bias     (P, units, S, L)
Z        (P, N, units,    bias + x W of N distinct rows of inputs, where many are alike: packed row r has that
          S, L)           of row ``which[r]``
mask     (B, Hp)          recurrent dropout
======== ================ ===========================================================================

Threads share the sequences in time, so that they need not wait for one another; every number is summed by
one thread in a fixed order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...batches import SIZE_B, SIZE_R, SIZE_T
from ...cells import Cell
from .bfloat16 import store_bf16
from .gemm import make_multiply, make_preactivations
from .jit import kernel
from .simd import clear, copy, lanes, make_load, make_store
from .threads import own_sequences

INPUT_ROWS = 64  # of the input that several steps multiply together, where each has few of its own
APART = 2**15  # bytes of a panel's weights, as `dtype`, that do not fit in the L1 cache beside the rows


class Panels(NamedTuple):
    """What kernels are compiled for: a cell, a float type, and panels of so many vectors of hidden units.

    With `bf16`, the products in time read bfloat16: X, W, U, V, UT, VT are pairs (see `bfloat16`); A2 holds
    what A does, RH2 and G2 what RH and G do of one step. `key` names the cell in the cache.
    """

    cell: Cell
    key: str
    dtype: np.dtype
    units: int
    bf16: bool

    @property
    def width(self) -> int:
        """Vectors of a panel."""
        return self.units * self.cell.n_slots

    @property
    def pair(self) -> int:
        """Elements that a product takes at a time."""
        return 2 if self.bf16 else 1

    def columns(self, slots: tuple[int, int]) -> tuple[int, int]:
        """The vectors, first and last + 1, of a range of slots."""
        return slots[0], slots[0] + self.units * (slots[1] - slots[0])

    def width_of(self, slots: tuple[int, int]) -> int:
        return self.units * (slots[1] - slots[0])


# Branches on constants are pruned, but Numba still needs a name to type: a cell that needs no late product
# lends its other functions, and a width of 0 becomes 1; they are never used. Those that do need it have
# panels of one vector of units.
def forward_kernel(panels: Panels):
    cell, key, dtype, units, bf16 = panels
    L, S, has_c, two_stage, width, pair = (
        lanes(dtype), cell.n_slots, cell.has_c, cell.reset is not None, panels.width, panels.pair
    )  # fmt: skip
    in_columns, hidden_columns = panels.columns(cell.input_slots), panels.columns(cell.hidden_slots)
    in_width, hidden_width = panels.width_of(cell.input_slots), panels.width_of(cell.hidden_slots)
    late_lo, late_width = cell.late_slots[0], panels.width_of(cell.late_slots)
    preactivations = make_preactivations(width, in_columns, hidden_columns)
    multiply_late, most = make_multiply(late_width or 1), APART // dtype.itemsize
    load1, store1, load_slots, store_slots = make_load(1), make_store(1), make_load(S), make_store(S)
    cell_forward, cell_reset = cell.forward, cell.reset or cell.forward

    @kernel("advance", key, dtype.name, units, bf16)
    def advance(lo, hi, p, P, g0, prev, new, c_prev, c_new, H, A, A2, C, G, mask, masked):
        """Cell update of panel p, rows lo to hi, once their pre-activations are in G."""
        Hp = P * units * L
        for row in range(lo, hi):
            for u in range(units):
                at = (p * units + u) * L
                g = g0 + (row * units + u) * S * L
                h = load1(H, (prev + row) * Hp + at)[0]
                c = load1(C, (c_prev + row) * Hp + at)[0] if has_c else h  # some vector: it is not read
                gates, h, c = cell_forward(load_slots(G, g), h, c)
                store_slots(G, g, gates)
                if has_c:
                    store1(C, (c_new + row) * Hp + at, (c,))
                store1(H, (new + row) * Hp + at, (h,))
                if masked:
                    h = h * load1(mask, row * Hp + at)[0]
                    store1(A, (new + row) * Hp + at, (h,))
                if bf16:
                    store_bf16(A2, (new + row) * Hp + at, h)

    @kernel("reset", key, dtype.name, units, bf16)
    def reset(lo, hi, p, P, g0, prev, rh, A, RH, RH2, G):
        """Of a cell whose candidate waits for a gate: r h of panel p, rows lo to hi, which the late product
        reads."""
        Hp = P * units * L
        for row in range(lo, hi):
            z, at = g0 + row * width * L, row * Hp + p * L
            gates, r_h = cell_reset(load_slots(G, z), load1(A, prev * Hp + at)[0])
            store_slots(G, z, gates)
            store1(RH, rh * Hp + at, (r_h,))
            if bf16:
                store_bf16(RH2, at, r_h)

    @kernel("forward", key, dtype.name, units, bf16)
    def forward(thread, n_threads, sizes, counts, row_at, lengths, F, n_hidden, P, X, x_row, x_past,
                W, U, V, bias, H, A, A2, C, G, RH, RH2, mask, masked, keep, which, n_distinct, Z,
                alike):  # fmt: skip
        """Where a panel's weights are many, the inputs of several steps are multiplied together before them;
        where many rows are `alike`, all distinct ones have been, and Z has them. Every sum has its terms in
        the same order in any case."""
        lo, hi = own_sequences(thread, n_threads, sizes, lengths)
        B, T, R = sizes[SIZE_B], sizes[SIZE_T], sizes[SIZE_R]
        Hp, z_row = P * units * L, width * L
        x_depth, h_depth = (F + pair - 1) // pair, (n_hidden + pair - 1) // pair
        w_panel, u_panel = x_depth * in_width * L * pair, h_depth * hidden_width * L * pair
        v_row = late_width * L * pair
        G_rows, x_first = R if keep else B + n_threads * INPUT_ROWS, B if x_past else 0
        if bf16:
            read, read_late = A2, RH2
        else:
            read, read_late = A, RH
        N = n_distinct[SIZE_R] if alike else 0
        if alike:
            x_row = 0  # X is not read
        # or else there is nothing to gain
        apart = not alike and w_panel + u_panel > most and w_panel >= most // 4
        begin, end = 0, 0  # the steps whose inputs are multiplied together
        for t in range(T):
            n = min(counts[t], hi)
            if n <= lo:
                break
            n_inputs, pieces = 0, 1
            if t == end:
                begin, end = t, t + 1
                if apart:
                    while end < T and row_at[end] + counts[end] - row_at[begin] <= INPUT_ROWS:
                        end += 1
                    if lo > 0 or hi < B:  # or else the rows of all these steps are neighbours
                        pieces = end - begin
                    n_inputs = P * pieces
            prev = B + row_at[t - 1] if t > 0 else 0
            new = B + row_at[t]
            g_first = 0 if keep else row_at[begin] - thread * INPUT_ROWS  # threads may be at different steps
            c_prev, c_new = (prev, new) if keep else (0, 0)
            # First, if they are made apart, bias + x W for panel after panel; then h U on top of it. All at
            # one place, since the tiles of another would take half a second to compile.
            for q in range(-n_inputs, P):
                x_terms, h_terms, start, start0, start_row = x_depth, h_depth, bias, q * z_row, 0
                if q < 0:
                    p, s = (q + n_inputs) // pieces, begin + (q + n_inputs) % pieces
                    last = s if pieces > 1 else end - 1
                    first, after = row_at[s] + lo, row_at[last] + min(counts[last], hi)
                    if after <= first:
                        continue
                    h_terms, start0 = 0, p * z_row
                else:
                    p, first, after = q, row_at[t] + lo, row_at[t] + n
                g = (p * G_rows + first - g_first) * z_row
                if q >= 0 and (apart or alike):
                    x_terms, start, start0, start_row = 0, G, g, z_row
                if alike:
                    for row in range(first, after):
                        copy(z_row, Z, (p * N + which[row]) * z_row, G, g + (row - first) * z_row)
                preactivations(after - first, X, (x_first + first) * x_row, x_row, x_terms, W, p * w_panel,
                               read, (prev + lo) * Hp, Hp, h_terms, U, p * u_panel, start, start0, start_row,
                               G, g, z_row)  # fmt: skip
                if q < 0:
                    continue
                g0 = g - lo * z_row
                if two_stage:
                    reset(lo, n, p, P, g0, prev, prev if keep else 0, A, RH, RH2, G)
                else:
                    advance(lo, n, p, P, g0, prev, new, c_prev, c_new, H, A, A2, C, G, mask, masked)
            if two_stage:
                rh0 = ((prev if keep and not bf16 else 0) + lo) * Hp
                for p in range(P):
                    g0 = (p * G_rows + row_at[t] - g_first) * z_row
                    multiply_late(n - lo, read_late, rh0, Hp, pair, 0, V, p * h_depth * v_row, v_row,
                                  G, g0 + lo * z_row + late_lo * L, z_row, h_depth, 1)  # fmt: skip
                    advance(lo, n, p, P, g0, prev, new, c_prev, c_new, H, A, A2, C, G, mask, masked)

    return forward


def backward_kernel(panels: Panels, wide: int):
    """For transposed weights in panels of `wide` vectors."""
    cell, key, dtype, units, bf16 = panels
    L, S, has_c, two_stage, width, pair = (
        lanes(dtype), cell.n_slots, cell.has_c, cell.reset is not None, panels.width, panels.pair
    )  # fmt: skip
    hidden_lo, hidden_width = cell.hidden_slots[0], panels.width_of(cell.hidden_slots)
    late_lo, late_width = cell.late_slots[0], panels.width_of(cell.late_slots)
    multiply, multiply_fetching = make_multiply(wide), make_multiply(wide, "ahead")
    load1, store1, load_slots, store_slots = make_load(1), make_store(1), make_load(S), make_store(S)
    cell_backward, cell_reset_backward = cell.backward, cell.reset_backward or cell.backward

    @kernel("reset_backward", key, dtype.name, units, wide, bf16)
    def reset_backward(lo, n, P, dZ, dz0, dz_panel, prev, A, G, G2, g_first, panel, B, VT, D):
        """Of a cell whose candidate waits for a gate: D, the gradient of r h through the late product,
        becomes that of h through it, and the reset gate's comes into G."""
        Hp, z_row = P * units * L, width * L
        clear(D, lo * Hp, (n - lo) * Hp)
        for q in range(P // wide):
            vt0 = q * P * late_width * L * wide * L
            multiply(n - lo, dZ, dz0 + late_lo * L, z_row, pair, dz_panel, VT, vt0, wide * L * pair,
                     D, lo * Hp + q * wide * L, Hp, late_width * L // pair, P)  # fmt: skip
        for p in range(P):
            for row in range(lo, n):
                at, g = row * Hp + p * L, p * panel + g_first + row * z_row
                a = load1(A, (prev + row) * Hp + p * L)[0]
                dz, da = cell_reset_backward(load_slots(G, g), a, load1(D, at)[0])
                store_slots(G, g, dz)
                if bf16:
                    for s in range(S):
                        store_bf16(G2, ((p * B + row) * width + s) * L, load1(G, g + s * L)[0])
                store1(D, at, (da,))

    @kernel("backward", key, dtype.name, units, wide, bf16)
    def backward(thread, n_threads, sizes, counts, row_at, lengths, P, H, A, C, G, G2, dY, dY_row, has_dY,
                 dH, dC, D, UT, VT, mask, masked):  # fmt: skip
        """dH, dC (B, Hp): in, gradient of each sequence's last state; out, of its first state.

        dY (R, dY_row): gradient of the hidden state at every step. G turns from gates into
        gradients of the pre-activations. D (B, Hp): workspace.
        """
        lo, hi = own_sequences(thread, n_threads, sizes, lengths)
        B, R = sizes[SIZE_B], sizes[SIZE_R]
        Hp, z_row, panel = P * units * L, width * L, R * width * L
        for t in range(sizes[SIZE_T] - 1, -1, -1):
            n = min(counts[t], hi)
            if n <= lo:
                continue
            prev = B + row_at[t - 1] if t > 0 else 0
            new = B + row_at[t]
            g_first = row_at[t] * z_row
            for p in range(P):
                for row in range(lo, n):
                    for u in range(units):
                        at = (p * units + u) * L
                        g = p * panel + g_first + (row * units + u) * S * L
                        dh = load1(dH, row * Hp + at)[0]
                        if has_dY:
                            dh = dh + load1(dY, (row_at[t] + row) * dY_row + at)[0]
                        h_prev = load1(H, (prev + row) * Hp + at)[0]
                        c_prev = load1(C, (prev + row) * Hp + at)[0] if has_c else h_prev
                        c = load1(C, (new + row) * Hp + at)[0] if has_c else h_prev
                        dc = load1(dC, row * Hp + at)[0] if has_c else h_prev
                        dz, dh, dc = cell_backward(load_slots(G, g), h_prev, c_prev, c, dh, dc)
                        store_slots(G, g, dz)
                        if bf16:
                            for s in range(S):
                                g2 = ((p * B + row) * width + u * S + s) * L
                                store_bf16(G2, g2, load1(G, g + s * L)[0])
                        store1(dH, row * Hp + at, (dh,))
                        if has_c:
                            store1(dC, row * Hp + at, (dc,))
            if bf16:
                dZ, dz0, dz_panel = G2, lo * z_row, B * z_row
            else:
                dZ, dz0, dz_panel = G, g_first + lo * z_row, panel
            # The step before comes next: its gates are fetched from memory during this one's product,
            # unless that is of bfloat16; from the second panel on those that it does not read, too.
            ahead = (row_at[max(t - 1, 0)] - row_at[t]) * z_row - hidden_lo * L
            if two_stage:
                reset_backward(lo, n, P, dZ, dz0, dz_panel, prev, A, G, G2, g_first, panel, B, VT, D)
            elif masked:
                clear(D, lo * Hp, (n - lo) * Hp)
            target = D if two_stage or masked else dH
            for q in range(P * units // wide):
                ut0 = q * P * hidden_width * L * wide * L
                if bf16:
                    multiply(n - lo, dZ, dz0 + hidden_lo * L, z_row, pair, dz_panel, UT, ut0,
                             wide * L * pair, target, lo * Hp + q * wide * L, Hp,
                             hidden_width * L // pair, P)  # fmt: skip
                else:
                    multiply_fetching(n - lo, dZ, dz0 + hidden_lo * L, z_row, pair, dz_panel, UT, ut0,
                                      wide * L, target, lo * Hp + q * wide * L, Hp, hidden_width * L, P,
                                      ahead + min(q, width - hidden_width) * L)  # fmt: skip
            if two_stage or masked:
                for at in range(lo * Hp, n * Hp, L):
                    d = load1(D, at)[0]
                    if masked:
                        d = d * load1(mask, at)[0]
                    store1(dH, at, (load1(dH, at)[0] + d,))

    return backward
