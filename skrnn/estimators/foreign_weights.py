"""Foreign weights under this package's names: PyTorch's state dicts, Keras's lists, NumPy's archives.

This package's names, layout and order of gates are PyTorch's, so that a state dict only loses its prefixes.
Keras's kernels are transposed, and its GRU orders the gates z, r, h where PyTorch has r, z, n. Of its GRU
with ``reset_after=False`` the update gate says what stays, h = z h + (1 - z) n; here, as in Chung et al.
(2014), it says what comes. The arrays of that gate then change their signs: 1 - sigmoid(a) = sigmoid(-a).

Sources: documentation of `torch.nn.RNN`, `LSTM` and `GRU`; of `keras.layers.SimpleRNN`, `LSTM`, `GRU`,
`Bidirectional` and `Dense`.
"""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .devices import to_host

CELLS = {1: "rnn", 3: "gru", 4: "lstm"}  # by the number of their gates
CALLED = {"rnn": "an RNN", "gru": "a GRU", "lstm": "an LSTM"}
RECURRENT = re.compile(
    r"(?P<prefix>.+\.)?(?P<name>(weight|bias)_(ih|hh)_l(?P<layer>0|[1-9][0-9]*)(_reverse)?)"
)
PROJECTION = re.compile(r"(.+\.)?weight_hr_l\d+(_reverse)?")
TABLE = re.compile(r"embedding(_(0|[1-9][0-9]*))?\.weight")
# Of other modules: one table, such as `word_embeddings`, `emb` or `encoder.embed`.
FOREIGN_TABLE = re.compile(r"(.+\.)?(\w+_)?(emb|embed|embedding|embeddings)(_\w+)?\.weight")
# Of a CRF, as pytorch-crf and this package name them.
CHAIN = re.compile(r"(?P<module>.+)\.(?P<name>(start_|end_)?transitions)")
CHAIN_NAMES = "crf.transitions", "crf.start_transitions", "crf.end_transitions"
# Modules whose weight without a bias may be a head: others, such as an embedding, have none either.
HEADS = {"head", "fc", "linear", "dense", "out", "output"}


class Weights(NamedTuple):
    """Weights as read.

    Attributes
    ----------
    arrays : dict of str to ndarray
        By this package's names, biases that there were not as zeros; of any type of real numbers.
    names : dict of str to str
        What the user knows each of them by.
    prefix : str
        Of the recurrent arrays' own names.
    reset_after : bool or None
        Which of the two GRUs this is, where the arrays tell.
    """

    arrays: dict[str, np.ndarray]
    names: dict[str, str]
    prefix: str = ""
    reset_after: bool | None = None


def read(weights: Any, reset_after: bool = True) -> Weights:
    """Read weights of any known form.

    Parameters
    ----------
    weights : mapping of str to array, list of arrays, or path of an .npz archive
        As `torch.nn.Module.state_dict`, Keras's `get_weights` and `weights_` give them; or such an archive,
        opened or not.
    reset_after : bool, default=True
        Which GRU a list without biases is of: only these tell.

    Returns
    -------
    Weights

    Raises
    ------
    ValueError
        For arrays that are unknown or hold no real numbers, and where layers of a list are not to be found.
    TypeError
        For anything else.
    """
    if isinstance(weights, str | os.PathLike):
        weights = _archive(weights)
    if isinstance(weights, Mapping):
        if not weights or not all(re.fullmatch(r"arr_\d+", str(name)) for name in weights):
            return _from_mapping(weights)
        # numpy.savez(file, *weights) has made these names
        weights = [weights[name] for name in sorted(weights, key=lambda name: int(name[4:]))]
    if isinstance(weights, list | tuple):
        return _from_list(
            [real_numbers(array, f"weights[{i}]") for i, array in enumerate(weights)], reset_after
        )
    asked = [f": pass its {name}()" for name in ("state_dict", "get_weights") if hasattr(weights, name)]
    raise TypeError(
        "weights must be a mapping of names to arrays (PyTorch's state_dict), a list of arrays (Keras's "
        f"get_weights) or the path of an .npz archive, got {type(weights).__name__}{''.join(asked[:1])}"
    )


# --- arrays and archives ----------------------------------------------------------------------------------
def real_numbers(value: Any, name: str) -> np.ndarray:
    """An array or a tensor as real numbers of NumPy."""
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{name} is a masked array; fill it first")
    if "bfloat16" in str(getattr(value, "dtype", "")):  # which NumPy has not
        value = value.float() if hasattr(value, "float") else value.astype(np.float32)
    try:
        array = np.asarray(to_host(value.detach() if hasattr(value, "detach") else value))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be read as an array: {error}") from error
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name} has dtype {array.dtype}, expected real numbers")
    if not array.size:
        raise ValueError(f"{name} is empty: it has shape {array.shape}")
    return array


