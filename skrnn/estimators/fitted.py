"""A fitted network: its weights, where it runs, and what is remembered of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Self

import numpy as np

from .. import backends
from ..network import Network
from ..sessions import Memory, Predictor
from .devices import full_name, gpu_of, warn_the_caller
from .versions import Versioned

ON_CPU = nullcontext("cpu")


def remembering(weights: dict[str, np.ndarray], memory: Memory | None = None) -> dict[str, Any]:
    """The attributes of an estimator with these weights, which become read-only: what it remembers of them
    stays true."""
    for array in weights.values():
        array.flags.writeable = False
    return {"weights_": weights, "_memory": Memory() if memory is None else memory}


class Fitted(Versioned):
    """Mixin: `weights_` and the frozen `_architecture`, of which a network is made again."""

    device: str
    device_: str
    allow_tf32: bool
    weights_: dict[str, np.ndarray]
    _architecture: dict[str, Any]
    _memory: Memory | None = None
    _rng: Any

    @abstractmethod
    def _fitted_network(self, parameters: dict[str, Any], device: str) -> Network:
        """With these parameters, which are those of the fit or changed ones."""

    def _turn(self, X: Any = None) -> AbstractContextManager[str]:
        """A turn on the device for predictions, which is given; the CPU's, with a warning, where there is no
        such GPU."""
        device = (gpu_of(X) or self.device_) if self.device == "auto" else full_name(self.device)
        return ON_CPU if device == "cpu" else self._turn_on(device, X)

    @contextmanager
    def _turn_on(self, device: str, X: Any) -> Iterator[str]:
        with ExitStack() as stack:
            try:
                stack.enter_context(backends.turn(device, self.allow_tf32))
            except backends.Unavailable as error:
                if gpu_of(X) is not None:
                    raise
                warn_the_caller(f"predicting on the CPU: {error}")
                device = "cpu"
            yield device

    @staticmethod
    def _check_shapes(weights: Mapping[str, np.ndarray], network: Network) -> None:
        for name, shape in network.parameters.shapes().items():
            if name not in weights:
                raise ValueError(f"weights lack {name!r}")
            if np.shape(weights[name]) != shape:
                raise ValueError(
                    f"weights[{name!r}] has shape {np.shape(weights[name])}, but the parameters ask "
                    f"for {shape}"
                )
        unknown = set(weights) - set(network.parameters.shapes())
        if unknown:
            raise ValueError(f"weights hold unknown arrays: {sorted(unknown)}")

    def _predictor(self, device: str, **changed: Any) -> Predictor:
        """The fitted network, or one with some parameters `changed`, and its weights on the device."""
        parameters, weights = self._architecture, self.weights_
        if changed:
            parameters = parameters | changed
        backend = backends.get(device)
        if parameters["dtype"] == "bfloat16" and not backend.supports_bfloat16():
            what = "this processor" if device == "cpu" else f"device={device!r}"
            warn_the_caller(f"{what} cannot multiply bfloat16 numbers: predicting in float32")
            parameters = parameters | {"dtype": "float32"}

        def make() -> Predictor:
            network = self._fitted_network(parameters, device)
            self._check_shapes(weights, network)
            return Predictor(network, network.pack(weights))

        memory = self._memory
        return make() if memory is None else memory.predictor(weights, (device, parameters), make)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "weights_")

    def __copy__(self) -> Self:
        """A shallow copy, which shares all but what is remembered."""
        other = object.__new__(type(self))
        other.__dict__.update(vars(self))
        if "_memory" in vars(other):
            other._memory = Memory()
        return other

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state.pop("_memory", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "weights_"):
            self.__dict__.update(remembering(self.weights_))
            if isinstance(self._rng, np.random.RandomState):  # as an earlier version kept it
                self._rng = self._rng.get_state(legacy=False)
