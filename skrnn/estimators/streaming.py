"""Sequences read one step at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..inference import State, Stepper
from ..network import Network
from .devices import in_turn, to_host


class Stream:
    """Sequences that an estimator reads one step at a time; made by ``estimator.stream()``.

    After any number of steps the answer is that of `predict` (or of the method asked for) to the
    sequences as read so far, with the same bits; with ``return_sequences=True`` to their last step.

    Attributes
    ----------
    state : array of shape (num_layers, batch, hidden_size), or a pair (h, c) of them for an LSTM
        The states after the last step, as in `predict_with_state`; may be set. Pooling over time starts
        anew then.
    """

    def __init__(
        self,
        network: Network,
        params: Any,
        batch: int,
        answer: Callable[[np.ndarray], np.ndarray],
        device: str = "cpu",
        allow_tf32: bool = False,
    ) -> None:
        self._network, self._answer = network, answer
        stepper, turns = Stepper(network, params, batch), partial(in_turn, device, allow_tf32)
        # looked up once: a step takes two microseconds
        self._advance, self._x, self._raw = turns(stepper.advance), stepper.x, stepper.out
        self._reset, self._state = turns(stepper.reset), turns(stepper.state)
        self._dtype, self._shape = self._x.dtype, self._x.shape
        # a lone sequence's step may come without its axis
        self._shape_alone = self._x.shape[1:] if batch == 1 else None
        self._batch = batch

    def step(self, x: Any) -> Any:
        """Read the next step of every sequence.

        Parameters
        ----------
        x : array-like of shape (batch, n_features); with ``batch=1`` also (n_features,)
            Of a model with `static_columns`, these are the last features.

        Returns
        -------
        ndarray of shape (batch,) or (batch, k), (batch, k, n_quantiles) for quantiles, like `predict`
            For `x` of shape (n_features,) that one sequence's answer: a scalar or an array of shape (k,).
            In the estimator's `dtype`.

        Raises
        ------
        ValueError
            If `x` has another shape, or holds anything but finite numbers. The state is then what it
            was before.
        """
        if type(x) is not np.ndarray or x.dtype != self._dtype:
            x = read_numbers(x)
        shape = x.shape
        alone = shape == self._shape_alone
        if not alone and shape != self._shape:
            raise ValueError(f"x has shape {shape}, expected (batch, n_features) = {self._shape}")
        self._x[:] = x
        if not self._advance():
            row, column = np.argwhere(~np.isfinite(self._x))[0]
            raise ValueError(f"x holds {self._x[row, column]} in feature {column} of sequence {row}")
        answer = self._answer(self._raw)
        # The raw outputs are a view that the next step overwrites.
        if not alone:
            return answer.copy()
        return answer[0].copy() if answer.ndim > 1 else answer[0]

    def reset(self) -> None:
        """Begin new sequences, from zero states."""
        self._reset()

    @property
    def state(self) -> Any:
        return stacked(self._state())

    @state.setter
    def state(self, state: Any) -> None:
        self._reset(read_state(state, self._batch, self._network))


def read_numbers(x: Any) -> np.ndarray:
    """`x` as an array of real numbers."""
    if isinstance(x, np.ma.MaskedArray):
        raise ValueError("x is a masked array: fill its gaps first")
    array = np.asarray(x)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"x has dtype {array.dtype}, expected real numbers")
    return array


def stacked(states: State) -> Any:
    """States by layer and direction as one array h, or as a pair (h, c)."""
    h = np.stack([h for h, _ in states])
    if states[0][1] is None:
        return h
    return h, np.stack([c for _, c in states if c is not None])


def read_state(state: Any, n: int, network: Network) -> State:
    """States in PyTorch's layout, checked."""
    has_c = network.cell == "lstm"
    shape = (network.num_layers * network.directions, n, network.hidden_size)
    parts = state if has_c else (state,)
    if has_c and not (isinstance(state, tuple | list) and len(state) == 2):
        raise ValueError("state must be a pair (h, c) for an LSTM")
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
    return [(arrays[0][k], arrays[1][k] if has_c else None) for k in range(shape[0])]
