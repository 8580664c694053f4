"""A network that remembers what it recorded, so that a small call costs little more than its replay.

Recording a pass takes half a millisecond, replaying a short one ten microseconds. A session keeps one, over
arrays of its own (`skrnn.rooms`), where a call copies its data. Large calls, of which recording is a small
part, read the data where they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from operator import is_
from typing import Any, Protocol
from weakref import ref

import numpy as np

from . import inference
from .batches import JOB_COUNT, JOB_SIZE, Jobs
from .inference import Pass, State
from .interrupts import deferring
from .network import Network
from .recording import TOKENS
from .rooms import Held, Room, fits
from .sequences import Sequences, Targets, lies_on_host

WAITING = 16  # sessions of a kind that a predictor keeps: so many threads may ask it at a time
PREDICTORS = 4  # that an estimator keeps: another device or pooling is another one
MEMORY = 2**28  # bytes of all that is kept


class Session:
    """A forward pass over arrays of its own, the parameters among them.

    Parameters
    ----------
    room : Room
    given : bool
        Whether first states are given.
    **what
        See `Pass`.
    """

    def __init__(self, network: Network, room: Room, given: bool, **what: Any) -> None:
        n = room.n
        self._network, self._held = network, Held(room, network.n_in, network.dtype)
        self._params, self._version = network.backend.aligned(network.size, network.dtype), object()
        self._jobs = Jobs(self._held.sequences.lengths, n, None)
        self._jobs.table[0, JOB_SIZE] = room.longest
        self._first = State.zeros(network, n) if given else None
        self._lengths: Any = None  # that the jobs are in the order of
        self._pass = Pass(
            network, self._params, self._held.sequences, self._jobs, room.minibatch(self._jobs),
            ends=self._held.ends, n_steps=room.steps, state=self._first, n_threads=os.cpu_count(), **what,
        )  # fmt: skip

    @property
    def nbytes(self) -> int:
        """Of the largest of its arrays."""
        own = self._held.sequences.values, self._params, self._pass.output
        return sum(array.nbytes for array in own) + self._pass.work.nbytes

    @deferring
    def run(
        self,
        params: np.ndarray,
        version: object,
        sequences: Sequences,
        state: State | None,
        n_threads: int | Callable[[], int],
    ) -> tuple[np.ndarray, State | None]:
        """What `inference.run` would answer to sequences that fit; `version` is that of `params`."""
        n, jobs, recorded = len(sequences), self._jobs, self._pass
        if sequences.tokens is not None:
            self._network.check_tokens(sequences, TOKENS)
        if version is not self._version:
            self._params[:] = params
            self._version = version
        self._held.copy(sequences)
        if self._first is not None and state is not None:
            for mine, theirs in zip(self._first.arrays(), state.arrays(), strict=True):
                mine[:n] = theirs
        if sequences.lengths is not self._lengths:
            jobs.order[:n] = np.argsort(-sequences.lengths, kind="stable")
            self._lengths = sequences.lengths
        jobs.table[0, JOB_COUNT], jobs.cursor[0] = n, -1
        recorded.tape.run(1, self._network.flops(sequences.n_steps), n_threads=n_threads)
        output = recorded.output[: sequences.n_steps if recorded.per_step else n].copy()
        return output, None if recorded.end is None else recorded.end.first(n)


class Predictor:
    """A network with its parameters, and the sessions that wait for a call.

    Threads may ask it at the same time: each takes a session, or records one.

    Parameters
    ----------
    params : flat device array
        Not to be changed without `renew`.
    before : Predictor, optional
        One of the same network, whose sessions go on with these parameters.
    """

    def __init__(self, network: Network, params: Any, before: Predictor | None = None) -> None:
        self.network, self.params = network, params
        self._waiting: dict[tuple[Any, ...], list[Session]] = {} if before is None else before._waiting
        self.renew()

    def renew(self) -> None:
        """The parameters have changed."""
        self._version = object()

    def run(
        self,
        sequences: Sequences,
        n_threads: int | Callable[[], int],
        *,
        state: State | None = None,
        mates: Sequences | None = None,
        log_prob: Targets | None = None,
        n_rows: int = inference.ROWS,
        **what: Any,
    ) -> tuple[np.ndarray, State | None]:
        """See `inference.run`."""
        network = self.network
        small = fits(sequences, network.n_in + network.n_numbers) and mates is None and log_prob is None
        if not (small and lies_on_host(self.params) and lies_on_host(sequences.values)):
            return inference.run(
                network, self.params, sequences, n_threads=n_threads, state=state, mates=mates,
                log_prob=log_prob, n_rows=n_rows, **what,
            )  # fmt: skip
        room = Room.of(sequences)
        waiting = self._waiting.setdefault((room, state is None, *what.items()), [])
        try:
            session, new = waiting.pop(), False
        except IndexError:
            session, new = Session(network, room, state is not None, **what), True
        answer = session.run(self.params, self._version, sequences, state, n_threads)
        if len(waiting) < WAITING:  # not after an error, which may have left anything in it
            waiting.append(session)
            if new:
                keep(self, session.nbytes)
        return answer

    def forget(self) -> None:
        """Drop the sessions."""
        self._waiting.clear()


class Keeper(Protocol):
    def forget(self) -> None: ...


_kept: list[tuple[ref[Keeper], int]] = []  # in the order of their making


def keep(keeper: Keeper, nbytes: int) -> None:
    """So many more bytes are kept there: if it is too much in all, what was made first is forgotten."""
    global _kept
    kept = [known for known in [*_kept, (ref(keeper), nbytes)] if known[0]() is not None]
    total, n_forgotten = sum(nbytes for _, nbytes in kept), 0
    while total > MEMORY:
        (oldest, nbytes), n_forgotten = kept[n_forgotten], n_forgotten + 1
        total -= nbytes
        if (alive := oldest()) is not None:
            alive.forget()
    _kept = kept[n_forgotten:]


def are_the_same(some: list[Any], others: list[Any]) -> bool:
    """Whether two lists are of the very same objects."""
    return len(some) == len(others) and all(map(is_, some, others))


class Memory:
    """What a fitted estimator keeps between two calls, and is not stored with it.

    All of it is found again by what it was made for, so that nothing outlives a change of the weights.

    Attributes
    ----------
    trainer : tuple or None
        Of the last `partial_fit`, for the next one; see `skrnn.estimators.online`.
    validated : object
        Key of the parameters that have been validated.
    """

    def __init__(self) -> None:
        self.trainer: Any = None
        self.validated: Any = None
        self._known: list[tuple[tuple[Any, ...], list[np.ndarray], Predictor]] = []

    def predictor(
        self, weights: Mapping[str, np.ndarray], key: tuple[Any, ...], make: Callable[[], Predictor]
    ) -> Predictor:
        """The predictor with these very arrays that was made for `key`, or a new one."""
        arrays = list(weights.values())
        for known, own, predictor in self._known:
            if known == key and are_the_same(own, arrays):
                return predictor
        predictor = make()
        if lies_on_host(predictor.params) and not any(array.flags.writeable for array in arrays):
            self._known = [*self._known[1 - PREDICTORS :], (key, arrays, predictor)]
        return predictor

    def learnt(self, weights: Mapping[str, np.ndarray], key: tuple[Any, ...], params: np.ndarray) -> None:
        """The weights are these now, packed in `params`, which are copied: predictors of others go."""
        before = next((predictor for known, _, predictor in self._known if known == key), None)
        self._known = []
        if before is not None and lies_on_host(params):
            after = Predictor(before.network, params.copy(), before)
            self._known = [(key, list(weights.values()), after)]

    def forget(self) -> None:
        """Drop the trainer."""
        self.trainer = None

    def __reduce__(self) -> Any:
        return Memory, ()
