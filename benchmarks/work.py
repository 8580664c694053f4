"""What is measured: a piece of work that any library can do."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Work(NamedTuple):
    """One library's way of doing a piece of work.

    Attributes
    ----------
    sample : callable
        ``sample(calls) -> seconds`` of that many calls in a row.
    result : callable
        ``result() -> ndarray``, to check that the libraries compute the same.
    """

    sample: Callable[[int], float]
    result: Callable[[], np.ndarray]


class Unavailable(Exception):
    """A library is not installed, or cannot do a piece of work; the message says why."""


DOES_NOT_FIT = "does not fit"  # into the device's memory


def reason(problem: Exception) -> str:
    """Why a library takes no part, in one line."""
    text = " ".join(str(problem).split())[:200]
    if isinstance(problem, MemoryError) or re.search("out of memory|RESOURCE_EXHAUSTED", text, re.IGNORECASE):
        return DOES_NOT_FIT
    return text if isinstance(problem, Unavailable) else f"{type(problem).__name__}: {text}"


def nothing() -> None:
    """What a device leaves to wait for where a call returns when its work is done."""


def work(
    run: Callable[[], Any],
    result: Callable[[], Any] | None = None,
    finish: Callable[[], Any] = nothing,
) -> Work:
    """Work whose call is `run`, and whose result is what it returns unless `result` is given.

    `finish` waits for what the calls have started on a device.
    """

    def sample(calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            run()
        finish()
        return time.perf_counter() - start

    return Work(sample, lambda: np.array((result or run)(), dtype=np.float32))
