"""skrnn's side of the comparisons."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from numba import njit

import skrnn
from benchmarks.shapes import BETAS, EPSILON, LEARNING_RATE, MAX_NORM, Shape, data, weights
from benchmarks.work import Work, work
from skrnn import backends, losses
from skrnn.backends import cpu
from skrnn.backends.cpu import gemm, simd
from skrnn.batches import Jobs, Steps
from skrnn.links import Objective
from skrnn.losses import Loss
from skrnn.network import Network
from skrnn.optimizers import SetUp
from skrnn.recipe import recurrent_network
from skrnn.sequences import Sequences, Targets
from skrnn.training import Data, Settings, Trainer

FLOAT = np.dtype(np.float32)
REPEATS = 64  # minibatches that a device is given to do at a time, as in an epoch


# --- inside: networks on prepared arrays ----------------------------------------------------------
def network(cell: str, shape: Shape, threads: int, dtype: str = "float32", **options) -> tuple[Network, Any]:
    """The network and its flat parameters."""
    network = recurrent_network(
        shape.F,
        1,
        cell=cell,
        hidden_size=shape.H,
        num_layers=shape.layers,
        bidirectional=shape.directions == 2,
        n_threads=threads,
        dtype=dtype,
        **options,
    )
    return network, network.pack(weights(cell, shape))


def prepared(net: Network, X: list[np.ndarray]) -> tuple[Steps, dict[str, Any]]:
    """A minibatch as the network reads it: its layout, and its values in packed order."""
    sequences = Sequences.from_arrays(X)
    jobs = Jobs(sequences.lengths, len(X), None)
    jobs.plan(np.arange(len(X)))
    steps, tape = jobs.room(), cpu.Tape()
    rows = net.record(tape, steps).read(sequences, jobs)
    tape.run()
    return steps, rows


def forward(cell: str, shape: Shape, threads: int, dtype: str = "float32") -> Work:
    """The network on prepared arrays, nothing kept for a backward pass."""
    net, params = network(cell, shape, threads, dtype)
    steps, rows = prepared(net, list(data(shape)[0]))
    tape = cpu.Tape(threads)
    out = net.forward(net.record(tape, steps, params), rows)
    flops = net.flops(shape.B * shape.T)

    def result():
        tape.run()
        return out.array.reshape(-1, out.row)[: shape.B, :1]

    return work(lambda: tape.run(1, flops), result)


def adam(net: Network) -> Any:
    return net.backend.Optimizer(SetUp(
        "adam", net.parameters.decay_ranges, net.size, FLOAT, alpha=0.0, momentum=0.9, nesterov=True,
        beta_1=BETAS[0], beta_2=BETAS[1], epsilon=EPSILON, max_norm=MAX_NORM,
    ))  # fmt: skip


def record_update(tape: cpu.Tape, net: Network, params, rows, steps: Steps, y: np.ndarray) -> None:
    """Forward, squared error, back-propagation through time, clipping, Adam."""
    optimizer = adam(net)
    grads, statistics, first = cpu.aligned(net.size, FLOAT), np.zeros(3), np.zeros(1, np.intp)
    rec = net.record(tape, steps, params, grads, keep=True)
    loss = Objective("out", 1, losses.squared_error, Targets(y), None, statistics, first)
    loss.forward(rec, net.forward(rec, rows))
    net.backward(rec, *loss.backward(rec, need=(True,)))
    optimizer.update(tape, params, grads, np.array([LEARNING_RATE]), statistics, first)


def training_step(cell: str, shape: Shape, threads: int, dtype: str = "float32") -> Work:
    """One update from a prepared minibatch; the result is the head's weights after it."""
    net, params = network(cell, shape, threads, dtype)
    X, y = data(shape)
    steps, rows = prepared(net, list(X))
    tape = cpu.Tape(threads)
    record_update(tape, net, params, rows, steps, y[:, None])
    flops = net.flops(shape.B * shape.T, training=True)
    return work(lambda: tape.run(1, flops), lambda: net.unpack(params)["head.weight"])


