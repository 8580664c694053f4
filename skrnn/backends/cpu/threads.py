"""Threads that replay a tape together: their shares of the work, and where they meet after each call.

They come from a private pool: made when first needed, thrown away in a forked child (threads do not
survive a fork), shared by every fit of the process. Nobody waits for a thread that is busy elsewhere:
a team is made of those that are free, so that it cannot lock up, and results do not depend on its
size.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ...batches import SIZE_B, SIZE_R
from .jit import kernel
from .simd import pointer

LINE = 8  # words of a cache line
PATIENCE = 4_000  # looks at the other threads before the processor is offered to someone else


# --- meeting ----------------------------------------------------------------------------------------
@intrinsic
def add_atomically(typingctx, array, index, value):
    """array[index] += value; returns what was there before."""

    def codegen(context, builder, sig, args):
        at = pointer(context, builder, sig.args[0], args[0], args[1])
        return builder.atomic_rmw("add", at, args[2], "acq_rel")

    return types.intp(array, types.intp, types.intp), codegen


@intrinsic
def load_atomically(typingctx, array, index):
    def codegen(context, builder, sig, args):
        at = pointer(context, builder, sig.args[0], args[0], args[1])
        return builder.load_atomic(at, "acquire", 8)

    return types.intp(array, types.intp), codegen


@intrinsic
def give_way(typingctx):
    """Offer the processor to another thread of the machine, where the system has a call for it."""

    def codegen(context, builder, sig, args):
        if sys.platform != "win32":
            ty = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, ty, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@kernel("meet")
def meet(meeting, n_threads):
    """Wait until all threads have come here; False if they will not, because the replay is called off.

    `meeting`, on cache lines of their own: how many have come; how often all have; called off.
    """
    round_ = load_atomically(meeting, LINE)
    if add_atomically(meeting, 0, 1) == n_threads - 1:
        add_atomically(meeting, 0, -n_threads)
        add_atomically(meeting, LINE, 1)
        return True
    looks = 0
    while load_atomically(meeting, LINE) == round_:
        if load_atomically(meeting, 2 * LINE) != 0:
            return False
        looks += 1
        if looks > PATIENCE:
            give_way()
    return True


# --- shares of the work -----------------------------------------------------------------------------
@kernel("share")
def share(thread, n_threads, n):
    """The thread's range of n things."""
    return n * thread // n_threads, n * (thread + 1) // n_threads


@kernel("own_sequences")
def own_sequences(thread, n_threads, sizes, lengths):
    """The thread's range of sequences: every thread gets about the same number of steps."""
    n, all_steps = sizes[SIZE_B], sizes[SIZE_R]
    if n_threads == 1:
        return 0, n
    first, last, steps = 0, 0, 0
    for i in range(n):
        if steps * n_threads < all_steps * thread:
            first = i + 1
        if steps * n_threads < all_steps * (thread + 1):
            last = i + 1
        steps += lengths[i]
    return first, last


# --- the pool ---------------------------------------------------------------------------------------
class Pool:
    def __init__(self) -> None:
        n = max(1, (os.cpu_count() or 1) - 1)
        self.executor = ThreadPoolExecutor(n, thread_name_prefix="skrnn")
        self.free = threading.Semaphore(n)


_pool: Pool | None = None
_lock = threading.Lock()


def _forget() -> None:
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def together(n_threads: int, task: Callable[..., None], *args: Any) -> None:
    """``task(thread, n, *args, meeting)`` on this thread and up to `n_threads` - 1 free ones.

    Returns, or raises, when none is running any more.
    """
    global _pool
    with _lock:
        if _pool is None:
            _pool = Pool()
        pool = _pool
    helpers, futures = 0, []
    while helpers < n_threads - 1 and pool.free.acquire(blocking=False):
        helpers += 1
    n, meeting = helpers + 1, np.zeros(3 * LINE, np.intp)

    def help_with(thread: int) -> None:
        try:
            task(thread, n, *args, meeting)
        finally:
            pool.free.release()

    try:
        for thread in range(1, n):  # one by one: what follows an interrupt counts those submitted
            futures.append(pool.executor.submit(help_with, thread))  # noqa: PERF401
        task(0, n, *args, meeting)
    except BaseException:  # Ctrl-C before this thread took part: the others must not wait for it
        meeting[2 * LINE] = 1
        for _ in range(helpers - len(futures)):
            pool.free.release()
        raise
    finally:
        try:
            wait(futures)
        except KeyboardInterrupt:  # the others still write to buffers that the caller may use again
            wait(futures)
            raise
    for future in futures:
        future.result()
