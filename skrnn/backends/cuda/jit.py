"""Compiling for a GPU: kernels, what they call, and how many threads run them."""

from __future__ import annotations

import threading
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
from numba import cuda, from_dtype
from numba.core import config
from numba.core.target_extension import target_override

from ..kernel_cache import KernelCache, source_hash

SIMULATED = bool(config.ENABLE_CUDASIM)  # NUMBA_ENABLE_CUDASIM=1: kernels run in Python, on NumPy arrays
if not SIMULATED:
    from numba.cuda.dispatcher import _Kernel

# Not Numba's own version, which the cache looks at anyway.
COMPILER = version("numba-cuda") if find_spec("numba_cuda") else ""
# Threads of a block, of kernels that go through their work in strides: any number gives the same results.
THREADS = 4 if SIMULATED else 256
# Wide loads from shared memory need it; the simulator knows no alignment.
ALIGNMENT = None if SIMULATED else 16

source_hash("cuda")  # now, while what is on disk is what is being imported


def function(function):
    """Make a function of scalars known to kernels; the simulator's kernels call it as it is."""
    return function if SIMULATED else cuda.jit(device=True)(function)


if SIMULATED:  # whose kernels find `cuda` in their own module only

    def barrier():
        threading.current_thread().syncthreads()

else:

    @function
    def barrier():
        """All threads of a block wait for one another."""
        cuda.syncthreads()


class GpuKernelCache(KernelCache):
    """For kernels of a GPU: the file holds its machine code, made by numba-cuda."""

    backend = "cuda"

    def __init__(self, py_func, key):
        super().__init__(py_func, (COMPILER, *key))

    @staticmethod
    def _reduce(result):
        return result._reduce_states()

    @staticmethod
    def _rebuild(target_context, reduced):
        return _Kernel._rebuild(**reduced)

    def load_overload(self, signature, target_context):
        with target_override("cuda"):
            return super().load_overload(signature, target_context)


def kernel(*key, max_registers: int | None = None):
    """Compile a function as a kernel when it is launched; `key` tells apart kernels from one factory."""

    def decorate(function):
        if SIMULATED:
            return cuda.jit(function)
        options = {} if max_registers is None else {"max_registers": max_registers}
        dispatcher = cuda.jit(**options)(function)
        # How it is built: with NUMBA_CUDA_DEBUGINFO, or linked by another linker, it is another kernel.
        built = repr(sorted(dispatcher.targetoptions.items()))
        dispatcher._cache = GpuKernelCache(function, (*key, built))
        return dispatcher

    return decorate


@cache
def numba_type(dtype: np.dtype):
    """What `cuda.shared.array` and `cuda.local.array` want to be told."""
    return from_dtype(dtype)
