"""French sentences and their English translations, split so that no sentence is on both sides."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from benchmarks import datasets

PREFIXES = (
    "i am ", "i m ", "he is", "he s ", "she is", "she s ", "you are", "you re ", "we are", "we re ",
    "they are", "they re ",
)  # fmt: skip
MOST_WORDS = 10
Pair = tuple[str, str]  # French, English


class Part(NamedTuple):
    """Pairs of one side of a split.

    Attributes
    ----------
    X, y : list of str
        Pair by pair, to learn from.
    sources : list of str
        Each once.
    references : list of lists of str
        All translations of each of them.
    """

    X: list[str]
    y: list[str]
    sources: list[str]
    references: list[list[str]]

    @classmethod
    def of(cls, pairs: Iterable[Pair]) -> Part:
        pairs = list(pairs)
        known = defaultdict(list)
        for french, english in pairs:
            if english not in known[french]:
                known[french].append(english)
        return cls([f for f, _ in pairs], [e for _, e in pairs], list(known), list(known.values()))


def all_pairs() -> list[Pair]:
    """Each once, in the order of the file."""
    return list(dict.fromkeys((french, english) for english, french in datasets.load_eng_fra()))


def tutorial_pairs() -> list[Pair]:
    """Those that PyTorch's tutorial on translation keeps: of fewer than ten words and signs, where the
    English one begins with "I am", "he is" and the like."""
    return [
        (french, english)
        for french, english in all_pairs()
        if plain(english).startswith(PREFIXES)
        and max(len(plain(text).split(" ")) for text in (french, english)) < MOST_WORDS
    ]


def plain(text: str) -> str:
    """As the tutorial does it: lower case, no accents, words and ends of sentences with blanks between."""
    letters = unicodedata.normalize("NFD", text.lower().strip())
    text = "".join(letter for letter in letters if unicodedata.category(letter) != "Mn")
    return re.sub(r"[^a-zA-Z.!?]+", " ", re.sub(r"([.!?])", r" \1", text)).strip()


def components(pairs: list[Pair]) -> np.ndarray:
    """A number for each pair, the same for pairs that sentences lead from one to the other."""
    parent: dict[tuple[int, str], tuple[int, str]] = {}

    def root(node: tuple[int, str]) -> tuple[int, str]:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for french, english in pairs:
        parent[root((0, french))] = root((1, english))
    numbers: dict[tuple[int, str], int] = {}
    return np.array([numbers.setdefault(root((0, french)), len(numbers)) for french, _ in pairs])


def split(pairs: list[Pair], n_test: int, seed: int = 0) -> tuple[Part, Part, Part]:
    """Training, validation and test parts, by components in a random order: of the latter two so many."""
    number = components(pairs)
    order = np.random.default_rng(seed).permutation(number.max() + 1)
    ends, parts = np.cumsum(np.bincount(number)[order]), np.zeros(len(order), int)
    parts[order[ends <= 2 * n_test]], parts[order[ends <= n_test]] = 1, 2
    of = parts[number]
    train, validation, test = (Part.of(pairs[i] for i in np.flatnonzero(of == part)) for part in range(3))
    return train, validation, test
