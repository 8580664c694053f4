"""Texts that networks write: sampled, or the best that a search finds."""

from itertools import product

import gpu
import numpy as np
import pytest
from passes import random_weights

from skrnn import backends, inference
from skrnn.decoding import Choices, Decoder
from skrnn.inference import State
from skrnn.links import Embedding, Last, Mate, Recurrent, Softmax
from skrnn.network import Network
from skrnn.recording import MATE_TOKENS
from skrnn.sequences import Sequences, Targets

FLOAT = np.dtype(np.float64)
V, H, END = 4, 3, 0
ON_GPU = pytest.param("cuda", marks=gpu.needs_gpu)
SOURCES = Sequences.from_tokens([np.array(text) for text in ([1, 2, 3], [3], [2, 2], [1, 0, 3, 3, 2])])


def writer(cell, pairs=False, dtype=FLOAT, n_tokens=V):
    """From a backend to links: a language model, with `pairs` of what an encoder has read."""

    def links(backend):
        made, states, first = [], ["h", "c"] if cell == "lstm" else ["h"], []
        if pairs:
            made = [
                Embedding(backend, dtype, "source", V, 2, read=MATE_TOKENS),
                Recurrent(backend, dtype, "encoder", "source", "_encoder", cell, 2, H),
            ]
            for state in states:
                made += [
                    Last(f"last {state}", "encoder", H, cell=state == "c"),
                    Mate(f"first {state}", f"last {state}", H),
                ]
                first.append(f"first {state}")
        return [
            *made,
            Embedding(backend, dtype, "target", n_tokens, 2),
            Recurrent(backend, dtype, "decoder", "target", "_decoder", cell, 2, H, first=first),
            Softmax(backend, dtype, "out", "decoder", H, n_tokens),
        ]

    return links


def made(cell, pairs=False, device="cpu", n_threads=1, seed=0, n_tokens=V):
    """A network and its parameters; scores are far enough apart to make a search worth while."""
    links = writer(cell, pairs, n_tokens=n_tokens)
    weights = {name: 1.5 * array for name, array in random_weights(links, seed=seed).items()}
    network = Network(0, links(backends.get(device)), dtype=FLOAT, device=device, n_threads=n_threads)
    return network, network.pack(weights)


def texts(max_steps):
    """All that there are: those that end, and those that are cut."""
    for n in range(max_steps):
        for head in product(range(1, V), repeat=n):
            yield (*head, END)
    yield from product(range(1, V), repeat=max_steps)


def log_probs(network, params, found, first, mates=None, state=None):
    """Of texts that begin with `first`, by the network as it reads them."""
    inputs = Sequences.from_tokens([np.array([first, *text[:-1]]) for text in found])
    y = Targets(np.concatenate(found).astype(np.int32)[:, None])
    of_each, _ = inference.run(network, params, inputs, log_prob=y, mates=mates, state=state)
    return np.array([own.sum() for own in inputs.split(of_each)])


@pytest.mark.parametrize(("cell", "pairs"), [("gru", False), ("lstm", True), ("rnn", True)])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_wide_beam_finds_what_an_exhaustive_search_finds(cell, pairs, penalty):
    max_steps, width, n = 3, 3**3, len(SOURCES) if pairs else 2
    network, params = made(cell, pairs)
    choices = Choices(n, width, max_steps, END, length_penalty=penalty)
    decoder = Decoder(network, params, choices, SOURCES if pairs else None)
    for _ in range(2):  # the second time in the arrays of the first
        found = decoder.write(np.full(n, 2))
    everything = list(texts(max_steps))
    for i in range(n):
        mates = SOURCES.take([i] * len(everything)) if pairs else None
        expected = log_probs(network, params, everything, 2, mates)
        ranks = expected / np.array([len(text) for text in everything]) ** penalty
        best = np.argsort(-ranks)[:width]
        assert [tuple(text.tokens) for text in found[i]] == [everything[k] for k in best]
        np.testing.assert_allclose([text.log_prob for text in found[i]], expected[best], atol=1e-12)
        assert [text.ended for text in found[i]] == [everything[k][-1] == END for k in best]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("penalty", [0.0, 0.7, 2.0])
