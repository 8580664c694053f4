"""The least time this machine needs for a piece of work: its arithmetic at the speed of registers.

The floor is the FLOPs of the matrix products at the measured peak of the micro-kernel, plus 0.2 ns for
every activation. The peak is measured in the same rounds as the work, so that both meet one clock.

A GPU's floor is the longer of two times: the same FLOPs at the speed of a large product in float32, and the
bytes that have to pass its memory at the speed of a copy. That the steps wait for each other is not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.shapes import GATES, Shape

ACTIVATION = 0.2e-9  # seconds
# Per unit and step. An LSTM's backward pass takes tanh(c) again.
ACTIVATIONS = {
    "forward": {"lstm": 5, "gru": 3, "rnn": 1},
    "training_step": {"lstm": 6, "gru": 3, "rnn": 1},
}
SLOTS = {"lstm": 4, "gru": 4, "rnn": 1}  # kept for the backward pass: the gates, for a GRU also U h + b
STATES = {"lstm": 2, "gru": 1, "rnn": 1}


def matrix_flops(kind: str, cell: str, shape: Shape) -> float:
    """Of the recurrent layers. Training takes three products for each of the forward pass, but no
    gradient of the first layer's input."""
    B, T, _, H, _, directions = shape
    unit = 2.0 * B * T * GATES[cell] * H * directions
    forward = sum(unit * (n_in + H) for n_in in shape.inputs())
    return forward if kind == "forward" else 3 * forward - unit * shape.F


def activations(kind: str, cell: str, shape: Shape) -> float:
    B, T, _, H, layers, directions = shape
    return float(ACTIVATIONS[kind][cell] * B * T * H * layers * directions)


def bytes_moved(kind: str, cell: str, shape: Shape) -> float:
    """Bytes of stored gates and states, float32, where no cache keeps them from one use to the next.

    Forward: each state is written and read by the next step. Training adds, for the gates: written;
    read and overwritten by their gradients; those read for the gradients of the states and of the
    weights. For the states: read again by the cell's backward pass, `h` also for the weights.
    """
    B, T, _, H, layers, directions = shape
    times = 2 * STATES[cell]
    if kind != "forward":
        times += 5 * SLOTS[cell] + STATES[cell] + 1
    return 4.0 * times * B * T * H * layers * directions


def peak_gflops(seconds: float | None = None) -> float:
    """Speed of one thread's micro-kernel, from seconds per call of `ours.microkernel`, or measured."""
    from benchmarks import ours, timing

    kernel, flops = ours.microkernel()
    if seconds is None:
        rounds = timing.interleave({"microkernel": kernel}, timing.SHORT)
        seconds = timing.summary(rounds["microkernel"])["median"]
    return flops / seconds / 1e9


def floor(kind: str, cell: str, shape: Shape, threads: int, peak: float) -> dict[str, Any]:
    """The floor in seconds, and what it is made of."""
    flops, n = matrix_flops(kind, cell, shape), activations(kind, cell, shape)
    return {
        "seconds": (flops / (peak * 1e9) + n * ACTIVATION) / threads,
        "flops": flops,
        "activations": n,
        "peak_gflops": peak,
        "bytes_moved": bytes_moved(kind, cell, shape),
    }


# --- of a GPU -------------------------------------------------------------------------------------
COPIED, MULTIPLIED = 1 << 28, 8192  # numbers of the copy, rows and columns of the product


def parameters(cell: str, shape: Shape) -> int:
    rows = GATES[cell] * shape.H
    layers = sum(rows * (n_in + shape.H + 2) for n_in in shape.inputs())
    return shape.directions * (layers + shape.H) + 1


def least_bytes(kind: str, cell: str, shape: Shape) -> float:
    """Bytes, float32, that have to be moved where no cache is large enough for a minibatch.

    Forward: what each layer reads, what the layers below the top write, the weights. Training: the inputs are
    read again for the gradients of the weights; gates and states are written and read back; beside the
    weights that the forward pass reads, gradients are written, Adam reads them, weights and two moments, and
    writes the last three.
    """
    B, T, _, H, layers, directions = shape
    inputs = B * T * sum(n_in for n_in in shape.inputs())
    states = B * T * H * directions
    n = parameters(cell, shape)
    if kind == "forward":
        return 4.0 * (inputs + states * (layers - 1) + n)
    return 4.0 * (2 * inputs + 2 * (SLOTS[cell] + STATES[cell]) * states * layers + 9 * n)


def device_peaks(xp: Any, finish: Callable[[], Any], small: bool = False) -> dict[str, float]:
    """Bytes per second of a copy and FLOPs per second of a product, on arrays of CuPy (or of NumPy)."""
    from benchmarks import timing
    from benchmarks.work import work

    n, m = (COPIED >> 10, MULTIPLIED >> 5) if small else (COPIED, MULTIPLIED)
    source, target = xp.zeros(n, xp.float32), xp.empty(n, xp.float32)
    a, b = xp.random.random((2, m, m)).astype(xp.float32)
    out = xp.empty((m, m), xp.float32)
    works = {
        "copy": work(lambda: xp.copyto(target, source), finish=finish),
        "product": work(lambda: xp.matmul(a, b, out=out), finish=finish),
    }
    rounds = timing.interleave(works, timing.Plan(2.0, 7, 41, sample=0.01))
    seconds = {name: timing.summary(each)["median"] for name, each in rounds.items()}
    return {"bytes_per_s": 8.0 * n / seconds["copy"], "flops_per_s": 2.0 * m**3 / seconds["product"]}


def device_floor(kind: str, cell: str, shape: Shape, peaks: Mapping[str, float]) -> dict[str, float]:
    flops, moved = matrix_flops(kind, cell, shape), least_bytes(kind, cell, shape)
    seconds = max(flops / peaks["flops_per_s"], moved / peaks["bytes_per_s"])
    return {"seconds": seconds, "flops": flops, "bytes": moved}
