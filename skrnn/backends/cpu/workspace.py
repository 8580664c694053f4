"""Buffers, flat parameters and shares of work: what every layer needs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from math import prod

import numpy as np

from ...batches import PackedSteps
from . import threads

# Handing tasks to threads costs about 0.1 ms, and a core that was idle wakes up slowly: measured on
# two cores, a second thread pays from about 1 ms of arithmetic on.
THREAD_FLOPS = 1e8


class Workspace:
    """Buffers that live from one minibatch to the next, aligned for full-width vector loads."""

    def __init__(self, dtype: np.dtype, n_threads: int = 1) -> None:
        self.dtype = dtype
        self.n_threads = n_threads
        self._buffers: dict[tuple, np.ndarray] = {}

    def get(self, *name, size: int, dtype: np.dtype | None = None) -> np.ndarray:
        """A flat array of `size` elements with arbitrary contents; the same memory for the same name."""
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[name] = aligned(size, dtype or self.dtype)
        return buffer[:size]

    def shares(self, steps: PackedSteps, flops: float) -> list[tuple[int, int]]:
        """Ranges of sequences, one per thread that pays off."""
        n = min(self.n_threads, len(steps), 1 + int(flops // THREAD_FLOPS))
        return [(0, len(steps))] if n == 1 else steps.shares(n)

    def split(self, n: int, flops: float) -> list[tuple[int, int]]:
        """`n` things as ranges, one per thread that pays off."""
        shares = max(1, min(self.n_threads, n, 1 + int(flops // THREAD_FLOPS)))
        edges = [n * k // shares for k in range(shares + 1)]
        return list(pairwise(edges))


def aligned(size: int, dtype: np.dtype) -> np.ndarray:
    """Uninitialised flat array on a 64-byte boundary, so that no vector straddles a cache line."""
    raw = np.empty(size * dtype.itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size * dtype.itemsize].view(dtype)


def run(function: Callable, ranges: list[tuple[int, int]]) -> None:
    threads.run([partial(function, lo, hi) for lo, hi in ranges])


class Parameters:
    """Named sections of a flat vector."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self.shapes = shapes
        self.size = sum(map(prod, shapes.values()))

    def views(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        views, at = {}, 0
        for name, shape in self.shapes.items():
            views[name] = flat[at : at + prod(shape)]
            at += prod(shape)
        return views
