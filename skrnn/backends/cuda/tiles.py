"""One block for a few sequences, through all of their steps; see `recurrent` for the arrays.

Each thread has one column of the recurrent weights, in its registers and, where those end, in shared
memory; the state that the product reads is in shared memory. Blocks never wait for one another.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from numba import cuda
from numpy import uint64 as unsigned

from ... import cells
from ...batches import SIZE_B, SIZE_CARRIED
from ...recording import Recording
from .elementary import functions
from .jit import ALIGNMENT, function, kernel, numba_type
from .recurrent_kernels import parts

REGISTERS = 65_536  # of a multiprocessor, and of a block
MOST_THREADS = 1024  # of a block
# Registers are given to warps of 32 threads, to each thread in eights. Whether a block fits is decided as if
# its warps came in fours, one for each part of the multiprocessor, however many there are: see
# `regsAssumedPerCTA` in the toolkit's cuda_occupancy.h, which cudaOccupancyMaxActiveBlocksPerMultiprocessor
# follows. A block that does not fit cannot be launched.
WARPS, EIGHT = 4 * 32, 8
OWN_REGISTERS = 64  # of a thread, for all but weights
# Products of a loop that the compiler unrolls: in one that it does not, weights would leave the registers.
LONGEST_LOOP = 96
TILE_THREADS = 256  # sequences share a block up to so many threads


class Tile(NamedTuple):
    """How the weights of a block are kept.

    Attributes
    ----------
    columns : int
        Q, of as many threads.
    in_registers, in_shared : int
        Rows of U, and of V, in each place; together H.
    most_rows : int
        Sequences of a block, at most.
    max_registers : int
    """

    columns: int
    in_registers: int
    in_shared: int
    most_rows: int
    max_registers: int


def plan(cell: cells.Cell, H: int, dtype: np.dtype, shared_bytes: int) -> Tile | None:
    """The tile for a layer, or None where its weights are too many for one."""
    slots = sum(end - start for start, end in (cell.hidden_slots, cell.late_slots))
    columns = slots * H
    if columns > MOST_THREADS:
        return None
    most_rows = max(1, TILE_THREADS // columns)
    threads = -(-columns * most_rows // WARPS) * WARPS
    limit = min(255, REGISTERS // threads // EIGHT * EIGHT)
    words = dtype.itemsize // 4
    in_registers = min(H, (limit - OWN_REGISTERS) // words, LONGEST_LOOP)
    in_shared = H - in_registers
    if in_registers < 1:
        return None
    # Beside them there are states, products and gradients of every sequence of the tile.
    needed = in_shared * columns + most_rows * (2 * H + columns + cell.n_slots * H)
    if needed * dtype.itemsize > shared_bytes:
        return None
    # No more than it takes: the fewer, the more blocks share a multiprocessor.
    return Tile(columns, in_registers, in_shared, most_rows, min(limit, in_registers * words + OWN_REGISTERS))


def product_function(Q: int, dtype: np.dtype, tile: Tile):
    kept, rest, zero = tile.in_registers, tile.in_shared, dtype.type(0)
    kept_fours, rest_fours, spills = kept // 4 * 4, rest // 4 * 4, rest > 0

    @function
    def product(w, w_shared, j, a, first):
        """One column's sum over all units of a[first:]: four sums side by side, so that no addition has to
        wait for the one before. Indices without a sign need no look at the sign, and let the compiler
        load four neighbours at once."""
        s0, s1, s2, s3 = zero, zero, zero, zero
        for k in range(0, kept_fours, 4):
            s0 += w[k] * a[unsigned(first + k)]
            s1 += w[k + 1] * a[unsigned(first + k + 1)]
            s2 += w[k + 2] * a[unsigned(first + k + 2)]
            s3 += w[k + 3] * a[unsigned(first + k + 3)]
        for k in range(kept_fours, kept):
            s0 += w[k] * a[unsigned(first + k)]
        if spills:
            for k in range(0, rest_fours, 4):
                s0 += w_shared[unsigned(k * Q + j)] * a[unsigned(first + kept + k)]
                s1 += w_shared[unsigned((k + 1) * Q + j)] * a[unsigned(first + kept + k + 1)]
                s2 += w_shared[unsigned((k + 2) * Q + j)] * a[unsigned(first + kept + k + 2)]
                s3 += w_shared[unsigned((k + 3) * Q + j)] * a[unsigned(first + kept + k + 3)]
            for k in range(rest_fours, rest):
                s0 += w_shared[unsigned(k * Q + j)] * a[unsigned(first + kept + k)]
        return (s0 + s1) + (s2 + s3)

    return product


def forward_kernel(key: tuple, H: int, dtype: np.dtype, tile: Tile):
    """Threads (Q, sequences of a block), blocks of a tile each."""
    cell = cells.build(functions(dtype), *key)
    hidden, Q, load, store, add_up = parts(cell, H)
    product = product_function(Q, dtype, tile)
    S, has_c, two_stage, late = cell.n_slots, cell.has_c, cell.reset is not None, Q - hidden
    (in_lo, in_hi), late_lo = cell.input_slots, cell.late_slots[0]
    kept, rest, spills = tile.in_registers, tile.in_shared, tile.in_shared > 0
    state_size, product_size = tile.most_rows * H, tile.most_rows * Q
    # Branches on constants are pruned, but Numba still needs a name to type: it is never called.
    cell_forward, cell_reset = cell.forward, cell.reset or cell.forward
    T, zero, one, alignment = numba_type(dtype), dtype.type(0), dtype.type(1), ALIGNMENT

    @kernel("tile forward", *key, H, dtype.name, tile, max_registers=tile.max_registers)
    def forward(sizes, row_at, lengths, U, V, bias, G, H_, A, C, RH, mask, begun, h_carried, c_carried,
                h_first, c_first, h_last, c_last, masked, keep):  # fmt: skip
        """From W x in G to states H_ and the last ones; with `keep` also gates in G, and A, C, RH and the
        first states, which `backward` reads. Thread j < H of a sequence also updates unit j."""
        j, y = cuda.threadIdx.x, cuda.threadIdx.y
        top = cuda.blockIdx.x * cuda.blockDim.y
        if top >= sizes[SIZE_B]:
            return
        i, B = top + y, sizes[SIZE_B]
        length = lengths[i] if i < B else 0
        longest = lengths[top]
        w = cuda.local.array(kept, T)
        z = cuda.local.array(S, T)
        b = cuda.local.array(S, T)
        x = cuda.local.array(S, T)
        ahead = cuda.local.array(S, T)
        a = cuda.shared.array(state_size, T, alignment)
        products = cuda.shared.array(product_size, T)
        w_shared = cuda.shared.array(0, T)
        for k in range(kept):
            w[k] = U[k * hidden + j] if j < hidden else V[k * late + j - hidden]
        if spills and y == 0:
            for k in range(rest):
                row = kept + k
                w_shared[k * Q + j] = U[row * hidden + j] if j < hidden else V[row * late + j - hidden]
        u = j  # of the threads that update a unit
        updates = j < H and length > 0
        h, c, m, read = zero, zero, one, zero
        if updates:
            for s in range(S):
                b[s] = bias[s * H + u]
            if begun or sizes[SIZE_CARRIED] != 0:
                h = h_carried[i * H + u]
                if has_c:
                    c = c_carried[i * H + u]
            if keep:
                h_first[i * H + u] = h
                if has_c:
                    c_first[i * H + u] = c
            if masked:
                m = mask[i * H + u]
            read = h * m
            # W x is asked for a step ahead: it takes longer to come than a step of few units takes
            for s in range(in_lo, in_hi):
                ahead[s] = G[((row_at[0] + i) * S + s) * H + u]
        if j < H:  # also of rows without a sequence, which are multiplied too
            a[y * H + u] = read
        cuda.syncthreads()
        for t in range(longest):
            running = updates and t < length
            if running:
                for s in range(in_lo, in_hi):
                    x[s] = ahead[s]
                if t + 1 < length:
                    for s in range(in_lo, in_hi):
                        ahead[s] = G[((row_at[t + 1] + i) * S + s) * H + u]
            if j < hidden:
                products[y * Q + j] = product(w, w_shared, j, a, y * H)
            cuda.syncthreads()
            if running:
                r = row_at[t] + i
                add_up(z, x, 0, 1, b, 0, 1, products, y * Q + u)
                if keep:
                    A[r * H + u] = read
            if two_stage:
                if running:
                    gates, rh = cell_reset(z, read)
                    for s in range(S):
                        z[s] = gates[s]
                    a[y * H + u] = rh
                    if keep:
                        RH[(row_at[t] + i) * H + u] = rh
                cuda.syncthreads()
                if j >= hidden:
                    products[y * Q + j] = product(w, w_shared, j, a, y * H)
                cuda.syncthreads()
                if running:
                    z[late_lo] += products[y * Q + hidden + u]
            if running:
                r = row_at[t] + i
                gates, h, c = cell_forward(z, h, c)
                H_[r * H + u] = h
                if keep:
                    store(G, r * S * H + u, gates)
                    if has_c:
                        C[r * H + u] = c
                read = h * m
                a[y * H + u] = read
            cuda.syncthreads()
        if updates:
            h_last[i * H + u] = h
            if has_c:
                c_last[i * H + u] = c

    return forward


def backward_kernel(key: tuple, H: int, dtype: np.dtype, tile: Tile):
    """Likewise."""
    cell = cells.build(functions(dtype), *key)
    hidden, Q, load, store, _ = parts(cell, H)
    product = product_function(Q, dtype, tile)
    S, has_c, two_stage, late = cell.n_slots, cell.has_c, cell.reset is not None, Q - hidden
    hidden_lo, late_lo, n_parts = cell.hidden_slots[0], cell.late_slots[0], hidden // H
    kept, rest, spills = tile.in_registers, tile.in_shared, tile.in_shared > 0
    product_size, gate_size = tile.most_rows * Q, tile.most_rows * S * H
    cell_backward, cell_reset_backward = cell.backward, cell.reset_backward or cell.backward
    T, zero, one, alignment = numba_type(dtype), dtype.type(0), dtype.type(1), ALIGNMENT

    @kernel("tile backward", *key, H, dtype.name, tile, max_registers=tile.max_registers)
    def backward(sizes, row_at, lengths, U, V, G, H_, A, C, mask, h_first, c_first, dY, dY_row, has_dY, dH,
                 dC, masked):  # fmt: skip
        """dH, dC (B, H): in, gradient of each sequence's last state; out, of its first state.

        dY (R, dY_row): gradient of the hidden state at every step. G turns from gates into gradients of
        the pre-activations.
        """
        j, y = cuda.threadIdx.x, cuda.threadIdx.y
        top = cuda.blockIdx.x * cuda.blockDim.y
        if top >= sizes[SIZE_B]:
            return
        i, B = top + y, sizes[SIZE_B]
        length = lengths[i] if i < B else 0
        longest = lengths[top]
        w = cuda.local.array(kept, T)
        dz_shared = cuda.shared.array(gate_size, T, alignment)
        products = cuda.shared.array(product_size, T)
        w_shared = cuda.shared.array(0, T)
        # Thread j has row k of one slot's weights: the sum over the slots is the unit's own business.
        slot, k_out = j // H, j % H
        for k in range(kept):
            w[k] = U[k_out * hidden + slot * H + k] if j < hidden else V[k_out * late + k]
        if spills and y == 0:
            for k in range(rest):
                n = kept + k
                w_shared[k * Q + j] = U[k_out * hidden + slot * H + n] if j < hidden else V[k_out * late + n]
        # where the gradients that this thread's product reads begin
        dz_at = (y * S + (hidden_lo + slot if j < hidden else late_lo)) * H
        u = j
        updates = j < H and length > 0
        dh, dc, m = zero, zero, one
        if j < H:  # also of rows without a sequence, which are multiplied too
            for s in range(S):
                dz_shared[(y * S + s) * H + u] = zero
        if updates:
            dh = dH[i * H + u]
            if has_c:
                dc = dC[i * H + u]
            if masked:
                m = mask[i * H + u]
        cuda.syncthreads()
        for back in range(longest):
            t = longest - 1 - back
            running = updates and t < length
            if running:
                r = row_at[t] + i
                if t > 0:
                    before = (row_at[t - 1] + i) * H + u
                    h_prev = H_[before]
                    c_prev = C[before] if has_c else zero
                else:
                    h_prev = h_first[i * H + u]
                    c_prev = c_first[i * H + u] if has_c else zero
                c = C[r * H + u] if has_c else zero
                if has_dY:
                    dh = dh + dY[r * dY_row + u]
                dz, dh, dc = cell_backward(load(G, r * S * H + u), h_prev, c_prev, c, dh, dc)
                store(dz_shared, y * S * H + u, dz)
                if not two_stage:
                    store(G, r * S * H + u, dz)
            cuda.syncthreads()
            if two_stage:  # through the late product: d(r h) first, then the reset gate
                if j >= hidden:
                    products[y * Q + j] = product(w, w_shared, j, dz_shared, dz_at)
                cuda.syncthreads()
                direct = zero
                if running:
                    r = row_at[t] + i
                    dz, direct = cell_reset_backward(
                        load(dz_shared, y * S * H + u), A[r * H + u], products[y * Q + hidden + u]
                    )
                    store(dz_shared, y * S * H + u, dz)
                    store(G, r * S * H + u, dz)
                cuda.syncthreads()
            if j < hidden:
                products[y * Q + j] = product(w, w_shared, j, dz_shared, dz_at)
            cuda.syncthreads()
            if running:
                d = zero
                if two_stage:
                    d = direct
                for n in range(n_parts):
                    d += products[y * Q + n * H + u]
                dh += d * m
        if updates:
            dH[i * H + u] = dh
            if has_c:
                dC[i * H + u] = dc

    return backward


@cache
def tile_kernels(key: tuple, H: int, dtype: np.dtype, tile: Tile) -> SimpleNamespace:
    return SimpleNamespace(
        forward=forward_kernel(key, H, dtype, tile), backward=backward_kernel(key, H, dtype, tile)
    )


# --- recording --------------------------------------------------------------------------------------
def forward(rec: Recording, layer, trace, bias, carried, name: str) -> None:
    """Record a layer's pass over time: W x in G becomes gates and states in `trace`."""
    _launch(
        rec, "forward", layer, name, bias, trace.G, trace.H, trace.A, trace.C, trace.RH, trace.mask, *carried,
        trace.h_first, trace.c_first, trace.h_last, trace.c_last, trace.masked, rec.keep,
    )  # fmt: skip


