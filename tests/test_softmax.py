"""Tokens in and tokens out: embeddings, a softmax whose scores are not kept, and a table that both share."""

import gpu
import numpy as np
import pytest
from passes import check_gradients, random_weights, trained

from skrnn import backends, inference, losses
from skrnn.backends.cpu import softmax as cpu_softmax
from skrnn.batches import Jobs
from skrnn.layout import Parameters, Section
from skrnn.links import Dense, Embedding, Last, Objective, Recurrent, Softmax
from skrnn.network import Network
from skrnn.recording import INPUT
from skrnn.sequences import Sequences, Targets

FLOAT, LOSS = np.dtype(np.float64), losses.multiclass_log_loss
V, D = 37, 4
rng = np.random.default_rng(0)
TEXTS = [rng.integers(0, V, n) for n in (6, 1, 9, 4, 9)]
SEQUENCES = Sequences.from_tokens(TEXTS)
NEXT = Targets(rng.integers(0, V, (SEQUENCES.n_steps, 1)).astype(np.int32))
ON_GPU = pytest.param("cuda", marks=gpu.needs_gpu)


def language_model(tied, dtype=FLOAT, n_tokens=V, width=D, cell="gru", stored=False):
    """From a backend to links: tokens in, scores of the next out."""

    def links(backend):
        top = Softmax(backend, dtype, "out", "states", width, n_tokens, prefix="decoder")
        if stored:
            top = Dense(backend, dtype, "out", {"decoder": ("states", width)}, n_tokens)
        encoder = Embedding(backend, dtype, "encoder", n_tokens, width, tied=top if tied else None)
        return [encoder, Recurrent(backend, dtype, "states", "encoder", "_l0", cell, width, width), top]

    return links


@pytest.mark.parametrize("tied", [False, True])
def test_gradients_are_central_differences(tied):
    links = language_model(tied)
    weights = random_weights(links)
    assert ("encoder.weight" in weights) != tied
    check_gradients(links, weights, SEQUENCES, NEXT, loss=LOSS)


@pytest.mark.parametrize("rows", [1, 2, 5, 29])
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("tied", [False, True])
def test_chunks_and_threads(rows, n_threads, tied, monkeypatch):
    """The same gradients, to rounding, in chunks of any size; to the bit, on any number of threads."""
    links = language_model(tied)
    weights = random_weights(links)
    value, gradients = trained(links, weights, SEQUENCES, NEXT, loss=LOSS)
    monkeypatch.setattr(cpu_softmax, "LEAST_ROWS", rows)
    monkeypatch.setattr(cpu_softmax, "CHUNK", 1)
    one, alone = trained(links, weights, SEQUENCES, NEXT, loss=LOSS)
    other, others = trained(links, weights, SEQUENCES, NEXT, loss=LOSS, n_threads=n_threads)
    assert one == other
    np.testing.assert_allclose(one, value, rtol=1e-14)
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(others[name], alone[name], err_msg=name)
        np.testing.assert_allclose(alone[name], gradient, rtol=0, atol=1e-13, err_msg=name)


