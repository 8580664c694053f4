"""Tapes: kernel calls recorded once and replayed without Python in between.

A training step of a small network is twenty kernels of a few microseconds each: called from Python,
most of its time would go into the calls. A tape keeps their addresses and arguments; one compiled
loop replays them, as often as it is told to, alone or with helpers (`threads`).
What changes from one replay to the next (the minibatch, its lengths, the learning rate) the kernels
read from arrays.

With NUMBA_BOUNDSCHECK=1 the calls are made from Python, so that their errors are raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import addressof, c_char
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numba.np import arrayobj

from ...interrupts import deferring, look
from . import threads
from .jit import inlined, kernel
from .parallel_compile import compile_together
from .simd import INT
from .subnormals import begin_flushing, end_flushing, flush_subnormals, restore

LEAST_FLOPS = 1e5  # what the calls of a replay cost anyway
BURST_FLOPS = 1e9  # of replays between two looks at Python: less than 0.1 s on a slow machine
THREAD_FLOPS = 2e7  # of a replay that make one more thread pay

# Type codes of what a tape can hold: those of NumPy's dtypes, with a star for a flat array.
SCALARS = {
    "?": types.boolean,
    "l": types.intp,
    "i": types.int32,
    "f": types.float32,
    "d": types.float64,
    "H": types.uint16,
    "L": types.uint64,
}
CODES = {
    np.dtype(dtype): f"{code}*"
    for dtype, code in (
        (np.intp, "l"),
        (np.int32, "i"),
        (np.float32, "f"),
        (np.float64, "d"),
        (np.uint16, "H"),
        (np.uint64, "L"),
    )
}
TYPES = SCALARS | {f"{code}*": types.Array(ty, 1, "C") for code, ty in SCALARS.items()}


# --- calling a kernel by its address ----------------------------------------------------------------
def words_of(value: Any) -> tuple[str, tuple[int, ...]]:
    """A value's type code, and the 64-bit words that stand for it on a tape."""
    if type(value) is int:  # most are: the cost of recording is part of every `predict`
        return "l", (value,)
    if isinstance(value, np.ndarray):
        if value.ndim != 1 or not value.flags.c_contiguous:
            raise ValueError(f"a tape takes flat arrays, got shape {value.shape}")
        code = CODES.get(value.dtype)
        if code is None:
            raise TypeError(f"a tape takes no arrays of {value.dtype}")
        try:
            address = addressof(c_char.from_buffer(value))
        except (TypeError, ValueError):  # of one that is read-only, or empty, in five times as long
            address = value.__array_interface__["data"][0]
        return code, (address, len(value))
    if isinstance(value, bool):
        return "?", (int(value),)
    if isinstance(value, int | np.integer):
        return "l", (int(value),)
    value = np.asarray(value)
    return value.dtype.char, (int(value.view(f"i{value.itemsize}")),)


def read_words(context, builder, words, tys):
    """The arguments that `words_of` has taken apart."""
    at = 0

    def word():
        nonlocal at
        at += 1
        return builder.load(builder.gep(words, [ir.Constant(INT, at - 1)]))

    for ty in tys:
        if isinstance(ty, types.Array):
            array = context.make_array(ty)(context, builder)
            size = ir.Constant(INT, context.get_abi_sizeof(context.get_data_type(ty.dtype)))
            arrayobj.populate_array(
                array, data=builder.inttoptr(word(), array.data.type), shape=[word()], strides=[size],
                itemsize=size, meminfo=None,
            )  # fmt: skip
            yield array._getvalue()
        elif isinstance(ty, types.Float):
            bits = builder.trunc(word(), ir.IntType(32)) if ty.bitwidth == 32 else word()
            yield builder.bitcast(bits, context.get_value_type(ty))
        else:
            yield builder.trunc(word(), ir.IntType(1)) if ty == types.boolean else word()


def signature_of(codes: tuple[str, ...], shared: bool) -> Any:
    """Of a kernel, which returns nothing."""
    tys = [TYPES[code] for code in codes]
    return types.void(types.intp, types.intp, *tys) if shared else types.void(*tys)


_entries: dict[tuple[Any, tuple[str, ...], bool], tuple[int, Any]] = {}


