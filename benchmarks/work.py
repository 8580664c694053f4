"""What is measured: a piece of work that any library can do."""

from __future__ import annotations

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


def reason(problem: Exception) -> str:
    """Why a library takes no part, in one line."""
    text = " ".join(str(problem).split())[:200]
    return text if isinstance(problem, Unavailable) else f"{type(problem).__name__}: {text}"


def work(run: Callable[[], Any], result: Callable[[], Any] | None = None) -> Work:
    """Work whose call is `run`, and whose result is what it returns unless `result` is given."""

    def sample(calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            run()
        return time.perf_counter() - start

    return Work(sample, lambda: np.array((result or run)(), dtype=np.float32))
