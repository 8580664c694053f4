"""What the kernels ask of a device: memory, copies, large products, launches.

`gpu.Gpu` is CuPy's memory and cuBLAS, with kernels in CUDA graphs; `simulator.Simulator` stands in for it
where NUMBA_ENABLE_CUDASIM=1 runs kernels in Python.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .jit import THREADS


class Matrix(NamedTuple):
    """A row-major matrix inside a flat device array: `row` elements from one row to the next."""

    array: Any
    n_rows: int
    n_columns: int
    row: int
    first: int = 0

    def rows(self, k: int, n: int) -> Matrix:
        """`n` of its rows, from row k on."""
        return self._replace(n_rows=n, first=self.first + k * self.row)

    def columns(self, k: int, n: int) -> Matrix:
        """`n` of its columns, from column k on."""
        return self._replace(n_columns=n, first=self.first + k)


class Launch(NamedTuple):
    """A kernel with its grid, threads of a block, bytes of dynamic shared memory, and arguments."""

    kernel: Any
    grid: int
    block: tuple[int, ...]
    shared_bytes: int
    args: tuple


class Device:
    """What both devices share: the account of the memory that one turn asks for.

    A device adds ``activate()``, a context in which it is used; ``memory()``, bytes free and in all;
    ``_allocate(size, dtype)``, a flat array of arbitrary contents; ``copy_in(array, host)`` and
    ``copy_out(host, array)``; ``multiply(a, b, c, ta, tb, add)``, c = a @ b or c += a @ b of matrices;
    ``sequence(launches)``, a function that makes them; ``synchronize()``, to wait for all of it;
    ``give_back()``, of memory that nobody uses.

    Attributes
    ----------
    xp : module
        NumPy's names for its arrays.
    shared_bytes : int
        Shared memory that a block may ask for.
    n_multiprocessors : int
    allow_tf32 : bool
        Whether large products may round their float32 factors to 10 bits, set for each turn.
    """

    shared_bytes: int
    n_multiprocessors: int
    allow_tf32 = False
    asked = 0  # bytes since the turn began
    short = False  # whether some of them could not be had

    def empty(self, size: int, dtype: np.dtype) -> Any:
        """A flat array of arbitrary contents.

        Where memory ends, an array without elements takes its place, so that recording goes on and
        `check_memory` can say how much all of it needs.
        """
        self.asked += size * np.dtype(dtype).itemsize
        if not self.short:
            try:
                return self._allocate(size, dtype)
            except MemoryError:
                self.short = True
        return self._allocate(0, dtype)

    def check_memory(self) -> None:
        """Raise a MemoryError if `empty` fell short."""
        if self.short:
            free, total = self.memory()
            raise MemoryError(
                f"this needs {self.asked / 2**20:,.0f} MiB of GPU memory, of which {free / 2**20:,.0f} of "
                f"{total / 2**20:,.0f} MiB are free: try a smaller batch_size, or tbptt_steps"
            )

    def new(self, host: np.ndarray) -> Any:
        """A copy of a host array on the device."""
        array = self.empty(host.size, host.dtype)
        if not self.short:
            self.copy_in(array, host)
            self.synchronize()  # before the host's is gone
        return array

    def grid(self, n: int) -> int:
        """Blocks for `n` items of a kernel that goes through its work in strides."""
        return max(1, min(-(-n // THREADS), 8 * self.n_multiprocessors))
