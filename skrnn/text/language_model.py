"""What all language models share: what they read of texts, and how they learn from it."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.callback import with_callbacks
from sklearn.utils import Tags

from ..estimators.n_jobs import effective_threads
from ..estimators.parameters import as_python
from ..estimators.unchanged import unchanged_on_error
from ..network import Network
from ..recipe import array_dtype, language_network
from ..training import Data, Settings
from .corpus import named, streams, texts_of
from .generation import Generates
from .likelihood import Likelihood
from .text_model import TextModel, passes_of

FROZEN = (
    "hidden_size", "num_layers", "tie_weights", "embedding_dropout", "dropout", "recurrent_dropout", "dtype",
)  # fmt: skip
# With batch_size="auto": more updates of fewer streams learn more in a given time.
STREAMS, LEAST_UPDATES = 16, 100  # the latter of a pass
LONG = 4000  # tokens of a text for validation, of which parts are then read side by side
Texts = list[np.ndarray]  # of tokens


class LanguageModel(TextModel, Likelihood, Generates):
    """Parameters, validation and fit."""

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
                with named("X_val"):
                    held_back = self._tokens_of(texts_of(X_val, "X_val")[0])
                if not sum(map(len, held_back)):
                    raise ValueError("X_val has no token")
            validation = None if held_back is None else self._validation_data(held_back)
            progress = self._learn(self._training_data(texts), validation, again, partial(self._run_fit, X=X))
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
            self._learn(self._training_data(texts), None, again, self._pass_over)
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
            self.encoder_, self._tidies = self._fitted_encoder(self.encoder, texts), self.encoder == "word"
            self._n_known = len(self.encoder_.get_feature_names_out()) - 1
            self._unread = {"embedding.weight": self._n_known}
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
            parts = self._split(len(tokens), fraction, again)
            n = len(parts[1])
            learnt, held_back = ([tokens[i] for i in own] for own in parts)
        if not (sum(map(len, learnt)) and sum(map(len, held_back))):
            raise ValueError(
                f"early_stopping holds back {n} of {len(text) if one else len(tokens)} "
                f"{'tokens' if one else 'documents'}: too few are left, or held back"
            )
        return learnt, held_back

    @property
    def _writes_by(self) -> Any:
        return self.encoder_

    def _tokens_of(self, texts: list[Any]) -> Texts:
        """Those that are predicted: of documents their end, too."""
        found = list(self.encoder_.transform(texts))
        if self._one_text:
            return found
        return [*map(self._vocabulary.ended, found)]

    def _training_data(self, texts: Texts) -> Data:
        if self._one_text:
            (text,) = texts
            texts = streams(text, self._n_streams(len(text)))
        sequences, y = self._vocabulary.read(texts, array_dtype(self.dtype))
        self._is_read("embedding.weight", y.values)
        return Data(sequences, y, None)

    def _validation_data(self, texts: Texts) -> Data:
        if self._one_text:  # which takes long by itself
            texts = [part for text in texts for part in streams(text, 1 + len(text) // LONG)]
        return Data(
            *self._vocabulary.read([text for text in texts if len(text)], array_dtype(self.dtype)), None
        )

    def _n_streams(self, n_tokens: int) -> int:
        """That one text is cut into."""
        if self.batch_size != "auto":
            return min(int(self.batch_size), n_tokens)
        return max(1, min(STREAMS, n_tokens // (LEAST_UPDATES * int(self.tbptt_steps))))

    def _plan(self, lengths: np.ndarray) -> tuple[int, int]:
        """How many texts make a minibatch, and about how many updates a pass."""
        chunks = -(-lengths // int(self.tbptt_steps))
        if self._one_text:  # all its streams are one minibatch
            return len(lengths), int(chunks.max())
        total = int(chunks.sum())
        size = total // LEAST_UPDATES if self.batch_size == "auto" else int(self.batch_size)
        most = STREAMS if self.batch_size == "auto" else len(lengths)
        size = max(1, min(size, most, len(lengths)))
        return size, max(1, total // size)

    def _settings(self, n: int, data: Data) -> Settings:
        settings = super()._settings(n, data)
        settings.batch_size, n_updates = self._plan(data.sequences.lengths)
        settings.shuffle = settings.shuffle and not self._one_text
        if self.max_iter == "auto":
            settings.max_iter = passes_of(n_updates)
        self._set_rows(settings, n_updates)
        return settings

    def _rows_of_a_minibatch(self, data: Data) -> float:
        size, _ = self._plan(data.sequences.lengths)
        return min(size * int(self.tbptt_steps), data.sequences.n_steps)

    # --- the network -----------------------------------------------------------------------------------
    def _network_parameters(self) -> dict[str, Any]:
        n_tokens, size = self._vocabulary.n_tokens, as_python(self.embedding_size)
        if size == "auto":
            hidden = as_python(self.hidden_size)
            size = hidden if self.tie_weights else min(hidden, n_tokens)
        return self._frozen(*FROZEN) | {"n_tokens": n_tokens, "embedding_size": size}

    def _fitted_network(self, parameters: dict[str, Any], device: str) -> Network:
        return language_network(device=device, n_threads=effective_threads(self.n_jobs), **parameters)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        return tags
