"""What all language models share: from texts to a trained network."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context, clone
from sklearn.callback import with_callbacks
from sklearn.utils import Tags, check_random_state

from .. import backends
from ..estimators.devices import device_for, device_to_read
from ..estimators.fitted import remembering
from ..estimators.fitting import Fits, Weights
from ..estimators.n_jobs import effective_threads
from ..estimators.online import moments_of
from ..estimators.parameters import as_python
from ..estimators.unchanged import unchanged_on_error
from ..history import Progress
from ..interrupts import deferred
from ..losses import multiclass_log_loss
from ..network import Network
from ..recipe import array_dtype, language_network
from ..sequences import TOKEN
from ..training import Data, Diverged, Settings, Trainer
from .corpus import Vocabulary, streams, texts_of
from .encoder import TokenEncoder
from .generation import Generates
from .likelihood import Likelihood

ENCODERS: dict[str, dict[str, Any]] = {
    "char": {"analyzer": "char", "lowercase": False},
    "word": {"analyzer": "word", "lowercase": False, "token_pattern": r"\w+|[^\w\s]|\n"},
}
FROZEN = (
    "hidden_size", "num_layers", "tie_weights", "embedding_dropout", "dropout", "recurrent_dropout", "dtype",
)  # fmt: skip
CELL_PARAMETERS = "activation", "reset_after"
ROWS_OF_A_PASS, LEAST_STEPS = 10, 100  # steps_per_row=None
# With batch_size="auto": more updates of fewer streams learn more in a given time. Five passes over the first
# part of Shakespeare, nats of the next: at a rate of 6e-3, 16 streams 1.456, 32 streams 1.481; at 4e-3 1.478
# and 1.509.
STREAMS, LEAST_UPDATES = 16, 100  # the latter of a pass
# With max_iter="auto": more passes learn a text by heart (words of Python's documentation: after 4 to 8), but
# a short one needs updates.
UPDATES, PASSES, FEW_UPDATES, MOST_PASSES = 10_000, (10, 20), 1000, 100
LONG = 4000  # tokens of a text for validation, of which parts are then read side by side
Texts = list[np.ndarray]  # of tokens


class LanguageModel(Likelihood, Generates, Fits, BaseEstimator, metaclass=ABCMeta):
    """Parameters, validation, fit and state."""

    dtype: Any
    encoder: Any
    embedding_size: Any
    hidden_size: Any
    n_jobs: Any
    tbptt_steps: Any
    steps_per_row: Any
    validation_fraction: Any
    warm_start: Any
    early_stopping: Any
    learning_rate_init: Any
    batch_size: Any
    max_iter: Any
    _one_text: bool
    _n_updates: int
    _batch_size: int
    _n_known: int
    _knows_the_unknown: bool

    @property
    @abstractmethod
    def _cell(self) -> str: ...

    # --- fit -----------------------------------------------------------------------------------------
    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, *, X_val: Any = None) -> Self:
        """Learn from texts.

        Parameters
        ----------
        X : str or list of str
            One text, which is read in `batch_size` streams side by side; or documents, whose begin and end
            are learnt, and whose states do not mix. With an encoder of ``analyzer="tokens"`` documents are
            lists of tokens. Searches and cross-validation need documents: of a string they would take
            single characters.
        y : ignored
        X_val : like X, default=None
            Validation data, instead of a part of X with `early_stopping`.

        Returns
        -------
        self : estimator

        Raises
        ------
        TypeError, ValueError
            For texts that are none or have no token, which are named; for unusable parameters; when the loss
            stops being finite. The estimator is then what it was before.
        KeyboardInterrupt
            On Ctrl-C. In training, after the running minibatch and with a warning: the estimator is fitted
            then, with the best weights so far. Before it, the estimator is what it was.
        RuntimeError
            If `device` cannot be used here.
        MemoryError
            If the GPU has too little memory.
        """
        with unchanged_on_error(self):
            again = self.warm_start and hasattr(self, "weights_")
            texts, held_back = self._read_texts(X, again, hold_back=X_val is None)
            if X_val is not None:
                held_back = self._tokens_of(texts_of(X_val, "X_val")[0])
                if not sum(map(len, held_back)):
                    raise ValueError("X_val has no token")
            self.device_ = device_to_read(self.device, self.dtype)
            trainer_of = self._prepare(texts, again)
            with backends.turn(self.device_, self.allow_tf32):
                trainer, progress = trainer_of(), self._progress() if again else Progress()
                score = None if held_back is None else self._scorer(trainer, held_back)
                self._run_fit(trainer, score, progress, X)
                del trainer
        self._raise_if_interrupted(progress)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """One pass over texts, and on from what was learnt before, for texts that do not fit into memory.

        The first call learns the vocabulary, unless `encoder` is fitted already; tokens that it has not are
        unknown ones later. All calls take the rate `learning_rate_init`, and states are not carried over.

        Parameters
        ----------
        X : like in `fit`
            One text in all calls, or documents in all.
        y : ignored

        Returns
        -------
        self : estimator

        Raises
        ------
        TypeError, ValueError
            As of `fit`.
        """
        with unchanged_on_error(self):
            again = hasattr(self, "weights_")
            texts, _ = self._read_texts(X, again, hold_back=False)
            self.device_ = device_to_read(self.device, self.dtype)
            trainer_of = self._prepare(texts, again)
            with backends.turn(self.device_, self.allow_tf32):
                trainer, progress = trainer_of(), self._progress() if again else Progress()
                with deferred():
                    self._one_pass(trainer, progress)
                    self._store(trainer, progress)
        return self

    # --- data ------------------------------------------------------------------------------------------
    def _read_texts(self, X: Any, again: bool, hold_back: bool) -> tuple[Texts, Texts | None]:
        """Those to train on and those to validate on; learns the vocabulary, unless it goes on."""
        texts, one = texts_of(X)
        if again and one != self._one_text:
            kinds = "documents", "one text"
            raise ValueError(f"training goes on from {kinds[self._one_text]}: X cannot be {kinds[one]}")
        if not any(len(text) for text in texts if hasattr(text, "__len__")):
            raise ValueError("X is an empty text" if one else "X are documents without a token")
        if not again:
            self._one_text = one
            self.encoder_, self._tidies = self._fitted_encoder(texts), self.encoder == "word"
            self._n_known = len(self.encoder_.get_feature_names_out()) - 1
        tokens = self._tokens_of(texts)
        if one and not len(tokens[0]):
            raise ValueError("X is a text without a token")
        if not (hold_back and self.early_stopping):
            return tokens, None
        fraction = as_python(self.validation_fraction)
        if one:
            (text,) = tokens
            n = int(len(text) * fraction)
            learnt, held_back = [text[: len(text) - n]], [text[len(text) - n :]]
        else:
            n = int(np.ceil(len(tokens) * fraction))
            order = np.random.RandomState(self._split_seed(again)).permutation(len(tokens))
            learnt, held_back = ([tokens[i] for i in own] for own in (np.sort(order[n:]), order[:n]))
        if not (sum(map(len, learnt)) and sum(map(len, held_back))):
            raise ValueError(
                f"early_stopping holds back {n} of {len(text) if one else len(tokens)} "
                f"{'tokens' if one else 'documents'}: too few are left, or held back"
            )
        return learnt, held_back

    def _split_seed(self, again: bool) -> int:
        """Of documents that are held back, the same ones again where training goes on."""
        if not again or not hasattr(self, "_seed_of_split"):
            self._seed_of_split = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        return self._seed_of_split

    def _fitted_encoder(self, texts: list[Any]) -> Any:
        if isinstance(self.encoder, str):
            return TokenEncoder(**ENCODERS[self.encoder]).fit(texts)
        if getattr(self.encoder, "max_length", None) is not None:
            raise ValueError("an encoder's max_length would cut texts and prompts: leave it None")
        fitted = getattr(self.encoder, "vocabulary_", None) is not None
        return deepcopy(self.encoder) if fitted else clone(self.encoder).fit(texts)

    @property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self._n_known)

    def _tokens_of(self, texts: list[Any]) -> Texts:
        """Those that are predicted: of documents their end, too."""
        found = list(self.encoder_.transform(texts))
        if self._one_text:
            return found
        end = np.array([self._vocabulary.end], TOKEN)
        return [np.concatenate([tokens, end]) for tokens in found]

    def _prepare(self, texts: Texts, again: bool) -> Callable[[], Trainer]:
        """What makes a trainer on these texts, on the device that is chosen here."""
        if self._one_text:
            (text,) = texts
            texts = streams(text, self._n_streams(len(text)))
        self._plan(np.array([*map(len, texts)]))
        sequences, y = self._vocabulary.read(texts, array_dtype(self.dtype))
        known = again and self._knows_the_unknown
        self._knows_the_unknown = known or bool((y.values == 0).any())
        data, parameters = Data(sequences, y, None), self._network_parameters()
        if self.device == "auto" and self.device_ == "cpu" and self.dtype != "bfloat16":
            n_rows = min(self._batch_size * int(self.tbptt_steps), sequences.n_steps)
            self.device_ = device_for(self._fitted_network(parameters, "cpu").flops(n_rows, training=True))

        def trainer() -> Trainer:
            network = self._fitted_network(parameters, self.device_)
            return self._new_trainer(network, data, again, multiclass_log_loss)

        return trainer

    def _n_streams(self, n_tokens: int) -> int:
        """That one text is cut into."""
        if self.batch_size != "auto":
            return min(int(self.batch_size), n_tokens)
        return max(1, min(STREAMS, n_tokens // (LEAST_UPDATES * int(self.tbptt_steps))))

    def _plan(self, lengths: np.ndarray) -> None:
        """How many texts make a minibatch, and about how many updates a pass."""
        chunks = -(-lengths // int(self.tbptt_steps))
        if self._one_text:  # all its streams are one minibatch
            self._batch_size, self._n_updates = len(lengths), int(chunks.max())
            return
        total = int(chunks.sum())
        size = total // LEAST_UPDATES if self.batch_size == "auto" else int(self.batch_size)
        most = STREAMS if self.batch_size == "auto" else len(lengths)
        self._batch_size = max(1, min(size, most, len(lengths)))
        self._n_updates = max(1, total // self._batch_size)

    def _settings(self, n: int) -> Settings:
        settings = super()._settings(n)
        settings.batch_size = self._batch_size
        settings.shuffle = settings.shuffle and not self._one_text
        if self.max_iter == "auto":
            passes = int(np.clip(round(UPDATES / self._n_updates), *PASSES))
            settings.max_iter = max(passes, min(MOST_PASSES, FEW_UPDATES // self._n_updates))
        if settings.steps_per_row is None:
            settings.steps_per_row = max(LEAST_STEPS, self._n_updates // ROWS_OF_A_PASS)
        return settings

    def _scorer(self, trainer: Trainer, texts: Texts) -> Callable[[], float]:
        """Mean log-likelihood of a token."""
        if self._one_text:  # which takes long by itself
            texts = [part for text in texts for part in streams(text, 1 + len(text) // LONG)]
        sequences, y = self._vocabulary.read([text for text in texts if len(text)], trainer.network.dtype)

        def score() -> float:
            if not self._knows_the_unknown:
                trainer.params[:] = trainer.network.pack(self._with_the_unknown(trainer))
            log_prob = trainer.predict(sequences, log_prob=y)
            if not np.isfinite(log_prob).all():
                raise Diverged("The output", trainer.settings)
            return float(log_prob.mean())

        return score

    # --- the network -----------------------------------------------------------------------------------
    def _network_parameters(self) -> dict[str, Any]:
        """What a fit freezes."""
        names = [*FROZEN, *(name for name in CELL_PARAMETERS if hasattr(self, name))]
        n_tokens, size = self._vocabulary.n_tokens, as_python(self.embedding_size)
        if size == "auto":
            hidden = as_python(self.hidden_size)
            size = hidden if self.tie_weights else min(hidden, n_tokens)
        own = {"cell": self._cell, "n_tokens": n_tokens, "embedding_size": size}
        return {name: as_python(getattr(self, name)) for name in names} | own

    def _fitted_network(self, parameters: dict[str, Any], device: str) -> Network:
        return language_network(device=device, n_threads=effective_threads(self.n_jobs), **parameters)

    # --- fitted state ----------------------------------------------------------------------------------
    def _fitted_attributes(self, weights: Weights, progress: Progress) -> dict[str, Any]:
        history = progress.history()
        return remembering(weights) | {
            "n_iter_": progress.n_iter,
            "loss_": float(history["loss"][-1]) if len(history["loss"]) else None,
            "best_loss_": progress.best_loss,
            "best_validation_score_": progress.best_score,
            "history_": history,
            "n_tokens_": self._vocabulary.n_tokens,
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
        table = weights.get("embedding.weight")
        if table is not None and not self._knows_the_unknown:
            table[0] = table[1 : self._vocabulary.begin].mean(axis=0)
        return weights

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        tags.target_tags.required = False
        return tags
