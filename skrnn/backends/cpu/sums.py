"""Sums of very many terms, over the steps of long sequences or over many of them.

The error of a sum that float32 adds up term by term grows with the number of terms, and in the end the sum
stands still: at 2**24 times a term. So float32 adds up a span of terms by itself, as the products do it
fastest, and from span to span the sums are added in float64.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import kernel
from .simd import INT, LLVM_SCALARS, Vec, clear, load_vec, part, stretch
from .workspace import Workspace

# Terms of a span. Its own error is some 1e-6 of the sum; moving the sums costs the time of four terms.
SPAN = 1024


NONE = np.empty(0)


def beside(terms: int, sums: int, work: Workspace, *name: Any) -> np.ndarray:
    """Room in float64 for so many sums of so many terms, where they need it."""
    if terms <= SPAN or work.dtype != np.float32:
        return NONE
    return work.get(*name, size=sums, dtype=np.dtype(np.float64))


@cache
def sum_kernels(dtype: np.dtype) -> SimpleNamespace:
    scalar = dtype.type

    @kernel("set_aside", dtype.name)
    def set_aside(sums, start, n, wide, at, first):
        """The sums of a span, sums[start:][:n], move to wide[at:][:n]: there they are `first`, or added."""
        if n == 0:
            return
        x, y = part(sums, start, n), part(wide, at, n)
        if first:
            for i in range(n):
                y[i] = np.float64(x[i])
        else:
            for i in range(n):
                y[i] += np.float64(x[i])
        clear(sums, start, n)

    @kernel("take_back", dtype.name)
    def take_back(sums, start, n, wide, at):
        """The last span's sums and those of all before, in sums[start:][:n]."""
        if n == 0:
            return
        x, y = part(sums, start, n), part(wide, at, n)
        for i in range(n):
            x[i] = scalar(y[i] + np.float64(x[i]))

    return SimpleNamespace(set_aside=set_aside, take_back=take_back)


@intrinsic
def sum_of_squares(typingctx, array, start, count):
    """Of array[start:][:count], in float64: two vectors of sums side by side, so that no addition has to wait
    for the one before."""
    vec = Vec(array.dtype)
    double = LLVM_SCALARS[types.float64]
    wide = ir.VectorType(double, vec.lanes)

    def codegen(context, builder, sig, args):
        at, _ = stretch(context, builder, sig, args, 0, 1, 2)

        def squared(x, ty):
            x = builder.fpext(x, ty) if vec.scalar == types.float32 else x
            return builder.fmul(x, x)

        sums = [cgutils.alloca_once_value(builder, ir.Constant(wide, [0.0] * vec.lanes)) for _ in range(2)]
        total = cgutils.alloca_once_value(builder, ir.Constant(double, 0.0))
        step = ir.Constant(INT, 2 * vec.lanes)
        whole = builder.udiv(args[2], step)
        with cgutils.for_range(builder, whole) as loop:
            first = builder.mul(loop.index, step)
            for k, of in enumerate(sums):
                place = builder.gep(at, [builder.add(first, ir.Constant(INT, k * vec.lanes))])
                squares = squared(load_vec(builder, vec, place), wide)
                builder.store(builder.fadd(builder.load(of), squares), of)
        with cgutils.for_range(builder, args[2], start=builder.mul(whole, step)) as loop:
            square = squared(builder.load(builder.gep(at, [loop.index])), double)
            builder.store(builder.fadd(builder.load(total), square), total)
        both = builder.fadd(*(builder.load(of) for of in sums))
        for lane in range(vec.lanes):
            one = builder.extract_element(both, ir.Constant(INT, lane))
            builder.store(builder.fadd(builder.load(total), one), total)
        return builder.load(total)

    return types.float64(array, types.intp, types.intp), codegen
