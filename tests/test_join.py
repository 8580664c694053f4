"""Values side by side: vectors of tokens and numbers, and what several layers say of a sequence."""

import gpu
import numpy as np
import pytest
from passes import check_gradients, random_weights, trained

from skrnn import backends, inference
from skrnn.links import Dense, Embedding, Join, Last, Recurrent
from skrnn.network import Network
from skrnn.recording import INPUT
from skrnn.sequences import Sequences, Targets

FLOAT = np.dtype(np.float64)
TABLES = (3, 5)
WIDTHS = {"table 0": 2, INPUT: 1, "table 1": 3}

rng = np.random.default_rng(0)
LENGTHS = np.array([3, 1, 4])
NUMBERS = rng.standard_normal((8, 1))
TOKENS = np.stack([rng.integers(0, n, 8) for n in TABLES], axis=1).astype(np.int32)
SEQUENCES = Sequences(NUMBERS, np.cumsum(LENGTHS) - LENGTHS, LENGTHS, tokens=TOKENS)
Y = Targets(rng.standard_normal((3, 1)))


def links(backend):
    """Two columns of tokens around a number, read by two layers, whose last states stand side by side."""
    return [
        *(Embedding(backend, FLOAT, f"table {k}", n, (2, 3)[k], column=k) for k, n in enumerate(TABLES)),
        Join("joined", WIDTHS),
        *(Recurrent(backend, FLOAT, f"states {k}", "joined", f"_{k}", "gru", 6, 2) for k in range(2)),
        *(Last(f"last {k}", f"states {k}", 2) for k in range(2)),
        Join("lasts", {"last 0": 2, "last 1": 2}),
        Dense(backend, FLOAT, "out", {"head": ("lasts", 4)}, 1),
    ]


def test_gradients_are_central_differences():
    check_gradients(links, random_weights(links, 1), SEQUENCES, Y)


def test_as_if_the_columns_had_been_given():
    def alone(backend):
        return [
            *(Recurrent(backend, FLOAT, f"states {k}", INPUT, f"_{k}", "gru", 6, 2) for k in range(2)),
            *(Last(f"last {k}", f"states {k}", 2) for k in range(2)),
            Dense(backend, FLOAT, "out", {"a": ("last 0", 2), "b": ("last 1", 2)}, 1),
        ]

    weights, backend = random_weights(links, 1), backends.get("cpu")
    network = Network(1, links(backend), dtype=FLOAT)
    found, _ = inference.run(network, network.pack(weights), SEQUENCES)
    head = weights.pop("head.weight")
    weights |= {"a.weight": head[:, :2], "b.weight": head[:, 2:], "a.bias": weights.pop("head.bias")}
    columns = [weights.pop(f"table {k}.weight")[TOKENS[:, k]] for k in range(2)]
    values = np.concatenate([columns[0], NUMBERS, columns[1]], axis=1)
    other = Network(6, alone(backend), dtype=FLOAT)
    expected, _ = inference.run(other, other.pack(weights), Sequences.consecutive(values, LENGTHS))
    np.testing.assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=gpu.needs_gpu)])
def test_both_backends_agree(device):
    weights = random_weights(links, 1)
    value, gradients = trained(links, weights, SEQUENCES, Y)
    other, others = trained(links, weights, SEQUENCES, Y, device=device)
    np.testing.assert_allclose(other, value, rtol=1e-12)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(others[name], gradient, rtol=0, atol=1e-12, err_msg=name)
