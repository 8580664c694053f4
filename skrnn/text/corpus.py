"""What a language model reads of texts, and what it is to predict."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ..sequences import TOKEN, Sequences, Targets


class Vocabulary(NamedTuple):
    """Of an encoder with so many tokens: 0 is the unknown one; two more begin a text and end a document."""

    n_known: int

    @property
    def begin(self) -> int:
        return self.n_known + 1

    @property
    def end(self) -> int:
        return self.n_known + 2

    @property
    def n_tokens(self) -> int:
        return self.n_known + 3


class Corpus(NamedTuple):
    """Texts one behind the other, each as read and as predicted, a token later.

    Attributes
    ----------
    read, next : ndarray of shape (n,), int32
        A text is read from its `begin` on; what follows on its last token is predicted of documents, its
        `end`, and not of a text that goes on.
    lengths : ndarray of shape (n_texts,), intp
        Tokens of each that are predicted.
    """

    read: np.ndarray
    next: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, texts: Iterable[np.ndarray], vocabulary: Vocabulary, ends: bool) -> Corpus:
        """Of the tokens of each; `ends`: whether they are documents."""
        begin, end = np.array([[vocabulary.begin], [vocabulary.end]], TOKEN)
        read, after = list[np.ndarray](), list[np.ndarray]()
        for tokens in texts:
            read += [begin, tokens] if ends else [begin[: len(tokens)], tokens[:-1]]
            after += [tokens, end] if ends else [tokens]
        lengths = np.array([len(tokens) + ends for tokens in after[:: 1 + ends]], np.intp)
        return cls(np.concatenate(read), np.concatenate(after), lengths)

    def cut(self, starts: np.ndarray, lengths: np.ndarray, dtype: np.dtype) -> tuple[Sequences, Targets]:
        """Stretches of it, for a network of that type."""
        values = np.empty((len(self.read), 0), dtype)
        tokens, after = (np.ascontiguousarray(part[:, None]) for part in (self.read, self.next))
        return Sequences(values, starts, lengths, tokens=tokens), Targets(after)

    @property
    def starts(self) -> np.ndarray:
        """Where each text begins."""
        return np.cumsum(self.lengths) - self.lengths


def streams(begin: int, end: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts and lengths of n stretches of a text, which are as long as one another but for a token."""
    bounds = np.linspace(begin, end, n + 1).astype(np.intp)
    return bounds[:-1], np.diff(bounds)


def blocks(starts: np.ndarray, lengths: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts and lengths of the blocks that texts are cut into, of `size` tokens but for each last one."""
    n_blocks = -(-lengths // size)
    number = np.arange(n_blocks.sum()) - np.repeat(np.cumsum(n_blocks) - n_blocks, n_blocks)
    own = np.repeat(starts, n_blocks) + number * size
    return own, np.minimum(size, np.repeat(starts + lengths, n_blocks) - own)


def texts_of(X: Any, name: str = "X") -> tuple[list[Any], bool]:
    """The texts, and whether X is one of them and no list.

    Raises
    ------
    TypeError
        If X is neither.
    """
    if isinstance(X, str):
        return [X], True
    if isinstance(X, bytes) or not isinstance(X, Iterable):
        raise TypeError(f"{name} must be a text or a list of texts, got {type(X).__name__}")
    return list(X), False
