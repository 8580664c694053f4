"""Threads that help to replay a tape, and what share of a call's work is whose.

A replay is led by the thread that asked for it; helpers stand by for moments in which there is
something to share. A helper that has had nothing to do for a few milliseconds goes to sleep, and the
leader makes each call with those that are there: for one that wakes up it waits a twentieth of the
replay's time at most, for one that is taken by another leader not at all. So threads cannot lock up, and
as no result depends on their number, nobody sees a difference but in time.

Every helper has a box, a cache line through which it is hired and given calls. The pool is made when
first needed, shared by every fit of the process, and thrown away in a forked child (threads do not
survive a fork).

Who waits for another thread looks again and again, then offers the processor, and in the end takes naps:
where both have to share one processor, the other could not go on before the system's scheduler takes it away.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from _thread import start_new_thread
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import joblib
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ...batches import SIZE_B, SIZE_R
from ...interrupts import deferred
from .jit import inlined, kernel
from .simd import INT, pointer
from .subnormals import flush_subnormals, restore

# --- boxes ------------------------------------------------------------------------------------------
BOX = 8  # words of a box, a cache line
# The state; what to call; calls made in all; how often a helper looks for a leader before it goes to sleep.
STATE, ENTRY, WORDS, THREAD, N_THREADS, CALLS, PATIENCE = range(7)
# ASLEEP -> READY by the helper, READY -> HIRED by a leader, HIRED -> BUSY -> HIRED for every call,
# HIRED -> READY by the leader when its replay has ended, READY -> ASLEEP by a helper that waited in vain.
ASLEEP, READY, HIRED, BUSY = range(4)
LOOKS = 2_000  # at a box of the running replay, some 60 µs, before the processor is offered to someone else
OFFERS = 2_000  # of the processor, some ms, before a nap
OFFER, NAP = 16, 3_000  # looks that take as long
NAP_MICROSECONDS = 50
LAST_LOOK = 110_000  # of a helper that stands by: some 3 ms of its own time, however busy the machine
STAND_BY = 3e-3  # seconds after which the next work follows no longer on the last
COUNT_AGAIN = 0.1  # seconds after which processors are counted again, which takes 0.05 ms
WAKE_FLOPS = 2e8  # about 2 ms
LOOK_FLOPS = 1e5  # of a replay for each look at boxes that should be ready soon: 5 % of its time


@intrinsic
def load_atomically(typingctx, array, index):
    def codegen(context, builder, sig, args):
        at = pointer(context, builder, sig.args[0], args[0], args[1])
        return builder.load_atomic(at, "acquire", 8)

    return types.intp(array, types.intp), codegen


@intrinsic
def store_atomically(typingctx, array, index, value):
    def codegen(context, builder, sig, args):
        at = pointer(context, builder, sig.args[0], args[0], args[1])
        builder.store_atomic(args[2], at, "release", 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), codegen


@intrinsic
def exchange(typingctx, array, index, expected, value):
    """array[index] = value if it is `expected`; whether it was."""

    def codegen(context, builder, sig, args):
        at = pointer(context, builder, sig.args[0], args[0], args[1])
        return builder.extract_value(builder.cmpxchg(at, args[2], args[3], "acq_rel", "acquire"), 1)

    return types.boolean(array, types.intp, types.intp, types.intp), codegen


@intrinsic
def give_way(typingctx):
    """Offer the processor to another thread of the machine, where the system has a call for it."""

    def codegen(context, builder, sig, args):
        if sys.platform != "win32":
            ty = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, ty, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def nap(typingctx):
    """Sleep for a moment, where the system has a call for it."""

    def codegen(context, builder, sig, args):
        if sys.platform != "win32":
            microseconds = ir.IntType(32)
            ty = ir.FunctionType(ir.IntType(32), [microseconds])
            usleep = cgutils.get_or_insert_function(builder.module, ty, "usleep")
            builder.call(usleep, [microseconds(NAP_MICROSECONDS)])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def pause(typingctx):
    """Some 20 ns in which a core leaves its units to its other hardware thread, where there is a way."""

    def codegen(context, builder, sig, args):
        match platform.machine():
            case "x86_64" | "AMD64":
                name, words = "llvm.x86.sse2.pause", []
            case "aarch64" | "arm64":
                name, words = "llvm.aarch64.isb", [ir.Constant(ir.IntType(32), 15)]
            case _:
                return context.get_dummy_value()
        ty = ir.FunctionType(ir.VoidType(), [word.type for word in words])
        builder.call(cgutils.get_or_insert_function(builder.module, ty, name), words)
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def call_entry(typingctx, address, words, thread, n_threads):
    """``f(words, thread, n_threads)`` of the function at an address; see `tape.entry`."""

    def codegen(context, builder, sig, args):
        ty = ir.FunctionType(ir.VoidType(), [INT] * 3)
        builder.call(builder.inttoptr(args[0], ty.as_pointer()), args[1:])
        return context.get_dummy_value()

    n = types.intp
    return types.void(n, n, n, n), codegen


@inlined
def wait(looks):
    """Wait for a moment, after `looks` in vain; as how many more looks that counts."""
    if looks <= LOOKS:
        pause()
        return 1
    if looks <= LOOKS + OFFERS * OFFER:
        give_way()
        return OFFER
    nap()
    return NAP


# --- the leader's side ------------------------------------------------------------------------------
@inlined
def hire(boxes, hired, n):
    """Hire helpers that are ready, until there are ``len(hired)``; `n` are hired already."""
    box = 0
    while n < len(hired) and box < len(boxes):
        if load_atomically(boxes, box + STATE) == READY and exchange(boxes, box + STATE, READY, HIRED):
            hired[n] = box
            n += 1
        box += BOX
    return n


@inlined
def call_together(boxes, hired, n, entry, words):
    """A call that the leader and its `n` helpers share; returns when all have made it."""
    for i in range(n):
        box = hired[i]
        boxes[box + ENTRY], boxes[box + WORDS] = entry, words
        boxes[box + THREAD], boxes[box + N_THREADS] = i + 1, n + 1
        store_atomically(boxes, box + STATE, BUSY)
    call_entry(entry, words, 0, n + 1)
    for i in range(n):
        looks = 0
        while load_atomically(boxes, hired[i] + STATE) == BUSY:
            looks += wait(looks)


@inlined
def dismiss(boxes, hired, n):
    for i in range(n):
        store_atomically(boxes, hired[i] + STATE, READY)


# --- the helper's side ------------------------------------------------------------------------------
@kernel("help_out")
def help_out(boxes, box):
    """Make the calls that leaders put into a box, until none has for a while."""
    mode = flush_subnormals()
    store_atomically(boxes, box + STATE, READY)
    looks = 0
    while True:
        state = load_atomically(boxes, box + STATE)
        if state == BUSY:
            call_entry(boxes[box + ENTRY], boxes[box + WORDS], boxes[box + THREAD], boxes[box + N_THREADS])
            boxes[box + CALLS] += 1
            store_atomically(boxes, box + STATE, HIRED)
            looks = 0
            continue
        if state == HIRED:
            looks += wait(looks)
        else:
            pause()
            looks += 1
        if looks > boxes[box + PATIENCE] and exchange(boxes, box + STATE, READY, ASLEEP):
            restore(mode)
            return


def compile_help_out() -> None:
    """On this thread: a child that is forked while another thread compiles could never compile itself."""
    help_out(np.zeros(BOX, np.intp), 0)


# --- shares of the work -----------------------------------------------------------------------------
@kernel("own_range")
def own_range(thread, n_threads, n):
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
def usable_processors() -> int:
    """Processors that this thread may use now: those it is confined to, within its container's quota."""
    return joblib.cpu_count()


