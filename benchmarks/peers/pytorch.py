"""PyTorch, in the forms that are fastest for it: time-major where the data may be prepared, the fused
Adam, no loss read back, no gradient for the input."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import mse_loss
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pack_padded_sequence

from benchmarks.shapes import BETAS, EPSILON, LEARNING_RATE, MAX_NORM, Shape, data, time_major, weights
from benchmarks.work import Work, work

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


def network(cell: str, shape: Shape, batch_first: bool = False) -> Net:
    net = Net(cell, shape, batch_first)
    arrays = weights(cell, shape)
    names = {name: name if name.startswith("head") else f"rnn.{name}" for name in arrays}
    net.load_state_dict({names[name]: torch.from_numpy(array) for name, array in arrays.items()})
    return net


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
def forward(cell: str, shape: Shape, threads: int, compiled: bool = False) -> Work:
    torch.set_num_threads(threads)
    net, X = network(cell, shape), torch.from_numpy(time_major(shape)[0])
    call = torch.compile(net) if compiled else net

    def run():
        with torch.inference_mode():
            return call(X)

    return work(run)


def training_step(cell: str, shape: Shape, threads: int, compiled: bool = False) -> Work:
    torch.set_num_threads(threads)
    net = network(cell, shape)
    X, y = map(torch.from_numpy, time_major(shape))
    update, call = updater(net), torch.compile(net) if compiled else net
    return work(lambda: update(mse_loss(call(X), y)), lambda: net.head.weight.detach())


def ragged_packed(cell: str, shape: Shape, lengths: np.ndarray, threads: int) -> Work:
    """A training step through `pack_padded_sequence`; the padded minibatch is prepared."""
    torch.set_num_threads(threads)
    net = network(cell, shape)
    X, y = map(torch.from_numpy, time_major(shape))
    update, lengths = updater(net), torch.from_numpy(lengths)

    def run():
        update(mse_loss(net(pack_padded_sequence(X, lengths, enforce_sorted=False)), y))

    return work(run, lambda: net.head.weight.detach())


def ragged_padded(cell: str, shape: Shape, lengths: np.ndarray, threads: int) -> Work:
    """A training step over all padded steps; the head reads the state after each last real one."""
    torch.set_num_threads(threads)
    net = network(cell, shape)
    X, y = map(torch.from_numpy, time_major(shape))
    update, last, sequence = updater(net), torch.from_numpy(lengths) - 1, torch.arange(shape.B)

    def run():
        states, _ = net.rnn(X)
        update(mse_loss(net.head(states[last, sequence]), y))

    return work(run, lambda: net.head.weight.detach())


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
def epoch(cell: str, shape: Shape, n: int, threads: int, arrays=None) -> Work:
    """An epoch in a new order, from tensors that hold all of the data (`arrays`, if there are)."""
    torch.set_num_threads(threads)
    net = network(cell, shape, batch_first=True)
    X, y = map(torch.from_numpy, arrays or data(shape, n))
    y, update = y[:, None], updater(net)

    def run():
        for batch in torch.randperm(n).split(shape.B):
            update(mse_loss(net(X[batch]), y[batch]))

    return work(run, lambda: net.head.weight.detach())


def predict(cell: str, shape: Shape, threads: int) -> Work:
    torch.set_num_threads(threads)
    net, X = network(cell, shape, batch_first=True), data(shape)[0]

    def run():
        with torch.inference_mode():
            return net(torch.from_numpy(X)).numpy()[:, 0]

    return work(run)