def _archive(path: Any) -> dict[str, np.ndarray]:
    """The arrays of an .npz archive."""
    arrays: dict[str, Any] = {}
    try:
        with open(path, "rb") as file:  # which numpy.load would leave open where it is no archive
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.lib.npyio.NpzFile):  # and not the one array of an .npy file
                arrays = dict(archive)
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"weights={path!r} cannot be read as an .npz archive of arrays: {error}") from error
    if not arrays or not all(isinstance(array, np.ndarray) for array in arrays.values()):  # or any other zip
        raise ValueError(
            f"weights={path!r} is no .npz archive: pass what torch.load, safetensors.numpy.load_file or the "
            "get_weights of a Keras model give"
        )
    return arrays


# --- mappings ---------------------------------------------------------------------------------------------
def _from_mapping(weights: Mapping[Any, Any]) -> Weights:
    """A state dict of PyTorch, of a layer or of a module around it; or `weights_`."""
    keys: dict[str, Any] = {}  # by this package's names
    prefixes, rest = [], []
    for key in weights:
        if PROJECTION.fullmatch(str(key)):
            raise ValueError(f"weights hold {key!r}, of an LSTM with proj_size, which networks here have not")
        match = RECURRENT.fullmatch(str(key))
        if match is None:
            rest.append(key)
            continue
        if match["prefix"] not in prefixes:
            prefixes.append(match["prefix"])
        keys[match["name"]] = key
    if not keys:
        raise ValueError(f"weights lack 'weight_ih_l0' and all of a recurrent layer: they hold {rest[:5]}")
    if len(prefixes) > 1:
        raise ValueError(
            f"weights hold several recurrent modules, {', '.join(repr(p or '') for p in prefixes)}: leave "
            "out those of another network, or rename them to layers of one, weight_ih_l0, weight_ih_l1, ..."
        )
    arrays = {key: real_numbers(weights[key], f"weights[{key!r}]") for key in weights}
    keys |= _head(arrays, rest)
    unknown = sorted(set(map(str, rest)) - set(map(str, keys.values())))
    if unknown:
        raise ValueError(f"weights hold unknown arrays: {unknown}")
    names = {name: f"weights[{key!r}]" for name, key in keys.items()}
    read = {name: arrays[key] for name, key in keys.items()}
    if not any(name.startswith("bias") for name in read):  # bias=False
        for name, W in [item for item in read.items() if item[0].startswith("weight")]:
            read[name.replace("weight", "bias")] = np.zeros(W.shape[:1], W.dtype)
    if "head.weight" in read and "head.bias" not in read:
        read["head.bias"] = np.zeros(read["head.weight"].shape[:1], read["head.weight"].dtype)
    return Weights(read, {name: name for name in read} | names, prefixes[0] or "")


def _head(arrays: dict[str, np.ndarray], rest: Sequence[str]) -> dict[str, str]:
    """Which of the other arrays are the head, the linear skip that regressors may have, attention and a
    CRF."""
    own = ("skip.weight", "attention.weight", "attention.query")
    known = {name: name for name in own if name in rest and f"{name.partition('.')[0]}.bias" not in rest}
    found = [match for key in rest if (match := CHAIN.fullmatch(str(key)))]
    if len({match["module"] for match in found}) == 1:  # of several, none is known
        known |= {f"crf.{match['name']}": match[0] for match in found}
    modules = []
    for key in rest:
        module, _, kind = str(key).rpartition(".")
        linear = kind == "weight" and arrays[key].ndim == 2 and key not in known
        if linear and (f"{module}.bias" in rest or module.rpartition(".")[2] in HEADS):
            modules.append(module)
    if len(modules) > 1:
        raise ValueError(
            f"weights hold several linear layers, {', '.join(map(repr, modules))}: a network here has one, "
            "its head"
        )
    vectors = [key for key in rest if key not in known and arrays[key].ndim == 2]
    numbered = [key for key in vectors if TABLE.fullmatch(str(key))]
    known |= {key: key for key in numbered}
    if not numbered:
        foreign = [key for key in vectors if FOREIGN_TABLE.fullmatch(str(key))]
        known |= dict(zip(["embedding.weight"], foreign, strict=False))
    parts = [f"{module}.{kind}" for module in modules for kind in ("weight", "bias")]
    return known | {f"head.{key.rpartition('.')[2]}": key for key in parts if key in rest}


