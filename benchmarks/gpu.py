"""Speed on an NVIDIA GPU: skrnn's `device="cuda"` beside PyTorch with cuDNN, `torch.compile` and JAX.

    python -m benchmarks.gpu                            everything
    python -m benchmarks.gpu --only training ragged     some parts; the others stay as they were
    python -m benchmarks.gpu --resume                   only the rows that results_gpu.json lacks
    python -m benchmarks.gpu --short                    a few rows: has anything become slower?

Needs ``pip install ".[cuda,bench-gpu]"`` and a GPU that nothing else uses. Writes ``results_gpu.json``, row
after row, and the GPU's section of ``RESULTS.md`` into ``results/``, or into ``--output``; a short run only
where ``--output`` says. The exit status is 1 when a target is missed or, of a short run, when a row became
slower, and 2, with no file touched, where there is no GPU.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from benchmarks import driver, fits, floor, ours, ragged, sanitize, timing
from benchmarks.compare import made, open_peers
from benchmarks.conditions import (
    DEVICE_PACKAGES,
    conditions,
    device_bus,
    device_conditions,
    device_state,
    usable_cores,
    versions,
)  # fmt: skip
from benchmarks.shapes import CELLS, GPU_GRID, GPU_SHORT_SHAPES, SHAPES, Shape, ragged_lengths
from benchmarks.targets import name_of
from benchmarks.work import DOES_NOT_FIT, Work, nothing, reason

MINIBATCHES = 20  # of an epoch
EPOCH_SHAPES = tuple(Shape(B, 100, 64, H) for B in (64, 256) for H in (64, 128, 256, 512))
FOUND = 99  # the exit status that compute-sanitizer is told to end with where it finds something
SANITIZER_SECONDS = 3600  # for one tool on one family: racecheck takes many times as long as a fit
COMPILED = (Shape(32, 50, 8, 32), Shape(256, 50, 64, 256))  # every step is compiled: minutes for each
PLAN, SHORT_PLAN = timing.Plan(3.5, 7, 41, sample=0.01), timing.Plan(1.0, 5, 15, sample=0.01)

Row = dict[str, Any]
Makers = Mapping[str, Callable[[], Work]]
Columns = Mapping[str, tuple[str, str, dict[str, Any]]]  # name: peer, kind of work, options


class Bench(NamedTuple):
    """Where and how long to measure. A rehearsal runs everything on the CPU, as small as can be."""

    device: str
    plan: timing.Plan
    peaks: Mapping[str, float]
    short: bool = False
    rehearsed: bool = False
    bus: str | None = None  # the GPU's address

    def state(self) -> dict[str, Any] | None:
        """Clock, power, temperature of the GPU now."""
        return None if self.device == "cpu" else device_state(self.bus)

    def shapes(self, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
        if self.rehearsed:
            return (Shape(3, 4, 2, 4),)
        return GPU_SHORT_SHAPES if self.short else shapes


# --- one row --------------------------------------------------------------------------------------
def release(device: str) -> None:
    """Give back the memory that the libraries of this process keep for later.

    Raises what CUDA does once a kernel has failed: no later call would get any further.
    """
    gc.collect()
    if device == "cpu":
        return
    import cupy

    cupy.cuda.runtime.deviceSynchronize()
    cupy.get_default_memory_pool().free_all_blocks()
    if torch := sys.modules.get("torch"):
        torch.cuda.empty_cache()


@contextmanager
def opened(
    device: str, mine: Makers, columns: Columns, *arguments
) -> Iterator[tuple[Makers, dict[str, str]]]:
    """What makes each library's work, ours first, and why others are not there.

    A peer with a process of its own gets a fresh one: what it holds of the memory goes with it.
    """
    names = dict.fromkeys(peer for peer, _, _ in columns.values())
    threads = 1 if device == "cpu" else usable_cores()  # a rehearsal's works are too small for more
    with open_peers(names, threads) as (peers, absent):
        theirs = {
            name: partial(peers[peer], kind, *arguments, device=device, **more)
            for name, (peer, kind, more) in columns.items()
            if peer in peers
        }
        yield {**mine, **theirs}, absent
    release(device)


def compared(bench: Bench, steps: int | None, mine: Makers, columns: Columns, *arguments) -> Row:
    """All libraries turn by turn; where they do not fit into the memory side by side, one after another."""
    found: Row = {}
    states: list[dict[str, Any] | None] = []  # of the GPU, before and after

    def interleave(works: Mapping[str, Work]) -> timing.Seconds:
        states.append(bench.state())
        rounds = timing.interleave(works, bench.plan)
        states.append(bench.state())
        return rounds

    with opened(bench.device, mine, columns, *arguments) as (makers, notes):
        works = dict(made(makers, notes, steps))
        try:
            found = timing.compared(interleave(works))
        except Exception as problem:
            if reason(problem) != DOES_NOT_FIT:
                raise
        works.clear()
    if found and DOES_NOT_FIT not in notes.values():
        return found | {"notes": notes, "states": states}
    rounds, notes = {}, {name: note for name, note in notes.items() if note != DOES_NOT_FIT}
    for name in [name for name in (*mine, *columns) if name not in notes]:
        one = [{name: group[name]} if name in group else {} for group in (mine, columns)]
        with opened(bench.device, *one, *arguments) as (makers, absent):
            works = dict(made(makers, absent, None))
            try:
                rounds |= interleave(works)
            except Exception as problem:
                absent[name] = reason(problem)
            works.clear()
            notes |= absent
    return timing.compared(rounds) | {"notes": notes, "alone": True, "states": states}


# --- the parts: what their rows are about ---------------------------------------------------------
OURS = {"forward": ours.device_forward, "training_step": ours.device_training_step}
STEPS = {"forward": 0, "training_step": 3}  # calls before results are compared


def peers(kind: str, cell: str, short: bool) -> Columns:
    found = {
        "pytorch": ("pytorch", kind, {}),
        "pytorch_graph": ("pytorch", kind, {"graph": True}),
        "pytorch_tf32": ("pytorch", kind, {"tf32": True}),
    }
    if not short:
        found["jax_scan"] = ("jax_scan", kind, {})
        if cell == "lstm":
            found["jax_cudnn"] = ("jax_cudnn", kind, {})
    return found


def network(kind: str, bench: Bench, cell: str, shape: Shape) -> Row:
    mine = {
        "skrnn": partial(OURS[kind], cell, shape, bench.device),
        "skrnn_tf32": partial(OURS[kind], cell, shape, bench.device, tf32=True),
    }
    found = compared(bench, STEPS[kind], mine, peers(kind, cell, bench.short), cell, shape)
    return found | {"floor": floor.device_floor(kind, cell, shape, bench.peaks)}


def compiled(kind: str, bench: Bench, cell: str, shape: Shape) -> Row:
    mine = {"skrnn": partial(OURS[kind], cell, shape, bench.device)}
    columns = {name: (name, kind, {}) for name in ("pytorch", "pytorch_compile")}
    return compared(bench, STEPS[kind], mine, columns, cell, shape)


def ragged_step(bench: Bench, cell: str, shape: Shape) -> Row:
    lengths = ragged_lengths(shape.B, shortest=1, longest=shape.T)
    mine = {"skrnn": partial(ours.device_training_step, cell, shape, bench.device, lengths=lengths)}
    columns = {f"pytorch_{kind}": ("pytorch", kind, {}) for kind in ragged.KINDS}
    columns["pytorch_ragged_padded_graph"] = ("pytorch", "ragged_padded", {"graph": True})
    found = compared(bench, STEPS["training_step"], mine, columns, cell, shape, lengths)
    return found | {"real_steps": int(lengths.sum())}


def epoch(bench: Bench, cell: str, shape: Shape) -> Row:
    n = shape.B * MINIBATCHES

    def steps():
        return fits.repeated(ours.device_training_step(cell, shape, bench.device), MINIBATCHES)

    mine = {"skrnn": partial(ours.epoch, cell, shape, n, 1, device=bench.device), "skrnn_steps": steps}
    columns = {"pytorch": ("pytorch", "epoch", {}), "pytorch_graph": ("pytorch", "epoch", {"graph": True})}
    return compared(bench, None, mine, columns, cell, shape, n)


def sanitizer_program() -> str | None:
    """That of a CUDA toolkit, or NVIDIA's wheel's, which is on no search path."""
    paths = [os.environ.get("PATH", ""), *(os.path.join(folder, "nvidia/cu13/bin") for folder in sys.path)]
    return shutil.which("compute-sanitizer", path=os.pathsep.join(paths))


def sanitizer(bench: Bench, tool: str, family: str) -> Row:
    """What a tool of compute-sanitizer finds in small fits of one family of kernels.

    A run that breaks off is a problem, whatever the tool has found until then.
    """
    row: Row = {"times": {}, "notes": {}}
    command = [sys.executable, "-m", "benchmarks.sanitize", "--only", family, "--device", bench.device]
    if not bench.rehearsed:
        if not (program := sanitizer_program()):
            return row | {"notes": {"compute-sanitizer": "not installed"}}
        command = [program, "--tool", tool, "--error-exitcode", str(FOUND), *command]
    ended, printed = finished(command, SANITIZER_SECONDS)
    summaries = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: (\d+)", printed)
    problems = printed.count(sanitize.OTHER_BITS) + sum(map(int, summaries))
    whole = sanitize.FINISHED in printed and (summaries or bench.rehearsed)
    if whole and (ended == 0 or (ended in (1, FOUND) and problems)):
        return row | {"problems": problems}
    last = printed.strip().rpartition("\n")[2].strip("= ")[:200]
    how = f"not at an end after {SANITIZER_SECONDS} s" if ended is None else f"broke off with {ended}"
    return row | {"problems": problems + 1, "notes": {"compute-sanitizer": f"{how}: {last}"}}


def finished(command: list[str], seconds: float) -> tuple[int | None, str]:
    """The exit status of a program, and what it printed; None where it took too long and was ended, with all
    that it has started."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        printed, _ = process.communicate(timeout=seconds)
        return process.returncode, printed
    except BaseException as problem:  # Ctrl-C does not reach a session of its own
        os.killpg(process.pid, signal.SIGKILL)
        printed, _ = process.communicate()
        if isinstance(problem, subprocess.TimeoutExpired):
            return None, printed
        raise


