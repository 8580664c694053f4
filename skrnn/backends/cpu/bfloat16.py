"""Numbers of half the width: bfloat16, the upper half of a float32, kept as uint16.

Products of bfloat16 are summed in float32, two to a lane: ``VDPBF16PS`` of AVX512_BF16 adds the products
of neighbouring pairs. So what is multiplied comes in *pairs*: a row of A as it lies, and of B two rows
interleaved, column by column. Only products are of half the width; states, gates, gradients and the
master weights are float32.
"""

from __future__ import annotations

from functools import cache

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from ...batches import SIZE_B, SIZE_R
from .jit import kernel
from .simd import INT, check_span, machine, part, pointer
from .threads import own_range

WORD = ir.IntType(32)


class BFloat(ir.types.Type):
    """LLVM's type, which llvmlite does not know."""

    def _to_string(self):
        return "bfloat"

    def __eq__(self, other):
        return isinstance(other, BFloat)

    def __hash__(self):
        return hash(BFloat)


LANES = 16  # floats of a 512-bit vector
PAIRS = ir.VectorType(BFloat(), 2 * LANES)


@cache
def available() -> bool:
    """Whether the processor that Numba compiles for has AVX512_BF16."""
    # Asked of the compiler, not of the processor: it follows NUMBA_CPU_NAME and NUMBA_CPU_FEATURES.
    probe = """
    define void @probe(ptr %p, ptr %q) {
      %x = load <16 x float>, ptr %p
      %y = fptrunc <16 x float> %x to <16 x bfloat>
      store <16 x bfloat> %y, ptr %q
      ret void
    }
    """
    assembly = cpu_target.target_context.codegen()._tm.emit_assembly(llvm.parse_assembly(probe))
    return machine().vector_bytes == 64 and "vcvtneps2bf16" in assembly


# --- what the tiles of `gemm` need ------------------------------------------------------------------
def load_pairs(builder, vec, at):
    """16 pairs of neighbours."""
    value = builder.load(builder.bitcast(at, PAIRS.as_pointer()))
    value.align = 2
    return value


def splat_pair(builder, vec, at):
    """One pair in every lane."""
    pair = builder.load(builder.bitcast(at, WORD.as_pointer()))
    pair.align = 2
    words = ir.VectorType(WORD, LANES)
    undefined = ir.Constant(words, ir.Undefined)
    first = builder.insert_element(undefined, pair, ir.Constant(WORD, 0))
    zeros = ir.Constant(ir.VectorType(WORD, LANES), [0] * LANES)
    return builder.bitcast(builder.shuffle_vector(first, undefined, zeros), PAIRS)


def add_products(builder, vec, x, y, total):
    """total + x[2 i] y[2 i] + x[2 i + 1] y[2 i + 1] in lane i."""
    ty = ir.FunctionType(vec.llvm, [vec.llvm, PAIRS, PAIRS])
    function = cgutils.get_or_insert_function(builder.module, ty, "llvm.x86.avx512bf16.dpbf16ps.512")
    return builder.call(function, [total, x, y])


# --- conversion: rounded to nearest, ties to even ----------------------------------------------------
@intrinsic
def to_bf16(typingctx, x):
    """A float32 as bfloat16, in a uint16."""

    def codegen(context, builder, sig, args):
        return builder.bitcast(builder.fptrunc(args[0], BFloat()), ir.IntType(16))

    return types.uint16(types.float32), codegen


@intrinsic
def store_bf16(typingctx, array, offset, value):
    """array[offset:][:16] = a vector as bfloat16."""

    def codegen(context, builder, sig, args):
        last = builder.add(args[1], ir.Constant(INT, LANES - 1))
        check_span(context, builder, sig.args[0], args[0], args[1], last)
        at, vector = pointer(context, builder, sig.args[0], args[0], args[1]), ir.VectorType(BFloat(), LANES)
        store = builder.store(builder.fptrunc(args[2], vector), builder.bitcast(at, vector.as_pointer()))
        store.align = 2
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@kernel("bf16_rows")
def bf16_rows(thread, n_threads, sizes, n, X, x_row, past, out_row, out):
    """out (R, out_row) = rows X (R, n) as bfloat16, zero beyond n."""
    lo, hi = own_range(thread, n_threads, sizes[SIZE_R])
    skip = sizes[SIZE_B] if past else 0
    for r in range(lo, hi):
        source, target = part(X, (skip + r) * x_row, n), part(out, r * out_row, out_row)
        for j in range(n):
            target[j] = to_bf16(source[j])
        for j in range(n, out_row):
            target[j] = 0


@kernel("bf16_first")
def bf16_first(sizes, width, states, out):
    """The first B rows of `states` (B + R, width) as bfloat16."""
    for j in range(sizes[SIZE_B] * width):
        out[j] = to_bf16(states[j])


@kernel("bf16_panels")
def bf16_panels(thread, n_threads, P, depth, row, W, out):
    """out (P, ceil(depth / 2), row, 2) = the panels W (P, depth, row), two rows interleaved."""
    pairs = (depth + 1) // 2
    first, last = own_range(thread, n_threads, P * pairs)
    for k in range(first, last):
        source = (k // pairs * depth + 2 * (k % pairs)) * row
        alone = 2 * (k % pairs) + 1 == depth
        even, target = part(W, source, row), part(out, 2 * k * row, 2 * row)
        odd = even if alone else part(W, source + row, row)
        for j in range(row):
            target[2 * j] = to_bf16(even[j])
            target[2 * j + 1] = 0 if alone else to_bf16(odd[j])
