"""What a word is to a tagger: itself, how it begins and ends, its shape."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from skrnn.text import TokenEncoder


def shape(word: str) -> str:
    """Small letters as x, digits as d, repetitions once: "mp3" is "xd"."""
    return re.sub(r"(.)\1+", r"\1", re.sub("[a-z]", "x", re.sub("[0-9]", "d", word)))


VIEWS: dict[str, Callable[[str], str]] = {
    "word": str,
    "prefix": lambda word: word[:3],
    "suffix": lambda word: word[-3:],
    "shape": shape,
}


class ViewEncoder(TransformerMixin, BaseEstimator):
    """Sentences as arrays (T, n_views) of tokens: for each word one of every view, numbered by itself.

    What fewer than `min_df` sentences have is unknown.
    """

    def __init__(self, views: Sequence[str] = tuple(VIEWS), min_df: int = 2) -> None:
        self.views, self.min_df = views, min_df

    def fit(self, X: Sequence[Sequence[str]], y: Any = None) -> Self:
        self.encoders_ = [
            TokenEncoder(partial(seen, VIEWS[view]), min_df=self.min_df).fit(X) for view in self.views
        ]
        return self

    def transform(self, X: Sequence[Sequence[str]]) -> list[np.ndarray]:
        columns = [encoder.transform(X) for encoder in self.encoders_]
        return [np.column_stack(own) for own in zip(*columns)]


def seen(view: Callable[[str], str], words: Sequence[str]) -> list[str]:
    return [view(word) for word in words]


def features(words: Sequence[str]) -> list[dict[str, Any]]:
    """For taggers without a network, the usual ones made by hand: of each word and of its neighbours."""
    found: list[dict[str, Any]] = []
    for t, word in enumerate(words):
        own: dict[str, Any] = {"bias": 1.0, "lower": word.lower(), "digit": word.isdigit()}
        for n in 1, 2, 3:
            own |= {f"prefix {n}": word[:n], f"suffix {n}": word[-n:]}
        for step in -1, 0, 1:
            if 0 <= t + step < len(words):
                other = words[t + step]
                own |= {f"{step} word": other, f"{step} shape": shape(other), f"{step} suffix": other[-3:]}
            else:
                own[f"{step} end"] = True
        found.append(own)
    return found
