"""From ``results.json``, ``results_gpu.json``, ``results_tiles.json`` to ``RESULTS.md`` and ``results.png``.

python -m benchmarks.report [FOLDER]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import targets
from benchmarks.peers import PEERS
from benchmarks.shapes import CELLS, LABELS, Shape
from benchmarks.targets import Target, median, name_of
from benchmarks.texts import GPU_COMMAND, GPU_HEADING, HEADING, NAMES, TEXTS, TILES, TILES_OF, TITLES
from benchmarks.work import DOES_NOT_FIT

HERE = Path(__file__).parent
RESULTS = HERE / "results"  # and a folder for each further machine


# --- pieces ---------------------------------------------------------------------------------------
def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float) -> str:
    """Three to four digits."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def timed(row: Mapping[str, Any], name: str, scale: float = 1e3) -> str:
    """A time and, for others than ours, its ratio to ours; a dash where there is none, or why."""
    if name not in row["times"]:
        return DOES_NOT_FIT if row.get("notes", {}).get(name) == DOES_NOT_FIT else "–"
    text = number(scale * median(row, name))
    return f"{text} ({row['ratios'][name]['ratio']:.2f}×)" if name in row["ratios"] else text


def verdict(part: str, row: Mapping[str, Any]) -> str:
    found = targets.of_row(part, row)
    each = [f"{t.what} {t.relation}: {'met' if t.met else f'**missed**, {t.figure:.2f}'}" for t in found]
    return "; ".join(each)


def columns(rows: list[dict[str, Any]]) -> list[str]:
    """All names that any row has a time for, ours first."""
    names = dict.fromkeys(["skrnn"]) | dict.fromkeys(name for row in rows for name in row["times"])
    return sorted(names, key=lambda name: name != "skrnn")


def notes(rows: list[dict[str, Any]]) -> str:
    """What took no part, each reason once."""
    where: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for name, note in row.get("notes", {}).items():
            if note == DOES_NOT_FIT:  # the table says so
                continue
            where.setdefault((NAMES.get(name, name), note), []).append(name_of(row))
    lines = []
    for (name, note), at in where.items():
        rows_ = "" if len(at) == len(rows) else f" of {', '.join(at)}"
        lines.append(f"- {name} left out{rows_}: {note}")
    return "\n".join(lines)


def network_table(part: str, rows: list[dict[str, Any]]) -> str:
    """Networks beside their floors."""
    ours, *others = columns(rows)
    lines = []
    for row in rows:
        least = row["floor"]["seconds"]
        share = f" ({100 * least / median(row, ours):.0f} %)" if ours in row["times"] else ""
        lines.append([
            f"{LABELS[row['cell']]} ({Shape(*row['shape'])}){' *' * row.get('alone', False)}",
            timed(row, ours),
            number(1e3 * least) + share,
            *[timed(row, name) for name in others],
            verdict(part, row),
        ])  # fmt: skip
    header = ["network", "skrnn, ms", "floor, ms (reached)", *[NAMES[name] for name in others], "targets"]
    return table(header, lines)


# --- parts ----------------------------------------------------------------------------------------
def network_tables(part: str, rows: list[dict[str, Any]]) -> str:
    """One table for each number of threads."""
    pieces = []
    for threads in sorted({row["threads"] for row in rows}):
        those = [row for row in rows if row["threads"] == threads]
        pieces.append(f"### Threads: {threads}\n\n" + network_table(part, those))
    large = [row for row in rows if row["threads"] == 1 and Shape(*row["shape"]).H == 512]
    if large:
        moved = ", ".join(
            f"{LABELS[row['cell']]} {row['floor']['bytes_moved'] / 1e6:.0f} MB "
            f"({row['floor']['bytes_moved'] / 1e9 / median(row, 'skrnn'):.1f} GB/s)"
            for row in large
        )
        pieces.append(f"Stored gates and states that are moved at H = 512, counted: {moved}.")
    return "\n\n".join(pieces)


def plain_table(part: str, rows: list[dict[str, Any]], unit: str = "ms", scale: float = 1e3) -> str:
    """Times with ratios, and targets where there are any."""
    names = columns(rows)
    lines = [[name_of(row), *[timed(row, name, scale) for name in names], verdict(part, row)] for row in rows]
    return table(["", *[f"{NAMES.get(name, name)}, {unit}" for name in names], "targets"], lines)


