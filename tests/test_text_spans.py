"""Spans that tags mark, and how many of them are found, beside seqeval."""

import re

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.model_selection import cross_val_score

from skrnn.text import find_spans, span_f1_score, span_f1_scorer

SCHEMES = {None: "BIESO", "BIO": "BIO", "BIOES": "BIESO"}


def random_tags(rng, prefixes, n, kinds=("X", "Y-Z", "")):
    return [
        prefix if prefix == "O" else f"{prefix}-{rng.choice(kinds)}".removesuffix("-")
        for prefix in rng.choice(list(prefixes), n)
    ]


@pytest.mark.parametrize(
    ("tags", "scheme", "spans"),
    [
        ([], None, []),
        (["O", "O"], None, []),
        (["B-A", "I-A", "I-A"], "BIO", [("A", 0, 3)]),
        (["B-A", "B-A", "I-A"], "BIO", [("A", 0, 1), ("A", 1, 3)]),
        (["I-A", "B-A"], "BIO", [("A", 1, 2)]),
        (["I-A", "B-A"], None, [("A", 0, 1), ("A", 1, 2)]),
        (["B-A", "I-B", "I-B"], "BIO", [("A", 0, 1)]),
        (["B-A", "I-B", "I-B"], None, [("A", 0, 1), ("B", 1, 3)]),
        (["B-A", "E-A", "S-B", "O"], "BIOES", [("A", 0, 2), ("B", 2, 3)]),
        (["B-A", "I-A", "O", "E-A", "S"], "BIOES", [("_", 4, 5)]),
        (["B-A", "I-A", "O", "E-A", "S"], None, [("A", 0, 2), ("A", 3, 4), ("_", 4, 5)]),
    ],
)
def test_spans(tags, scheme, spans):
    assert find_spans(tags, scheme) == spans
    assert find_spans(np.array(tags, object), scheme) == spans


@pytest.mark.parametrize("scheme", SCHEMES)
def test_spans_are_those_of_seqeval(scheme):
    pytest.importorskip("seqeval")
    from seqeval.metrics.sequence_labeling import get_entities
    from seqeval.scheme import IOB2, IOBES, Tokens

    rng, n_spans = np.random.default_rng(0), 0
    for _ in range(500):
        tags = random_tags(rng, SCHEMES[scheme], rng.integers(1, 9))
        if scheme is None:
            expected = [(kind, first, last + 1) for kind, first, last in get_entities(tags)]
        else:
            found = Tokens(tags, {"BIO": IOB2, "BIOES": IOBES}[scheme]).entities
            expected = [(span.tag, span.start, span.end) for span in found]
        assert find_spans(tags, scheme) == expected, tags
        n_spans += len(expected)
    assert n_spans > 200


@pytest.mark.parametrize("average", ["micro", "macro", "weighted", None])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.filterwarnings("ignore")  # of kinds without a span
def test_scores_are_those_of_seqeval(scheme, average):
    pytest.importorskip("seqeval")
    from seqeval.metrics import f1_score
    from seqeval.scheme import IOB2, IOBES

    rng = np.random.default_rng(1)
    strictly = {} if scheme is None else {"mode": "strict", "scheme": {"BIO": IOB2, "BIOES": IOBES}[scheme]}
    for n in (1, 4, 30):
        true = [random_tags(rng, SCHEMES[scheme], length) for length in rng.integers(3, 12, n)]
        predicted = [
            [
                tag if rng.random() < 0.8 else other
                for tag, other in zip(row, random_tags(rng, SCHEMES[scheme], len(row)))
            ]
            for row in true
        ]
        np.testing.assert_allclose(
            span_f1_score(true, predicted, scheme=scheme, average=average),
            f1_score(true, predicted, average=average, **strictly),
        )


def test_nothing_to_find():
    assert span_f1_score([["O"], []], [["O"], []]) == 0.0
    assert span_f1_score([["O"]], [["O"]], average="macro") == 0.0
    assert span_f1_score([["O"]], [["O"]], average=None).shape == (0,)
    assert span_f1_score([["O", "B"]], [["B", "O"]], average="weighted") == 0.0


@pytest.mark.parametrize(
    ("true", "predicted", "options", "message"),
    [
        ([["B-A"]], [["B-A"], ["O"]], {}, "y_true has 1 sequences but y_pred has 2"),
        ([["O"], ["B-A", "O"]], [["O"], ["O"]], {}, "sequence 1 has 2 steps in y_true but 1 in y_pred"),
        ([["O"], ["O", "A-B"]], [["O"], ["O", "O"]], {}, "y_true, sequence 1, step 1: 'A-B' is no tag"),
        (
            [["O"]],
            [["LOC"]],
            {},
            "y_pred, sequence 0, step 0: 'LOC' is no tag; they are B-..., I-..., E-..., S-... and O",
        ),
        ([["O"]], [["OUT"]], {}, "'OUT' is no tag"),
        ([["O"]], [["BRAND"]], {}, "'BRAND' is no tag"),
        ([["O"]], [["BPER-X"]], {}, "'BPER-X' is no tag"),
        (["O", "B"], ["O", "O"], {}, "y_true, sequence 0, must be the tags of its steps, got 'O'"),
        ([["O"]], [None], {}, "y_pred, sequence 0, must be the tags of its steps, got None"),
        ([["O"]], [["O"]], {"scheme": ["BIO"]}, "scheme must be 'BIO', 'BIOES' or None"),
        ([["O"]], [[3]], {}, "3 is no tag"),
        ([["O"]], [[""]], {}, "'' is no tag"),
        ([["S-A"]], [["O"]], {"scheme": "BIO"}, "'S-A' is no tag; they are B-..., I-... and O"),
        ([["O"]], [["O"]], {"scheme": "IOB1"}, "scheme must be 'BIO', 'BIOES' or None, got 'IOB1'"),
        ([["O"]], [["O"]], {"average": "binary"}, "average must be 'micro', 'macro', 'weighted' or None"),
    ],
)
def test_mistakes_are_named(true, predicted, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        span_f1_score(true, predicted, **options)


def test_one_string_is_no_sequence():
    with pytest.raises(ValueError, match="those of a sequence, got one string, 'BIO'"):
        find_spans("BIO")


class Copies(BaseEstimator):
    """Says the tags that it is asked about, but in every other sequence."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        rows = np.empty(len(X), object)
        rows[:] = [np.array(tags if k % 2 else ["O"] * len(tags)) for k, tags in enumerate(X)]
        return rows


def test_the_scorer_in_cross_validation():
    X = [["B-A", "I-A"], ["B-A"], ["O", "B-B"], ["B-B", "O", "B-A"]]
    scores = cross_val_score(Copies(), X, X, scoring=span_f1_scorer, cv=2)
    np.testing.assert_allclose(scores, [2 / 3, 4 / 5])
