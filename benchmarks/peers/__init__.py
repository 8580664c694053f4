"""The other libraries, one small file each.

A peer's module has functions named after the work, ``forward(cell, shape, threads)`` and so on, that
return a `Work`. A package that is not installed only leaves its column out.

JAX and Keras run in a process of their own (`benchmarks.worker`): XLA fixes its threads when it starts
and never lets go of them, while one thread and two are measured here, and its pool would run beside
ours. Their turns still come in the same rounds; the clock is read in the process that works.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple


class Peer(NamedTuple):
    label: str
    packages: tuple[str, ...]
    own_process: bool = False


PEERS = {
    "pytorch": Peer("PyTorch", ("torch",)),
    "pytorch_compile": Peer("torch.compile", ("torch",), own_process=True),
    "onnx_runtime": Peer("ONNX Runtime", ("onnx", "onnxruntime")),
    "jax_scan": Peer("JAX", ("jax",), own_process=True),
    "keras_layers": Peer("Keras on JAX", ("keras", "jax"), own_process=True),
    "skorch_net": Peer("skorch", ("skorch", "torch")),
    "jax_cudnn": Peer("JAX cuDNN", ("jax",), own_process=True),
    "scikit_mlp": Peer("scikit-learn MLP", ("sklearn",)),
}


def missing(name: str) -> str | None:
    """Why a peer takes no part, or None."""
    absent = [package for package in PEERS[name].packages if find_spec(package) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


def module(name: str):
    return import_module(f"benchmarks.peers.{name}")
