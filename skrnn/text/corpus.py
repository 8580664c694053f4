"""What models of texts read of them, and what they are to predict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ..sequences import TOKEN, Sequences, Targets
from .words import tidy

BEGIN, END = "<begin>", "<end>"  # what the tokens are called that no encoder has


class Vocabulary(NamedTuple):
    """Of an encoder with so many tokens: 0 is the unknown one; two more begin a text and end a document.
    `tidies`: whether its tokens are words and signs, which are put together again as people write them."""

    encoder: Any
    n_known: int
    tidies: bool = False

    @property
    def begin(self) -> int:
        return self.n_known + 1

    @property
    def end(self) -> int:
        return self.n_known + 2

    @property
    def n_tokens(self) -> int:
        return self.n_known + 3

    def names(self) -> list[str]:
        """Of all tokens."""
        return [*self.encoder.get_feature_names_out(), BEGIN, END]

    def ended(self, tokens: np.ndarray) -> np.ndarray:
        """A document's tokens, and its end."""
        return np.concatenate([tokens, np.array([self.end], TOKEN)])

    def in_words(self, texts: Iterable[Sequence[int] | np.ndarray]) -> list[Any]:
        """What tokens say, which may have an end behind them."""
        known = [np.array([token for token in tokens if token <= self.n_known], TOKEN) for tokens in texts]
        found = self.encoder.inverse_transform(known)
        return [tidy(text) for text in found] if self.tidies else found

    def read(self, texts: Sequence[np.ndarray], dtype: np.dtype) -> tuple[Sequences, Targets]:
        """Texts that are not empty as a network of that type reads them, each from the begin on, and what it
        is to predict: their tokens."""
        lengths = np.array([len(tokens) for tokens in texts], np.intp)
        after = np.concatenate(texts, dtype=TOKEN)
        tokens, starts = np.empty_like(after), np.cumsum(lengths) - lengths
        tokens[1:], tokens[starts] = after[:-1], self.begin
        values = np.empty((len(tokens), 0), dtype)
        return Sequences(values, starts, lengths, tokens=tokens[:, None]), Targets(after[:, None])


def streams(tokens: np.ndarray, n: int) -> list[np.ndarray]:
    """A text cut into n, which are as long as one another but for a token."""
    return np.array_split(tokens, n)


class Block(NamedTuple):
    """Tokens, of which the first ones are read and do not count."""

    tokens: np.ndarray
    skipped: int


def blocks(tokens: np.ndarray, skipped: int, size: int | None) -> list[Block]:
    """A text whose first tokens do not count, whole or cut into blocks of `size` that do, each behind the
    token before it."""
    if size is None:
        return [Block(tokens, skipped)]
    found = []
    for start in range(skipped, len(tokens), size):
        before = min(start, 1)
        found.append(Block(tokens[start - before : start + size], before))
    return found


def texts_of(X: Any, name: str = "X") -> tuple[list[Any], bool]:
    """The texts, and whether X is one of them and no list.

    Raises
    ------
    TypeError, ValueError
        If X is neither, or of several columns.
    """
    if isinstance(X, str):
        return [X], True
    shape: tuple[int, ...] = getattr(X, "shape", (0,))
    if isinstance(X, bytes | Mapping | Set) or not isinstance(X, Iterable) or not shape:
        raise TypeError(f"{name} must be a text or a list of texts, got {type(X).__name__}")
    if hasattr(X, "columns") or (len(shape) > 1 and shape[1] == 1) or len(shape) > 2:
        raise ValueError(f"{name} must be texts, one after the other, got shape {shape}: pass one column")
    return list(X), False


def checked(texts: Any, name: str) -> list[Any]:
    """Several texts, or lists of tokens."""
    found, one = texts_of(texts, name)
    if one:
        raise ValueError(f"{name} is one text: pass a list of texts, [{name}] for one of them")
    return found


@contextmanager
def named(name: str) -> Iterator[None]:
    """What is raised meanwhile says which argument it is about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        what = error.args[0] if error.args else None
        if isinstance(what, str) and not what.startswith(name):
            error.args = f"{name}: {what}", *error.args[1:]
        raise
