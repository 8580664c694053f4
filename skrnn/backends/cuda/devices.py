"""Which device there is, and whose turn it is to use it."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from typing import Any

from .. import Unavailable
from .gpu import Gpu
from .jit import SIMULATED
from .seam import Device
from .simulator import Simulator

INSTALL = "pip install 'skrnn[cuda]', or 'skrnn[cuda12]' for drivers of CUDA 12"

_devices: dict[int, Device] = {}
_process = os.getpid()  # that has imported this module, and may have started CUDA
# One thread at a time, whatever the device: two threads with a turn each that ask for the other's would wait
# for ever, and the simulator runs one kernel at a time.
_turns = threading.RLock()
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
        missing = [name for name in ("numba_cuda", "cupy", "filelock") if find_spec(name) is None]
        if missing:
            raise Unavailable(f"not installed: {', '.join(missing)}. {INSTALL}")
        try:
            import cupy
        except ImportError as error:
            raise Unavailable(f"CuPy cannot be imported ({error}). {INSTALL}") from error
        try:
            n = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise Unavailable(
                f"no working GPU, or a driver older than the CUDA installed ({error}). {INSTALL}; or take "
                'device="cpu", or "auto"'
            ) from error
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
