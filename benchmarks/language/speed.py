"""Training steps and writing of language models, beside PyTorch.

    python -m benchmarks.language.speed --threads 1 2
    python -m benchmarks.language.speed --short --output FILE

Medians of interleaved rounds; what both have learnt after three steps is compared before. The exit status is
1 when a target is missed.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from benchmarks import timing
from benchmarks.compare import compare
from benchmarks.language.page import PAGE
from benchmarks.language.steps import Model, ours, theirs, writes, writes_in_pytorch
from benchmarks.page import measured_by
from benchmarks.peers import missing
from benchmarks.report import table, timed

CHARACTERS, WORDS = Model(65, 65, 256, 1, 64, 100), Model(10_000, 200, 200, 2, 20, 35)
STEPS = (  # what is trained, and how many times as long PyTorch has to take
    ("characters", CHARACTERS, 1.5),
    ("words", WORDS, 1.3),
    ("words, tied", WORDS._replace(tied=True), None),
    ("many words", Model(50_000, 200, 200, 1, 20, 35), None),
)
LENGTH = 200
WRITING = (("one text", 128, 1, 8.0), ("one text", 512, 1, 1.8), ("100 texts", 128, 100, None))


def row(
    title: str, sizes: str, threads: int, makers: dict[str, Any], plan: timing.Plan, target: float | None,
    steps: int | None,
) -> tuple[list[str], bool]:  # fmt: skip
    """Of the table, and whether its target is met."""
    absent = {} if not (reason := missing("pytorch")) else {"pytorch": reason}
    others = {} if absent else {name: make for name, make in makers.items() if name != "skrnn"}
    found = compare({"skrnn": makers["skrnn"]()}, others, absent, plan, threads, steps)
    ratios = [found["ratios"][name]["ratio"] for name in others if name in found["ratios"]]
    met = target is None or not ratios or min(ratios) >= target
    cells = [timed(found, name) for name in ("skrnn", "pytorch", "pytorch_cells")]
    verdict = "" if target is None else "met" if met else "**missed**"
    return [title, sizes, str(threads), *cells, "" if target is None else f">= {target:g}×", verdict], met


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args()
    plan, rows, all_met = timing.plan(options.short), [], True
    for threads in options.threads:
        with threadpool_limits(threads):
            for title, model, target in STEPS:
                makers = {"skrnn": partial(ours, model, threads), "pytorch": partial(theirs, model, threads)}
                sizes = ", ".join(f"{value:,}" for value in model[:6])
                line, met = row(title, sizes, threads, makers, plan, target, 3)
                rows.append(line)
                all_met &= met
                print(" | ".join(line), flush=True)
            for title, H, n, target in WRITING:
                model = Model(65, 65, H, 1, n, LENGTH)
                makers = {"skrnn": partial(writes, model, n, LENGTH, threads)}
                for name, cells in ("pytorch", False), ("pytorch_cells", True):
                    makers[name] = partial(writes_in_pytorch, model, n, LENGTH, threads, cells)
                line, met = row(title, f"65, 65, {H}, 1, {n}, {LENGTH}", threads, makers, plan, target, None)
                rows.append(line)
                all_met &= met
                print(" | ".join(line), flush=True)
    header = ["what", "V, D, H, layers, B, T", "threads", "skrnn", "PyTorch", "its LSTMCell", "target", ""]
    command = (
        f"benchmarks.language.speed --threads {' '.join(map(str, options.threads))}"
        f"{' --short' if options.short else ''}"
    )
    text = f"## Speed\n\n{measured_by(command)}\n\n{table(header, rows)}\n"
    print("\n" + text)
    if options.output is not None:
        PAGE.write("speed", text, options.output)
    return 0 if all_met else 1


if __name__ == "__main__":
    raise SystemExit(main())
