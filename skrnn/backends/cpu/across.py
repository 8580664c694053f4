"""One number of a vector's lanes: halves are combined until one lane is left, in the same order each time."""

from __future__ import annotations

from llvmlite import ir
from numba.extending import intrinsic


def make_across(combine):
    @intrinsic
    def across(typingctx, x):
        def codegen(context, builder, sig, args):
            value, n, index = args[0], x.lanes, ir.IntType(32)
            while n > 1:
                n //= 2
                undefined = ir.Constant(value.type, ir.Undefined)
                low, high = (
                    builder.shuffle_vector(
                        value, undefined, ir.Constant(ir.VectorType(index, n), [*range(k, k + n)])
                    )
                    for k in (0, n)
                )
                value = combine(builder, low, high)
            return builder.extract_element(value, ir.Constant(index, 0))

        return x.scalar(x), codegen

    return across


def chosen(comparison):
    """The lanes of x where ``x <comparison> y``, else those of y."""
    return lambda builder, x, y: builder.select(builder.fcmp_ordered(comparison, x, y), x, y)


sum_across = make_across(lambda builder, x, y: builder.fadd(x, y))
largest_across, smallest_across = make_across(chosen(">")), make_across(chosen("<"))
