"""From texts to sequences of integers, one for each word, character or item, and back."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
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
from .vocabulary import UNKNOWN, given_vocabulary

FREQUENCY = Interval(RealNotInt, 0.0, 1.0, closed="both"), COUNT
WORDS_AND_SIGNS = r"\w+|[^\w\s]"
LITTLE = 0.5  # share of tokens with vectors, below which something may be wrong: the language, the spelling


@with_parameters
class TokenEncoder(  # type: ignore[call-arg]  # which mypy cannot see
    Versioned, TransformerMixin, BaseEstimator, auto_wrap_output_keys=None
):
    """Texts as sequences of integers: each token by its place in a vocabulary that is learned from the texts.

    Names and meanings are those of scikit-learn's `CountVectorizer`, of whose documents this keeps the order.
    Token 0 stands for all that the vocabulary has not, and for "<unk>" in a text; an unknown token is never
    an error. The others are numbered from 1 on, the most frequent first. Estimators read these sequences with
    their parameter `embedding_size`.

    {parameters}
    Examples
    --------
    >>> from skrnn.text import TokenEncoder
    >>> encoder = TokenEncoder().fit(["To be, or not to be.", "Not now."])
    >>> encoder.transform(["to be now or never"])[0]
    array([4, 2, 6, 7, 0], dtype=int32)
    >>> encoder.inverse_transform(encoder.transform(["Not now, or never"]))
    ['not now , or <unk>']

    In a pipeline:

    >>> from sklearn.pipeline import make_pipeline
    >>> from skrnn import GRUClassifier
    >>> texts = ["a good film", "a bad film", "very good", "very bad"] * 5
    >>> model = make_pipeline(TokenEncoder(), GRUClassifier(embedding_size=8, random_state=0))
    >>> model.fit(texts, ["+", "-"] * 10).predict(["good, very good", "so bad"])
    array(['+', '-'], dtype='<U1')
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
        "and, one by one, signs of punctuation, which say something to a network that reads in order. "
        "Scripts with combining signs (Hindi, decomposed accents) need one of their own, or a library's "
        "tokenizer.",
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
        "The vocabulary, if it is known: tokens in order, a set of them in the order of the alphabet, "
        "numbered from 1 on, or a dict of their numbers, 1 to as many as there are. Nothing is learned then.",
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
n_vectors_ : int
    Of `vectors`: how many tokens the last source had.
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
            If a document is no text, or no list of tokens, which is named; if no token is left, `min_df` asks
            for more than `max_df` leaves, or `vocabulary` is none; if `max_length` would cut documents whose
            y has a target for each token.
        """
        if self.vocabulary is not None:
            vocabulary = given_vocabulary(self.vocabulary, library_of(self) is not None)
            for _ in tokens_of(self, X):  # are they documents?
                pass
            self.vocabulary_ = vocabulary
            return self
        length, n_tokens = as_python(self.max_length), list[int]()
        n_times, n_within = Counter[Any](), Counter[Any]()
        for tokens in tokens_of(self, X):
            n_tokens.append(len(tokens))
            kept = [token for token in tokens[:length] if token != UNKNOWN]
            n_times.update(kept)
            n_within.update(set(kept))
        if length is not None and y is not None and max(n_tokens, default=0) > length:
            y = list(y)
            if len(y) == len(n_tokens) and all(_size(item) == n for item, n in zip(y, n_tokens, strict=True)):
                raise ValueError(
                    "max_length cuts documents, but not y, which has a target for each token: leave it None"
                )
        n_documents = len(n_tokens)
        if not n_times:
            raise ValueError(f"there is no vocabulary in {n_documents} documents: none of them has a token")
        least, most = (
            bound * n_documents if isinstance(bound, float) else bound
            for bound in (as_python(self.min_df), as_python(self.max_df))
        )
        if least > most:
            raise ValueError(f"max_df={self.max_df} leaves out what min_df={self.min_df} asks for")
        known = [token for token in n_times if least <= n_within[token] <= most]
        known.sort(key=lambda token: (-n_times[token], str(token)))
        known = known[: as_python(self.max_features)]
        if not known:
            raise ValueError("there is no vocabulary: min_df and max_df leave no token")
        self.vocabulary_ = {token: number for number, token in enumerate(known, 1)}
        return self

    def fit_transform(self, X: Iterable[Any], y: Any = None) -> np.ndarray:
        """Learn the vocabulary, and the numbers of the same documents; see `fit` and `transform`.

        Parameters
        ----------
        X, y : like in `fit`
            Documents that come from a generator are kept meanwhile.

        Returns
        -------
        ndarray of shape (n_documents,), dtype object
        """
        X = list(X) if isinstance(X, Iterator) else X
        return self.fit(X, y).transform(X)

    def _known_vocabulary(self) -> dict[Any, int]:
        """That of fit; one that is given needs none."""
        if self.vocabulary is not None and not hasattr(self, "vocabulary_"):
            self._validate_params()
            return given_vocabulary(self.vocabulary, library_of(self) is not None)
        check_is_fitted(self)
        return self.vocabulary_

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
        number_of, length = self._known_vocabulary().get, as_python(self.max_length)
        rows = (tokens[:length] for tokens in tokens_of(self, X))
        return object_array([np.array([number_of(token, 0) for token in row], TOKEN) for row in rows])

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
        vocabulary, library = self._known_vocabulary(), library_of(self)
        names = [UNKNOWN, *sorted(vocabulary, key=vocabulary.__getitem__)]
        texts: list[Any] = []
        for i, row in enumerate(X):
            try:
                numbers = np.asarray(row)
            except ValueError as error:  # lists of different lengths
                raise ValueError(f"document {i} must be integers: {error}") from None
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
            between = " " if self.analyzer == "word" else "" if self.analyzer == "char" else None
            texts.append(tokens if between is None else between.join(map(str, tokens)))
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
        vocabulary, library = self._known_vocabulary(), library_of(self)
        tokens = sorted(vocabulary, key=vocabulary.__getitem__)
        if library is not None:
            name: Any = getattr(library, "id_to_token", None) or getattr(library, "id_to_piece", str)
            tokens = [name(token) for token in tokens]
        return object_array([UNKNOWN, *map(str, tokens)])

    def set_output(self, *, transform: str | None = None) -> Self:
        """Nothing changes: sequences of integers are no columns of a frame.

        Parameters
        ----------
        transform : ignored

        Returns
        -------
        self
        """
        return self

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
            of those that it has. A token is looked for as it is, then in lower case. The encoder's attribute
            `n_vectors_` says how many were found.

        Raises
        ------
        TypeError, ValueError, OSError
            If the source is none of these or cannot be read, or has none of the tokens.

        Warns
        -----
        UserWarning
            Where it has fewer than half of them.

        Examples
        --------
        >>> from skrnn import GRUClassifier
        >>> from skrnn.text import TokenEncoder
        >>> encoder = TokenEncoder().fit(["good film", "bad film"])
        >>> table = encoder.vectors({"good": [1.0, 0.0], "bad": [-1.0, 0.0], "film": [0.0, 1.0]})
        >>> table.shape, encoder.n_vectors_
        ((4, 2), 3)
        >>> model = GRUClassifier(embedding_size="auto", embedding_weights=table, freeze_embedding=True)
        >>> model.fit(encoder.transform(["good film", "bad film"]), [1, 0]).n_tokens_
        [4]
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
        self.n_vectors_ = len(known)
        return np.array([mean, *(mean if row is None else row for row in rows)], np.float32)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        tags.requires_fit = self.vocabulary is None
        return tags


def _size(item: Any) -> int:
    """Of a target per token; -1 of one that is none."""
    return len(item) if hasattr(item, "__len__") and not isinstance(item, str | bytes) else -1
