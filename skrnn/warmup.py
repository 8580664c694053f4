"""Compile the common kernels ahead of their first use: ``python -m skrnn.warmup``, or only some of them, such
as ``python -m skrnn.warmup lstm gru --dtype float32``.

Kernels are compiled when a fit first needs them, which takes seconds, and kept on disk. For container
images, continuous integration and demonstrations this does it beforehand, with fits of a few numbers.
Set ``NUMBA_CACHE_DIR`` to keep the kernels in a directory of your choice, here and later. What root or
the user themselves have compiled is used from there even where it can only be read. Where nothing can be
kept, the command says so and exits with 1.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from .backends import kernel_cache
from .backends.cpu.simd import lanes
from .backends.cpu.threads import compile_help_out
from .estimators import RNNClassifier, RNNRegressor
from .recipe import array_dtype

CELLS: dict[str, dict[str, Any]] = {
    "rnn": {"cell": "rnn"},
    "lstm": {"cell": "lstm"},
    "gru": {"cell": "gru"},
    "gru_reset_before": {"cell": "gru", "reset_after": False},
}


def fits(cells: list[str], dtypes: list[str], hidden_sizes: list[int] | None) -> Iterator[tuple[Any, Any]]:
    """(estimator, y) whose fits between them need the kernels of these cells, for Adam and the default
    losses."""
    number = np.linspace(0, 1, 8)
    letter = np.array(list("abcabcab"))
    for dtype in dtypes:
        # 1 to 4 vectors of units: every size uses one of these kernels
        sizes = hidden_sizes or [k * lanes(array_dtype(dtype)) for k in (1, 2, 3, 4)]
        for name in cells:
            cell = {**CELLS[name], "dtype": dtype, "max_iter": 1}
            for size in sizes:
                for options in ({}, {"num_layers": 2}, {"num_layers": 2, "bidirectional": True}):
                    yield RNNRegressor(size, **options, **cell), number
                yield RNNClassifier(size, embedding_size=4, **cell), letter
            for options in (
                {"dropout": 0.1, "num_layers": 2},
                {"recurrent_dropout": 0.1},
                {"pooling": "mean"},
                {"pooling": "max", "bidirectional": True},
                {"pooling": "attention"},
                {"tbptt_steps": 2},
            ):
                yield RNNRegressor(size, **options, **cell), number
            yield RNNClassifier(size, **cell), letter
            yield RNNClassifier(size, early_stopping=True, **cell), number > 0.5
            yield RNNRegressor(size, return_sequences=True, **cell), np.ones((8, 3)) * number[:, None]
            masks = {"embedding_dropout": 0.1, "head_dropout": 0.1}
            for options in ({"bidirectional": True}, {"embedding_updates": "lazy"}, masks):
                yield RNNClassifier(size, embedding_size=4, **options, **cell), letter
            tags = np.repeat(letter[:, None], 3, axis=1)
            yield RNNClassifier(size, embedding_size=4, return_sequences=True, loss="crf", **cell), tags


def main() -> None:
    """Read the command line and compile."""
    parser = argparse.ArgumentParser(
        prog="python -m skrnn.warmup", description="Compile the common kernels ahead of their first use."
    )
    parser.add_argument(
        "cells", nargs="*", metavar="cell", help=f"some of {', '.join(CELLS)}; by default rnn, lstm and gru"
    )
    parser.add_argument("--dtype", nargs="+", choices=["float32", "float64", "bfloat16"], default=["float32"])
    parser.add_argument(
        "--hidden-sizes", nargs="+", type=int, default=None, metavar="H",
        help="sizes that will be used; by default, all",
    )  # fmt: skip
    options = parser.parse_args()
    if unknown := [cell for cell in options.cells if cell not in CELLS]:
        parser.error(f"unknown cell {unknown[0]!r}: choose from {', '.join(CELLS)}")
    from tqdm.auto import tqdm

    start = time.perf_counter()
    X = np.arange(48, dtype=np.float32).reshape(8, 3, 2) / 48
    tokens = np.arange(24).reshape(8, 3)
    tasks = list(fits(options.cells or ["rnn", "lstm", "gru"], options.dtype, options.hidden_sizes))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "compiled kernels are not kept")
        try:
            compile_help_out()
            for estimator, y in tqdm(tasks, desc="kernels", unit="fit"):
                given = X if estimator.embedding_size is None else tokens
                estimator.fit(given, y).predict(given)
                whole = estimator.bidirectional or estimator.pooling == "attention" or estimator.loss == "crf"
                if not whole:
                    estimator.predict_with_state(given, estimator.predict_with_state(given)[1])
                    estimator.stream().step(given[0, 0])
        except RuntimeWarning as warning:
            sys.exit(str(warning))
    print(f"compiled, or found compiled, in {time.perf_counter() - start:.0f} s:", *sorted(kernel_cache.used))


if __name__ == "__main__":
    main()
