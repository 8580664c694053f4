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

from .jit import kernel
from .simd import clear, part
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