def ragged_table(part: str, rows: list[dict[str, Any]]) -> str:
    costs = ", ".join(f"{LABELS[row['cell']]} {row['per_real_step']:.2f}" for row in rows)
    steps = rows[0]["real_steps"], rows[0]["shape"][0] * rows[0]["shape"][1]
    text = f"Cost per real step ({steps[0]} steps), beside {steps[1]} steps of equal sequences: {costs}."
    return plain_table(part, rows) + "\n\n" + text


def whole_table(part: str, rows: list[dict[str, Any]]) -> str:
    errors = ", ".join(f"{NAMES[name]} {error:.3f}" for name, error in rows[0]["errors"].items())
    return plain_table(part, rows, "s", 1.0) + f"\n\nMean squared errors they end with: {errors}."


def first_fit_table(part: str, rows: list[dict[str, Any]]) -> str:
    lines = [
        [row["label"], number(median(row, "cold")), number(median(row, "warm")), verdict(part, row)]
        for row in rows
    ]
    return table(["first fit of a process", "empty cache, s", "warm cache, s", "targets"], lines)


def imports_table(part: str, rows: list[dict[str, Any]]) -> str:
    lines = [
        [
            row["label"],
            *[f"{median(row, name):.2f}" for name in ("base", "with_skrnn")],
            f"{row['added']['median']:.2f}",
            verdict(part, row),
        ]
        for row in rows
    ]
    return table(["import", "scikit-learn, numba, s", "with it, s", "added, s", "targets"], lines)


def memory_table(part: str, rows: list[dict[str, Any]]) -> str:
    names = ("skrnn", "pytorch", "skrnn_long")
    lines = []
    for row in rows:
        size = row["bytes"]
        cells = [number(size[name] / 1e6) if name in size else "–" for name in names]
        if "pytorch" in size and "skrnn" in size:
            cells[1] += f" ({size['pytorch'] / size['skrnn']:.2f}×)"
        lines.append([LABELS[row["cell"]], *cells])
    return table(["cell", "skrnn", "PyTorch", "skrnn, 100,000 steps"], lines)


def errors_table(part: str, rows: list[dict[str, Any]]) -> str:
    lines = [
        [row["label"], *[f"{error:.4f}" for error in row["errors"].values()], verdict(part, row)]
        for row in rows
        if row["errors"]
    ]
    return table(["", "float32", "bfloat16", "targets"], lines)


def sanitizer_table(part: str, rows: list[dict[str, Any]]) -> str:
    lines = [[row["label"], str(row.get("problems", "–")), verdict(part, row)] for row in rows]
    return table(["tool, cell", "problems", "targets"], lines)


TABLES = {
    "forward": network_tables,
    "training": network_tables,
    "ragged": ragged_table,
    "streaming": lambda part, rows: plain_table(part, rows, "µs", 1e6),
    "whole": whole_table,
    "first_fit": first_fit_table,
    "imports": imports_table,
    "memory": memory_table,
    "half_accuracy": errors_table,
    "gpu_training": network_table,
    "gpu_forward": network_table,
    "gpu_sanitizer": sanitizer_table,
}


# --- the whole ------------------------------------------------------------------------------------
def missed(results: Mapping[str, Any]) -> list[tuple[str, str, Target]]:
    """(part, row, target) of every target that is missed."""
    return [
        (part, name_of(row), target)
        for part, found in results["parts"].items()
        for row in found["rows"]
        for target in targets.of_row(part, row)
        if not target.met
    ]


def failed(results: Mapping[str, Any]) -> str:
    """Parts that broke off, with their errors."""
    lines = [
        f"- {TITLES[part]} broke off: {found['error']}"
        for part, found in results["parts"].items()
        if "error" in found
    ]
    return "\n".join(lines)


def missed_table(found: Iterable[tuple[str, str, Target]]) -> str:
    lines = [
        [f"{TITLES[part]}, {row}", target.what, f"{target.figure:.3f}", target.relation]
        for part, row, target in found
    ]
    return table(["missed", "", "figure", "target"], lines)


def heading(results: Mapping[str, Any]) -> str:
    c = results["conditions"]
    versions = ", ".join(f"{name} {number}" for name, number in c["versions"].items())
    dates = sorted(part["date"] for part in results["parts"].values())
    loads = [part["load"] for part in results["parts"].values() if part["load"] is not None]
    unset = " and ".join(f"`{name}`" for name in c["unset"])
    return (
        f"# Speed\n\nWritten by `python -m benchmarks.run{' --short' if results['short'] else ''}`, "
        f"{dates[0]} to {dates[-1]}.\n{c['cpu']}, {c['cores']} cores ({c['usable_cores']} usable), vectors "
        f"of {c['vector_bits']} bits, {c['system']};\nload average at the start of a part up to "
        f"{max(loads, default=0)}. Python {c['python']}, skrnn {c['skrnn']},\n{versions}.\n{unset} unset.\n"
        + HEADING.rstrip()
    )