@pytest.mark.parametrize(("n_tokens", "width"), [(2, 1), (65, 16), (1000, 33), (5000, 7)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_as_if_all_scores_were_kept(n_tokens, width, dtype):
    """A linear map with the log loss of classes is the same, and keeps all of them."""
    dtype, rng = np.dtype(dtype), np.random.default_rng(0)
    sequences = Sequences.from_tokens([rng.integers(0, n_tokens, n) for n in (40, 7, 90)])
    y = rng.integers(0, n_tokens, (sequences.n_steps, 1))
    links = language_model(False, dtype, n_tokens, width, "rnn")
    weights, w = random_weights(links, dtype=dtype), rng.choice([0.0, 0.5, 2.0], len(y)).astype(dtype)
    value, gradients = trained(
        links, weights, sequences, Targets(y.astype(np.int32)), loss=LOSS, dtype=dtype, w=w
    )
    kept = language_model(False, dtype, n_tokens, width, "rnn", stored=True)
    expected, others = trained(
        kept, weights, sequences, Targets(y.astype(dtype)), loss=LOSS, dtype=dtype, w=w
    )
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(value, expected, rtol=tolerance)
    for name, gradient in others.items():
        scale = max(1e-3, np.abs(gradient).max())
        np.testing.assert_allclose(gradients[name], gradient, rtol=0, atol=tolerance * scale, err_msg=name)


@pytest.mark.parametrize("device", ["cpu", ON_GPU])
def test_one_token_for_a_sequence(device, monkeypatch):
    """Which may lie anywhere in a table of them; the gradient of the other table through wide sums."""

    def links(backend):
        *below, top = language_model(False)(backend)
        return [*below, Last("last", "states", D), Softmax(backend, FLOAT, "out", "last", D, V)]

    weights, n = random_weights(links), len(SEQUENCES)
    y = Targets(NEXT.values[:n].copy())
    expected = check_gradients(links, weights, SEQUENCES, y, loss=LOSS)
    at = np.array([7, 3, 11, 0, 5])
    table = np.zeros((12, 1), np.int32)
    table[at] = y.values
    if device == "cuda":
        monkeypatch.setattr("skrnn.backends.cuda.embedding.FEW", 0)
    _, found = trained(links, weights, SEQUENCES, Targets(table, at), loss=LOSS, device=device)
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient, expected[name], rtol=0, atol=1e-12, err_msg=name)


def test_log_probabilities():
    """Those of the oracle, whatever runs beside; in chunks too."""
    links = language_model(True)
    network = Network(0, links(backends.get("cpu")), dtype=FLOAT)
    params = network.pack(random_weights(links))
    scores, _ = inference.run(network, params, SEQUENCES)
    assert scores.shape == (SEQUENCES.n_steps, V)
    top = scores.max(axis=1, keepdims=True)
    expected = scores - top - np.log(np.exp(scores - top).sum(axis=1, keepdims=True))
    found, _ = inference.run(network, params, SEQUENCES, log_prob=NEXT)
    np.testing.assert_allclose(found, np.take_along_axis(expected, NEXT.values, 1), rtol=0, atol=1e-12)
    chunked, _ = inference.run(network, params, SEQUENCES, log_prob=NEXT, n_rows=7)
    np.testing.assert_array_equal(chunked, found)
    for i, own in enumerate(SEQUENCES.split(found)):
        alone, _ = inference.run(network, params, SEQUENCES.take([i]), log_prob=NEXT)
        np.testing.assert_array_equal(alone, own)


def test_extreme_scores():
    """Far apart they neither overflow nor become NaN, and what has no chance has no gradient."""
    links = language_model(False)
    weights = random_weights(links)
    weights["decoder.bias"][:] = 0
    weights["decoder.bias"][3] = 1e6
    value, gradients = trained(links, weights, SEQUENCES, NEXT, loss=LOSS)
    share = np.mean(NEXT.values != 3)
    np.testing.assert_allclose(value, 1e6 * share, rtol=1e-5)
    np.testing.assert_allclose(gradients["decoder.bias"][3], share, atol=1e-9)
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


@pytest.mark.parametrize("device", [ON_GPU])
@pytest.mark.parametrize("tied", [False, True])
def test_both_backends_agree(tied, device, monkeypatch):
    links = language_model(tied)
    weights = random_weights(links)
    value, gradients = trained(links, weights, SEQUENCES, NEXT, loss=LOSS)
    from skrnn.backends.cuda import softmax

    for chunk in softmax.CHUNK, 5 * V:
        monkeypatch.setattr(softmax, "CHUNK", chunk)
        other, others = trained(links, weights, SEQUENCES, NEXT, loss=LOSS, device=device)
        np.testing.assert_allclose(other, value, rtol=1e-10)
        for name, gradient in gradients.items():
            np.testing.assert_allclose(others[name], gradient, rtol=0, atol=1e-10, err_msg=name)


# --- arrays that several links use ----------------------------------------------------------------
def test_layers_that_share_all_their_weights():
    """Two recurrent layers and two maps of one name each: what both say is added."""

    def links(backend):
        first = Recurrent(backend, FLOAT, "states", INPUT, "_l0", "lstm", 3, 3)
        second = Recurrent(backend, FLOAT, "states above", "states", "_l0", "lstm", 3, 3)
        second.layers = {"above": second.layers["_l0"]}
        second.sections = lambda: iter(())
        second.places = lambda: [("above", second.layers["above"].places("_l0"))]
        last = Last("last", "states above", 3)
        return [first, second, last, Dense(backend, FLOAT, "out", {"head": ("last", 3)}, 1)]

    sequences = Sequences.from_arrays([rng.standard_normal((n, 3)) for n in (4, 2, 5)])
    weights = random_weights(links, 3)
    assert set(weights) == {
        "weight_ih_l0",
        "weight_hh_l0",
        "bias_ih_l0",
        "bias_hh_l0",
        "head.weight",
        "head.bias",
    }
    check_gradients(links, weights, sequences, Targets(rng.standard_normal((3, 1))))


def test_a_shared_array_is_kept_once():
    backend = backends.get("cpu")
    sizes = [Parameters(language_model(tied)(backend), FLOAT).size for tied in (False, True)]
    assert sizes[0] - sizes[1] == V * D
    links = language_model(True)
    parameters, weights = Parameters(links(backend), FLOAT), random_weights(links)
    for name, array in parameters.unpack(parameters.pack(weights)).items():
        np.testing.assert_array_equal(array, weights[name])
    assert len({start for start, _, _ in parameters.decay_ranges}) == len(parameters.decay_ranges)


def test_what_cannot_be_shared():
    backend = backends.get("cpu")
    top = Softmax(backend, FLOAT, "decoder", "states", D, V)
    states = Recurrent(backend, FLOAT, "states", "encoder", "_l0", "gru", D, D)
    with pytest.raises(ValueError, match="'encoder' is tied to 37 tokens of 4 numbers"):
        Embedding(backend, FLOAT, "encoder", V + 1, D, tied=top)
    table = Embedding(backend, FLOAT, "encoder", V, D)
    table.place = table.place._replace(section="decoder.weight")
    with pytest.raises(ValueError, match=r"would keep decoder\.weight in different layouts"):
        Network(0, [table, states, top], dtype=FLOAT)

    class Other(Embedding):
        def sections(self):
            yield Section("decoder.weight", (V, D + 1), lambda rng, shape: np.zeros(shape), True)

    table = Other(backend, FLOAT, "encoder", V, D, tied=top)
    with pytest.raises(ValueError, match=r"decoder.weight has shape \(37, 5\) in one link, \(37, 4\)"):
        Network(0, [table, states, top], dtype=FLOAT).parameters.shapes()


# --- tokens in sequences ----------------------------------------------------------------------------
def test_tokens_beside_numbers():
    """Two columns of categories, each with its table, and a number: central differences, and the oracle."""
    tables = (3, 5)

    def links(backend):
        return [
            *(Embedding(backend, FLOAT, f"table {k}", n, 2, column=k) for k, n in enumerate(tables)),
            *(Recurrent(backend, FLOAT, f"states {k}", f"table {k}", f"_{k}", "gru", 2, 3) for k in range(2)),
            Recurrent(backend, FLOAT, "states", INPUT, "_x", "gru", 1, 3),
            Last("a", "states 0", 3), Last("b", "states 1", 3), Last("c", "states", 3),
            Dense(backend, FLOAT, "out", {f"of_{name}": (name, 3) for name in "abc"}, 1),
        ]  # fmt: skip

    lengths = np.array([3, 1, 4])
    values = rng.standard_normal((8, 1))
    tokens = np.stack([rng.integers(0, n, 8) for n in tables], axis=1).astype(np.int32)
    sequences = Sequences(values, np.cumsum(lengths) - lengths, lengths, tokens=tokens)
    check_gradients(links, random_weights(links, 1), sequences, Targets(rng.standard_normal((3, 1))))


def test_tokens_are_read_where_they_lie():
    """Windows that overlap, and those that `take` takes."""
    links = language_model(False)
    network = Network(0, links(backends.get("cpu")), dtype=FLOAT)
    params, text = network.pack(random_weights(links)), rng.integers(0, V, 20)
    whole = Sequences.from_tokens([text])
    windows = Sequences(whole.values, np.array([0, 3, 11]), np.array([6, 9, 9]), tokens=whole.tokens).take(
        [2, 0]
    )
    found, _ = inference.run(network, params, windows)
    expected, _ = inference.run(network, params, Sequences.from_tokens([text[11:20], text[:6]]))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([[1, 2], [3, -1]], "sequence 1, step 1: -1 is no token"),
        ([[1], [2, 2**31, 5]], "sequence 1, step 1: 2147483648 is no token"),
        ([[1.0, 2.0]], "tokens are integers, got float64"),
    ],
)
def test_what_is_no_token(tokens, message):
    with pytest.raises(ValueError, match=message):
        Sequences.from_tokens([np.array(text) for text in tokens])