def test_narrow_beams(width, seed, penalty):
    """Against a search in plain Python, which stops at nothing."""
    network, params = made("gru", seed=seed)
    choices = Choices(1, width, 6, END, length_penalty=penalty)
    found = Decoder(network, params, choices).write(np.array([1]))[0]
    live, ended = [((), 0.0)], []
    for step in range(6):
        longer = [(*text, v) for text, _ in live for v in range(V)]
        values = log_probs(network, params, longer, 1)
        live, taken = [], 0
        for rank, k in enumerate(np.argsort(-values, kind="stable")[: 1 if width == 1 else None]):
            if longer[k][-1] == END or step == 5:
                if rank < width:
                    ended.append((values[k] / (step + 1) ** penalty, longer[k], values[k]))
            else:
                live.append((longer[k], values[k]))
                taken += 1
            if taken == width:
                break
        if not live:  # of a width of 1: the most probable token ends it
            break
    best = sorted(ended, reverse=True)[:width]
    assert [tuple(text.tokens) for text in found] == [text for _, text, _ in best]
    np.testing.assert_allclose([text.log_prob for text in found], [value for _, _, value in best])


@pytest.mark.parametrize("choices", [{"width": 3}, {"temperature": 0.8, "seed": 5}, {}])
def test_a_text_is_the_same_alone_or_among_others(choices):
    """The same tokens and bits; sampled texts go by their number."""
    network, params = made("lstm", True)
    together = Decoder(network, params, Choices(4, max_steps=7, end=END, **choices), SOURCES)
    found = together.write(np.full(4, 1))
    assert len({tuple(best.tokens) for best, *_ in found}) > 1
    for i in [0] if "seed" in choices else range(4):
        alone = Decoder(
            network, params, Choices(1, max_steps=7, end=END, **choices), SOURCES.take([i])
        ).write(np.ones(1, int))[0]
        for one, other in zip(alone, found[i], strict=True):
            assert one.tokens.tolist() == other.tokens.tolist()
            assert one.log_prob == other.log_prob


@pytest.mark.parametrize("device", [ON_GPU])
@pytest.mark.parametrize("choices", [{"width": 3, "length_penalty": 0.5}, {"temperature": 0.8, "seed": 5}])
def test_both_backends_write_the_same(choices, device):
    written = []
    for where in "cpu", device:
        with backends.turn(where):
            network, params = made("lstm", True, where)
            decoder = Decoder(network, params, Choices(4, max_steps=4, end=END, **choices), SOURCES)
            written.append([text for found in decoder.write(np.full(4, 1)) for text in found])
    for here, there in zip(*written, strict=True):
        assert here.tokens.tolist() == there.tokens.tolist()
        np.testing.assert_allclose(there.log_prob, here.log_prob, rtol=1e-10)


@pytest.mark.parametrize("choices", [{"width": 4}, {"temperature": 1.0}])
def test_threads_write_the_same(choices):
    written = []
    for n_threads in 1, 2:
        network, params = made("gru", n_threads=n_threads)
        decoder = Decoder(network, params, Choices(9, max_steps=20, end=END, **choices))
        decoder._flops = 1e12
        found = [text for texts in decoder.write(np.arange(9) % V) for text in texts]
        written.append([(text.tokens.tolist(), text.log_prob) for text in found])
    assert written[0] == written[1]


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_samples_have_the_probabilities_of_the_network(temperature):
    """Chi-square, over all texts of two tokens."""
    n = 4000
    network, params = made("gru")
    choices = Choices(n, max_steps=2, end=END, temperature=temperature, seed=3)
    found = Decoder(network, params, choices).write(np.full(n, 1))
    everything = list(texts(2))
    of_each = log_probs(network, params, everything, 1)
    expected = np.zeros(len(everything))
    for k, text in enumerate(everything):  # token by token, since temperature works there
        expected[k] = 1
        for at, token in enumerate(text):
            scores = np.array([
                log_probs(network, params, [(*text[:at], v)], 1)[0] for v in range(V)
            ])  # fmt: skip
            p = np.exp((scores - scores.max()) / temperature)
            expected[k] *= p[token] / p.sum()
    np.testing.assert_allclose(expected.sum(), 1)
    counts = np.zeros(len(everything))
    for (text,) in found:
        k = everything.index(tuple(text.tokens))
        counts[k] += 1
        np.testing.assert_allclose(text.log_prob, of_each[k], atol=1e-12)
    statistic = ((counts - n * expected) ** 2 / (n * expected)).sum()
    assert statistic < 35  # 12 degrees of freedom: one in two thousand, and the seed is fixed


