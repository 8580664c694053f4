"""What a user calls: epochs of `fit`, and `predict`, beside what users of other libraries call."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks import ours, timing
from benchmarks.compare import compare, open_peers
from benchmarks.shapes import CELLS, Shape
from benchmarks.work import Work

BATCHES = {16: 48, 32: 32, 64: 20, 128: 10}  # minibatches of an epoch, so that it takes 20 to 100 ms
EPOCH_PEERS = ("pytorch", "skorch_net", "scikit_mlp")
SEQUENCES = (1, 1000)  # to predict
PREDICT_SIZES = (32, 64, 128)


def repeated(work: Work, times: int) -> Work:
    return Work(lambda calls: work.sample(calls * times), work.result)


def epoch(short: bool, threads: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """An epoch of ours beside as many of our training steps on prepared arrays, and beside peers."""
    for n in threads[: 1 if short else None]:
        with open_peers(EPOCH_PEERS[: 1 if short or n > 1 else None], n) as (peers, absent):
            for cell in CELLS[: 1 if short else None]:
                for H in [32] if short else BATCHES:
                    shape, batches = Shape(32, 50, 8, H), BATCHES[H]
                    size = batches * shape.B
                    mine = {
                        "skrnn": ours.epoch(cell, shape, size, n),
                        "skrnn_steps": repeated(ours.training_step(cell, shape, n), batches),
                    }
                    if n > 1:
                        mine["skrnn_one_thread"] = ours.epoch(cell, shape, size, 1)
                    theirs = {name: partial(make, "epoch", cell, shape, size) for name, make in peers.items()}
                    found = compare(mine, theirs, absent, timing.plan(short, 5.0), n, steps=None)
                    yield {"cell": cell, "shape": shape, "threads": n, "minibatches": batches, **found}


def predict(short: bool, threads: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """`predict` of one sequence and of many, from an array of NumPy to another."""
    n = threads[0]
    with open_peers(("pytorch",), n) as (peers, absent):
        for cell in CELLS[: 1 if short else None]:
            for H in PREDICT_SIZES[: 1 if short else None]:
                for size in SEQUENCES:
                    shape = Shape(size, 50, 8, H)
                    mine = {"skrnn": ours.predict(cell, shape, n)}
                    theirs = {name: partial(make, "predict", cell, shape) for name, make in peers.items()}
                    found = compare(mine, theirs, absent, timing.plan(short, 1.5), n)
                    yield {"cell": cell, "shape": shape, "threads": n, **found}
