"""tanh, sigmoid, relu and exp on vectors, in float32 and float64."""

from __future__ import annotations

from functools import cache

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic, register_jitable

from ...cells import Functions
from .jit import named
from .simd import emit_fma, fma, power_of_two, where_greater, where_less


def horner(dtype, *coefficients):
    """Polynomial, highest power first, as a chain of fused multiply-adds."""

    @intrinsic
    def polynomial(typingctx, x):
        def codegen(context, builder, sig, args):
            head, *tail = (ir.Constant(x.llvm, [float(dtype(c))] * x.lanes) for c in coefficients)
            total = head
            for c in tail:
                total = emit_fma(builder, x, total, args[0], c)
            return total

        return x(x), codegen

    return polynomial


def jit(function, *key):
    """Make a function of vectors known to Numba; `key` tells apart functions from one factory."""
    return register_jitable(named(function, *key))


def keyed(*key):
    """A decorator: `jit` with this key."""
    return lambda function: jit(function, *key)


def float32_functions():
    """A rational approximation of tanh on [-7.9, 7.9], max abs error 2.4e-7 (Eigen's `ptanh`)."""
    f, in_float32 = np.float32, keyed("float32")
    numerator = horner(
        f, -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
        1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03,
    )  # fmt: skip
    denominator = horner(
        f, 1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03
    )
    low, high, half = f(-7.9), f(7.9), f(0.5)

    @in_float32
    def tanh(x):
        x = where_greater(x, high, high, where_less(x, low, low, x))  # NaN stays NaN
        y = x * x
        return x * numerator(y) / denominator(y)

    @in_float32
    def sigmoid(x):
        return fma(tanh(x * half), half, half)

    return tanh, sigmoid


@cache
def float32_exp():
    """Cephes' `expf`, to two units in the last place; at least the smallest normal number."""
    f = np.float32
    polynomial = horner(
        f, 1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
        5.0000001201e-1,
    )  # fmt: skip
    log2_e, ln2_high, ln2_low = f(1.44269504088896341), f(0.693359375), f(-2.12194440e-4)
    one, low, high = f(1), f(-87.3), f(88)

    @keyed("float32")
    def exp(x):
        x = where_greater(x, high, high, where_less(x, low, low, x))  # NaN stays NaN
        power, n = power_of_two(x * log2_e)
        x = x - n * ln2_high
        x = x - n * ln2_low
        return (fma(polynomial(x), x * x, x) + one) * power

    return exp


@cache
def float64_exp():
    """Cephes' `exp`, to about one unit in the last place."""
    f = np.float64
    exp_p = horner(f, 1.26177193074810590878e-4, 3.02994407707441961300e-2, 9.99999999999999999910e-1)
    exp_q = horner(
        f, 3.00198505138664455042e-6, 2.52448340349684104192e-3, 2.27265548208155028766e-1,
        2.00000000000000000005e0,
    )  # fmt: skip
    log2_e, ln2_high, ln2_low = (
        f(1.4426950408889634),
        f(6.93145751953125e-1),
        f(1.42860682030941723212e-6),
    )
    one, two, bound = f(1), f(2), f(700)

    @keyed("float64")
    def exp(x):
        x = where_greater(x, bound, bound, where_less(x, -bound, -bound, x))
        power, n = power_of_two(x * log2_e)
        x = x - n * ln2_high
        x = x - n * ln2_low
        xx = x * x
        p = x * exp_p(xx)
        return fma(p / (exp_q(xx) - p), two, one) * power

    return exp


def exponential(dtype: np.dtype):
    """exp on vectors."""
    return float32_exp() if dtype == np.float32 else float64_exp()


def float64_functions():
    """tanh and sigmoid to about one unit in the last place, from Cephes' `exp` and `tanh`."""
    f, in_float64, exp = np.float64, keyed("float64"), float64_exp()
    tanh_p = horner(f, -9.64399179425052238628e-1, -9.92877231001918586564e1, -1.61468768441708447952e3)
    tanh_q = horner(f, 1.0, 1.12811678491632931402e2, 2.23548839060100448583e3, 4.84406305325125486048e3)
    one, two, near = f(1), f(2), f(0.625)

    @in_float64
    def tanh(x):
        xx = x * x
        small = fma(x * xx, tanh_p(xx) / tanh_q(xx), x)
        large = one - two / (exp(x * two) + one)
        return where_greater(xx, near * near, large, small)

    @in_float64
    def sigmoid(x):
        return one / (one + exp(-one * x))

    return tanh, sigmoid


@cache
def functions(dtype: np.dtype) -> Functions:
    """The functions a cell is built from, for vectors of `dtype`."""
    tanh, sigmoid = float32_functions() if dtype == np.float32 else float64_functions()
    zero, one = dtype.type(0), dtype.type(1)
    in_dtype = keyed(dtype.name)

    @in_dtype
    def relu(x):
        return where_less(x, zero, zero, x)

    @in_dtype
    def positive(x):
        return where_greater(x, zero, one, zero)

    return Functions(in_dtype, tanh, sigmoid, relu, positive, zero, one)
