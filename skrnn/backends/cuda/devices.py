"""The seam between the kernels and a machine: memory, copies, large products, launches.

`Gpu` is CuPy's memory and cuBLAS, with kernels in CUDA graphs. `Simulator` stands in for it where
NUMBA_ENABLE_CUDASIM=1 runs kernels in Python: its memory is NumPy's, poisoned, so that a result which
rests on memory that nobody wrote shows.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from .. import Unavailable
from .jit import SIMULATED, THREADS

TF32_MATH = 3  # CUBLAS_TF32_TENSOR_OP_MATH, for which CuPy has no name
STATIC_SHARED_BYTES = 48 * 1024  # that every kernel may use
INSTALL = "pip install 'skrnn[cuda]' (or 'skrnn[cuda12]', for drivers of CUDA 12)"


class Matrix(NamedTuple):
    """A row-major matrix inside a flat device array: `row` elements from one row to the next."""

    array: Any
    n_rows: int
    n_columns: int
    row: int
    first: int = 0


class Launch(NamedTuple):
    """A kernel with its grid, threads of a block, bytes of dynamic shared memory, and arguments."""

    kernel: Any
    grid: int
    block: tuple[int, ...]
    shared_bytes: int
    args: tuple


class Device:
    """What both devices share: the account of the memory that one turn asks for.

    Attributes
    ----------
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
        return array

    def grid(self, n: int) -> int:
        """Blocks for `n` items of a kernel that goes through its work in strides."""
        return max(1, min(-(-n // THREADS), 8 * self.n_multiprocessors))


# --- the simulator ----------------------------------------------------------------------------------
class SimulatedArray(np.ndarray):
    """Device memory of the simulator: a type of its own, so that no host array slips in unseen."""

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
        poison = np.nan if np.dtype(dtype).kind == "f" else -(2**60)
        return np.full(size, poison, dtype).view(SimulatedArray)

    def copy_in(self, array: SimulatedArray, host: np.ndarray) -> None:
        array[:] = host.reshape(-1)

    def copy_out(self, host: np.ndarray, array: SimulatedArray) -> None:
        host.reshape(-1)[:] = array

    def synchronize(self) -> None:
        """Nothing runs beside Python here."""

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
        from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

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
            product = (A.T if ta else A) @ (B.T if tb else B)
            C[:] = C + product if add else product


# --- a GPU ------------------------------------------------------------------------------------------
class Gpu(Device):
    """One NVIDIA GPU, through CuPy and Numba."""

    def __init__(self, number: int) -> None:
        import cupy

        self.xp, self.number = cupy, number
        self._device = cupy.cuda.Device(number)
        attributes = self._device.attributes
        self.shared_bytes = int(attributes["MaxSharedMemoryPerBlockOptin"])
        self.n_multiprocessors = int(attributes["MultiProcessorCount"])
        with self._device:
            self.stream = cupy.cuda.Stream(non_blocking=True)

    @contextmanager
    def activate(self) -> Iterator[None]:
        """This device and its stream for all of this thread's CuPy and Numba calls."""
        with self._device:
            # What the caller has computed on the stream of its own is to be finished.
            self.xp.cuda.get_current_stream().synchronize()
            with cuda.gpus[self.number], self.stream:
                self._numba_stream = cuda.external_stream(self.stream.ptr)
                yield

    def memory(self) -> tuple[int, int]:
        """Bytes free, those in CuPy's pool among them, and in all."""
        free, total = self.xp.cuda.runtime.memGetInfo()
        return free + self.xp.get_default_memory_pool().free_bytes(), total

    def _allocate(self, size: int, dtype: np.dtype) -> Any:
        try:
            return self.xp.empty(size, dtype)
        except self.xp.cuda.memory.OutOfMemoryError as error:
            raise MemoryError from error

    def copy_in(self, array: Any, host: np.ndarray) -> None:
        array.set(np.ascontiguousarray(host).reshape(-1), stream=self.stream)

    def copy_out(self, host: np.ndarray, array: Any) -> None:
        array.get(stream=self.stream, out=host.reshape(-1))

    def synchronize(self) -> None:
        self.stream.synchronize()

    def sequence(self, launches: list[Launch]) -> Callable[[], None]:
        """A function that launches all of them: as they are at first, from then on as one CUDA graph."""
        return Graph(self, launches)

    def prepared(self, launch: Launch) -> Callable[[], None]:
        """A function that makes a launch."""
        # An array is looked at once, and not for each launch.
        args = [
            cuda.as_cuda_array(arg, sync=False) if hasattr(arg, "__cuda_array_interface__") else arg
            for arg in launch.args
        ]
        if launch.shared_bytes > STATIC_SHARED_BYTES:
            allow_shared_memory(launch.kernel, args, launch.shared_bytes)
        with warnings.catch_warnings():  # a small grid is meant
            warnings.filterwarnings("ignore", message="Grid size")
            configured = launch.kernel[launch.grid, launch.block, self._numba_stream, launch.shared_bytes]
        return partial(configured, *args)

    def multiply(self, a: Matrix, b: Matrix, c: Matrix, ta: bool, tb: bool, add: bool) -> None:
        """c = a @ b, or c += a @ b; `ta` and `tb`: of a or b transposed."""
        cublas = self.xp.cuda.cublas
        gemm = cublas.sgemm if c.array.dtype == np.float32 else cublas.dgemm
        size = c.array.dtype.itemsize
        one, beta = np.ones(1, c.array.dtype), np.full(1, add, c.array.dtype)
        handle = self.xp.cuda.get_cublas_handle()
        cublas.setPointerMode(handle, cublas.CUBLAS_POINTER_MODE_HOST)
        cublas.setMathMode(handle, TF32_MATH if self.allow_tf32 else cublas.CUBLAS_DEFAULT_MATH)
        # cuBLAS counts along columns: to it, a row-major matrix is the transposed one, and c' = b' a'.
        gemm(
            handle, cublas.CUBLAS_OP_T if tb else cublas.CUBLAS_OP_N,
            cublas.CUBLAS_OP_T if ta else cublas.CUBLAS_OP_N, c.n_columns, c.n_rows,
            a.n_rows if ta else a.n_columns, one.ctypes.data, b.array.data.ptr + b.first * size, b.row,
            a.array.data.ptr + a.first * size, a.row, beta.ctypes.data,
            c.array.data.ptr + c.first * size, c.row,
        )  # fmt: skip


class Graph:
    """Launches that become one CUDA graph when they are played for the second time.

    The first time compiles and loads the kernels, which no capture may do; what runs only once, such as
    a prediction, would not gain.
    """

    def __init__(self, device: Gpu, launches: list[Launch]) -> None:
        self.stream, self.graph, self.played = device.stream, None, False
        self.launches = [device.prepared(launch) for launch in launches]

    def __call__(self) -> None:
        if self.graph is None and self.played:
            self.stream.begin_capture()
            try:
                self._launch_all()
            finally:
                graph = self.stream.end_capture()
            self.graph = graph
        if self.graph is not None:
            self.graph.launch(self.stream)
        else:
            self._launch_all()
            self.played = True

    def _launch_all(self) -> None:
        for launch in self.launches:
            launch()


def allow_shared_memory(kernel: Any, args: list[Any], n_bytes: int) -> None:
    """More shared memory than 48 KiB has to be asked for kernel by kernel."""
    from cuda.bindings.driver import CUfunction_attribute
    from numba.cuda.cudadrv.driver import driver

    compiled = kernel.compile(tuple(map(kernel.typeof_pyval, args)))
    function = compiled._codelibrary.get_cufunc()
    attribute = CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    driver.cuKernelSetAttribute(attribute, n_bytes, function.handle, function.device.id)


# --- turns ------------------------------------------------------------------------------------------
_devices: dict[int, Device] = {}
_process = os.getpid()  # that has imported this module, and may have started CUDA
_turns = threading.RLock()  # one thread at a time, whatever the device: the simulator knows no other way
_mine = threading.local()


def find(number: int) -> Device:
    """The device of that number.

    Raises
    ------
    Unavailable
        If there is none, or what it needs is not installed.
    """
    if os.getpid() != _process and _devices and not SIMULATED:
        raise Unavailable(
            "CUDA was started before this process was forked from another, and cannot be used in it: start "
            "processes with joblib's loky backend, or with multiprocessing's 'spawn'"
        )
    if number not in _devices:
        _devices[number] = _find_new(number)
    return _devices[number]


def _find_new(number: int) -> Device:
    if SIMULATED:
        n = 1
    else:
        missing = [name for name in ("numba_cuda", "cupy") if find_spec(name) is None]
        if missing:
            raise Unavailable(f"{' and '.join(missing)} not installed: {INSTALL}")
        import cupy

        try:
            n = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise Unavailable(f"no working GPU or driver: {error}") from error
    if number >= n:
        raise Unavailable(f"there is no GPU number {number}: {n} found, counted from 0")
    return Simulator() if SIMULATED else Gpu(number)


@contextmanager
def turn(number: int, allow_tf32: bool = False) -> Iterator[None]:
    """Make a device this thread's `current` one, as soon as nobody else of this search or process uses it."""
    device = find(number)
    with _turns:
        if getattr(_mine, "device", None) is device:  # a callback of a fit that predicts
            yield
            return
        with _queue(number), device.activate():
            device.asked, device.short, device.allow_tf32 = 0, False, allow_tf32
            outer, _mine.device = getattr(_mine, "device", None), device
            try:
                yield
            finally:
                _mine.device = outer
                device.synchronize()


def current() -> Any:
    """The device whose turn it is."""
    device = getattr(_mine, "device", None)
    if device is None:
        raise RuntimeError('a network on a GPU is to be used inside of backends.turn("cuda")')
    return device


def _queue(number: int) -> Any:
    """Worker processes of one parent, as those of a grid search, use a device one after the other."""
    if SIMULATED or multiprocessing.current_process().name == "MainProcess":
        return nullcontext()
    from filelock import FileLock

    return FileLock(os.path.join(tempfile.gettempdir(), f"skrnn-gpu-{number}-of-{os.getppid()}.lock"))
