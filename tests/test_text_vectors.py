"""Tables of pre-trained vectors, and padding."""

import gzip

import numpy as np
import pytest

from skrnn.text import TokenEncoder, cut_padding

VECTORS = {
    "the": [1.0, 0.0, 2.0],
    "cat": [3.0, 4.0, 0.0],
    "Paris": [0.0, 0.5, 0.25],
    "nobody": [9.0, 9.0, 9.0],
}
MEAN = np.mean([VECTORS["the"], VECTORS["cat"], VECTORS["Paris"]], axis=0)


@pytest.fixture
def encoder():
    return TokenEncoder("tokens").fit([["the", "The", "cat", "Paris", "sat"]])


class Keyed:
    """As gensim's KeyedVectors."""

    def __init__(self):
        self.key_to_index = {word: k for k, word in enumerate(VECTORS)}

    def __getitem__(self, word):
        return np.array(list(VECTORS.values()), np.float32)[self.key_to_index[word]]


class Model:
    """As gensim's Word2Vec."""

    wv = Keyed()


def written(path, header, opened=open):
    with opened(path, "wt", encoding="utf-8") as file:
        if header:
            file.write(f"{len(VECTORS)} 3\n")
        for word, row in VECTORS.items():
            file.write(f"{word} {' '.join(map(str, row))}{' ' * header}\n")
    return path


def sources(tmp_path):
    yield VECTORS
    yield Keyed()
    yield Model()
    yield written(tmp_path / "word2vec.txt", True)
    yield str(written(tmp_path / "glove.txt", False))
    yield written(tmp_path / "glove.txt.gz", False, gzip.open)


def test_all_sources_say_the_same(encoder, tmp_path):
    for source in sources(tmp_path):
        table = encoder.vectors(source)
        assert table.dtype == np.float32
        assert encoder.n_vectors_ == 4
        assert type(table) is np.ndarray
        assert table.shape == (6, 3)
        known = {"<unk>": None, "sat": None, "The": "the"}
        for row, name in zip(table, encoder.get_feature_names_out(), strict=True):
            own = known.get(name, name)
            expected = np.mean([VECTORS["the"]] * 2 + [VECTORS["cat"], VECTORS["Paris"]], axis=0)
            np.testing.assert_allclose(row, expected if own is None else VECTORS[own], rtol=1e-6)


def test_few_tokens_are_warned_of(encoder):
    with pytest.warns(UserWarning, match="source has 1 of 5 tokens"):
        assert encoder.vectors({"cat": [1.0, 2.0]}).tolist() == [[1.0, 2.0]] * 6
    assert encoder.n_vectors_ == 1
    with pytest.raises(ValueError, match="none of the 5 tokens"):
        encoder.vectors({"dog": [1.0, 2.0]})


def test_words_with_blanks_in_a_file(tmp_path):
    path = tmp_path / "vectors.txt"
    path.write_text("the 1.0 2.0\n. . . 3.0 4.0\nNew York 5.0 6.0\n", encoding="utf-8")
    encoder = TokenEncoder("tokens").fit([["New York", "the"]])
    np.testing.assert_array_equal(encoder.vectors(path)[1:], [[5, 6], [1, 2]])


def test_lines_that_other_tools_write(tmp_path):
    """A mark at the beginning, line ends of Windows, tabs, several blanks, and empty lines."""
    path = tmp_path / "vectors.txt"
    path.write_bytes("\ufeffthe  1.0\t2.0 \r\n\r\n caf\u00e9\u00a0x 3.0 4.0\r\n \n".encode())
    encoder = TokenEncoder("tokens").fit([["the", "the", "caf\u00e9\u00a0x"]])
    np.testing.assert_array_equal(encoder.vectors(path)[1:], [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the 1.0 2.0\ncat 1.0\n", r"line 2, has no word and 2 numbers behind it"),
        ("2 3\nthe 1.0 2.0\n", r"line 2, has no word and 3 numbers"),
        ("the cat\n", r"line 1, has no word and some numbers"),
        ("the 1.0 2.0\ncat 1.0 x\n", r"no numbers for 'cat', .*line 2"),
        ("the 1.0 2.0\ncat 1.0 nan\n", r"no vector of finite numbers for 'cat', .*line 2"),
    ],
)
def test_files_that_cannot_be_read(encoder, tmp_path, text, message):
    path = tmp_path / "vectors.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        encoder.vectors(path)