def tasks(part: str, bench: Bench) -> Iterator[tuple[Row, Callable[[], Row]]]:
    """What each row is about, and how to measure it."""
    if bench.short and part in ("compiled", "sanitizer"):
        return
    if part == "sanitizer":
        for tool in sanitize.TOOLS:
            for family in sanitize.CELLS:
                yield {"label": f"{tool}, {family}"}, partial(sanitizer, bench, tool, family)
        return
    shapes, rows = PARTS[part]
    for cell in CELLS:
        for shape in bench.shapes(shapes):
            for kind, row in rows.items():
                about = {"cell": cell, "shape": shape, "threads": 1} | (
                    {"kind": kind} if len(rows) > 1 else {}
                )
                yield about, partial(row, bench, cell, shape)


PARTS: dict[str, Any] = {  # shapes, and what to measure of each by kind
    "training": (SHAPES + GPU_GRID, {"training_step": partial(network, "training_step")}),
    "ragged": ((ragged.SHAPE, *GPU_GRID), {"training_step": ragged_step}),
    "forward": (SHAPES + GPU_GRID, {"forward": partial(network, "forward")}),
    "epoch": (EPOCH_SHAPES, {"epoch": epoch}),
    "compiled": (COMPILED, {kind: partial(compiled, kind) for kind in OURS}),
    "sanitizer": None,
}


