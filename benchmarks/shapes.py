"""The networks that are measured: their shapes, and the weights and data that all libraries get."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

CELLS = ("lstm", "gru", "rnn")
LABELS = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
GATES = {"lstm": 4, "gru": 3, "rnn": 1}  # rows of PyTorch's weights, in multiples of H

LEARNING_RATE, MAX_NORM, BETAS, EPSILON = 1e-3, 1.0, (0.9, 0.999), 1e-8


class Shape(NamedTuple):
    """A minibatch and the network that reads it; one regression output from the last state."""

    B: int  # sequences
    T: int  # steps
    F: int  # features per step
    H: int  # hidden units of each layer and direction
    layers: int = 1
    directions: int = 1

    def __str__(self) -> str:
        size = f"{self.B}, {self.T}, {self.F}, {self.H}"
        return size if self.plain else f"{size}; {self.layers} layers, both directions"

    @property
    def plain(self) -> bool:
        return self.layers == self.directions == 1

    def inputs(self) -> list[int]:
        """Features that each layer reads."""
        return [self.F] + [self.H * self.directions] * (self.layers - 1)


SINGLE = Shape(1, 50, 1, 32)  # one sequence alone
SHAPES = (
    SINGLE,
    Shape(32, 50, 8, 16),
    Shape(32, 50, 8, 32),
    Shape(32, 50, 8, 64),
    Shape(32, 100, 16, 128),
    Shape(64, 100, 32, 256),
    Shape(128, 50, 64, 512),
    Shape(32, 50, 8, 64, layers=2, directions=2),
)
SHORT_SHAPES = (SHAPES[2], SHAPES[4])
UNEVEN = Shape(64, 100, 64, 100)  # no power of two: other tiles, on the GPU
GPU_GRID = (
    UNEVEN,
    *(Shape(B, T, 64, H) for B in (64, 256, 1024) for T in (100, 1000) for H in (64, 128, 256, 512, 1024)),
)
GPU_SHORT_SHAPES = (Shape(64, 100, 64, 64), UNEVEN, Shape(64, 100, 64, 256))


def suffixes(shape: Shape) -> list[list[str]]:
    """Endings of PyTorch's weight names, by layer and direction."""
    endings = ("", "_reverse")[: shape.directions]
    return [[f"_l{k}{ending}" for ending in endings] for k in range(shape.layers)]


def weights(cell: str, shape: Shape) -> dict[str, np.ndarray]:
    """Uniform in +-1 / sqrt(H), as PyTorch starts, with PyTorch's names, layout and gate order."""
    rng, rows, H = np.random.default_rng(0), GATES[cell] * shape.H, shape.H
    shapes: dict[str, tuple[int, ...]] = {}
    for n_in, layer in zip(shape.inputs(), suffixes(shape)):
        for s in layer:
            shapes |= {f"weight_ih{s}": (rows, n_in), f"weight_hh{s}": (rows, H)}
            shapes |= {f"bias_ih{s}": (rows,), f"bias_hh{s}": (rows,)}
    shapes |= {"head.weight": (1, H * shape.directions), "head.bias": (1,)}
    bound = H**-0.5
    return {name: rng.uniform(-bound, bound, size).astype(np.float32) for name, size in shapes.items()}


def data(shape: Shape, n: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """X (n, T, F) and y (n,), float32; one minibatch unless `n` says otherwise."""
    rng, n = np.random.default_rng(1), n or shape.B
    X = rng.standard_normal((n, shape.T, shape.F), dtype=np.float32)
    return X, rng.standard_normal(n, dtype=np.float32)


def time_major(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """One minibatch as X (T, B, F) and y (B, 1)."""
    X, y = data(shape)
    return np.ascontiguousarray(X.swapaxes(0, 1)), y[:, None]


def ragged_lengths(B: int = 32, shortest: int = 5, longest: int = 200) -> np.ndarray:
    """Lengths drawn uniformly, in no order."""
    return np.random.default_rng(2).integers(shortest, longest + 1, B)
