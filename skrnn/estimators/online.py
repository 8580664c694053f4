"""`partial_fit`, and what it keeps for the next call: the recorded training step, and where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from .. import backends
from ..history import Progress
from ..interrupts import deferred
from ..network import Network
from ..rooms import Room, fits
from ..sequences import FLOATS, lies_on_host
from ..sessions import Memory, are_the_same, keep
from ..training import Data, Trainer
from .devices import device_to_read
from .prediction import FittedNetwork
from .unchanged import unchanged_on_error

# Features and states of a call whose recording is kept. More than of a prediction: a new one packs weights
# and moments, too, and touches new memory for them.
MOST_TRAINED = 2**23
SIMPLE = {int, float, str, bool, type(None), np.dtype}


class NoKey(Exception):
    """A value that may change unseen."""


def as_key(value: Any) -> Any:
    """Something to compare a parameter's value with.

    Raises
    ------
    NoKey
        If it is neither a number or a string nor made of them.
    """
    if type(value) in SIMPLE:
        return value
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (list, tuple):
        return tuple([as_key(item) for item in value])
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.dtype, value.shape, value.tobytes()
    if type(value) is dict:
        return tuple([(as_key(name), as_key(item)) for name, item in value.items()])
    raise NoKey


def parameters_key(estimator: Any) -> tuple[Any, ...] | None:
    """The estimator's parameters as something to compare; None where that cannot be."""
    own = vars(estimator)
    try:
        # Vectors to begin with may be large, and have no part in what follows the first call.
        names = [name for name in estimator._parameter_names if name != "embedding_weights"]
        return tuple([as_key(own[name]) for name in names if name in own])
    except NoKey:
        return None


@dataclass
class Kept:
    """What can be kept of a call of `partial_fit`.

    Attributes
    ----------
    memory : Memory
        The estimator's.
    key : tuple or None
        All that a recording depends on. None where it is not kept: without a key of the parameters, on a GPU,
        and of large calls, which are recorded anew.
    room : Room or None
        For its data.
    taken : Trainer or None
        What was found there.
    """

    memory: Memory
    key: tuple[Any, ...] | None = None
    room: Room | None = None
    taken: Trainer | None = None

    @classmethod
    def of(cls, estimator: Any, data: Data, parameters: tuple[Any, ...] | None) -> Self:
        """With the key of the estimator's parameters."""
        y, sequences, memory = data.y, data.sequences, estimator._memory
        kept = cls(Memory() if memory is None else memory)
        n_numbers = sequences.n_features + 12 * int(estimator.hidden_size) * int(estimator.num_layers)
        if parameters is None or estimator.device_ != "cpu" or not lies_on_host(sequences.values):
            return kept
        if y.at is not None or y.values.dtype not in FLOATS or not fits(sequences, n_numbers, MOST_TRAINED):
            return kept
        kept.room = room = Room.of(sequences)
        form = y.values.dtype, y.width, data.w is None, sequences.n_features, room.scaled, room.n_tokens
        kept.key = parameters, form
        return kept

    def trainer(self, estimator: Any, data: Data) -> Trainer | None:
        """That of the last call, if it stands where the estimator stands; nobody else gets it then."""
        last, self.memory.trainer = self.memory.trainer, None
        if last is None or self.room is None:
            return None
        key, room, stands, trainer = last
        if key != self.key or not are_the_same(stands, standing(estimator)):
            return None
        self.room = room.with_room_for(self.room)
        if self.room != room:  # a new one, with room for both
            return None
        trainer.take(data)
        self.taken = trainer
        return trainer

    def keep(self, estimator: Any, trainer: Trainer) -> None:
        """After the call: the trainer, for the next one, and predictors with the new weights."""
        memory, device = self.memory, estimator.device_
        memory.learnt(estimator.weights_, (device, estimator._architecture), trainer.params)
        if self.key is not None and device == "cpu":  # "auto" may have gone to a GPU
            memory.trainer = self.key, self.room, standing(estimator), trainer
            if trainer is not self.taken:
                keep(memory, trainer.work.nbytes + 4 * trainer.params.nbytes)


