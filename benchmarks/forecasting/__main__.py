"""Forecasts of real data, beside published figures, naive forecasts and neuralforecast.

    python -m benchmarks.forecasting [--only PART ...] [--seeds 0 1 2]

Needs the data of `benchmarks.datasets`. Writes ``results/FORECASTING.md``; with ``--only``
the other parts stay as they were. The exit status is 1 when a target is missed. The side by side needs a
Python in which neuralforecast is installed, named by the variable NEURALFORECAST_PYTHON.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import time
from pathlib import Path

from benchmarks.forecasting import backtests, decoder, defaults, etth1, m4_weekly, memory, side_by_side

PARTS = {
    "defaults": defaults.run,
    "etth1": etth1.run,
    "m4_weekly": m4_weekly.run,
    "backtests": backtests.run,
    "decoder": decoder.run,
    "side_by_side": side_by_side.run,
    "memory": memory.run,
}
OUTPUT = Path(__file__).parents[1] / "results" / "FORECASTING.md"
HEAD = """\
# Forecasting real data

Written by `python -m benchmarks.forecasting`; the settings are in `benchmarks/forecasting/`.
"""


def sections() -> dict[str, str]:
    """The parts of the page as it stands."""
    text = OUTPUT.read_text(encoding="utf-8") if OUTPUT.exists() else ""
    return dict(re.findall(r"<!-- (\w+) -->\n(.*?)(?=<!-- |\Z)", text, re.DOTALL))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", default=list(PARTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    written, missed = sections(), 0
    for name in options.only:
        print(name, flush=True)
        start = time.perf_counter()
        table = PARTS[name](options.seeds)
        seconds = time.perf_counter() - start
        missed += table.missed
        machine = f"{os.cpu_count()} cores, {platform.machine()}"
        written[name] = f"{table.markdown()}\n{seconds:.0f} seconds in all, {machine}.\n\n"
        parts = "".join(f"<!-- {part} -->\n{written[part]}" for part in PARTS if part in written)
        OUTPUT.write_text(f"{HEAD}\n{parts}".rstrip() + "\n", encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
