"""From texts to sequences of integers, one for each word, character or item, and back."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils import Tags
from sklearn.utils._param_validation import HasMethods, Interval, RealNotInt, StrOptions
from sklearn.utils.validation import check_is_fitted

from ..estimators.declare import parameter, with_parameters
from ..estimators.parameters import COUNT, as_python
from ..estimators.versions import Versioned
from ..sequences import TOKEN, object_array
from .documents import library_of, tokens_of
from .vectors import vectors_of

UNKNOWN = "<unk>"
FREQUENCY = Interval(RealNotInt, 0.0, 1.0, closed="both"), COUNT
WORDS_AND_SIGNS = r"\w+|[^\w\s]"
LITTLE = 0.5  # share of tokens with vectors, below which something may be wrong: the language, the spelling


@with_parameters
class TokenEncoder(Versioned, TransformerMixin, BaseEstimator):
    """Texts as sequences of integers: each token by its place in a vocabulary that is learned from the texts.

    Names and meanings are those of scikit-learn's `CountVectorizer`, of whose documents this keeps the order.
    Token 0 stands for all that the vocabulary has not; an unknown token is never an error. The others are
    numbered from 1 on, the most frequent first.

    {parameters}
    Examples
    --------
    >>> from skrnn.text import TokenEncoder
    >>> encoder = TokenEncoder().fit(["To be, or not to be.", "Not now."])
    >>> encoder.transform(["to be now or never"])[0]
    array([4, 2, 6, 7, 0], dtype=int32)
    >>> encoder.inverse_transform(encoder.transform(["Not now, or never"]))
    ['not now , or <unk>']
    """

    analyzer: Literal["word", "char", "tokens"] | Callable[[Any], Iterable[Any]] = parameter(
        'What a token is: of "word", what `token_pattern` or `tokenizer` finds; of "char", each character; '
        'of "tokens", each item of a document that is a list of strings, as it is; or what a function makes '
        "of a document.",
        callable,
        default="word",
        kind='{"word", "char", "tokens"} or callable',
        kw_only=False,
    )
    lowercase: bool = parameter(
        'Whether words and characters are those of the lower-cased text; not with "tokens", a '
        "`preprocessor` or a library's `tokenizer`.",
        default=True,
    )
    preprocessor: Callable[[str], str] | None = parameter(
        "What is done to a text first, in the place of lower-casing it.",
        callable,
        default=None,
        kind="callable or None",
    )
    tokenizer: Any = parameter(
        "For words: a function from a text to its tokens, in the place of `token_pattern`; or a library's "
        "tokenizer with methods ``encode`` and ``decode`` (Hugging Face's tokenizers, SentencePiece), whose "
        "pieces are then the tokens.",
        callable,
        HasMethods(["encode", "decode"]),
        None,
        default=None,
        kind="callable, tokenizer or None",
    )
    token_pattern: str = parameter(
        "Regular expression that finds words, with one group at most. The default finds words of any length "
        "and, one by one, signs of punctuation, which say something to a network that reads in order.",
        str,
        default=WORDS_AND_SIGNS,
    )
    stop_words: Any = parameter(
        "Words that are left out: a list of them, or scikit-learn's list for English.",
        StrOptions({"english"}),
        list,
        set,
        frozenset,
        tuple,
        np.ndarray,
        None,
        default=None,
        kind='{"english"}, list of str or None',
    )
    min_df: float | int = parameter(
        "Tokens in fewer documents are unknown: a number, or a share of the documents.",
        *FREQUENCY,
        default=1,
        kind="int or float in [0, 1]",
    )
    max_df: float | int = parameter(
        "Tokens in more documents are unknown: likewise.",
        *FREQUENCY,
        default=1.0,
        kind="int or float in [0, 1]",
    )
    max_features: int | None = parameter(
        "Size of the vocabulary at most, of the tokens that occur most often; None: no limit.",
        COUNT,
        default=None,
    )
    vocabulary: Any = parameter(
        "The vocabulary, if it is known: tokens in order, which are numbered from 1 on, or a dict of their "
        "numbers, 1 to as many as there are. Nothing is learned then.",
        default=None,
        kind="iterable of str, dict or None",
    )
    max_length: int | None = parameter(
        "Tokens of a document that are kept, the first ones; None: all. Not with a target per token, which "
        "would not be cut.",
        COUNT,
        default=None,
    )

    _attributes = """
