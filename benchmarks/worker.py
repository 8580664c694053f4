"""A peer in a process of its own, pinned to as many cores as it may use.

    python -m benchmarks.worker PEER THREADS

Requests and answers are lines of JSON. The parent waits for each answer, so only one of them works at
a time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer

import numpy as np

from benchmarks.peers import module
from benchmarks.shapes import Shape
from benchmarks.work import Unavailable, Work, reason

PATIENCE = 240.0  # seconds; some compilers take minutes


# --- the parent's side ----------------------------------------------------------------------------
@contextmanager
def started(name: str, threads: int) -> Iterator[Callable[..., Work]]:
    """Start the process; gives ``make(kind, *arguments, **options) -> Work``. A new work takes the place of
    the last one."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.worker", name, str(threads)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip

    def ask(*request):
        timer = Timer(PATIENCE, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            raise Unavailable(f"its process ended, or gave no answer within {PATIENCE:g} s")
        answer, error = json.loads(line)
        if error:
            raise Unavailable(error)
        return answer

    def make(kind: str, *arguments, **options) -> Work:
        ask("make", kind, *arguments, options)
        return Work(lambda calls: ask("sample", calls), lambda: np.array(ask("result"), np.float32))

    try:
        yield make
    finally:
        process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# --- the child's side -----------------------------------------------------------------------------
def pin(threads: int) -> None:
    """Bind this process to its first cores; libraries loaded later take their number from that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def serve(name: str, threads: int) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not come between the answers
    pin(threads)
    if threads == 1:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    current = None
    for line in sys.stdin:
        action, *arguments = json.loads(line)
        answer, error = None, None
        try:
            if action == "make":
                kind, cell, shape, options = arguments
                current = None  # free its memory first
                current = getattr(module(name), kind)(cell, Shape(*shape), threads, **options)
            elif action == "sample":
                answer = current.sample(*arguments)
            else:
                answer = current.result().tolist()
        except Exception as problem:  # whatever a library raises leaves its column out
            error = reason(problem)
        answers.write(json.dumps([answer, error]) + "\n")
        answers.flush()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
