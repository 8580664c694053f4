"""A recurrent layer over time: forward and back-propagation through time, generic over the cell.

`B` sequences sorted by falling length, `R` packed rows, `H` hidden units, `S` slots of the cell
(`skrnn.cells.Cell`); packed row ``row_at[t] + i`` is step t of sequence i. A product with the state gives
`Q` columns: those of the hidden slots, then those of the late ones.

======== ============== =============================================================================
G        (R, S, H)      W x, then gates, after the backward pass gradients of the pre-activations
H        (R, H)         hidden states
A        (R, H)         what the recurrent product of that step read: the state before, times the mask
C        (R, H)         memory cells, of cells that have one
RH       (R, H)         r * h of the GRU that resets before the product
U, V     (H, Q|H)       recurrent and late weights
carried, (B, H)         h and c: of the chunk before, before the first step, after the last step
first,
last
mask     (B, H)         recurrent dropout
======== ============== =============================================================================

There are two regimes. `tile_kernels`: a block takes a few sequences through all of their steps, with one
column of U in the registers and, where those end, in the shared memory of each thread; blocks never wait
for one another. `step_kernels`: where U is too large for that, each step is a product (cuBLAS) and a
kernel for the cell, on dense matrices (B, .) of all sequences: those that have ended compute what nobody
reads. A third regime belongs between them for many hidden units: one cooperative kernel whose blocks each
own some units and meet at one grid barrier per step. It would stand beside these two and be chosen in
`plan`; it is left until it can be measured.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from numba import cuda
from numpy import uint64 as unsigned

from ... import cells
from ...batches import SIZE_B, SIZE_CARRIED, SIZE_T
from .elementary import functions
from .jit import ALIGNMENT, function, kernel, numba_type

REGISTERS = 65_536  # of a multiprocessor, since Kepler
MOST_THREADS = 1024  # of a block
OWN_REGISTERS = 64  # of a thread, for all but weights
LONGEST_LOOP = (
    96  # of products that the compiler unrolls: weights in a loop that is one would leave the registers
)
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
    limit = min(255, REGISTERS // (-(-columns * most_rows // 32) * 32) // 8 * 8)
    words = dtype.itemsize // 4
    in_registers = min(H, (limit - OWN_REGISTERS) // words, LONGEST_LOOP)
    in_shared = H - in_registers
    if in_registers < 1 or in_shared > LONGEST_LOOP:
        return None
    # Beside them there are states, products and gradients of every sequence of the tile.
    needed = in_shared * columns + most_rows * (2 * H + columns + cell.n_slots * H)
    if needed * dtype.itemsize > shared_bytes:
        return None
    # No more than it takes: the fewer, the more blocks share a multiprocessor.
    return Tile(columns, in_registers, in_shared, most_rows, min(limit, in_registers * words + OWN_REGISTERS))


class Parts(NamedTuple):
    """A cell's functions and numbers, and what both regimes build on."""

    cell: cells.Cell
    H: int
    hidden: int  # columns of the hidden slots
    columns: int  # and of the late ones
    load: object  # S gates of a unit, as a tuple
    store: object
    add_up: object  # pre-activations


def parts(cell: cells.Cell, H: int) -> Parts:
    S = cell.n_slots
    (in_lo, in_hi), (hidden_lo, hidden_hi) = cell.input_slots, cell.hidden_slots
    late_lo, late_hi = cell.late_slots
    hidden, late = (hidden_hi - hidden_lo) * H, (late_hi - late_lo) * H

    if S == 1:

        @function
        def load(X, at):
            return (X[at],)

    elif S == 3:

        @function
        def load(X, at):
            return X[at], X[at + H], X[at + 2 * H]

    else:

        @function
        def load(X, at):
            return X[at], X[at + H], X[at + 2 * H], X[at + 3 * H]

    @function
    def store(X, at, values):
        for s in range(S):
            X[at + s * H] = values[s]

    @function
    def add_up(z, x, x_at, x_step, bias, b_at, b_step, products, at):
        """z[s] = bias + W x + U h of a unit; of a late slot without the late product.

        x and bias: of slot s at x[x_at + s x_step]; products: of the first hidden slot at products[at].
        """
        for s in range(S):
            total = bias[b_at + s * b_step]
            if in_lo <= s and s < in_hi:
                total += x[x_at + s * x_step]
            if hidden_lo <= s and s < hidden_hi:
                total += products[at + (s - hidden_lo) * H]
            z[s] = total

    return Parts(cell, H, hidden, hidden + late, load, store, add_up)


