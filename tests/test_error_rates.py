"""Edit distances and the rates made of them, against jiwer and the textbook's table."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier

from skrnn.audio import (
    character_error_rate,
    character_error_rate_scorer,
    edit_distance,
    label_error_rate,
    label_error_rate_scorer,
    word_error_rate,
    word_error_rate_scorer,
)

LETTERS = "aab bc.ß é🙂字 "
WHITE = [" ", " ", "  ", "\t", "\n", " \t", "\u00a0", "\u2003 "]


def table_distance(a, b):
    """Wagner & Fischer's table."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def drawn(rng, longest, letters=LETTERS):
    return "".join(rng.choice(list(letters), rng.integers(0, longest + 1)))


# --- distances --------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(60))
def test_distances_are_those_of_the_table(seed):
    """Short ones, and ones longer than the words of a machine."""
    rng = np.random.default_rng(seed)
    longest = [4, 12, 40, 150][seed % 4]
    for _ in range(8):
        a, b = drawn(rng, longest), drawn(rng, longest)
        distance = edit_distance(a, b)
        assert distance == table_distance(a, b)
        assert distance == edit_distance(b, a) == edit_distance(list(a), tuple(b))
        assert abs(len(a) - len(b)) <= distance <= max(len(a), len(b))
        c = drawn(rng, longest)
        assert distance <= edit_distance(a, c) + edit_distance(c, b)
        assert (distance == 0) == (a == b)


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("kitten", "sitting", 3),
        ("straße", "strasse", 2),
        ("é", "e\u0301", 2),  # by code points
        ("🙂🙃", "🙃", 1),
        ([1, 2, 3], np.array([1, 3]), 1),
        (["new", "york"], ["newyork"], 2),
        ([("a", 1)], [("a", 2)], 1),
        (dict.fromkeys("ab").keys(), "b", 1),
    ],
    ids=str,
)
def test_some_distances(a, b, distance):
    assert edit_distance(a, b) == distance


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (3, "a", "a must be a sequence of labels, got 3"),
        ("a", None, "b must be a sequence of labels, got None"),
        (np.array(3), "a", "a must be a sequence of labels"),
        ([["x"]], "a", "a has ['x'], which is no label"),
        ("a", np.zeros((2, 2)), "b has [0.0, 0.0], which is no label"),
    ],
)
def test_bad_sequences(a, b, message):
    with pytest.raises(TypeError, match=re.escape(message)):
        edit_distance(a, b)


# --- rates ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(60))
def test_rates_are_jiwers(seed):
    """Also with white space of all kinds, at the ends and within, and with texts of none."""
    jiwer = pytest.importorskip("jiwer")
    rng = np.random.default_rng(seed)

    def text():
        words = [drawn(rng, 4, "abß🙂.") for _ in range(rng.integers(0, 7))]
        return "".join(word + WHITE[rng.integers(len(WHITE))] for word in words)

    for _ in range(5):
        n = rng.integers(1, 6)
        true, pred = [text() for _ in range(n)] + ["a b"], [text() for _ in range(n)] + ["a c"]
        assert character_error_rate(true, pred) == pytest.approx(jiwer.cer(true, pred), rel=1e-12)
        assert word_error_rate(true, pred) == pytest.approx(jiwer.wer(true, pred), rel=1e-12)


def test_white_space():
    assert character_error_rate([" a b "], ["a b\n"]) == 0
    assert character_error_rate(["a b"], ["a  b"]) == 1 / 3
    assert word_error_rate(["  a   b "], ["a\t\tb"]) == 0
    assert word_error_rate(["a b"], ["a\tb"]) == 1  # as of jiwer: one word in the place of two
    assert word_error_rate(["", "a"], ["b", "a"]) == 1


def test_rates_of_labels():
    true, pred = [["k", "ae", "t"], [], ["o"]], [["k", "t"], ["x"], ["o", "o", "o", "o"]]
    assert label_error_rate(true, pred) == (1 + 1 + 3) / 4
    assert label_error_rate([np.array([1, 2])], [[1, 2]]) == 0
    assert label_error_rate(["ab "], ["ab"]) == 1 / 3  # nothing is stripped
    one = np.empty(1, object)
    one[0] = np.array([1, 2, 3])
    assert label_error_rate(one, [[3]]) == 2 / 3


@pytest.mark.parametrize("form", [list, tuple, np.array, pd.Series, iter])
def test_forms_of_y(form):
    assert word_error_rate(form(["a b", "c"]), form(["a", "c"])) == 1 / 3


@pytest.mark.parametrize(
    ("scorer", "score"),
    [
        (character_error_rate_scorer, -6 / 12),
        (word_error_rate_scorer, -2 / 3),
        (label_error_rate_scorer, -6 / 12),
    ],
)
def test_scorers_say_that_less_is_better(scorer, score):
    X, y = np.zeros((3, 1)), ["abcd", "abcd", "efgx"]
    model = DummyClassifier(strategy="constant", constant="efgx").fit(X, y)
    assert scorer(model, X, ["efgx", "abxd", "abgx"]) == pytest.approx(score)


@pytest.mark.parametrize("rate", [character_error_rate, word_error_rate, label_error_rate])
@pytest.mark.parametrize(
    ("y_true", "y_pred", "error", "message"),
    [
        (["a", "b"], ["a"], ValueError, "y_true has 2 items and y_pred 1"),
        ("a", ["a"], ValueError, "y_true is one text: pass a list, [y_true]"),
        (["a"], "a", ValueError, "y_pred is one text: pass a list, [y_pred]"),
        ([], [], ValueError, "in y_true: a rate has nothing to be of"),
        (["", ""], ["a", ""], ValueError, "in y_true: a rate has nothing to be of"),
        (["a", 3], ["a", "b"], TypeError, "y_true[1] must be a"),
        (["a"], [None], TypeError, "y_pred[0] must be a"),
        (["a"], [np.nan], TypeError, "y_pred[0] must be a"),
        (5, ["a"], TypeError, "y_true must be a list of texts or of labels, got 5"),
        (["a"], None, TypeError, "y_pred must be a list of texts or of labels, got None"),
    ],
)
def test_bad_y(rate, y_true, y_pred, error, message):
    with pytest.raises(error, match=re.escape(message)):
        rate(y_true, y_pred)


@pytest.mark.parametrize("rate", [character_error_rate, word_error_rate])
def test_lists_of_words_are_no_texts(rate):
    with pytest.raises(TypeError, match=re.escape("y_pred[0] must be a text, got ['a', 'b']")):
        rate(["a b"], [["a", "b"]])
