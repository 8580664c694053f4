"""Spans, such as names in sentences, that tags mark step by step; and how many of them are found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.metrics import make_scorer

Span = tuple[str, int, int]

TAG = re.compile("O|[BIES](-.*)?", re.DOTALL)
PREFIXES = {None: "BIESO", "BIO": "BIO", "BIOES": "BIESO"}


def find_spans(tags: Iterable[Any], scheme: str | None = None) -> list[Span]:
    """The spans of one sequence.

    Parameters
    ----------
    tags : iterable of str
        "O" outside of spans; of a span's steps "B-..." for the first, "I-..." within, and in BIOES "E-..."
        for the last, "S-..." for a single one, with the kind of span behind the dash.
    scheme : {"BIO", "BIOES"} or None, default=None
        None takes what is there for spans as far as it goes, as CoNLL's evaluation does: one may also begin
        with "I-..." or end without "E-...". By a scheme only spans count that are written as it says.

    Returns
    -------
    list of (kind, start, stop)
        In order; steps ``start`` to ``stop - 1``.

    Raises
    ------
    ValueError
        If a tag is none, which is named with its step; for an unknown `scheme`.

    Examples
    --------
    >>> from skrnn.text import find_spans
    >>> find_spans(["B-PER", "I-PER", "O", "B-LOC", "I-PER"])
    [('PER', 0, 2), ('LOC', 3, 4), ('PER', 4, 5)]
    >>> find_spans(["B-PER", "I-PER", "O", "B-LOC", "I-PER"], "BIO")
    [('PER', 0, 2), ('LOC', 3, 4)]
    """
    _check_scheme(scheme)
    if isinstance(tags, str):
        raise ValueError(f"tags must be those of a sequence, got one string, {tags!r}")
    spans: list[Span] = []
    begun: int | None = None  # where the span of the step before begins
    before, kind_before = "O", ""
    for step, tag in enumerate([*tags, "O"]):
        prefix, kind = _parts(tag, step, scheme)
        goes_on = prefix in "IE" and before in "BI" and kind == kind_before
        if begun is not None and not goes_on:
            if scheme != "BIOES" or before in "ES":
                spans.append((kind_before, begun, step))
            begun = None
        if not goes_on and prefix in ("BS" if scheme else "BSIE"):
            begun = step
        before, kind_before = prefix, kind
        if begun is None and scheme is not None and prefix in "IE":
            before = "O"  # of no span, so that nothing goes on from it
    return spans


def _check_scheme(scheme: Any) -> None:
    if not (scheme is None or isinstance(scheme, str)) or scheme not in PREFIXES:
        raise ValueError(f"scheme must be 'BIO', 'BIOES' or None, got {scheme!r}")


def _parts(tag: Any, step: int, scheme: str | None) -> tuple[str, str]:
    if not isinstance(tag, str) or not TAG.fullmatch(tag) or tag[0] not in PREFIXES[scheme]:
        allowed = ", ".join(f"{prefix}-..." for prefix in PREFIXES[scheme][:-1])
        raise ValueError(f"step {step}: {tag!r} is no tag; they are {allowed} and O")
    return tag[0], tag[1:].removeprefix("-") or "_"


def span_f1_score(
    y_true: Iterable[Any], y_pred: Iterable[Any], *, scheme: str | None = None, average: str | None = "micro"
) -> Any:
    """F1 of spans: those found whole and of the right kind, in proportion to those there are and those given.

    Parameters
    ----------
    y_true, y_pred : iterables of n sequences of tags
        See `find_spans`.
    scheme : {"BIO", "BIOES"} or None, default=None
        What counts as a span: see `find_spans`.
    average : {"micro", "macro", "weighted"} or None, default="micro"
        Over all spans; the mean over kinds, equally or by how many spans of each there are; None: of each
        kind, in order of their names.

    Returns
    -------
    float, or ndarray of shape (n_kinds,)
        0 where there is no span to find and none is given. The values are those of seqeval.

    Raises
    ------
    ValueError
        If a tag is none, or numbers of sequences or steps differ; the sequence is named. For an unknown
        `scheme` or `average`.

    Examples
    --------
    >>> from skrnn.text import span_f1_score
    >>> span_f1_score([["B-PER", "I-PER", "O"], ["B-LOC"]], [["B-PER", "O", "O"], ["B-LOC"]])
    0.5
    """
    _check_scheme(scheme)
    if average not in ("micro", "macro", "weighted", None):
        raise ValueError(f"average must be 'micro', 'macro', 'weighted' or None, got {average!r}")
    true, predicted = (
        [row if hasattr(row, "__len__") or not isinstance(row, Iterable) else list(row) for row in y]
        for y in (y_true, y_pred)
    )
    if len(true) != len(predicted):
        raise ValueError(f"y_true has {len(true)} sequences but y_pred has {len(predicted)}")
    there, given, right = Counter[str](), Counter[str](), Counter[str]()
    for i, (a, b) in enumerate(zip(true, predicted, strict=True)):
        for name, tags in ("y_true", a), ("y_pred", b):
            if isinstance(tags, str) or not isinstance(tags, Iterable):
                raise ValueError(f"{name}, sequence {i}, must be the tags of its steps, got {tags!r}")
        if len(a) != len(b):
            raise ValueError(f"sequence {i} has {len(a)} steps in y_true but {len(b)} in y_pred")
        own, other = _spans_of(a, scheme, i, "y_true"), _spans_of(b, scheme, i, "y_pred")
        there.update(kind for kind, _, _ in own)
        given.update(kind for kind, _, _ in other)
        right.update(kind for kind, _, _ in own & other)
    if average == "micro":
        return _f1(right.total(), there.total() + given.total())
    kinds = sorted(there.keys() | given.keys())
    scores = np.array([_f1(right[kind], there[kind] + given[kind]) for kind in kinds])
    if average is None:
        return scores
    weights = np.array([there[kind] for kind in kinds] if average == "weighted" else [1] * len(kinds))
    return float(scores @ weights / weights.sum()) if weights.sum() else 0.0


def _spans_of(tags: Any, scheme: str | None, i: int, name: str) -> set[Span]:
    try:
        return set(find_spans(tags, scheme))
    except ValueError as error:
        raise ValueError(f"{name}, sequence {i}, {error}") from None


def _f1(right: int, there_and_given: int) -> float:
    return 2 * right / there_and_given if there_and_given else 0.0


span_f1_scorer = make_scorer(span_f1_score)
