"""Kernels that have to be compiled, by several processes at once.

Numba compiles in Python and under one lock, so that threads would take turns: the 25 kernels of a first fit
take nine seconds, whatever else is idle. Children that are forked from this process know all that it knows;
each takes kernels from one queue and keeps them on disk, where this process finds them.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
import warnings
from contextlib import suppress
from typing import Any

from numba.core.compiler_lock import global_compiler_lock

from ...interrupts import deferring, look
from ..kernel_cache import KernelCache
from .threads import usable_processors

LEAST_KERNELS = 4  # for one child: a fork costs what half a kernel does
MOST_CHILDREN = 3
PATIENCE = 20.0  # seconds, for the last kernels of the children

_at_work = threading.Lock()


def compile_together(wanted: list[tuple[Any, Any]]) -> None:
    """See that kernels which are neither in memory nor on disk are compiled, if children can help.

    Parameters
    ----------
    wanted : list of (dispatcher, signature)
    """
    missing = [pair for pair in wanted if _is_missing(*pair)]
    n = n_children(len(missing))
    if n > 0 and _at_work.acquire(blocking=False):
        try:
            with global_compiler_lock:  # a child that finds it held by another thread could not compile
                _compile(sorted(missing, key=_length, reverse=True), n)
        finally:
            _at_work.release()


def n_children(n_kernels: int) -> int:
    """How many children may help; none but on Linux, as elsewhere a fork is not safe or not there."""
    if sys.platform != "linux" or n_kernels < LEAST_KERNELS:
        return 0
    return min(usable_processors() - 1, MOST_CHILDREN, n_kernels // LEAST_KERNELS)


def _is_missing(dispatcher: Any, signature: Any) -> bool:
    cache = getattr(dispatcher, "_cache", None)  # there is none where Numba is told not to compile
    return isinstance(cache, KernelCache) and cache.lacks(signature, dispatcher)


def _length(pair: tuple[Any, Any]) -> int:
    """Long ones come first, so that nobody begins with one when the others have ended."""
    return len(pair[0].py_func.__code__.co_code)


@deferring
def _compile(kernels: list[tuple[Any, Any]], n: int) -> None:
    try:
        queue, end = os.pipe()
    except OSError:  # too many files are open
        return
    os.write(end, bytes(range(min(len(kernels), 256))))  # whoever reads a byte compiles that kernel
    os.close(end)
    children: list[int] = []
    parent = os.getpid()
    try:
        with warnings.catch_warnings(), suppress(OSError):  # where no more processes are allowed
            # Of locks that other threads hold: a child asks for none but the compiler's.
            warnings.simplefilter("ignore", DeprecationWarning)
            for _ in range(n):
                if (child := os.fork()) == 0:
                    _be_a_child(kernels, queue, parent)
                children.append(child)
        while index := os.read(queue, 1):
            look()
            _compile_one(*kernels[index[0]])
        given_up = time.monotonic() + PATIENCE
        while any(map(_is_running, children)) and time.monotonic() < given_up:
            look()
            time.sleep(0.005)
    finally:
        os.close(queue)
        for child in filter(_is_running, children):
            with suppress(ChildProcessError, ProcessLookupError):  # where the process has it waited for
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)


def _compile_one(dispatcher: Any, signature: Any) -> None:
    dispatcher.get_compile_result(signature)


def _is_running(child: int) -> bool:
    try:
        return os.waitpid(child, os.WNOHANG) == (0, 0)
    except ChildProcessError:  # this has been seen before, or somebody else waits for all children
        return False


def _be_a_child(kernels: list[tuple[Any, Any]], queue: int, parent: int) -> None:
    """Compile, and end the process. An error is told by the parent, which then meets it itself."""
    try:
        gc.disable()  # nothing of the parent's is to be closed or deleted here
        signal.set_wakeup_fd(-1)  # of the parent's event loop
        for number in signal.valid_signals():
            if callable(signal.getsignal(number)):  # the application's, which is to run once
                signal.signal(number, signal.SIG_DFL)
        warnings.simplefilter("ignore")
        while os.getppid() == parent and (index := os.read(queue, 1)):
            _compile_one(*kernels[index[0]])
    finally:
        os._exit(0)
