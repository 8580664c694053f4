"""How a network is trained: as the parameters of all estimators say."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.callback import CallbackSupportMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ..history import Progress
from ..interrupts import deferred
from ..losses import Loss
from ..network import Network
from ..optimizers import SetUp
from ..rooms import Room
from ..training import Data, Settings, Trainer
from .devices import warn_the_caller
from .fitted import Fitted
from .online import state_of
from .parameters import as_python
from .progress import progress_bar

BATCH_SIZE = 32  # batch_size="auto"
Weights = dict[str, np.ndarray]


class Fits(Fitted, CallbackSupportMixin):
    """Mixin: from a network and data to a trainer, and through the epochs."""

    solver: Any
    learning_rate_init: Any
    history_: dict[str, np.ndarray]
    random_state: Any
    _moments: Any

    def _first_weights(self, network: Network, rng: np.random.RandomState, data: Data) -> Weights:
        """Those before training."""
        return network.parameters.initial(rng)

    @abstractmethod
    def _fitted_attributes(self, weights: Weights, progress: Progress) -> dict[str, Any]:
        """What a fit leaves, as of these epochs."""

    @abstractmethod
    def _store(self, trainer: Trainer, progress: Progress) -> None:
        """Leave it."""

    def _begin_random_numbers(self) -> None:
        rng: np.random.RandomState = check_random_state(self.random_state)
        if rng is np.random.mtrand._rand or rng is self.random_state:
            # A private one, so that the fitted estimator does not share a caller's generator.
            rng = np.random.RandomState(rng.randint(np.iinfo(np.int32).max))
        self._dropout_seed = int(rng.randint(np.iinfo(np.int32).max))
        self._rng = rng.get_state(legacy=False)

    def _settings(self, n: int, data: Data) -> Settings:
        """For n sequences, of which these are some."""
        names = Settings.__dataclass_fields__
        values = {name: as_python(getattr(self, name)) for name in names if hasattr(self, name)}
        batch = BATCH_SIZE if self.batch_size == "auto" else self.batch_size
        return Settings(**{"tbptt_steps": None} | values | {"batch_size": min(int(batch), n)})

    def _new_trainer(
        self, network: Network, data: Data, again: bool, loss: Loss, room: Room | None = None
    ) -> Trainer:
        moments = None
        if not again:
            self._begin_random_numbers()
        # The generator's state is stored only by `_store`, so that a failed fit does not move it.
        rng = np.random.RandomState()
        rng.set_state(state_of(self._rng))
        if not again:
            weights = self._first_weights(network, rng, data)
        else:
            weights = self.weights_
            self._check_shapes(weights, network)
            if self._moments is not None:
                solver, *moments = self._moments
                moments = moments if solver == self.solver else None
        optimizer = network.backend.Optimizer(
            SetUp(
                self.solver,
                network.parameters.decay_ranges,
                network.size,
                network.dtype,
                alpha=as_python(self.alpha),
                momentum=as_python(self.momentum),
                nesterov=self.nesterovs_momentum,
                beta_1=as_python(self.beta_1),
                beta_2=as_python(self.beta_2),
                epsilon=as_python(self.epsilon),
                max_norm=as_python(self.max_grad_norm),
            )
        )
        if moments is not None:
            optimizer.n_steps[0], *both = moments
            optimizer.m, optimizer.v = map(network.pack, both)
        n = len(data.sequences) if room is None else room.n
        return Trainer(
            network,
            network.pack(weights),
            optimizer,
            loss,
            self._settings(n, data),
            rng,
            self._dropout_seed,
            data,
            room,
        )

    def _run_fit(
        self,
        trainer: Trainer,
        score: Callable[[], float] | None,
        progress: Progress,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
    ) -> None:
        """The epochs, with progress bar and scikit-learn's callbacks."""
        most = trainer.settings.max_iter
        with deferred():  # amid of it scikit-learn would miss what its own end looks for
            context = self._init_callback_context(
                max_subtasks=most if trainer.settings.steps_per_row is None else None
            )
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        context.call_on_fit_task_begin(estimator=self, X=X, y=y, metadata=metadata)
        with progress_bar(self.verbose, type(self).__name__, most, progress.epoch) as show:

            def on_epoch(row: dict[str, float]) -> bool:
                show(row)
                epoch = context.subcontext(task_name="epoch")
                epoch.call_on_fit_task_begin(estimator=self, X=X, y=y, metadata=metadata)
                return epoch.call_on_fit_task_end(
                    estimator=self,
                    X=X,
                    y=y,
                    metadata=metadata,
                    reconstruction_attributes=lambda: self._fitted_attributes(
                        trainer.network.unpack(trainer.params), progress
                    ),
                )

            trainer.fit(
                progress,
                score=score,
                on_epoch=on_epoch,
            )
        self._store(trainer, progress)
        context.call_on_fit_task_end(
            estimator=self, X=X, y=y, metadata=metadata, reconstruction_attributes=dict
        )

    def _progress(self) -> Progress:
        return Progress(self.history_, self.best_loss_, self.best_validation_score_)

    def _one_pass(self, trainer: Trainer, progress: Progress) -> None:
        """Over all data, with the first learning rate."""
        rate = float(self.learning_rate_init)
        row = {"epoch": progress.n_iter + 1} | trainer.epoch(progress.n_iter, lambda done: rate)
        trainer.check()
        progress.add(row)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if state.get("_moments") is not None:
            state["_moments"] = tuple(state["_moments"])
        if "_rng" in state:
            state["_rng"] = state_of(state["_rng"])
        return state

    def _raise_if_interrupted(self, progress: Progress) -> None:
        if progress.interrupted:
            try:
                warn_the_caller(
                    f"Training was interrupted after {progress.epoch:g} epochs; this {type(self).__name__} "
                    "keeps the best weights so far."
                )
            finally:  # also where warnings are errors
                raise KeyboardInterrupt

    @property
    def loss_curve_(self) -> list[float]:
        check_is_fitted(self)
        return self.history_["loss"].tolist()

    @property
    def validation_scores_(self) -> list[float] | None:
        check_is_fitted(self)
        scores = self.history_["validation_score"]
        return scores[~np.isnan(scores)].tolist() or None
