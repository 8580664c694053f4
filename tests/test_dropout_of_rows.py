"""Dropout of what is no layer's states: vectors of tokens, and the row of a sequence that the head reads."""

from functools import partial

import gpu
import numpy as np
import pytest
from passes import check_gradients, random_weights, trained

from skrnn import backends
from skrnn.backends.cpu.dropout import sequence_key, survives
from skrnn.batches import Jobs
from skrnn.links import Dense, Dropout, Embedding, Last, Recurrent
from skrnn.network import Network
from skrnn.sequences import Sequences, Targets

FLOAT, V, D, H = np.dtype(np.float64), 7, 3, 5
RATE, SEED = 0.4, 11

rng = np.random.default_rng(0)
SEQUENCES = Sequences.from_tokens([rng.integers(0, V, n) for n in (4, 1, 6, 2)])
Y = Targets(rng.standard_normal((4, 2)))
ON_GPU = pytest.param("cuda", marks=gpu.needs_gpu)


def links(backend):
    return [
        Embedding(backend, FLOAT, "table", V, D),
        Dropout("some of the vectors", "table", D, RATE, stream=1),
        Recurrent(backend, FLOAT, "states", "some of the vectors", "_l0", "rnn", D, H),
        Last("last", "states", H),
        Dropout("some of the last", "last", H, RATE, stream=3),
        Dense(backend, FLOAT, "out", {"head": ("some of the last", H)}, 2),
    ]


def mask(stream, sequence, n):
    """Of numbers that are counted through a sequence."""
    with np.errstate(over="ignore"):  # as counters do
        key = sequence_key(SEED, 0, stream, sequence)
        return np.array([survives(key, k, RATE) for k in range(n)]) / (1 - RATE)


def oracle(weights):
    """The mean of the squared error."""
    values, tables = [], weights["table.weight"]
    for i, (start, n) in enumerate(zip(SEQUENCES.starts, SEQUENCES.lengths, strict=True)):
        x = tables[SEQUENCES.tokens[start : start + n, 0]] * mask(1, i, n * D).reshape(n, D)
        h = np.zeros(H)
        for step in x:
            z = weights["weight_ih_l0"] @ step + weights["bias_ih_l0"]
            h = np.tanh(z + weights["weight_hh_l0"] @ h + weights["bias_hh_l0"])
        out = weights["head.weight"] @ (h * mask(3, i, H)) + weights["head.bias"]
        values.append(np.mean((out - Y.values[i]) ** 2))
    return np.mean(values)


def test_the_loss_is_that_of_numbers_left_out():
    weights = random_weights(links)
    for seed in (SEED, None):
        value, _ = trained(links, weights, SEQUENCES, Y, dropout_seed=seed)
        assert np.isclose(value, oracle(weights), rtol=1e-12) == (seed is not None)


def test_gradients_are_central_differences():
    check_gradients(links, random_weights(links), SEQUENCES, Y, dropout_seed=SEED)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_masks_belong_to_sequences(n_threads):
    """Whatever the order of the minibatch and the number of threads."""
    weights = random_weights(links)
    expected, _ = trained(links, weights, SEQUENCES, Y, dropout_seed=SEED)
    value, _ = trained(
        links, weights, SEQUENCES, Y, dropout_seed=SEED, order=np.array([2, 0, 3, 1]), n_threads=n_threads
    )
    np.testing.assert_allclose(value, expected, rtol=1e-14)


@pytest.mark.parametrize("device", [ON_GPU])
def test_both_backends_agree(device):
    weights = random_weights(links)
    value, gradients = trained(links, weights, SEQUENCES, Y, dropout_seed=SEED)
    other, others = trained(links, weights, SEQUENCES, Y, dropout_seed=SEED, device=device)
    np.testing.assert_allclose(other, value, rtol=1e-12)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(others[name], gradient, rtol=0, atol=1e-12, err_msg=name)


# --- dropout of whole tokens ------------------------------------------------------------------------
REPEATED = [np.array(text) for text in ([3, 1, 3, 5, 0, 1], [1], [6, 6, 2, 1], [3, 0, 3])]
TEXTS = Sequences.from_tokens(REPEATED)


def tokens_dropped(backend, rate=RATE, updates="lazy", stream=5, n_tokens=V):
    return [
        Embedding(
            backend, FLOAT, "table", n_tokens, D, updates=updates, dropout=rate, stream=stream
        ),
        Recurrent(backend, FLOAT, "states", "table", "_l0", "rnn", D, H),
        Last("last", "states", H),
        Dense(backend, FLOAT, "out", {"head": ("last", H)}, 2),
    ]  # fmt: skip


