"""Where a fit or a prediction computes, and what to do with arrays that lie on a GPU."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import wraps
from types import FrameType
from typing import Any, TypeVar

import numpy as np

from .. import backends

# A training step of so many operations takes a processor of a few cores about 10 ms, at 100 GFLOP/s. On a GPU
# its launches take one or two, however little there is to compute. Reckoned, not measured.
ENOUGH_FLOPS = 1e9
ON_HOST = {np.ndarray, list, tuple}  # as nearly all input is
DLPACK_GPU = {2, 13}  # kDLCUDA, kDLCUDAManaged: where `__dlpack_device__` says that an array lies

F = TypeVar("F", bound=Callable[..., Any])
INSIDE = ("skrnn.", "sklearn.", "joblib.", "contextlib.")  # modules that a warning is not to point at


def warn_the_caller(message: str | Warning, category: type[Warning] = RuntimeWarning) -> None:
    """A warning that points at the line which called this package, however deep we are in it."""
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and f"{frame.f_globals.get('__name__')}.".startswith(INSIDE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def full_name(device: str) -> str:
    """The device with its number: "cuda" is the first GPU."""
    return "cuda:0" if device == "cuda" else device


def device_to_read(asked: str, dtype: str, *X: Any) -> str:
    """The device on which a fit reads X. Of "auto" it is the GPU where X lies, or the CPU, which leaves it to
    `device_for` where to train.

    Raises
    ------
    ValueError
        If a GPU is to compute in bfloat16.
    """
    device = full_name(asked)
    if device == "auto":
        device = next(filter(None, map(gpu_of, X)), "cpu")
    if device != "cpu" and dtype == "bfloat16":
        raise ValueError(f'dtype="bfloat16" is for the CPU: with device={device!r}, take "float32"')
    return device


def device_for(flops: float) -> str:
    """What "auto" takes for training steps of so many operations: a GPU, if one works and should gain."""
    if flops < ENOUGH_FLOPS:
        return "cpu"
    try:
        with backends.turn("cuda:0"):
            return "cuda:0"
    except backends.Unavailable:
        return "cpu"


def in_turn(device: str, allow_tf32: bool, function: F) -> F:
    """The function, each call a turn on the device; for the CPU, the function itself."""
    if device == "cpu":
        return function

    @wraps(function)
    def waiting(*args: Any) -> Any:
        with backends.turn(device, allow_tf32):
            return function(*args)

    return waiting  # type: ignore[return-value]


# --- arrays ---------------------------------------------------------------------------------------------
def gpu_of(x: Any) -> str | None:
    """The GPU where an array, or the arrays of a list, lie, such as "cuda:0"; None for the host.

    Raises
    ------
    ValueError
        For a list of both kinds.
    """
    if type(x) is np.ndarray and x.dtype != object:
        return None
    if is_packed(x):
        return _gpu_of_array(x[0])
    if not holds_arrays(x):
        return _gpu_of_array(x)
    if ON_HOST.issuperset(map(type, x)):  # there may be many
        return None
    places = {_gpu_of_array(item) for item in x}
    if len(places) > 1:
        raise ValueError(f"arrays lie on different devices: {', '.join(sorted(p or 'cpu' for p in places))}")
    return places.pop() if places else None


def _gpu_of_array(x: Any) -> str | None:
    if type(x) in ON_HOST or _is_of_pandas(x):
        return None
    if hasattr(x, "__dlpack_device__"):
        kind, number = x.__dlpack_device__()
        if kind in DLPACK_GPU:
            return f"cuda:{number}"
    return "cuda:0" if hasattr(x, "__cuda_array_interface__") else None


def _is_of_pandas(x: Any) -> bool:
    """A frame or a Series, which take microseconds to say that they lack an attribute."""
    return type(x).__module__.partition(".")[0] == "pandas"


def is_packed(x: Any) -> bool:
    """Whether this is PyTorch's PackedSequence: the first steps of all sequences, the second ones, ..."""
    return isinstance(x, tuple) and hasattr(x, "batch_sizes")


def holds_arrays(x: Any) -> bool:
    """Whether these are several arrays, of a list or an object array."""
    return isinstance(x, list | tuple) or (type(x) is np.ndarray and x.dtype == object and x.ndim == 1)


def to_host(x: Any) -> Any:
    """An array of a GPU or of another library, or a list of them, as NumPy's; anything else as it is."""
    if type(x) is np.ndarray and x.dtype != object:
        return x
    if holds_arrays(x):
        if ON_HOST.issuperset(map(type, x)) or not any(map(_is_foreign, x)):
            return x
        return [to_host(item) for item in x]
    if not _is_foreign(x):
        return x
    for name in ("detach", "cpu", "get", "copy_to_host"):  # PyTorch twice, CuPy, Numba
        x = getattr(x, name)() if hasattr(x, name) else x
    try:
        return np.asarray(x) if hasattr(x, "__array__") else np.from_dlpack(x)
    except TypeError as error:
        raise ValueError(
            f"NumPy cannot read a {type(x).__name__} of {x.dtype} ({error}): convert it first, bfloat16 for "
            "example by X.float()"
        ) from error


def _is_foreign(x: Any) -> bool:
    """Whether this is an array, or a tensor, and not NumPy's. Frames are not."""
    return not (isinstance(x, np.ndarray) or _is_of_pandas(x)) and (
        hasattr(x, "__dlpack_device__") or hasattr(x, "__cuda_array_interface__")
    )


def arrays_for(x: Any, device: str) -> Any:
    """The module `arrays` of the backend that reads x from a GPU; None for what lies on the host.

    Raises
    ------
    ValueError
        If x lies on a GPU, but the CPU is to read it.
    """
    if gpu_of(x) is None:
        return None
    if device == "cpu":
        raise ValueError(
            'X lies on a GPU, and device="cpu" reads arrays of the host: set device="cuda", or pass X.get() '
            "(CuPy) or X.cpu() (PyTorch)"
        )
    return backends.get(device).arrays


def in_kind_of(x: Any, result: Any) -> Any:
    """Numbers as an array like those of x, where those are; what is not numbers stays on the host."""
    device = gpu_of(x)
    if device is None or result.dtype.kind not in "biuf":
        return result
    with backends.turn(device):
        arrays = backends.get(device).arrays
        return arrays.give_back(arrays.adopt(result), x[0] if holds_arrays(x) else x)
