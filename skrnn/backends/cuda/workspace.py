"""Buffers of a device."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import turns


class Workspace:
    """Buffers that live from one minibatch to the next, and what a fit reads from the host once."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self._buffers: dict[tuple, Any] = {}
        self._sizes: dict[tuple, int] = {}  # as asked for, also where memory was short
        self._residents: dict[int, tuple[Any, Any]] = {}

    def get(self, *name: Any, size: int, dtype: np.dtype | None = None) -> Any:
        """A flat array of `size` elements with arbitrary contents; the same memory for the same name."""
        if self._sizes.get(name, -1) < size:
            self._buffers[name] = turns.current().empty(size, dtype or self.dtype)
            self._sizes[name] = size
        return self._buffers[name][:size]

    def resident(self, array: Any) -> Any:
        """An array as a flat one on the device, where it stays; one that is there already is not copied.

        None and arrays without elements become one element that nobody reads.
        """
        device = turns.current()
        if array is None or array.size == 0:
            return self.get("nothing", size=1)
        if hasattr(array, "__cuda_array_interface__"):
            return array.reshape(-1)
        if id(array) not in self._residents:
            self._residents[id(array)] = device.new(array), array  # kept, so that its `id` stays its own
        return self._residents[id(array)][0]

    def ones(self, size: int) -> Any:
        """A vector of ones, as long as asked for."""
        if self._sizes.get(("ones",), -1) < size:
            self._buffers["ones",] = turns.current().new(np.ones(size, self.dtype))
            self._sizes["ones",] = size
        return self._buffers["ones",][:size]


def aligned(size: int, dtype: np.dtype) -> Any:
    """A flat array of arbitrary contents."""
    return turns.current().empty(size, dtype)


def to_device(flat: np.ndarray) -> Any:
    return turns.current().new(flat)


def to_host(flat: Any) -> np.ndarray:
    host = np.empty(flat.size, flat.dtype)
    device = turns.current()
    device.copy_out(host, flat)
    device.synchronize()
    return host
