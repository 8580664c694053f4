"""Texts to sequences of integers and back."""

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skrnn.text import TokenEncoder

TEXTS = ["To be, or not to be: that is the question.", "Whether 'tis nobler", "to be", "A b c, the end."]


def same(rows, expected):
    assert rows.dtype == object
    assert rows.shape == (len(expected),)
    for row, numbers in zip(rows, expected, strict=True):
        assert row.dtype == np.int32
        assert row.tolist() == numbers


def test_the_most_frequent_come_first():
    encoder = TokenEncoder("tokens").fit([["b", "a", "b"], ["c", "a", "b"], ["d"]])
    assert encoder.vocabulary_ == {"b": 1, "a": 2, "c": 3, "d": 4}
    same(encoder.transform([["d", "a", "new", "a"], []]), [[4, 2, 0, 2], []])
    assert encoder.get_feature_names_out().tolist() == ["<unk>", "b", "a", "c", "d"]
    assert encoder.inverse_transform([[4, 0], np.array([], int)]) == [["d", "<unk>"], []]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lowercase": False},
        {"token_pattern": r"(?u)\b\w\w+\b"},
        {"token_pattern": r"(\w)\w*"},
        {"tokenizer": str.split},
        {"preprocessor": str.upper},
        {"stop_words": ["to", "the"]},
        {"stop_words": "english"},
        {"analyzer": str.split},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "limits", [{}, {"min_df": 2}, {"max_df": 0.5}, {"min_df": 0.3, "max_df": 3}, {"max_features": 4}], ids=str
)
def test_counts_of_tokens_are_those_of_count_vectorizer(options, limits):
    """Of every document; there the vocabulary is in the order of the alphabet, and ties are broken by it."""
    mine = TokenEncoder(**options, **limits).fit(TEXTS)
    if "analyzer" not in options:
        options = {"token_pattern": None if "tokenizer" in options else mine.token_pattern} | options
    theirs = CountVectorizer(**options, **limits).fit(TEXTS)
    rows, table = mine.transform(TEXTS), theirs.transform(TEXTS).toarray()
    if "max_features" in limits:
        assert len(mine.vocabulary_) == len(theirs.vocabulary_)
        assert sum(np.count_nonzero(row) for row in rows) == table.sum()
        return
    assert set(mine.vocabulary_) == set(theirs.vocabulary_)
    for row, counts in zip(rows, table, strict=True):
        for token, number in mine.vocabulary_.items():
            assert np.count_nonzero(row == number) == counts[theirs.vocabulary_[token]]


def test_characters_are_kept_as_they_are():
    """Blanks and line ends, too, and there and back nothing is lost."""
    text = "Ein  Wort,\n\tzwei Wörter…\r\n"
    encoder = TokenEncoder("char", lowercase=False).fit([text])
    assert encoder.inverse_transform(encoder.transform([text, "Wort?"])) == [text, "Wort<unk>"]
    assert TokenEncoder("char").fit([text]).inverse_transform(
        TokenEncoder("char").fit([text]).transform([text])
    ) == [text.lower()]


def test_tokens_are_taken_as_they_are():
    encoder = TokenEncoder("tokens", stop_words=["O"]).fit([["New York", "New York", "O", "b-LOC"]])
    assert encoder.vocabulary_ == {"New York": 1, "b-LOC": 2}
    same(encoder.transform(np.array([["New York"], ["O", "b-loc"]], object)), [[1], [0]])


@pytest.mark.parametrize(
    "given",
    [
        ["c", "a"],
        ("<unk>", "c", "a"),
        np.array(["c", "a"]),
        {"a": 2, "c": 1},
        {"<unk>": 0, "c": 1, "a": np.int64(2)},
    ],
    ids=str,
)
def test_a_vocabulary_that_is_known(given):
    encoder = TokenEncoder("char", vocabulary=given)
    same(encoder.fit(["zzz"]).transform(["cab"]), [[1, 2, 0]])
    assert encoder.get_feature_names_out().tolist() == ["<unk>", "c", "a"]
    again = TokenEncoder("char", vocabulary=encoder.get_feature_names_out())
    same(again.transform(["cab"]), [[1, 2, 0]])  # without a fit
    assert not hasattr(again, "vocabulary_")


