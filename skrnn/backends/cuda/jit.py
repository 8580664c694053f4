"""Compiling for a GPU: kernels, what they call, and how many threads run them."""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import cuda, from_dtype
from numba.core import config

SIMULATED = bool(config.ENABLE_CUDASIM)  # NUMBA_ENABLE_CUDASIM=1: kernels run in Python, on NumPy arrays
# Threads of a block, of kernels that go through their work in strides: any number gives the same results.
THREADS = 4 if SIMULATED else 256
# Wide loads from shared memory need it; the simulator knows no alignment.
ALIGNMENT = None if SIMULATED else 16


def function(function):
    """Make a function of scalars known to kernels; the simulator's kernels call it as it is."""
    return function if SIMULATED else cuda.jit(device=True)(function)


def kernel(function=None, *, max_registers: int | None = None):
    """Compile a function as a kernel when it is first launched."""
    if function is None:
        return lambda function: kernel(function, max_registers=max_registers)
    if SIMULATED or max_registers is None:
        return cuda.jit(function)
    return cuda.jit(max_registers=max_registers)(function)


@cache
def numba_type(dtype: np.dtype):
    """What `cuda.shared.array` and `cuda.local.array` want to be told."""
    return from_dtype(dtype)
