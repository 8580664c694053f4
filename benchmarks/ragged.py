"""Training on sequences of 5 to 200 steps: what short sequences save, here and elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks import ours, timing
from benchmarks.compare import compare, open_peers
from benchmarks.shapes import CELLS, Shape, ragged_lengths

SHAPE = Shape(32, 200, 8, 64)
KINDS = ("ragged_packed", "ragged_padded")


def ragged(short: bool, threads: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """Ours, PyTorch packed and PyTorch padded on the same sequences; ours also with all of 200 steps."""
    n, lengths = threads[0], ragged_lengths(SHAPE.B, longest=SHAPE.T)
    with open_peers(("pytorch",), n) as (peers, absent):
        for cell in CELLS[: 1 if short else None]:
            mine = {
                "skrnn": ours.ragged_training_step(cell, SHAPE, lengths, n),
                "skrnn_all_long": ours.ragged_training_step(cell, SHAPE, np.full(SHAPE.B, SHAPE.T), n),
            }
            theirs = {
                f"{name}_{kind}": partial(make, kind, cell, SHAPE, lengths)
                for name, make in peers.items()
                for kind in KINDS
            }
            found = compare(mine, theirs, absent, timing.plan(short, 6.0), n, steps=3)
            steps = {"skrnn": int(lengths.sum()), "skrnn_all_long": SHAPE.B * SHAPE.T}
            each = {name: found["times"][name]["median"] / steps[name] for name in steps}
            yield {
                "cell": cell,
                "shape": SHAPE,
                "threads": n,
                "real_steps": steps["skrnn"],
                "per_real_step": each["skrnn"] / each["skrnn_all_long"],
                **found,
            }
