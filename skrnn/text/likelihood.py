"""How probable texts are by a language model."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from itertools import islice
from math import exp, log
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..estimators.devices import to_host
from ..estimators.fitted import Fitted
from ..estimators.n_jobs import effective_threads
from ..estimators.parameters import check_count
from ..sequences import object_array
from .corpus import Vocabulary, blocks, texts_of


class Likelihood(Fitted):
    """Mixin of language models."""

    n_jobs: Any
    encoder_: Any
    _one_text: bool

    @property
    @abstractmethod
    def _vocabulary(self) -> Vocabulary: ...

    @abstractmethod
    def _tokens_of(self, texts: list[Any]) -> list[np.ndarray]: ...

    def log_prob(
        self, X: Any, *, per_token: bool = False, context: Any = None, block_size: int | None = None
    ) -> Any:
        """Log-likelihoods, in nats.

        Parameters
        ----------
        X : str or list of str
            One text, or several. Of a model of documents their end counts, too, as one more token; of a model
            of one text a text goes on behind its last token.
        per_token : bool, default=False
            Whether each token's is wanted, and not their sum.
        context : str or list of str, default=None
            What stands before the text, or before each of the texts: it is read, and does not count. None: a
            text begins.
        block_size : int, default=None
            Tokens after which the state is forgotten: a block of so many begins from nothing but the token
            before it, as networks without a carried state are scored, for which this flatters less. None: the
            state is carried through each text.

        Returns
        -------
        float, or ndarray of shape (n_texts,); with `per_token` ndarray of shape (n_tokens,), or 1-D object
        array of n_texts arrays

        Raises
        ------
        TypeError, ValueError
            If a text is none, which is named; if there are not as many contexts as texts.

        Examples
        --------
        >>> from skrnn.text import GRULanguageModel
        >>> model = GRULanguageModel(8, max_iter=1, random_state=0).fit("to be, or not to be " * 20)
        >>> model.log_prob("to be", per_token=True).shape
        (5,)
        """
        found, one = self._log_probs(X, context, block_size)
        if per_token:
            return found[0] if one else object_array(found)
        sums = np.array([each.sum() for each in found])
        return float(sums[0]) if one else sums

    def score(self, X: Any, y: Any = None, *, context: Any = None, block_size: int | None = None) -> float:
        """The mean log-likelihood of a token, in nats: higher is better.

        Parameters
        ----------
        X, context, block_size
            See `log_prob`.
        y : ignored

        Returns
        -------
        float

        Raises
        ------
        TypeError, ValueError
            As of `log_prob`; if there is no token.
        """
        each = np.concatenate(self._log_probs(X, context, block_size)[0])
        if not len(each):
            raise ValueError("X has no token, of which the likelihood could be the mean")
        return float(each.mean())

    def perplexity(self, X: Any, *, context: Any = None, block_size: int | None = None) -> float:
        """How many tokens the next one is drawn from, as it were: exp(-`score`).

        Parameters
        ----------
        X, context, block_size
            See `log_prob`.

        Returns
        -------
        float

        Raises
        ------
        TypeError, ValueError
            As of `score`.
        """
        return exp(-self.score(X, context=context, block_size=block_size))

    def bits_per_character(self, X: Any, *, context: Any = None, block_size: int | None = None) -> float:
        """The likelihood of X by its characters, so that models of words and of characters can be compared.

        Parameters
        ----------
        X : str or list of str
        context, block_size
            See `log_prob`.

        Returns
        -------
        float
            -log2 p(X) divided by the number of characters. Where words are unknown, or their encoder drops
            or lower-cases something, it is too low: what is lost costs nothing.

        Raises
        ------
        TypeError, ValueError
            As of `score`; for lists of tokens.
        """
        texts, one = texts_of(X)
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("bits_per_character needs texts: lists of tokens have no characters")
        n = sum(map(len, texts))
        if not n:
            raise ValueError("X has no character")
        X = texts[0] if one else texts  # it may have come from a generator
        log_prob = np.sum(self.log_prob(X, context=context, block_size=block_size))
        return float(-log_prob / log(2) / n)

    def _log_probs(self, X: Any, context: Any, block_size: int | None) -> tuple[list[np.ndarray], bool]:
        """Of the tokens of each text, and whether X is one."""
        check_is_fitted(self)
        if block_size is not None:
            check_count("block_size", block_size)
        texts, one = texts_of(X)
        contexts = self._contexts(context, len(texts), one)
        own = [
            blocks(np.concatenate([before, tokens]), len(before), block_size) if len(tokens) else []
            for before, tokens in zip(contexts, self._tokens_of(texts), strict=True)
        ]
        every = [block for each in own for block in each]
        if not every:
            return [np.zeros(0) for _ in texts], one
        with self._turn() as device:
            predictor = self._predictor(device)
            sequences, y = self._vocabulary.read([block.tokens for block in every], predictor.network.dtype)
            threads = partial(effective_threads, self.n_jobs)
            rows = to_host(predictor.run(sequences, threads, log_prob=y)[0]).reshape(-1)
        counted = (part[block.skipped :] for block, part in zip(every, sequences.split(rows), strict=True))
        return [np.concatenate([np.zeros(0), *islice(counted, len(each))]) for each in own], one

    def _contexts(self, context: Any, n: int, one: bool) -> list[np.ndarray]:
        if context is None:
            return [np.zeros(0, np.int32)] * n
        found, is_one = texts_of(context, "context")
        if is_one != one or len(found) != n:
            raise ValueError(f"{n} texts need as many contexts in the same form, got {len(found)}")
        return list(self.encoder_.transform(found))
