"""Dropout of what is no layer's states: vectors of tokens, and the row of a sequence that the head reads."""

import gpu
import numpy as np
import pytest
from passes import check_gradients, random_weights, trained

from skrnn.backends.cpu.dropout import sequence_key, survives
from skrnn.links import Dense, Dropout, Embedding, Last, Recurrent
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
