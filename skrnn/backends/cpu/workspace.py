"""Buffers."""

from __future__ import annotations

from ctypes import addressof, c_char

import numpy as np


class Workspace:
    """Buffers that live from one minibatch to the next, aligned for full-width vector loads."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self.empty = np.empty(0, dtype)
        self._buffers: dict[tuple, np.ndarray] = {}

    def get(self, *name, size: int, dtype: np.dtype | None = None) -> np.ndarray:
        """A flat array of `size` elements with arbitrary contents; the same memory for the same name."""
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[name] = aligned(size, dtype or self.dtype)
        return buffer[:size]

    @property
    def nbytes(self) -> int:
        """Of all buffers."""
        return sum(buffer.nbytes for buffer in self._buffers.values())


def aligned(size: int, dtype: np.dtype) -> np.ndarray:
    """Uninitialised flat array on a 64-byte boundary, so that no vector straddles a cache line."""
    raw = np.empty(size + 64 // dtype.itemsize, dtype)
    address = addressof(c_char.from_buffer(raw))  # `raw.ctypes.data` takes five times as long
    start = -address % 64 // dtype.itemsize
    return raw[start : start + size]


def to_device(flat: np.ndarray) -> np.ndarray:
    """A copy, on a 64-byte boundary."""
    out = aligned(len(flat), flat.dtype)
    out[:] = flat
    return out


def to_host(flat: np.ndarray) -> np.ndarray:
    return flat
