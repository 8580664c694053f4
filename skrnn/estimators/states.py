"""The states of a network between two pieces of a sequence, as users see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..inference import State
from ..network import Network
from .devices import to_host


@dataclass(frozen=True, eq=False)
class PooledState:
    """Where a network that pools over time stands: its states and what it has pooled so far.

    Returned by `predict_with_state` and `Stream.state` where ``pooling`` is "mean" or "max", to be given
    to either of them; can be pickled.

    Attributes
    ----------
    h, c : ndarray of shape (num_layers, n, hidden_size)
        The last states, in PyTorch's layout; `c` is None for cells other than the LSTM.
    pooling : {"mean", "max"}
    pooled : ndarray of shape (n, hidden_size + 1) or (n, hidden_size)
        Sums over the steps so far and their number, in float64; or the maxima, -inf before the first step.
    """

    h: np.ndarray
    c: np.ndarray | None
    pooling: str
    pooled: np.ndarray

    def take(self, indices: Any) -> PooledState:
        """Of some of the sequences, by their numbers or a mask; for those that go on.

        Parameters
        ----------
        indices : array-like of int, array-like of bool, or slice

        Returns
        -------
        PooledState
        """
        at = indices if isinstance(indices, slice) else np.asarray(indices, None if np.size(indices) else int)
        c = None if self.c is None else self.c[:, at]
        return PooledState(self.h[:, at], c, self.pooling, self.pooled[at])

    def __len__(self) -> int:
        """Sequences."""
        return len(self.pooled)

    def __repr__(self) -> str:
        layers, n, size = self.h.shape
        states = "h" if self.c is None else "h, c"
        return f"PooledState(pooling={self.pooling!r}, {states} of shape {(layers, n, size)})"


def shown(state: State, network: Network) -> Any:
    """States as an array h or a pair (h, c), in PyTorch's layout, or as a `PooledState`."""
    h = np.stack([h for h, _ in state.layers])
    c = np.stack([c for _, c in state.layers if c is not None]) if network.has_c else None
    if state.pooled is not None:
        return PooledState(h, c, str(network.pooling), state.pooled)
    return h if c is None else (h, c)


def read_state(state: Any, n: int, network: Network) -> State:
    """What `shown` gives, or states alone, with which pooling begins anew; checked."""
    has_c, pooled = network.has_c, network.new_pool(n)
    shape = (network.n_states, n, network.hidden_size)
    if isinstance(state, PooledState):
        pooled = _read_pooled(state, pooled, network)
        state = state.h if state.c is None else (state.h, state.c)
    parts = state if has_c else (state,)
    if has_c and not (isinstance(state, tuple | list) and len(state) == 2):
        raise ValueError("state must be a pair (h, c) for an LSTM")
    if not has_c and isinstance(state, tuple):
        raise ValueError("state must be an array h: only an LSTM has a pair (h, c)")
    arrays = [np.asarray(to_host(part)) for part in parts]
    for name, array in zip(("h", "c"), arrays, strict=False):
        if array.shape != shape:
            raise ValueError(
                f"state {name} has shape {array.shape}, expected (layers * directions, sequences, "
                f"hidden_size) = {shape}"
            )
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise ValueError(f"state {name} must hold finite numbers")
    arrays = [array.astype(network.dtype) for array in arrays]
    layers = [(arrays[0][k], arrays[1][k] if has_c else None) for k in range(shape[0])]
    return State(layers, pooled)


def _read_pooled(state: PooledState, expected: np.ndarray | None, network: Network) -> np.ndarray:
    if expected is None or state.pooling != network.pooling:
        own = "which does not pool" if expected is None else f"which has pooling={network.pooling!r}"
        raise ValueError(f"state is of a network with pooling={state.pooling!r}, not of this one, {own}")
    pooled = np.asarray(state.pooled)
    if pooled.shape != expected.shape:
        raise ValueError(f"state pooled has shape {pooled.shape}, expected {expected.shape}")
    begun = pooled[:, -1] > 0 if state.pooling == "mean" else pooled[:, -1] > -np.inf
    if not np.isfinite(pooled[begun]).all() or not np.array_equal(pooled[~begun], expected[~begun]):
        raise ValueError("state pooled must hold finite numbers")
    return np.ascontiguousarray(pooled, expected.dtype)