vocabulary_ : dict
    The number of each token, from 1 on.
"""

    vocabulary_: dict[Any, int]

    # --- learning ------------------------------------------------------------------------------------
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Iterable[Any], y: Any = None) -> Self:
        """Learn the vocabulary.

        Parameters
        ----------
        X : iterable of str, or of lists of str with ``analyzer="tokens"``
            The documents. They are gone through once: they may come from a generator.
        y : array-like, default=None
            Only looked at with `max_length`.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a document is no text, or no list of tokens, which is named; if no token is left.
        """
        if self.max_length is not None and y is not None and any(_is_per_step(item) for item in y):
            raise ValueError(
                "max_length cuts documents, but not y, which has a target for each token: leave it None"
            )
        if self.vocabulary is not None:
            self.vocabulary_ = self._given_vocabulary()
            return self
        n_documents, n_times, n_within = 0, Counter[Any](), Counter[Any]()
        for tokens in tokens_of(self, X):
            n_documents += 1
            n_times.update(tokens)
            n_within.update(set(tokens))
        if not n_times:
            raise ValueError(f"there is no vocabulary in {n_documents} documents: none of them has a token")
        least, most = (
            bound * n_documents if isinstance(bound, float) else bound
            for bound in (as_python(self.min_df), as_python(self.max_df))
        )
        if least > most:
            raise ValueError(f"max_df={self.max_df} leaves out what min_df={self.min_df} asks for")
        kept = [token for token in n_times if least <= n_within[token] <= most]
        kept.sort(key=lambda token: (-n_times[token], str(token)))
        kept = kept[: as_python(self.max_features)]
        if not kept:
            raise ValueError("there is no vocabulary: min_df and max_df leave no token")
        self.vocabulary_ = {token: number for number, token in enumerate(kept, 1)}
        return self

    def _take_vocabulary(self) -> None:
        """That which is given needs no fit."""
        if self.vocabulary is not None and not hasattr(self, "vocabulary_"):
            self._validate_params()
            self.vocabulary_ = self._given_vocabulary()
        check_is_fitted(self)

    def _given_vocabulary(self) -> dict[Any, int]:
        given = self.vocabulary
        if isinstance(given, str):
            raise ValueError("vocabulary must be tokens or a dict of their numbers, not one string")
        if isinstance(given, Mapping):
            vocabulary = {token: int(number) for token, number in given.items() if token != UNKNOWN}
            if sorted(vocabulary.values()) != list(range(1, len(vocabulary) + 1)):
                raise ValueError(
                    f"vocabulary must number its tokens from 1 to {len(vocabulary)}, each once; 0 stands for "
                    "what it has not"
                )
        else:
            tokens = [token for token in given if token != UNKNOWN]
            vocabulary = {token: number for number, token in enumerate(tokens, 1)}
            if len(vocabulary) < len(tokens):
                twice = next(token for token, n in Counter(tokens).items() if n > 1)
                raise ValueError(f"vocabulary has {twice!r} twice")
        if not vocabulary:
            raise ValueError("vocabulary is empty")
        return vocabulary

    # --- there and back ------------------------------------------------------------------------------
    def transform(self, X: Iterable[Any]) -> np.ndarray:
        """The numbers of the documents' tokens.

        Parameters
        ----------
        X : like in `fit`

        Returns
        -------
        ndarray of shape (n_documents,), dtype object
            Arrays of shape (n_tokens,), int32, one without elements for a document that has no token.

        Raises
        ------
        TypeError, ValueError
            As of `fit`.
        """
        self._take_vocabulary()
        number_of = self.vocabulary_.get
        rows = [np.array([number_of(token, 0) for token in tokens], TOKEN) for tokens in tokens_of(self, X)]
        return object_array(rows)

    def inverse_transform(self, X: Iterable[Any]) -> list[Any]:
        """Texts of numbers.

        Parameters
        ----------
        X : iterable of arrays of int

        Returns
        -------
        list
            Of strings: words with blanks between them, characters without, or what a library's tokenizer
            decodes; of lists with ``analyzer="tokens"`` or a function. "<unk>" stands for unknown tokens,
            which a library's tokenizer leaves out.

        Raises
        ------
        ValueError
            If a number is none of the vocabulary's; the document and the place are named.
        """
        self._take_vocabulary()
        library = library_of(self)
        names = [UNKNOWN, *sorted(self.vocabulary_, key=self.vocabulary_.__getitem__)]
        texts: list[Any] = []
        for i, row in enumerate(X):
            numbers = np.asarray(row)
            if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
                raise ValueError(f"document {i} must be integers of shape (n_tokens,), got {numbers!r}")
            wrong = np.flatnonzero((numbers < 0) | (numbers >= len(names)))
            if len(wrong):
                k = wrong[0]
                raise ValueError(
                    f"document {i} has {numbers[k]} at {k}, but tokens are 0 to {len(names) - 1}"
                )
            if library is not None:
                texts.append(library.decode([names[number] for number in numbers if number > 0]))
                continue
            tokens = [names[number] for number in numbers]
            between = {"word": " ", "char": ""}.get(str(self.analyzer))
            texts.append(tokens if between is None else between.join(tokens))
        return texts

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """The tokens in the order of their numbers, the unknown one first.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        ndarray of shape (n_tokens,), dtype object
            Strings; of a library's tokenizer its pieces.
        """
        self._take_vocabulary()
        library = library_of(self)
        tokens = sorted(self.vocabulary_, key=self.vocabulary_.__getitem__)
        if library is not None:
            name: Any = getattr(library, "id_to_token", None) or getattr(library, "id_to_piece", str)
            tokens = [name(token) for token in tokens]
        return object_array([UNKNOWN, *map(str, tokens)])

    def vectors(self, source: Any) -> np.ndarray:
        """A table of pre-trained vectors for the vocabulary.

        Parameters
        ----------
        source : mapping, gensim's KeyedVectors, or path
            Words to vectors of one length; or a text file of word2vec's or GloVe's format: a word and its
            numbers in each line, with or without a first line of two numbers, as it is or as ``.gz``.

        Returns
        -------
        ndarray of shape (1 + len(vocabulary_), D), float32
            Row i is the vector of token i. Tokens that the source has not, and the unknown one, get the mean
            of those that it has. A token is looked for as it is, then in lower case. The array's attribute
            `n_found` says how many were found.

        Raises
        ------
        TypeError, ValueError, OSError
            If the source is none of these or cannot be read, or has none of the tokens.

        Warns
        -----
        UserWarning
            Where it has fewer than half of them.
        """
        names = self.get_feature_names_out()
        other = [name.lower() for name in names]
        found = vectors_of(source, {*names[1:], *other[1:]})
        rows = [found.get(name, found.get(lower)) for name, lower in zip(names[1:], other[1:], strict=True)]
        known = [row for row in rows if row is not None]
        if not known:
            raise ValueError(f"source has none of the {len(rows)} tokens")
        if len(known) < LITTLE * len(rows):
            warnings.warn(f"source has {len(known)} of {len(rows)} tokens", stacklevel=2)
        mean = np.mean(known, axis=0, dtype=np.float64)
        table = np.array([mean, *(mean if row is None else row for row in rows)], np.float32).view(Vectors)
        table.n_found = len(known)
        return table

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        tags.requires_fit = self.vocabulary is None
        return tags


class Vectors(np.ndarray):
    """A table that knows of how many tokens the vectors were found."""

    n_found: int


def _is_per_step(item: Any) -> bool:
    return not isinstance(item, str | bytes) and np.ndim(item) > 0
