"""Forward passes and training steps of whole networks, on prepared arrays."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks import floor, ours, timing
from benchmarks.compare import compare, open_peers
from benchmarks.peers import PEERS
from benchmarks.shapes import CELLS, SHAPES, SHORT_SHAPES, Shape

PARTS = {  # our function, calls before results are compared, peers
    "forward": (ours.forward, 0, ("pytorch", "onnx_runtime", "jax_scan", "keras_layers")),
    "training_step": (ours.training_step, 3, ("pytorch", "jax_scan", "keras_layers")),
}
COMPILED = Shape(32, 50, 8, 32)  # torch.compile takes too long for more than one


def row(kind: str, cell: str, shape: Shape, threads: int, peers, absent, plan) -> dict[str, Any]:
    """One network, all libraries, the floor."""
    make, steps, _ = PARTS[kind]
    kernel, flops = ours.microkernel()
    mine = {"skrnn": make(cell, shape, threads), "microkernel": kernel}
    if threads > 1:
        mine["skrnn_one_thread"] = make(cell, shape, 1)
    theirs = {name: partial(make_theirs, kind, cell, shape) for name, make_theirs in peers.items()}
    found = compare(mine, theirs, absent, plan, threads, steps)
    del found["ratios"]["microkernel"]
    peak = flops / found["times"].pop("microkernel")["median"] / 1e9
    least = floor.floor(kind, cell, shape, threads, peak)
    return {"cell": cell, "shape": shape, "threads": threads, **found, "floor": least}


def rows(kind: str, short: bool, threads: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    names = PARTS[kind][2]
    if short:
        names, threads = [name for name in names if not PEERS[name].own_process], threads[:1]
    for n in threads:
        with open_peers(names, n) as (peers, absent):
            for cell in CELLS:
                for shape in SHORT_SHAPES if short else SHAPES:
                    yield row(kind, cell, shape, n, peers, absent, timing.plan(short))


def forward(short: bool, threads: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """The network on a prepared minibatch."""
    yield from rows("forward", short, threads)


def training(short: bool, threads: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """Forward pass, squared error, back-propagation through time, clipping, Adam."""
    yield from rows("training_step", short, threads)


def compiled(short: bool, threads: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """PyTorch eager and compiled: one shape, one thread, a fresh process for every compilation."""
    if short:
        return
    for kind in PARTS:
        for cell in CELLS:
            with open_peers(("pytorch", "pytorch_compile"), 1) as (peers, absent):
                yield {"kind": kind, **row(kind, cell, COMPILED, 1, peers, absent, timing.plan(short))}