def standing(estimator: Any) -> list[Any]:
    """The objects that say where training stands."""
    return [*estimator.weights_.values(), estimator._moments, estimator._rng]


class Moments:
    """Those of a solver and its steps, ``solver, n_steps, m, v``, with PyTorch's names when they are asked
    for."""

    def __init__(self, network: Network, solver: str, n_steps: int, m: np.ndarray, v: np.ndarray) -> None:
        self._network, self._solver, self._n_steps, self._m, self._v = network, solver, n_steps, m, v

    def __iter__(self) -> Iterator[Any]:
        unpack = self._network.unpack
        return iter((self._solver, self._n_steps, unpack(self._m), unpack(self._v)))


def moments_of(trainer: Trainer, solver: str) -> Any:
    """A trainer's, which are copied."""
    optimizer, unpack = trainer.optimizer, trainer.network.unpack
    n_steps = int(optimizer.n_steps[0])
    if lies_on_host(optimizer.m):
        return Moments(trainer.network, solver, n_steps, optimizer.m.copy(), optimizer.v.copy())
    return solver, n_steps, unpack(optimizer.m), unpack(optimizer.v)


class Shuffled:
    """A state of random numbers after permutations of so many things, which are drawn again when it is asked
    for: to take down a generator's takes as long as a small pass."""

    MOST = 64

    def __init__(self, state: dict[str, Any], *sizes: int) -> None:
        self._state, self._sizes = state, sizes

    def state(self) -> dict[str, Any]:
        rng = np.random.RandomState()
        rng.set_state(self._state)
        for n in self._sizes:
            rng.permutation(n)
        return rng.get_state(legacy=False)

    @classmethod
    def once_more(cls, before: dict[str, Any] | Shuffled, trainer: Trainer) -> dict[str, Any] | Shuffled:
        """A trainer's, one epoch after `before`."""
        known = before if isinstance(before, Shuffled) else Shuffled(before)
        if len(known._sizes) == cls.MOST:
            return trainer.rng.get_state(legacy=False)
        drawn = [len(trainer.data.sequences)] * trainer.settings.shuffle
        return cls(known._state, *known._sizes, *drawn)


def state_of(rng: dict[str, Any] | Shuffled) -> dict[str, Any]:
    """Of random numbers, as NumPy has it."""
    return rng.state() if isinstance(rng, Shuffled) else rng


class LearnsOnline(FittedNetwork):
    """Mixin: one pass over the data at hand, and on with the next."""

    _device_to_train: Any
    _one_pass: Any
    _progress: Any
    _read_data: Any
    _store: Any
    _trainer: Any
    _with_training_weights: Any

    def _validate_once(self) -> tuple[Any, ...] | None:
        """Validate the parameters, unless they are what was validated last; their key."""
        key = parameters_key(self)
        if self._memory is None or key is None or self._memory.validated != key:
            self._validate_params()
            if self._memory is not None:
                self._memory.validated = key
        return key

    def _partial_fit(self, key: Any, X: Any, y: Any, sample_weight: Any, first: bool, **targets: Any) -> Self:
        with unchanged_on_error(self):
            self._check_parameters()
            self.device_ = device_to_read(self.device, self.dtype, X)
            with backends.turn(self.device_, self.allow_tf32):
                data = self._read_data(X, y, sample_weight, reset=first, **targets)
            data = self._with_training_weights(data)
            kept = Kept.of(self, data, key)
            trainer = None if first else kept.trainer(self, data)
            if trainer is None:
                self.device_ = self._device_to_train(data)
            with backends.turn(self.device_, self.allow_tf32):
                if trainer is None:
                    trainer = self._trainer(data, not first, kept.room)
                progress = Progress() if first else self._progress()
                with deferred():
                    self._one_pass(trainer, progress)
                    self._store(trainer, progress, kept)
        return self
