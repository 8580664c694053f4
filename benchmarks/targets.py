"""What each row of the report is measured against."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from benchmarks.compare import DIFFER
from benchmarks.shapes import LABELS, SINGLE, Shape

# Ratio of PyTorch's time to ours, by hidden units; one thread.
TRAINING = {
    "lstm": {16: 5, 32: 3, 64: 2, 128: 1.5, 256: 1.5, 512: 1.25},
    "gru": {16: 30, 32: 16, 64: 7, 128: 4.2, 256: 2.7, 512: 2.4},
    "rnn": {16: 15, 32: 14, 64: 7, 128: 4, 256: 2.7, 512: 2.3},
}
# The same of the faster of PyTorch and ONNX Runtime.
FORWARD = {
    "lstm": {16: 2.7, 32: 1.7, 64: 1.2, 128: 1.05, 256: 1.0, 512: 0.95},
    "gru": {16: 4, 32: 2.8, 64: 2, 128: 1.5, 256: 1.35, 512: 1.2},
    "rnn": {16: 4, 32: 2.8, 64: 2, 128: 1.5, 256: 1.35, 512: 1.2},
}
SINGLE_FORWARD = {"onnx_runtime": 1.8, "pytorch": 7}  # an LSTM on one sequence
SHARE_OF_FLOOR = {"forward": 0.92, "training": 0.86}  # with 128 and 256 hidden units
TWO_THREADS, NO_SLOWER = 1.7, 0.97  # times one thread from H=128 on; elsewhere, 3 % for noise
EPOCH = 1.10  # of its training steps, from H=32 on
RAGGED, PER_REAL_STEP = 10, 1.15
STREAM_MICROSECONDS, STREAM = 3, {"onnx_runtime": 2.5, "pytorch": 15}
WHOLE, COLD_SECONDS = 1.8, 6
IMPORT_SECONDS = 0.3
HALF_SPEED, HALF_WORSE = 1.3, 0.01
GPU_SMALL, GPU_GRU, GPU_RAGGED, GPU_NO_SLOWER = 1.5, 2, 2, 1  # PyTorch's time with cuDNN to ours


class Target(NamedTuple):
    """A figure beside its bound."""

    what: str
    figure: float
    bound: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        return self.figure >= self.bound if self.at_least else self.figure <= self.bound

    @property
    def relation(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.bound:g}"


def ratios(row: Mapping[str, Any], names) -> dict[str, float]:
    """Of the peers that took part."""
    return {name: row["ratios"][name]["ratio"] for name in names if name in row["ratios"]}


def median(row: Mapping[str, Any], name: str) -> float:
    return row["times"][name]["median"]


def two_threads(row: Mapping[str, Any]) -> Iterator[Target]:
    bound = TWO_THREADS if Shape(*row["shape"]).H >= 128 else NO_SLOWER
    yield Target("times one thread", row["ratios"]["skrnn_one_thread"]["ratio"], bound)
    for ratio in ratios(row, ["pytorch"]).values():
        yield Target("PyTorch / skrnn", ratio, 1.0)


# --- by part --------------------------------------------------------------------------------------
def network(part: str, row: Mapping[str, Any]) -> Iterator[Target]:
    cell, shape, threads = row["cell"], Shape(*row["shape"]), row["threads"]
    theirs = ratios(row, ("pytorch", "onnx_runtime"))
    if threads > 1:
        yield from two_threads(row)
        return
    if shape == SINGLE:
        if part == "forward" and cell == "lstm":
            if "onnx_runtime" in theirs:
                yield Target("ONNX Runtime / skrnn", theirs["onnx_runtime"], SINGLE_FORWARD["onnx_runtime"])
            if "pytorch" in theirs:
                yield Target("PyTorch / skrnn", theirs["pytorch"], SINGLE_FORWARD["pytorch"])
    elif shape.plain and part == "forward" and theirs:
        yield Target("faster of the two / skrnn", min(theirs.values()), FORWARD[cell][shape.H])
    elif shape.plain and part == "training" and "pytorch" in theirs:
        yield Target("PyTorch / skrnn", theirs["pytorch"], TRAINING[cell][shape.H])
    if shape.plain and shape.H in (128, 256):
        share = row["floor"]["seconds"] / median(row, "skrnn")
        yield Target("share of the floor", share, SHARE_OF_FLOOR[part])


def epoch(part: str, row: Mapping[str, Any]) -> Iterator[Target]:
    if row["threads"] > 1:
        yield from two_threads(row)
    elif Shape(*row["shape"]).H >= 32:
        cost = median(row, "skrnn") / median(row, "skrnn_steps")
        yield Target("epoch / its training steps", cost, EPOCH, at_least=False)


def ragged(part: str, row: Mapping[str, Any]) -> Iterator[Target]:
    for ratio in ratios(row, ["pytorch_ragged_packed"]).values():
        yield Target("PyTorch packed / skrnn", ratio, RAGGED)
    yield Target("cost per real step, ragged / all long", row["per_real_step"], PER_REAL_STEP, at_least=False)


def streaming(part: str, row: Mapping[str, Any]) -> Iterator[Target]:
    if row["cell"] == "lstm":
        yield Target("microseconds", 1e6 * median(row, "skrnn"), STREAM_MICROSECONDS, at_least=False)
    for name, label in {"onnx_runtime": "ONNX Runtime", "pytorch": "PyTorch"}.items():
        for ratio in ratios(row, [name]).values():
            yield Target(f"{label} / skrnn", ratio, STREAM[name])


def whole(part: str, row: Mapping[str, Any]) -> Iterator[Target]:
    for name, label in {"pytorch": "PyTorch", "skorch_net": "skorch", "keras_layers": "Keras"}.items():
        for ratio in ratios(row, [name]).values():
            yield Target(f"{label} / skrnn", ratio, WHOLE)


def first_fit(part: str, row: Mapping[str, Any]) -> Iterator[Target]:
    more = median(row, "cold") - median(row, "warm")
    yield Target("empty cache - warm cache, seconds", more, COLD_SECONDS, at_least=False)


def imports(part: str, row: Mapping[str, Any]) -> Iterator[Target]:
    if row["label"] != "every public name":  # it takes in pandas
        yield Target("added, seconds", row["added"]["median"], IMPORT_SECONDS, at_least=False)


def half_speed(part: str, row: Mapping[str, Any]) -> Iterator[Target]:
    if row["kind"] == "training_step" and Shape(*row["shape"]).H >= 128:
        yield Target("float32 / bfloat16", 1 / row["ratios"]["skrnn_bfloat16"]["ratio"], HALF_SPEED)


def gpu_bound(cell: str, shape: Shape) -> float | None:
    """Of a training step beside cuDNN; none for large batches of large networks, nor for 1024 units."""
    if shape.H <= 128:
        return GPU_SMALL
    if cell == "gru" and shape.H == 256:
        return GPU_GRU
    return GPU_NO_SLOWER if shape.H <= 512 and shape.B <= 256 else None


def beside_cudnn(row: Mapping[str, Any], names: Iterable[str], bound: float | None) -> Iterator[Target]:
    """The fastest of the peers; 0 where one was at hand and ours did not run, or computed something else."""
    theirs = ratios(row, names)
    ran = [name for name in names if name in row["times"]]
    failed = any(DIFFER in row["notes"].get(name, "") for name in names) or ("skrnn" in row["notes"] and ran)
    if bound and (theirs or failed):
        yield Target("PyTorch / skrnn", min(theirs.values(), default=0.0), bound)


def gpu_training(part: str, row: Mapping[str, Any]) -> Iterator[Target]:
    names = ["pytorch", "pytorch_graph"]
    yield from beside_cudnn(row, names, gpu_bound(row["cell"], Shape(*row["shape"])))


def gpu_ragged(part: str, row: Mapping[str, Any]) -> Iterator[Target]:
    names = ["pytorch_ragged_packed", "pytorch_ragged_padded", "pytorch_ragged_padded_graph"]
    yield from beside_cudnn(row, names, GPU_RAGGED if Shape(*row["shape"]).H <= 512 else None)


def gpu_sanitizer(part: str, row: Mapping[str, Any]) -> Iterator[Target]:
    if "problems" in row:
        yield Target("problems", row["problems"], 0, at_least=False)


def half_accuracy(part: str, row: Mapping[str, Any]) -> Iterator[Target]:
    if row["errors"]:
        single, half = row["errors"]["float32"], row["errors"]["bfloat16"]
        worse = half - single if "share" in row["label"] else half / single - 1
        yield Target("worse by", worse, HALF_WORSE, at_least=False)


BY_PART = {
    "forward": network,
    "training": network,
    "epoch": epoch,
    "ragged": ragged,
    "streaming": streaming,
    "whole": whole,
    "first_fit": first_fit,
    "imports": imports,
    "half_speed": half_speed,
    "gpu_training": gpu_training,
    "gpu_ragged": gpu_ragged,
    "gpu_sanitizer": gpu_sanitizer,
    "half_accuracy": half_accuracy,
}


def of_row(part: str, row: Mapping[str, Any]) -> list[Target]:
    """The targets of a row; none where a part has none, or what it is compared with is missing."""
    return list(BY_PART[part](part, row)) if part in BY_PART else []


def name_of(row: Mapping[str, Any]) -> str:
    """What a row is about, in words."""
    if "cell" not in row:
        return row.get("label", "LSTM of 64, 10 epochs")
    kind = f"{row['kind'].replace('_', ' ')}, " if "kind" in row else ""
    threads = "" if row["threads"] == 1 else f", {row['threads']} threads"
    return f"{kind}{LABELS[row['cell']]} ({Shape(*row['shape'])}){threads}"


def slower(new: Mapping[str, Any], old: Mapping[str, Any], share: float = 0.85) -> list[str]:
    """Rows whose ratio to PyTorch has fallen to less than `share` of what it was."""
    found = []
    for part, rows in new["parts"].items():
        before = {name_of(row): row for row in old["parts"].get(part, {"rows": []})["rows"]}
        for row in rows["rows"]:
            now = ratios(row, ["pytorch"]) if "ratios" in row else {}
            then = before.get(name_of(row))
            then = ratios(then, ["pytorch"]) if then and "ratios" in then else {}
            if now and then and now["pytorch"] < share * then["pytorch"]:
                found.append(
                    f"{part}, {name_of(row)}: {now['pytorch']:.2f} x PyTorch, was {then['pytorch']:.2f}"
                )
    return found
