"""Running a network over many sequences without what only training needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .batches import SIZE_B, SIZE_CARRIED, SIZE_FIRST, SIZE_R, SIZE_T, Jobs, Steps
from .interrupts import deferring
from .network import Network
from .recording import INPUT, TOKENS, Recording, Rows
from .sequences import TOKEN, Sequences, Targets, lies_on_host


class State(NamedTuple):
    """Where sequences stand.

    Attributes
    ----------
    layers : list of (h, c) per layer and direction, each (n, H); c None for cells without
    pooled : ndarray of shape (n, .), or None
        What has been pooled over time; see `Network.new_pool`.
    """

    layers: list[tuple[np.ndarray, np.ndarray | None]]
    pooled: np.ndarray | None

    @classmethod
    def zeros(cls, network: Network, n: int) -> State:
        """That of n sequences that begin."""
        layers = [
            [np.zeros((n, network.hidden_size), network.dtype) for _ in range(1 + network.has_c)]
            for _ in range(network.n_states)
        ]
        return cls([(h, c[0] if c else None) for h, *c in layers], network.new_pool(n))

    def arrays(self) -> list[np.ndarray]:
        """All of them."""
        parts = [part for layer in self.layers for part in layer if part is not None]
        return parts if self.pooled is None else [*parts, self.pooled]

    def repeat(self, n: int) -> State:
        """Of one sequence, for n that begin there."""
        layers = [(h.repeat(n, axis=0), None if c is None else c.repeat(n, axis=0)) for h, c in self.layers]
        return State(layers, None if self.pooled is None else self.pooled.repeat(n, axis=0))

    def first(self, n: int) -> State:
        """A copy of that of the first n sequences."""
        layers = [(h[:n].copy(), None if c is None else c[:n].copy()) for h, c in self.layers]
        return State(layers, None if self.pooled is None else self.pooled[:n].copy())


# Rows that a pass returns, of a network, its recording, and what its last link has made.
WANTED: dict[str, Callable[[Network, Recording, Any], Rows]] = {
    "outputs": lambda network, rec, out: out.rows(rec),
    "states": lambda network, rec, out: network.hidden(rec),
    "attention": lambda network, rec, out: network.attention_weights(rec),
    "marginals": lambda network, rec, out: out.marginals(rec),
    "labels": lambda network, rec, out: out.labels(rec),
    "alignment": lambda network, rec, out: network.alignment(rec),
}
BATCH = 256  # sequences run together
ROWS = 32_768  # steps run together: bounds the memory of long sequences


@deferring
def run(
    network: Network,
    params: np.ndarray,
    sequences: Sequences,
    *,
    mates: Sequences | None = None,
    n_rows: int = ROWS,
    n_threads: int | Callable[[], int] | None = None,
    **what: Any,
) -> tuple[np.ndarray, State | None]:
    """Raw outputs, or what else is wanted, and the last states.

    Parameters
    ----------
    mates : Sequences, optional
        Of pairs: the other side.
    n_rows : int
        Steps run together, at most, where the network does not need whole sequences at once.
    n_threads : int, or callable, optional
        Threads, at most, instead of the network's.
    **what
        See `Pass`.

    Returns
    -------
    output : ndarray of shape (n, n_out), or (n_steps, n_out) with an output per step; or what is `wanted`
        An array of the GPU where the values of `sequences` are one.
    state : State, or None unless `last`

    Notes
    -----
    The bits of a sequence's result do not depend on the sequences beside it, nor on the chunks that
    long ones are read in.
    """
    n = len(sequences)
    chunk_size = None if network.whole else max(1, n_rows // min(n, BATCH))
    jobs = Jobs(sequences.lengths, BATCH, chunk_size, None if mates is None else mates.lengths)
    if n_threads is not None:
        what["n_threads"] = n_threads() if callable(n_threads) else n_threads
    once = Pass(network, params, sequences, jobs, jobs.room(), mates=mates, **what)
    table = jobs.plan(np.argsort(-sequences.lengths, kind="stable"))
    once.tape.run(len(table), network.flops(sequences.n_steps / len(table)), network.flops(once.max_rows))
    return once.output if what.get("log_prob") is None else -once.output, once.end


class Pass:
    """A forward pass, recorded.

    Parameters
    ----------
    sequences, mates : Sequences
        What is read; see `run`.
    jobs : Jobs
        Which of it, replay by replay.
    steps : Steps
        With room for any of them.
    ends : ndarray of shape (n,), optional
        Where each sequence ends among `n_steps` steps of the answer, if this is to change.
    state : State or None
        First states, in the order of `sequences`; None: zeros.
    wanted : {"outputs", "states", "attention", "marginals", "labels", "alignment"}
        What to return: the head's outputs, of a network that ends in a `CTC` the scores of each step; the top
        layer's states per step; in float64, the weight of each step in attention; of a network that ends in a
        `CRF`, in float64, the probabilities of the labels of each step, or the labels of the best path,
        int32; of pairs, for each step the weights of the steps of its mate, as many as the longest has.
    log_prob : Targets, optional
        Of a network that ends in a `Softmax`, a `CRF` or a `CTC`: return, in float64, minus log p of these
        tokens instead, or of each sequence of labels.
    last : bool
        Whether the last states are wanted.
    n_threads : int, optional
        Of the tape, instead of the network's.

    Attributes
    ----------
    tape : Tape
    output : ndarray
        What the replays write.
    end : State or None
        Likewise the last states.
    per_step : bool
        Whether `output` has a row for each step.
    work : Workspace
    """

    def __init__(
        self,
        network: Network,
        params: np.ndarray,
        sequences: Sequences,
        jobs: Jobs,
        steps: Steps,
        *,
        ends: np.ndarray | None = None,
        n_steps: int | None = None,
        mates: Sequences | None = None,
        state: State | None = None,
        wanted: str = "outputs",
        log_prob: Targets | None = None,
        last: bool = False,
        n_threads: int | None = None,
    ) -> None:
        backend, n = network.backend, len(sequences)
        if log_prob is not None:  # kernels do not look
            asked = len(sequences.values) if network.return_sequences else n
            if len(log_prob) != asked:
                raise ValueError(f"log_prob has {len(log_prob)} targets for {asked} of the network's outputs")
        float64 = np.dtype(np.float64)
        self.per_step = wanted in ("states", "attention", "alignment") or network.rows_per_step
        width, dtype = {
            "outputs": (network.n_out, network.dtype),
            "states": (network.recurrent[-1].width, network.dtype),
            "attention": (1, float64),
            "marginals": (network.n_out, float64),
            "labels": (1, TOKEN),
            "alignment": (0 if mates is None else int(mates.lengths.max()), network.dtype),
        }[wanted]
        if log_prob is not None:
            width, dtype = 1, float64
            self.per_step = network.return_sequences and network.chain is None
        if ends is None or n_steps is None:
            ends, n_steps = sequences.offsets[1:], sequences.n_steps
        shape = n_steps if self.per_step else n, width
        if lies_on_host(sequences.values):
            self.output = np.empty(shape, dtype)
        else:  # where the sequences are
            self.output = backend.aligned(shape[0] * shape[1], dtype).reshape(shape)

        self.tape = backend.Tape(network.n_threads if n_threads is None else n_threads)
        rec = network.record(self.tape, steps, params, carry=last or jobs.chunk_size < jobs.longest)
        self.work, self.max_rows = rec.work, steps.max_rows
        inputs = network.read(rec, sequences, jobs, mates)
        own = network.carried(rec), network.pooled(rec)
        if state is not None:
            for given, rows in pairs(state, *own):
                backend.start_from(rec, np.ascontiguousarray(given), rows)
        out = network.forward(rec, inputs)
        if log_prob is None:
            rows = WANTED[wanted](network, rec, out)
        else:
            rows = out.objective(rec, log_prob)[0].values
        backend.scatter(rec, rows, ends, width, self.output)
        self.end = State.zeros(network, n) if last else None
        if self.end is not None:
            for array, rows in pairs(self.end, *own):
                backend.scatter(rec, rows, ends, array.shape[1], array)


def pairs(state: State, carried: list[list[Any]], pooled: Any) -> Iterator[tuple[np.ndarray, Any]]:
    """Each array of a state, and the rows of the network that it belongs to."""
    for arrays, rows in zip(state.layers, carried, strict=True):
        yield from zip(arrays, rows, strict=False)  # no rows for the c of a cell without one
    if pooled is not None:
        yield state.pooled, pooled


class PairStepper:
    """A network of pairs that has read all `mates`, and reads the sequences themselves one step at a time.

    Attributes
    ----------
    x : ndarray of shape (n, n_in)
        To be filled with the next step of every sequence, finite numbers.
    out : ndarray of shape (n, n_out)
        Raw outputs after the last step; a view.
    """

    def __init__(self, network: Network, params: np.ndarray, mates: Sequences) -> None:
        backend, n = network.backend, len(mates)
        self._steps, self._begins = steps_of_one(n), np.ones(1, np.intp)
        self._steps.sizes[SIZE_FIRST] = -1  # `next_step` counts on before it reads
        self.x, tokens = np.zeros((n, network.n_in), network.dtype), np.zeros((n, 0), TOKEN)
        self._tape = tape = backend.Tape(network.n_threads)
        rec, jobs = network.record(tape, self._steps, params, carry=True), Jobs(mates.lengths, n, None)
        theirs = rec.pair(jobs.room())
        X, _ = backend.next_step(rec, self.x, tokens, np.zeros(1, np.intp))
        with tape.only_if(self._begins):
            inputs = network.read(theirs, mates, jobs)
        out = network.forward(rec, inputs | {INPUT: X}, begins=self._begins)
        self.out = backend.watch(rec, out.rows(rec))[:n, : network.n_out]
        order = np.argsort(-mates.lengths, kind="stable")
        jobs.plan(order)
        self._steps.mate[order] = np.arange(n)
        self._flops = network.flops(n), network.flops(mates.n_steps)

    @deferring
    def advance(self) -> None:
        """Read `x`; the first time, the mates before it."""
        self._tape.run(1, self._flops[self._begins[0]])
        # Now states are carried over, and no longer those that the mates hand over.
        self._begins[0], self._steps.sizes[SIZE_CARRIED] = 0, 1


def steps_of_one(n: int) -> Steps:
    """Of n sequences, of which one step is read at a time."""
    steps = Steps(n, 1, n)
    steps.sizes[[SIZE_B, SIZE_T, SIZE_R]] = n, 1, n
    steps.counts[0], steps.lengths[:] = n, 1
    steps.sequence[:] = np.arange(n)
    return steps


class Stepper:
    """A network that reads `n` sequences one step at a time and carries their states.

    Attributes
    ----------
    x, tokens : ndarray of shape (n, n_in), (n, n_columns)
        To be filled with the next step of every sequence: numbers, and tokens that have rows in their tables.
    out : ndarray of shape (n, n_out)
        Raw outputs after the last step; a view.
    """

    def __init__(self, network: Network, params: np.ndarray, n: int) -> None:
        backend = network.backend
        self._network, self._steps = network, steps_of_one(n)
        self._finite = np.zeros(1, np.intp)
        self.x = np.empty((n, network.n_in), network.dtype)
        self.tokens = np.zeros((n, network.n_columns), TOKEN)
        tape = backend.Tape()
        rec = network.record(tape, self._steps, params, carry=True)
        X, tokens = backend.next_step(rec, self.x, self.tokens, self._finite)
        with tape.only_if(self._finite):
            out = network.forward(rec, {INPUT: X, TOKENS: tokens})
        self._own = network.carried(rec), network.pooled(rec)
        self.out = backend.watch(rec, out.rows(rec))[:n, : network.n_out]
        self._replay = tape.player()
        self.reset()

    def advance(self) -> bool:
        """Read `x` and `tokens`; False, and nothing has changed, if `x` holds NaN or infinity."""
        self._replay()
        return self._finite[0] != 0

    @deferring
    def reset(self, state: State | None = None) -> None:
        """Begin new sequences from `state`, or from zeros."""
        n, network = self._steps.max_sequences, self._network
        # the first step: `next_step` counts on before it reads
        self._steps.sizes[SIZE_FIRST], self._steps.sizes[SIZE_CARRIED], self._steps.whole[:] = -1, 1, 0
        if state is None:
            state = State.zeros(network, n)
        for given, rows in pairs(state, *self._own):
            states = np.zeros((n, rows.row), given.dtype)
            states[:, : given.shape[1]] = given
            rows.array[:] = network.backend.to_device(states.ravel())

    def state(self) -> State:
        """The states after the last step."""

        def seen(rows, width: int) -> np.ndarray:
            flat = self._network.backend.to_host(rows.array)
            return flat.reshape(-1, rows.row)[:, :width].copy()

        H, (carried, pooled) = self._network.hidden_size, self._own
        layers = [[seen(part, H) for part in rows] for rows in carried]
        return State(
            [(h, c[0] if c else None) for h, *c in layers],
            None if pooled is None else seen(pooled, pooled.row),
        )
