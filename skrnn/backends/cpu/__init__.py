"""Numba kernels on SIMD vectors; see `skrnn.backends` for what a backend offers."""

from .layers import Dense, RecurrentLayer, Workspace, aligned
from .packed import (
    add_reversed,
    drop_steps,
    gather,
    join,
    pool,
    pool_backward,
    reverse,
    sequence_mask,
    spread,
)
from .updates import Optimizer

__all__ = [
    "Dense",
    "Optimizer",
    "RecurrentLayer",
    "Workspace",
    "add_reversed",
    "aligned",
    "drop_steps",
    "gather",
    "join",
    "pool",
    "pool_backward",
    "reverse",
    "sequence_mask",
    "spread",
]
