"""One NVIDIA GPU, through CuPy and Numba."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numba import cuda

from .device import Device, Launch, Matrix

TF32_MATH = 3  # CUBLAS_TF32_TENSOR_OP_MATH, for which CuPy has no name


class Gpu(Device):
    """An NVIDIA GPU by its number, with a stream of its own."""

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
                try:
                    yield
                finally:  # the handle is the caller's, too
                    cublas = self.xp.cuda.cublas
                    cublas.setMathMode(self.xp.cuda.get_cublas_handle(), cublas.CUBLAS_DEFAULT_MATH)

    def give_back(self) -> None:
        """Memory that nobody uses, to other processes."""
        self.xp.get_default_memory_pool().free_all_blocks()

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
        if launch.shared_bytes:
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
    """More shared memory than 48 KiB, that of fixed size included, has to be asked for kernel by kernel."""
    from cuda.bindings.driver import CUfunction_attribute
    from numba.cuda.cudadrv.driver import driver

    compiled = kernel.compile(tuple(map(kernel.typeof_pyval, args)))
    function = compiled._codelibrary.get_cufunc()
    attribute = CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    driver.cuKernelSetAttribute(attribute, n_bytes, function.handle, function.device.id)
