"""Weights as PyTorch and Keras give them, and data for them."""

import numpy as np

RNG = np.random.default_rng(0)
F, H, N_OUT = 3, 4, 2
X = RNG.standard_normal((5, 6, F))
GATES = {"rnn": 1, "lstm": 4, "gru": 3}


def random(*shape):
    return RNG.normal(0, 0.5, shape)


def state_dict(cell="lstm", layers=1, bidirectional=False, n_out=1, prefix="", head="head", bias=True):
    """As of PyTorch, of arrays."""
    rows, ends = GATES[cell] * H, ["", "_reverse"] if bidirectional else [""]
    weights = {}
    for k in range(layers):
        for s in (f"_l{k}{end}" for end in ends):
            n_in = H * len(ends) if k else F
            weights |= {f"weight_ih{s}": random(rows, n_in), f"weight_hh{s}": random(rows, H)}
            weights |= {f"bias_ih{s}": random(rows), f"bias_hh{s}": random(rows)} if bias else {}
    weights = {prefix + name: w for name, w in weights.items()}
    weights |= {f"{head}.weight": random(n_out, H * len(ends))}
    return weights | ({f"{head}.bias": random(n_out)} if bias else {})


def good():
    """An LSTM's, always the same."""
    rng = np.random.default_rng(1)
    return {name: rng.normal(0, 0.5, w.shape) for name, w in state_dict().items()}


def keras_weights(cell, layers=1, bidirectional=False, bias=True, reset_after=True, n_out=N_OUT, n_in=F):
    """As get_weights() gives them."""
    columns, directions, weights = GATES[cell] * H, 1 + bidirectional, []
    for k in range(layers):
        for _ in range(directions):
            weights += [random(H * directions if k else n_in, columns), random(H, columns)]
            if bias:
                weights.append(random(2, columns) if cell == "gru" and reset_after else random(columns))
    return [*weights, random(H * directions, n_out)] + ([random(n_out)] if bias else [])
