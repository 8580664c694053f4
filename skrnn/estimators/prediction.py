"""What a fitted network can be asked: predictions, states, weights."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..network import Network
from ..recipe import recurrent_network
from .containers import opened_on_host
from .devices import in_kind_of, to_host
from .fitted import Fitted
from .inputs import Input, shape_like
from .n_jobs import effective_threads
from .reading import ReadsSequences, check_equal_lengths
from .states import read_state, shown
from .streaming import Stream
from .targets import TargetRows, check_same_targets, read_rows, read_weights


class FittedNetwork(Fitted, ReadsSequences):
    """Mixin: everything after `fit`, from `weights_` and the frozen `_architecture`."""

    _target_names: list[str] | None = None
    _skip_steps: int | None
    _check_parameters: Any
    _validate_params: Any

    @abstractmethod
    def _answer(self, method: str) -> Callable[[np.ndarray], np.ndarray]:
        """What a method like "predict" makes of raw outputs (m, n_raw), row by row."""

    @staticmethod
    def _check_method(method: str, *known: str) -> None:
        if method not in known:
            raise ValueError(f"method must be one of {', '.join(known)}, got {method!r}")

    def _ask(self, method: str, X: Any) -> Any:
        """That method's answer in X's form, where X is."""
        input, raw, _ = self._run(X, wanted=self._wanted(method))
        return self._shape(input, in_kind_of(X, self._answer(method)(raw)))

    def _wanted(self, method: str) -> str:
        """What the network has to return for that method; see `skrnn.inference.Pass`."""
        return "outputs"

    def _fitted_network(self, parameters: dict[str, Any], device: str) -> Network:
        return self._network(self._n_numbers, len(self.weights_["head.bias"]), parameters, device)

    def _network(self, n_features: int, n_raw: int, parameters: dict[str, Any], device: str) -> Network:
        return recurrent_network(
            n_features,
            n_raw,
            device=device,
            n_threads=effective_threads(self.n_jobs),
            **parameters,
        )

    # --- prediction ------------------------------------------------------------------------------------
    def _run(
        self,
        X: Any,
        *,
        state: Any = None,
        wanted: str = "outputs",
        last: bool = False,
        **changed: Any,
    ) -> tuple[Input, np.ndarray, Any]:
        """(Input, what is `wanted`, in X's float type but for labels, and, if asked for, the last states, as
        users see them), of a network with some parameters `changed`.

        Hidden states and weights of attention lie where X does. Raw outputs, which are few, are made into
        answers on the host.
        """
        if not hasattr(self, "weights_"):
            check_is_fitted(self)  # which asks for tags, first
        with self._turn(X) as device:
            input = self._read_X(X, reset=False, device=device, dtype=self._architecture["dtype"])
            predictor = self._predictor(device, **changed)
            network = predictor.network
            self._check_features(input)
            if network.n_steps is not None:
                check_equal_lengths(input.sequences, network.n_steps)
            first = None if state is None else read_state(state, len(input.sequences), network)
            raw, end = predictor.run(
                input.sequences, partial(effective_threads, self.n_jobs), state=first, wanted=wanted,
                last=last,
            )  # fmt: skip
            raw = raw if wanted in ("states", "attention") else to_host(raw)
            raw = raw if wanted == "labels" else raw.astype(input.float_type, copy=False)
        return input, raw, None if end is None else shown(end, network)

    @property
    def _attends(self) -> bool:
        """Whether the network pools by attention."""
        return self._architecture["pooling"] == "attention" and not self._architecture["return_sequences"]

    def _check_order(self, what: str) -> None:
        """Raise a ValueError where a network cannot read sequences piece by piece."""
        if self._architecture["bidirectional"]:
            raise ValueError(f"a bidirectional network reads a sequence from both ends: it cannot be {what}")
        if self._architecture["skip_steps"] is not None:
            raise ValueError(f"linear_skip reads all steps of a window at once: it cannot be {what}")
        if self._attends:
            raise ValueError(
                f"pooling='attention' weighs the steps of a whole sequence: the network cannot be {what}"
            )

    def predict_with_state(self, X: Any, state: Any = None) -> tuple[np.ndarray, Any]:
        """Predict from given first states, and return the last ones.

        Long series can so be predicted piece by piece: ``y, state = est.predict_with_state(X, state)``. The
        answer to the last piece is that of `predict` to the whole, with the same bits.

        Parameters
        ----------
        X : like in `fit`
        state : array of shape (num_layers, n, hidden_size), a pair (h, c) of them for an LSTM, a
            `PooledState`, or None
            What the call for the piece before has returned, or first states in PyTorch's layout, arrays of
            NumPy, with which pooling over time begins anew; None: zeros.

        Returns
        -------
        y : like `predict`
        state : array h, or pair (h, c) for an LSTM; `PooledState` where ``pooling`` is "mean" or "max"
            It holds what was pooled, too.

        Raises
        ------
        ValueError
            For a bidirectional network, which would have to know the sequence's end; with `linear_skip`,
            which reads whole windows; with ``pooling="attention"`` or ``loss="crf"``, which weigh whole
            sequences; for a `state` of another shape or network.
        """
        check_is_fitted(self)
        self._check_order("read piece by piece")
        input, raw, end = self._run(X, state=state, last=True)
        return self._shape(input, in_kind_of(X, self._answer("predict")(raw))), end

    def _last_answer(self, X: Any, method: str) -> tuple[np.ndarray, Any]:
        """The answer after the last step of each sequence, and the states there, of a fit per step; see
        `RecurrentEstimator`."""
        _, raw, end = self._run(X, last=True, return_sequences=False, pooling="last")
        return self._answer(method)(raw), end

    def stream(self, batch: Any = 1, method: str = "predict") -> Stream:
        """Read sequences one step at a time, for data that arrive one step at a time.

        Parameters
        ----------
        batch : int, default=1
            Sequences that are read side by side.
        method : str, default="predict"
            What a step returns: the answer of "predict", or of "predict_quantiles", "predict_proba" or
            "decision_function" where the estimator has it, to the sequences as read so far.

        Returns
        -------
        Stream
            ``y = stream.step(x_t)``; also `reset` and `state`. It keeps the weights of now: a later
            `fit` does not reach it.

        Raises
        ------
        ValueError
            For a bidirectional network, which would have to know the sequence's end; with `linear_skip`,
            which reads whole windows; with ``pooling="attention"`` or ``loss="crf"``, which weigh whole
            sequences; for a `batch` below 1; for a `method` that the estimator has not, or not with its loss.
        """
        check_is_fitted(self)
        if not isinstance(batch, Integral) or batch < 1:
            raise ValueError(f"batch must be an integer of at least 1, got {batch!r}")
        self._check_order("streamed")
        as_fitted_now = copy.copy(self)  # with its classes or quantiles
        with self._turn() as device:
            predictor = self._predictor(device)
            return Stream(predictor, int(batch), as_fitted_now, method, device)

    def hidden_states(self, X: Any) -> np.ndarray:
        """States of the top layer after every step.

        Parameters
        ----------
        X : like in `fit`

        Returns
        -------
        ndarray of shape (n, T, hidden_size * directions), or 1-D object array of n arrays of shape
        (T_i, hidden_size * directions) where X is a list or an object array
        """
        input, states, _ = self._run(X, wanted="states")
        return shape_like(input, in_kind_of(X, states))

    def attention_weights(self, X: Any) -> np.ndarray:
        """How much each step counts, with ``pooling="attention"``.

        Parameters
        ----------
        X : like in `fit`

        Returns
        -------
        ndarray of shape (n, T), or 1-D object array of n arrays of shape (T_i,) where X is a list or an
        object array
            The weights of a sequence's steps, which sum to one.

        Raises
        ------
        ValueError
            With another `pooling`, or with `return_sequences`, which does not pool.
        """
        check_is_fitted(self)
        if not self._attends:
            fitted = {name: self._architecture[name] for name in ("pooling", "return_sequences")}
            raise ValueError(f"attention_weights are those of pooling='attention': the fit had {fitted}")
        input, a, _ = self._run(X, wanted="attention")
        return shape_like(input, in_kind_of(X, a.reshape(-1)))

    def predict(self, X: Any) -> np.ndarray:
        """Predict.

        Parameters
        ----------
        X : like in `fit`

        Returns
        -------
        ndarray of shape (n,) or (n, k); with `return_sequences` (n, T) or (n, T, k), or a 1-D object
        array of arrays of shape (T_i,) or (T_i, k) where X is a list or an object array
            In X's float type. Where X is on a GPU, so is this, as CuPy's arrays or PyTorch's tensors, but
            class labels that are not numbers.
        """
        return self._ask("predict", X)

    def _shape(self, input: Input, rows: np.ndarray) -> np.ndarray:
        return shape_like(input, rows) if self._architecture["return_sequences"] else rows

    def _score_data(
        self, X: Any, y: Any, sample_weight: Any
    ) -> tuple[np.ndarray, TargetRows, np.ndarray | None, Input, bool]:
        """Predictions, targets and weights as flat rows."""
        input, raw, _ = self._run(X, wanted=self._wanted("predict"))
        per_step = self._architecture["return_sequences"]
        rows = read_rows(opened_on_host(y), input, per_step)
        check_same_targets(rows.names, self._target_names)
        w = read_weights(opened_on_host(sample_weight), input, per_step)
        return raw, rows, w, input, per_step

    def _migrate(self) -> None:
        if not hasattr(self, "weights_"):
            return
        for name in ("_progress", "loss_curve_", "validation_scores_"):  # are read from `history_`
            self.__dict__.pop(name, None)
        for name, value in (("device_", "cpu"), ("n_tokens_", None), ("categories_", None)):
            self.__dict__.setdefault(name, value)
        before = {
            "skip_steps": None,
            "tables": (),
            "crf": False,
        }  # other parameters of a network have defaults
        self._architecture = before | self._architecture
        self._row_layout = self._given_layout | getattr(self, "_row_layout", {})
