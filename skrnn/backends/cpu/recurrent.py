"""A recurrent layer over time: forward and back-propagation through time, generic over the cell.

Packed layout, as in PyTorch's PackedSequence. The sequences of a minibatch are sorted by falling
length; step t holds the `counts[t]` rows that are still running, and packed row `row_at[t] + i` is
step t of sequence i. There is no padding: a short sequence takes part in its own steps only.

Arrays, all flat, `L` lanes, `P` panels of hidden units, `Hp = P L`, `S` slots of the cell, `B`
sequences, `R` steps in all:

======== ================ ===========================================================================
X        (R, F)           inputs
H        (B + R, Hp)      hidden states; the first B rows are the initial ones, so that step 0 is not a
                          special case: step t reads rows `B + row_at[t - 1]`, writes `B + row_at[t]`
A        (B + R, Hp)      what the recurrent product reads: H times the dropout mask (H itself if none)
C        (B + R, Hp)      memory cells, for cells that have one; (B, Hp), updated in place, if not kept
G        (R, P, S, L)     pre-activations, then gates, after the backward pass gradients of the
                          pre-activations; (B, P, S, L), used anew by each step, if not kept
RH       like A           r * h of the GRU that resets before the product
W, U, V  (P, F|H|H, w L)  panels of input, recurrent and late weights, `w` the width of the slot range
bias     (P, S, L)
mask     (B, Hp)          recurrent dropout
======== ================ ===========================================================================

Rows `lo` to `hi` of the sorted sequences are handled in one call: threads share a batch by rows, and
write to disjoint rows only.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np

from ...cells import Cell
from .gemm import HEIGHTS, make_cell_tile, matmul_kernels, multiply_rows, widest
from .jit import kernel
from .simd import lanes, make_load, make_store


def compile_cell(cell: Cell, key: str, dtype: np.dtype) -> SimpleNamespace:
    """Kernels ``forward`` and ``backward`` of a cell for one float type; compiled when first called."""
    L, S, has_c, two_stage = lanes(dtype), cell.n_slots, cell.has_c, cell.reset is not None
    late_lo, late_hi = cell.late_slots
    hidden_lo, hidden_hi = cell.hidden_slots
    cell_input_width = cell.input_slots[1] - cell.input_slots[0]
    late_width, hidden_width = late_hi - late_lo, hidden_hi - hidden_lo
    tall, middle = HEIGHTS[S]
    tile_tall, tile_middle, tile_one = (
        make_cell_tile(rows, S, cell.input_slots, cell.hidden_slots) for rows in (tall, middle, 1)
    )
    load1, store1 = make_load(1), make_store(1)
    load_slots, store_slots = make_load(S), make_store(S)
    cell_forward, cell_backward = cell.forward, cell.backward
    # Branches on constants are pruned, but Numba still needs a name to type: these are never called.
    cell_reset = cell.reset or cell.forward
    cell_reset_backward = cell.reset_backward or cell.backward
    matmul, _ = matmul_kernels(dtype)
    zero = dtype.type(0)

    @kernel("advance", key, dtype.name)
    def advance(p, i, j, P, g0, prev, new, c_prev, c_new, H, A, C, G, mask, masked):
        """Cell update of panel p, rows i to j, once their pre-activations are in G."""
        Hp = P * L
        for row in range(i, j):
            at = p * L
            g = ((g0 + row) * P + p) * S * L
            h = load1(H, (prev + row) * Hp + at)[0]
            c = load1(C, (c_prev + row) * Hp + at)[0] if has_c else h  # some vector: it is not read
            gates, h, c = cell_forward(load_slots(G, g), h, c)
            store_slots(G, g, gates)
            if has_c:
                store1(C, (c_new + row) * Hp + at, (c,))
            store1(H, (new + row) * Hp + at, (h,))
            if masked:
                store1(A, (new + row) * Hp + at, (h * load1(mask, row * Hp + at)[0],))

    @kernel("forward", key, dtype.name)
    def forward(
        lo,
        hi,
        B,
        F,
        n_hidden,
        P,
        counts,
        row_at,
        X,
        W,
        U,
        V,
        bias,
        H,
        A,
        C,
        G,
        RH,
        mask,
        masked,
        keep,
    ):
        Hp, z_row = P * L, P * S * L
        w_panel = F * (cell_input_width * L)
        u_panel = n_hidden * (hidden_width * L)
        for t in range(len(counts)):
            n = min(counts[t], hi)
            if n <= lo:
                break
            prev = B + row_at[t - 1] if t > 0 else 0
            new = B + row_at[t]
            g0 = row_at[t] if keep else 0
            c_prev, c_new = (prev, new) if keep else (0, 0)
            for p in range(P):
                i = lo
                while i < n:
                    x0, a0, z0 = (row_at[t] + i) * F, (prev + i) * Hp, ((g0 + i) * P + p) * S * L
                    if i + tall <= n:
                        tile_tall(X, x0, F, F, W, p * w_panel, A, a0, Hp, n_hidden, U, p * u_panel,
                                  bias, p * S * L, G, z0, z_row)  # fmt: skip
                        rows = tall
                    elif i + middle <= n:
                        tile_middle(X, x0, F, F, W, p * w_panel, A, a0, Hp, n_hidden, U, p * u_panel,
                                    bias, p * S * L, G, z0, z_row)  # fmt: skip
                        rows = middle
                    else:
                        tile_one(X, x0, F, F, W, p * w_panel, A, a0, Hp, n_hidden, U, p * u_panel,
                                 bias, p * S * L, G, z0, z_row)  # fmt: skip
                        rows = 1
                    if not two_stage:
                        advance(
                            p,
                            i,
                            i + rows,
                            P,
                            g0,
                            prev,
                            new,
                            c_prev,
                            c_new,
                            H,
                            A,
                            C,
                            G,
                            mask,
                            masked,
                        )
                    i += rows
                if two_stage:
                    for row in range(lo, n):
                        z, a = ((g0 + row) * P + p) * S * L, (prev + row) * Hp + p * L
                        gates, rh = cell_reset(load_slots(G, z), load1(A, a)[0])
                        store_slots(G, z, gates)
                        store1(RH, a if keep else row * Hp + p * L, (rh,))
            if two_stage:
                rh0 = prev if keep else 0
                for p in range(P):
                    multiply_rows(late_width, n - lo, RH, (rh0 + lo) * Hp, Hp, 1, 0,
                                  V, p * n_hidden * late_width * L, late_width * L,
                                  G, (((g0 + lo) * P + p) * S + late_lo) * L, z_row, n_hidden, 1)  # fmt: skip
                    advance(p, lo, n, P, g0, prev, new, c_prev, c_new, H, A, C, G, mask, masked)

    @kernel("backward", key, dtype.name)
    def backward(
        lo,
        hi,
        B,
        n_hidden,
        P,
        counts,
        row_at,
        UT,
        VT,
        H,
        A,
        C,
        G,
        dY,
        has_dY,
        dH,
        dC,
        D,
        mask,
        masked,
    ):
        """dH, dC (B, Hp): in, gradient of each sequence's last state; out, of its first state.

        dY (R, Hp): gradient of the hidden state at every step. G turns from gates into gradients
        of the pre-activations. UT, VT: recurrent weights transposed, packed for `matmul`. D (B, Hp):
        workspace.
        """
        Hp, z_row = P * L, P * S * L
        for t in range(len(counts) - 1, -1, -1):
            n = min(counts[t], hi)
            if n <= lo:
                continue
            prev = B + row_at[t - 1] if t > 0 else 0
            new = B + row_at[t]
            for row in range(lo, n):
                for p in range(P):
                    at, g = p * L, ((row_at[t] + row) * P + p) * S * L
                    dh = load1(dH, row * Hp + at)[0]
                    if has_dY:
                        dh = dh + load1(dY, (row_at[t] + row) * Hp + at)[0]
                    h_prev = load1(H, (prev + row) * Hp + at)[0]
                    c_prev = load1(C, (prev + row) * Hp + at)[0] if has_c else h_prev
                    c = load1(C, (new + row) * Hp + at)[0] if has_c else h_prev
                    dc = load1(dC, row * Hp + at)[0] if has_c else h_prev
                    dz, dh, dc = cell_backward(load_slots(G, g), h_prev, c_prev, c, dh, dc)
                    store_slots(G, g, dz)
                    store1(dH, row * Hp + at, (dh,))
                    if has_c:
                        store1(dC, row * Hp + at, (dc,))
            if two_stage:  # through the late product: d(r h) first, then the reset gate
                D[lo * Hp : n * Hp] = zero
                matmul(n - lo, P, G, (row_at[t] + lo) * z_row + late_lo * L, z_row, S * L, late_width * L, P,
                       VT, D, lo * Hp, Hp)  # fmt: skip
                for row in range(lo, n):
                    for p in range(P):
                        at, g = row * Hp + p * L, ((row_at[t] + row) * P + p) * S * L
                        a = load1(A, (prev + row) * Hp + p * L)[0]
                        dz, da = cell_reset_backward(load_slots(G, g), a, load1(D, at)[0])
                        store_slots(G, g, dz)
                        store1(D, at, (da,))
            elif masked:
                D[lo * Hp : n * Hp] = zero
            z0 = (row_at[t] + lo) * z_row + hidden_lo * L
            if two_stage or masked:
                matmul(n - lo, P, G, z0, z_row, S * L, hidden_width * L, P, UT, D, lo * Hp, Hp)
                for at in range(lo * Hp, n * Hp):
                    dH[at] += D[at] * mask[at] if masked else D[at]
            else:
                matmul(n - lo, P, G, z0, z_row, S * L, hidden_width * L, P, UT, dH, lo * Hp, Hp)

    return SimpleNamespace(forward=forward, backward=backward)


@cache
def layer_kernels(dtype: np.dtype) -> SimpleNamespace:
    """What a layer needs around the recurrence: weight gradients and transposed panels."""
    L, zero = lanes(dtype), dtype.type(0)
    _, outer = matmul_kernels(dtype)
    load1, store1, load4, store4 = make_load(1), make_store(1), make_load(4), make_store(4)

    @kernel("column_sums", dtype.name)
    def column_sums(lo, hi, n_rows, G, row, sums):
        """sums[lo:hi] = sum over the rows of G (n_rows, row), in the order of the rows."""
        j = lo
        while j + 4 * L <= hi:
            a, b, c, d = load4(G, j)
            for r in range(1, n_rows):
                a_r, b_r, c_r, d_r = load4(G, r * row + j)
                a, b, c, d = a + a_r, b + b_r, c + c_r, d + d_r
            store4(sums, j, (a, b, c, d))
            j += 4 * L
        while j < hi:
            a = load1(G, j)[0]
            for r in range(1, n_rows):
                a = a + load1(G, r * row + j)[0]
            store1(sums, j, (a,))
            j += L

    @kernel("previous_rows", dtype.name)
    def previous_rows(B, counts, row_at, width, A, out):
        """out (R, width): the row of A (B + R, width) that each packed row read as its past."""
        for t in range(len(counts)):
            prev = B + row_at[t - 1] if t > 0 else 0
            n, at = counts[t] * width, row_at[t] * width
            out[at : at + n] = A[prev * width : prev * width + n]

    @kernel("weight_gradients", dtype.name)
    def weight_gradients(p_lo, p_hi, n_rows, n_in, a, a_row, G, z_row, S, first, width, dW):
        """dW (P, n_in, width L) += A (n_rows, n_in)^T @ gradients of slots `first` onward, panel by panel."""
        for p in range(p_lo, p_hi):
            outer(
                n_rows,
                n_in,
                a,
                0,
                a_row,
                G,
                (p * S + first) * L,
                z_row,
                width,
                dW,
                p * n_in * width * L,
            )

    @kernel("transpose_panels", dtype.name)
    def transpose_panels(P, n_in, width, W, WT):
        """WT: the panels W (P, n_in, width L) as a (P width L, n_in) matrix packed for `matmul`."""
        K, vectors, v, at = P * width * L, -(-n_in // L), 0, 0
        while v < vectors:
            wide = widest(vectors - v)
            for p in range(P):
                for j in range(width * L):
                    for i in range(wide * L):
                        source = v * L + i
                        k = at + (p * width * L + j) * wide * L + i
                        WT[k] = W[(p * n_in + source) * width * L + j] if source < n_in else zero
            at += K * wide * L
            v += wide

    return SimpleNamespace(
        column_sums=column_sums,
        previous_rows=previous_rows,
        weight_gradients=weight_gradients,
        transpose_panels=transpose_panels,
    )
