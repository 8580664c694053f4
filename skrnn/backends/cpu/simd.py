"""A vector type for Numba: as many floats as one register of this processor holds.

Arithmetic on vectors (and vectors with scalars) is written with `+ - * /`; loads and stores take an
array and an offset in elements. The width and the presence of a fused multiply-add are asked of the
compiler itself, with the very processor and features that Numba compiles for.
"""

from __future__ import annotations

import operator
from functools import cache
from typing import NamedTuple

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.errors import TypingError
from numba.core.registry import cpu_target
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model
from numba.np import arrayobj

INT = ir.IntType(64)
LLVM_SCALARS = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}


class Machine(NamedTuple):
    """What the compiler makes of a fused multiply-add on sixteen floats."""

    vector_bytes: int
    registers: int
    has_fma: bool


@cache
def machine() -> Machine:
    # The assembly shows the registers, and a call to libm where the instruction does not exist.
    probe = """
    define void @probe(ptr %p) {
      %x = load <16 x float>, ptr %p
      %y = call <16 x float> @llvm.fma.v16f32(<16 x float> %x, <16 x float> %x, <16 x float> %x)
      store <16 x float> %y, ptr %p
      ret void
    }
    declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
    """
    assembly = cpu_target.target_context.codegen()._tm.emit_assembly(llvm.parse_assembly(probe))
    has_fma = "fmaf" not in assembly
    if "zmm" in assembly:
        return Machine(64, 32, has_fma)
    if "ymm" in assembly:
        return Machine(32, 16, has_fma)
    return Machine(16, 16 if "xmm" in assembly else 32, has_fma)


def lanes(scalar) -> int:
    """Vector lanes for a NumPy dtype or a Numba float type."""
    bits = scalar.bitwidth if isinstance(scalar, types.Float) else 8 * scalar.itemsize
    return 8 * machine().vector_bytes // bits


# --- the type -------------------------------------------------------------------------------------
class Vec(types.Type):
    """A register of `lanes(scalar)` floats."""

    def __init__(self, scalar):
        self.scalar = scalar
        self.lanes = lanes(scalar)
        super().__init__(name=f"vec<{self.lanes} x {scalar}>")

    @property
    def llvm(self):
        return ir.VectorType(LLVM_SCALARS[self.scalar], self.lanes)


@register_model(Vec)
class VecModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, fe_type.llvm)


def splat(builder, vec, scalar):
    undefined = ir.Constant(vec.llvm, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vec.lanes), [0] * vec.lanes)
    return builder.shuffle_vector(first, undefined, zeros)


def as_vector(context, builder, vec, value, ty):
    if isinstance(ty, Vec):
        return value
    return splat(builder, vec, context.cast(builder, value, ty, vec.scalar))


def vector_of(tys):
    return next((ty for ty in tys if isinstance(ty, Vec)), None)


def add_operator(op, llvm_name):
    @infer_global(op)
    class VecOp(AbstractTemplate):
        def generic(self, args, kws):
            vec = vector_of(args)
            if vec and len(args) == 2 and all(a == vec or isinstance(a, types.Number) for a in args):
                return signature(vec, *args)

    def lower(context, builder, sig, args):
        vec = sig.return_type
        x, y = (as_vector(context, builder, vec, v, t) for v, t in zip(args, sig.args, strict=True))
        return getattr(builder, llvm_name)(x, y)

    for pair in ((Vec, Vec), (Vec, types.Number), (types.Number, Vec)):
        lower_builtin(op, *pair)(lower)


for _op, _name in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    add_operator(_op, _name)


# --- arithmetic that Python has no operator for ----------------------------------------------------
def call_intrinsic(builder, vec, name, args):
    suffix = f"v{vec.lanes}f{vec.scalar.bitwidth}"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vec.llvm, [vec.llvm] * len(args)), f"llvm.{name}.{suffix}"
    )
    return builder.call(function, args)


def emit_fma(builder, vec, a, b, c):
    """a * b + c; without the instruction, a libm call per lane would be 100 times slower."""
    if machine().has_fma:
        return call_intrinsic(builder, vec, "fma", [a, b, c])
    return builder.fadd(builder.fmul(a, b), c)