# --- Keras's lists ----------------------------------------------------------------------------------------
def _from_list(arrays: list[np.ndarray], reset_after: bool) -> Weights:
    """Recurrent layers (each direction's kernel, recurrent kernel and bias), then a Dense."""
    ends = {n: _end_of_layers(arrays, n) for n in (3, 2)}  # with and without biases
    n = max(ends, key=lambda n: ends[n])
    end, head = ends[n], arrays[ends[n] :]
    if not end or (head and not _is_head(head)):
        raise ValueError(
            f"weights[{end}:] have the shapes {[array.shape for array in head[:4]]}: a list holds, as "
            "Keras has them, the kernel (features, gates * hidden_size), recurrent kernel (hidden_size, "
            "gates * hidden_size) and bias of each recurrent layer, biases in all of them or in none, and "
            "then the kernel (inputs, outputs) and bias of one Dense"
        )
    layers = [arrays[i : i + n] for i in range(0, end, n)]
    hidden_size, columns = layers[0][1].shape
    for i, layer in enumerate(layers):
        if layer[1].shape != (hidden_size, columns):
            raise ValueError(
                f"weights[{n * i + 1}] has shape {layer[1].shape}, weights[1] has {layers[0][1].shape}: the "
                "layers of a network here are of one kind and one hidden_size"
            )
    is_gru = columns == 3 * hidden_size
    told = {layer[2].ndim == 2 for layer in layers if is_gru and n == 3}
    if len(told) > 1:
        raise ValueError("weights hold GRU layers with reset_after=True and others with reset_after=False")
    after = next(iter(told), None)
    # Stacked, or side by side? Bidirectional concatenates what its layers give, and the head reads that.
    aside = len(layers) % 2 == 0 and len(layers[1][0]) == len(layers[0][0])
    reading = len(head[0]) if head else 2 * hidden_size
    if aside and reading != 2 * hidden_size and len(layers[0][0]) != hidden_size:
        raise ValueError(
            f"weights[{n}] has shape {layers[1][0].shape} like weights[0], as in Bidirectional, of which "
            f'only merge_mode="concat" is known: a Dense behind it has {2 * hidden_size} inputs, '
            f"weights[{end}] has {reading}"
        )
    directions = 2 if aside and reading == 2 * hidden_size else 1
    read, names = {}, {}
    for i, layer in enumerate(layers):
        suffix = f"_l{i // directions}" + "_reverse" * (i % directions)
        parts = _layer(layer, is_gru, reset_after if after is None else after)
        for j, (kind, part) in enumerate(parts.items()):
            read[kind + suffix] = part
            names[kind + suffix] = f"weights[{n * i + min(j, 2)}]" + " (transposed)" * (j < 2)
    if head:
        read["head.weight"] = head[0].T
        read["head.bias"] = head[1] if len(head) == 2 else np.zeros(head[0].shape[1], head[0].dtype)
        names |= {"head.weight": f"weights[{end}] (transposed)", "head.bias": f"weights[{end + 1}]"}
    return Weights(read, names, reset_after=after)


def _end_of_layers(arrays: list[np.ndarray], n: int) -> int:
    """Where the recurrent layers of n arrays end that a list begins with."""
    end = 0
    while _is_layer(*arrays[end : end + n], n=n):
        end += n
    return end


def _is_layer(*layer: np.ndarray, n: int) -> bool:
    if len(layer) < n or layer[0].ndim != 2 or layer[1].ndim != 2:
        return False
    hidden_size, columns = layer[1].shape
    gates, rest = divmod(columns, hidden_size)
    if rest or gates not in CELLS or layer[0].shape[1] != columns:
        return False
    return n == 2 or layer[2].shape == (columns,) or (gates == 3 and layer[2].shape == (2, columns))


def _is_head(arrays: list[np.ndarray]) -> bool:
    return [array.ndim for array in arrays] in ([2], [2, 1])


def _layer(layer: list[np.ndarray], is_gru: bool, reset_after: bool) -> dict[str, np.ndarray]:
    """One direction of one layer of Keras."""
    kernel, recurrent_kernel, *biases = layer
    bias = biases[0] if biases else np.zeros(kernel.shape[1], kernel.dtype)
    b_ih, b_hh = bias if bias.ndim == 2 else (bias, np.zeros_like(bias))
    parts = {"weight_ih": kernel.T, "weight_hh": recurrent_kernel.T, "bias_ih": b_ih, "bias_hh": b_hh}
    return {kind: _gru_rows(part, reset_after) for kind, part in parts.items()} if is_gru else parts


def _gru_rows(rows: np.ndarray, reset_after: bool) -> np.ndarray:
    """Rows for z, r, h as those for r, z, n."""
    z, r, h = np.split(rows, 3)
    return np.concatenate([r, z if reset_after else -z, h])
