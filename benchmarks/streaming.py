"""One step of one sequence at a time, the state carried along: the time to an answer."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks import ours, timing
from benchmarks.compare import compare, open_peers
from benchmarks.shapes import CELLS, Shape

H, FEATURES = 32, (1, 8)
KINDS = {
    "pytorch": ("pytorch", "stream"),
    "onnx_runtime": ("onnx_runtime", "stream"),
    "onnx_runtime_bound": ("onnx_runtime", "stream_bound"),
}


def streaming(short: bool, threads: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """One thread, whatever is asked for."""
    with open_peers(("pytorch", "onnx_runtime"), 1) as (peers, absent):
        for cell in CELLS[: 1 if short else None]:
            for F in FEATURES[-1:] if short else FEATURES:
                theirs = {
                    name: partial(peers[peer], kind, cell, F, H)
                    for name, (peer, kind) in KINDS.items()
                    if peer in peers
                }
                mine = {"skrnn": ours.stream(cell, F, H)}
                found = compare(mine, theirs, absent, timing.plan(short, 1.5), 1)
                yield {"cell": cell, "shape": Shape(1, 1, F, H), "threads": 1, **found}