class Pool:
    """Helpers, one for each processor but the leader's; their threads are started when first wanted.

    Attributes
    ----------
    boxes : ndarray of shape (BOX * n,)
    bells : list of SimpleQueue
        By which those asleep are woken: to put something in is one step, which no interrupt can divide. The
        lock of an Event would stay taken.
    """

    def __init__(self, n: int) -> None:
        self.boxes = np.zeros(BOX * (n + 1), np.intp)
        past_line = self.boxes.ctypes.data // self.boxes.itemsize % BOX
        self.boxes = self.boxes[(BOX - past_line) % BOX :][: BOX * n]
        self.boxes[PATIENCE::BOX] = LAST_LOOK
        self.bells: list[SimpleQueue[None]] = []
        self.lock = threading.Lock()
        self._last = -STAND_BY  # when the last replay ended
        self._usable, self._counted = 0, -COUNT_AGAIN  # how many may help, and when they were counted

    def lead(self, replay: Callable[..., None], *args: Any, n_helpers: int, flops: float) -> None:
        """``replay(*args, boxes, hired, looks)`` on this thread, with up to `n_helpers` helpers.

        Those asleep are woken for work that is long or follows on the last replay: waking one costs up
        to 0.1 ms, and as much again until it is there.
        """
        now = time.perf_counter()
        if now - self._counted >= COUNT_AGAIN:  # for two threads on one processor, each waits for the other
            self._usable, self._counted = usable_processors() - 1, now
        boxes, n_helpers = self.boxes[: BOX * self._usable], min(n_helpers, self._usable)
        wake = flops >= WAKE_FLOPS or now - self._last < STAND_BY
        ready = asleep = 0
        for i, state in enumerate(boxes[STATE::BOX].tolist()):
            if ready + asleep == n_helpers:
                break
            if state == READY:
                ready += 1
            elif state == ASLEEP and wake and self._ring(i):
                asleep += 1
        looks = int(flops / LOOK_FLOPS) if asleep else 0
        replay(*args, boxes, np.zeros(ready + asleep, np.intp), looks)
        self._last = time.perf_counter()

    def _ring(self, i: int) -> bool:
        """Wake helper i; False where the system lets no more threads start."""
        if i >= len(self.bells):
            compile_help_out()
            with deferred(), self.lock:
                while i >= len(self.bells):
                    box = BOX * len(self.bells)
                    self.bells.append(SimpleQueue())
                    try:
                        start_new_thread(self._serve, (self.bells[-1], box))
                    except RuntimeError:
                        self.bells.pop()
                        return False
        self.bells[i].put(None)
        return True

    def _serve(self, bell: SimpleQueue[None], box: int) -> None:
        while True:
            bell.get()
            while not bell.empty():  # rung by several at once
                bell.get()
            help_out(self.boxes, box)


_pool: Pool | None = None
_lock = threading.Lock()


def pool() -> Pool:
    """The process's helpers."""
    global _pool
    if _pool is None:
        with deferred(), _lock:  # which an interrupt must not leave taken
            if _pool is None:
                _pool = Pool((os.cpu_count() or 1) - 1)
    return _pool


def _forget() -> None:
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
