"""Subnormal numbers, those below `np.finfo(dtype).tiny`, count as zero while kernels run.

A processor takes a hundred cycles over an operation with one, and back-propagation through hundreds of
steps is full of them: gradients shrink from step to step until they are 0. Whether they count is a mode of
each thread. Compiled code sets it where it begins to call kernels and puts it back where it ends, so that
no Python runs in it: elsewhere ``np.float32(1e-40) != 0`` stays true.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import kernel
from .simd import INT

WORD = ir.IntType(32)


class Control(NamedTuple):
    """A processor's register of floating-point modes.

    Attributes
    ----------
    read : callable
        ``read(builder)``: what is in it, an integer of 64 bits.
    write : callable
        ``write(builder, mode)``
    flush : int
        The bits by which subnormal results and operands are taken for zero.
    """

    read: Callable
    write: Callable
    flush: int


def _mxcsr(builder, name, slot):
    at = builder.bitcast(slot, ir.IntType(8).as_pointer())
    ty = ir.FunctionType(ir.VoidType(), [at.type])
    builder.call(cgutils.get_or_insert_function(builder.module, ty, f"llvm.x86.sse.{name}"), [at])


def _read_mxcsr(builder):
    slot = cgutils.alloca_once(builder, WORD)
    _mxcsr(builder, "stmxcsr", slot)
    return builder.zext(builder.load(slot), INT)


def _write_mxcsr(builder, mode):
    slot = cgutils.alloca_once(builder, WORD)
    builder.store(builder.trunc(mode, WORD), slot)
    _mxcsr(builder, "ldmxcsr", slot)


def _read_fpcr(builder):
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(INT, []), "llvm.aarch64.get.fpcr"
    )
    return builder.call(function, [])


def _write_fpcr(builder, mode):
    ty = ir.FunctionType(ir.VoidType(), [INT])
    builder.call(cgutils.get_or_insert_function(builder.module, ty, "llvm.aarch64.set.fpcr"), [mode])


def control(machine: str) -> Control | None:
    """The register of a machine as `platform.machine` calls it; None where there is no way to it."""
    match machine:
        case "x86_64" | "AMD64":
            return Control(_read_mxcsr, _write_mxcsr, 1 << 15 | 1 << 6)  # flush to zero, denormals are zero
        case "aarch64" | "arm64" | "ARM64":
            return Control(_read_fpcr, _write_fpcr, 1 << 24)  # FZ: both
    return None


@intrinsic
def flush_subnormals(typingctx):
    """From here on they count as zero on this thread; returns the mode before, for `restore`."""

    def codegen(context, builder, sig, args):
        own = control(platform.machine())
        if own is None:
            return ir.Constant(INT, 0)
        before = own.read(builder)
        own.write(builder, builder.or_(before, ir.Constant(INT, own.flush)))
        return before

    return types.intp(), codegen


@intrinsic
def restore(typingctx, mode):
    """Back to the mode that `flush_subnormals` has returned."""

    def codegen(context, builder, sig, args):
        own = control(platform.machine())
        if own is not None:
            own.write(builder, args[0])
        return context.get_dummy_value()

    return types.void(types.intp), codegen


@kernel("begin_flushing")
def begin_flushing():
    """`flush_subnormals` for calls that are made from Python."""
    return flush_subnormals()


@kernel("end_flushing")
def end_flushing(mode):
    restore(mode)
