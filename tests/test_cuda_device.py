"""How a GPU is addressed, with stand-ins for CuPy: what can be known without a GPU."""

import itertools
import multiprocessing
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

from skrnn import backends
from skrnn.backends.cuda import turns
from skrnn.backends.cuda.device import Launch, Matrix
from skrnn.backends.cuda.gpu import Gpu, Graph


class Cublas:
    """gemm by the reference manual: column-major, c = alpha op(a) op(b) + beta c, by addresses."""

    CUBLAS_OP_N, CUBLAS_OP_T, CUBLAS_POINTER_MODE_HOST = 0, 1, 0
    CUBLAS_DEFAULT_MATH = 0

    def setPointerMode(self, handle, mode):
        self.pointer_mode = mode

    def setMathMode(self, handle, mode):
        self.math_mode = mode

    @staticmethod
    def _matrix(address, dtype, rows, columns, leading):
        assert leading >= rows
        n = leading * (columns - 1) + rows
        flat = np.ctypeslib.as_array((np.ctypeslib.as_ctypes_type(dtype) * n).from_address(address))
        size = flat.itemsize
        return np.lib.stride_tricks.as_strided(flat, (rows, columns), (size, leading * size))

    def _gemm(self, dtype, handle, op_a, op_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
        assert handle == "handle"
        assert self.pointer_mode == self.CUBLAS_POINTER_MODE_HOST
        alpha, beta = (
            np.ctypeslib.as_ctypes_type(dtype).from_address(address).value for address in (alpha, beta)
        )
        A = self._matrix(a, dtype, *((k, m) if op_a else (m, k)), lda)
        B = self._matrix(b, dtype, *((n, k) if op_b else (k, n)), ldb)
        C = self._matrix(c, dtype, m, n, ldc)
        C[:] = alpha * (A.T if op_a else A) @ (B.T if op_b else B) + beta * C

    def sgemm(self, *args):
        self._gemm(np.float32, *args)

    def dgemm(self, *args):
        self._gemm(np.float64, *args)


class DeviceArray:
    """A flat array that has an address, and nothing of NumPy's."""

    def __init__(self, array):
        self.array, self.dtype = array, array.dtype
        self.data = SimpleNamespace(ptr=array.ctypes.data)

    def __len__(self):
        return len(self.array)


@pytest.fixture
def gpu():
    """A `Gpu` whose CuPy is a stand-in."""
    gpu = object.__new__(Gpu)
    gpu.xp = SimpleNamespace(cuda=SimpleNamespace(cublas=Cublas(), get_cublas_handle=lambda: "handle"))
    return gpu


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("ta", "tb", "add"), list(itertools.product([False, True], repeat=3)))
def test_products(gpu, dtype, ta, tb, add):
    """Row-major matrices with gaps between rows, inside larger arrays."""
    rng, (m, n, k) = np.random.default_rng(0), (3, 4, 5)

    def matrix(rows, columns, gap, first):
        array = rng.standard_normal(first + rows * (columns + gap)).astype(dtype)
        view = array[first:].reshape(rows, columns + gap)[:, :columns]
        return Matrix(DeviceArray(array), rows, columns, columns + gap, first), view

    a, A = matrix(*((k, m) if ta else (m, k)), 2, 7)
    b, B = matrix(*((n, k) if tb else (k, n)), 3, 1)
    c, C = matrix(m, n, 6, 2)
    before = c.array.array.copy()
    expected = (A.T if ta else A) @ (B.T if tb else B) + (C if add else 0)
    gpu.multiply(a, b, c, ta, tb, add)
    np.testing.assert_allclose(C, expected, rtol=1e-5)
    untouched = np.ones(len(before), bool)
    untouched[2:].reshape(m, n + 6)[:, :n] = False
    np.testing.assert_array_equal(c.array.array[untouched], before[untouched])


@pytest.mark.parametrize("allow_tf32", [False, True])
def test_tf32_is_opt_in(gpu, allow_tf32):
    gpu.allow_tf32, cublas = allow_tf32, gpu.xp.cuda.cublas
    a, b, c = (Matrix(DeviceArray(np.ones(1, np.float32)), 1, 1, 1) for _ in range(3))
    gpu.multiply(a, b, c, False, False, False)
    assert cublas.math_mode == (3 if allow_tf32 else 0)  # as cublas_api.h numbers them


class Stream:
    """Records what is launched, captured and played."""

    def __init__(self):
        self.log, self.capturing = [], None

    def begin_capture(self):
        self.capturing = []

    def end_capture(self):
        captured, self.capturing = self.capturing, None
        return SimpleNamespace(launch=lambda stream: stream.log.append(("graph", *captured)))

    def prepared(self, launch):
        def make():
            if launch.args == ("fails",):
                raise RuntimeError("no such kernel")
            (self.log if self.capturing is None else self.capturing).append(launch.kernel)

        return make


