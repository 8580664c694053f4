"""A private pool for kernels that have released the GIL.

Made when first needed, thrown away in a forked child (threads do not survive a fork), shared by
every fit of the process: tasks are leaves that never wait for one another, so it cannot lock up.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

_pool: ThreadPoolExecutor | None = None
_lock = threading.Lock()


def _forget() -> None:
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def run(tasks: Sequence[Callable[[], None]]) -> None:
    """Run all tasks, the first one here; returns, or raises, when none is running any more."""
    global _pool
    first, *others = tasks
    if not others:
        return first()
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="skrnn")
        pool = _pool
    futures = [pool.submit(task) for task in others]
    try:
        first()
    finally:
        try:
            wait(futures)
        except KeyboardInterrupt:  # the tasks still write to buffers that the caller may use again
            wait(futures)
            raise
    for future in futures:
        future.result()