def test_a_set_is_in_the_order_of_the_alphabet():
    same(TokenEncoder("char", vocabulary={"c", "a", "b"}).transform(["abc"]), [[1, 2, 3]])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("abc", "must be tokens or a dict of their numbers, got 'abc'"),
        (3, "must be tokens or a dict of their numbers, got 3"),
        ([], "is empty"),
        (["a", "b", "a"], "has 'a' twice"),
        (["a", "<unk>"], "has '<unk>' behind other tokens"),
        ([["a"]], "must be tokens, one after the other"),
        ({"a": 0, "b": 1}, "from 1 to 2"),
        ({"a": 1, "b": 3}, "from 1 to 2"),
        ({"a": 1, "b": 1}, "from 1 to 2"),
        ({"a": 1.7, "b": 2}, "from 1 to 2"),
        ({"a": None}, "from 1 to 1"),
        ({"<unk>": 1, "b": 2}, "must not number '<unk>'"),
    ],
)
def test_a_vocabulary_that_is_wrong(given, message):
    with pytest.raises(ValueError, match=f"vocabulary .*{message}"):
        TokenEncoder(vocabulary=given).fit(["a"])


def test_what_is_unknown_has_no_number_of_its_own():
    encoder = TokenEncoder("tokens").fit([["<unk>", "a"], ["<unk>"]])
    assert encoder.vocabulary_ == {"a": 1}
    same(encoder.transform([["<unk>", "a"]]), [[0, 1]])


def test_long_documents_are_cut():
    encoder = TokenEncoder(max_length=2).fit(["a b c d", "a"], y=["x", "y"])
    assert encoder.vocabulary_ == {"a": 1, "b": 2}
    same(encoder.transform(["b a a", "a"]), [[2, 1], [1]])
    for y in ([[0, 1, 1], [0]], [np.array(["B", "O", "O"]), np.array(["O"])]):
        with pytest.raises(ValueError, match="max_length cuts documents, but not y"):
            TokenEncoder(max_length=2).fit(["a b c", "a"], y)
    TokenEncoder(max_length=2).fit(["a b c", "a"], np.eye(2))  # several targets of each
    TokenEncoder(max_length=3).fit(["a b c", "a"], [[0, 1, 1], [0]])  # nothing is cut


