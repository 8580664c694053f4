"""The least time this machine needs for a piece of work: its arithmetic at the speed of registers.

The floor is the FLOPs of the matrix products at the measured peak of the micro-kernel, plus 0.2 ns for
every activation. The peak is measured in the same rounds as the work, so that both meet one clock.
"""

from __future__ import annotations

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
