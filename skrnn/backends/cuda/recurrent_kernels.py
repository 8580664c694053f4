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

There are two regimes, each with a ``forward`` and a ``backward`` that record a layer's passes. `tiles`: a
block takes a few sequences through all of their steps, and blocks never wait for one another. `stepwise`:
where the weights are too many for a block, each step is a product and a kernel. A third belongs between
them for many hidden units: one cooperative kernel whose blocks each own some units and meet at one grid
barrier per step. It would be a module beside these two, chosen in `RecurrentLayer`; it is left until it can
be measured.
"""

from __future__ import annotations

from typing import NamedTuple

from numba import cuda

from ... import cells
from .jit import function, kernel


class Parts(NamedTuple):
    """What both regimes build on."""

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

    return Parts(hidden, hidden + late, load, store, add_up)


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
