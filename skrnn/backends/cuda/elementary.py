"""tanh, sigmoid and relu on the scalars of a thread, in float32 and float64."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from ...cells import Functions
from .jit import function


@cache
def functions(dtype: np.dtype) -> Functions:
    """The functions a cell is built from."""
    zero, half, one = dtype.type(0), dtype.type(0.5), dtype.type(1)

    @function
    def tanh(x):
        return math.tanh(x)

    @function
    def sigmoid(x):  # in this form nothing overflows
        return half * math.tanh(half * x) + half

    @function
    def relu(x):
        return zero if x < zero else x  # NaN stays NaN

    @function
    def positive(x):
        return one if x > zero else zero

    return Functions(function, tanh, sigmoid, relu, positive, zero, one)
