"""What models share that read and write texts: from sequences of tokens to a trained network."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import deepcopy
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils import Tags, check_random_state

from .. import backends
from ..estimators.devices import device_for, device_to_read
from ..estimators.fitted import remembering
from ..estimators.fitting import Fits, Weights
from ..estimators.online import moments_of
from ..estimators.parameters import as_python
from ..history import Progress
from ..interrupts import deferred
from ..losses import Loss, multiclass_log_loss
from ..training import Data, Diverged, Settings, Trainer
from .corpus import Vocabulary
from .encoder import TokenEncoder
from .words import ENCODERS

CELL_PARAMETERS = "activation", "reset_after"
GOES_ON_WITH = (
    "cell", "hidden_size", "num_layers", "bidirectional", "embedding_size", "attention", "tie_weights",
)  # fmt: skip
ROWS_OF_A_PASS, LEAST_STEPS = 10, 100  # of the history, and updates of a row, with steps_per_row=None
# With max_iter="auto": more passes learn a text by heart, but a short one needs updates.
UPDATES, PASSES, FEW_UPDATES, MOST_PASSES = 10_000, (10, 20), 1000, 100


def passes_of(n_updates: int) -> int:
    """How many, of so many updates each."""
    passes = int(np.clip(round(UPDATES / n_updates), *PASSES))
    return max(passes, min(MOST_PASSES, FEW_UPDATES // n_updates))


class TextModel(Fits, BaseEstimator, metaclass=ABCMeta):
    """Encoders, device, the network, and the state that a fit leaves."""

    dtype: Any
    device: Any
    _n_known: int  # tokens of the encoder of what is written
    _tidies: bool  # whether what is written are words and signs
    _seed_of_split: int
    # By name, tables whose token 0 was never read, and how many others the encoder knows.
    _unread: dict[str, int]

    # --- what a kind of model says -------------------------------------------------------------------
    @property
    @abstractmethod
    def _cell(self) -> str: ...

    @abstractmethod
    def _network_parameters(self) -> dict[str, Any]:
        """What a fit freezes, of which `_fitted_network` makes the network."""

    @property
    def _vocabulary(self) -> Vocabulary:
        """Of what is written."""
        return Vocabulary(self._writes_by, self._n_known, self._tidies)

    @property
    def _n_tokens(self) -> int:
        """That are scored."""
        return self._vocabulary.n_tokens

    @property
    @abstractmethod
    def _writes_by(self) -> Any:
        """The encoder of what is written."""

    def _loss(self) -> Loss:
        return multiclass_log_loss

    def _rows_of_a_minibatch(self, data: Data) -> float:
        """About how many steps it has."""
        n = len(data.sequences)
        return data.sequences.n_steps / n * self._settings(n, data).batch_size

    def _frozen(self, *names: str) -> dict[str, Any]:
        """Parameters of these names, and of those of the cell that there are."""
        names = *names, *(name for name in CELL_PARAMETERS if hasattr(self, name))
        return {name: as_python(getattr(self, name)) for name in names} | {"cell": self._cell}

    def _set_rows(self, settings: Settings, n_updates: int) -> None:
        """Of the history, for so many updates of a pass: how long they are, and how many without an
        improvement end the training."""
        if settings.steps_per_row is None:
            settings.steps_per_row = max(LEAST_STEPS, n_updates // ROWS_OF_A_PASS)
        n_rows = max(1, round(n_updates / settings.steps_per_row))
        waits = settings.early_stopping or settings.learning_rate != "cosine"
        settings.n_iter_no_change = n_rows * (settings.n_iter_no_change if waits else settings.max_iter + 1)

    # --- encoders --------------------------------------------------------------------------------------
    def _fitted_encoder(self, encoder: Any, texts: list[Any]) -> Any:
        if isinstance(encoder, str):
            return TokenEncoder(**ENCODERS[encoder]).fit(texts)
        if getattr(encoder, "max_length", None) is not None:
            raise ValueError("an encoder's max_length would cut texts and prompts: leave it None")
        fitted = getattr(encoder, "vocabulary_", None) is not None
        return deepcopy(encoder) if fitted else clone(encoder).fit(texts)

    def _is_read(self, table: str, tokens: np.ndarray) -> None:
        """Token 0 of a table is being learnt, if it is among these tokens."""
        if (tokens == 0).any():
            self._unread = {name: n for name, n in self._unread.items() if name != table}

    def _split(self, n: int, fraction: float, again: bool) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of n documents: those to learn from, and those that are held back; the same ones again
        where training goes on."""
        if not again or not hasattr(self, "_seed_of_split"):
            self._seed_of_split = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        order, n_held = np.random.RandomState(self._seed_of_split).permutation(n), int(np.ceil(n * fraction))
        return np.sort(order[n_held:]), order[:n_held]

    def _turn(self, X: Any = None) -> AbstractContextManager[str]:
        """For predictions: parameters may have been set since the fit."""
        self._validate_params()
        return super()._turn(X)

    # --- training --------------------------------------------------------------------------------------
    def _learn(
        self, data: Data, held_back: Data | None, again: bool, run: Callable[[Trainer, Any, Progress], None]
    ) -> Progress:
        """Train on the data as `run` says, with a function that scores on what is held back."""
        parameters = self._network_parameters()
        for name in GOES_ON_WITH if again else ():
            before, now = self._architecture.get(name), parameters.get(name)
            if before != now:
                raise ValueError(f"training goes on with {name}={before!r} of the first fit, not {now!r}")
        self.device_ = device_to_read(self.device, self.dtype)
        if self.device == "auto" and self.device_ == "cpu" and self.dtype != "bfloat16":
            flops = self._fitted_network(parameters, "cpu").flops
            self.device_ = device_for(flops(self._rows_of_a_minibatch(data), training=True))
        with backends.turn(self.device_, self.allow_tf32):
            network, progress = self._fitted_network(parameters, self.device_), Progress()
            trainer = self._new_trainer(network, data, again, self._loss())
            if again:
                progress = self._progress()
            run(trainer, None if held_back is None else self._scorer(trainer, held_back), progress)
            del trainer
        return progress

    def _pass_over(self, trainer: Trainer, score: Any, progress: Progress) -> None:
        """`_learn` from one pass."""
        with deferred():
            self._one_pass(trainer, progress)
            self._store(trainer, progress)

    def _scorer(self, trainer: Trainer, data: Data) -> Callable[[], float]:
        """Mean log-likelihood of a token."""

        def score() -> float:
            if self._unread:
                trainer.params[:] = trainer.network.pack(self._with_the_unknown(trainer))
            log_prob = trainer.predict(data.sequences, mates=data.mates, log_prob=data.y)
            if not np.isfinite(log_prob).all():
                raise Diverged("The output", trainer.settings)
            return float(log_prob.mean())

        return score

    # --- fitted state ----------------------------------------------------------------------------------
    def _fitted_attributes(self, weights: Weights, progress: Progress) -> dict[str, Any]:
        history = progress.history()
        return remembering(weights) | {
            "n_iter_": progress.n_iter,
            "loss_": float(history["loss"][-1]) if len(history["loss"]) else None,
            "best_loss_": progress.best_loss,
            "best_validation_score_": progress.best_score,
            "history_": history,
            "n_tokens_": self._n_tokens,
            "_architecture": self._network_parameters(),
        }

    def _store(self, trainer: Trainer, progress: Progress) -> None:
        with deferred():  # after an interrupted training, a second Ctrl-C must not lose what it has learnt
            weights = self._with_the_unknown(trainer)
            self.__dict__.update(self._fitted_attributes(weights, progress))
            self._moments: Any = moments_of(trainer, self.solver)
            self._rng = trainer.rng.get_state(False)

    def _with_the_unknown(self, trainer: Trainer) -> Weights:
        """A trainer's weights, where a token 0 that was never read has the mean of the vectors, unless these
        are the softmax's, too."""
        weights = trainer.network.unpack(trainer.params)
        for name, n_known in self._unread.items():
            if name in weights:
                weights[name][0] = weights[name][1 : n_known + 1].mean(axis=0)
        return weights

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        return tags
