"""Sequences read one step at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..inference import Stepper
from ..sequences import Sequences
from ..sessions import Predictor
from .categories import Categories, encoded
from .containers import as_array
from .devices import in_turn, to_host
from .names import check_step
from .states import read_state, shown
from .tables import Tables, check_tokens
from .token_inputs import numbers_and_tokens

if TYPE_CHECKING:
    from .prediction import FittedNetwork


class Stream:
    """Sequences that an estimator reads one step at a time; made by ``estimator.stream()``.

    After any number of steps the answer is that of `predict` (or of the method asked for) to the
    sequences as read so far, with the same bits; with ``return_sequences=True`` to their last step.

    A stream can be pickled and copied; a copy goes on by itself from where the stream stands.

    Attributes
    ----------
    state : array of shape (num_layers, batch, hidden_size), a pair (h, c) of them for an LSTM, or a
        `PooledState` where ``pooling`` is "mean" or "max"
        Where the sequences stand after the last step, as in `predict_with_state`; may be set. With states
        alone, h or (h, c), pooling over time begins anew.
    """

    def __init__(
        self, predictor: Predictor, batch: int, estimator: FittedNetwork, method: str, device: str
    ) -> None:
        self._network, self._estimator, self._method = predictor.network, estimator, method
        stepper = Stepper(predictor.network, predictor.params, batch)
        turns = partial(in_turn, device, estimator.allow_tf32)
        # looked up once: a step takes two microseconds
        self._answer: Callable[[np.ndarray], np.ndarray] = estimator._answer(method)
        self._advance, self._x, self._raw = turns(stepper.advance), stepper.x, stepper.out
        self._tokens = stepper.tokens
        self._reset, self._state = turns(stepper.reset), turns(stepper.state)
        self._dtype, self._shape = self._x.dtype, self._x.shape
        self._categories, self._tables = estimator._categories, estimator._tables
        if self._categories is not None:
            one_token = getattr(estimator, "_input_kind", "tokens") == "tokens"
            one_token = one_token and self._categories.n_features == 1
            self._shape = (batch,) if one_token else (batch, self._categories.n_features)
        # a lone sequence's step may come without its axis
        self._shape_alone = self._shape[1:] if batch == 1 else None
        self._batch = batch

    def step(self, x: Any) -> Any:
        """Read the next step of every sequence.

        Parameters
        ----------
        x : array-like of shape (batch, n_features); with ``batch=1`` also (n_features,)
            Of a model with `static_columns`, these are the last features. Of sequences of tokens: (batch,),
            with ``batch=1`` also one integer.

        Returns
        -------
        ndarray of shape (batch,) or (batch, k), (batch, k, n_quantiles) for quantiles, like `predict`
            For `x` of shape (n_features,) that one sequence's answer: a scalar or an array of shape (k,).
            In x's float type.

        Raises
        ------
        ValueError
            If `x` has another shape, or holds anything but finite numbers, or tokens without a vector; if it
            is a Series or a frame whose labels are not the features' names of the fit, in their order. The
            state is then what it was before.
        KeyboardInterrupt
            On Ctrl-C, before or after the step has been read, never amid it: who goes on after one sets
            `state` to that of an earlier step, or calls `reset`.
        """
        if type(x) is not np.ndarray or x.dtype != self._dtype or self._categories is not None:
            check_step(self._estimator, x)
            x = read_numbers(x) if self._categories is None else as_numbers(x, self._categories)
        shape = x.shape
        alone = shape == self._shape_alone
        if not alone and shape != self._shape:
            wanted = "(batch,)" if len(self._shape) == 1 else "(batch, n_features)"
            raise ValueError(f"x has shape {shape}, expected {wanted} = {self._shape}")
        if self._categories is None:
            self._x[:] = x
        else:
            steps = x.reshape(self._batch, -1)
            self._x[:], self._tokens[:] = checked_step(steps, self._categories, self._dtype, self._tables)
        if not self._advance():
            row, column = np.argwhere(~np.isfinite(self._x))[0]
            raise ValueError(f"x holds {self._x[row, column]} in feature {column} of sequence {row}")
        raw = self._raw
        if x.dtype != self._dtype:  # as `predict`, which answers in X's float type
            raw = self._raw.astype(np.float32 if x.dtype == np.float32 else np.float64)
        answer = self._answer(raw)
        # The raw outputs are a view that the next step overwrites.
        if not alone:
            return answer.copy()
        return answer[0].copy() if answer.ndim > 1 else answer[0]

    def reset(self) -> None:
        """Begin new sequences, from zero states."""
        self._reset()

    @property
    def state(self) -> Any:
        return shown(self._state(), self._network)

    @state.setter
    def state(self, state: Any) -> None:
        self._reset(read_state(state, self._batch, self._network))

    def __reduce__(self) -> Any:
        return resumed, (self._estimator, self._batch, self._method, self.state)


def resumed(estimator: FittedNetwork, batch: int, method: str, state: Any) -> Stream:
    """A stream of a pickle or a copy."""
    stream = estimator.stream(batch, method)
    stream.state = state
    return stream


def as_numbers(x: Any, categories: Categories) -> np.ndarray:
    """`x` as an array of numbers, the tokens of values among them."""
    if not categories.learnt:
        return read_numbers(x)
    array = np.asarray(to_host(x), object)
    if array.size % categories.n_features:
        raise ValueError(f"x has shape {array.shape}, expected {categories.n_features} features")
    (steps,), _ = encoded([array.reshape(-1, categories.n_features)], categories.columns, categories.values)
    return read_numbers(steps.astype(np.float64).reshape(array.shape))


def checked_step(
    steps: np.ndarray, categories: Categories, dtype: Any, tables: Tables
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and tokens of a step of each sequence, all of which have a vector."""
    numbers, tokens = numbers_and_tokens(steps, categories, dtype)
    if (tokens >= [n_tokens for n_tokens, _ in tables]).any():  # to find out which takes longer
        n = len(tokens)
        check_tokens(Sequences(numbers, np.arange(n), np.ones(n, np.intp), tokens=tokens), categories, tables)
    return numbers, tokens


def read_numbers(x: Any) -> np.ndarray:
    """`x` as an array of real numbers."""
    if isinstance(x, np.ma.MaskedArray):
        raise ValueError("x is a masked array: fill its gaps first")
    array = as_array(to_host(x))
    if array.dtype.kind not in "biuf":
        raise ValueError(f"x has dtype {array.dtype}, expected real numbers")
    return array