def kept(scores, temperature, top_k, top_p):
    """Probabilities of the tokens that are left: the best in number, then in probability."""
    p = np.exp((scores - scores.max()) / temperature)
    order = np.argsort(-scores, kind="stable")[:top_k]
    shares = np.cumsum(p[order]) / p[order].sum()
    order = order[: np.searchsorted(shares, top_p - 1e-12) + 1]
    found = np.zeros_like(p)
    found[order] = p[order] / p[order].sum()
    return found


@pytest.mark.parametrize("device", ["cpu", ON_GPU])
@pytest.mark.parametrize(
    ("top_k", "top_p"), [(None, 1.0), (1, 1.0), (3, 1.0), (None, 0.3), (None, 0.9), (5, 0.6), (40, 0.999)]
)
def test_only_probable_tokens_are_drawn(top_k, top_p, device):
    """Exactly those, with their probabilities; of equal ones, of which there are many, the first."""
    n, rng = 60 if device == "cuda" else 3000, np.random.default_rng(0)
    bias = np.round(rng.standard_normal(12) * 2) / 2
    bias[5] = -np.inf  # is never written
    with backends.turn(device):
        network, _ = made("gru", device=device, n_tokens=12)
        weights = {name: np.zeros(shape) for name, shape in network.parameters.shapes().items()}
        choices = Choices(n, max_steps=1, temperature=0.7, seed=1, top_k=top_k, top_p=top_p)
        decoder = Decoder(network, network.pack(weights | {"out.bias": bias}), choices)
        found = decoder.write(np.zeros(n, int))
    counts = np.bincount([text.tokens[0] for (text,) in found], minlength=12)
    expected = n * kept(bias, 0.7, top_k, top_p)
    assert not counts[expected == 0].any()
    some = expected > 0
    assert ((counts[some] - expected[some]) ** 2 / expected[some]).sum() < 35


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("options", [{"temperature": 1.0, "seed": 2}, {"width": 3, "end": END}])
def test_products_with_all_tokens_are_made_once(cell, options, monkeypatch):
    """Where more tokens are read than there are: the same bits, also of texts that begin elsewhere."""
    written = []
    for folds in True, False:
        if not folds:
            monkeypatch.setattr(backends.get("cpu"), "folding", None)
        network, params = made(cell, n_tokens=9)
        decoder = Decoder(network, params, Choices(2, max_steps=12, **options))
        calls = [call for call in decoder._tape.calls if "project" in str(call)]
        assert len(calls) == folds
        found = [
            text for first in ([1, 4], [2, 0]) for texts in decoder.write(np.array(first)) for text in texts
        ]
        written.append([(text.tokens.tolist(), text.log_prob) for text in found])
    assert written[0] == written[1]
    assert len({tuple(tokens) for tokens, _ in written[0]}) > 1


@pytest.mark.parametrize("device", ["cpu", ON_GPU])
def test_in_parts(device):
    """Text after text, also those that have ended meanwhile."""
    with backends.turn(device):
        network, params = made("gru", device=device)
        options = {"max_steps": 12, "end": END, "temperature": 1.0, "seed": 4}
        whole = [
            text.tokens.tolist()
            for (text,) in Decoder(network, params, Choices(5, **options)).write(np.ones(5, int))
        ]
        assert len(set(map(len, whole))) > 1
        decoder, steps, goes_on = Decoder(network, params, Choices(5, **options)), 0, True
        decoder.begin(np.ones(5, int))
        while goes_on:
            goes_on, steps = decoder.go_on(3), steps + 3
            assert [decoder.written(i) for i in range(5)] == [tokens[:steps] for tokens in whole]
        assert not decoder.go_on(3)
        assert [text.tokens.tolist() for (text,) in decoder.found()] == whole


