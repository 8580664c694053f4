"""What the tiles' kernels take of a multiprocessor, from their machine code: no GPU is needed.

    python -m benchmarks.tiles                 the ends of each range of units, about 10 minutes
    python -m benchmarks.tiles --step 8        and every eighth number of units in between
    python -m benchmarks.tiles --cells lstm    some cells; the others stay as they were

Needs ``pip install ".[cuda]"``. Compiles the kernels as a fit on a GPU does, by numba-cuda and nvJitLink, for
four kinds of GPU, and has the assembler say what registers, spills and shared memory they take; how many
blocks a multiprocessor holds follows by the toolkit's formula. Writes ``results_tiles.json`` and
``RESULTS.md`` in ``results/``, or into ``--output``. The exit status is 1 where a kernel would not launch.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from benchmarks import driver, report
from benchmarks.conditions import versions
from skrnn import cells
from skrnn.backends import cuda as backend
from skrnn.backends.cuda import turns
from skrnn.backends.cuda.device import Device, Launch
from skrnn.backends.cuda.elementary import functions
from skrnn.backends.cuda.tiles import Tile, plan
from skrnn.batches import Jobs
from skrnn.recipe import recurrent_network
from skrnn.sequences import Sequences

KIB = 1024
WARP, SUB_PARTITIONS = 32, 4
REGISTERS, REGISTER_UNIT, MOST_REGISTERS = 65_536, 256, 255  # of a multiprocessor; of a warp; of a thread
SHARED_UNIT, RESERVED_SHARED = 128, 1 * KIB  # bytes; the driver keeps some for itself in each block
MOST_THREADS = 1024  # of a block


class Kind(NamedTuple):
    """A kind of GPU: as numba-cuda names it, and what a block or a multiprocessor may have (the programming
    guide's table of compute capabilities)."""

    example: str
    cc: tuple[int, int, str]
    shared_of_block: int
    shared: int
    threads: int
    blocks: int


KINDS = {
    "sm_80": Kind("A100", (8, 0, ""), 163 * KIB, 164 * KIB, 2048, 32),
    "sm_89": Kind("L4, RTX 40", (8, 9, ""), 99 * KIB, 100 * KIB, 1536, 24),
    "sm_90": Kind("H100", (9, 0, "a"), 227 * KIB, 228 * KIB, 2048, 32),
    "sm_120": Kind("RTX 50", (12, 0, "a"), 99 * KIB, 100 * KIB, 1536, 24),
}
CELLS: dict[str, dict[str, Any]] = {  # the activations of an RNN make no other layout
    "rnn": {"cell": "rnn"},
    "lstm": {"cell": "lstm"},
    "gru": {"cell": "gru"},
    "gru-reset-before": {"cell": "gru", "reset_after": False},
}
DTYPES = tuple(map(np.dtype, (np.float32, np.float64)))
KERNELS = ("forward", "backward")
COMPILERS = ("numba-cuda", "nvidia-nvvm", "nvidia-nvjitlink")


def up(n: int, unit: int) -> int:
    """The least multiple of `unit` from `n` on."""
    return -(-n // unit) * unit


def resident_blocks(kind: Kind, threads: int, registers: int, shared: int) -> int:
    """Blocks that a multiprocessor holds; 0 where one cannot be launched.

    The formula of the toolkit's cuda_occupancy.h (`cudaOccMaxActiveBlocksPerMultiprocessor`).

    Parameters
    ----------
    threads, registers : int
        Threads of a block, registers of a thread.
    shared : int
        Bytes of a block, both of fixed size and asked for at the launch.
    """
    warps, of_warp = -(-threads // WARP), up(registers * WARP, REGISTER_UNIT)
    # The check before a launch assumes that warps are given out to all sub-partitions at the same time.
    assumed, allotted = up(warps, SUB_PARTITIONS) * of_warp, up(shared + RESERVED_SHARED, SHARED_UNIT)
    if (
        threads > MOST_THREADS
        or registers > MOST_REGISTERS
        or assumed > REGISTERS
        or allotted > kind.shared_of_block + RESERVED_SHARED
    ):
        return 0
    by_registers = REGISTERS // SUB_PARTITIONS // of_warp * SUB_PARTITIONS // warps
    return min(kind.blocks, kind.threads // WARP // warps, by_registers, kind.shared // allotted)


# --- compiling without a GPU ----------------------------------------------------------------------
class Paper(Device):
    """A device on which tapes are recorded and never run."""

    n_multiprocessors = 108

    def __init__(self, shared_bytes: int) -> None:
        self.shared_bytes = shared_bytes

    def _allocate(self, size: int, dtype: np.dtype) -> np.ndarray:
        return np.zeros(size, dtype)

    def copy_in(self, array: np.ndarray, host: np.ndarray) -> None:
        array[:] = host.reshape(-1)

    def copy_out(self, host: np.ndarray, array: np.ndarray) -> None:
        host.reshape(-1)[:] = array

    def synchronize(self) -> None:
        """Nothing runs."""

    def multiply(self, *args: Any) -> None:
        raise AssertionError("a tape of this device is not run")


@contextmanager
def on_paper(kind: Kind) -> Iterator[Paper]:
    """A device of that kind to record on, and to compile for."""
    device = SimpleNamespace(compute_capability=kind.cc[:2])
    with (
        mock.patch("numba.cuda.dispatcher.get_current_device", return_value=device),
        mock.patch("numba.cuda.codegen.devices.get_context", return_value=SimpleNamespace(device=device)),
        mock.patch.object(turns._mine, "device", Paper(kind.shared_of_block), create=True),
    ):
        yield turns._mine.device


class Usage(NamedTuple):
    """What the machine code of a kernel takes: of a thread, but for `shared`, bytes of a block."""

    registers: int
    spill_stores: int  # bytes
    spill_loads: int
    shared: int  # of fixed size


def compiled(launch: Launch) -> Any:
    """The kernel of a launch, compiled to the form that is linked for one kind of GPU or another."""
    from numba.cuda.dispatcher import _Kernel

    signature = tuple(map(launch.kernel.typeof_pyval, launch.args))
    return _Kernel(launch.kernel.py_func, signature, **launch.kernel.targetoptions)


def usage(kernel: Any, kind: Kind) -> Usage:
    """As numba-cuda links it, with the assembler's report."""
    from cuda.core import Linker, LinkerOptions, ObjectCode

    library, (major, minor, letter) = kernel._codelibrary, kind.cc
    assert library._lto  # what numba-cuda does where nvJitLink is installed
    options = LinkerOptions(
        arch=f"sm_{major}{minor}{letter}", max_register_count=library._max_registers,
        link_time_optimization=True, ptxas_options=["-v"],
    )  # fmt: skip
    linker = Linker(ObjectCode.from_ltoir(library.get_ltoir(kind.cc)), options=options)
    linker.link("cubin")
    return reported(linker.get_info_log())


def reported(log: str) -> Usage:
    """What the assembler reports of the one kernel that it has compiled."""
    (registers,) = re.findall(r"Used (\d+) registers", log)
    ((stores, loads),) = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", log)
    shared = re.findall(r"(\d+) bytes smem", log)  # not said where there is none
    return Usage(int(registers), int(stores), int(loads), sum(map(int, shared)))


def tile_launches(own: dict[str, Any], H: int, dtype: np.dtype) -> dict[str, Launch]:
    """The launches of both kernels, recorded on the current device, by name."""
    network = recurrent_network(1, 1, device="cuda", dtype=dtype, hidden_size=H, **own)
    sequences = Sequences.from_arrays([np.zeros((1, 1), dtype)])
    jobs, tape = Jobs(sequences.lengths, 1, None), backend.Tape()
    params = network.pack(network.parameters.initial(np.random.RandomState(0)))
    grads = backend.aligned(network.size, dtype)
    rec = network.record(tape, jobs.room(), params, grads, keep=True)
    network.backward(rec, network.forward(rec, network.read(rec, sequences, jobs)))
    return {launch.kernel.__name__: launch for launch in tape.launches() if launch.kernel.__name__ in KERNELS}


# --- the plans ------------------------------------------------------------------------------------
def built(own: dict[str, Any], dtype: np.dtype) -> cells.Cell:
    options = {"name": own["cell"]} | {key: value for key, value in own.items() if key != "cell"}
    return cells.build(functions(dtype), **options)


def planned(cell: cells.Cell, dtype: np.dtype, kind: Kind) -> dict[int, Tile]:
    """The tile of each number of units that has one."""
    found = {H: plan(cell, H, dtype, kind.shared_of_block) for H in range(1, MOST_THREADS + 1)}
    return {H: tile for H, tile in found.items() if tile is not None}


def most_shared(cell: cells.Cell, H: int, tile: Tile, dtype: np.dtype) -> tuple[int, int]:
    """Bytes of shared memory of the kernel that takes more: of fixed size, and asked for at the launch."""
    states = up(tile.most_rows * max(1, cell.n_slots) * H * dtype.itemsize, 16)
    products = tile.most_rows * tile.columns * dtype.itemsize
    return states + products, max(16, tile.in_shared * tile.columns * dtype.itemsize)


def least_blocks(cell: cells.Cell, H: int, tile: Tile, dtype: np.dtype, kind: Kind) -> int:
    """Blocks of a kernel that takes all that the tile allows, which the assembler does not exceed."""
    shared = sum(most_shared(cell, H, tile, dtype))
    return resident_blocks(kind, tile.columns * tile.most_rows, tile.max_registers, shared)


class Range(NamedTuple):
    """Neighbouring numbers of units whose tiles are of one sort, and where it ends on each kind of GPU."""

    tiles: dict[int, Tile]
    last: dict[str, int]

    def on(self, kind: str) -> list[int]:
        return [H for H in self.tiles if self.last.get(kind, 0) >= H]


def alike(cell: cells.Cell, dtype: np.dtype) -> Iterator[Range]:
    """All numbers of units that have a tile anywhere, by threads of a block and where weights are kept."""
    by_kind = {name: planned(cell, dtype, kind) for name, kind in KINDS.items()}
    tiles = {H: tile for those in by_kind.values() for H, tile in those.items()}

    def sort(H: int) -> tuple:
        warps = 0 if tiles[H].most_rows > 1 else up(tiles[H].columns, SUB_PARTITIONS * WARP)
        return warps, tiles[H].in_shared > 0

    for _, group in groupby(sorted(tiles), sort):
        units = list(group)
        last = {name: max((H for H in units if H in those), default=0) for name, those in by_kind.items()}
        yield Range({H: tiles[H] for H in units}, {name: H for name, H in last.items() if H})


# --- the table ------------------------------------------------------------------------------------
def compiled_tile(own: dict[str, Any], H: int, dtype: np.dtype, names: Iterable[str]) -> dict[str, Any]:
    """What each kernel takes, by name and kind of GPU."""
    with on_paper(KINDS["sm_90"]):
        kernels = {name: compiled(launch) for name, launch in tile_launches(own, H, dtype).items()}
    return {
        name: {kind: usage(kernel, KINDS[kind])._asdict() for kind in names}
        for name, kernel in kernels.items()
    }


def rows(name: str, dtype: np.dtype, step: int | None) -> Iterator[dict[str, Any]]:
    """A row for each range: compiled at its ends, and for every `step`-th number of units in between."""
    own, cell = CELLS[name], built(CELLS[name], dtype)
    for those in alike(cell, dtype):
        tiles, units = those.tiles, list(those.tiles)
        blocks = {
            kind: [least_blocks(cell, H, tiles[H], dtype, KINDS[kind]) for H in those.on(kind)]
            for kind in those.last
        }
        yield {
            "cell": name,
            "dtype": dtype.name,
            "units": [units[0], units[-1]],
            "last": those.last,
            "sequences": span(tile.most_rows for tile in tiles.values()),
            "threads": span(tile.columns * tile.most_rows for tile in tiles.values()),
            "registers_allowed": span(tile.max_registers for tile in tiles.values()),
            "shared": span(sum(most_shared(cell, H, tile, dtype)) for H, tile in tiles.items()),
            "blocks": {kind: span(found) for kind, found in blocks.items()},
            "compiled": {
                str(H): compiled_tile(own, H, dtype, [kind for kind in KINDS if H in those.on(kind)])
                for H in sorted({*units[:: step or len(units)], *those.last.values()})
            },
        }


def span(values: Iterable[int]) -> list[int]:
    values = list(values)
    return [min(values), max(values)]


def line(row: dict[str, Any]) -> str:
    """A row for the screen."""
    taken = [
        f"{H} {kernel} {kind}: {u['registers']} registers, {u['spill_stores']} bytes spilled"
        for H, kernels in row["compiled"].items()
        for kernel, kinds in kernels.items()
        for kind, u in kinds.items()
    ]
    return f"{row['cell']}, {row['dtype']}, {row['units']}: blocks {row['blocks']}\n  " + "\n  ".join(taken)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS), metavar="CELL")
    parser.add_argument("--step", type=int, metavar="N", help="compile every N-th number of units, too")
    parser.add_argument("--output", type=Path, default=report.RESULTS, metavar="FOLDER")
    options = parser.parse_args(arguments)
    stored = options.output / "results_tiles.json"
    kept = json.loads(stored.read_text(encoding="utf-8"))["rows"] if stored.exists() else []
    found = [row for row in kept if row["cell"] not in options.cells]
    for name in options.cells:
        for dtype in DTYPES:
            for row in rows(name, dtype, options.step):
                print(line(row), flush=True)
                found.append(row)
                found.sort(key=lambda row: ([*CELLS].index(row["cell"]), row["dtype"], row["units"]))
                driver.store({"versions": versions(COMPILERS), "rows": found}, stored)
    report.write(options.output)
    return 1 if any(0 in blocks for row in found for blocks in row["blocks"].values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
