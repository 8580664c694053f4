"""Memory of a training step of a language model of 50,000 words, beyond parameters and moments.

    python -m benchmarks.language.memory --output FILE

Each library in a process of its own: the growth of the resident memory while its network is made and trained
for three steps, less the parameters and Adam's two moments. The exit status is 1 when the target is missed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.language.page import PAGE
from benchmarks.language.steps import Model, ours, theirs
from benchmarks.memory import MB, growth
from benchmarks.page import measured_by
from benchmarks.peers import missing
from benchmarks.report import table
from benchmarks.work import Work

MODEL, SMALL = Model(50_000, 200, 200, 1, 20, 35), Model(100, 8, 8, 1, 20, 35)
LIBRARIES: dict[str, Callable[[Model, int], Work]] = {"skrnn": ours, "pytorch": theirs}
SHARE = 1 / 3  # of PyTorch's


def beyond(library: str) -> float:
    """Bytes."""

    def train(model: Model) -> None:
        LIBRARIES[library](model, 1).sample(3)

    train(SMALL)  # loads and compiles
    return growth(lambda: train(MODEL)) - 3 * 4 * MODEL.network(1).size


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--library", choices=LIBRARIES, default=None, help="measure it in this process")
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args()
    if options.library is not None:
        print(beyond(options.library))
        return 0
    found = {}
    for library in LIBRARIES:
        if library == "skrnn" or not missing(library):
            command = [sys.executable, "-m", "benchmarks.language.memory", "--library", library]
            lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
            found[library] = float(lines[-1])
    met, rows = True, [[name, f"{value / MB:.0f}"] for name, value in found.items()]
    if "pytorch" in found:
        share = found["skrnn"] / found["pytorch"]
        met = share <= SHARE
        rows.append(["share (target: a third)", f"{share:.2f}, {'met' if met else '**missed**'}"])
    lines = table(["50,000 words, vectors and layer of 200, 20 streams of 35 steps", "MB"], rows)
    text = f"## Memory\n\n{measured_by('benchmarks.language.memory')}\n\n{lines}\n"
    print(text)
    if options.output is not None:
        PAGE.write("memory", text, options.output)
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
