"""Numba kernels on SIMD vectors; see `skrnn.backends` for what a backend offers."""

from .dense import Dense
from .layers import RecurrentLayer
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
from .workspace import Workspace, aligned

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
