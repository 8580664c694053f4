"""A recurrent layer over time: forward and back-propagation through time, generic over the cell.

Packed layout, as in PyTorch's PackedSequence. The sequences of a minibatch are sorted by falling
length; step t holds the `counts[t]` rows that are still running, and packed row `row_at[t] + i` is
step t of sequence i. There is no padding: a short sequence takes part in its own steps only.

Hidden units are handled in panels of `units` vectors, so that each panel's product is wide enough to
keep the multipliers busy: 1 for LSTM and GRU, whose units have several gates, up to 4 for RNN.

Arrays, all flat, `L` lanes, `P` panels, `Hp = P units L`, `S` slots of the cell, `B` sequences, `R`
steps in all, `w` the vectors of a panel in a range of slots:

======== ================ ===========================================================================
X        (R, x_row)       inputs in the first F columns; after B more rows if `x_past`
H        (B + R, Hp)      hidden states; the first B rows are the initial ones, so that step 0 is not a
                          special case: step t reads rows `B + row_at[t - 1]`, writes `B + row_at[t]`
A        (B + R, Hp)      what the recurrent product reads: H times the dropout mask (H itself if none)
C        (B + R, Hp)      memory cells, for cells that have one; (B, Hp), updated in place, if not kept
G        (P, R, units,    pre-activations, then gates, after the backward pass gradients of the
          S, L)           pre-activations; (P, B + n INPUT_ROWS, ...) for n threads, used anew by each
                          few steps, if not kept
RH       like A           r * h of the GRU that resets before the product
W, U, V  (P, F|H|H, w L)  panels of input, recurrent and late weights
UT, VT   (Q, P w L, wide) the same transposed, in panels for a product that gives hidden units
bias     (P, units, S, L)
mask     (B, Hp)          recurrent dropout
======== ================ ===========================================================================

Threads share the sequences in time, so that they need not wait for one another, and the panels of the
weights; every number is summed by one thread in a fixed order.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace

import numpy as np

from ...batches import SIZE_B, SIZE_CARRIED, SIZE_R, SIZE_T
from ...cells import Cell
from .bfloat16 import store_bf16
from .gemm import make_column_sums, make_multiply, make_preactivations
from .jit import inlined, kernel
from .simd import clear, copy, lanes, make_load, make_store
from .sums import SPAN, sum_kernels
from .threads import own_range, own_sequences

ROW_BLOCK = 128  # rows of a weight gradient handled at a time: their part of G stays in the L1 cache
INPUT_ROWS = 64  # of the input that several steps multiply together, where each has few of its own
APART = 2**15  # bytes of a panel's weights that do not fit in the L1 cache beside the rows
TOGETHER = 2**15  # sums of panels that share such a block, at most: they have to stay in the cache, too


@inlined
def share_of_panel(item, splits, F, n_hidden, z_row):
    """Of a panel's weight gradients: the panel, first feature and how many, first unit and how many, and how
    many sums of gradients."""
    p, k = item // splits, item % splits
    i, j = F * k // splits, n_hidden * k // splits
    return p, i, F * (k + 1) // splits - i, j, n_hidden * (k + 1) // splits - j, z_row if k == 0 else 0


def compile_cell(cell: Cell, key: str, dtype: np.dtype, units: int, bf16: bool) -> SimpleNamespace:
    """Kernels ``forward`` and ``weight_gradients`` of a cell for one float type, and a factory for
    ``backward(wide)``; each is compiled when first called.

    With `bf16`, the products in time read bfloat16: X, W, U, V, UT, VT are pairs (see `bfloat16`), and
    A2, RH2 and G2 hold what A, RH and G do.
    """
    L, S, has_c, two_stage = lanes(dtype), cell.n_slots, cell.has_c, cell.reset is not None
    width = units * S  # vectors of a panel

    def columns(slots):
        return (slots[0], slots[0] + units * (slots[1] - slots[0]))

    in_columns, hidden_columns = columns(cell.input_slots), columns(cell.hidden_slots)
    late_columns = columns(cell.late_slots)
    in_lo, hidden_lo, late_lo = in_columns[0], hidden_columns[0], late_columns[0]
    in_width, hidden_width = in_columns[1] - in_lo, hidden_columns[1] - hidden_lo
    late_width = late_columns[1] - late_lo
    pair = 2 if bf16 else 1  # elements that a product takes at a time
    preactivations = make_preactivations(width, in_columns, hidden_columns)
    multiply_late = make_multiply(late_width or 1)
    across_in, across_hidden, across_late = (
        make_multiply(k or 1, "beside") for k in (in_width, hidden_width, late_width)
    )
    column_sums = make_column_sums(width)
    set_aside, take_back = sum_kernels(dtype).set_aside, sum_kernels(dtype).take_back
    narrow, most = dtype == np.float32, APART // dtype.itemsize
    load1, store1 = make_load(1), make_store(1)
    load_slots, store_slots = make_load(S), make_store(S)
    cell_forward, cell_backward = cell.forward, cell.backward
    # Branches on constants are pruned, but Numba still needs a name to type: these are never called.
    cell_reset = cell.reset or cell.forward
    cell_reset_backward = cell.reset_backward or cell.backward

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

    @kernel("forward", key, dtype.name, units, bf16)
    def forward(thread, n_threads, sizes, counts, row_at, lengths, F, n_hidden, P, X, x_row, x_past,
                W, U, V, bias, H, A, A2, C, G, RH, RH2, mask, masked, keep):  # fmt: skip
        """Where a panel's weights are many, the inputs of several steps are multiplied together before them;
        every sum has its terms in the same order in any case."""
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
        apart = 4 * w_panel >= most and w_panel + u_panel > most
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
            # Products with inputs, if they are made apart, then those of the step: at one place, since the
            # tiles of another take half a second to compile.
            for q in range(-n_inputs, P):
                if q < 0:
                    p, s = (q + n_inputs) // pieces, begin + (q + n_inputs) % pieces
                    last = s if pieces > 1 else end - 1
                    first, after = row_at[s] + lo, row_at[last] + min(counts[last], hi)
                    if after <= first:
                        continue
                else:
                    p, first, after = q, row_at[t] + lo, row_at[t] + n
                g = (p * G_rows + first - g_first) * z_row
                start, start0, start_row = (G, g, z_row) if apart and q >= 0 else (bias, p * z_row, 0)
                preactivations(after - first, X, (x_first + first) * x_row, x_row,
                               0 if apart and q >= 0 else x_depth, W, p * w_panel, read, (prev + lo) * Hp, Hp,
                               h_depth if q >= 0 else 0, U, p * u_panel, start, start0, start_row,
                               G, g, z_row)  # fmt: skip
                if q < 0:
                    continue
                g0 = g - lo * z_row
                if two_stage:
                    for row in range(lo, n):
                        z, a = g0 + row * z_row, (prev + row) * Hp + p * L
                        gates, rh = cell_reset(load_slots(G, z), load1(A, a)[0])
                        store_slots(G, z, gates)
                        store1(RH, a if keep else row * Hp + p * L, (rh,))
                        if bf16:
                            store_bf16(RH2, row * Hp + p * L, rh)
                else:
                    advance(lo, n, p, P, g0, prev, new, c_prev, c_new, H, A, A2, C, G, mask, masked)
            if two_stage:
                rh0 = ((prev if keep and not bf16 else 0) + lo) * Hp
                for p in range(P):
                    g0 = (p * G_rows + row_at[t] - g_first) * z_row
                    multiply_late(n - lo, read_late, rh0, Hp, pair, 0, V, p * h_depth * v_row, v_row,
                                  G, g0 + lo * z_row + late_lo * L, z_row, h_depth, 1)  # fmt: skip
                    advance(lo, n, p, P, g0, prev, new, c_prev, c_new, H, A, A2, C, G, mask, masked)

    @cache
    def backward(wide):
        """The kernel for transposed weights in panels of `wide` vectors."""
        multiply, multiply_fetching = make_multiply(wide), make_multiply(wide, "ahead")

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
                # The step before comes next: its gates are fetched from memory during this one's product.
                # Of those that the product does not read, the later panels fetch one more each.
                ahead = (row_at[max(t - 1, 0)] - row_at[t]) * z_row - hidden_lo * L
                if two_stage:  # through the late product: d(r h) first, then the reset gate
                    clear(D, lo * Hp, (n - lo) * Hp)
                    for q in range(P // wide):
                        vt0 = q * P * late_width * L * wide * L
                        multiply(n - lo, dZ, dz0 + late_lo * L, z_row, pair, dz_panel, VT, vt0,
                                 wide * L * pair, D, lo * Hp + q * wide * L, Hp, late_width * L // pair,
                                 P)  # fmt: skip
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

    @kernel("weight_gradients", key, dtype.name, units)
    def weight_gradients(thread, n_threads, sizes, counts, row_at, F, n_hidden, P, X, x_row, x_past, A, RH, G,
                         dW, dU, dV, sums, wide):  # fmt: skip
        """dW, dU, dV, like W, U and V: what each product read, transposed, times the gradients in G.

        sums, like the bias: the gradients themselves. wide: as many numbers, one behind the other, where
        there are more than SPAN rows.
        """
        B, T, R = sizes[SIZE_B], sizes[SIZE_T], sizes[SIZE_R]
        Hp, z_row, x_first = P * units * L, width * L, B if x_past else 0
        w_row, u_row, v_row = in_width * L, hidden_width * L, late_width * L
        splits = (n_threads + P - 1) // P  # threads to a panel
        first, last = own_range(thread, n_threads, P * splits)
        wide_u, wide_v, wide_sums = len(dW), len(dW) + len(dU), len(dW) + len(dU) + len(dV)
        together = max(1, TOGETHER // (F * w_row + n_hidden * (u_row + v_row)))
        for begin in range(first, last, together):
            items = range(begin, min(begin + together, last))
            for item in items:
                p, i, n_i, j, n_j, n_sums = share_of_panel(item, splits, F, n_hidden, z_row)
                clear(dW, (p * F + i) * w_row, n_i * w_row)
                clear(dU, (p * n_hidden + j) * u_row, n_j * u_row)
                if two_stage:
                    clear(dV, (p * n_hidden + j) * v_row, n_j * v_row)
                clear(sums, p * z_row, n_sums)
            t, in_span, spans = 0, 0, 0
            while t < T:  # a stretch of steps that all find their past at the same distance
                before = counts[max(t - 1, 0)]
                r, past = row_at[t], B - before
                while t < T and counts[max(t - 1, 0)] == before:
                    t += 1
                end = row_at[t] if t < T else R
                while r < end:
                    depth = min(ROW_BLOCK, end - r)
                    if narrow and in_span + depth > SPAN:
                        for item in items:
                            p, i, n_i, j, n_j, n_sums = share_of_panel(item, splits, F, n_hidden, z_row)
                            w0, u0 = (p * F + i) * w_row, (p * n_hidden + j) * u_row
                            v0 = (p * n_hidden + j) * v_row
                            set_aside(dW, w0, n_i * w_row, wide, w0, spans == 0)
                            set_aside(dU, u0, n_j * u_row, wide, wide_u + u0, spans == 0)
                            set_aside(dV, v0, n_j * v_row, wide, wide_v + v0, spans == 0)
                            set_aside(sums, p * z_row, n_sums, wide, wide_sums + p * z_row, spans == 0)
                        in_span, spans = 0, spans + 1
                    in_span += depth
                    for item in items:
                        p, i, n_i, j, n_j, n_sums = share_of_panel(item, splits, F, n_hidden, z_row)
                        g = (p * R + r) * z_row
                        if n_sums > 0:
                            column_sums(depth, G, g, z_row, sums, p * z_row)
                        across_in(n_i, X, (x_first + r) * x_row + i, 1, x_row, 0, G, g + in_lo * L, z_row,
                                    dW, (p * F + i) * w_row, w_row, depth, 1)  # fmt: skip
                        across_hidden(n_j, A, (r + past) * Hp + j, 1, Hp, 0, G, g + hidden_lo * L, z_row,
                                        dU, (p * n_hidden + j) * u_row, u_row, depth, 1)  # fmt: skip
                        if two_stage:
                            across_late(n_j, RH, (r + past) * Hp + j, 1, Hp, 0, G, g + late_lo * L, z_row,
                                          dV, (p * n_hidden + j) * v_row, v_row, depth, 1)  # fmt: skip
                    r += depth
            if narrow and spans > 0:
                for item in items:
                    p, i, n_i, j, n_j, n_sums = share_of_panel(item, splits, F, n_hidden, z_row)
                    w0, u0 = (p * F + i) * w_row, (p * n_hidden + j) * u_row
                    v0 = (p * n_hidden + j) * v_row
                    take_back(dW, w0, n_i * w_row, wide, w0)
                    take_back(dU, u0, n_j * u_row, wide, wide_u + u0)
                    take_back(dV, v0, n_j * v_row, wide, wide_v + v0)
                    take_back(sums, p * z_row, n_sums, wide, wide_sums + p * z_row)

    return SimpleNamespace(forward=forward, backward=backward, weight_gradients=weight_gradients)


@cache
def layer_kernels(dtype: np.dtype) -> SimpleNamespace:
    """What a layer does around the recurrence: first states and biases."""

    @kernel("begin", dtype.name)
    def begin(sizes, begun, width, carried, states):
        """The first B rows of `states`: carried over from the chunk before, or zero, unless all are `begun`
        in what is there."""
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
        """bias (P, bias_row): += or, if it `begins`, = `source` (P, part_row) from column `first` on."""
        if begins:
            clear(bias, 0, P * bias_row)
        for p in range(P):
            for j in range(part_row):
                bias[p * bias_row + first + j] += source[p * part_row + j]

    @kernel("take_bias", dtype.name)
    def take_bias(P, part_row, bias_row, first, sums, out):
        """The inverse: out (P, part_row) = columns of the bias' gradient."""
        for p in range(P):
            for j in range(part_row):
                out[p * part_row + j] = sums[p * bias_row + first + j]

    return SimpleNamespace(begin=begin, mask_first=mask_first, add_bias=add_bias, take_bias=take_bias)
