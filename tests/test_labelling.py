"""From probabilities of labels to label sequences: against all paths one by one, and searches in Python."""

from itertools import pairwise, product

import numpy as np
import pytest

from skrnn import labelling
from skrnn.labelling import BestPath, align, log_softmax, search, steps_needed
from skrnn.sequences import TOKEN


def said_by(path):
    return tuple(k for before, k in pairwise((0, *path)) if k not in (0, before))


def drawn(seed, T=None, K=None):
    """Log probabilities of random sizes, near to one another or far apart."""
    rng = np.random.default_rng(seed)
    T, K = T or int(rng.integers(1, 6)), K or int(rng.integers(2, 5))
    return log_softmax(rng.standard_normal((T, K)) * rng.choice([0.5, 2.0, 5.0]))


def enumerated(log_p):
    """Of each label sequence: its log probability, and its most probable path with that of it."""
    (T, K), sums, best = log_p.shape, {}, {}
    for path in product(range(K), repeat=T):
        p, text = log_p[np.arange(T), path].sum(), said_by(path)
        sums[text] = np.logaddexp(sums.get(text, -np.inf), p)
        best[text] = max(best.get(text, (-np.inf, path)), (p, path))
    return sums, best


def bigrams(K, seed=0):
    """A language model's log weights, and the same of whole label sequences."""
    table = np.random.default_rng(seed).standard_normal((K, K))

    def weigh(beginnings):
        return np.array([table[text[-1] if text else 0] for text in beginnings])

    return weigh, lambda text: sum(table[pair] for pair in pairwise((0, *text)))


def in_python(log_p, width, weigh=None):
    """The same search on dictionaries: what is kept after each step, with log probabilities of the paths that
    end in a blank, and in a label."""
    kept, history = {(): (0.0, -np.inf)}, []
    for step in log_p:
        weights = np.zeros((len(kept), len(step))) if weigh is None else weigh([list(text) for text in kept])
        new = {}
        for (text, (ends, said)), more in zip(kept.items(), weights, strict=True):
            parts = [(text, 0, np.logaddexp(ends, said) + step[0])]
            if text:
                parts.append((text, 1, said + step[text[-1]]))
            for k in range(1, len(step)):
                before = ends if text and k == text[-1] else np.logaddexp(ends, said)
                parts.append(((*text, k), 1, before + step[k] + more[k]))
            for found, place, p in parts:
                own = new.setdefault(found, [-np.inf, -np.inf])
                own[place] = np.logaddexp(own[place], p)
        ranked = sorted(new.items(), key=lambda item: -np.logaddexp(*item[1]))
        kept = {text: tuple(p) for text, p in ranked[:width] if np.logaddexp(*p) > -np.inf}
        history.append(kept)
    return history


def assert_found(found, kept):
    assert [tuple(text.labels) for text in found] == [*kept]
    expected = [np.logaddexp(*p) for p in kept.values()]
    np.testing.assert_allclose([text.log_prob for text in found], expected, rtol=1e-12, atol=1e-10)