def backward(rec: Recording, layer, trace, d_states, into, name: str) -> None:
    """Record back-propagation through time: gates in G become gradients of the pre-activations.

    d_states: dY, its row and whether there is one; into: dH and dC.
    """
    _launch(
        rec, "backward", layer, name, trace.G, trace.H, trace.A, trace.C, trace.mask, trace.h_first,
        trace.c_first, *d_states, *into, trace.masked,
    )  # fmt: skip


def _launch(rec: Recording, which: str, layer, name: str, *args) -> None:
    """Sequences share a block only when there are more than multiprocessors."""
    tile, steps, views = layer.tile, rec.tape.steps(rec.steps), rec.weights(name)
    kernels = tile_kernels(layer.key, layer.n_hidden, layer.dtype, tile)
    n_rows = max(1, min(tile.most_rows, steps.max_sequences // rec.tape.device.n_multiprocessors))
    rec.tape.launch(
        getattr(kernels, which), -(-steps.max_sequences // n_rows), (tile.columns, n_rows), steps.sizes,
        steps.row_at, steps.lengths, views["hidden weight"],
        views.get("late weight", rec.work.resident(None)),  # of a cell without one: nobody reads it
        *args, shared_bytes=max(16, tile.in_shared * tile.columns * layer.dtype.itemsize),
    )  # fmt: skip
