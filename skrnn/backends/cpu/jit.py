"""Compiling kernels: one decorator, and a disk cache that is never stale and never fatal.

Numba's own cache does not see a change in another module, loses functions that close over others,
shares one index between processes (two of them can swap their entries), and lets a truncated file
raise. Here every compiled kernel is one file, named by a hash of everything it depends on: the
source of this package, the kernel's key, its argument types, the processor and the build options.

Compiled files carry the functions they call along, by name. Numba tells functions of one factory
apart by a counter of the process that compiled them, so files from two processes can hold two
functions under one name, and whichever is loaded first is called by both. `named` puts what a
function is made from into its name.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
import threading
import time
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path

import llvmlite
import numba
from numba import njit
from numba.core import config
from numba.core.caching import CompileResultCacheImpl, NullCache

from ...interrupts import deferring


@cache
def source_hash(backend: str = "cpu") -> str:
    """Hash of every source file that a backend's kernels can be built from."""
    package = Path(__file__).parents[2]
    digest = hashlib.sha256(numba.__version__.encode())
    for path in (
        package / "batches.py",
        package / "cells.py",
        package / "counters.py",
        package / "losses.py",
        package / "optimizers.py",
        *sorted((package / "backends" / backend).glob("*.py")),
    ):
        digest.update(path.read_bytes())
    return digest.hexdigest()


source_hash()  # now, while what is on disk is what is being imported


def named(function, *key):
    """Give a function a name that no other function has, in this process or in another."""
    digest = hashlib.sha256(repr((source_hash(), key)).encode()).hexdigest()[:12]
    function.__qualname__ = f"{function.__qualname__}_{digest}"
    return function


class KernelCache(NullCache):
    """One file per compiled kernel; whatever goes wrong with it, the kernel is compiled instead."""

    backend = "cpu"
    impl_class = CompileResultCacheImpl

    def __init__(self, py_func, key):
        self._name = f"{py_func.__module__}.{py_func.__qualname__}".replace("<locals>.", "")
        self._key = key
        try:
            self._impl = self.impl_class(py_func)
        except RuntimeError:  # no directory that can be written to: compile in every process
            self._impl = None

    @property
    def cache_path(self):
        return None if self._impl is None else self._impl.locator.get_cache_path()

    def _path(self, signature, codegen):
        parts = (
            sys.implementation.cache_tag,
            llvmlite.__version__,
            source_hash(self.backend),
            self._key,
            signature,
            codegen.magic_tuple(),
            bool(config.BOUNDSCHECK),
        )
        digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:24]
        return Path(self.cache_path) / f"{self._name}-{source_hash(self.backend)[:8]}-{digest}.nbc"

    def load_overload(self, signature, target_context):
        if self._impl is None:
            return None
        target_context.refresh()
        path = self._path(signature, target_context.codegen())
        try:
            payload = pickle.loads(path.read_bytes())
            return self._impl.rebuild(target_context, payload)
        except FileNotFoundError:
            return None
        except Exception as error:  # truncated, unreadable, from elsewhere: anything can be raised
            warnings.warn(
                f"compiling again, {path} cannot be loaded: {error!r}", RuntimeWarning, stacklevel=2
            )
            return None

    def save_overload(self, signature, result):
        if self._impl is None or not self._impl.check_cachable(result):
            return
        path = self._path(signature, result.codegen)
        temporary = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Write beside the target and rename: another process sees all of the file or none.
            temporary.write_bytes(numba.core.serialize.dumps(self._impl.reduce(result)))
            os.replace(temporary, path)
            for old in path.parent.glob(f"{self._name}-????????-*.nbc"):
                # Of another version of the package, and not of one in use beside this one.
                if (
                    source_hash(self.backend)[:8] not in old.name
                    and time.time() - old.stat().st_mtime > 86_400
                ):
                    old.unlink()
        except OSError:  # read-only or full disk: the kernel is compiled, only not kept
            with suppress(OSError):
                temporary.unlink()


# For what only kernels call: taken into each of them before it is compiled, which takes less time than to
# compile it by itself.
inlined = njit(inline="always", error_model="numpy")


def kernel(*key):
    """Compile a function as a serial `nogil` kernel; `key` tells apart kernels from one factory.

    No fast-math anywhere: LLVM could contract and reorder differently in each copy of a loop, and
    then a row's result would depend on the rows beside it. Fused operations are written as `fma`.
    """

    def decorate(function):
        cache = KernelCache(function, key)
        dispatcher = njit(nogil=True, error_model="numpy")(named(function, *key))
        dispatcher._cache = cache
        # Numba would keep what an interrupt leaves half compiled or half loaded. What a kernel calls is
        # compiled inside of this, too.
        dispatcher.compile = deferring(dispatcher.compile)
        return dispatcher

    return decorate