def vectors(sequences, *, order=None, epoch=0, seed=SEED, device="cpu", n_threads=1, n_tokens=V, **options):
    """What a training pass reads from a table of ones, (R, D) of the sequences as they are given."""
    with backends.turn(device):
        links = tokens_dropped(backends.get(device), n_tokens=n_tokens, **options)
        network = Network(0, links, dtype=FLOAT, device=device, n_threads=n_threads)
        params = network.pack({k: np.ones(v) for k, v in network.parameters.shapes().items()})
        jobs, tape, n = (
            Jobs(sequences.lengths, len(sequences), None),
            network.backend.Tape(n_threads),
            len(sequences),
        )
        rec = network.record(tape, jobs.room(), params, dropout_seed=seed)
        network.forward(rec, network.read(rec, sequences, jobs))
        out = np.full((sequences.n_steps, D), np.nan)
        network.backend.scatter(rec, rec.values["table"], sequences.offsets[1:], D, out)
        jobs.plan(np.arange(n) if order is None else order, epoch)
        tape.run(flops=1e12)
        return out


def kept(sequence, token, epoch=0, stream=5):
    with np.errstate(over="ignore"):  # as counters do
        return survives(sequence_key(SEED, epoch, stream, sequence), token, RATE)


@pytest.mark.parametrize("device", ["cpu", ON_GPU])
@pytest.mark.parametrize("epoch", [0, 3])
def test_tokens_are_dropped_by_type(device, epoch):
    """All places of a token in a sequence share its fate, and each sequence and epoch has its own."""
    factors = [[kept(i, v, epoch) / (1 - RATE) for v in text] for i, text in enumerate(REPEATED)]
    expected = np.repeat(np.concatenate(factors)[:, None], D, axis=1)
    np.testing.assert_array_equal(vectors(TEXTS, device=device, epoch=epoch), expected)
    assert {kept(i, 1, epoch) for i in range(3)} == {True, False}


@pytest.mark.parametrize("n_threads", [1, 2])
def test_dropped_tokens_belong_to_sequences(n_threads):
    expected = vectors(TEXTS)
    found = vectors(TEXTS, order=np.array([2, 0, 3, 1]), n_threads=n_threads)
    np.testing.assert_array_equal(found, expected)


def test_the_share_of_tokens_that_are_dropped():
    """And no two sequences, epochs, streams or seeds draw the same."""
    n = 5_000
    once = Sequences.from_tokens([np.arange(n)] * 2)
    first = vectors(once, n_tokens=n)[:, 0].reshape(2, n)
    others = [
        vectors(once, n_tokens=n, **o)[:n, 0] for o in ({"epoch": 1}, {"stream": 6}, {"seed": SEED + 1})
    ]
    for drawn in (*first, *others):
        np.testing.assert_allclose(np.mean(drawn == 0), RATE, atol=0.03)
        np.testing.assert_array_equal(np.unique(drawn), [0, 1 / (1 - RATE)])
    draws = np.stack([*first, *others]) != 0
    agree = np.array([np.mean(a == b) for i, a in enumerate(draws) for b in draws[:i]])
    np.testing.assert_allclose(agree, RATE**2 + (1 - RATE) ** 2, atol=0.03)


@pytest.mark.parametrize("updates", ["dense", "lazy"])
def test_gradients_with_tokens_dropped(updates):
    links = partial(tokens_dropped, updates=updates)
    gradients = check_gradients(links, random_weights(links), TEXTS, Y, dropout_seed=SEED)
    never = [v for v in range(V) if not any(v in text and kept(i, v) for i, text in enumerate(REPEATED))]
    assert set(never) & set(np.concatenate(REPEATED))  # read, but always dropped
    np.testing.assert_array_equal(gradients["table.weight"][never], 0)


def test_what_drops_no_token_records_nothing():
    def calls(rate, seed):
        network = Network(0, tokens_dropped(backends.get("cpu"), rate), dtype=FLOAT)
        tape, jobs = network.backend.Tape(), Jobs(TEXTS.lengths, 4, None)
        rec = network.record(
            tape, jobs.room(), network.backend.aligned(network.size, FLOAT), dropout_seed=seed
        )
        network.forward(rec, network.read(rec, TEXTS, jobs))
        return [call.kernel.__name__ for call in tape.calls].count("drop_tokens")

    assert (calls(RATE, SEED), calls(0.0, SEED), calls(RATE, None)) == (1, 0, 0)


@pytest.mark.parametrize("device", [ON_GPU])
def test_both_backends_drop_the_same_tokens(device):
    weights = random_weights(tokens_dropped)
    _, gradients = trained(tokens_dropped, weights, TEXTS, Y, dropout_seed=SEED)
    _, others = trained(tokens_dropped, weights, TEXTS, Y, dropout_seed=SEED, device=device)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(others[name], gradient, rtol=0, atol=1e-12, err_msg=name)
