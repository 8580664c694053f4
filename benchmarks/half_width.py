"""bfloat16 beside float32: what it gains, and what it costs in accuracy."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks import ours, timing
from benchmarks.datasets import load_etth1, load_tsc
from benchmarks.shapes import CELLS, SHAPES
from benchmarks.work import Unavailable, reason
from skrnn import GRUClassifier, LSTMRegressor

KINDS = {"forward": ours.forward, "training_step": ours.training_step}
DTYPES = ("float32", "bfloat16")
SEEDS = (0, 1, 2)


def speed(short: bool, threads: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """Networks of at least 64 units on prepared arrays, one thread."""
    if short or not ours.has_bfloat16():
        return
    for kind, make in KINDS.items():
        for cell in CELLS:
            for shape in (shape for shape in SHAPES if shape.plain and shape.H >= 64):
                works = {
                    "skrnn": make(cell, shape, 1),
                    "skrnn_bfloat16": make(cell, shape, 1, dtype="bfloat16"),
                }
                found = timing.compared(timing.interleave(works, timing.plan(short)))
                yield {"kind": kind, "cell": cell, "shape": shape, "threads": 1, **found}


def japanese_vowels(dtype: str, seed: int) -> float:
    """Share of wrong labels."""
    X_train, y_train, X_test, y_test = load_tsc("JapaneseVowels")
    model = GRUClassifier(
        128, bidirectional=True, pooling="mean", dtype=dtype, learning_rate="cosine", learning_rate_init=5e-3,
        max_iter=40, n_iter_no_change=40, random_state=seed,
    )  # fmt: skip
    return 1 - model.fit(X_train, y_train).score(X_test, y_test)


def etth1(dtype: str, seed: int) -> float:
    """Mean squared error of the next 24 hours of all seven columns, from the last 96; scaled data."""
    train, test = load_etth1()
    X_train, y_train = windows(train, 96, 24)
    X_test, y_test = windows(test, 96, 24)
    model = LSTMRegressor(
        128, dtype=dtype, learning_rate="cosine", learning_rate_init=2e-3, max_iter=4, random_state=seed
    )
    error = model.fit(X_train, y_train).predict(X_test) - y_test
    return float((error**2).mean())


def windows(values: np.ndarray, lags: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Every stretch of `lags` rows, relative to its last one, and the `horizon` rows after it."""
    parts = np.lib.stride_tricks.sliding_window_view(values, lags + horizon, axis=0).swapaxes(1, 2)
    parts = parts - parts[:, lags - 1 : lags]
    return np.ascontiguousarray(parts[:, :lags]), parts[:, lags:].reshape(len(parts), -1)


TASKS: dict[str, Callable[[str, int], float]] = {
    "JapaneseVowels, share of wrong labels": japanese_vowels,
    "ETTh1, mean squared error of 24 hours": etth1,
}


def accuracy(short: bool, threads: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """Means over the seeds; the data is not part of the package."""
    if short or not ours.has_bfloat16():
        return
    for label, task in TASKS.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                errors = {dtype: float(np.mean([task(dtype, seed) for seed in SEEDS])) for dtype in DTYPES}
        except FileNotFoundError as problem:
            yield {"label": label, "errors": {}, "notes": {"skrnn": reason(Unavailable(str(problem)))}}
        else:
            yield {"label": label, "errors": errors}
