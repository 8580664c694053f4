"""Running a network over many sequences without what only training needs."""

from __future__ import annotations

import numpy as np

from .batches import JOB_CARRIED, SIZE_B, SIZE_CARRIED, SIZE_FIRST, SIZE_R, SIZE_T, Jobs, Steps
from .interrupts import deferring
from .network import Network
from .sequences import Sequences, lies_on_host

State = list[tuple[np.ndarray, np.ndarray | None]]

BATCH = 256  # sequences run together
ROWS = 32_768  # steps run together: bounds the memory of long sequences


@deferring
def run(
    network: Network,
    params: np.ndarray,
    sequences: Sequences,
    *,
    state: State | None = None,
    hidden: bool = False,
    last: bool = False,
    n_rows: int = ROWS,
) -> tuple[np.ndarray, State]:
    """Raw outputs, or the top layer's states, and the last states.

    Parameters
    ----------
    state : list of (h, c) per layer and direction, each (n, H), or None
        First states, in the order of `sequences`.
    hidden : bool
        Whether to return the top layer's states per step instead of the head's outputs.
    last : bool
        Whether the last states are wanted.
    n_rows : int
        Steps run together, at most, where the network does not need whole sequences at once.

    Returns
    -------
    output : ndarray of shape (n, n_out), or (n_steps, n_out) with an output per step
        An array of the GPU where the values of `sequences` are one.
    state : list of (h, c) per layer and direction, each (n, H); empty unless `last`

    Notes
    -----
    The bits of a sequence's result do not depend on the sequences beside it, nor on the chunks that
    long ones are read in.
    """
    backend, n, H = network.backend, len(sequences), network.hidden_size
    per_step = hidden or network.return_sequences
    width = network.width if hidden else network.n_out
    shape = sequences.n_steps if per_step else n, width
    if lies_on_host(sequences.values):
        output = np.empty(shape, network.dtype)
    else:  # where the sequences are
        output = backend.aligned(shape[0] * shape[1], network.dtype).reshape(shape)
    # A reverse direction reads from the far end, a skip everything: they need the whole sequence at once.
    whole = network.directions == 2 or network.skip is not None
    chunk_size = None if whole else max(1, n_rows // min(n, BATCH))
    jobs = Jobs(sequences.lengths, BATCH, chunk_size)
    table = jobs.plan(np.argsort(-sequences.lengths, kind="stable"))
    steps = jobs.room()

    tape = backend.Tape(network.n_threads)
    X = network.read(tape, sequences, steps, jobs)
    carried = network.carried(steps)
    for given, own in zip(state or (), carried):
        for array, buffer in zip(given, own):
            backend.start_from(tape, np.ascontiguousarray(array), buffer.array, buffer.row, steps)
    carry = last or bool(table[:, JOB_CARRIED].any())
    pass_ = network.forward(tape, params, X, steps, carry=carry, hidden=hidden)
    result = pass_.hidden if hidden else pass_.out
    ends = sequences.offsets[1:]
    backend.scatter(tape, result, steps, per_step, ends, width, output)
    states: State = []
    for own in carried if last else ():
        arrays = [np.empty((n, H), network.dtype) for _ in own]
        for buffer, array in zip(own, arrays, strict=True):
            backend.scatter(tape, buffer, steps, False, ends, H, array)
        states.append((arrays[0], arrays[1] if len(arrays) == 2 else None))
    tape.run(len(table), network.flops(sequences.n_steps / len(table)), network.flops(steps.max_rows))
    return output, states


class Stepper:
    """A network that reads `n` sequences one step at a time and carries their states.

    Attributes
    ----------
    x : ndarray of shape (n, n_in)
        To be filled with the next step of every sequence.
    out : ndarray of shape (n, n_out)
        Raw outputs after the last step; a view.
    """

    def __init__(self, network: Network, params: np.ndarray, n: int) -> None:
        backend = network.backend
        self._network, self._steps = network, Steps(n, 1, n)
        self._steps.sizes[[SIZE_B, SIZE_T, SIZE_R]] = n, 1, n
        self._steps.counts[0], self._steps.lengths[:] = n, 1
        self._steps.sequence[:] = np.arange(n)
        self._finite = np.zeros(1, np.intp)
        self.x = np.empty((n, network.n_in), network.dtype)
        tape = backend.Tape()
        X = backend.next_step(tape, self.x, self._finite, self._steps)
        with tape.only_if(self._finite):
            out = network.forward(tape, params, X, self._steps, carry=True).out
        self._carried = network.carried(self._steps)
        self.out = backend.watch(tape, out)[:n, : network.n_out]
        self._replay = tape.player()
        self.reset()

    def advance(self) -> bool:
        """Read `x`; False, and nothing has changed, if it holds NaN or infinity."""
        self._replay()
        return self._finite[0] != 0

    @deferring
    def reset(self, state: State | None = None) -> None:
        """Begin new sequences from `state`, or from zeros."""
        # the first step: `next_step` counts on before it reads
        self._steps.sizes[SIZE_FIRST], self._steps.sizes[SIZE_CARRIED], self._steps.whole[:] = -1, 1, 0
        H = self._network.hidden_size
        for k, own in enumerate(self._carried):
            for j, rows in enumerate(own):
                states = np.zeros((len(rows.array) // rows.row, rows.row), self._network.dtype)
                if state is not None:
                    states[:, :H] = state[k][j]
                rows.array[:] = self._network.backend.to_device(states.ravel())

    def state(self) -> State:
        """The states after the last step."""
        H, to_host = self._network.hidden_size, self._network.backend.to_host
        states = [
            [to_host(rows.array).reshape(-1, rows.row)[:, :H].copy() for rows in own] for own in self._carried
        ]
        return [(own[0], own[1] if len(own) == 2 else None) for own in states]