# --- searches ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(30))
def test_a_wide_search_finds_all_label_sequences(seed):
    log_p = drawn(seed)
    sums, _ = enumerated(log_p)
    found = search(log_p, 2000)
    assert [tuple(text.labels) for text in found] == sorted(sums, key=lambda text: -sums[text])
    assert all(text.labels.dtype == TOKEN for text in found)
    expected = [sums[tuple(text.labels)] for text in found]
    np.testing.assert_allclose([text.log_prob for text in found], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_a_language_model_has_its_say(seed):
    log_p = drawn(seed)
    (sums, _), (weigh, whole) = enumerated(log_p), bigrams(log_p.shape[1], seed)
    found = search(log_p, 2000, weigh)
    expected = {text: p + whole(text) for text, p in sums.items()}
    assert [tuple(text.labels) for text in found] == sorted(expected, key=lambda text: -expected[text])
    for text in found:
        np.testing.assert_allclose(text.log_prob, expected[tuple(text.labels)], atol=1e-12)


@pytest.mark.parametrize("width", [1, 2, 3, 7])
@pytest.mark.parametrize("weighs", [False, True])
def test_narrow_searches(width, weighs):
    """Some beginnings leave the beam and come back, also to those that are longer by a label: there is one of
    each."""
    n_returns = n_below = 0
    for seed in range(60):
        log_p = drawn(seed, T=20, K=3 if seed % 2 else 5)
        weigh = bigrams(log_p.shape[1], seed)[0] if weighs else None
        found, history = search(log_p, width, weigh), in_python(log_p, width, weigh)
        texts = {tuple(text.labels) for text in found}
        assert len(texts) == len(found) <= width
        assert_found(found, history[-1])
        gone = set()
        for before, now in pairwise(history):
            gone |= before.keys() - now.keys()
            back = gone & now.keys()
            n_returns += len(back)
            n_below += len(back & {text[:-1] for text in before})
            gone -= back
    assert width == 1 or (n_returns > 10 and n_below > 3)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_no_search_finds_more_than_there_is(width):
    for seed in range(20):
        log_p = drawn(seed)
        sums, _ = enumerated(log_p)
        assert all(text.log_prob <= sums[tuple(text.labels)] + 1e-12 for text in search(log_p, width))


def test_a_long_search():
    """Probabilities too small for a number."""
    log_p = drawn(0, T=1000, K=6)
    found = search(log_p, 4)
    assert_found(found, in_python(log_p, 4)[-1])
    assert found[0].log_prob < -750


def test_beginnings_are_weighed_once_a_step():
    seen, log_p = [], drawn(3, T=4, K=3)

    def weigh(beginnings):
        seen.append(beginnings)
        return np.zeros((len(beginnings), 3))

    with_zeros, without = search(log_p, 3, weigh), search(log_p, 3)
    assert seen[0] == [[]]
    assert len(seen) == 4
    assert all(len(beginnings) == 3 for beginnings in seen[1:])
    for one, other in zip(with_zeros, without, strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)
        assert one.log_prob == other.log_prob


def test_what_has_no_probability_is_not_found():
    log_p = np.full((3, 3), -np.inf)
    log_p[0, 1] = log_p[1, 0] = log_p[2, 2] = 0.0
    (found,) = search(log_p, 5)
    assert (found.labels.tolist(), found.log_prob) == ([1, 2], 0.0)


# --- one path ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(30))
def test_labels_lie_where_the_most_probable_path_says_them(seed):
    log_p = drawn(seed)
    for text, (p, path) in enumerated(log_p)[1].items():
        first, last = align(log_p, np.array(text, TOKEN))
        found = np.zeros(len(path), int)
        for k, begin, end in zip(text, first, last, strict=True):
            assert begin <= end
            found[begin : end + 1] = k
        assert said_by(found) == text
        np.testing.assert_allclose(log_p[np.arange(len(path)), found].sum(), p, atol=1e-12)


def test_no_path_says_them():
    log_p = drawn(0, T=4, K=3)
    align(log_p, [1, 1, 2])
    for labels in [1, 1, 2, 2], [1, 2, 1, 2, 1]:
        with pytest.raises(ValueError, match=f"no path through 4 steps says these {len(labels)} labels"):
            align(log_p, labels)
    log_p[:, 2] = -np.inf
    with pytest.raises(ValueError, match="no path"):
        align(log_p, [1, 2])
    first, last = align(log_p, [])
    assert (len(first), len(last)) == (0, 0)


@pytest.mark.parametrize("size", [1, 2, 5, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_best_path_in_parts(size, dtype):
    rng = np.random.default_rng(0)
    scores = np.repeat(rng.standard_normal((20, 3)), 2, axis=0).astype(dtype)  # each twice: across parts, too
    whole = BestPath()
    labels, places = whole.read(scores)
    path = scores.argmax(axis=1)
    assert tuple(labels) == said_by(path)
    assert labels.dtype == TOKEN
    np.testing.assert_array_equal(path[places], labels)
    assert all(t == 0 or path[t - 1] != path[t] for t in places)
    parts = BestPath()
    read = [parts.read(scores[t : t + size]) for t in range(0, 40, size)]
    np.testing.assert_array_equal(np.concatenate([own for own, _ in read]), labels)
    np.testing.assert_array_equal(np.concatenate([at for _, at in read]), places)
    assert whole.n_steps == parts.n_steps == 40
    assert [own.tolist() for own in BestPath().read(scores[:0])] == [[], []]


def test_equal_scores_are_of_the_lower_label():
    labels, places = BestPath().read(np.array([[0, 1, 1], [1, 1, 0], [0, 1, 1], [1, 1, 1]], float))
    assert (labels.tolist(), places.tolist()) == ([1, 1], [0, 2])


@pytest.mark.parametrize(
    ("labels", "n"), [([], 1), ([2], 1), ([1, 2], 2), ([1, 1], 3), ([3, 3, 3, 1, 1], 8), ([1, 2, 1], 3)]
)
def test_steps_needed(labels, n):
    assert steps_needed(np.array(labels, TOKEN)) == n
    assert len(align(drawn(0, T=n, K=4), labels)[0]) == len(labels)
    if n > 1:
        with pytest.raises(ValueError, match="no path"):
            align(drawn(0, T=n - 1, K=4), labels)


def test_log_softmax():
    scores = np.array([[0.0, np.log(3.0)], [1e5, 1e5 - 1.0], [-np.inf, 2.0]], np.float32)
    found = labelling.log_softmax(scores)
    assert found.dtype == np.float64
    np.testing.assert_allclose(np.exp(found[0]), [0.25, 0.75], rtol=1e-6)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1)
    np.testing.assert_allclose(found[1, 1] - found[1, 0], -1, atol=1e-10)
    np.testing.assert_array_equal(found[2], [-np.inf, 0])
