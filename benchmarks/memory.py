"""Peak memory of training: how far a fit's peak lies above what was in use before.

    python -m benchmarks.memory LIBRARY CELL

A tiny fit comes first, so that what a library loads and compiles once does not count. The growth is
Linux's VmHWM, reset before the fit, minus VmRSS; elsewhere that of the peak alone.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.shapes import Shape, data
from benchmarks.worker import pin

MB = 1e6
SHAPE, BATCHES = Shape(64, 100, 32, 256), 4
LONG, CHUNK = Shape(8, 100_000, 8, 32), 100


def status(field: str) -> float | None:
    """A field of /proc/self/status in bytes, or None where there is no such file."""
    path = Path("/proc/self/status")
    if not path.exists():
        return None
    line = next(line for line in path.read_text().splitlines() if line.startswith(field))
    return 1024.0 * int(line.split()[1])


def growth(fit: Callable[[], Any]) -> float:
    """Bytes by which the peak during `fit` exceeds what the process had before."""
    gc.collect()
    before = status("VmRSS")
    if before is None:
        import resource

        scale = 1 if sys.platform == "darwin" else 1024
        before = scale * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        fit()
        return scale * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from here
    fit()
    return status("VmHWM") - before


def skrnn(cell: str, shape: Shape = SHAPE, n: int = SHAPE.B * BATCHES, **parameters) -> float:
    from benchmarks import ours

    def fit(X, y, epochs):
        settings = {"batch_size": shape.B, "max_iter": epochs, "n_jobs": 1} | parameters
        return ours.estimator(cell, shape.H, **settings).fit(X, y)

    fit(*data(shape._replace(T=2), 2), 1)
    X, y = data(shape, n)
    return growth(lambda: fit(X, y, 2))


def skrnn_long(cell: str) -> float:
    """Sequences of 100,000 steps, truncated back-propagation in chunks of 100."""
    return skrnn(cell, LONG, LONG.B, tbptt_steps=CHUNK)


def pytorch(cell: str) -> float:
    from benchmarks.peers import pytorch

    pytorch.epoch(cell, SHAPE._replace(T=2, B=2), 2, 1).sample(1)
    arrays = data(SHAPE, SHAPE.B * BATCHES)
    # The network and its optimiser count, as they do in a fit of ours.
    return growth(lambda: pytorch.epoch(cell, SHAPE, len(arrays[0]), 1, arrays).sample(2))


LIBRARIES = {"skrnn": skrnn, "pytorch": pytorch, "skrnn_long": skrnn_long}


def memory(short: bool, threads: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """Rows of the report: one process for each library and cell, one thread."""
    for cell in () if short else ("lstm", "gru"):
        row: dict[str, Any] = {"cell": cell, "shape": SHAPE, "threads": 1, "bytes": {}, "notes": {}}
        for library in LIBRARIES:
            command = [sys.executable, "-m", "benchmarks.memory", library, cell]
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode:
                row["notes"][library] = run.stderr.strip().splitlines()[-1]
            else:
                row["bytes"][library] = float(run.stdout.split()[-1])
        yield row


if __name__ == "__main__":
    pin(1)
    print(LIBRARIES[sys.argv[1]](sys.argv[2]))
