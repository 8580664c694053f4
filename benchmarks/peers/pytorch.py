"""PyTorch, in the forms that are fastest for it: time-major where the data may be prepared, the fused
Adam, no loss read back, no gradient for the input."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import mse_loss
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pack_padded_sequence

from benchmarks.shapes import BETAS, EPSILON, LEARNING_RATE, MAX_NORM, Shape, data, time_major, weights
from benchmarks.work import Work, nothing, work

WARM_UPS = 3  # of what is captured: PyTorch's advice

LAYERS = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


class Net(torch.nn.Module):
    """The recurrent layers and one output from the last states."""

    def __init__(self, cell: str, shape: Shape, batch_first: bool = False) -> None:
        super().__init__()
        self.shape, self.has_c = shape, cell == "lstm"
        self.rnn = LAYERS[cell](
            shape.F,
            shape.H,
            num_layers=shape.layers,
            bidirectional=shape.directions == 2,
            batch_first=batch_first,
        )
        self.head = torch.nn.Linear(shape.H * shape.directions, 1)

    def forward(self, X):
        _, state = self.rnn(X)
        h = state[0] if self.has_c else state
        return self.head(h[-1] if self.shape.directions == 1 else torch.cat((h[-2], h[-1]), 1))


def network(cell: str, shape: Shape, batch_first: bool = False, device: str = "cpu") -> Net:
    net = Net(cell, shape, batch_first)
    arrays = weights(cell, shape)
    names = {name: name if name.startswith("head") else f"rnn.{name}" for name in arrays}
    net.load_state_dict({names[name]: torch.from_numpy(array) for name, array in arrays.items()})
    return net.to(device)


def tensors(arrays, device: str):
    return [torch.from_numpy(array).to(device) for array in arrays]


def with_tf32(call, tf32: bool):
    """It is a setting of the process, so every call sets it."""

    def called(*arguments):
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        return call(*arguments)

    return called


def placed(run, result, device: str, tf32: bool) -> Work:
    """Work on a device, which is waited for; the result is what `run` returns unless `result` is given."""
    finish, result = nothing if device == "cpu" else torch.cuda.synchronize, result or run
    inner = work(run, lambda: result().cpu().numpy(), finish)
    return Work(*(with_tf32(call, tf32) for call in inner))


def captured(run, restore, device: str, tf32: bool):
    """A function that replays `run` as one CUDA graph, on the same tensors; on the CPU, `run` itself.

    restore: undoes what the runs before the capture have changed, in place.
    """
    if device == "cpu":
        return run
    run, stream = with_tf32(run, tf32), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    restore()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        answer = run()

    def replay(captured=run):  # kept: what it holds of the memory is the graph's, too
        graph.replay()
        return answer

    return replay


class Updater:
    """``update(loss)``: the backward pass, clipping and Adam; in a CUDA graph if `graph`."""

    def __init__(self, net: Net, graph: bool = False) -> None:
        self.params = list(net.parameters())
        self.first = [param.detach().clone() for param in self.params]
        self.adam = torch.optim.Adam(
            self.params, lr=LEARNING_RATE, betas=BETAS, eps=EPSILON, fused=True,
            capturable=graph and self.params[0].is_cuda,
        )  # fmt: skip

    def __call__(self, loss):
        loss.backward()
        clip_grad_norm_(self.params, MAX_NORM)
        self.adam.step()
        self.adam.zero_grad()

    @torch.no_grad()
    def restore(self):
        """The first weights, and no steps of Adam, in the same memory."""
        for param, first in zip(self.params, self.first):
            param.copy_(first)
        for state in self.adam.state.values():
            for moment in state.values():
                moment.zero_()


# --- prepared arrays ------------------------------------------------------------------------------
def forward(
    cell: str, shape: Shape, threads: int, compiled: bool = False, device: str = "cpu", tf32: bool = False,
    graph: bool = False,
) -> Work:  # fmt: skip
    torch.set_num_threads(threads)
    net, (X,) = network(cell, shape, device=device), tensors(time_major(shape)[:1], device)
    call = torch.compile(net) if compiled else net

    def run():
        with torch.inference_mode():
            return call(X)

    return placed(captured(run, nothing, device, tf32) if graph else run, None, device, tf32)


def training_step(
    cell: str, shape: Shape, threads: int, compiled: bool = False, device: str = "cpu", tf32: bool = False,
    graph: bool = False,
) -> Work:  # fmt: skip
    torch.set_num_threads(threads)
    net = network(cell, shape, device=device)
    X, y = tensors(time_major(shape), device)
    update, call = Updater(net, graph), torch.compile(net) if compiled else net

    def run():
        update(mse_loss(call(X), y))

    run = captured(run, update.restore, device, tf32) if graph else run
    return placed(run, net.head.weight.detach, device, tf32)


def ragged_packed(
    cell: str, shape: Shape, lengths: np.ndarray, threads: int, device: str = "cpu", tf32: bool = False
) -> Work:
    """A training step through `pack_padded_sequence`; the padded minibatch is prepared."""
    torch.set_num_threads(threads)
    net = network(cell, shape, device=device)
    X, y = tensors(time_major(shape), device)
    update, lengths = Updater(net), torch.from_numpy(lengths)  # on the host: packing reads them there

    def run():
        update(mse_loss(net(pack_padded_sequence(X, lengths, enforce_sorted=False)), y))

    return placed(run, net.head.weight.detach, device, tf32)


def ragged_padded(
    cell: str, shape: Shape, lengths: np.ndarray, threads: int, device: str = "cpu", tf32: bool = False,
    graph: bool = False,
) -> Work:  # fmt: skip
    """A training step over all padded steps; the head reads the state after each last real one."""
    torch.set_num_threads(threads)
    net = network(cell, shape, device=device)
    X, y = tensors(time_major(shape), device)
    update = Updater(net, graph)
    last, sequence = tensors([lengths - 1, np.arange(shape.B)], device)

    def run():
        states, _ = net.rnn(X)
        update(mse_loss(net.head(states[last, sequence]), y))

    run = captured(run, update.restore, device, tf32) if graph else run
    return placed(run, net.head.weight.detach, device, tf32)


def stream(cell: str, F: int, H: int, threads: int) -> Work:
    """One step of one sequence, the state carried from call to call."""
    torch.set_num_threads(threads)
    shape = Shape(1, 10, F, H)
    net, x, state = network(cell, shape), torch.from_numpy(time_major(shape)[0][:1]), None

    def run():
        nonlocal state
        with torch.inference_mode():
            states, state = net.rnn(x, state)
            return net.head(states[-1])

    return work(run)


# --- arrays of NumPy ------------------------------------------------------------------------------
def epoch(
    cell: str, shape: Shape, n: int, threads: int, arrays=None, device: str = "cpu", tf32: bool = False,
    graph: bool = False,
) -> Work:  # fmt: skip
    """An epoch in a new order, from tensors that hold all of the data (`arrays`, if there are).

    With `graph`, minibatches (all of one size) are copied to where the graph of a step reads them.
    """
    torch.set_num_threads(threads)
    net = network(cell, shape, batch_first=True, device=device)
    X, y = tensors(arrays or data(shape, n), device)
    y, update = y[:, None], Updater(net, graph)

    def step(batch):
        update(mse_loss(net(X[batch]), y[batch]))

    if graph:
        X_now, y_now = X[: shape.B].clone(), y[: shape.B].clone()
        replay = captured(lambda: update(mse_loss(net(X_now), y_now)), update.restore, device, tf32)

        def step(batch):
            torch.index_select(X, 0, batch, out=X_now)
            torch.index_select(y, 0, batch, out=y_now)
            replay()

    def run():
        for batch in torch.randperm(n, device=device).split(shape.B):
            step(batch)

    return placed(run, net.head.weight.detach, device, tf32)


def predict(cell: str, shape: Shape, threads: int) -> Work:
    torch.set_num_threads(threads)
    net, X = network(cell, shape, batch_first=True), data(shape)[0]

    def run():
        with torch.inference_mode():
            return net(torch.from_numpy(X)).numpy()[:, 0]

    return work(run)