def graph_of(*launches):
    stream = Stream()
    return Graph(SimpleNamespace(stream=stream, prepared=stream.prepared), list(launches)), stream


def test_launches_become_a_graph():
    """The second time: before that they are compiled, and most of what is asked runs once."""
    play, stream = graph_of(Launch("a", 1, (1,), 0, ()), Launch("b", 1, (1,), 0, ()))
    play()
    assert stream.log == ["a", "b"]
    play()
    play()
    assert stream.log == ["a", "b", ("graph", "a", "b"), ("graph", "a", "b")]


def test_a_capture_that_fails_is_ended():
    play, stream = graph_of(Launch("a", 1, (1,), 0, ("fails",)))
    play.played = True
    with pytest.raises(RuntimeError, match="no such kernel"):
        play()
    assert stream.capturing is None
    assert play.graph is None


class Log(list):
    """What was called, in order."""

    def context(self, name):
        @contextmanager
        def entered():
            self.append(f"enter {name}")
            yield
            self.append(f"leave {name}")

        return entered()


@pytest.fixture
def log(gpu, monkeypatch):
    """The calls of a `Gpu`; it is made on stand-ins of CuPy's and Numba's contexts."""
    log = Log()
    gpu.number, gpu._device = 1, log.context("device")
    gpu.stream = log.context("stream")
    gpu.stream.ptr, gpu.stream.synchronize = 77, lambda: log.append("synchronize")
    callers = SimpleNamespace(synchronize=lambda: log.append("wait for the caller's stream"))
    gpu.xp.cuda.get_current_stream = lambda: callers
    numba_cuda = SimpleNamespace(
        gpus={1: log.context("Numba's device")},
        external_stream=lambda ptr: f"stream at {ptr}",
        as_cuda_array=lambda array, sync: ("seen as Numba's", array, sync),
    )
    monkeypatch.setattr("skrnn.backends.cuda.gpu.cuda", numba_cuda)
    return log


def test_a_turn_on_a_gpu(gpu, log):
    """What the caller has begun is waited for before anything runs on the stream of ours."""
    with gpu.activate():
        gpu.xp.cuda.cublas.setMathMode("handle", 3)
        log.append("at work")
    assert log == [
        "enter device", "wait for the caller's stream", "enter Numba's device", "enter stream", "at work",
        "leave stream", "leave Numba's device", "leave device",
    ]  # fmt: skip
    assert gpu.xp.cuda.cublas.math_mode == 0  # the handle is the caller's, too


class OnDevice:
    __cuda_array_interface__ = None


@pytest.mark.parametrize("shared_bytes", [0, 100, 48 * 1024, 100_000])
def test_a_launch(gpu, log, monkeypatch, shared_bytes):
    """On the stream of the turn; any dynamic shared memory is asked for, since what needs no asking includes
    the arrays of fixed size."""
    asked, made = [], []

    class Kernel:
        def __getitem__(self, configuration):
            return lambda *args: made.append((configuration, args))

    monkeypatch.setattr(
        "skrnn.backends.cuda.gpu.allow_shared_memory", lambda kernel, args, n_bytes: asked.append(n_bytes)
    )
    array = OnDevice()
    with gpu.activate():
        launch = gpu.prepared(Launch(Kernel(), 3, (32, 2), shared_bytes, (array, 5)))
    launch()
    ((grid, block, stream, n_bytes), args) = made.pop()
    assert (grid, block, stream, n_bytes) == (3, (32, 2), "stream at 77", shared_bytes)
    assert args == (("seen as Numba's", array, False), 5)
    assert asked == ([shared_bytes] if shared_bytes else [])


def test_copies(gpu, log):
    """On that stream; the one to the host has arrived when it returns."""
    seen = []

    class Array:
        def set(self, host, stream):
            seen.append((host.shape, host.flags.c_contiguous, stream))

        def get(self, stream, out, blocking=True):
            out[:] = 1
            seen.append((out.shape, blocking, stream))

    host = np.zeros((4, 6))
    gpu.copy_in(Array(), host[:, :3])
    gpu.copy_out(host, Array())
    assert seen == [((12,), True, gpu.stream), ((24,), True, gpu.stream)]
    assert host.all()


def test_workers_of_one_parent_queue(tmp_path):
    """Two processes that are no main ones do not have their turns at the same time."""
    pytest.importorskip("filelock")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=use_a_device, args=(tmp_path / "used",)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    lines = (tmp_path / "used").read_text().split()
    assert lines[0::2] == ["begin"] * 6
    assert lines[1::2] == ["end"] * 6


