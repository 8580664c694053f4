"""A device whose kernels run in Python, on NumPy's memory: NUMBA_ENABLE_CUDASIM=1.

Its memory is poisoned, so that a result which rests on memory that nobody wrote shows, and of a type of its
own, so that no array of the host slips into a kernel unseen.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

from .device import Device, Launch, Matrix
from .jit import SIMULATED

if SIMULATED:
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray
    from numba.cuda.simulator.kernelapi import FakeCUDAShared
    from numba.np.numpy_support import as_dtype


class SimulatedArray(np.ndarray):
    """Device memory of the simulator."""

    def __reduce__(self) -> Any:
        raise TypeError("memory of a device is not to be pickled")

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.__array_interface__


class Simulator(Device):
    """Kernels in Python; see the module."""

    xp = np
    shared_bytes = 99 * 1024
    n_multiprocessors = 1
    limit = 2**40  # bytes that one turn may ask for

    def activate(self) -> Any:
        return nullcontext()

    def memory(self) -> tuple[int, int]:
        return self.limit, self.limit

    def _allocate(self, size: int, dtype: np.dtype) -> SimulatedArray:
        if size and self.asked > self.limit:
            raise MemoryError
        poison = np.nan if np.dtype(dtype).kind == "f" else np.iinfo(dtype).min // 8
        return np.full(size, poison, dtype).view(SimulatedArray)

    def copy_in(self, array: SimulatedArray, host: np.ndarray) -> None:
        array[:] = host.reshape(-1)

    def copy_out(self, host: np.ndarray, array: SimulatedArray) -> None:
        host.reshape(-1)[:] = array

    def synchronize(self) -> None:
        """Nothing runs beside Python here."""

    def give_back(self) -> None:
        """NumPy does."""

    def sequence(self, launches: list[Launch]) -> Callable[[], None]:
        """A function that launches all of them, one after the other."""

        def play() -> None:
            for launch in launches:
                args = tuple(map(self._argument, launch.args))
                launch.kernel[launch.grid, launch.block, 0, launch.shared_bytes](*args)

        return play

    @staticmethod
    def _argument(arg: Any) -> Any:
        if not isinstance(arg, np.ndarray):
            return arg
        if not isinstance(arg, SimulatedArray):
            raise TypeError(f"an array of the host, of shape {arg.shape}, for a kernel")
        return FakeCUDAArray(arg.view(np.ndarray))  # as it is: the simulator would work on a copy

    def multiply(self, a: Matrix, b: Matrix, c: Matrix, ta: bool, tb: bool, add: bool) -> None:
        """c = a @ b, or c += a @ b; `ta` and `tb`: of a or b transposed."""

        def view(m: Matrix) -> np.ndarray:
            size = m.array.itemsize
            needed = m.first + (m.n_rows - 1) * m.row + m.n_columns
            if needed > len(m.array):
                raise IndexError(f"a matrix needs {needed} elements, its array has {len(m.array)}")
            return np.lib.stride_tricks.as_strided(
                m.array[m.first :], (m.n_rows, m.n_columns), (m.row * size, size)
            )

        A, B, C = view(a), view(b), view(c)
        with np.errstate(invalid="ignore"):  # rows that no sequence has may hold anything
            # not by BLAS, whose sums depend on its threads
            product = np.einsum("ik,kj->ij", A.T if ta else A, B.T if tb else B)
            C[:] = C + product if add else product


def shared_array_of(dynamic: Callable, lock: threading.Lock) -> Callable:
    """`cuda.shared.array`: as the simulator's own, but two threads that are the first to ask for an array,
    both at the same time, get the same one."""

    def array(self: Any, shape: Any, dtype: Any, alignment: None = None) -> np.ndarray:
        if shape == 0:
            return dynamic(self, shape, dtype)
        frame = sys._getframe(1)
        place = frame.f_code, frame.f_lineno
        with lock:
            if place not in self._allocations:
                self._allocations[place] = np.empty(shape, as_dtype(dtype))
            return self._allocations[place]

    return array


if SIMULATED:
    FakeCUDAShared.array = shared_array_of(FakeCUDAShared.array, threading.Lock())
    # The threads of a block are Python's and wait for one another: five times as fast this way.
    sys.setswitchinterval(1e-4)