def test_a_compressed_file_that_ends_too_early(encoder, tmp_path):
    path = written(tmp_path / "glove.txt.gz", False, gzip.open)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(OSError, match=r"glove.txt.gz cannot be read"):
        encoder.vectors(path)


def test_sources_that_are_none(encoder, tmp_path):
    with pytest.raises(TypeError, match=r"source must be a mapping .* got list"):
        encoder.vectors([1.0])
    with pytest.raises(FileNotFoundError):
        encoder.vectors(tmp_path / "nothing.txt")
    with pytest.raises(ValueError, match="source has 1 numbers for 'the', and 2 for others"):
        encoder.vectors({"cat": [1.0, 2.0], "the": [1.0]})
    for wrong in ([[1.0, 2.0]], "abc", [1.0, [2.0]], 1.0, []):
        with pytest.raises(ValueError, match="no vector of finite numbers for 'cat'"):
            encoder.vectors({"cat": wrong})


# --- padding --------------------------------------------------------------------------------------
def test_padding_is_cut_off_at_both_ends():
    X = np.array([[1, 0, 2, 0, 0], [0, 0, 3, 4, 5], [0, 0, 0, 0, 0], [1, 2, 3, 4, 5]])
    rows = cut_padding(X)
    assert rows.dtype == object
    assert [row.tolist() for row in rows] == [[1, 0, 2], [3, 4, 5], [], [1, 2, 3, 4, 5]]
    assert [row.tolist() for row in cut_padding(X - 1, -1)] == [[0, -1, 1], [2, 3, 4], [], [0, 1, 2, 3, 4]]


def test_padding_of_steps_of_several_columns():
    X = np.zeros((2, 3, 2))
    X[0, :2] = [[1, 0], [0, 2]]
    X[1, 1] = [0, 5]
    first, second = cut_padding(X)
    np.testing.assert_array_equal(first, [[1, 0], [0, 2]])
    np.testing.assert_array_equal(second, [[0, 5]])


def test_padding_of_other_kinds():
    rows = cut_padding(np.array([[1.0, np.nan], [np.nan, np.nan]]), np.nan)
    assert [row.tolist() for row in rows] == [[1.0], []]
    assert [row.tolist() for row in cut_padding([["a", ""], ["b", "c"]], "")] == [["a"], ["b", "c"]]
    assert [row.tolist() for row in cut_padding(np.zeros((2, 0), int))] == [[], []]
    for X, padding, message in (
        ([["a", ""]], 0, "X holds <U1: say which of them is padding, got 0"),
        ([[1, 0]], "", "X holds int64: say which of them is padding, got ''"),
        ([[1, 0]], None, "padding must be one number or string, got None"),
        ([[1, 0]], [1, 0], r"padding must be one number or string, got \[1, 0\]"),
    ):
        with pytest.raises(ValueError, match=message):
            cut_padding(X, padding)


def test_lengths_in_the_place_of_padding():
    rows = cut_padding([[0, 1, 0], [0, 0, 0]], lengths=[3, 1])
    assert [row.tolist() for row in rows] == [[0, 1, 0], [0]]
    for wrong, message in (([4, 1], r"lengths\[0\] is 4, but sequence 0 has 3"), ([1], "must be 2 integers"),
                           ([1.0, 2.0], "must be 2 integers"), ([-1, 0], r"lengths\[0\] is -1")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            cut_padding([[0, 1, 0], [0, 0, 0]], lengths=wrong)
    with pytest.raises(ValueError, match=r"shape \(n, T\) or \(n, T, k\), got \(3,\)"):
        cut_padding([1, 2, 3])
