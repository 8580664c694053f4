"""The network that the estimators' parameters describe."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from . import backends
from .cells import STATES
from .links import (
    CRF,
    CTC,
    Attention,
    CrossAttention,
    Dense,
    Dropout,
    Embedding,
    Join,
    Last,
    Link,
    Masks,
    Mate,
    Pool,
    Recurrent,
    Softmax,
    Stretches,
    Tanh,
    Unfold,
)
from .network import Network
from .recording import INPUT, MATE_INPUT, MATE_TOKENS, TOKENS


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
    # Streams of random numbers as of `stacked`; behind them those for dropout of tokens.
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
    layers = stacked(
        backend, arrays, "states", step, step_width, hidden_size, num_layers, directions, dropout=dropout,
        cell=cell, activation=activation, reset_after=reset_after, recurrent_dropout=recurrent_dropout,
        bf16=dtype == "bfloat16",
    )  # fmt: skip
    links += layers
    below, width = layers[-1].name, layers[-1].width
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
    backend, arrays = backends.get(device), array_dtype(dtype)
    vectors, above = "embedding", list[Link]()
    if dropout > 0:
        vectors = "dropout"
        above.append(Dropout(vectors, "embedding", embedding_size, dropout, stream=2 * num_layers + 3))
    above += stacked(
        backend, arrays, "states", vectors, embedding_size, hidden_size, num_layers, dropout=dropout,
        cell=cell, activation=activation, reset_after=reset_after, recurrent_dropout=recurrent_dropout,
        bf16=dtype == "bfloat16",
    )  # fmt: skip
    if dropout > 0:
        above.append(dropped(above[-1], dropout, stream=2 * num_layers - 1))
    if tie_weights and embedding_size != hidden_size:
        maps = {"projection": (above[-1].name, hidden_size)}
        above.append(Dense(backend, arrays, "projection", maps, embedding_size))
    head = Softmax(backend, arrays, "head", above[-1].name, above[-1].width, n_tokens)
    # Streams of random numbers as of `recurrent_network`.
    table = Embedding(
        backend, arrays, "embedding", n_tokens, embedding_size, tied=head if tie_weights else None,
        dropout=embedding_dropout, stream=2 * num_layers + 1,
    )  # fmt: skip
    return Network(0, [table, *above, head], dtype=arrays, device=device, n_threads=n_threads)


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
    backend, arrays, H = backends.get(device), array_dtype(dtype), hidden_size
    directions, streams = 2 if bidirectional else 1, iter(range(8 * num_layers + 1, 2**16, 2))
    layers: dict[str, Any] = {
        "dropout": dropout, "cell": cell, "activation": activation, "reset_after": reset_after,
        "recurrent_dropout": recurrent_dropout, "bf16": dtype == "bfloat16",
    }  # fmt: skip

    def vectors(side: str, read: str, n_tokens: int, tied: Softmax | None = None) -> list[Link]:
        table = Embedding(
            backend, arrays, f"{side}.embedding", n_tokens, embedding_size, read=read, tied=tied,
            dropout=embedding_dropout, stream=next(streams),
        )  # fmt: skip
        return [table, dropped(table, dropout, next(streams))] if dropout > 0 else [table]

    encoder = vectors("encoder", MATE_TOKENS, n_source)
    encoder += stacked(
        backend, arrays, "encoder", encoder[-1].name, embedding_size, H // directions, num_layers, directions,
        **layers,
    )  # fmt: skip
    memory, (ends, first) = encoder[-1].name, handed_over(cell, num_layers, H)
    if attention == "general":
        ends.append(Dense(backend, arrays, "keys", {"attention.keys": (memory, H)}, H, bias=False))

    begins = "decoder.embedding, dropped" if dropout > 0 else "decoder.embedding"
    decoder = stacked(
        backend, arrays, "decoder", begins, embedding_size, H, num_layers, stream=4 * num_layers, first=first,
        **layers,
    )  # fmt: skip
    top, n_read = decoder[-1].name, embedding_size if tie_weights else H  # by the softmax
    if attention is not None:
        keys = "keys" if attention == "general" else memory
        decoder += attending(backend, arrays, top, keys, memory, H, n_read)
    elif n_read != H:
        decoder.append(Dense(backend, arrays, "projection", {"projection": (top, H)}, n_read))
    if dropout > 0:
        decoder.append(dropped(decoder[-1], dropout, next(streams)))
    head = Softmax(backend, arrays, "head", decoder[-1].name, n_read, n_target)
    table = vectors("decoder", TOKENS, n_target, head if tie_weights else None)
    links = [*encoder, *ends, *table, *decoder, head]
    return Network(0, links, dtype=arrays, device=device, n_threads=n_threads)


def forecast_network(
    n_history: int,
    n_in: int,
    n_out: int,
    n_steps: int,
    *,
    cell: str = "rnn",
    hidden_size: int = 32,
    num_layers: int = 1,
    bidirectional: bool = False,
    attention: bool = True,
    linear_skip: bool = False,
    window: int | None = None,
    activation: str = "tanh",
    reset_after: bool = True,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    head_dropout: float = 0.0,
    dtype: np.dtype | type | str = np.float32,
    device: str = "cpu",
    n_threads: int = 1,
) -> Network:
    """An encoder of histories, the mates, with `n_history` numbers in a step, and a decoder that begins in
    its last states, reads `n_in` numbers in each of `n_steps` steps, and attends to all states of the
    encoder; its `n_out` answers to each step stand side by side. For the parameters see the regressors.

    With `linear_skip`, a linear map leads from what a step reads to its answers, and with `window`, the steps
    of every history, another one from all of these to all answers: without it, parameters do not depend on
    `n_steps`. An encoder in both directions is as in `translation_network`.
    """
    backend, arrays, H = backends.get(device), array_dtype(dtype), hidden_size
    directions = 2 if bidirectional else 1
    layers: dict[str, Any] = {
        "dropout": dropout, "cell": cell, "activation": activation, "reset_after": reset_after,
        "recurrent_dropout": recurrent_dropout, "bf16": dtype == "bfloat16",
    }  # fmt: skip
    encoder = stacked(
        backend, arrays, "encoder", MATE_INPUT, n_history, H // directions, num_layers, directions, **layers
    )
    ends, first = handed_over(cell, num_layers, H)
    decoder = stacked(
        backend, arrays, "decoder", INPUT, n_in, H, num_layers, stream=4 * num_layers, first=first, **layers
    )
    if attention:
        memory = encoder[-1].name
        decoder += attending(backend, arrays, decoder[-1].name, memory, memory, H, H)
    if head_dropout > 0:
        decoder.append(dropped(decoder[-1], head_dropout, stream=8 * num_layers + 1))
    maps = {"head": (decoder[-1].name, H)} | ({"skip": (INPUT, n_in)} if linear_skip else {})
    head = Dense(backend, arrays, "out", maps, n_out)
    links = [*encoder, *ends, *decoder, head, Unfold("horizon", "out", n_steps, n_out)]
    if window is not None:
        unfolded = Unfold("unfolded", MATE_INPUT, window, n_history)
        read = Mate("window", "unfolded", unfolded.width)
        maps = {"direct": ("window", read.width)}
        links += [unfolded, read, Dense(backend, arrays, "sum", maps, n_steps * n_out, onto="horizon")]
    return Network(n_in, links, dtype=arrays, device=device, n_threads=n_threads)


def transcription_network(
    n_in: int,
    n_labels: int,
    *,
    cell: str = "rnn",
    hidden_size: int = 32,
    num_layers: int = 1,
    bidirectional: bool = True,
    activation: str = "tanh",
    reset_after: bool = True,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    head_dropout: float = 0.0,
    masked_steps: tuple[int, float] = (0, 0.0),
    masked_features: tuple[int, float] = (0, 0.0),
    dtype: np.dtype | type | str = np.float32,
    device: str = "cpu",
    n_threads: int = 1,
) -> Network:
    """Recurrent layers, scores of `n_labels` labels and the blank, 0, at each step, and what sequences of
    labels they make (Graves et al. 2006); for the parameters see the transcribers.

    In training, stretches of steps and features are masked, so many of up to a share of them.
    """
    backend, arrays, begin, below = backends.get(device), array_dtype(dtype), list[Link](), INPUT
    if masked_steps[0] + masked_features[0] > 0:
        steps, features = Stretches(*masked_steps), Stretches(*masked_features)
        begin, below = [Masks("masked", INPUT, n_in, steps, features, stream=2 * num_layers + 1)], "masked"
    links = begin + stacked(
        backend, arrays, "states", below, n_in, hidden_size, num_layers, 2 if bidirectional else 1,
        dropout=dropout, cell=cell, activation=activation, reset_after=reset_after,
        recurrent_dropout=recurrent_dropout, bf16=dtype == "bfloat16",
    )  # fmt: skip
    if head_dropout > 0:
        links.append(dropped(links[-1], head_dropout, stream=2 * num_layers - 1))
    head = Dense(backend, arrays, "out", {"head": (links[-1].name, links[-1].width)}, n_labels + 1)
    links += [head, CTC("ctc", "out", n_labels + 1)]
    return Network(n_in, links, dtype=arrays, device=device, n_threads=n_threads)


def handed_over(cell: str, num_layers: int, width: int) -> tuple[list[Link], list[list[str]]]:
    """Links from the last states of an encoder's layers to those in which a decoder's begin, of that width;
    and the names of these, for each layer."""
    links = list[Link]()
    for k in range(num_layers):
        for state in STATES[cell]:
            links.append(Last(f"last {state} {k}", f"encoder {k}", width, cell=state == "c"))
            links.append(Mate(f"first {state} {k}", links[-1].name, width))
    return links, [[f"first {state} {k}" for state in STATES[cell]] for k in range(num_layers)]


def attending(
    backend: ModuleType, dtype: np.dtype, top: str, keys: str, memory: str, H: int, width: int
) -> list[Link]:
    """Attention of the states `top` to those of an encoder, all H wide; of both the attentional state, so
    wide (Luong et al. 2015)."""
    return [
        CrossAttention("context", top, keys, memory, H, H),
        Join("context and state", {"context": H, top: H}),
        Dense(backend, dtype, "attention", {"attention": ("context and state", 2 * H)}, width),
        Tanh("attentional state", "attention", width),
    ]


def stacked(
    backend: ModuleType, dtype: np.dtype, name: str, below: str, width: int, hidden_size: int,
    num_layers: int, directions: int = 1, *, dropout: float = 0.0, stream: int = 0,
    first: Sequence[Sequence[str]] | None = None, **cell: Any,
) -> list[Link]:  # fmt: skip
    """Recurrent layers on what is `below`, of that width, with dropout between them: "name 0", "name 1", ....

    Streams of random numbers, from `stream` on: even ones for the recurrent masks of a layer's directions,
    odd ones for the dropout above a layer. `first`: see `Recurrent`, of each layer. Arrays of layers that are
    not called "states" have the name before theirs.
    """
    links, prefix = list[Link](), "" if name == "states" else f"{name}."
    for k in range(num_layers):
        if k > 0 and dropout > 0:
            links.append(dropped(links[-1], dropout, stream + 2 * k - 1))
        if k > 0:
            below, width = links[-1].name, links[-1].width
        links.append(
            Recurrent(
                backend, dtype, f"{name} {k}", below, f"_l{k}", n_in=width, n_hidden=hidden_size,
                directions=directions, stream=stream + 2 * k * directions, prefix=prefix,
                first=() if first is None else first[k], **cell,
            )
        )  # fmt: skip
    return links


def dropped(link: Link, rate: float, stream: int) -> Dropout:
    """Dropout of what a link makes."""
    return Dropout(f"{link.name}, dropped", link.name, link.width, rate, stream)


def table_name(k: int, n_tables: int) -> str:
    """What the table of column k of the tokens is called, of so many."""
    return "embedding" if n_tables == 1 else f"embedding_{k}"


def array_dtype(dtype: Any) -> np.dtype:
    """The type of all arrays: bfloat16 is a way to multiply, what is multiplied is kept as float32."""
    return np.dtype(np.float32 if dtype == "bfloat16" else dtype)
