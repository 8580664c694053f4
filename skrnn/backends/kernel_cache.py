"""Compiled kernels on disk: a cache that is never stale and never fatal.

Numba's own cache does not see a change in another module, loses functions that close over others,
shares one index between processes (two of them can swap their entries), and runs whatever a file
holds. Here every compiled kernel is one file, named by a hash of everything it depends on: the
source of this package, the kernel's key, its argument types, the processor and the build options.
All of that stands at the beginning of the file, then a digest of it and of what follows, which is
unpickled only if both are right. Where the files lie, and whose are read, is in `disk`.

Compiled files carry the functions they call along, by name. Numba tells functions of one factory
apart by a counter of the process that compiled them, so files from two processes can hold two
functions under one name, and whichever is loaded first is called by both. `cpu.jit.named` puts what a
function is made from into its name.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import pkgutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from types import CodeType
from typing import Any

import llvmlite
import numba
from numba.core import config
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult

from . import disk

PACKAGE = __name__.partition(".")[0]
# What in Numba's configuration changes machine code, beside what the processor's description holds.
OPTIONS = (
    "OPT",
    "LOOP_VECTORIZE",
    "SLP_VECTORIZE",
    "USING_SVML",
    "LLVM_REFPRUNE_PASS",
    "LLVM_REFPRUNE_FLAGS",
    "DEBUGINFO_DEFAULT",
    "EXTEND_VARIABLE_LIFETIMES",
    "DEBUG_NRT",
)

used: set[Path] = set()  # directories that kernels were loaded from or kept in
said: set[str] = set()  # what this process has been warned of


def use(directory: Path) -> None:
    """Take down that a directory is used; the first time, clear it up."""
    if directory not in used:
        used.add(directory)
        disk.clear_unfinished(directory)


def say_once(topic: str, message: str) -> None:
    """Warn, unless this process has been warned of the same topic: there may be a hundred kernels."""
    if topic not in said:
        said.add(topic)
        warnings.warn(message, RuntimeWarning, stacklevel=3)


# --- what a kernel is made from ---------------------------------------------------------------------
CODE = (  # what a code object does, and not where it was written
    "co_name", "co_flags", "co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_code", "co_consts",
    "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_exceptiontable",
)  # fmt: skip


def described(value: Any) -> Any:
    """Code as tuples whose `repr` is the same in every process, which the output of `marshal` is not."""
    if isinstance(value, CodeType):
        return tuple(described(getattr(value, name)) for name in CODE)
    if isinstance(value, tuple):
        return tuple(map(described, value))
    return sorted(map(repr, value)) if isinstance(value, frozenset) else value


def contents(backend: str, path: list[str]) -> Iterator[tuple[str, bytes]]:
    """Each module that a backend's kernels can be built from, and what its loader has of it.

    That is its source or, where only compiled modules were installed, those; from an archive, too.
    """
    backends = [os.path.join(place, "backends") for place in path]
    inside = [os.path.join(place, backend) for place in backends]
    modules = sorted(module.name for module in pkgutil.iter_modules(inside))
    if "jit" not in modules:
        raise ImportError(f"{inside} cannot be listed")
    top, within = PACKAGE, f"{PACKAGE}.backends"
    for parent, name, where in (
        *((top, name, path) for name in ("batches", "cells", "choosing", "counters", "losses", "optimizers")),
        *((within, name, backends) for name in (backend, "kernel_cache")),
        *((f"{within}.{backend}", name, inside) for name in modules),
    ):
        spec = PathFinder.find_spec(f"{parent}.{name}", where)
        if spec is None or spec.loader is None:
            raise ImportError(f"{parent}.{name} cannot be found")
        try:
            data = spec.loader.get_data(spec.origin)
        except (AttributeError, OSError, TypeError):  # of a frozen application, whose modules are no files
            code = spec.loader.get_code(spec.name)
            if not isinstance(code, CodeType):
                raise ImportError(f"{spec.name} has neither source nor code") from None
            data = repr(described(code)).encode()
        yield spec.name, data


@cache
def source_hash(backend: str) -> str | None:
    """Hash of every source that a backend's kernels can be built from.

    None where the package's loader shows neither sources nor code: then no kernel is loaded or kept.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    try:
        for name, data in contents(backend, list(sys.modules[PACKAGE].__path__)):
            digest.update(f"{name} {len(data)} ".encode() + data)
    except (ImportError, AttributeError, OSError):
        return None
    return digest.hexdigest()