def test_documents_in_any_container():
    expected = TokenEncoder().fit(TEXTS)
    for X in (tuple(TEXTS), np.array(TEXTS), np.array(TEXTS, object), pd.Series(TEXTS, index=[3, 1, 4, 5]),
              (text for text in TEXTS)):  # fmt: skip
        assert TokenEncoder().fit(X).vocabulary_ == expected.vocabulary_
    same(expected.transform(pd.Series(["to be"])), [expected.transform(["to be"])[0].tolist()])
    for a, b in zip(expected.fit_transform(TEXTS), expected.transform(iter(TEXTS)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("analyzer", "X", "error", "message"),
    [
        ("word", None, TypeError, r"X must be documents, one after the other, got None \(NoneType\)"),
        ("word", {"a": "b"}, TypeError, "X must be documents, one after the other, got {'a': 'b'}"),
        ("word", "one text", ValueError, r"X is one text: pass a list of documents, \[X\]"),
        ("word", ["a", None], TypeError, r"document 1 must be a string, got None \(NoneType\)"),
        ("word", ["a", np.nan, "b"], TypeError, r"document 1 must be a string, got nan \(float\)"),
        ("word", ["a", b"b"], TypeError, r"document 1 must be a string, got b'b' \(bytes\)"),
        ("char", [["a", "b"]], TypeError, "document 0 must be a string"),
        ("word", np.array([["a"], ["b"]]), ValueError, r"one after the other, got shape \(2, 1\)"),
        ("word", pd.DataFrame({"text": ["a"]}), ValueError, r"one after the other, got shape \(1, 1\)"),
        ("tokens", ["a b", ["c"]], TypeError, r"document 0 must be a list of tokens .* got 'a b' \(str\)"),
        ("tokens", [["a"], 3], TypeError, r"document 1 must be a list of tokens .* got 3 \(int\)"),
        (
            "tokens",
            [["a", "b"], ["c", 7]],
            TypeError,
            r"document 1 .* list of strings, but has 7 \(int\) at 1",
        ),
        ("word", ["", " "], ValueError, "no vocabulary in 2 documents: none of them has a token"),
        ("word", [], ValueError, "no vocabulary in 0 documents"),
    ],
)
def test_mistakes_are_named(analyzer, X, error, message):
    with pytest.raises(error, match=message):
        TokenEncoder(analyzer).fit(X)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("analyzer", "char_wb"), ("min_df", -1), ("max_df", 1.5), ("max_features", 0), ("max_length", 0),
        ("stop_words", "german"), ("lowercase", "yes"), ("tokenizer", 3),
    ],
)  # fmt: skip
def test_parameters_that_are_refused(name, value):
    with pytest.raises(ValueError, match=f"'{name}' parameter of TokenEncoder"):
        TokenEncoder(**{name: value}).fit(["a"])


def test_parameters_that_leave_nothing():
    with pytest.raises(ValueError, match="max_df=1 leaves out what min_df=2 asks for"):
        TokenEncoder(min_df=2, max_df=1).fit(["a", "a"])
    with pytest.raises(ValueError, match="min_df and max_df leave no token"):
        TokenEncoder(min_df=2).fit(["a", "b"])
    with pytest.raises(ValueError, match=r"token_pattern='\(': missing \)"):
        TokenEncoder(token_pattern="(").fit(["a"])
    with pytest.raises(ValueError, match="one group at most, got 2"):
        TokenEncoder(token_pattern=r"(a)(b)").fit(["ab"])
    with pytest.raises(NotFittedError):
        TokenEncoder().transform(["a"])


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[1, 2], [1, 9]], "document 1 has 9 at 1, but tokens are 0 to 2"),
        ([[-1]], "document 0 has -1 at 0"),
        ([[0.5]], "document 0 must be integers"),
        ([3], "document 0 must be integers of shape"),
        ([[1], [1, [2]]], "document 1 must be integers: "),
    ],
)
def test_numbers_that_are_no_tokens(X, message):
    with pytest.raises(ValueError, match=message):
        TokenEncoder().fit(["a b"]).inverse_transform(X)


class Pieces:
    """As SentencePiece's processor: numbers at once."""

    def __init__(self):
        self.known = ["<unk>", "_a", "b", "_c", "_never"]

    def encode(self, text):
        return [self.known.index(piece) if piece in self.known else 0 for piece in text.split("|")]

    def decode(self, numbers):
        assert all(type(number) is int for number in numbers)
        return "".join(self.known[number] for number in numbers).replace("_", " ").strip()

    def id_to_piece(self, number):
        return self.known[number]


def test_the_tokenizer_of_a_library():
    encoder = TokenEncoder(tokenizer=Pieces()).fit(["_a|b|_c|b", "b"])
    assert encoder.vocabulary_ == {2: 1, 1: 2, 3: 3}
    same(encoder.transform(["_c|b", "_never|b"]), [[3, 1], [0, 1]])
    assert encoder.inverse_transform([[2, 1, 3], [0, 1]]) == ["ab c", "b"]
    assert encoder.get_feature_names_out().tolist() == ["<unk>", "b", "_a", "_c"]
    same(TokenEncoder(tokenizer=Pieces(), vocabulary=[3, 1]).transform(["_a|b|_c"]), [[2, 0, 1]])
    with pytest.raises(
        ValueError, match="vocabulary of a library's tokenizer must be the numbers of its pieces"
    ):
        TokenEncoder(tokenizer=Pieces(), vocabulary=["_a"]).fit(["b"])
    with pytest.raises(ValueError, match="stop_words are words"):
        TokenEncoder(tokenizer=Pieces(), stop_words=["b"]).fit(["b"])


