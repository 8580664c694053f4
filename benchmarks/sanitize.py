"""Small fits of every family of CUDA kernels, for the tools of compute-sanitizer.

    compute-sanitizer --tool memcheck python -m benchmarks.sanitize
    compute-sanitizer --tool racecheck python -m benchmarks.sanitize
    compute-sanitizer --tool synccheck python -m benchmarks.sanitize
    python -m benchmarks.sanitize --only gru        one cell

``python -m benchmarks.gpu --only sanitizer`` runs the tools on all of them. Each fit is made twice, in
memory filled with zeros and in memory filled with NaN: the bits must be the same, or a kernel reads what none
has written. There is no memory pool, so that every array is an allocation whose bounds are checked. Initcheck
is not among the tools: products over all rows that there is room for read some that the minibatch lacks, on
purpose, and their results count nothing, which is what the two fillings show.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

import skrnn
from skrnn import backends
from skrnn.recipe import recurrent_network

TOOLS = ("memcheck", "racecheck", "synccheck")
CELLS: dict[str, dict[str, Any]] = {
    "rnn": {"cell": "rnn"},
    "relu": {"cell": "rnn", "activation": "relu"},
    "lstm": {"cell": "lstm"},
    "gru": {"cell": "gru"},
    "gru-reset-before": {"cell": "gru", "reset_after": False},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "masks, both directions": {
        "num_layers": 2, "bidirectional": True, "dropout": 0.3, "recurrent_dropout": 0.3, "pooling": "max",
    },
    "chunks": {"tbptt_steps": 3, "solver": "sgd"},
    "mean": {"pooling": "mean", "solver": "rmsprop"},
    "per step": {"return_sequences": True},
}  # fmt: skip
LENGTHS = (7, 1, 4, 4, 2)
OTHER_BITS = "OTHER BITS in memory filled with NaN"
FINISHED = "all fits made"  # the last line


def fit(device: str, H: int, dtype: str, options: dict[str, Any]) -> list[np.ndarray]:
    """Weights after two epochs on ragged sequences, and the prediction."""
    rng, per_step = np.random.default_rng(0), options.get("return_sequences", False)
    X = [rng.standard_normal((n, 3)).astype(dtype) for n in LENGTHS]
    y = [rng.standard_normal(n) for n in LENGTHS] if per_step else rng.standard_normal(len(LENGTHS))
    model = skrnn.RNNRegressor(
        H, dtype=dtype, device=device, batch_size=3, max_iter=2, random_state=0, **options
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    answer = model.predict(X)
    return [*model.weights_.values(), np.concatenate(answer) if per_step else answer]


def filled(device: str, byte: int) -> AbstractContextManager[Any]:
    """New memory of the device is filled with a byte: 0xFF makes NaN of every type of float."""
    if device == "cpu":
        return nullcontext()
    import cupy

    def allocate(size: int) -> cupy.cuda.MemoryPointer:
        pointer = cupy.cuda.MemoryPointer(cupy.cuda.Memory(size), 0)
        pointer.memset(byte, size)
        cupy.cuda.runtime.deviceSynchronize()  # kernels run on a stream that does not wait for this one
        return pointer

    return cupy.cuda.using_allocator(allocate)


def sizes(own: dict[str, Any], dtype: str) -> dict[str, int]:
    """Hidden units from which on a cell's weights are kept in another place, on the current device."""
    found: dict[str, int] = {}
    for H in itertools.count(20):
        tile = recurrent_network(1, 1, device="cuda", dtype=dtype, hidden_size=H, **own).layers[0][0].tile
        if tile is None:
            return found | {"a launch per step": H}
        found.setdefault("in shared memory too" if tile.in_shared else "weights in registers", H)


def families(device: str, only: str | None = None) -> Iterator[tuple[str, tuple[int, str, dict[str, Any]]]]:
    for cell, own in CELLS.items():
        for dtype in ("float32", "float64"):
            with backends.turn(device):
                units = {"any": 20} if device == "cpu" else sizes(own, dtype)
            for regime, H in units.items():
                for name, options in OPTIONS.items():
                    if only in (None, cell):
                        yield f"{cell}, {regime}, {name}, {dtype}", (H, dtype, own | options)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=CELLS)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args(arguments)
    try:
        with backends.turn(options.device):
            wrong = 0
    except backends.Unavailable as problem:
        print(f"nothing to check: {problem}", file=sys.stderr)
        return 2
    for about, what in families(options.device, options.only):
        runs = []
        for byte in (0x00, 0xFF):
            with filled(options.device, byte):
                runs.append(fit(options.device, *what))
                gc.collect()  # memory goes back now, and not while the next fit's graph is captured
        same = all(np.array_equal(*pair) for pair in zip(*runs))
        print(f"{about}: {'the same bits' if same else OTHER_BITS}", flush=True)
        wrong += not same
    for tool in TOOLS:
        print(f"to check: compute-sanitizer --tool {tool} {sys.executable} -m benchmarks.sanitize")
    print(FINISHED, flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
