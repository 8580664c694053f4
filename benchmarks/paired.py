"""How fast this working tree is beside a commit: a process for each, asked in turn, row after row.

    python -m benchmarks.paired HEAD
    python -m benchmarks.paired HEAD~5 --rounds 21 --only "predict of one"

Prints the medians of the paired ratios (below 1: this tree is faster) and their quartiles. Where other work
shares the machine, look at the quartiles before believing a median.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.same_bits import HERE, checked_out, kernels_of


class Tree:
    """A process that times rows on the package of a tree."""

    def __init__(self, tree: Path) -> None:
        environment = os.environ | {"PYTHONPATH": str(tree), "NUMBA_CACHE_DIR": str(kernels_of(tree))}
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(HERE / "benchmarks" / "rows.py"), str(tree)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self.names = self._read().split("\t")

    def _read(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the process broke off with {self.process.wait()}")
        return line.rstrip("\n")

    def seconds(self, name: str) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        return float(self._read())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("base", help="the commit to compare with")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--only", default="", help="rows whose names contain this")
    given = parser.parse_args(arguments)
    with checked_out(given.base) as base:
        ours, theirs = Tree(HERE), Tree(base)
        try:
            print(f"{'':45} {'this':>10} {'ratio':>6}  quartiles")
            for name in ours.names:
                if given.only not in name:
                    continue
                ratios, own = [], []
                for k in range(given.rounds):
                    turn = (ours, theirs) if k % 2 else (theirs, ours)
                    seconds = {tree: tree.seconds(name) for tree in turn}
                    own.append(seconds[ours])
                    ratios.append(seconds[ours] / seconds[theirs])
                low, median, high = np.quantile(ratios, [0.25, 0.5, 0.75])
                print(
                    f"{name:45} {1e3 * np.median(own):7.3f} ms {median:6.3f}  {low:.3f} to {high:.3f}",
                    flush=True,
                )
        finally:
            ours.close()
            theirs.close()


if __name__ == "__main__":
    main()