@intrinsic
def fma(typingctx, a, b, c):
    vec = vector_of((a, b, c))

    def codegen(context, builder, sig, args):
        vectors = [as_vector(context, builder, vec, v, t) for v, t in zip(args, sig.args, strict=True)]
        return emit_fma(builder, vec, *vectors)

    return vec(a, b, c), codegen


def make_select(comparison):
    """where(x <comparison> bound, a, b), one compare and one blend; NaN compares false."""

    @intrinsic
    def select(typingctx, x, bound, a, b):
        def codegen(context, builder, sig, args):
            x, bound, a, b = (
                as_vector(context, builder, sig.args[0], v, t) for v, t in zip(args, sig.args, strict=True)
            )
            return builder.select(builder.fcmp_ordered(comparison, x, bound), a, b)

        return x(x, bound, a, b), codegen

    return select


where_greater = make_select(">")
where_less = make_select("<")


@intrinsic
def power_of_two(typingctx, x):
    """2 ** round(x), and round(x), for |x| < 1000 in float64 and < 126 in float32: the exponent field is
    written directly.

    Adding 1.5 * 2**52 (2**23) rounds to the nearest integer and leaves it in the low bits (two's
    complement); shifted into the exponent field, the bias is added there.
    """
    pair = types.UniTuple(x, 2)

    def codegen(context, builder, sig, args):
        vec = sig.args[0]
        bits = vec.scalar.bitwidth
        fraction, bias = (52, 1023) if bits == 64 else (23, 127)
        ints = ir.VectorType(ir.IntType(bits), vec.lanes)

        def constant(value):
            return ir.Constant(ints, [value] * vec.lanes)

        magic = ir.Constant(vec.llvm, [1.5 * 2.0**fraction] * vec.lanes)
        shifted = builder.fadd(args[0], magic)
        rounded = builder.fsub(shifted, magic)
        exponent = builder.add(builder.bitcast(shifted, ints), constant(bias))
        power = builder.bitcast(builder.shl(exponent, constant(fraction)), vec.llvm)
        return cgutils.pack_array(builder, [power, rounded])

    return pair(x), codegen


# --- memory ----------------------------------------------------------------------------------------
def pointer(context, builder, array_type, array, offset):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [offset])


def load_vec(builder, vec, ptr):
    value = builder.load(builder.bitcast(ptr, vec.llvm.as_pointer()))
    value.align = vec.scalar.bitwidth // 8
    return value


def store_vec(builder, vec, value, ptr):
    store = builder.store(value, builder.bitcast(ptr, vec.llvm.as_pointer()))
    store.align = vec.scalar.bitwidth // 8


def check_span(context, builder, array_type, array, first, last):
    """Under NUMBA_BOUNDSCHECK=1, elements `first`..`last` must lie in the array."""
    if not config.BOUNDSCHECK:
        return
    size = context.make_array(array_type)(context, builder, array).nitems
    zero = ir.Constant(INT, 0)
    outside = builder.or_(builder.icmp_signed("<", first, zero), builder.icmp_signed(">=", last, size))
    with builder.if_then(outside, likely=False):
        message = ("vector access outside the array",)
        context.call_conv.return_user_exc(builder, IndexError, message)


@cache
def make_load(count):
    """Intrinsic that loads `count` neighbouring vectors as a tuple."""

    @intrinsic
    def load(typingctx, array, offset):
        vec = Vec(array.dtype)

        def codegen(context, builder, sig, args):
            last = builder.add(args[1], ir.Constant(INT, count * vec.lanes - 1))
            check_span(context, builder, sig.args[0], args[0], args[1], last)
            base = pointer(context, builder, sig.args[0], args[0], args[1])
            values = [
                load_vec(builder, vec, builder.gep(base, [ir.Constant(INT, k * vec.lanes)]))
                for k in range(count)
            ]
            return cgutils.pack_array(builder, values)

        return types.UniTuple(vec, count)(array, types.intp), codegen

    return load


@cache
def make_store(count):
    """Intrinsic that stores a tuple of `count` vectors side by side."""

    @intrinsic
    def store(typingctx, array, offset, values):
        vec = Vec(array.dtype)

        def codegen(context, builder, sig, args):
            last = builder.add(args[1], ir.Constant(INT, count * vec.lanes - 1))
            check_span(context, builder, sig.args[0], args[0], args[1], last)
            base = pointer(context, builder, sig.args[0], args[0], args[1])
            for k in range(count):
                value = builder.extract_value(args[2], k)
                value = as_vector(context, builder, vec, value, values.types[k])
                store_vec(builder, vec, value, builder.gep(base, [ir.Constant(INT, k * vec.lanes)]))
            return context.get_dummy_value()

        return types.void(array, types.intp, values), codegen

    return store


