"""Which device there is, and whose turn it is to use it."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from typing import Any

from ...interrupts import deferred, look
from .. import Unavailable
from .device import Device
from .gpu import Gpu
from .jit import SIMULATED
from .simulator import Simulator

INSTALL = "pip install 'skrnn[cuda]', or 'skrnn[cuda12]' for drivers of CUDA 12"

MOMENT = 0.1  # seconds of waiting between two looks for Ctrl-C

_devices: dict[int, Device] = {}
_started_in: int | None = None  # the process that has started CUDA
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
    # Before the lock, which another thread may have held when this process was forked.
    if _started_in not in (None, os.getpid()):
        raise Unavailable(
            "CUDA was started before this process was forked from another, and cannot be used in it: start "
            "processes with joblib's loky backend, or with multiprocessing's 'spawn'"
        )
    with _turns:
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
        global _started_in
        _started_in = os.getpid()
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
    """Make a device this thread's `current` one, as soon as nobody else of this search or process uses it.

    Ctrl-C waits for the next replay of a tape, or the end: it would leave locks taken, and a CUDA graph half
    captured.
    """
    device = find(number)
    with deferred(), _taken(_turns), ExitStack() as stack:
        outer = getattr(_mine, "device", None)
        if outer is not device:  # else a callback of a fit that predicts
            stack.enter_context(_queue(device, number))
            stack.enter_context(device.activate())
        account = device.asked, device.short, device.allow_tf32
        device.asked, device.short, device.allow_tf32 = 0, False, allow_tf32
        _mine.device = device
        try:
            yield
            device.check_memory()  # also of what was recorded and has not run
        except Exception:
            device.check_memory()  # of which anything else is a consequence: arrays without elements
            raise
        finally:
            device.asked, device.short, device.allow_tf32 = account
            _mine.device = outer
            device.synchronize()


def current() -> Any:
    """The device whose turn it is."""
    device = getattr(_mine, "device", None)
    if device is None:
        raise RuntimeError('a network on a GPU is to be used inside of backends.turn("cuda")')
    return device


@contextmanager
def _queue(device: Device, number: int) -> Iterator[None]:
    """Worker processes of one parent, as those of a grid search, use a device one after the other."""
    if SIMULATED or multiprocessing.current_process().name == "MainProcess":
        yield
        return
    from filelock import FileLock, Timeout

    lock = FileLock(os.path.join(tempfile.gettempdir(), f"skrnn-gpu-{number}-of-{os.getppid()}.lock"))
    with _taken(lock, Timeout):
        try:
            yield
        finally:
            device.give_back()


@contextmanager
def _taken(lock: Any, *in_vain: type[Exception]) -> Iterator[None]:
    """With a lock, waiting for which Ctrl-C ends; `in_vain` is what some raise when the time is up."""
    taken = False
    while not taken:
        look()
        with suppress(*in_vain):
            taken = bool(lock.acquire(timeout=MOMENT))
    try:
        yield
    finally:
        lock.release()
