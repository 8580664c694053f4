"""Kernels to record and replay, by several threads at once, and waiting for what those do."""

import threading
import time

from numba import njit

from skrnn.backends.cpu import threads

MANY = 1e12  # operations: as many threads as a tape may have

# Not `jit.kernel`: its files on disk would not see a change in this module.
kernel = njit(nogil=True, error_model="numpy")


@kernel
def add_one(x):
    x[0] += 1


@kernel
def add_sum(x, total):
    total[0] += x.sum()


def in_threads(work, arguments):
    """``work(argument)`` in a thread each; fails where one hangs."""
    errors = []

    def caught(argument):
        try:
            work(argument)
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=caught, args=(a,), daemon=True) for a in arguments]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=600)
        assert not worker.is_alive()
    assert errors == []


def states(pool):
    return set(pool.boxes[threads.STATE :: threads.BOX].tolist())


def wait_for(what, seconds=60):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.001)
