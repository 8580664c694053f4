"""What all estimators share: from validated data to a trained network, and back to predictions."""

from __future__ import annotations

import warnings
from abc import ABCMeta, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.validation import check_is_fitted

from .. import inference
from ..losses import Loss
from ..network import Network
from ..training import Data, Diverged, Progress, Settings, Trainer, history_columns
from .inputs import Input, read_X, shape_like
from .jobs import effective_threads, inside_a_search
from .parameters import CONSTRAINTS
from .targets import read_rows, read_weights

BATCH_SIZE = 32  # batch_size="auto"
CELL_PARAMETERS = ("activation", "reset_after")
NETWORK_PARAMETERS = (
    "hidden_size",
    "num_layers",
    "bidirectional",
    "pooling",
    "return_sequences",
    "dropout",
    "recurrent_dropout",
    "dtype",
)
# Of vars(estimator), what scikit-learn's callbacks need to find again after an error.
CALLBACK_STATE = ("_callback", "_skl_callbacks", "_parent_callback")


class RecurrentEstimator(CallbackSupportMixin, BaseEstimator, metaclass=ABCMeta):
    """Parameters, validation, fit and state; subclasses know targets and predictions."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS

    # --- what a subclass provides --------------------------------------------------------------------
    @abstractmethod
    def _read_targets(
        self, y, w, input: Input, *, reset: bool, training: bool = True, name: str = "y"
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Targets as an (m, k) array for the loss, and weights (m,) with class weights in them."""

    @abstractmethod
    def _make_loss(self) -> Loss:
        """The loss of the fitted targets."""

    @abstractmethod
    def _score_rows(self, raw: np.ndarray, y: np.ndarray, w: np.ndarray | None) -> float:
        """`score` from raw outputs and targets as `_read_targets` made them."""

    def _stratify(self, y: np.ndarray) -> np.ndarray | None:
        """Labels by which a random validation split is stratified."""
        return None

    # --- fit -----------------------------------------------------------------------------------------
    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None):
        """Train the network.

        Parameters
        ----------
        X : array of shape (n, T, F), list or object array of n arrays of shape (T_i, F), or 2-D
            array-like of shape (n, T * features_per_step)
            Sequences, oldest step first.
        y : array-like of shape (n,) or (n, k); with `return_sequences` (n, T), (n, T, k), or a list
            or object array of arrays of shape (T_i,) or (T_i, k)
            Targets.
        sample_weight : array-like of shape (n,), or per step in the form of y; default=None
            Weights. A step of weight 0 may be unlabelled: its target may be anything, NaN too.
        X_val, y_val : like X and y, default=None
            Validation data, used instead of a split of X. In a pipeline, let the earlier steps
            transform it: ``Pipeline(steps, transform_input=["X_val"])`` with metadata routing.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            For unusable data or parameters, naming the place; and when the loss stops being finite.
            The estimator is then what it was before.
        """
        with self._unchanged_on_error():
            again = self.warm_start and hasattr(self, "weights_")
            self._check_parameters()
            data, input = self._read_data(X, y, sample_weight, reset=not again)
            data, validation = self._validation_data(data, input, y, X_val, y_val)
            trainer = self._trainer(data, again=again)
            progress = self._progress if again else Progress()
            self._run_fit(trainer, data, validation, progress, X, y, sample_weight)
        if progress.interrupted:
            try:
                warnings.warn(
                    f"Training was interrupted after {progress.n_iter} epochs; the best weights so "
                    "far are kept.",
                    RuntimeWarning,
                    stacklevel=2,
                )
            finally:  # also where warnings are errors
                raise KeyboardInterrupt
        return self

    def _run_fit(self, trainer, data, validation, progress, X, y, sample_weight) -> None:
        """The epochs, with progress bar and scikit-learn's callbacks."""
        context = self._init_callback_context(max_subtasks=self.max_iter)
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        context.call_on_fit_task_begin(estimator=self, X=X, y=y, metadata=metadata)
        score = None
        if validation is not None:

            def score(params):
                raw, _ = inference.run(trainer.network, params, validation.sequences)
                rows = self._target_rows(validation)
                if not np.isfinite(raw).all():
                    raise Diverged("The output", trainer.settings)
                return self._score_rows(
                    raw, validation.y[rows], None if validation.w is None else validation.w[rows]
                )

        with progress_bar(self.verbose, type(self).__name__, self.max_iter) as show:

            def on_epoch(row):
                show(row)
                epoch = context.subcontext(task_name="epoch")
                epoch.call_on_fit_task_begin(estimator=self, X=X, y=y, metadata=metadata)
                return epoch.call_on_fit_task_end(
                    estimator=self,
                    X=X,
                    y=y,
                    metadata=metadata,
                    reconstruction_attributes=lambda: self._fitted_attributes(trainer, progress),
                )

            trainer.fit(data, progress, score=score, on_epoch=on_epoch)
        self._store(trainer, progress)
        context.call_on_fit_task_end(
            estimator=self, X=X, y=y, metadata=metadata, reconstruction_attributes=dict
        )

    def _partial_fit(self, X, y, sample_weight, first: bool):
        with self._unchanged_on_error():
            self._check_parameters()
            data, _ = self._read_data(X, y, sample_weight, reset=first)
            trainer = self._trainer(data, again=not first)
            progress = Progress() if first else self._progress
            rate = float(self.learning_rate_init)
            row = {"epoch": progress.n_iter + 1} | trainer.epoch(data, progress.n_iter, lambda: rate)
            trainer.check(data)
            progress.n_iter += 1
            progress.history.append(row)
            progress.best_loss = min(progress.best_loss, row["loss"])
            self._store(trainer, progress)
        return self

    @contextmanager
    def _unchanged_on_error(self) -> Iterator[None]:
        """An error leaves the estimator as it was: fitted before, or not at all."""
        before = dict(vars(self))
        history = list(self._progress.history) if "_progress" in before else []
        counts = dict(vars(self._progress)) if "_progress" in before else {}
        try:
            yield
        except BaseException:
            for name in list(vars(self)):
                if not name.startswith(CALLBACK_STATE):
                    delattr(self, name)
            vars(self).update((k, v) for k, v in before.items() if not k.startswith(CALLBACK_STATE))
            if counts:
                vars(self._progress).update(counts | {"history": history})
            raise

    # --- parameters and data -------------------------------------------------------------------------
    def _check_parameters(self) -> None:
        split = self.validation_split
        if isinstance(split, str) and split not in ("random", "last"):  # str has a method `split`
            raise InvalidParameterError(
                f"The 'validation_split' parameter of {type(self).__name__} must be 'random', 'last' "
                f"or a splitter with a method `split`. Got {split!r} instead."
            )
        if self.tbptt_steps is not None and self.bidirectional:
            raise InvalidParameterError(
                "tbptt_steps cannot be combined with bidirectional=True: the reverse direction starts at "
                "a sequence's end, which a chunk does not hold"
            )

    def _read_X(self, X, reset: bool) -> Input:
        return read_X(
            self,
            X,
            reset=reset,
            dtype=np.dtype(self.dtype),
            features_per_step=self.features_per_step,
            newest_first=self.newest_first,
        )

    def _read_data(self, X, y, sample_weight, reset: bool) -> tuple[Data, Input]:
        input = self._read_X(X, reset)
        w = read_weights(sample_weight, input, self.return_sequences, np.dtype(self.dtype))
        targets, w = self._read_targets(y, w, input, reset=reset)
        return Data(input.sequences, targets, w), input

    def _validation_data(self, data: Data, input: Input, y, X_val, y_val) -> tuple[Data, Data | None]:
        """Training and validation data, from X_val or from a split of the training data."""
        if X_val is not None:
            if y_val is None:
                raise ValueError("X_val needs y_val")
            try:
                val_input = self._read_X(X_val, reset=False)
            except ValueError as error:
                raise ValueError(f"X_val: {error}") from error
            if len(val_input.sequences) == len(input.sequences) and inside_a_search():
                raise ValueError(
                    f"X_val has as many sequences as X's training fold ({len(input.sequences)}). Inside "
                    "cross-validation scikit-learn cuts everything that is as long as X down to the fold, "
                    "X_val too. Pass an X_val of another length than X and its folds"
                )
            targets, w = self._read_targets(y_val, None, val_input, reset=False, training=False, name="y_val")
            return data, self._check_validation(Data(val_input.sequences, targets, w))
        if y_val is not None:
            raise ValueError("y_val needs X_val")
        if not self.early_stopping:
            return data, None
        train, held_back = self._split(data, y)
        per_step = self.return_sequences

        def part(rows):
            y, w = (data.y, data.w) if per_step else (data.y[rows], None if data.w is None else data.w[rows])
            return Data(data.sequences.take(rows), y, w)

        training, validation = part(train), part(held_back)
        for name, some in ("training", training), ("validation", validation):
            if some.w is not None and not some.w[self._target_rows(some)].any():
                raise ValueError(f"sample_weight: all weights of the {name} part of the split are zero")
        return training, self._check_validation(validation)

    def _target_rows(self, data: Data):
        """Index of the rows of `data.y` that belong to its sequences."""
        return data.sequences.row_index() if self.return_sequences else slice(None)

    def _check_validation(self, validation: Data) -> Data:
        """Raise a ValueError if `score` cannot be computed."""
        return validation

    def _split(self, data: Data, y) -> tuple[np.ndarray, np.ndarray]:
        n = len(data.sequences)
        if n < 2:
            raise ValueError(f"early_stopping needs at least 2 sequences to split, got {n}; or pass X_val")
        if self.validation_split == "last":
            held_back = max(1, round(n * self.validation_fraction))
            if held_back >= n:
                raise ValueError(
                    f"validation_fraction={self.validation_fraction} leaves nothing of {n} sequences"
                )
            return np.arange(n - held_back), np.arange(n - held_back, n)
        if self.validation_split == "random":
            seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
            labels = None if self.return_sequences else self._stratify(data.y)
            kind = StratifiedShuffleSplit if labels is not None else ShuffleSplit
            splitter = kind(n_splits=1, test_size=self.validation_fraction, random_state=seed)
            return next(splitter.split(np.zeros(n), labels))
        labels = np.zeros(n) if self.return_sequences else data.y[:, 0]
        train, held_back = next(iter(self.validation_split.split(np.zeros((n, 1)), labels)))
        return np.asarray(train), np.asarray(held_back)

    # --- the network -----------------------------------------------------------------------------------
    def _network(self, n_features: int, n_raw: int, parameters: dict[str, Any]) -> Network:
        return Network(
            n_features,
            n_raw,
            device=self.device,
            n_threads=effective_threads(self.n_jobs),
            **parameters,
        )

    def _network_parameters(self) -> dict[str, Any]:
        """What a fit freezes: later changes of these parameters wait for the next fit."""
        names = [*NETWORK_PARAMETERS, *(name for name in CELL_PARAMETERS if hasattr(self, name))]
        return {name: getattr(self, name) for name in names} | {"cell": self._cell}

    @property
    def _cell(self) -> str:
        return self.cell

    def _trainer(self, data: Data, again: bool) -> Trainer:
        network = self._network(data.sequences.n_features, self._n_raw(), self._network_parameters())
        if not again:
            self._rng = check_random_state(self.random_state)
            if self._rng is np.random.mtrand._rand or self._rng is self.random_state:
                # A private copy, so that the fitted estimator does not share a caller's generator.
                self._rng = np.random.RandomState(self._rng.randint(np.iinfo(np.int32).max))
            self._dropout_seed = int(self._rng.randint(np.iinfo(np.int32).max))
            weights = network.initial_weights(self._rng)
            moments = None
        else:
            weights = self.weights_
            self._check_shapes(weights, network)
            moments = self._moments if self._moments and self._moments[0] == self.solver else None
        optimizer = network.backend.Optimizer(self.solver, network.decay_ranges, network.size, network.dtype)
        if moments is not None:
            optimizer.n_steps = moments[1]
            optimizer.m, optimizer.v = (network.pack(part) for part in moments[2:])
        # The generator is stored only by `_store`: copy, so that a failed fit does not move it.
        rng = np.random.RandomState()
        rng.set_state(self._rng.get_state())
        return Trainer(
            network,
            network.pack(weights),
            optimizer,
            self._make_loss(),
            self._settings(data),
            rng,
            self._dropout_seed,
        )

    def _settings(self, data: Data) -> Settings:
        names = Settings.__dataclass_fields__
        values = {name: getattr(self, name) for name in names if name != "batch_size"}
        n = len(data.sequences)
        batch = BATCH_SIZE if self.batch_size == "auto" else self.batch_size
        return Settings(batch_size=min(int(batch), n), **values)

    @staticmethod
    def _check_shapes(weights: Mapping[str, np.ndarray], network: Network) -> None:
        for name, shape in network.shapes().items():
            if name not in weights:
                raise ValueError(f"weights lack {name!r}")
            if np.shape(weights[name]) != shape:
                raise ValueError(
                    f"weights[{name!r}] has shape {np.shape(weights[name])}, but the parameters ask "
                    f"for {shape}"
                )
        unknown = set(weights) - set(network.shapes())
        if unknown:
            raise ValueError(f"weights hold unknown arrays: {sorted(unknown)}")

    @abstractmethod
    def _n_raw(self) -> int:
        """Raw outputs of the head, once targets have been read."""

    # --- fitted state ----------------------------------------------------------------------------------
    def _fitted_attributes(self, trainer: Trainer, progress: Progress) -> dict[str, Any]:
        losses = [row["loss"] for row in progress.history]
        scores = [row["validation_score"] for row in progress.history if "validation_score" in row]
        return {
            "weights_": trainer.network.unpack(trainer.params),
            "n_iter_": progress.n_iter,
            "loss_": losses[-1] if losses else None,
            "best_loss_": min(losses, default=None),
            "loss_curve_": losses,
            "validation_scores_": scores or None,
            "best_validation_score_": progress.best_score if scores else None,
            "_architecture": self._network_parameters(),
            "history_": history_columns(progress.history),
            "n_outputs_": self._n_outputs(),
        }

    @abstractmethod
    def _n_outputs(self) -> int: ...

    def _store(self, trainer: Trainer, progress: Progress) -> None:
        vars(self).update(self._fitted_attributes(trainer, progress))
        unpack, optimizer = trainer.network.unpack, trainer.optimizer
        self._moments = self.solver, optimizer.n_steps, unpack(optimizer.m), unpack(optimizer.v)
        self._rng, self._progress = trainer.rng, progress

    def set_weights(self, weights: Mapping[str, np.ndarray]):
        """Replace the fitted weights, for example by those of a PyTorch model.

        Parameters
        ----------
        weights : mapping of str to array
            All arrays of `weights_`, by the same names and shapes.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If an array is missing, unknown, not finite or of another shape.
        """
        check_is_fitted(self)
        network = self._fitted_network()
        # `asarray`, then a copy: PyTorch's tensors do not know numpy's copy keyword.
        arrays = {name: np.asarray(value).astype(network.dtype) for name, value in weights.items()}
        self._check_shapes(arrays, network)
        for name, value in arrays.items():
            if not np.isfinite(value).all():
                raise ValueError(f"weights[{name!r}] holds NaN or infinity")
        self.weights_ = {name: arrays[name] for name in network.shapes()}
        self._moments = None  # they belong to the old weights
        return self

    def _fitted_network(self) -> Network:
        shape = self.weights_["weight_ih_l0"].shape
        return self._network(shape[1], len(self.weights_["head.bias"]), self._architecture)

    # --- prediction ------------------------------------------------------------------------------------
    def _run(self, X, *, state=None, hidden=False):
        """(Input, raw outputs or hidden states in X's float type, last states)."""
        check_is_fitted(self)
        input = self._read_X(X, reset=False)
        network = self._fitted_network()
        first = None if state is None else self._read_state(state, len(input.sequences), network)
        params = network.pack(self.weights_)
        raw, last = inference.run(network, params, input.sequences, state=first, hidden=hidden)
        return input, raw.astype(input.float_type, copy=False), last

    def _read_state(self, state, n: int, network: Network):
        has_c = network.cell == "lstm"
        shape = (network.num_layers * network.directions, n, network.hidden_size)
        parts = state if has_c else (state,)
        if has_c and not (isinstance(state, tuple | list) and len(state) == 2):
            raise ValueError("state must be a pair (h, c) for an LSTM")
        arrays = [np.asarray(part) for part in parts]
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

    def predict_with_state(self, X, state=None):
        """Predict from given first states, and return the last ones.

        Long series can so be predicted piece by piece: ``y, state = est.predict_with_state(X, state)``.

        Parameters
        ----------
        X : like in `fit`
        state : array of shape (num_layers * directions, n, hidden_size), a pair (h, c) of them for an
            LSTM, or None
            First states in PyTorch's layout; None: zeros.

        Returns
        -------
        y : like `predict`
        state : like the parameter
        """
        input, raw, last = self._run(X, state=state)
        h = np.stack([h for h, _ in last])
        if last[0][1] is None:
            return self._predict_from(input, raw), h
        return self._predict_from(input, raw), (h, np.stack([c for _, c in last]))

    def hidden_states(self, X):
        """States of the top layer after every step.

        Returns
        -------
        ndarray of shape (n, T, hidden_size * directions), or 1-D object array of n arrays of shape
        (T_i, hidden_size * directions) where X is a list or an object array
        """
        input, states, _ = self._run(X, hidden=True)
        return shape_like(input, states)

    def predict(self, X):
        """Predict.

        Parameters
        ----------
        X : like in `fit`

        Returns
        -------
        ndarray of shape (n,) or (n, k); with `return_sequences` (n, T) or (n, T, k), or a 1-D object
        array of arrays of shape (T_i,) or (T_i, k) where X is a list or an object array
            In X's float type.
        """
        input, raw, _ = self._run(X)
        return self._predict_from(input, raw)

    @abstractmethod
    def _predict_from(self, input: Input, raw: np.ndarray): ...

    def _shape(self, input: Input, rows: np.ndarray) -> np.ndarray:
        return shape_like(input, rows) if self._architecture["return_sequences"] else rows

    def _score_data(self, X, y, sample_weight):
        """Predictions, targets and weights as flat rows."""
        input, raw, _ = self._run(X)
        per_step = self._architecture["return_sequences"]
        rows = read_rows(y, input, per_step)
        w = read_weights(sample_weight, input, per_step, np.dtype(np.float64))
        return raw, rows, w, input, per_step

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "weights_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.three_d_array = True
        tags.input_tags.sparse = False
        tags.target_tags.required = True
        return tags


@contextmanager
def progress_bar(verbose: Any, name: str, n_epochs: int) -> Iterator[Any]:
    """A tqdm bar over epochs, or nothing."""
    if not verbose:
        yield lambda row: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=n_epochs, desc=name, unit="epoch") as bar:

        def show(row: dict[str, float]) -> None:
            shown = {"loss": f"{row['loss']:.4g}"}
            if "validation_score" in row:
                shown["validation score"] = f"{row['validation_score']:.4g}"
            bar.set_postfix(shown, refresh=False)
            bar.update()

        yield show