def use_a_device(path):
    """Three turns with something to be seen in between."""
    turns.SIMULATED = False
    for _ in range(3):
        with turns._queue(SimpleNamespace(give_back=lambda: None), 0):
            for line in "begin", "end":
                with open(path, "a") as file:
                    file.write(f"{line}\n")
                time.sleep(0.05)


# --- what is missing ------------------------------------------------------------------------------
def test_what_to_install(monkeypatch):
    monkeypatch.setattr(turns, "SIMULATED", False)
    monkeypatch.setattr(turns, "_devices", {})
    monkeypatch.setattr(turns, "find_spec", lambda name: None)
    with pytest.raises(backends.Unavailable, match=r"numba_cuda, cupy, filelock\. pip install 'skrnn"):
        turns.find(0)


class CudaError(Exception):
    pass


def fake_cupy(monkeypatch, count):
    runtime = SimpleNamespace(getDeviceCount=count, CUDARuntimeError=CudaError)
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(cuda=SimpleNamespace(runtime=runtime)))
    monkeypatch.setattr(turns, "SIMULATED", False)
    monkeypatch.setattr(turns, "_devices", {})
    monkeypatch.setattr(turns, "find_spec", lambda name: "found")


def test_no_driver(monkeypatch):
    def count():
        raise CudaError("cudaErrorInsufficientDriver")

    fake_cupy(monkeypatch, count)
    with pytest.raises(
        backends.Unavailable,
        match=r"no working GPU.*\(cudaErrorInsufficientDriver\).*cuda12",
    ):
        turns.find(0)


def test_a_cupy_that_cannot_be_imported(monkeypatch):
    """As one whose libraries are missing; None in `sys.modules` makes the import fail."""
    fake_cupy(monkeypatch, lambda: 1)
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(backends.Unavailable, match=r"CuPy cannot be imported.*pip install 'skrnn\[cuda\]'"):
        turns.find(0)


def test_a_number_too_large(monkeypatch):
    fake_cupy(monkeypatch, lambda: 2)
    with pytest.raises(backends.Unavailable, match="no GPU number 2: 2 found, counted from 0"):
        turns.find(2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_no_use_after_a_fork():
    """A context of CUDA does not survive one; what happens is said instead of crashing."""
    script = """
import os
from skrnn import backends
from skrnn.backends.cuda import turns
turns._devices[0] = "started"
turns._started_in = os.getpid()
pid = os.fork()
if pid == 0:
    try:
        turns.find(0)
    except backends.Unavailable as error:
        assert "forked" in str(error) and "loky" in str(error), error
        os._exit(7)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
assert turns.find(0) == "started"
"""
    env = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    subprocess.run([sys.executable, "-c", script], check=True, env=env, timeout=120)


def test_importing_the_package_does_not_touch_cuda():
    script = "import sys, skrnn; skrnn.LSTMRegressor(device='cuda'); assert 'numba.cuda' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_cupy_and_numba_have_these_names():
    """What the stand-ins above stand for, and what else is asked of both."""
    cupy = pytest.importorskip("cupy", reason="needs skrnn[cuda]")
    if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
        pytest.skip("the simulator has Numba's names, not those of its driver")
    from cuda.bindings.driver import CUfunction_attribute
    from numba import cuda
    from numba.cuda.cudadrv.driver import CudaPythonFunction
    from numba.cuda.dispatcher import CUDADispatcher

    cublas = cupy.cuda.cublas
    for name, value in vars(Cublas).items():
        if not name.startswith("_"):
            assert hasattr(cublas, name), name
            assert callable(value) or getattr(cublas, name) == value, name
    named = cublas.sgemm.__doc__.partition("(")[2].partition(")")[0].replace(",", "").split()[1::2]
    assert " ".join(named) == "handle transa transb m n k alpha A lda B ldb beta C ldc"
    runtime = cupy.cuda.runtime
    for name in "getDeviceCount", "memGetInfo", "CUDARuntimeError", "deviceGetPCIBusId":
        assert hasattr(runtime, name), name
    for name in "MaxSharedMemoryPerBlockOptin", "MultiProcessorCount":  # of Device.attributes
        assert hasattr(runtime, f"cudaDevAttr{name}"), name
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)
    assert {"begin_capture", "end_capture", "synchronize"} <= set(dir(cupy.cuda.Stream))
    assert {"compile", "typeof_pyval"} <= set(dir(CUDADispatcher))
    assert {"handle", "device"} <= set(dir(CudaPythonFunction))
    assert hasattr(CUfunction_attribute, "CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES")
    assert callable(cuda.as_cuda_array)
    assert callable(cuda.external_stream)