# --- the whole ------------------------------------------------------------------------------------
def why_not() -> str | None:
    """Why there is no GPU to measure, or None."""
    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") != "0":
        return "NUMBA_ENABLE_CUDASIM is set: the simulator's times mean nothing"
    try:
        import cupy

        cupy.cuda.runtime.getDeviceCount()
    except Exception as problem:  # no package, no driver, no device: each raises something else
        return reason(problem)
    return None


def begin(options: argparse.Namespace) -> tuple[Bench, dict[str, Any]]:
    """The bench, and the conditions it measures under."""
    found = conditions() | {"versions": versions(DEVICE_PACKAGES)}
    if options.rehearse:
        import numpy

        peaks = floor.device_peaks(numpy, nothing, small=True)
        bench = Bench("cpu", timing.Plan(0.0, 2, 2, sample=1e-9), peaks, rehearsed=True)
        return bench, found | {"device": "a rehearsal on the CPU", "peaks": peaks}
    os.environ.pop("CUPY_TF32", None)
    import cupy

    peaks = floor.device_peaks(cupy, cupy.cuda.runtime.deviceSynchronize)
    release("cuda")
    bench = Bench("cuda", SHORT_PLAN if options.short else PLAN, peaks, options.short, bus=device_bus())
    return bench, found | device_conditions() | {"peaks": peaks}


def main(arguments: list[str] | None = None) -> int:
    parser = driver.arguments_of(__doc__.partition("\n")[0], PARTS, "few rows, few rounds, no JAX")
    parser.add_argument("--resume", action="store_true", help="leave rows that are stored as they are")
    parser.add_argument("--rehearse", action="store_true", help=argparse.SUPPRESS)  # on the CPU, tiny
    options = parser.parse_args(arguments)
    if not options.rehearse and (problem := why_not()):
        print(f"No GPU to measure: {problem}", file=sys.stderr)
        return 2
    bench, found = begin(options)
    this = driver.Driver("results_gpu", options, found, "device", options.rehearse, keeps=options.resume)
    for part in options.only or PARTS:
        before = this.rows_of(f"gpu_{part}") if options.resume else []
        known = {name_of(row) for row in before}
        rows = (about | task() for about, task in tasks(part, bench) if name_of(about) not in known)
        this.measure(f"gpu_{part}", rows, before)
    return this.conclude()


if __name__ == "__main__":
    raise SystemExit(main())
