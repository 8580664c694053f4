"""An encoder of histories and a decoder of the steps behind them, as forecasters train it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..inference import BATCH, ROWS, PairStepper, run
from ..network import Network
from ..recipe import forecast_network
from ..sequences import Sequences, Targets
from ..training import Data, Diverged, Trainer
from .base import RecurrentEstimator
from .n_jobs import effective_threads
from .parameters import as_python
from .reading import check_equal_lengths
from .regressors import RNNRegressor

NETWORK_PARAMETERS = (
    "cell", "hidden_size", "num_layers", "bidirectional", "linear_skip", "activation", "reset_after",
    "dropout", "recurrent_dropout", "head_dropout", "dtype",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Pairs:
    """Histories, and the steps behind each; both share the rows of tables, as windows do.

    Attributes
    ----------
    history : Sequences
        What the encoder reads.
    steps : Sequences
        As many for each, which the decoder reads: what is known of a step.
    autoregressive : bool
        Whether the answers to the step before stand in front of it.
    window : int or None
        The steps of every history, if they are windows.
    """

    history: Sequences
    steps: Sequences
    autoregressive: bool
    window: int | None = None

    def __len__(self) -> int:
        return len(self.history)

    def take(self, rows: Any) -> Pairs:
        """Those that an index array, a mask or a slice picks."""
        return Pairs(self.history.take(rows), self.steps.take(rows), self.autoregressive, self.window)


class EncoderDecoder(RNNRegressor):
    """A regressor of `Pairs`, whose targets are those of all steps side by side.

    Where steps are autoregressive, each reads in training the true answers to the one before (teacher
    forcing; Williams & Zipser 1989). Predictions, and scores of validation data, read their own: of the steps
    behind a history, columns of answers count in the first one only.
    """

    _n_history: int
    _n_steps: int
    _autoregressive: bool
    _window: int | None

    @classmethod
    def like(cls, regressor: RecurrentEstimator) -> Self:
        """With the cell and the parameters of a regressor of sequences."""
        own = regressor.get_params(deep=False)
        known = {name: value for name, value in own.items() if name in cls._parameter_names}
        return cls(**known | {"cell": regressor._cell})

    # --- fit -------------------------------------------------------------------------------------------
    def _read_data(self, X: Any, y: Any, sample_weight: Any, reset: bool, **targets: Any) -> Data:
        pairs, n_steps = pairs_of(X), check_equal_lengths(X.steps)
        if reset:
            self._n_history, self._n_steps = pairs.history.n_features, n_steps
            self._autoregressive, self._window = pairs.autoregressive, pairs.window
        self._check_pairs(pairs)
        data = super()._read_data(pairs.steps, y, sample_weight, reset, **targets)
        return data._replace(mates=pairs.history)

    def _given(self, n_train: int, X_val: Any, y_val: Any, sample_weight_val: Any) -> Data:
        pairs = pairs_of(X_val)
        self._check_pairs(pairs)
        return super()._given(n_train, pairs.steps, y_val, sample_weight_val)._replace(mates=pairs.history)

    def _check_pairs(self, pairs: Pairs) -> None:
        """Raise a ValueError where kernels, which do not look, would read beside the arrays."""
        found = pairs.history.n_features, len(pairs.history), check_equal_lengths(pairs.steps)
        if found != (self._n_history, len(pairs.steps), self._n_steps):
            raise ValueError(
                f"{found[1]} histories of {found[0]} features and {len(pairs.steps)} times {found[2]} steps, "
                f"expected {self._n_history} features and {self._n_steps} steps"
            )
        if self._window is not None:
            check_equal_lengths(pairs.history, self._window)

    def _validation_score(self, trainer: Trainer, validation: Data) -> float:
        assert validation.mates is not None
        pairs = Pairs(validation.mates, validation.sequences, self._autoregressive, self._window)
        network = self._fitted_network(self._network_parameters() | self._read_at_once, self.device_)
        raw = self._raw_outputs(network, trainer.params, pairs)
        if not np.isfinite(raw).all():
            raise Diverged("The output", trainer.settings)
        return self._score_rows(raw, validation.y.matrix(), validation.w)

    # --- the network -----------------------------------------------------------------------------------
    def _network_parameters(self) -> dict[str, Any]:
        own = {name: as_python(getattr(self, name)) for name in NETWORK_PARAMETERS}
        sizes = {"n_history": self._n_history, "n_in": self.n_features_in_, "n_steps": self._n_steps}
        window = self._window if self.linear_skip and not self._autoregressive else None
        # Beside a linear map from all of a window, attention costs much time and gains little.
        parts = {"window": window, "attention": window is None}
        return own | sizes | parts | {"n_out": self._n_raw() // self._n_steps}

    @property
    def _n_numbers(self) -> int:
        return int(self._architecture["n_in"])

    def _network(self, n_features: int, n_raw: int, parameters: dict[str, Any], device: str) -> Network:
        return self._fitted_network(parameters, device)

    def _fitted_network(self, parameters: dict[str, Any], device: str) -> Network:
        return forecast_network(device=device, n_threads=effective_threads(self.n_jobs), **parameters)

    # --- predictions -----------------------------------------------------------------------------------
    def _ask(self, method: str, X: Any) -> np.ndarray:
        check_is_fitted(self)
        answer, pairs = self._answer(method), pairs_of(X)
        self._check_pairs(pairs)
        with self._turn() as device:
            predictor = self._predictor(device, **self._read_at_once)
            if pairs.steps.n_features != predictor.network.n_in:
                raise ValueError(
                    f"steps have {pairs.steps.n_features} features, expected {predictor.network.n_in}"
                )
            return answer(self._raw_outputs(predictor.network, predictor.params, pairs))

    @property
    def _read_at_once(self) -> dict[str, int]:
        """What a network's parameters change to for `_raw_outputs`."""
        return {"n_steps": 1} if self._autoregressive else {}

    def _raw_outputs(self, network: Network, params: Any, pairs: Pairs) -> np.ndarray:
        """Of all steps (n, n_steps n_out)."""
        size, parts = int(np.clip(ROWS // pairs.history.lengths.max(), 1, BATCH)), []
        for first in range(0, len(pairs), size):
            some = pairs.take(slice(first, first + size))
            if self._autoregressive:
                stepper = PairStepper(network, params, some.history)
                parts.append(write(stepper, known_of(some.steps), self._values))
            else:
                parts.append(run(network, params, some.steps, mates=some.history)[0])
        return np.concatenate(parts)

    # --- what a network of sequences can, and one of pairs cannot --------------------------------------
    def _not_of_pairs(self, *arguments: Any, **keywords: Any) -> NoReturn:
        raise ValueError(
            "this network of a forecaster reads pairs: it has `fit`, `predict` and `predict_quantiles` only"
        )

    _run = _check_order = _partial_fit = _load = _set_weights = _not_of_pairs

    def _migrate(self) -> None:
        """There is none of an earlier version."""


def pairs_of(X: Any) -> Pairs:
    """X, which is to be pairs."""
    if not isinstance(X, Pairs):
        raise TypeError(f"X has to be Pairs, got {type(X).__name__}")
    return X


def known_of(steps: Sequences) -> np.ndarray:
    """Steps of equal length, as the network is to read them (n, h, n_in)."""
    h = int(steps.lengths[0])
    rows = Targets(steps.values, steps.starts, h, steps.shift, steps.scale).matrix()
    return rows.reshape(len(steps), h, -1)


def write(stepper: PairStepper, known: np.ndarray, answers: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Raw outputs (n, h n_out), step by step, from what is known of each (n, h, n_in); from the second on,
    the answers to the step before stand in the first columns, whatever is there. After an answer that is not
    finite they are NaN."""
    n, h, _ = known.shape
    raw, lost = np.empty((n, h, stepper.out.shape[1]), known.dtype), np.zeros(n, bool)
    for k in range(h):
        stepper.x[:] = known[:, k]
        if k:
            last = answers(raw[:, k - 1]).reshape(n, -1)
            stepper.x[:, : last.shape[1]] = last
            lost |= ~np.isfinite(last).all(axis=1)
            stepper.x[lost] = 0
        stepper.advance()
        raw[:, k] = stepper.out
        raw[lost, k] = np.nan
    return raw.reshape(n, -1)
