"""JAX's binding of cuDNN: LSTMs alone, on a GPU."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax.experimental.rnn import lstm
from jax.lax import Precision

from benchmarks.peers import jax_scan
from benchmarks.shapes import Shape, data, suffixes, weights
from benchmarks.work import Work


def parameters(shape: Shape) -> dict[str, jnp.ndarray]:
    """All matrices of the recurrent layers in one flat array, then all biases."""
    w, endings = weights("lstm", shape), [s for layer in suffixes(shape) for s in layer]
    names = [
        f"{name}{s}" for part in ("weight", "bias") for s in endings for name in (f"{part}_ih", f"{part}_hh")
    ]
    flat = np.concatenate([w[name].ravel() for name in names])
    return {"flat": jnp.array(flat), "A": jnp.array(w["head.weight"].T), "b": jnp.array(w["head.bias"])}


def network(shape: Shape, recurrent=lstm):
    """``apply(params, X) -> y`` on X (B, T, F)."""
    B, T, F, H, layers, directions = shape
    zeros = jnp.zeros((layers * directions, B, H))
    lengths = jnp.full(B, T, jnp.int32)

    def apply(params, X):
        _, h, _ = recurrent(
            X, zeros, zeros, params["flat"], lengths, F, H, layers, 0.0, directions == 2, Precision.HIGHEST
        )
        return jnp.concatenate([*h[-directions:]], axis=1) @ params["A"] + params["b"]

    return apply


def forward(cell: str, shape: Shape, threads: int, device: str = "cuda") -> Work:
    jax_scan.begin(device)
    return jax_scan.inference(network(shape), parameters(shape), data(shape)[0], device)


def training_step(cell: str, shape: Shape, threads: int, device: str = "cuda") -> Work:
    jax_scan.begin(device)
    X, y = data(shape)
    return jax_scan.updates(network(shape), parameters(shape), X, y[:, None], device)
