"""Sums that a block's threads make together."""

from __future__ import annotations

from .jit import THREADS, barrier, function


@function
def tree_sum(sums, thread):
    """sums[0] = sum of sums (THREADS,), in the same order each time."""
    half = THREADS // 2
    while half > 0:
        barrier()
        if thread < half:
            sums[thread] += sums[thread + half]
        half //= 2