def test_tokens_beyond_a_table_are_refused_before_a_kernel_runs():
    links = language_model(False)
    network = Network(0, links(backends.get("cpu")), dtype=FLOAT)
    params = network.pack(random_weights(links))
    with pytest.raises(ValueError, match=f"sequence 1, step 2: token {V} has no row in a table of {V}"):
        inference.run(network, params, Sequences.from_tokens([np.array([1]), np.array([0, 1, V])]))
    with pytest.raises(ValueError, match="'encoder' reads column 0 of tokens, and there are 0"):
        inference.run(network, params, Sequences.from_arrays([np.zeros((2, 1))]))
    with pytest.raises(ValueError, match=f"target {V} is none of {V} tokens"):
        inference.run(
            network, params, SEQUENCES, log_prob=Targets(NEXT.values + np.int32(V - NEXT.values.max()))
        )
    with pytest.raises(ValueError, match=r"log_prob has 5 targets for 29 of the network"):
        inference.run(network, params, SEQUENCES, log_prob=Targets(NEXT.values[:5].copy()))
    with pytest.raises(ValueError, match="sequence 1 has no time steps"):
        Sequences.from_tokens([np.array([1]), np.array([], int)])
    with pytest.raises(TypeError, match="the targets of a softmax are tokens, got float64"):
        inference.run(network, params, SEQUENCES, log_prob=Targets(NEXT.values.astype(float)))
    rec = network.record(network.backend.Tape(), Jobs(SEQUENCES.lengths, 5, None).room(), params)
    with pytest.raises(
        ValueError, match="the loss of a softmax over tokens is the log loss, got squared_error"
    ):
        Objective("out", V, losses.squared_error, NEXT, None, np.zeros(3), np.zeros(1, np.intp)).forward(
            rec, network.forward(rec, network.read(rec, SEQUENCES, Jobs(SEQUENCES.lengths, 5, None)))
        )
    with pytest.raises(ValueError, match="8 rows of values but 7 of tokens"):
        Sequences(np.zeros((8, 1)), np.array([0]), np.array([8]), tokens=np.zeros((7, 1), np.int32))
    with pytest.raises(ValueError, match="tokens must be a C-contiguous 2-D array of int32"):
        Sequences(np.zeros((8, 1)), np.array([0]), np.array([8]), tokens=np.zeros((8, 1), np.int64))
