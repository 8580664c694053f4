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


def placed(run, result, device: str, tf32: bool) -> Work:
    """Work on a device, which is waited for; `tf32` is a setting of the process, so every sample sets it."""
    finish = nothing if device == "cpu" else torch.cuda.synchronize
    inner = work(run, lambda: result().cpu().numpy(), finish)

    def with_setting(call):
        def called(*arguments):
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
            return call(*arguments)

        return called

    return Work(*map(with_setting, inner))


def updater(net: Net):
    """``update(loss)``: the backward pass, clipping and Adam."""
    params = list(net.parameters())
    adam = torch.optim.Adam(params, lr=LEARNING_RATE, betas=BETAS, eps=EPSILON, fused=True)

    def update(loss):
        loss.backward()
        clip_grad_norm_(params, MAX_NORM)
        adam.step()
        adam.zero_grad()

    return update


# --- prepared arrays ------------------------------------------------------------------------------
def forward(
    cell: str, shape: Shape, threads: int, compiled: bool = False, device: str = "cpu", tf32: bool = False
) -> Work:
    torch.set_num_threads(threads)
    net, (X,) = network(cell, shape, device=device), tensors(time_major(shape)[:1], device)
    call = torch.compile(net) if compiled else net

    def run():
        with torch.inference_mode():
            return call(X)

    return placed(run, run, device, tf32)


def training_step(
    cell: str, shape: Shape, threads: int, compiled: bool = False, device: str = "cpu", tf32: bool = False
) -> Work:
    torch.set_num_threads(threads)
    net = network(cell, shape, device=device)
    X, y = tensors(time_major(shape), device)
    update, call = updater(net), torch.compile(net) if compiled else net
    return placed(lambda: update(mse_loss(call(X), y)), net.head.weight.detach, device, tf32)


def ragged_packed(
    cell: str, shape: Shape, lengths: np.ndarray, threads: int, device: str = "cpu", tf32: bool = False
) -> Work:
    """A training step through `pack_padded_sequence`; the padded minibatch is prepared."""
    torch.set_num_threads(threads)
    net = network(cell, shape, device=device)
    X, y = tensors(time_major(shape), device)
    update, lengths = (
        updater(net),
        torch.from_numpy(lengths),
    )  # they stay on the host: packing reads them there

    def run():
        update(mse_loss(net(pack_padded_sequence(X, lengths, enforce_sorted=False)), y))

    return placed(run, net.head.weight.detach, device, tf32)


def ragged_padded(
    cell: str, shape: Shape, lengths: np.ndarray, threads: int, device: str = "cpu", tf32: bool = False
) -> Work:
    """A training step over all padded steps; the head reads the state after each last real one."""
    torch.set_num_threads(threads)
    net = network(cell, shape, device=device)
    X, y = tensors(time_major(shape), device)
    update, (last, sequence) = updater(net), tensors([lengths - 1, np.arange(shape.B)], device)

    def run():
        states, _ = net.rnn(X)
        update(mse_loss(net.head(states[last, sequence]), y))

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
    cell: str, shape: Shape, n: int, threads: int, arrays=None, device: str = "cpu", tf32: bool = False
) -> Work:
    """An epoch in a new order, from tensors that hold all of the data (`arrays`, if there are)."""
    torch.set_num_threads(threads)
    net = network(cell, shape, batch_first=True, device=device)
    X, y = tensors(arrays or data(shape, n), device)
    y, update = y[:, None], updater(net)

    def run():
        for batch in torch.randperm(n, device=device).split(shape.B):
            update(mse_loss(net(X[batch]), y[batch]))

    return placed(run, net.head.weight.detach, device, tf32)


def predict(cell: str, shape: Shape, threads: int) -> Work:
    torch.set_num_threads(threads)
    net, X = network(cell, shape, batch_first=True), data(shape)[0]

    def run():
        with torch.inference_mode():
            return net(torch.from_numpy(X)).numpy()[:, 0]

    return work(run)
