"""Arrays that a user keeps on a GPU: read as this backend's, and answered in the kind they came in."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from . import turns
from .jit import SIMULATED
from .simulator import SimulatedArray


def adopt(x: Any) -> Any:
    """x as an array of the current device: the same memory, where it is there already."""
    device = turns.current()
    if SIMULATED:
        return np.asarray(x).view(SimulatedArray)
    if isinstance(x, np.ndarray | device.xp.ndarray) or not hasattr(x, "__dlpack__"):
        array = device.xp.asarray(x)
    else:  # DLPack waits for what is still computing x
        array = device.xp.from_dlpack(x.detach() if hasattr(x, "detach") else x)
    return array if array.device.id == device.number else array.copy()


def concatenate(arrays: list[Any]) -> Any:
    """Arrays of the current device, one after the other."""
    return turns.current().xp.concatenate(arrays)


def give_back(result: Any, like: Any) -> Any:
    """A device array as one of the library of `like`, in the same memory; CuPy's where that has no way."""
    library = sys.modules.get(type(like).__module__.partition(".")[0])
    convert = getattr(library, "from_dlpack", None)
    return result if convert is None or SIMULATED else convert(result)
