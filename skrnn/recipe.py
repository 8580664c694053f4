"""The network that the estimators' parameters describe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import backends
from .cells import STATES
from .links import (
    CRF,
    Attention,
    CrossAttention,
    Dense,
    Dropout,
    Embedding,
    Join,
    Last,
    Link,
    Mate,
    Pool,
    Recurrent,
    Softmax,
    Tanh,
    Unfold,
)
from .network import Network
from .recording import INPUT, MATE_TOKENS, TOKENS


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
    tables: Sequence[tuple[int, int]] = (),
    embedding_updates: str = "dense",
    freeze_embedding: bool = False,
    embedding_dropout: float = 0.0,
    crf: bool = False,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    head_dropout: float = 0.0,
    dtype: np.dtype | type | str = np.float32,
    device: str = "cpu",
    n_threads: int = 1,
) -> Network:
    """Recurrent layers, pooling over time, a dense head; for the parameters see the estimators.

    With `skip_steps`, the steps of every sequence, a linear map leads from all of them to the outputs.
    `tables` are those of vectors, tokens and numbers of each, one for each column of tokens; what they say
    stands before the `n_in` numbers of a step. With `crf`, the outputs are scores of labels, which hang
    together in a chain.
    """
    backend, arrays = backends.get(device), array_dtype(dtype)
    directions, links = 2 if bidirectional else 1, list[Link]()
    # Streams of random numbers: even ones for the recurrent masks of a layer's directions, odd ones for the
    # dropout above a layer, and behind those for that of tokens.
    parts, top = dict[str, int](), num_layers - 1  # parts: the widths of what makes up a step, by name
    for k, (n_tokens, size) in enumerate(tables):
        vectors = Embedding(
            backend, arrays, table_name(k, len(tables)), n_tokens, size, column=k,
            updates=None if freeze_embedding else embedding_updates, dropout=embedding_dropout,
            stream=2 * (num_layers + k) + 1,
        )  # fmt: skip
        links.append(vectors)
        parts[vectors.name] = size
    if n_in > 0:
        parts[INPUT] = n_in
    if len(parts) > 1:
        links.append(Join("step", parts))
        parts = {"step": links[-1].width}
    step, step_width = next(iter(parts.items()))
    below, width = step, step_width
    for k in range(num_layers):
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
    if head_dropout > 0:
        links.append(Dropout("head dropout", below, width, head_dropout, stream=2 * top + 1))
        below = links[-1].name
    maps: dict[str, Any] = {"head": (below, width)}
    if skip_steps is not None:
        links.append(Unfold("unfolded", step, skip_steps, step_width))
        maps["skip"] = "unfolded", links[-1].width
    links.append(Dense(backend, arrays, "out", maps, n_out))
    if crf:
        links.append(CRF("crf", "out", n_out))
    return Network(n_in, links, dtype=arrays, device=device, n_threads=n_threads)


def language_network(
    n_tokens: int,
    *,
    cell: str = "rnn",
    hidden_size: int = 32,
    num_layers: int = 1,
    embedding_size: int = 32,
    tie_weights: bool = False,
    activation: str = "tanh",
    reset_after: bool = True,
    embedding_dropout: float = 0.0,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    dtype: np.dtype | type | str = np.float32,
    device: str = "cpu",
    n_threads: int = 1,
) -> Network:
    """Vectors of tokens, recurrent layers, a softmax over the next token; for the parameters see the language
    models.

    With tied weights, vectors and those of the softmax are the same, and where the layers are of another size
    a linear map leads to them.
    """
    backend, arrays, links = backends.get(device), array_dtype(dtype), list[Link]()
    narrows = tie_weights and embedding_size != hidden_size
    top, width = "projection" if narrows else f"states {num_layers - 1}", hidden_size
    if narrows:
        width = embedding_size
    elif dropout > 0:
        top = f"dropout {num_layers - 1}"
    decoder = Softmax(backend, arrays, "decoder", top, width, n_tokens)
    # Streams of random numbers as of `recurrent_network`.
    links.append(
        Embedding(
            backend, arrays, "embedding", n_tokens, embedding_size, tied=decoder if tie_weights else None,
            dropout=embedding_dropout, stream=2 * num_layers + 1,
        )
    )  # fmt: skip
    below, size = "embedding", embedding_size
    if dropout > 0:
        links.append(Dropout("dropout", below, size, dropout, stream=2 * num_layers + 3))
        below = "dropout"
    for k in range(num_layers):
        links.append(
            Recurrent(
                backend, arrays, f"states {k}", below, f"_l{k}", cell, size, hidden_size,
                recurrent_dropout=recurrent_dropout, stream=2 * k, activation=activation,
                reset_after=reset_after, bf16=dtype == "bfloat16",
            )
        )  # fmt: skip
        below, size = links[-1].name, hidden_size
        if dropout > 0:
            links.append(Dropout(f"dropout {k}", below, size, dropout, stream=2 * k + 1))
            below = links[-1].name
    if narrows:
        links.append(Dense(backend, arrays, "projection", {"projection": (below, size)}, embedding_size))
    links.append(decoder)
    return Network(0, links, dtype=arrays, device=device, n_threads=n_threads)


def translation_network(
    n_source: int,
    n_target: int,
    *,
    cell: str = "rnn",
    hidden_size: int = 32,
    num_layers: int = 1,
    bidirectional: bool = True,
    embedding_size: int = 32,
    attention: str | None = "dot",
    tie_weights: bool = False,
    activation: str = "tanh",
    reset_after: bool = True,
    embedding_dropout: float = 0.0,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    dtype: np.dtype | type | str = np.float32,
    device: str = "cpu",
    n_threads: int = 1,
) -> Network:
    """An encoder of `n_source` tokens, in whose last states a decoder of `n_target` tokens begins, and
    attention of each of its steps to all states of the encoder (Sutskever et al. 2014, Luong et al. 2015);
    for the parameters see the translators.

    Half of the units of an encoder that reads both ways read forwards and half backwards, so that its states
    are as wide as the decoder's.
    """
    backend, arrays, links = backends.get(device), array_dtype(dtype), list[Link]()
    own: dict[str, Any] = {
        "cell": cell, "activation": activation, "reset_after": reset_after, "bf16": dtype == "bfloat16",
        "recurrent_dropout": recurrent_dropout,
    }  # fmt: skip
    directions, H = 2 if bidirectional else 1, hidden_size
    streams = iter(range(1, 2**16, 2))  # odd ones, of dropout; those of the layers are even
    masks = iter(range(0, 2**16, 4))

    def dropped(read: str, width: int) -> str:
        if dropout > 0:
            links.append(Dropout(f"{read}, dropped", read, width, dropout, stream=next(streams)))
        return links[-1].name

    def vectors(side: str, read: str, n_tokens: int, tied: Softmax | None) -> str:
        links.append(
            Embedding(
                backend, arrays, f"{side}.embedding", n_tokens, embedding_size, read=read, tied=tied,
                dropout=embedding_dropout, stream=next(streams),
            )
        )  # fmt: skip
        return dropped(links[-1].name, embedding_size)

    below, width, memory = vectors("encoder", MATE_TOKENS, n_source, None), embedding_size, ""
    first: list[list[str]] = []  # of each of the decoder's layers
    for k in range(num_layers):
        memory = f"encoder {k}"
        links.append(
            Recurrent(
                backend, arrays, memory, below, f"_l{k}", n_in=width, n_hidden=H // directions,
                directions=directions, stream=next(masks), prefix="encoder.", **own,
            )
        )  # fmt: skip
        first.append([])
        for state in STATES[cell]:
            links.append(Last(f"{memory}, {state}", memory, H, cell=state == "c"))
            links.append(Mate(f"first {state} {k}", links[-1].name, H))
            first[k].append(links[-1].name)
        if k < num_layers - 1:
            below, width = dropped(memory, H) if dropout > 0 else memory, H
    if attention == "general":
        links.append(Dense(backend, arrays, "keys", {"attention.keys": (memory, H)}, H, bias=False))

    # The softmax reads rows of its own width, which is that of the vectors where it shares them.
    top, width = f"decoder {num_layers - 1}", embedding_size if tie_weights else H
    if attention is not None or width != H:
        top = "attentional" if attention is not None else "projection"
    head = Softmax(backend, arrays, "head", f"{top}, dropped" if dropout > 0 else top, width, n_target)
    below = vectors("decoder", TOKENS, n_target, head if tie_weights else None)
    width = embedding_size
    for k in range(num_layers):
        states = f"decoder {k}"
        links.append(
            Recurrent(
                backend, arrays, states, below, f"_l{k}", n_in=width, n_hidden=H, stream=next(masks),
                first=first[k], prefix="decoder.", **own,
            )
        )  # fmt: skip
        below, width = states, H
        if k < num_layers - 1 and dropout > 0:
            below = dropped(states, H)
    if attention is not None:
        keys = "keys" if attention == "general" else memory
        links.append(CrossAttention("context", below, keys, memory, H, H))
        links.append(Join("context and states", {"context": H, below: H}))
        maps = {"attention": ("context and states", 2 * H)}
        links.append(Dense(backend, arrays, "attention", maps, head.product.n_in))
        links.append(Tanh("attentional", "attention", links[-1].width))
    elif head.product.n_in != H:
        links.append(Dense(backend, arrays, top, {"projection": (below, H)}, head.product.n_in))
    dropped(top, head.product.n_in)
    links.append(head)
    return Network(0, links, dtype=arrays, device=device, n_threads=n_threads)


def table_name(k: int, n_tables: int) -> str:
    """What the table of column k of the tokens is called, of so many."""
    return "embedding" if n_tables == 1 else f"embedding_{k}"


def array_dtype(dtype: Any) -> np.dtype:
    """The type of all arrays: bfloat16 is a way to multiply, what is multiplied is kept as float32."""
    return np.dtype(np.float32 if dtype == "bfloat16" else dtype)