def entry(dispatcher: Any, codes: tuple[str, ...], shared: bool) -> tuple[int, Any]:
    """Address of ``void f(words, thread, n_threads)`` that calls a kernel, and what keeps it alive.

    A `shared` kernel takes ``thread`` and ``n_threads`` before its own arguments.
    """
    key = dispatcher, codes, shared
    if key not in _entries:
        _entries[key] = make_entry(*key)
    return _entries[key]


@deferring
@global_compiler_lock
def make_entry(dispatcher: Any, codes: tuple[str, ...], shared: bool) -> tuple[int, Any]:
    look()  # nothing of it has been compiled yet
    signature = signature_of(codes, shared)
    context, codegen = cpu_target.target_context, cpu_target.target_context.codegen()
    context.refresh()
    compiled = dispatcher.get_compile_result(signature)
    library = codegen.create_library(f"entry_{compiled.fndesc.llvm_func_name}")
    module = library.create_ir_module("entry")
    name = f"skrnn_entry_{id(compiled)}_{shared}"
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [INT] * 3), name)
    builder = ir.IRBuilder(function.append_basic_block())
    words, *team = function.args
    words = builder.inttoptr(words, INT.as_pointer())
    arguments = [*(team if shared else []), *read_words(context, builder, words, map(TYPES.get, codes))]
    callee_type = context.call_conv.get_function_type(types.void, signature.args)
    address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    callee = builder.inttoptr(ir.Constant(INT, address), callee_type.as_pointer())
    context.call_conv.call_function(builder, callee, types.void, signature.args, arguments)
    builder.ret_void()
    library.add_ir_module(module)
    library.finalize()
    return library.get_pointer_to_function(name), (library, compiled)


@intrinsic
def word_at(typingctx, address):
    def codegen(context, builder, sig, args):
        return builder.load(builder.inttoptr(args[0], INT.as_pointer()))

    return types.intp(types.intp), codegen


class Call(NamedTuple):
    """One recorded call."""

    kernel: Any
    codes: tuple[str, ...]
    shared: bool  # between the threads; else the first one makes it alone
    args: tuple
    condition: np.ndarray | None
    words_from: int  # where its words begin among those of the tape

    @property
    def key(self) -> tuple[Any, tuple[str, ...], bool]:
        """What `entry` takes."""
        return self.kernel, self.codes, self.shared


CALL_BYTES = 4 * 8  # of a call in the table: entry, arguments, shared, address of the condition


@inlined
def left_out(call):
    """Whether the condition of a call is 0."""
    condition = word_at(call + 24)
    return condition != 0 and word_at(condition) == 0


@kernel("play")
def play(table, end):
    """Make the calls of a table, from its address up to its end, on this thread."""
    mode = flush_subnormals()
    for call in range(table, end, CALL_BYTES):
        if not left_out(call):
            threads.call_entry(word_at(call), word_at(call + 8), 0, 1)
    restore(mode)


@kernel("replay")
def replay(times, table, end, stop, boxes, hired, looks):
    """Make the calls of a table `times` times, or until `stop` is set.

    boxes: of the helpers; hired: room for as many as may help; looks: how often to look for them
    before the first call.
    """
    mode = flush_subnormals()
    n = threads.hire(boxes, hired, 0)  # helpers so far
    looked = 0
    while n < len(hired) and looked < looks:
        looked += threads.wait(looked)
        n = threads.hire(boxes, hired, n)
    for _ in range(times):
        for call in range(table, end, CALL_BYTES):
            if left_out(call):
                continue
            if word_at(call + 16) == 0:
                threads.call_entry(word_at(call), word_at(call + 8), 0, 1)
            else:
                n = threads.hire(boxes, hired, n)
                threads.call_together(boxes, hired, n, word_at(call), word_at(call + 8))
        if stop[0] != 0:
            break
    threads.dismiss(boxes, hired, n)
    restore(mode)


ALONE = np.zeros(0, np.intp)  # in the place of boxes and helpers