def missed_of_all(results: Mapping[str, Any]) -> str:
    n = sum(
        len(targets.of_row(part, row)) for part, found in results["parts"].items() for row in found["rows"]
    )
    those = missed(results)
    return f"{len(those)} of {n} targets." + ("\n\n" + missed_table(those)) * bool(those)


def markdown(results: Mapping[str, Any], by_hand: str = "") -> str:
    pieces = [heading(results), "![Ratio of the peers' times to ours by hidden size](results.png)"]
    pieces += ["## Missed", missed_of_all(results), failed(results)]
    if by_hand:
        pieces.append(by_hand.strip())
    for part, title in TITLES.items():
        found = results["parts"].get(part)
        if found and found["rows"]:
            body = TABLES.get(part, plain_table)(part, found["rows"])
            pieces += [f"## {title}\n{TEXTS[part]}\n{body}", notes(found["rows"])]
    return "\n\n".join(piece for piece in pieces if piece) + "\n"


def gpu_conditions(results: Mapping[str, Any]) -> str:
    c = results["conditions"]
    if "driver" not in c:
        return f"{c['device']}."
    versions = ", ".join(f"{name} {number}" for name, number in c["versions"].items())
    dates = sorted(part["date"] for part in results["parts"].values())
    return (
        f"Written by `python -m benchmarks.gpu{' --short' if results['short'] else ''}`, {dates[0]} to "
        f"{dates[-1]}.\n{c['device']}, {c['memory_bytes'] / 2**30:.0f} GiB, {c['multiprocessors']} "
        f"multiprocessors; driver, power limit, highest clock: {c['driver']}; CUDA {c['cuda']['runtime']} "
        f"(driver's {c['cuda']['driver']}), cuDNN {c['cudnn']}.\nA copy moves "
        f"{c['peaks']['bytes_per_s'] / 1e9:.0f} GB/s, a product in float32 takes "
        f"{c['peaks']['flops_per_s'] / 1e12:.1f} TFLOP/s. {c['cpu']}, Python {c['python']}, "
        f"skrnn {c['skrnn']},\n{versions}."
    )


def gpu_clocks(results: Mapping[str, Any]) -> str:
    """Clocks at the ends of the rows, and the rows whose clock was held back."""
    rows = [row for found in results["parts"].values() for row in found["rows"] if row.get("states")]
    states = [state for row in rows for state in row["states"] if state]
    if not states:
        return "Clocks, power and temperature: not known." if rows else ""

    def ends(name: str) -> str:
        values = [state[name] for row in rows for state in row["states"][1::2] if state and state[name]]
        return f"{min(values):.0f} to {max(values):.0f}" if values else "not known"

    highest = max((state["highest_clock"] or 0 for state in states), default=0)
    where: dict[str, list[str]] = {}
    for row in rows:
        for reason in dict.fromkeys(r for state in row["states"] if state for r in state["held_back"]):
            where.setdefault(reason, []).append(name_of(row))
    held = [f"- held back by {reason}: {', '.join(at)}" for reason, at in where.items()]
    return (
        f"At the ends of rows: clocks of {ends('clock')} MHz, of {highest:.0f} at most; {ends('watts')} W; "
        f"{ends('degrees')} degrees Celsius.\n"
        + ("\n" + "\n".join(held) if held else "No clock was held back at the beginning or end of a row.")
    )


def tiles_markdown(results: Mapping[str, Any] | None) -> str:
    """What the tiles take of a multiprocessor, by ranges of hidden units."""
    if results is None:
        return "Not compiled."
    kinds = list(dict.fromkeys(kind for row in results["rows"] for kind in row["blocks"]))
    lines = []
    for row in results["rows"]:
        network = f"{TILES_OF[row['cell']]}, {row['dtype']}"
        low, high = row["shared"]
        kib = between(low / 1024, high / 1024, ".1f")
        lines.append([
            network, between(*row["units"]), between(*row["threads"]), kib,
            *[tile_on(kind, row) for kind in kinds],
        ])  # fmt: skip
    header = ["network", "hidden units", "threads", "shared memory, KiB", *kinds]
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    return table(header, lines) + f"\n\nWritten by `python -m benchmarks.tiles`, with {versions}."


def between(low: float, high: float, form: str = "d") -> str:
    return f"{low:{form}}" if low == high else f"{low:{form}} to {high:{form}}"


