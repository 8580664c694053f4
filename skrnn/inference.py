"""Running a network over many sequences without what only training needs."""

from __future__ import annotations

import numpy as np

from .batches import Jobs
from .network import Network
from .sequences import Sequences

State = list[tuple[np.ndarray, np.ndarray | None]]

BATCH = 256  # sequences run together
ROWS = 32_768  # steps run together: bounds the memory of long sequences


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
    backend, n, H = network.backend, len(sequences), network.hidden_size
    per_step = hidden or network.return_sequences
    width = network.width if hidden else network.n_out
    output = np.empty((sequences.n_steps if per_step else n, width), network.dtype)
    # A reverse direction reads from the far end: it needs the whole sequence at once.
    size = None if network.directions == 2 else max(1, n_rows // min(n, BATCH))
    jobs = Jobs(sequences.lengths, BATCH, size)
    n_jobs = len(jobs.plan(np.argsort(-sequences.lengths, kind="stable")))
    steps = jobs.room()

    tape = backend.Tape(network.n_threads)
    X = network.read(tape, sequences, steps, jobs)
    carried = network.carried(steps)
    for given, own in zip(state or (), carried):
        for array, buffer in zip(given, own):
            backend.start_from(tape, np.ascontiguousarray(array), buffer.array, buffer.row, steps)
    pass_ = network.forward(tape, params, X, steps, carry=True, hidden=hidden)
    result = pass_.hidden if hidden else pass_.out
    ends = sequences.offsets[1:]
    backend.scatter(tape, result, steps, per_step, ends, width, output)
    last: State = []
    for own in carried:
        arrays = [np.empty((n, H), network.dtype) for _ in own]
        for buffer, array in zip(own, arrays, strict=True):
            backend.scatter(tape, buffer, steps, False, ends, H, array)
        last.append((arrays[0], arrays[1] if len(arrays) == 2 else None))
    tape.run(n_jobs, network.flops(sequences.n_steps) / n_jobs)
    return output, last