def ragged_training_step(cell: str, shape: Shape, lengths: np.ndarray, threads: int) -> Work:
    """One update from sequences of several lengths, cut out of X; sorting and gathering count."""
    net, params = network(cell, shape, threads)
    X, y = data(shape)
    sequences = Sequences.from_arrays([x[:n] for x, n in zip(X, lengths)])
    jobs, tape = Jobs(sequences.lengths, len(X), None), cpu.Tape(threads)
    steps = jobs.room()
    rows = net.record(tape, steps).read(sequences, jobs)
    record_update(tape, net, params, rows, steps, y[:, None])
    flops = net.flops(sequences.n_steps, training=True)

    def run():
        jobs.plan(np.arange(len(X)))
        tape.run(1, flops)

    return work(run, lambda: net.unpack(params)["head.weight"])


# --- inside: a device, which reads its minibatches from its own memory ----------------------------
def over_again(shape: Shape, lengths: np.ndarray | None = None) -> Data:
    """One minibatch, cut to `lengths`, as `REPEATS` neighbouring ones that share their rows."""
    X, y = data(shape)
    lengths = np.full(shape.B, shape.T) if lengths is None else lengths
    once = Sequences.from_dense(X)
    sequences = Sequences(once.values, once.starts, lengths.astype(np.intp))
    again = np.tile(np.arange(shape.B), REPEATS)
    return Data(sequences.take(again), Targets(y[again, None]), None)


def replays(tape, jobs: Jobs, turn: Callable[[], Any], flops: float) -> Callable[[int], float]:
    """``sample(calls)``: minibatch after minibatch, until the device has done with the last one."""

    def sample(calls: int) -> float:
        start = time.perf_counter()
        with turn():
            for done in range(0, calls, REPEATS):
                jobs.plan(np.arange(len(jobs.order)))
                tape.run(min(REPEATS, calls - done), flops)
        return time.perf_counter() - start

    return sample


def device_forward(cell: str, shape: Shape, device: str, tf32: bool = False) -> Work:
    """Reading and forward pass of minibatches in the device's memory, nothing kept for a backward pass."""
    sequences = over_again(shape).sequences
    jobs, turn = Jobs(sequences.lengths, shape.B, None), partial(backends.turn, device, tf32)
    with turn():
        (net, params), steps = network(cell, shape, 1, device=device), jobs.room()

        def recorded():
            tape = net.backend.Tape(1)
            rec = net.record(tape, steps, params)
            return tape, rec, net.forward(rec, net.read(rec, sequences, jobs))

        (tape, *_), (watched, rec, out) = recorded(), recorded()  # in the same memory
        shown = net.backend.watch(rec, out)
    flops = net.flops(shape.B * shape.T)

    def result():
        replays(watched, jobs, turn, flops)(1)
        return np.array(shown[: shape.B, :1])

    return Work(replays(tape, jobs, turn, flops), result)


def new_trainer(
    net: Network, params: Any, loss: Loss, data: Data, batch_size: int, tbptt_steps: int | None = None
) -> Trainer:
    """With the benchmarks' settings, at a constant rate."""
    settings = Settings(
        batch_size=batch_size, learning_rate="constant", learning_rate_init=LEARNING_RATE, warmup_steps=0,
        max_grad_norm=MAX_NORM, tbptt_steps=tbptt_steps, max_iter=1, shuffle=False, tol=0.0,
        n_iter_no_change=1, early_stopping=False,
    )  # fmt: skip
    trainer = Trainer(net, params, adam(net), loss, settings, None, 0, data)
    trainer.rates[:] = LEARNING_RATE
    return trainer