# --- on disk ------------------------------------------------------------------------------------------
def digest_of(header: bytes, data: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(header)
    digest.update(data)
    return digest.digest()


def payload(data: bytes, header: bytes) -> memoryview:
    """What a file holds behind its header and a digest; a ValueError if it is not what was written."""
    size = len(header) + hashlib.sha256().digest_size
    rest = memoryview(data)[size:]
    if data[:size] != header + digest_of(header, rest):
        raise ValueError("the file is damaged")
    return rest


class KernelCache(NullCache):
    """One file per compiled kernel; whatever goes wrong with it, the kernel is compiled instead."""

    backend = "cpu"

    def __init__(self, py_func, key):
        self._name = f"{py_func.__module__}.{py_func.__qualname__}".replace("<locals>.", "")
        self._module = py_func.__module__
        if not self._module.startswith(f"{PACKAGE}."):  # of a link elsewhere: no hash knows its source
            key = (*key, repr(described(py_func.__code__)))
        self._key = key

    @staticmethod
    def _reduce(result):
        """What Numba makes of a compiled kernel for pickling; None if it holds addresses of this process."""
        return None if result.library.has_dynamic_globals else result._reduce()

    @staticmethod
    def _rebuild(target_context, reduced):
        return CompileResult._rebuild(target_context, *reduced)

    def _places(self):
        return [] if source_hash(self.backend) is None else disk.places(self._module)

    @property
    def cache_path(self):
        return next(map(str, self._places()), None)

    def _file(self, signature, codegen) -> tuple[str, bytes]:
        """A file's name, and how it begins: with everything that the kernel depends on."""
        parts = (
            self._name,
            self._key,
            signature,
            codegen.magic_tuple(),
            bool(config.BOUNDSCHECK),
            [(name, getattr(config, name, None)) for name in OPTIONS],
            sys.implementation.cache_tag,
            getattr(sys, "abiflags", ""),
            llvmlite.__version__,
            source_hash(self.backend),
        )
        header = repr(parts).encode() + b"\n"
        return f"{self._name}-{self._version}-{hashlib.sha256(header).hexdigest()[:24]}.nbc", header

    @property
    def _version(self) -> str:
        return str(source_hash(self.backend))[:8]

    def lacks(self, signature, dispatcher) -> bool:
        """Whether a kernel would be compiled, and then kept."""
        if tuple(signature.args) in dispatcher.overloads:
            return False
        name, _ = self._file(signature, dispatcher.targetctx.codegen())
        for directory in self._places():
            if (directory / name).exists():
                return False
            with suppress(OSError):
                disk.prepare(directory)
                return True  # in later places it is not looked for
        return False

    def load_overload(self, signature, target_context):
        target_context.refresh()
        name, header = self._file(signature, target_context.codegen())
        damage = None
        for directory in self._places():
            data = disk.read(directory / name)
            if data is not None:
                try:
                    result = self._rebuild(target_context, pickle.loads(payload(data, header)))
                    use(directory)
                    return result
                except Exception as error:  # from elsewhere, it can raise anything
                    damage = f"compiling again, {directory / name} cannot be loaded: {error!r}"
            with suppress(OSError):
                disk.prepare(directory)
                break  # here the kernel will be kept; what lies in later places is not needed
        if damage is not None:
            say_once("damage", damage)
        return None

    def save_overload(self, signature, result):
        reduced = self._reduce(result)
        if reduced is None:
            return
        name, header = self._file(signature, result.codegen)
        data = numba.core.serialize.dumps(reduced)
        problems = []
        for directory in self._places():
            try:
                disk.prepare(directory)
                disk.write(directory / name, header, digest_of(header, data), data)
            except OSError as error:  # read-only, full, of somebody else
                problems.append(f"{directory}: {error.strerror or error}")
            else:
                use(directory)
                disk.clear_versions(directory, self._name, self._version)
                return
        if source_hash(self.backend) is None:
            problems.append(f"the loader of {PACKAGE} shows neither its sources nor its code")
        say_once(
            "not kept",
            "compiled kernels are not kept, and every process compiles its own: "
            f"{'; '.join(problems) or 'there is no home directory'}. Set NUMBA_CACHE_DIR to a directory of "
            "your own.",
        )
