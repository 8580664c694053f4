"""Compiling kernels: one decorator, and the cache on disk."""

from __future__ import annotations

import hashlib

from numba import njit
from numba.core import config

from ...interrupts import deferring
from ..kernel_cache import KernelCache, source_hash

source_hash("cpu")  # now, while what is on disk is what is being imported


def named(function, *key):
    """Give a function a name that no other function has, in this process or in another."""
    digest = hashlib.sha256(repr((source_hash("cpu"), key)).encode()).hexdigest()[:12]
    function.__qualname__ = f"{function.__qualname__}_{digest}"
    return function


# For what only kernels call: taken into each of them before it is compiled, which takes less time than to
# compile it by itself.
inlined = njit(inline="always", error_model="numpy")


def disabled(*args):
    """In the place of every kernel where Numba is told not to compile: whoever uses it is told."""
    raise RuntimeError(
        "NUMBA_DISABLE_JIT is set, but the kernels only run compiled: unset it (and where Numba's "
        "configuration file says disable_jit, remove that) to use skrnn on the CPU"
    )


disabled.get_compile_result = disabled


def kernel(*key):
    """Compile a function as a serial `nogil` kernel; `key` tells apart kernels from one factory.

    No fast-math anywhere: LLVM could contract and reorder differently in each copy of a loop, and
    then a row's result would depend on the rows beside it. Fused operations are written as `fma`.
    """

    def decorate(function):
        if config.DISABLE_JIT:
            return disabled
        cache = KernelCache(function, key)
        dispatcher = njit(nogil=True, error_model="numpy")(named(function, *key))
        dispatcher._cache = cache
        # Numba would keep what an interrupt leaves half compiled or half loaded. What a kernel calls is
        # compiled inside of this, too.
        dispatcher.compile = deferring(dispatcher.compile)
        return dispatcher

    return decorate
