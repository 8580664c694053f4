"""What all estimators share: from validated data to a trained network."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from functools import partial
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.callback import with_callbacks
from sklearn.utils import Tags
from sklearn.utils._param_validation import InvalidParameterError

from .. import backends
from ..history import Progress
from ..interrupts import deferred, deferring
from ..losses import Loss
from ..network import Network
from ..recipe import array_dtype
from ..rooms import Room
from ..sequences import Targets
from ..training import Data, Trainer
from .containers import opened_on_host
from .devices import device_for, device_to_read
from .fitted import remembering
from .fitting import Fits, Weights
from .inputs import Input
from .lags import same_layout
from .loading import TakesWeights
from .online import Kept, LearnsOnline, Shuffled, moments_of
from .parameters import as_python
from .reading import check_equal_lengths
from .unchanged import unchanged_on_error
from .validation_data import Validated, check_validation_split, target_rows

MOST_CALLS = 1000  # of `partial_fit`, of which the history keeps the last
CELL_PARAMETERS = ("activation", "reset_after")
NETWORK_PARAMETERS = (
    "hidden_size", "num_layers", "bidirectional", "pooling", "return_sequences", "dropout",
    "recurrent_dropout", "head_dropout", "embedding_updates", "freeze_embedding", "embedding_dropout",
    "dtype",
)  # fmt: skip


class RecurrentEstimator(Validated, LearnsOnline, TakesWeights, Fits, BaseEstimator, metaclass=ABCMeta):
    """Parameters, validation, fit and state; subclasses know targets and predictions.

    Beside the public methods the package itself, its forecasters first, uses two doors. `Sequences` in the
    place of X, and `Targets` in that of y, are taken as they are: windows over a table that nobody copies.
    And `_last_answer` answers as of the last step, with the states there, from which `stream` goes on.
    """

    linear_skip = False  # a parameter of regressors

    # --- what a subclass provides --------------------------------------------------------------------
    @abstractmethod
    def _read_targets(
        self,
        y: Any,
        w: np.ndarray | None,
        input: Input,
        *,
        reset: bool,
        name: str = "y",
    ) -> Targets:
        """Targets for the loss; `w` says which of them count."""

    @abstractmethod
    def _make_loss(self) -> Loss:
        """The loss of the fitted targets."""

    @abstractmethod
    def _score_rows(self, raw: np.ndarray, y: np.ndarray, w: np.ndarray | None) -> float:
        """`score` from raw outputs and targets as `_read_targets` made them."""

    def _training_weights(self, data: Data) -> np.ndarray | None:
        """Weights of the targets to train on, those of classes among them."""
        return data.w

    # --- fit -----------------------------------------------------------------------------------------
    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array of shape (n, T, F), list or object array of n arrays or frames of shape (T_i, F), or 2-D
            array-like of shape (n, T * features_per_step), with `static_columns` beside them
            Sequences, oldest step first. With `embedding_size` also sequences of tokens, a list or object
            array of n arrays of integers (T_i,) or an array of integers (n, T); and steps of which some
            features are categories, which may be strings. A sequence without tokens is read as one unknown
            token, 0; with `return_sequences` it is refused. With a GPU as `device`, numbers may lie there: of
            CuPy, of PyTorch, or with ``__cuda_array_interface__`` or DLPack. They are read in place.
        y : array-like of shape (n,) or (n, k); with `return_sequences` (n, T), (n, T, k), or a list
            or object array of arrays of shape (T_i,) or (T_i, k)
            Targets; those per step in time order, oldest first, also with `newest_first`. Labels per step
            may be lists, but scikit-learn's tools with an integer `cv` want arrays, or ``cv=KFold()``.
            Targets on a GPU are copied to the host, where they are checked, as are weights.
        sample_weight : array-like of shape (n,), or per step in the form of y; default=None
            Weights. A sequence or step of weight 0 may be unlabelled: its target may be anything, NaN too,
            and it is not held back for validation.
        X_val, y_val : like X and y, default=None
            Validation data, used instead of a split of X. In a pipeline, let the earlier steps
            transform it: ``Pipeline(steps, transform_input=["X_val"])`` with metadata routing.
        sample_weight_val : like sample_weight, default=None
            Weights of the validation data in their score; what has weight 0 may be unlabelled.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            For unusable data or parameters, naming the place; and when the loss stops being finite.
            The estimator is then what it was before.
        KeyboardInterrupt
            On Ctrl-C. In training, after the running minibatch and with a warning: the estimator is fitted
            then, with the best weights so far. Before and after it, the estimator is what it was. Kernels
            of a first fit are compiled to the end of the one at hand, which can take a few seconds.
        RuntimeError
            If `device` cannot be used here.
        MemoryError
            If the GPU has too little memory; the message says how much is needed.
        """
        with unchanged_on_error(self):
            again = self.warm_start and hasattr(self, "weights_")
            self._check_parameters()
            self.device_ = device_to_read(self.device, self.dtype, X, X_val)
            with backends.turn(self.device_, self.allow_tf32):
                data = self._read_data(X, y, sample_weight, reset=not again)
                data, validation = self._validation_data(data, X, y, X_val, y_val, sample_weight_val, again)
            self.device_ = self._device_to_train(data)
            with backends.turn(self.device_, self.allow_tf32):
                trainer = self._trainer(self._with_training_weights(data), again)
                progress = self._progress() if again else Progress()
                score = None if validation is None else partial(self._validation_score, trainer, validation)
                self._run_fit(trainer, score, progress, X, y, sample_weight)
                del trainer  # and with it memory of the device, while it is this fit's turn
        self._raise_if_interrupted(progress)
        return self

    # --- parameters and data -------------------------------------------------------------------------
    def _check_parameters(self) -> None:
        check_validation_split(self.validation_split)
        if self.tbptt_steps is not None and self.bidirectional:
            raise InvalidParameterError(
                "tbptt_steps cannot be combined with bidirectional=True: the reverse direction starts at "
                "a sequence's end, which a chunk does not hold"
            )
        if self.tbptt_steps is not None and self.pooling == "attention" and not self.return_sequences:
            raise InvalidParameterError(
                'tbptt_steps cannot be combined with pooling="attention": it weighs the steps of a whole '
                "sequence, which a chunk does not hold"
            )
        self._check_parameters_of_tokens()
        if self.linear_skip:
            for name, why in (
                ("return_sequences", "a window is answered once"),
                ("tbptt_steps", "it reads all steps of a window at once"),
            ):
                if getattr(self, name):
                    raise InvalidParameterError(f"linear_skip cannot be combined with {name}: {why}")

    def _read_data(self, X: Any, y: Any, sample_weight: Any, reset: bool, **targets: Any) -> Data:
        if not reset and not same_layout(self._row_layout, self._given_layout):
            raise ValueError(
                f"training goes on from a fit with {self._row_layout}, which cannot become "
                f"{self._given_layout}"
            )
        # Weights that came without a fit go with either kind of X: this is the first one.
        input = self._read_X(X, reset or not hasattr(self, "_input_kind"), self.device_)
        if reset:
            self._learn_tables(input)
        else:
            self._check_same_tables(input)
        y = opened_on_host(y)
        w = self._read_weights(sample_weight, y, input, "sample_weight")
        self._skip_steps = None
        if self.linear_skip:
            self._skip_steps = check_equal_lengths(
                input.sequences, None if reset else self._architecture.get("skip_steps")
            )
        return Data(input.sequences, self._read_targets(y, w, input, reset=reset, **targets), w)

    # --- the network -----------------------------------------------------------------------------------
    def _network_parameters(self) -> dict[str, Any]:
        """What a fit freezes: later changes of these parameters wait for the next fit."""
        names = [*NETWORK_PARAMETERS, *(name for name in CELL_PARAMETERS if hasattr(self, name))]
        parameters = {name: as_python(getattr(self, name)) for name in names}
        own = {"skip_steps": self._skip_steps, "tables": self._tables, "crf": self.loss == "crf"}
        return parameters | {"cell": self._cell} | own

    @property
    def _cell(self) -> str:
        return self.cell

    def _device_to_train(self, data: Data) -> str:
        """Where X was read or, with "auto", a GPU where the work is large enough to gain from it."""
        if self.device != "auto" or self.device_ != "cpu" or self.dtype == "bfloat16":
            return self.device_
        network, settings = self._network_for(data, "cpu"), self._settings(len(data.sequences), data)
        n_steps = np.minimum(data.sequences.lengths, settings.tbptt_steps or np.inf).mean()
        return device_for(network.flops(n_steps * settings.batch_size, training=True))

    def _network_for(self, data: Data, device: str) -> Network:
        n_features = data.sequences.n_features
        return self._network(n_features, self._n_raw(), self._network_parameters(), device)

    def _with_training_weights(self, data: Data) -> Data:
        w = self._training_weights(data)
        if w is None:
            return data
        w = w.astype(array_dtype(self.dtype))
        if not w[target_rows(data, self.return_sequences)].any():
            raise ValueError("class_weight and sample_weight leave only zero weights to train on")
        return data._replace(w=w)

    @deferring
    def _trainer(self, data: Data, again: bool, room: Room | None = None) -> Trainer:
        return self._new_trainer(self._network_for(data, self.device_), data, again, self._make_loss(), room)

    def _first_weights(self, network: Network, rng: np.random.RandomState, data: Data) -> Weights:
        return self._begin_tables(network.parameters.initial(rng), data)

    @abstractmethod
    def _n_raw(self) -> int:
        """Raw outputs of the head, once targets have been read."""

    # --- fitted state ----------------------------------------------------------------------------------
    def _fitted_attributes(
        self, weights: dict[str, np.ndarray], progress: Progress, kept: Kept | None = None
    ) -> dict[str, Any]:
        history = progress.history(None if kept is None else MOST_CALLS)
        losses = history["loss"]
        return remembering(weights, None if kept is None else kept.memory) | {
            "n_iter_": progress.n_iter,
            "loss_": float(losses[-1]) if len(losses) else None,
            "best_loss_": progress.best_loss,
            "best_validation_score_": progress.best_score,
            "_architecture": self._network_parameters(),
            "history_": history,
            "n_outputs_": self._n_outputs(),
            "n_tokens_": [n_tokens for n_tokens, _ in self._tables] or None,
            "categories_": None if self._categories is None else [*self._categories.values],
        }

    @abstractmethod
    def _n_outputs(self) -> int: ...

    def _store(self, trainer: Trainer, progress: Progress, kept: Kept | None = None) -> None:
        with deferred():  # after an interrupted training, a second Ctrl-C must not lose what it has learnt
            weights = trainer.network.unpack(trainer.params)
            if (known := self._with_means(weights, trainer.data)) is not weights:
                weights = known
                trainer.params[:] = trainer.network.pack(weights)
            self.__dict__.update(self._fitted_attributes(weights, progress, kept))
            self._moments: Any = moments_of(trainer, self.solver)
            goes_on = kept is not None and kept.taken is not None
            self._rng = Shuffled.once_more(self._rng, trainer) if goes_on else trainer.rng.get_state(False)
            if kept is not None:
                kept.keep(self, trainer)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.three_d_array = True
        tags.input_tags.sparse = False
        tags.target_tags.required = True
        return tags