def device_training_step(
    cell: str, shape: Shape, device: str, tf32: bool = False, lengths: np.ndarray | None = None
) -> Work:
    """The update of a fit: minibatches in the device's memory are sorted, read and learnt from."""
    batches, turn = over_again(shape, lengths), partial(backends.turn, device, tf32)
    with turn():
        net, params = network(cell, shape, 1, device=device)
        trainer = new_trainer(net, params, losses.squared_error, batches, shape.B)
    flops = net.flops(batches.sequences.n_steps / REPEATS, training=True)

    def result():
        with turn():
            return net.unpack(trainer.params)["head.weight"]

    return Work(replays(trainer.tape, trainer.jobs, turn, flops), result)


# --- inside: the machine --------------------------------------------------------------------------
@cache
def microkernel(depth: int = 128, times: int = 200) -> tuple[Work, float]:
    """The tile that all matrix products are made of, on operands in the L1 cache; its FLOPs per call."""
    width = 4
    rows = gemm.TALLEST[width]  # sums fill the registers
    multiply, columns = gemm.make_multiply(width), width * simd.lanes(FLOAT)

    @njit(nogil=True, error_model="numpy")
    def loop(a, b, c):
        for _ in range(times):
            multiply(rows, a, 0, depth, 1, 0, b, 0, columns, c, 0, columns, depth, 1)

    operands = [cpu.aligned(n, FLOAT) for n in (rows * depth, depth * columns, rows * columns)]
    for operand in operands:
        operand[:] = 0
    return work(lambda: loop(*operands), lambda: operands[2]), 2.0 * times * rows * columns * depth


def has_bfloat16() -> bool:
    return cpu.supports_bfloat16()


def vector_bits() -> int:
    return 8 * simd.machine().vector_bytes


# --- outside: estimators --------------------------------------------------------------------------
def estimator(cell: str, H: int, **parameters):
    """An unfitted regressor with the benchmarks' settings of training."""
    cls = {"rnn": skrnn.RNNRegressor, "lstm": skrnn.LSTMRegressor, "gru": skrnn.GRURegressor}[cell]
    settings = {
        "batch_size": 32, "learning_rate_init": LEARNING_RATE, "max_grad_norm": MAX_NORM, "alpha": 0.0,
        "random_state": 0,
    }  # fmt: skip
    return cls(H, **settings | parameters)


def epoch(cell: str, shape: Shape, n: int, threads: int, epochs: int = 2, **parameters) -> Work:
    """An epoch of `fit`: what lies between neighbouring entries of ``history_["seconds"]``.

    That is everything an epoch costs, from the order of the minibatches to the callbacks, and nothing
    that a fit does once (validation of X, packing of the weights), as PyTorch's loop has its tensors
    and its optimiser ready too.
    """
    X, y = data(shape, n)
    model = estimator(
        cell, shape.H, max_iter=1 + epochs, n_iter_no_change=1 + epochs, n_jobs=threads, batch_size=shape.B,
        **parameters,
    )  # fmt: skip

    def sample(calls: int) -> float:
        return calls * float(np.mean(np.diff(model.fit(X, y).history_["seconds"])))

    return Work(sample, lambda: model.loss_curve_)


def predict(cell: str, shape: Shape, threads: int) -> Work:
    """`predict` of a fitted estimator, validation of X and all."""
    X, y = data(shape)
    model = estimator(cell, shape.H, max_iter=1, n_jobs=threads)
    model.fit(*data(shape, 32)).set_weights(weights(cell, shape))
    return work(lambda: model.predict(X))


def stream(cell: str, F: int, H: int) -> Work:
    """One step of one sequence, the state carried from call to call."""
    shape = Shape(1, 10, F, H)
    model = estimator(cell, H, max_iter=1, n_jobs=1)
    model.fit(*data(shape, 32)).set_weights(weights(cell, shape))
    state, x = model.stream(batch=1), data(shape)[0][:, 0]  # (1, F)
    return work(lambda: state.step(x))
