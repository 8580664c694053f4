"""The recurrent cells: textbook equations, forward beside backward, each written once.

A cell is built by a factory from the functions of a backend, so the same lines run on SIMD vectors,
on scalars of a GPU thread and on NumPy arrays. Names follow the field: `x` and `h` the input and
the hidden state, `c` the LSTM's memory cell, `z` the pre-activations W x + U h + b, `dh` the
gradient of the loss with respect to `h`.

Every cell has

``forward(z, h, c) -> gates, h, c``
    One time step; `gates` is what the backward pass needs again.
``backward(gates, h_prev, c_prev, c, dh, dc) -> dz, dh_prev, dc_prev``
    `dz` is the gradient of the pre-activations; `dh_prev` is only the part that reaches the previous
    state directly: the part through the recurrent weights is added by the caller.

A cell whose candidate waits for a gate has two more, for the product in between:

``reset(z, h) -> gates, r h``
    The gates, and what the late recurrent weights read.
``reset_backward(gates, h, drh) -> dz, dh_prev``
    Once the gradient of ``r h`` is known; until then `backward` passes `r` on in the place of `dr`.

The GRU's update gate, z in the papers, is `u` here.

Sources: Elman (1990); Hochreiter & Schmidhuber (1997) with Gers' forget gate (2000); Cho et al.
(2014) and Chung et al. (2014) for the GRU. Gate order and `reset_after=True` follow PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

GATES = {"rnn": "h", "lstm": "ifgo", "gru": "rzn"}
"""Gate order of the weight matrices' rows, as in PyTorch."""

STATES = {"rnn": "h", "lstm": "hc", "gru": "h"}
"""What goes on from step to step: the hidden state, and the memory cell where there is one."""


class Functions(NamedTuple):
    """What a backend lends to the cells."""

    jit: Callable
    tanh: Callable
    sigmoid: Callable
    relu: Callable
    positive: Callable  # 1 where x > 0, else 0
    zero: Any
    one: Any


class Cell(NamedTuple):
    """A cell and the places of its pre-activations.

    The pre-activations of a hidden unit sit in `slots`, in this order; each is a gate letter.
    `input_slots` and `hidden_slots` are the ranges that the input and the hidden state feed, so
    that every matrix product writes neighbouring slots. `late_slots` is the range fed by
    `reset(...)`, in the one cell (GRU, `reset_after=False`) whose candidate waits for a gate.
    """

    slots: str
    input_slots: tuple[int, int]
    hidden_slots: tuple[int, int]
    has_c: bool
    forward: Callable
    backward: Callable
    late_slots: tuple[int, int] = (0, 0)
    reset: Callable | None = None
    reset_backward: Callable | None = None

    @property
    def n_slots(self) -> int:
        return len(self.slots)


def rnn(fn: Functions, activation: str = "tanh") -> Cell:
    """Elman's network: h = act(W x + U h + b)."""
    zero, one, tanh, sigmoid = fn.zero, fn.one, fn.tanh, fn.sigmoid
    relu, positive = fn.relu, fn.positive
    act, slope = {
        "tanh": (tanh, lambda h: one - h * h),
        "sigmoid": (sigmoid, lambda h: h * (one - h)),
        "relu": (relu, lambda h: positive(h)),
    }[activation]
    slope = fn.jit(slope)

    @fn.jit
    def forward(z, h, c):
        h = act(z[0])
        return (h,), h, c

    @fn.jit
    def backward(gates, h_prev, c_prev, c, dh, dc):
        h = gates[0]
        return (dh * slope(h),), zero, dc

    return Cell("h", (0, 1), (0, 1), False, forward, backward)


def lstm(fn: Functions) -> Cell:
    """Long short-term memory: c = f c + i g, h = o tanh(c)."""
    zero, one, tanh, sigmoid = fn.zero, fn.one, fn.tanh, fn.sigmoid

    @fn.jit
    def forward(z, h, c):
        i, f, g, o = sigmoid(z[0]), sigmoid(z[1]), tanh(z[2]), sigmoid(z[3])
        c = f * c + i * g
        return (i, f, g, o), o * tanh(c), c

    @fn.jit
    def backward(gates, h_prev, c_prev, c, dh, dc):
        i, f, g, o = gates
        t = tanh(c)
        dc = dc + dh * o * (one - t * t)
        di, df, dg, do = dc * g, dc * c_prev, dc * i, dh * t
        dz = (di * i * (one - i), df * f * (one - f), dg * (one - g * g), do * o * (one - o))
        return dz, zero, dc * f

    return Cell("ifgo", (0, 4), (0, 4), True, forward, backward)


def gru(fn: Functions) -> Cell:
    """Gated recurrent unit, reset after the product: n = tanh(W x + b + r (U h + b')),
    h = (1 - z) n + z h."""
    one, tanh, sigmoid = fn.one, fn.tanh, fn.sigmoid

    @fn.jit
    def forward(z, h, c):
        r, u = sigmoid(z[1]), sigmoid(z[2])
        m = z[3]  # what the memory proposes: U h + b'
        n = tanh(z[0] + r * m)
        return (n, r, u, m), (one - u) * n + u * h, c

    @fn.jit
    def backward(gates, h_prev, c_prev, c, dh, dc):
        n, r, u, m = gates
        dn = dh * (one - u) * (one - n * n)
        du = dh * (h_prev - n) * u * (one - u)
        dr = dn * m * r * (one - r)
        return (dn, dr, du, dn * r), dh * u, dc

    return Cell("nrzn", (0, 3), (1, 4), False, forward, backward)


def gru_reset_before(fn: Functions) -> Cell:
    """Gated recurrent unit, reset before the product: n = tanh(W x + U (r h) + b),
    h = (1 - z) h + z n (Chung et al. 2014, equations 5 to 8)."""
    one, tanh, sigmoid = fn.one, fn.tanh, fn.sigmoid

    @fn.jit
    def reset(z, h):
        r, u = sigmoid(z[1]), sigmoid(z[2])
        return (z[0], r, u), r * h

    @fn.jit
    def forward(z, h, c):
        n, r, u = tanh(z[0]), z[1], z[2]
        return (n, r, u), (one - u) * h + u * n, c

    @fn.jit
    def backward(gates, h_prev, c_prev, c, dh, dc):
        n, r, u = gates
        dn = dh * u * (one - n * n)
        du = dh * (n - h_prev) * u * (one - u)
        return (dn, r, du), dh * (one - u), dc

    @fn.jit
    def reset_backward(gates, h, drh):
        dn, r, du = gates
        return (dn, drh * h * r * (one - r), du), drh * r

    return Cell("nrz", (0, 3), (1, 3), False, forward, backward, (0, 1), reset, reset_backward)


def read_by(name: str, activation: str, reset_after: bool) -> tuple[str, bool]:
    """Both parameters as far as that cell reads them: the same kernels whatever the others say."""
    return activation if name == "rnn" else "tanh", bool(reset_after) if name == "gru" else True


def build(functions: Functions, name: str, activation: str = "tanh", reset_after: bool = True) -> Cell:
    """The cell called `name` in ``{"rnn", "lstm", "gru"}``."""
    if name == "rnn":
        return rnn(functions, activation)
    if name == "lstm":
        return lstm(functions)
    return gru(functions) if reset_after else gru_reset_before(functions)
