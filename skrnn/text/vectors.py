"""Pre-trained vectors of words: what a source has of them."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np


def vectors_of(source: Any, wanted: set[str]) -> dict[str, np.ndarray]:
    """The vectors of those tokens that a source has.

    Parameters
    ----------
    source : mapping, gensim's KeyedVectors or Word2Vec, or path of a file
        See `skrnn.text.TokenEncoder.vectors`.
    wanted : set of str

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If vectors are not of one length, or a line of a file cannot be read; the line or the token is named.
    OSError
        If the file cannot be opened.
    """
    source = getattr(source, "wv", source)  # of a Word2Vec model
    found: dict[str, np.ndarray] = {}
    if isinstance(source, str | os.PathLike):
        pairs = _lines(Path(source), wanted)
    elif isinstance(source, Mapping) or hasattr(source, "key_to_index"):
        known = source if isinstance(source, Mapping) else source.key_to_index
        pairs = ((token, source[token], repr(token)) for token in sorted(wanted) if token in known)
    else:
        raise TypeError(
            "source must be a mapping of words to vectors, gensim's KeyedVectors or the path of a text file "
            f"of word2vec's or GloVe's format, got {type(source).__name__}"
        )
    size = None
    for token, vector, where in pairs:
        try:
            row = np.asarray(vector, np.float32)
        except (TypeError, ValueError):
            raise ValueError(f"source has no vector of finite numbers for {where}") from None
        if row.ndim != 1 or not len(row) or not np.isfinite(row).all():
            raise ValueError(f"source has no vector of finite numbers for {where}")
        if size is None:
            size = len(row)
        if len(row) != size:
            raise ValueError(f"source has {len(row)} numbers for {where}, and {size} for others")
        found.setdefault(token, row)
    return found


def _lines(path: Path, wanted: set[str]) -> Iterator[tuple[str, list[float], str]]:
    """The token and the numbers of each line that has a wanted one, and which line it is."""
    opened: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
    size = None
    with opened(path, "rt", encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(_until_the_end(file, path), 1):
            words = re.split("[ \t]+", line.strip(" \t\r\n"))
            if words == [""]:
                continue
            if number == 1 and len(words) == 2 and all(re.fullmatch("[0-9]+", word) for word in words):
                size = int(words[1])  # word2vec's first line: how many, and how long
                continue
            if size is None:
                size = _numbers_at_the_end(words)
            if size < 1 or len(words) <= size:
                raise ValueError(f"{path}, line {number}, has no word and {size or 'some'} numbers behind it")
            token = " ".join(words[:-size])
            if token in wanted:
                where = f"{token!r}, {path}, line {number}"
                try:
                    row = [float(word) for word in words[-size:]]
                except ValueError:
                    raise ValueError(f"source has no numbers for {where}") from None
                yield token, row, where


def _until_the_end(file: Iterable[str], path: Path) -> Iterator[str]:
    """Lines; a compressed file may end too early."""
    try:
        yield from file
    except EOFError as error:
        raise OSError(f"{path} cannot be read: {error}") from error


def _numbers_at_the_end(words: list[str]) -> int:
    """Of a line; its first word is none."""
    for n, word in enumerate(reversed(words[1:])):
        try:
            float(word)
        except ValueError:
            return n
    return len(words) - 1