class Tape:
    """A list of kernel calls.

    Parameters
    ----------
    n_threads : int
        Threads that share a replay, at most: fewer where fewer are free, with the same results.

    Attributes
    ----------
    stop : ndarray of shape (1,)
        A kernel that sets it to 1 ends the replay after the running repetition.
    """

    def __init__(self, n_threads: int = 1) -> None:
        self.n_threads = n_threads
        self.stop = np.zeros(1, np.intp)
        self.calls: list[Call] = []
        self._words: list[int] = []
        # Most arrays take part in many calls. By `id`, which stays theirs: `calls` keeps the arguments.
        self._known: dict[int, tuple[str, tuple[int, ...]]] = {}
        self._condition: np.ndarray | None = None
        self._table: np.ndarray | None = None
        self._ends = 0, 0
        self._kept: list[Any] = []  # what lies at the addresses in `_table`

    def call(self, function: Any, *args: Any) -> None:
        """Record a call that the first thread makes alone."""
        self._record(function, args, False)

    def share(self, function: Any, *args: Any) -> None:
        """Record a call that all threads make, as ``function(thread, n_threads, *args)``."""
        self._record(function, args, True)

    def _record(self, function: Any, args: tuple, shared: bool) -> None:
        found = [self._known.get(id(arg)) or words_of(arg) for arg in args]
        codes = tuple([code for code, _ in found])
        self.calls.append(Call(function, codes, shared, args, self._condition, len(self._words)))
        self._known.update(zip(map(id, args), found))  # only now: one of them may have been refused
        for _, words in found:
            self._words += words
        self._table = None

    @contextmanager
    def only_if(self, condition: np.ndarray) -> Iterator[None]:
        """What is recorded meanwhile is left out of a replay while ``condition[0]`` is 0.

        `condition` may change before the first of these calls, not between them. Not to be nested.
        """
        self._condition = condition
        try:
            yield
        finally:
            self._condition = None

    def _compiled(self) -> tuple[int, int]:
        """First and last address of the table, compiled if it is not."""
        if self._table is None:
            self._table = self._compile()
            start = self._table.ctypes.data
            self._ends = start, start + self._table.nbytes
        return self._ends

    def _compile(self) -> np.ndarray:
        words, rows = np.array(self._words, np.int64), []
        self._kept, first = [words], words.ctypes.data
        new = {call.key for call in self.calls} - _entries.keys()
        compile_together([(function, signature_of(codes, shared)) for function, codes, shared in new])
        for call in self.calls:
            address, keep = entry(*call.key)
            self._kept.append(keep)
            guard = 0 if call.condition is None else call.condition.ctypes.data
            rows += (address, first + 8 * call.words_from, int(call.shared), guard)
        return np.array(rows, np.int64)

    def run(
        self,
        times: int = 1,
        flops: float = 0.0,
        most_flops: float | None = None,
        n_threads: int | Callable[[], int] | None = None,
    ) -> None:
        """Replay, with a look at Python now and then (for Ctrl-C), until a kernel sets `stop`.

        Parameters
        ----------
        flops : of a replay on average: say how many threads pay. 0: one thread
        most_flops : of the longest replay, if they differ: say how many may run before the next look
        n_threads : the most for this time, asked where more than one pay
        """
        paying = min(self.n_threads, 1 + int(flops // THREAD_FLOPS))
        if paying > 1 and n_threads is not None:
            paying = min(paying, n_threads() if callable(n_threads) else n_threads)
        if config.BOUNDSCHECK:
            return self._run_in_python(times, paying)
        table, end = self._compiled()
        stop, _kept = self.stop, (self._table, self._kept)  # what the addresses lead to
        burst = max(1, int(BURST_FLOPS // max(most_flops or flops, LEAST_FLOPS)))
        while times > 0 and not stop[0]:
            look()
            n = min(times, burst)
            if paying == 1:
                replay(n, table, end, stop, ALONE, ALONE, 0)
            else:
                threads.pool().lead(replay, n, table, end, stop, n_helpers=paying - 1, flops=n * flops)
            times -= n

    def player(self) -> Callable[[], None]:
        """A function that replays once on this thread, with as little ado as there can be."""
        if config.BOUNDSCHECK:
            return deferring(partial(self._run_in_python, 1, 1))  # a step is made or not made
        once = partial(play, *self._compiled())
        once.keeps = self, self._table, self._kept  # type: ignore[attr-defined]  # what it reads
        return once

    def _run_in_python(self, times: int, n_threads: int) -> None:
        for _ in range(times):
            look()
            if self.stop[0]:
                break
            for call in self.calls:
                if call.condition is not None and call.condition[0] == 0:
                    continue
                mode = begin_flushing()
                try:
                    if call.shared:
                        for thread in range(n_threads):
                            call.kernel(thread, n_threads, *call.args)
                    else:
                        call.kernel(*call.args)
                finally:
                    end_flushing(mode)
