"""What users wait for, as timed calls: run by file path on the package of any tree, of which it needs no more
than the public names. `benchmarks.paired` asks two trees in turn.

    PYTHONPATH=tree python -P benchmarks/rows.py tree

Reads the name of a row from each line, and answers with the seconds of one call. A row of a parameter that
an older tree does not know ends the comparison, so the newest stand last.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import skrnn

SAMPLE = 0.03  # seconds of a sample; shorter calls are repeated
CELLS = {
    "RNN": (skrnn.RNNRegressor, {}),
    "LSTM": (skrnn.LSTMRegressor, {}),
    "GRU": (skrnn.GRURegressor, {}),
    "GRU, reset before": (skrnn.GRURegressor, {"reset_after": False}),
}


def data(n: int, T: int, F: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, T, F)).astype(np.float32)
    return X, X.mean(axis=(1, 2))


def fitted(cell: str, n: int = 64, T: int = 50, F: int = 8, **parameters):
    cls, own = CELLS[cell]
    X, y = data(n, T, F)
    return cls(**own, **parameters, max_iter=1, random_state=0).fit(X, y), X, y


def rows() -> dict[str, Callable[[], Callable[[], object]]]:
    """By name, what prepares a call."""

    def predict(cell, n):
        est, X, _ = fitted(cell, n)
        return lambda: est.predict(X)

    def partial_fit(cell):
        est, X, y = fitted(cell, 32)
        return lambda: est.partial_fit(X, y)

    def epochs(cell, H, **parameters):
        est, X, y = fitted(cell, 256, hidden_size=H, **parameters)
        est.set_params(max_iter=5, tol=0, n_iter_no_change=10)
        return lambda: est.fit(X, y)

    def stream(cell):
        est, X, _ = fitted(cell)
        step, x = est.stream().step, X[0, 0]
        return lambda: step(x)

    def long(cell):
        est, _, _ = fitted(cell, n_jobs=1)
        X, _ = data(4, 5000, 8)
        return lambda: est.predict(X)

    made = {}
    for cell in CELLS:
        made |= {
            f"{cell}: predict of one": lambda cell=cell: predict(cell, 1),
            f"{cell}: predict of 1,000": lambda cell=cell: predict(cell, 1000),
            f"{cell}: partial_fit of 32": lambda cell=cell: partial_fit(cell),
            f"{cell}: five epochs, H = 32": lambda cell=cell: epochs(cell, 32),
            f"{cell}: five epochs, H = 128": lambda cell=cell: epochs(cell, 128),
            f"{cell}: a step of a stream": lambda cell=cell: stream(cell),
            f"{cell}: predict of 5,000 steps": lambda cell=cell: long(cell),
        }
    made |= {
        "LSTM: five epochs, pooled, both directions": lambda: epochs(
            "LSTM", 32, pooling="mean", bidirectional=True
        ),
        "GRU: five epochs, dropout, two layers": lambda: epochs(
            "GRU", 32, num_layers=2, dropout=0.2, recurrent_dropout=0.2
        ),
        "LSTM: five epochs, attention": lambda: epochs("LSTM", 32, pooling="attention"),
    }
    return made


def main() -> None:
    tree = Path(sys.argv[1]).resolve()
    if not Path(skrnn.__file__).resolve().is_relative_to(tree):
        sys.exit(f"skrnn comes from {skrnn.__file__}, not from {tree}")
    known, prepared = rows(), {}
    print(*known, sep="\t", flush=True)
    for line in sys.stdin:
        name = line.rstrip("\n")
        if name not in prepared:
            prepared[name] = prepare(known[name])
        call, n = prepared[name]
        call()
        start = time.perf_counter()
        for _ in range(n):
            call()
        print((time.perf_counter() - start) / n, flush=True)


def prepare(row: Callable[[], Callable[[], object]]) -> tuple[Callable[[], object], int]:
    """The call of a row, and how often it fits in a sample."""
    call = row()
    call()
    start = time.perf_counter()
    call()
    return call, max(1, round(SAMPLE / (time.perf_counter() - start)))


if __name__ == "__main__":
    main()
