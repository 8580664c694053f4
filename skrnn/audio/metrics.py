"""How far texts, or sequences of labels, are from those that were said: rates of errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import make_scorer


def edit_distance(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """How many items have to be put in, taken out or replaced, to make one sequence of the other (Levenshtein
    1966).

    Whole columns of the table are computed at once, as the bits of an integer (Myers 1999, "A fast bit-vector
    algorithm for approximate string matching", as Hyyrö 2003 has it for distances).

    Parameters
    ----------
    a, b : str, or sequences of labels
        Of a string, each character is an item. Labels are anything hashable.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        If they are no sequences, or labels are not hashable.

    Examples
    --------
    >>> from skrnn.audio import edit_distance
    >>> edit_distance("kitten", "sitting")
    3
    >>> edit_distance(["a", "long", "way"], ["a", "way"])
    1
    """
    a, b = _labels(a, "a"), _labels(b, "b")
    if not len(a):
        return len(b)
    places: dict[Hashable, int] = {}  # of each item in a, as bits
    for i, item in enumerate(a):
        places[item] = places.get(item, 0) | 1 << i
    every, last = (1 << len(a)) - 1, 1 << (len(a) - 1)
    # Bit i: whether the distance grows (up) or shrinks (down) by 1 from row i of a column to the next row,
    # or from the column before (right) to this one.
    up, down, distance = every, 0, len(a)
    for item in b:
        here = places.get(item, 0)
        same = (((here & up) + up) ^ up) | here | down  # the diagonal does not grow
        up_right, down_right = down | (every & ~(same | up)), same & up
        if up_right & last:
            distance += 1
        elif down_right & last:
            distance -= 1
        up_right, down_right = (up_right << 1 | 1) & every, down_right << 1 & every
        up, down = down_right | (every & ~(same | up_right)), same & up_right
    return distance


def label_error_rate(y_true: Iterable[Any], y_pred: Iterable[Any]) -> float:
    """Edits that make the right sequences of those that are predicted, for each label of the right ones.

    Parameters
    ----------
    y_true, y_pred : n sequences of labels
        Lists or arrays of labels, phonemes for example, or strings, whose labels are their characters.

    Returns
    -------
    float
        The sum of edit distances over the sum of lengths of y_true, 0 at best; above 1 where too much is
        predicted.

    Raises
    ------
    ValueError
        If y_true and y_pred differ in number, are one string instead of several, or have no labels to find.
    TypeError
        If an item is no sequence of labels.

    Examples
    --------
    >>> from skrnn.audio import label_error_rate
    >>> label_error_rate([["k", "ae", "t"], ["d", "o", "g"]], [["k", "ae", "t"], ["d", "o"]])
    0.16666666666666666
    """
    return _error_rate(y_true, y_pred, _labels, "labels")


def character_error_rate(y_true: Iterable[str], y_pred: Iterable[str]) -> float:
    """Characters to put in, take out or replace, for each character of the right texts (CER).

    The values are those of ``jiwer.cer``: blanks at the ends of a text do not count, those within it do, as
    do capitals and punctuation.

    Parameters
    ----------
    y_true, y_pred : n texts
        What was said, and what was understood.

    Returns
    -------
    float
        Over all texts together, 0 at best; above 1 where too much is predicted.

    Raises
    ------
    ValueError
        If y_true and y_pred differ in number, are one text instead of several, or y_true has no characters.
    TypeError
        If an item is no text.

    Examples
    --------
    >>> from skrnn.audio import character_error_rate
    >>> character_error_rate(["the cat", "a dog"], ["the hat", "a dog"])
    0.08333333333333333
    """
    return _error_rate(y_true, y_pred, _characters, "characters")


def word_error_rate(y_true: Iterable[str], y_pred: Iterable[str]) -> float:
    """Words to put in, take out or replace, for each word of the right texts (WER).

    The values are those of ``jiwer.wer``. Words are what blanks separate, however many; capitals and
    punctuation are part of them. Two or more signs of white space are a blank, whatever they are, but a lone
    tab or end of line within a text is, as it is there, part of a word.

    Parameters
    ----------
    y_true, y_pred : n texts
        What was said, and what was understood.

    Returns
    -------
    float
        Over all texts together, 0 at best; above 1 where too much is predicted.

    Raises
    ------
    ValueError
        If y_true and y_pred differ in number, are one text instead of several, or y_true has no words.
    TypeError
        If an item is no text.

    Examples
    --------
    >>> from skrnn.audio import word_error_rate
    >>> word_error_rate(["the cat sat", "a dog"], ["the hat sat", "dog"])
    0.4
    """
    return _error_rate(y_true, y_pred, _words, "words")


label_error_rate_scorer = make_scorer(label_error_rate, greater_is_better=False)
character_error_rate_scorer = make_scorer(character_error_rate, greater_is_better=False)
word_error_rate_scorer = make_scorer(word_error_rate, greater_is_better=False)


def _error_rate(
    y_true: Iterable[Any], y_pred: Iterable[Any], read: Callable[[Any, str], Any], what: str
) -> float:
    for name, y in ("y_true", y_true), ("y_pred", y_pred):
        if isinstance(y, str):
            raise ValueError(f"{name} is one text: pass a list, [{name}] for one of them")
        if not isinstance(y, Iterable):
            raise TypeError(f"{name} must be a list of texts or of labels, got {y!r}")
    true = [read(item, f"y_true[{i}]") for i, item in enumerate(y_true)]
    pred = [read(item, f"y_pred[{i}]") for i, item in enumerate(y_pred)]
    if len(true) != len(pred):
        raise ValueError(f"y_true has {len(true)} items and y_pred {len(pred)}")
    total = sum(map(len, true))
    if not total:
        raise ValueError(f"there are no {what} in y_true: a rate has nothing to be of")
    return sum(map(edit_distance, true, pred)) / total


def _labels(item: Any, name: str) -> Any:
    """A string as it is, anything else as a list of labels."""
    if isinstance(item, str):
        return item
    if isinstance(item, np.ndarray):
        item = item.tolist()
    if not isinstance(item, Iterable):
        raise TypeError(f"{name} must be a sequence of labels, got {item!r}")
    labels = list(item)
    for label in labels:
        if not isinstance(label, Hashable):
            raise TypeError(f"{name} has {label!r}, which is no label: it is not hashable")
    return labels


def _characters(item: Any, name: str) -> str:
    return _text(item, name).strip()


def _words(item: Any, name: str) -> list[str]:
    text = re.sub(r"\s\s+", " ", _text(item, name)).strip()
    return [word for word in text.split(" ") if word]


def _text(item: Any, name: str) -> str:
    if not isinstance(item, str):
        raise TypeError(f"{name} must be a text, got {item!r}")
    return item