def test_errors_of_a_users_function_say_where():
    def fails(text):
        return text.split() if text == "a" else 1 / 0

    for options in ({"analyzer": fails}, {"tokenizer": fails}):
        with pytest.raises(ZeroDivisionError) as error:
            TokenEncoder(**options).fit(["a", "b"])
        assert error.value.__notes__ == ["It was raised for document 1."]
    for wrong in (lambda text: None, lambda text: 3, lambda text: [[1]]):
        with pytest.raises(TypeError) as error:
            TokenEncoder(wrong).fit(["a"])
        assert error.value.__notes__ == ["It was raised for document 0."]


def test_documents_that_can_be_read_once():
    encoder = TokenEncoder()
    same(encoder.fit_transform(text for text in ["b a", "b"]), [[1, 2], [1]])
    same(TokenEncoder("tokens").fit([["a", "b"]]).transform([map(str, "ba")]), [[2, 1]])
    same(encoder.set_output(transform="pandas").transform(["a"]), [[2]])


def test_a_failed_fit_leaves_what_was_learnt():
    encoder = TokenEncoder().fit(["a"])
    for X in (["b", None], "b", [""]):
        with pytest.raises((TypeError, ValueError)):
            encoder.fit(X)
        assert encoder.vocabulary_ == {"a": 1}


def test_hugging_faces_tokenizers():
    tokenizers = pytest.importorskip("tokenizers")
    library = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="[UNK]"))
    library.pre_tokenizer, library.decoder = (
        tokenizers.pre_tokenizers.ByteLevel(),
        tokenizers.decoders.ByteLevel(),
    )
    library.train_from_iterator(
        TEXTS, tokenizers.trainers.BpeTrainer(vocab_size=60, special_tokens=["[UNK]"])
    )
    encoder = TokenEncoder(tokenizer=library).fit(TEXTS)
    assert [text.strip() for text in encoder.inverse_transform(encoder.transform(TEXTS))] == TEXTS
    again = pickle.loads(pickle.dumps(encoder))
    for a, b in zip(again.transform(TEXTS), encoder.transform(TEXTS), strict=True):
        np.testing.assert_array_equal(a, b)


OTHER_PROCESS = """
import pickle, sys
print([row.tolist() for row in pickle.load(sys.stdin.buffer).transform(["to be", "unheard of"])])
"""


def test_a_pickle_in_a_process_that_never_saw_the_texts():
    encoder = TokenEncoder().fit(TEXTS)
    result = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS], input=pickle.dumps(encoder), capture_output=True, check=True
    )
    assert result.stdout.decode().strip() == str(
        [row.tolist() for row in encoder.transform(["to be", "unheard of"])]
    )


def test_in_a_pipeline():
    def lengths(rows):
        return np.array([[len(row)] for row in rows])

    pipeline = make_pipeline(TokenEncoder("char"), FunctionTransformer(lengths))
    assert pipeline.fit_transform(["ab", "c"]).tolist() == [[2], [1]]
    assert clone(pipeline[0].set_params(min_df=2)).get_params()["min_df"] == 2


def test_little_memory_for_many_documents():
    """Documents come one by one from a generator, which keeps none."""
    alive = 0

    class Text(str):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def documents():
        nonlocal alive
        for i in range(1000):
            alive += 1
            assert alive <= 3
            yield Text(f"document {i % 7}")

    assert len(TokenEncoder().fit(documents()).vocabulary_) == 8
