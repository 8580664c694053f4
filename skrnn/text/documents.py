"""Documents as lists of tokens, as a `TokenEncoder`'s parameters say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

Split = Callable[[Any], Iterable[Any]]


def tokens_of(encoder: Any, X: Iterable[Any]) -> Iterator[list[Any]]:
    """Those of each document.

    Raises
    ------
    TypeError, ValueError
        If X is one text, or a document is no text, or no list of tokens; it is named by its number.
    """
    if isinstance(X, str | bytes):
        raise ValueError("X is one text: pass a list of documents, [X] for one of them")
    if not isinstance(X, Iterable) or isinstance(X, Mapping):
        raise TypeError(f"X must be documents, one after the other, got {_shown(X)}")
    of_text, of_tokens = encoder.analyzer in ("word", "char"), encoder.analyzer == "tokens"
    if len(getattr(X, "shape", ())) > 1 + of_tokens:
        raise ValueError(f"X must be documents, one after the other, got shape {getattr(X, 'shape', None)}")
    split = _split(encoder)
    for i, document in enumerate(X):
        if of_text and not isinstance(document, str):
            raise TypeError(f"document {i} must be a string, got {_shown(document)}")
        try:
            tokens = list(split(_checked_tokens(document, i) if of_tokens else document))
            hash(tuple(tokens))
        except Exception as error:
            error.add_note(f"It was raised for document {i}.")
            raise
        yield tokens


def library_of(encoder: Any) -> Any:
    """A library's tokenizer, or None."""
    theirs = hasattr(encoder.tokenizer, "encode") and hasattr(encoder.tokenizer, "decode")
    return encoder.tokenizer if theirs and encoder.analyzer == "word" else None


def _split(encoder: Any) -> Split:
    if callable(encoder.analyzer):
        return encoder.analyzer
    if encoder.analyzer == "tokens":
        return _without_stop_words(encoder, list)
    library, prepare, split = library_of(encoder), encoder.preprocessor, encoder.tokenizer
    if prepare is None and encoder.lowercase and library is None:
        prepare = str.lower
    if encoder.analyzer == "char":
        split = list
    elif library is not None:
        split = _pieces(library)
    elif split is None:
        try:
            pattern = re.compile(encoder.token_pattern)
        except re.error as error:
            raise ValueError(f"token_pattern={encoder.token_pattern!r}: {error}") from None
        if pattern.groups > 1:
            raise ValueError(f"token_pattern must have one group at most, got {pattern.groups}")
        split = pattern.findall
    split = _without_stop_words(encoder, split)
    return split if prepare is None else lambda text: split(prepare(text))


def _without_stop_words(encoder: Any, split: Split) -> Split:
    words = encoder.stop_words
    if words is None:
        return split
    if library_of(encoder) is not None:
        raise ValueError("stop_words are words, but the tokens of a library's tokenizer are pieces of them")
    out = ENGLISH_STOP_WORDS if isinstance(words, str) else frozenset(map(str, words))
    return lambda text: [token for token in split(text) if token not in out]


def _pieces(library: Any) -> Split:
    """Their numbers: a list, or what has it as ``ids``."""

    def numbers(text: str) -> list[int]:
        found = library.encode(text)
        return [int(number) for number in getattr(found, "ids", found)]

    return numbers


def _checked_tokens(document: Any, i: int) -> list[str]:
    if isinstance(document, str | bytes) or not isinstance(document, Iterable):
        raise TypeError(f"document {i} must be a list of tokens (analyzer='tokens'), got {_shown(document)}")
    tokens = list(document)
    for k, token in enumerate(tokens):
        if not isinstance(token, str):
            raise TypeError(f"document {i} must be a list of strings, but has {_shown(token)} at {k}")
    return tokens


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{text[:60]}{'...' * (len(text) > 60)} ({type(value).__name__})"
