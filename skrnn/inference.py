"""Reading sequences in chunks, and running a network over many without what only training needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .batches import PackedSteps, chunks
from .network import Network
from .sequences import Sequences

State = list[tuple[np.ndarray, np.ndarray | None]]

BATCH = 256  # sequences run together
ROWS = 32_768  # steps run together: bounds the memory of long sequences


class Chunk(NamedTuple):
    """A stretch of time of some sequences, sorted by falling length.

    Attributes
    ----------
    first : int
        Its first time step.
    steps : PackedSteps
    rows : ndarray of shape (R,)
        Row of `Sequences.values` behind each packed row.
    X : flat (R, F)
        Valid until the next chunk is read.
    lengths, ends : ndarray of shape (B,)
        Whole lengths of the sequences that reach this chunk, and whether they end in it.
    """

    first: int
    steps: PackedSteps
    rows: np.ndarray
    X: np.ndarray
    lengths: np.ndarray
    ends: np.ndarray


def read(network: Network, sequences: Sequences, batch: np.ndarray, size: int | None) -> Iterator[Chunk]:
    """The sequences `batch`, sorted by falling length, in chunks of at most `size` steps."""
    lengths, starts = sequences.lengths[batch], sequences.starts[batch]
    shift = None if sequences.shift is None else sequences.shift[batch]
    scale = None if sequences.scale is None else sequences.scale[batch]
    for first, steps in chunks(lengths, size):
        B = len(steps)
        rows = steps.rows_of(starts[:B] + first)
        X = network.backend.gather(sequences.values, rows, steps, network.work, shift=shift, scale=scale)
        yield Chunk(first, steps, rows, X, lengths[:B], first + steps.lengths == lengths[:B])


def run(
    network: Network,
    params: np.ndarray,
    sequences: Sequences,
    *,
    state: State | None = None,
    hidden: bool = False,
    n_rows: int = ROWS,
) -> tuple[np.ndarray, State]:
    """Raw outputs, or the top layer's states, and the last states.

    Parameters
    ----------
    state : list of (h, c) per layer and direction, each (n, H), or None
        First states, in the order of `sequences`.
    hidden : bool
        Whether to return the top layer's states per step instead of the head's outputs.
    n_rows : int
        Steps run together, at most, where no reverse direction needs a whole sequence at once.

    Returns
    -------
    output : ndarray of shape (n, n_out), or (n_steps, n_out) with an output per step
    state : list of (h, c) per layer and direction, each (n, H)

    Notes
    -----
    The bits of a sequence's result do not depend on the sequences beside it, nor on the chunks that
    long ones are read in.
    """
    n, H = len(sequences), network.hidden_size
    per_step = hidden or network.return_sequences
    width = network.width if hidden else network.n_out
    output = np.empty((sequences.n_steps if per_step else n, width), network.dtype)
    has_c = network.cell == "lstm"
    last: State = [
        (np.empty((n, H), network.dtype), np.empty((n, H), network.dtype) if has_c else None)
        for _ in range(network.num_layers * network.directions)
    ]
    by_length = np.argsort(-sequences.lengths, kind="stable")
    for start in range(0, n, BATCH):
        batch = by_length[start : start + BATCH]
        # A reverse direction reads from the far end: it needs the whole sequence at once.
        size = None if network.directions == 2 else max(1, n_rows // len(batch))
        carried = None if state is None else pick(state, batch)
        pooled = None
        for chunk in read(network, sequences, batch, size):
            B = len(chunk.steps)
            if chunk.first:
                carried, pooled = pick(carried, slice(B)), None if pooled is None else pooled[:B]
            pass_ = network.forward(
                params, chunk.X, chunk.steps, state=carried, pooled=pooled, lengths=chunk.lengths
            )
            carried, pooled = pass_.state(), pass_.pooled
            if per_step:
                at = chunk.steps.rows_of(sequences.offsets[batch[:B]] + chunk.first)
                output[at] = pass_.hidden() if hidden else pass_.out
            ending = np.flatnonzero(chunk.ends)
            if not per_step:
                output[batch[ending]] = pass_.out[ending]
            for (h, c), (h_new, c_new) in zip(last, carried, strict=True):
                h[batch[ending]] = h_new[ending]
                if c is not None:
                    c[batch[ending]] = c_new[ending]
    return output, last


def pick(state: State, rows) -> State:
    """The states of some of the sequences."""
    return [(h[rows], None if c is None else c[rows]) for h, c in state]
