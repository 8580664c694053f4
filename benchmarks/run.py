"""Speed: skrnn beside PyTorch, ONNX Runtime, JAX, Keras, skorch and scikit-learn.

    python -m benchmarks.run                            everything, about 25 minutes
    python -m benchmarks.run --only forward training    some parts; the others stay as they were
    python -m benchmarks.run --short                    two minutes: has anything become slower?

Writes ``results.json``, ``RESULTS.md`` and ``results.png`` beside this file, or into ``--output``. A
short run writes only where ``--output`` says, and compares its ratios to PyTorch with those of
``results.json``. The exit status is 1 when a target is missed or, of a short run, when a row became
slower. Use an otherwise idle machine; ``python -m benchmarks.report`` writes the report anew from the
JSON.
"""

from __future__ import annotations

import argparse
import json
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from numba.core import config
from threadpoolctl import threadpool_limits

from benchmarks import fits, half_width, memory, networks, processes, ragged, report, streaming, targets
from benchmarks.conditions import conditions, load, usable_cores
from benchmarks.work import reason

HERE = Path(__file__).parent
PARTS = {  # name: ``part(short, threads) -> rows``
    "forward": networks.forward,
    "training": networks.training,
    "compiled": networks.compiled,
    "epoch": fits.epoch,
    "predict": fits.predict,
    "ragged": ragged.ragged,
    "streaming": streaming.streaming,
    "whole": processes.whole,
    "first_fit": processes.first_fit,
    "imports": processes.imports,
    "memory": memory.memory,
    "half_speed": half_width.speed,
    "half_accuracy": half_width.accuracy,
}


def line(row: dict[str, Any]) -> str:
    """A row for the screen."""
    times = [f"{name} {1e3 * time['median']:.4g} ms" for name, time in row.get("times", {}).items()]
    sizes = [f"{name} {size / 1e6:.4g} MB" for name, size in row.get("bytes", {}).items()]
    notes = [f"no {name}: {note}" for name, note in row.get("notes", {}).items()]
    problems = [f"{row['problems']} problems"] if "problems" in row else []
    return f"  {targets.name_of(row)}: {', '.join(times + sizes + problems + notes)}"


def measure(part: str, rows: Iterable[dict[str, Any]], keep: Callable[[dict[str, Any]], None]) -> None:
    """Measure row after row; `keep` gets the part so far."""
    print(f"{part}, {time.strftime('%H:%M:%S')}", flush=True)
    start, found = time.perf_counter(), {"date": time.strftime("%Y-%m-%d %H:%M"), "load": load(), "rows": []}
    with threadpool_limits(1, user_api="blas"):
        try:
            for row in rows:
                found["rows"].append(row)
                print(line(row), flush=True)
                keep(found)
        except Exception as problem:  # the other parts are still worth having
            traceback.print_exc()
            found["error"] = reason(problem)
    keep(found | {"seconds": round(time.perf_counter() - start, 1)})


def store(results: dict[str, Any], path: Path | None) -> None:
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def conclude(results: dict[str, Any], reference: Path) -> int:
    """Print what is missed and, of a short run, what became slower than in `reference`; the exit status."""
    missed, failed = report.missed(results), report.failed(results)
    print("\n" + (report.missed_table(missed) if missed else "No target is missed."))
    if failed:
        print(failed)
    if failed or not results["short"]:
        return 1 if missed or failed else 0
    if not reference.exists():
        print(f"\nNo {reference.name} to compare with.")
        return 0
    found = targets.slower(results, json.loads(reference.read_text(encoding="utf-8")))
    print(
        "\n" + ("\n".join([f"Slower than in {reference.name}:", *found]) if found else "Nothing is slower.")
    )
    return 1 if found else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--short", action="store_true", help="few rows, few rounds, few peers")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="of forward and training")
    parser.add_argument("--output", type=Path, default=None, metavar="FOLDER")
    options = parser.parse_args()
    if config.BOUNDSCHECK:
        parser.error("unset NUMBA_BOUNDSCHECK: checked kernels are slow")
    threads = tuple(n for n in options.threads if n <= usable_cores())
    if threads != tuple(options.threads):
        print(f"only {usable_cores()} core(s) to run on: {threads or 'no'} threads")
    if not threads:
        parser.error("too few cores for that many threads")
    folder = options.output or (None if options.short else HERE)

    results: dict[str, Any] = {"conditions": conditions(), "short": options.short, "parts": {}}
    stored = folder / "results.json" if folder else None
    if options.only and stored and stored.exists():
        old = json.loads(stored.read_text(encoding="utf-8"))
        if old["conditions"]["cpu"] == results["conditions"]["cpu"] and old["short"] == options.short:
            results["parts"] = old["parts"]
        else:
            print("not merged: the stored results are of another machine or kind of run")
    for part in options.only or PARTS:
        found: dict[str, Any] = {}
        measure(part, PARTS[part](options.short, threads), found.update)
        results["parts"][part] = found
        store(results, stored)  # after every part: an interrupted run keeps what it has
    results = json.loads(json.dumps(results))
    if folder:
        report.plot(results, folder / "results.png")
        report.write(folder)
    return conclude(results, HERE / "results.json")


if __name__ == "__main__":
    raise SystemExit(main())
