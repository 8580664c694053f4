"""What `benchmarks.run` and `benchmarks.gpu` do with their parts: measure, store, report, compare."""

from __future__ import annotations

import argparse
import json
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from benchmarks import report, targets
from benchmarks.conditions import load
from benchmarks.work import reason

Row = dict[str, Any]


def line(row: Row) -> str:
    """A row for the screen."""
    times = [f"{name} {1e3 * time['median']:.4g} ms" for name, time in row.get("times", {}).items()]
    sizes = [f"{name} {size / 1e6:.4g} MB" for name, size in row.get("bytes", {}).items()]
    notes = [f"no {name}: {note}" for name, note in row.get("notes", {}).items()]
    problems = [f"{row['problems']} problems"] if "problems" in row else []
    return f"  {targets.name_of(row)}: {', '.join(times + sizes + problems + notes)}"


def store(results: dict[str, Any], path: Path | None) -> None:
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def arguments_of(description: str, parts: Iterable[str], short: str) -> argparse.ArgumentParser:
    """The options that both commands have; `short` says what a short run leaves out."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--only", nargs="+", choices=list(parts), metavar="PART", help=", ".join(parts))
    parser.add_argument("--short", action="store_true", help=short)
    parser.add_argument("--output", type=Path, default=None, metavar="FOLDER")
    return parser


class Driver:
    """One run.

    Parameters
    ----------
    name : str
        Of the file of results, without ".json".
    options : Namespace
        Those of `arguments_of`.
    conditions : dict
    same : str
        The condition that tells machines apart: results of another one are not merged.
    rehearsed : bool
        Whether the figures mean nothing: like those of a short run they are only stored in `--output`.
    keeps : bool
        Whether a whole run, too, begins with what is stored.
    """

    def __init__(
        self,
        name: str,
        options: argparse.Namespace,
        conditions: dict[str, Any],
        same: str,
        rehearsed: bool = False,
        keeps: bool = False,
    ) -> None:
        writes = not options.short and not rehearsed
        self.folder = options.output or (report.RESULTS if writes else None)
        self.stored = self.folder / f"{name}.json" if self.folder else None
        self.reference = report.RESULTS / f"{name}.json"
        self.results: dict[str, Any] = {"conditions": conditions, "short": options.short, "parts": {}}
        if (options.only or keeps) and self.stored and self.stored.exists():
            old = json.loads(self.stored.read_text(encoding="utf-8"))
            if old["conditions"][same] == conditions[same] and old["short"] == options.short:
                self.results["parts"] = old["parts"]
            else:
                print("not merged: the stored results are of another machine or kind of run")

    def rows_of(self, part: str) -> list[Row]:
        """Those that are stored."""
        return self.results["parts"].get(part, {"rows": []})["rows"]

    def measure(self, part: str, rows: Iterable[Row], before: Iterable[Row] | None = None) -> None:
        """Rows, after those of `before`, which are stored one by one: an interrupted run keeps what it has,
        to be resumed. Without `before` a part takes the place of what is stored once it is complete."""
        print(f"{part}, {time.strftime('%H:%M:%S')}", flush=True)
        start, done = time.perf_counter(), list(before or ())
        found = {"date": time.strftime("%Y-%m-%d %H:%M"), "load": load(), "rows": done}
        if before is not None:
            self.results["parts"][part] = found
        with threadpool_limits(1, user_api="blas"):
            try:
                for row in rows:
                    done.append(row)
                    print(line(row), flush=True)
                    if before is not None:
                        store(self.results, self.stored)
            except Exception as problem:  # the other parts are still worth having
                traceback.print_exc()
                found["error"] = reason(problem)
        found["seconds"] = round(time.perf_counter() - start, 1)
        self.results["parts"][part] = found
        store(self.results, self.stored)

    def conclude(self) -> int:
        """Write the report; print what is missed and, of a short run, what became slower than what is stored
        beside the benchmarks. The exit status."""
        results = json.loads(json.dumps(self.results))
        if self.folder:
            report.write(self.folder)
        missed, failed = report.missed(results), report.failed(results)
        print("\n" + (report.missed_table(missed) if missed else "No target is missed."))
        if failed:
            print(failed)
        if failed or not results["short"]:
            return 1 if missed or failed else 0
        if not self.reference.exists():
            print(f"\nNo {self.reference.name} to compare with.")
            return 0
        found = targets.slower(results, json.loads(self.reference.read_text(encoding="utf-8")))
        heading = f"Slower than in {self.reference.name}:"
        print("\n" + ("\n".join([heading, *found]) if found else "Nothing is slower."))
        return 1 if found else 0
