"""What the shapes of weights say of the network that they are of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .foreign_weights import CALLED, CELLS, CHAIN_NAMES, RECURRENT, TABLE, Weights


def parameters_of(weights: Weights) -> dict[str, Any]:
    """The parameters of an estimator that shapes tell; they have to agree with each other.

    Returns
    -------
    dict of str to object
        cell, hidden_size, num_layers, bidirectional, linear_skip; `reset_after` where it is known, `pooling`
        where it is attention, `embedding_size` and `n_tokens` where there are tables of vectors, and `loss`
        and `return_sequences` where there is a CRF.

    Raises
    ------
    ValueError
        If an array is missing, or has another shape than the others say.
    """
    arrays, names = weights.arrays, weights.names
    for name in ("weight_hh_l0", "weight_ih_l0"):
        if name not in arrays:
            raise ValueError(f"weights lack {weights.prefix + name!r}")
    for name, array in arrays.items():
        axes = "two axes, outputs and inputs" if "weight" in name else "one axis"
        if name == "crf.transitions":
            axes = "two axes, labels and those after them"
        if array.ndim != (1 if axes == "one axis" else 2):
            raise ValueError(f"{names[name]} has shape {array.shape}, expected {axes}")
    (rows, hidden_size), first = arrays["weight_hh_l0"].shape, names["weight_hh_l0"]
    gates, rest = divmod(rows, hidden_size)
    if rest or gates not in CELLS:
        raise ValueError(
            f"{first} has shape {(rows, hidden_size)}, expected hidden_size columns and 1 (RNN), 3 (GRU) or "
            f"4 (LSTM) times as many rows; {names['weight_ih_l0']} has {arrays['weight_ih_l0'].shape}"
        )
    matches = [match for name in arrays if (match := RECURRENT.fullmatch(name))]
    layers = {int(match["layer"]) for match in matches}
    num_layers = len(layers)
    if missing := set(range(num_layers)) - layers:
        raise ValueError(f"weights lack '{weights.prefix}weight_ih_l{min(missing)}', but hold later layers")
    bidirectional = any(match["name"].endswith("_reverse") for match in matches)
    width = hidden_size * (2 if bidirectional else 1)
    if "head.weight" not in arrays:
        raise ValueError(
            "weights hold no head, the linear layer behind the recurrent ones: add 'head.weight' of shape "
            f"(n_outputs, {width}) and 'head.bias' of shape (n_outputs,), or to Keras's list a kernel of "
            f"shape ({width}, n_outputs) and a bias. With numpy.eye({width}) and zeros, outputs are states"
        )
    says = f"{CALLED[CELLS[gates]]} with hidden_size {hidden_size}"
    if bidirectional:
        says += " in two directions"
    for name, shape in shapes(arrays, num_layers, bidirectional).items():
        if name not in arrays:
            raise ValueError(f"weights lack {weights.prefix + name!r} of {says} and {num_layers} layers")
        if arrays[name].shape != shape:
            raise ValueError(
                f"{names[name]} has shape {arrays[name].shape}, but {first} of shape {(rows, hidden_size)} "
                f"says {says}: expected {shape}"
            )
    told: dict[str, Any] = {} if weights.reset_after is None else {"reset_after": weights.reset_after}
    if attends(arrays):
        told["pooling"] = "attention"
    if own := tables(arrays):
        n_tokens, sizes = ([*column] for column in zip(*own.values(), strict=True))
        told["n_tokens"], told["embedding_size"] = (
            (n_tokens, sizes) if len(own) > 1 else (n_tokens[0], sizes[0])
        )
    if chains(arrays):
        told |= {"loss": "crf", "return_sequences": True}
    return told | {
        "cell": CELLS[gates],
        "hidden_size": hidden_size,
        "num_layers": num_layers,
        "bidirectional": bidirectional,
        "linear_skip": "skip.weight" in arrays,
    }


def attends(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether these are weights of a network with ``pooling="attention"``."""
    return "attention.weight" in arrays or "attention.query" in arrays


def tables(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[int, int]]:
    """The shapes of the tables of vectors, by name, in the order of their columns."""
    names = sorted(filter(TABLE.fullmatch, arrays), key=lambda name: (len(name), name))
    return {name: (len(arrays[name]), arrays[name].shape[1]) for name in names}


def chains(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether these are weights of a network with ``loss="crf"``."""
    return any(name in arrays for name in CHAIN_NAMES)


def shapes(
    arrays: Mapping[str, np.ndarray], num_layers: int, bidirectional: bool
) -> dict[str, tuple[int, ...]]:
    """The shapes of arrays that agree with the first layer and the head, in the order of `weights_`."""
    directions = ["", "_reverse"] if bidirectional else [""]
    rows, hidden_size = arrays["weight_hh_l0"].shape
    n_features, n_outputs = arrays["weight_ih_l0"].shape[1], len(arrays["head.weight"])
    width = hidden_size * len(directions)
    agreed: dict[str, tuple[int, ...]] = {**tables(arrays)}
    for k in range(num_layers):
        for suffix in (f"_l{k}{direction}" for direction in directions):
            agreed[f"weight_ih{suffix}"] = rows, width if k else n_features
            agreed[f"weight_hh{suffix}"] = rows, hidden_size
            agreed |= dict.fromkeys((f"bias_ih{suffix}", f"bias_hh{suffix}"), (rows,))
    if attends(arrays):
        agreed |= {"attention.weight": (width, width), "attention.query": (width,)}
    agreed |= {"head.weight": (n_outputs, width), "head.bias": (n_outputs,)}
    if "skip.weight" in arrays:
        steps = max(arrays["skip.weight"].shape[1] // n_features, 1)
        agreed["skip.weight"] = n_outputs, steps * n_features
    if chains(arrays):
        agreed |= dict.fromkeys(CHAIN_NAMES, (n_outputs,)) | {CHAIN_NAMES[0]: (n_outputs, n_outputs)}
    return agreed