# --- one block for a few sequences ------------------------------------------------------------------
@cache
def tile_kernels(key: tuple, H: int, dtype: np.dtype, tile: Tile) -> SimpleNamespace:
    """Kernels ``forward`` and ``backward``: threads (Q, sequences of a block), blocks of a tile each."""
    p = parts(cells.build(functions(dtype), *key), H)
    cell, load, store, hidden, Q = p.cell, p.load, p.store, p.hidden, p.columns
    S, has_c, two_stage, late = cell.n_slots, cell.has_c, cell.reset is not None, p.columns - p.hidden
    in_lo, in_hi = cell.input_slots
    hidden_lo, late_lo = cell.hidden_slots[0], cell.late_slots[0]
    n_parts = hidden // H
    kept, rest = tile.in_registers, tile.in_shared
    kept_fours, rest_fours, spills = kept // 4 * 4, rest // 4 * 4, rest > 0
    state_size, product_size, gate_size = tile.most_rows * H, tile.most_rows * Q, tile.most_rows * S * H
    cell_forward, cell_backward = cell.forward, cell.backward
    # Branches on constants are pruned, but Numba still needs a name to type: these are never called.
    cell_reset, cell_reset_backward = cell.reset or cell.forward, cell.reset_backward or cell.backward
    T, zero, one, add_up = numba_type(dtype), dtype.type(0), dtype.type(1), p.add_up
    alignment = ALIGNMENT

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

    @kernel("tile forward", *key, H, dtype.name, tile, max_registers=tile.max_registers)
    def forward(sizes, row_at, lengths, U, V, bias, G, H_, A, C, RH, mask, h_carried, c_carried, h_first,
                c_first, h_last, c_last, masked, keep):  # fmt: skip
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
            if sizes[SIZE_CARRIED] != 0:
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
            a[y * H + u] = read
            # W x is asked for a step ahead: it takes longer to come than a step of few units takes
            for s in range(in_lo, in_hi):
                ahead[s] = G[((row_at[0] + i) * S + s) * H + u]
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

    return SimpleNamespace(forward=forward, backward=backward)


# --- one step at a time -----------------------------------------------------------------------------
@cache
def step_kernels(key: tuple, H: int, dtype: np.dtype) -> SimpleNamespace:
    """Kernels for the cell of all sequences at step `t`, between products of dense matrices.

    Dense, with a row for each sequence: `h` and `c`; `a`, what the product reads; `products`, what it
    gives, (B, Q) going forward and (B, H) going back; `dz` (B, S, H). They are written for the sequences
    that still run.
    """
    p = parts(cells.build(functions(dtype), *key), H)
    cell, load, store, add_up, hidden = p.cell, p.load, p.store, p.add_up, p.hidden
    S, has_c, two_stage, late_lo = cell.n_slots, cell.has_c, cell.reset is not None, cell.late_slots[0]
    cell_forward, cell_backward = cell.forward, cell.backward
    cell_reset, cell_reset_backward = cell.reset or cell.forward, cell.reset_backward or cell.backward
    T, zero = numba_type(dtype), dtype.type(0)

    @function
    def n_running(t, sizes, counts):
        return counts[t] * H if t < sizes[SIZE_T] else 0

    @kernel("step begin", *key, H, dtype.name)
    def begin(sizes, mask, masked, h_carried, c_carried, h_first, c_first, h, c, a, keep):
        for at in range(cuda.grid(1), sizes[SIZE_B] * H, cuda.gridsize(1)):
            h_at = h_carried[at] if sizes[SIZE_CARRIED] != 0 else zero
            h[at] = h_at
            a[at] = h_at * mask[at] if masked else h_at
            if keep:
                h_first[at] = h_at
            if has_c:
                c_at = c_carried[at] if sizes[SIZE_CARRIED] != 0 else zero
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


# --- around the recurrence --------------------------------------------------------------------------
@kernel("sum_biases")
def sum_biases(H, in_lo, in_hi, hidden_lo, hidden_hi, late_lo, late_hi, b_in, b_hidden, b_late, bias):
    """bias (S, H): what every slot's biases add up to."""
    for at in range(cuda.grid(1), len(bias), cuda.gridsize(1)):
        s, u = at // H, at % H
        bias[at] = 0
        if in_lo <= s and s < in_hi:
            bias[at] += b_in[(s - in_lo) * H + u]
        if hidden_lo <= s and s < hidden_hi:
            bias[at] += b_hidden[(s - hidden_lo) * H + u]
        if late_lo <= s and s < late_hi:
            bias[at] += b_late[(s - late_lo) * H + u]


@kernel("copy")
def copy(n, source, target):
    for at in range(cuda.grid(1), n, cuda.gridsize(1)):
        target[at] = source[at]


@kernel("clear_tail")
def clear_tail(sizes, which, n_rows, row, X):
    """Rows from that of `sizes[which]` on: products over all rows that there is room for read them."""
    for at in range(sizes[which] * row + cuda.grid(1), n_rows * row, cuda.gridsize(1)):
        X[at] = 0
