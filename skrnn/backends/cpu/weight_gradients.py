"""Gradients of a recurrent layer's weights, once those of the pre-activations are known; see
`recurrent_kernels` for the arrays."""

from __future__ import annotations

import numpy as np

from ...batches import SIZE_B, SIZE_R, SIZE_T
from .gemm import make_column_sums, make_multiply
from .jit import inlined, kernel
from .recurrent_kernels import Panels
from .simd import clear, lanes
from .sums import SPAN, sum_kernels
from .threads import own_range

ROW_BLOCK = 128  # rows handled at a time: a panel's gradients stay in the L1 or L2 cache
TOGETHER = 2**15  # sums of panels that read the same block of X and A: they have to stay in the cache, too


@inlined
def share_of_panel(item, splits, F, n_hidden, z_row):
    """Of a panel's weight gradients: the panel, first feature and how many, first unit and how many, and how
    many sums of gradients."""
    p, k = item // splits, item % splits
    i, j = F * k // splits, n_hidden * k // splits
    return p, i, F * (k + 1) // splits - i, j, n_hidden * (k + 1) // splits - j, z_row if k == 0 else 0


def weight_gradients_kernel(panels: Panels):
    cell, key, dtype, units, _ = panels
    L, two_stage, width = lanes(dtype), cell.reset is not None, panels.width
    in_lo, hidden_lo, late_lo = cell.input_slots[0], cell.hidden_slots[0], cell.late_slots[0]
    in_width, hidden_width, late_width = (
        panels.width_of(slots) for slots in (cell.input_slots, cell.hidden_slots, cell.late_slots)
    )
    across_in, across_hidden, across_late = (
        make_multiply(k or 1, "beside") for k in (in_width, hidden_width, late_width)
    )
    column_sums, narrow = make_column_sums(width), dtype == np.float32
    set_aside, take_back = sum_kernels(dtype).set_aside, sum_kernels(dtype).take_back

    @kernel("weight_gradients", key, dtype.name, units)
    def weight_gradients(thread, n_threads, sizes, counts, row_at, F, n_hidden, P, X, x_row, x_past, A, RH, G,
                         dW, dU, dV, sums, wide):  # fmt: skip
        """dW, dU, dV, like W, U and V: what each product read, transposed, times the gradients in G.

        With bfloat16, that in float32. sums, like the bias: of the gradients over all rows; may be empty, as
        may dW (F = 0) or the others (n_hidden = 0). wide: as many numbers, one behind the other, where
        float32 has more than SPAN rows to add.
        """
        B, T, R = sizes[SIZE_B], sizes[SIZE_T], sizes[SIZE_R]
        Hp, z_row, x_first = P * units * L, width * L, B if x_past else 0
        w_row, u_row, v_row = in_width * L, hidden_width * L, late_width * L
        splits = (n_threads + P - 1) // P  # threads to a panel
        first, last = own_range(thread, n_threads, P * splits)
        wide_u, wide_v, wide_sums = len(dW), len(dW) + len(dU), len(dW) + len(dU) + len(dV)
        together = max(1, TOGETHER // max(1, F * w_row + n_hidden * (u_row + v_row)))
        sums_row = z_row if len(sums) > 0 else 0
        for begin in range(first, last, together):
            items = range(begin, min(begin + together, last))
            for item in items:
                p, i, n_i, j, n_j, n_sums = share_of_panel(item, splits, F, n_hidden, sums_row)
                clear(dW, (p * F + i) * w_row, n_i * w_row)
                clear(dU, (p * n_hidden + j) * u_row, n_j * u_row)
                if two_stage:
                    clear(dV, (p * n_hidden + j) * v_row, n_j * v_row)
                if n_sums > 0:
                    clear(sums, p * z_row, n_sums)
            t, in_span, spans = 0, 0, 0
            while t < T:  # a stretch of steps that find their past at the same distance; of step 0 it is B
                before = counts[max(t - 1, 0)]
                r, past = row_at[t], B - before
                while t < T and counts[max(t - 1, 0)] == before:
                    t += 1
                end = row_at[t] if t < T else R
                while r < end:
                    depth = min(ROW_BLOCK, end - r)
                    if narrow and in_span + depth > SPAN:
                        for item in items:
                            p, i, n_i, j, n_j, n_sums = share_of_panel(item, splits, F, n_hidden, sums_row)
                            w0, u0 = (p * F + i) * w_row, (p * n_hidden + j) * u_row
                            v0 = (p * n_hidden + j) * v_row
                            set_aside(dW, w0, n_i * w_row, wide, w0, spans == 0)
                            set_aside(dU, u0, n_j * u_row, wide, wide_u + u0, spans == 0)
                            set_aside(dV, v0, n_j * v_row, wide, wide_v + v0, spans == 0)
                            set_aside(sums, p * z_row, n_sums, wide, wide_sums + p * z_row, spans == 0)
                        in_span, spans = 0, spans + 1
                    in_span += depth
                    for item in items:
                        p, i, n_i, j, n_j, n_sums = share_of_panel(item, splits, F, n_hidden, sums_row)
                        g = (p * R + r) * z_row
                        if n_sums > 0:
                            column_sums(depth, G, g, z_row, sums, p * z_row)
                        if n_i > 0:
                            across_in(n_i, X, (x_first + r) * x_row + i, 1, x_row, 0, G, g + in_lo * L, z_row,
                                      dW, (p * F + i) * w_row, w_row, depth, 1)  # fmt: skip
                        if n_j > 0:
                            across_hidden(n_j, A, (r + past) * Hp + j, 1, Hp, 0, G, g + hidden_lo * L, z_row,
                                          dU, (p * n_hidden + j) * u_row, u_row, depth, 1)  # fmt: skip
                        if two_stage and n_j > 0:
                            across_late(n_j, RH, (r + past) * Hp + j, 1, Hp, 0, G, g + late_lo * L, z_row,
                                        dV, (p * n_hidden + j) * v_row, v_row, depth, 1)  # fmt: skip
                    r += depth
            if narrow and spans > 0:
                for item in items:
                    p, i, n_i, j, n_j, n_sums = share_of_panel(item, splits, F, n_hidden, sums_row)
                    w0, u0 = (p * F + i) * w_row, (p * n_hidden + j) * u_row
                    v0 = (p * n_hidden + j) * v_row
                    take_back(dW, w0, n_i * w_row, wide, w0)
                    take_back(dU, u0, n_j * u_row, wide, wide_u + u0)
                    take_back(dV, v0, n_j * v_row, wide, wide_v + v0)
                    take_back(sums, p * z_row, n_sums, wide, wide_sums + p * z_row)

    return weight_gradients