def tile_on(kind: str, row: Mapping[str, Any]) -> str:
    """Registers, bytes spilled and blocks on a kind of GPU, both kernels together."""
    if kind not in row["blocks"]:
        return "–"
    taken = [kinds[kind] for tile in row["compiled"].values() for kinds in tile.values() if kind in kinds]
    registers, spills = ([use[what] for use in taken] for what in ("registers", "spill_stores"))
    end = "" if row["last"][kind] == row["units"][1] else f" (to {row['last'][kind]})"
    figures = [(min(registers), max(registers)), (min(spills), max(spills)), row["blocks"][kind]]
    return "; ".join(between(*pair) for pair in figures) + end


def gpu_markdown(
    results: Mapping[str, Any] | None, tiles: Mapping[str, Any] | None = None, by_hand: str = ""
) -> str:
    """The GPU's section; without results, what it will hold."""
    pieces = ["## GPU", GPU_COMMAND.strip()]
    if results is None:
        pieces.append("Device, driver, versions and every figure: not measured.")
    else:
        pieces += [gpu_conditions(results), gpu_clocks(results), missed_of_all(results), failed(results)]
    pieces.append(GPU_HEADING.strip())
    if by_hand:
        pieces.append(by_hand.strip())
    for part in (part for part in TITLES if part.startswith("gpu_")):
        found = results["parts"].get(part, {"rows": []}) if results else {"rows": []}
        body = TABLES.get(part, plain_table)(part, found["rows"]) if found["rows"] else "Not measured."
        pieces += [f"### {TITLES[part]}\n{TEXTS[part]}\n{body}", notes(found["rows"])]
    pieces += [f"### GPU: tiles\n{TILES}\n{tiles_markdown(tiles)}"]
    return "\n\n".join(piece for piece in pieces if piece) + "\n"


def plot(results: Mapping[str, Any], path: Path) -> None:
    """Ratios by hidden size, one thread: a panel for each cell and kind of work."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter, NullFormatter

    parts = [part for part in ("forward", "training") if part in results["parts"]]
    if not parts:
        return
    figure, axes = plt.subplots(
        len(parts), len(CELLS), figsize=(11, 3.4 * len(parts)), sharex=True, squeeze=False
    )
    lines = {}
    for axis_row, part in zip(axes, parts):
        for axis, cell in zip(axis_row, CELLS):
            points: dict[str, list[tuple[int, float]]] = {}
            for row in results["parts"][part]["rows"]:
                shape = Shape(*row["shape"])
                if row["cell"] == cell and row["threads"] == 1 and shape.plain and shape.B > 1:
                    for name, ratio in row["ratios"].items():
                        points.setdefault(name, []).append((shape.H, ratio["ratio"]))
            for name, xy in points.items():
                color = f"C{list(PEERS).index(name)}"
                lines[NAMES[name]] = axis.plot(*zip(*sorted(xy)), "o-", color=color, ms=4)[0]
            axis.axhline(1, color="0.3", lw=1)
            axis.set_xscale("log", base=2)
            axis.set_yscale("log", base=2)
            for which in (axis.xaxis, axis.yaxis):
                which.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.yaxis.set_minor_formatter(NullFormatter())
            axis.grid(alpha=0.3, which="both")
            axis.set_title(f"{LABELS[cell]}, {TITLES[part].lower()}")
    for axis in axes[-1]:
        axis.set_xlabel("hidden units")
    for axis in axes[:, 0]:
        axis.set_ylabel("time of peer / skrnn")
    figure.legend(lines.values(), lines, loc="outside lower center", ncols=len(lines), frameon=False)
    figure.set_layout_engine("constrained")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def stored(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def whole(folder: Path) -> str:
    """The report of what is stored in a folder, with notes that are written by hand there."""
    cpu, gpu, tiles = (stored(folder / f"results{of}.json") for of in ("", "_gpu", "_tiles"))
    by_hand, gpu_by_hand = (
        path.read_text(encoding="utf-8") if path.exists() else ""
        for path in (folder / "notes.md", folder / "notes_gpu.md")
    )
    text = markdown(cpu, by_hand) + "\n" if cpu else ""
    return text + gpu_markdown(gpu, tiles, gpu_by_hand) if gpu or tiles else text


def write(folder: Path) -> None:
    """``RESULTS.md`` from what is stored in the folder."""
    (folder / "RESULTS.md").write_text(whole(folder), encoding="utf-8")
    print(f"written to {folder / 'RESULTS.md'}")


if __name__ == "__main__":
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    if results := stored(where / "results.json"):
        plot(results, where / "results.png")
    write(where)