def test_seeds():
    network, params = made("gru")

    def written(seed):
        choices = Choices(3, max_steps=30, temperature=1.0, seed=seed)
        return [
            found[0].tokens.tolist() for found in Decoder(network, params, choices).write(np.ones(3, int))
        ]

    assert written(0) == written(0)
    assert written(0) != written(1)
    assert written(0)[0] != written(0)[1]
    assert {len(tokens) for tokens in written(0)} == {30}  # nothing ends them


@pytest.mark.parametrize("device", ["cpu", ON_GPU])
def test_it_goes_on_from_what_has_been_read(device):
    """First states, and a first token that is the last one read."""
    with backends.turn(device):
        network, params = made("lstm", device=device)
        read = Sequences.from_tokens([np.array([3, 1, 2]), np.array([2])])
        _, state = inference.run(network, params, read, last=True)
        decoder = Decoder(network, params, Choices(2, 1, 5))
        found = decoder.write(np.array([1, 3]), state)
        again = decoder.write(np.array([1, 3]))
        (alone,) = Decoder(network, params, Choices(1, 1, 5)).write(np.array([1]))
    assert again[0][0].log_prob == alone[0].log_prob
    for i, (text,) in enumerate(found):
        tokens, inputs = text.tokens, [[3, 1, 2, 1], [2, 3]][i]
        here, own = made("lstm")
        for step in range(5):
            whole = Sequences.from_tokens([np.array([*inputs, *tokens[:step]])])
            scores, _ = inference.run(here, own, whole)
            assert scores[-1].argmax() == tokens[step]


def test_what_cannot_be_written():
    network, params = made("gru")
    with pytest.raises(ValueError, match="2 texts, but 4 mates"):
        Decoder(*made("gru", True), Choices(2), SOURCES)
    network.pack(random_weights(writer("gru")))
    nan = np.full_like(params, np.nan)
    with pytest.raises(ValueError, match="the scores of text 0 are not finite"):
        Decoder(network, nan, Choices(1, max_steps=2)).write(np.ones(1, int))
    both = writer("gru")(backends.get("cpu"))
    both[1] = Recurrent(backends.get("cpu"), FLOAT, "decoder", "target", "_d", "gru", 2, H, directions=2)
    both[2] = Softmax(backends.get("cpu"), FLOAT, "out", "decoder", 2 * H, V)
    with pytest.raises(ValueError, match="it cannot pool, or read backwards"):
        Decoder(Network(0, both, dtype=FLOAT), params, Choices(1))
    with pytest.raises(ValueError, match="end=4 is none of 4 tokens"):
        Decoder(network, params, Choices(1, end=4))
    for options, message in (
        ({"width": 0}, "width"),
        ({"width": 2, "temperature": 1.0}, "temperature"),
        ({"length_penalty": -1.0}, "length_penalty"),
        ({"max_steps": 0}, "max_steps"),
        ({"top_k": 0}, "top_k must be at least 1"),
        ({"top_p": 0.0}, "top_p must be above 0"),
        ({"top_p": 1.1}, "top_p must be above 0 and at most 1, got 1.1"),
    ):
        with pytest.raises(ValueError, match=message):
            Choices(1, **options)
    decoder = Decoder(network, params, Choices(2))
    with pytest.raises(ValueError, match="token 4 has no row"):
        decoder.write(np.array([1, 4]))
    for state in (State([], None), State([(np.zeros((1, H)), None)], None)):
        with pytest.raises(ValueError, match=r"first states of shapes .* expected \[\(2, 3\)\]"):
            decoder.write(np.array([1, 2]), state)
    links = writer("gru")(backends.get("cpu"))
    links[0] = Embedding(backends.get("cpu"), FLOAT, "target", V - 1, 2)
    network = Network(0, links, dtype=FLOAT)
    with pytest.raises(ValueError, match="'target' has 3 tokens, and 4 can be written"):
        Decoder(network, params, Choices(1))
