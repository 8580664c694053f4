"""The network that the estimators' parameters describe."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import backends
from .links import CRF, Attention, Dense, Dropout, Last, Link, Pool, Recurrent, Unfold
from .network import Network
from .recording import INPUT


def recurrent_network(
    n_in: int,
    n_out: int,
    *,
    cell: str = "rnn",
    hidden_size: int = 32,
    num_layers: int = 1,
    bidirectional: bool = False,
    activation: str = "tanh",
    reset_after: bool = True,
    pooling: str = "last",
    return_sequences: bool = False,
    skip_steps: int | None = None,
    crf: bool = False,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    dtype: np.dtype | type | str = np.float32,
    device: str = "cpu",
    n_threads: int = 1,
) -> Network:
    """Recurrent layers, pooling over time, a dense head; for the parameters see the estimators.

    With `skip_steps`, the steps of every sequence, a linear map leads from all of them to the outputs. With
    `crf`, the outputs are scores of labels, which hang together in a chain.
    """
    backend, arrays = backends.get(device), array_dtype(dtype)
    directions, links = 2 if bidirectional else 1, list[Link]()
    below, width, top = INPUT, n_in, num_layers - 1
    for k in range(num_layers):
        # Streams of random numbers: even ones for the recurrent masks of a layer's directions, odd ones for
        # the dropout above a layer.
        layer = Recurrent(
            backend, arrays, f"states {k}", below, f"_l{k}", cell, width, hidden_size, directions=directions,
            recurrent_dropout=recurrent_dropout, stream=2 * k * directions, activation=activation,
            reset_after=reset_after, bf16=dtype == "bfloat16",
        )  # fmt: skip
        links.append(layer)
        below, width = layer.name, layer.width
        if k < top and dropout > 0:
            links.append(Dropout(f"dropout {k}", below, width, dropout, stream=2 * k + 1))
            below = links[-1].name
    if not return_sequences:
        if pooling == "last":
            links.append(Last("last", below, width))
        elif pooling == "attention":
            links.append(Attention(backend, arrays, "attention", below, width))
        else:
            links.append(Pool("pool", below, width, pooling))
        below = links[-1].name
    maps: dict[str, Any] = {"head": (below, width)}
    if skip_steps is not None:
        links.append(Unfold("unfolded", INPUT, skip_steps, n_in))
        maps["skip"] = "unfolded", links[-1].width
    links.append(Dense(backend, arrays, "out", maps, n_out))
    if crf:
        links.append(CRF("crf", "out", n_out))
    return Network(n_in, links, dtype=arrays, device=device, n_threads=n_threads)


def array_dtype(dtype: Any) -> np.dtype:
    """The type of all arrays: bfloat16 is a way to multiply, what is multiplied is kept as float32."""
    return np.dtype(np.float32 if dtype == "bfloat16" else dtype)
