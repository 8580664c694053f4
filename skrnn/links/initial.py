"""How parameters begin."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Initial = Callable[[np.random.RandomState, tuple[int, ...]], np.ndarray]


def zeros(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    return np.zeros(shape)


def glorot(fan_out: int) -> Initial:
    """Uniform, by the numbers of inputs and outputs (Glorot & Bengio 2010)."""

    def initial(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
        bound = np.sqrt(6 / (shape[1] + fan_out))
        return rng.uniform(-bound, bound, shape)

    return initial


def orthogonal_gates(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    """A random orthogonal matrix for each gate (Saxe et al. 2014)."""
    n = shape[1]
    return np.concatenate([orthogonal(rng, n) for _ in range(shape[0] // n)])


def orthogonal(rng: np.random.RandomState, n: int) -> np.ndarray:
    """A random orthogonal matrix, uniformly distributed (QR of a Gaussian, signs made unique)."""
    q, r = np.linalg.qr(rng.standard_normal((n, n)))
    return q * np.sign(np.diag(r))
