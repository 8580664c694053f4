"""Training steps of networks that read tokens, beside PyTorch, if it is installed.

    python -m benchmarks.tokens.speed
    python -m benchmarks.tokens.speed --threads 1 2 --short --output FILE

Medians of interleaved rounds. All begin with the same weights; what they have learnt after three steps is
compared before it is measured. The exit status is 1 when a target is missed. With ``--output``, the table
becomes a part of that file, such as ``benchmarks/results/TOKENS.md``.
"""

from __future__ import annotations

import argparse
import os
import platform
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from threadpoolctl import threadpool_limits

from benchmarks import timing
from benchmarks.compare import compare
from benchmarks.peers import missing
from benchmarks.report import table, timed
from benchmarks.tokens.page import PAGE
from benchmarks.tokens.steps import BATCHES, ZIPF, Reader, ours


class Measured(NamedTuple):
    """A network, and how many times as long PyTorch has to take."""

    title: str
    reader: Reader
    target: float | None


NETWORKS = (
    Measured("classifier, words", Reader(32, 50, 20_000, 100, 64), 2.5),
    Measured("classifier, characters", Reader(32, 50, 64, 32, 128), 2.0),
    Measured("tagger, CRF", Reader(32, 25, 5_000, 100, 64, K=20, tagger=True), None),
)
NOT_FUSED = "pytorch_not_fused"
UPDATES, DRAWN = ("dense", "lazy"), ("uniform", "Zipf")
STEPS = 3  # before results are compared
TEXT = f"""\
One training step of a minibatch of B sequences of T tokens, of V: vectors of D numbers, an LSTM of H units,
K classes of the last state; of the tagger, both directions, and a CRF over the labels of all steps. Forward
pass, log loss, back-propagation through time, clipping to norm 1, Adam. {BATCHES} minibatches in turn, of
tokens that are all as frequent, or drawn by Zipf's law with exponent {ZIPF}, as in a text. Updates: "dense"
is `nn.Embedding` with Adam in PyTorch; "lazy" is `embedding_updates="lazy"` here, and there
`nn.Embedding(sparse=True)` with SparseAdam, Adam for the rest, and clipping without the table. Adam is the
one that PyTorch takes when `fused` is not said, for which the targets are; the next column is the fused one.
Float32; milliseconds, medians of interleaved rounds; in brackets the ratio to ours. The sequences are equally
long, so that PyTorch needs neither packing nor masks.
"""


def row(measured: Measured, updates: str, drawn: str, threads: int, plan: timing.Plan) -> dict[str, Any]:
    """One network, both libraries."""
    what = measured.reader, updates, drawn, threads
    absent, theirs = {}, {}
    if reason := missing("pytorch"):
        absent["pytorch"] = reason
    else:
        from benchmarks.tokens import steps_pytorch

        theirs["pytorch"] = partial(steps_pytorch.step, *what)
        theirs[NOT_FUSED] = partial(steps_pytorch.step, *what, fused=False)
    return compare({"skrnn": ours(*what)}, theirs, absent, plan, threads, STEPS)


def cells(
    measured: Measured, updates: str, drawn: str, threads: int, found: dict[str, Any]
) -> tuple[list[str], bool]:
    """A row of the table, and whether its target is met, if there is one."""
    reader, target, ratio = measured.reader, measured.target, found["ratios"].get(NOT_FUSED, {}).get("ratio")
    sizes = ", ".join(f"{value:,}" for value in reader[:6])
    times = [timed(found, name) for name in ("skrnn", NOT_FUSED, "pytorch")]
    met = target is None or ratio is None or ratio >= target
    verdict = "" if target is None else "met" if met else "**missed**"
    if ratio is None:
        verdict = "; ".join(f"PyTorch left out: {note}" for note in found["notes"].values())
    wanted = "" if target is None else f">= {target:g}×"
    return [measured.title, sizes, updates, drawn, str(threads), *times, wanted, verdict], met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--output", type=Path, default=None, help="file to write the table to")
    options = parser.parse_args()
    plan, rows, all_met = timing.plan(options.short), [], True
    for threads in options.threads:
        with threadpool_limits(threads):
            for measured in NETWORKS:
                for updates in UPDATES:
                    for drawn in DRAWN:
                        found = row(measured, updates, drawn, threads, plan)
                        line, met = cells(measured, updates, drawn, threads, found)
                        print(" | ".join(line), flush=True)
                        rows.append(line)
                        all_met &= met
    header = ["network", "B, T, V, D, H, K", "updates", "tokens", "threads", "skrnn", "PyTorch"]
    header += ["PyTorch, fused Adam", "target", ""]
    command = f"python -m benchmarks.tokens.speed --threads {' '.join(map(str, options.threads))}"
    text = (
        f"## Training steps\n\n`{command}{' --short' if options.short else ''}`; {os.cpu_count()} cores, "
        f"{platform.machine()}.\n\n{TEXT}\n{table(header, rows)}\n"
    )
    print("\n" + text)
    if options.output is not None:
        PAGE.write("speed", text, options.output)
    return 0 if all_met else 1


if __name__ == "__main__":
    raise SystemExit(main())