@intrinsic
def transpose_square(typingctx, source, at, row, target, target_at, target_row):
    """target[j, i] = source[i, j] for as many rows and columns as a vector has lanes.

    By halves: of two rows that lie s apart, the later halves of blocks of 2 s columns trade places with the
    earlier ones; s = 1, 2, 4, ...
    """
    vec = Vec(source.dtype)
    L = vec.lanes

    def codegen(context, builder, sig, args):
        _, at, row, _, target_at, target_row = args
        for array, first, stride in ((0, at, row), (3, target_at, target_row)):
            last = builder.add(first, builder.mul(stride, ir.Constant(INT, L - 1)))
            last = builder.add(last, ir.Constant(INT, L - 1))
            check_span(context, builder, sig.args[array], args[array], first, last)
        x, y = (pointer(context, builder, sig.args[k], args[k], args[k + 1]) for k in (0, 3))

        def place(base, stride, i):
            return builder.gep(base, [builder.mul(stride, ir.Constant(INT, i))])

        rows = [load_vec(builder, vec, place(x, row, i)) for i in range(L)]
        apart = 1
        while apart < L:
            first = [j if j & apart == 0 else L + j - apart for j in range(L)]
            second = [j + apart if j & apart == 0 else L + j for j in range(L)]
            masks = [ir.Constant(ir.VectorType(ir.IntType(32), L), lanes) for lanes in (first, second)]
            for i in range(L):
                if i & apart == 0:
                    pair = rows[i], rows[i + apart]
                    rows[i], rows[i + apart] = (builder.shuffle_vector(*pair, mask) for mask in masks)
            apart *= 2
        for j, column in enumerate(rows):
            store_vec(builder, vec, column, place(y, target_row, j))
        return context.get_dummy_value()

    n = types.intp
    return types.void(source, n, n, target, n, n), codegen


# Slices and assignments to them would do the same, at a third of a second of compilation each.
def stretch(context, builder, sig, args, array, offset, count):
    """Pointer to elements `offset` .. `offset + count` of an array, and their bytes."""
    last = builder.sub(builder.add(args[offset], args[count]), ir.Constant(INT, 1))
    check_span(context, builder, sig.args[array], args[array], args[offset], last)
    item = context.get_abi_sizeof(context.get_data_type(sig.args[array].dtype))
    start = pointer(context, builder, sig.args[array], args[array], args[offset])
    return start, builder.mul(args[count], ir.Constant(INT, item))


@intrinsic
def part(typingctx, array, start, count):
    """array[start:][:count]"""

    def codegen(context, builder, sig, args):
        at, _ = stretch(context, builder, sig, args, 0, 1, 2)
        size = ir.Constant(INT, context.get_abi_sizeof(at.type.pointee))
        view = context.make_array(sig.return_type)(context, builder)
        arrayobj.populate_array(
            view, data=at, shape=[args[2]], strides=[size], itemsize=size, meminfo=None, parent=None
        )
        return view._getvalue()

    return types.Array(array.dtype, 1, "C")(array, types.intp, types.intp), codegen


@intrinsic
def clear(typingctx, array, start, count):
    """array[start:][:count] = 0"""

    def codegen(context, builder, sig, args):
        at, n_bytes = stretch(context, builder, sig, args, 0, 1, 2)
        cgutils.memset(builder, at, n_bytes, 0)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), codegen


@intrinsic
def copy(typingctx, count, source, source_start, target, target_start):
    """target[target_start:][:count] = source[source_start:][:count]; they must not overlap."""
    if source.dtype != target.dtype:
        raise TypingError(f"cannot copy {source.dtype} to {target.dtype}")

    def codegen(context, builder, sig, args):
        x, n_bytes = stretch(context, builder, sig, args, 1, 2, 0)
        y, _ = stretch(context, builder, sig, args, 3, 4, 0)
        cgutils.raw_memcpy(builder, y, x, n_bytes, 1)
        return context.get_dummy_value()

    n = types.intp
    return types.void(n, source, n, target, n), codegen
