"""What a translator makes of texts."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..decoding import Choices, Decoder, Text
from ..estimators.devices import to_host, warn_the_caller
from ..estimators.fitted import Fitted
from ..estimators.n_jobs import effective_threads
from ..estimators.parameters import as_python, check_count
from ..inference import BATCH
from ..sequences import TOKEN, Sequences, object_array
from ..training import Data
from .corpus import Vocabulary

ROWS = 512  # of beams that are searched with at a time


class Translation(NamedTuple):
    """One of the best.

    Attributes
    ----------
    text : str, or list of tokens
    log_prob : float
        Of its tokens and, unless it has been cut, of its end, in nats.
    """

    text: Any
    log_prob: float


class Translates(Fitted):
    """Mixin of translators."""

    source_encoder_: Any
    target_encoder_: Any
    beam_size: Any
    length_penalty: Any
    n_jobs: Any

    @property
    @abstractmethod
    def _vocabulary(self) -> Vocabulary: ...

    @property
    @abstractmethod
    def max_length_(self) -> int: ...

    @abstractmethod
    def _source_tokens(self, X: Any, name: str = "X") -> list[np.ndarray]: ...

    @abstractmethod
    def _tokens_of(self, X: Any, y: Any) -> tuple[list[np.ndarray], list[np.ndarray]]: ...

    @abstractmethod
    def _data(self, sources: list[np.ndarray], targets: list[np.ndarray]) -> Data: ...

    # --- translations ----------------------------------------------------------------------------------
    def predict(self, X: Any) -> np.ndarray:
        """The best translations that a search of `beam_size` finds.

        Parameters
        ----------
        X : list of str, or of lists of str
            As in `fit`. Tokens that were not there are unknown ones.

        Returns
        -------
        ndarray of shape (n_texts,), dtype object
            Texts, or lists of tokens, as y was. Unknown tokens are never written. A text has the same
            translation, to the bit, alone and among others.

        Raises
        ------
        TypeError, ValueError
            For a text that is none or has no token, which is named.

        Warns
        -----
        RuntimeWarning
            Where a translation has not ended within `max_length`.
        """
        return object_array([best[0].text for best in self.predict_n_best(X, 1)])

    def predict_n_best(self, X: Any, n: int = 5) -> list[list[Translation]]:
        """The best translations of each text.

        Parameters
        ----------
        X : list of str, or of lists of str
        n : int, default=5
            How many of each; of those that a search of `beam_size`, or of n if that is more, finds.

        Returns
        -------
        list of n_texts lists of (text, log_prob)
            Best first, by log_prob / length ** `length_penalty`; fewer than n where there are not so many.

        Raises
        ------
        TypeError, ValueError
            As of `predict`; if n is below 1.

        Warns
        -----
        RuntimeWarning
            As of `predict`.
        """
        check_is_fitted(self)
        check_count("n", n)
        found = self._search(self._source_tokens(X), n)
        flat = [text.tokens for texts in found for text in texts[:n]]
        words = iter(self._vocabulary.in_words(flat))
        return [[Translation(next(words), text.log_prob) for text in texts[:n]] for texts in found]

    def _search(self, sources: list[np.ndarray], n: int = 1) -> list[list[Text]]:
        """What a beam that is wide enough for n finds for each, best first."""
        vocabulary, found = self._vocabulary, dict[int, list[Text]]()
        with self._turn() as device:
            width = max(int(as_python(self.beam_size)), n)
            predictor, size = self._predictor(device), max(1, ROWS // width)
            n_threads = effective_threads(self.n_jobs)
            order = np.argsort([-len(tokens) for tokens in sources], kind="stable")
            for own in np.split(order, range(size, len(order), size)):
                choices = Choices(
                    len(own), width=width, max_steps=self.max_length_, end=vocabulary.end,
                    never=(0, vocabulary.begin), length_penalty=float(self.length_penalty),
                )  # fmt: skip
                mates = Sequences.from_tokens([sources[i] for i in own], predictor.network.dtype)
                decoder = Decoder(predictor.network, predictor.params, choices, mates, n_threads)
                begin = np.full(len(own), vocabulary.begin, TOKEN)
                found |= dict(zip(own.tolist(), decoder.write(begin), strict=True))
        cut = [i for i, texts in sorted(found.items()) if not texts[0].ended]
        if cut:
            warn_the_caller(
                f"{len(cut)} of {len(found)} translations did not end within max_length={self.max_length_}, "
                f"the first of them that of X[{cut[0]}]"
            )
        return [found[i] for i in range(len(sources))]

    # --- how probable they are ---------------------------------------------------------------------------
    def log_prob(self, X: Any, y: Any) -> np.ndarray:
        """Log-likelihoods of translations, in nats.

        Parameters
        ----------
        X, y : like in `fit`

        Returns
        -------
        ndarray of shape (n_texts,)
            Of all tokens of each target and of its end, given the tokens before.

        Raises
        ------
        TypeError, ValueError
            As of `fit`.
        """
        each, lengths = self._log_probs(X, y)
        return np.add.reduceat(each, np.cumsum(lengths) - lengths)

    def score(self, X: Any, y: Any) -> float:
        """The mean log-likelihood of a target token, in nats: higher is better.

        For the quality of translations see `bleu_score` and `chrf_score`.

        Parameters
        ----------
        X, y : like in `fit`

        Returns
        -------
        float

        Raises
        ------
        TypeError, ValueError
            As of `fit`.
        """
        each, _ = self._log_probs(X, y)
        return float(each.mean())

    def _log_probs(self, X: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Of all target tokens, and how many each text has."""
        check_is_fitted(self)
        data = self._data(*self._tokens_of(X, y))
        return self._run(data, log_prob=data.y)[:, 0], data.sequences.lengths

    def attention_weights(self, X: Any, y: Any = None) -> np.ndarray:
        """What each token of the translations looks back at.

        Parameters
        ----------
        X : like in `fit`
        y : like in `fit`, default=None
            Translations; None: those that are found.

        Returns
        -------
        ndarray of shape (n_texts,), dtype object
            Arrays of shape (n_target_tokens + 1, n_source_tokens): a row for each token of a translation and
            for its end, unless it has been cut; each adds up to 1.

        Raises
        ------
        TypeError, ValueError
            As of `fit`; without `attention`.
        """
        check_is_fitted(self)
        return object_array([weights for _, _, weights in self._aligned(X, y)])

    def _aligned(self, X: Any, y: Any = None) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Tokens of the sources, of the targets with their ends, and the weights."""
        if self._architecture["attention"] is None:
            raise ValueError("attention=None: this translator has no weights of attention")
        if y is None:
            sources = self._source_tokens(X)
            targets = [best[0].tokens for best in self._search(sources)]
        else:
            sources, targets = self._tokens_of(X, y)
        found = []
        for first in range(
            0, len(sources), BATCH
        ):  # the weights of a batch are as wide as its longest source
            some = slice(first, first + BATCH)
            data = self._data(sources[some], targets[some])
            parts = data.sequences.split(self._run(data, wanted="alignment"))
            found += [
                (s, t, a[:, : len(s)]) for s, t, a in zip(sources[some], targets[some], parts, strict=True)
            ]
        return found

    def _run(self, data: Data, **what: Any) -> np.ndarray:
        with self._turn() as device:
            threads = partial(effective_threads, self.n_jobs)
            return to_host(self._predictor(device).run(data.sequences, threads, mates=data.mates, **what)[0])
