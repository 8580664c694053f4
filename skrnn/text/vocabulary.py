"""A vocabulary that a user gives: tokens in order, or their numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from numbers import Integral
from typing import Any

UNKNOWN = "<unk>"


def given_vocabulary(given: Any, of_pieces: bool) -> dict[Any, int]:
    """The number of each token, from 1 on; `of_pieces`: tokens are numbers, those of a library's pieces.

    Raises
    ------
    ValueError
        If it is no vocabulary.
    """
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise ValueError(f"vocabulary must be tokens or a dict of their numbers, got {given!r}")
    if isinstance(given, Mapping):
        vocabulary = dict(given)
        if vocabulary.pop(UNKNOWN, 0) != 0:
            raise ValueError(f"vocabulary must not number {UNKNOWN!r}: it is 0")
        if not all(isinstance(number, Integral) for number in vocabulary.values()) or sorted(
            vocabulary.values()
        ) != list(range(1, len(vocabulary) + 1)):
            raise ValueError(
                f"vocabulary must number its tokens from 1 to {len(vocabulary)}, each once; 0 stands for "
                "what it has not"
            )
        vocabulary = {token: int(number) for token, number in vocabulary.items()}
    else:
        tokens = sorted(given, key=str) if isinstance(given, Set) else list(given)
        tokens = tokens[1:] if tokens and _is_unknown(tokens[0]) else tokens
        if any(map(_is_unknown, tokens)):
            raise ValueError(f"vocabulary has {UNKNOWN!r} behind other tokens: it is 0")
        if any(isinstance(token, Iterable) and not isinstance(token, str) for token in tokens):
            raise ValueError("vocabulary must be tokens, one after the other")
        vocabulary = {token: number for number, token in enumerate(tokens, 1)}
        if len(vocabulary) < len(tokens):
            twice = next(token for token, n in Counter(tokens).items() if n > 1)
            raise ValueError(f"vocabulary has {twice!r} twice")
    if not vocabulary:
        raise ValueError("vocabulary is empty")
    if of_pieces and not all(isinstance(token, Integral) for token in vocabulary):
        raise ValueError("vocabulary of a library's tokenizer must be the numbers of its pieces")
    return vocabulary


def _is_unknown(token: Any) -> bool:
    return isinstance(token, str) and token == UNKNOWN
