"""What all translators share: what they read of pairs of texts, and how they learn from it."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import _fit_context
from sklearn.callback import with_callbacks
from sklearn.utils import Tags

from ..estimators.n_jobs import effective_threads
from ..estimators.parameters import as_python
from ..losses import Loss, smoothed_log_loss
from ..network import Network
from ..recipe import array_dtype, translation_network
from ..sequences import Sequences
from ..training import Data
from .corpus import checked, named
from .pairs import LearnsPairs
from .translating import Translates

FROZEN = (
    "hidden_size", "num_layers", "bidirectional", "attention", "tie_weights", "embedding_dropout", "dropout",
    "recurrent_dropout", "dtype",
)  # fmt: skip
ENCODERS, TABLES = (
    ("source_encoder", "target_encoder"),
    ("encoder.embedding.weight", "decoder.embedding.weight"),
)
Texts = list[np.ndarray]  # of tokens
Pairs = tuple[Texts, Texts]  # sources, and targets with their ends


class Translator(LearnsPairs, Translates):
    """Parameters, validation and fit."""

    hidden_size: Any
    bidirectional: Any
    embedding_size: Any
    label_smoothing: Any
    n_jobs: Any
    max_length: Any
    _longest: int  # target of `fit`, with its end

    # --- fit -----------------------------------------------------------------------------------------
    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, *, X_val: Any = None, y_val: Any = None) -> Self:
        """Learn from pairs of texts.

        Parameters
        ----------
        X : list of str, or of lists of str
            What is translated: texts, or tokens.
        y : list of str, or of lists of str
            The translation of each.
        X_val, y_val : like X and y, default=None
            Validation data, instead of a part of X and y with `early_stopping`.

        Returns
        -------
        self : estimator

        Raises
        ------
        TypeError, ValueError
            For texts that are none or have no token, which are named; if there are not as many of y as of X;
            for unusable parameters; when the loss stops being finite. The estimator is then what it was
            before.
        KeyboardInterrupt
            On Ctrl-C. In training, after the running minibatch and with a warning: the estimator is fitted
            then, with the best weights so far. Before it, the estimator is what it was.
        RuntimeError
            If `device` cannot be used here.
        MemoryError
            If the GPU has too little memory.
        """
        return self._fit_pairs(X, y, X_val, y_val)

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any) -> Self:
        """One pass over pairs, and on from what was learnt before, for pairs that do not fit into memory.

        The first call learns the vocabularies, unless the encoders are fitted already; tokens that they have
        not are unknown ones later. All calls take the rate `learning_rate_init`.

        Parameters
        ----------
        X, y : like in `fit`

        Returns
        -------
        self : estimator

        Raises
        ------
        TypeError, ValueError
            As of `fit`.
        """
        return self._pass_over_pairs(X, y)

    # --- data ------------------------------------------------------------------------------------------
    def _read_pairs(self, X: Any, y: Any, again: bool) -> Pairs:
        """The tokens of both; learns the vocabularies, unless training goes on."""
        X, y = checked(X, "X"), checked(y, "y")
        if not again:
            encoders = []
            for name, texts in zip(ENCODERS, (X, y), strict=True):
                encoder = getattr(self, name)
                if encoder == "auto":
                    encoder = "word" if texts and isinstance(texts[0], str) else "tokens"
                with named("X" if name == ENCODERS[0] else "y"):
                    encoders.append(self._fitted_encoder(encoder, texts))
                self._tidies = encoder == "word"  # of the target
            self.source_encoder_, self.target_encoder_ = encoders
            n_known = [len(encoder.get_feature_names_out()) - 1 for encoder in encoders]
            self._n_source, self._n_known = n_known[0] + 1, n_known[1]
            self._unread = dict(zip(TABLES, n_known, strict=True))
        pairs = self._tokens_of(X, y, empty=False)
        longest = max(map(len, pairs[1]))
        self._longest = max(longest, self._longest) if again else longest
        return pairs

    def _tokens_of(self, X: Any, y: Any, name: str = "X", y_name: str = "y", empty: bool = True) -> Pairs:
        """Those of sources and, with their ends, of targets, which may be `empty`."""
        sources = self._source_tokens(X, name)
        with named(y_name):
            targets = list(self.target_encoder_.transform(checked(y, y_name)))
        if len(sources) != len(targets):
            raise ValueError(f"{name} has {len(sources)} texts and {y_name} {len(targets)}")
        if not empty:
            check_not_empty(targets, y_name)
        return sources, [*map(self._vocabulary.ended, targets)]

    def _validation_pairs(self, X: Any, y: Any) -> Pairs:
        return self._tokens_of(X, y, "X_val", "y_val", empty=False)

    def _source_tokens(self, X: Any, name: str = "X") -> Texts:
        with named(name):
            sources = list(self.source_encoder_.transform(checked(X, name)))
        check_not_empty(sources, name)
        return sources

    def _training_data(self, pairs: Pairs, numbers: np.ndarray | None = None) -> Data:
        for table, tokens in zip(TABLES, pairs, strict=True):
            self._is_read(table, np.concatenate(tokens))
        return self._data(*pairs)

    def _data(self, sources: Texts, targets: Texts) -> Data:
        dtype = array_dtype(self.dtype)
        sequences, y = self._vocabulary.read(targets, dtype)
        return Data(sequences, y, None, Sequences.from_tokens(sources, dtype))

    @property
    def _writes_by(self) -> Any:
        return self.target_encoder_

    @property
    def max_length_(self) -> int:
        return 2 * self._longest if self.max_length == "auto" else int(self.max_length)

    # --- the network -----------------------------------------------------------------------------------
    def _loss(self) -> Loss:
        return smoothed_log_loss(as_python(self.label_smoothing))

    def _network_parameters(self) -> dict[str, Any]:
        hidden, size = as_python(self.hidden_size), as_python(self.embedding_size)
        if self.bidirectional and hidden % 2:
            raise ValueError(
                f"half of the encoder's hidden_size={hidden} units read backwards: make it even, or set "
                "bidirectional=False"
            )
        return self._frozen(*FROZEN) | {
            "n_source": self._n_source,
            "n_target": self._vocabulary.n_tokens,
            "embedding_size": hidden if size == "auto" else size,
        }

    def _fitted_network(self, parameters: dict[str, Any], device: str) -> Network:
        return translation_network(device=device, n_threads=effective_threads(self.n_jobs), **parameters)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def check_not_empty(texts: Texts, name: str) -> None:
    for i, tokens in enumerate(texts):
        if not len(tokens):
            raise ValueError(f"{name}[{i}] has no token")
    if not texts:
        raise ValueError(f"{name} is empty")
