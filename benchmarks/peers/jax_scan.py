"""JAX: `lax.scan` over the steps, everything jitted, Adam written out."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from benchmarks.shapes import BETAS, EPSILON, LEARNING_RATE, MAX_NORM, Shape, suffixes, time_major, weights
from benchmarks.work import Work, work


# Each cell reads a step inside the loop. Multiplying all steps in advance, as one would on a GPU, made
# XLA choose a slower product for the recurrent weights: half the speed.
def lstm(p, state, x):
    h, c = state
    i, f, g, o = jnp.split(x @ p["W"] + h @ p["U"] + p["b"] + p["d"], 4, axis=1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def gru(p, state, x):
    (h,) = state
    xr, xz, xn = jnp.split(x @ p["W"] + p["b"], 3, axis=1)
    hr, hz, hn = jnp.split(h @ p["U"] + p["d"], 3, axis=1)
    r, z = jax.nn.sigmoid(xr + hr), jax.nn.sigmoid(xz + hz)
    h = (1 - z) * jnp.tanh(xn + r * hn) + z * h
    return (h,), h


def rnn(p, state, x):
    (h,) = state
    h = jnp.tanh(x @ p["W"] + h @ p["U"] + p["b"] + p["d"])
    return (h,), h


CELLS = {"lstm": lstm, "gru": gru, "rnn": rnn}


def parameters(cell: str, shape: Shape):
    w = weights(cell, shape)
    layers = [
        [
            {
                "W": w[f"weight_ih{s}"].T,
                "U": w[f"weight_hh{s}"].T,
                "b": w[f"bias_ih{s}"],
                "d": w[f"bias_hh{s}"],
            }
            for s in layer
        ]
        for layer in suffixes(shape)
    ]
    return jax.tree.map(jnp.array, {"layers": layers, "A": w["head.weight"].T, "b": w["head.bias"]})


def network(cell: str, shape: Shape):
    """``apply(params, X) -> y`` on X (T, B, F)."""
    zeros = (jnp.zeros((shape.B, shape.H)),) * (2 if cell == "lstm" else 1)

    def apply(params, X):
        for layer in params["layers"]:
            passes = [
                jax.lax.scan(lambda state, x, p=p: CELLS[cell](p, state, x), zeros, X, reverse=d == 1)
                for d, p in enumerate(layer)
            ]
            X = jnp.concatenate([states for _, states in passes], axis=2)
        last = jnp.concatenate([state[0] for state, _ in passes], axis=1)
        return last @ params["A"] + params["b"]

    return apply


def forward(cell: str, shape: Shape, threads: int) -> Work:
    params, X = parameters(cell, shape), jnp.array(time_major(shape)[0])
    apply = jax.jit(network(cell, shape))
    return work(lambda: apply(params, X).block_until_ready())


def training_step(cell: str, shape: Shape, threads: int) -> Work:
    X, y = map(jnp.array, time_major(shape))
    apply = network(cell, shape)

    def loss(params):
        return jnp.mean((apply(params, X) - y) ** 2)

    def step(params, m, v, t):
        gradient, t = jax.grad(loss)(params), t + 1
        norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in jax.tree.leaves(gradient)))
        gradient = jax.tree.map(lambda g: g * jnp.minimum(1.0, MAX_NORM / norm), gradient)
        m = jax.tree.map(lambda m, g: BETAS[0] * m + (1 - BETAS[0]) * g, m, gradient)
        v = jax.tree.map(lambda v, g: BETAS[1] * v + (1 - BETAS[1]) * g * g, v, gradient)
        c, d = 1 - BETAS[0] ** t, 1 - BETAS[1] ** t
        params = jax.tree.map(
            lambda w, m, v: w - LEARNING_RATE * (m / c) / (jnp.sqrt(v / d) + EPSILON), params, m, v
        )
        return params, m, v, t

    step = jax.jit(step, donate_argnums=(0, 1, 2, 3))
    params = parameters(cell, shape)
    state = (
        params,
        jax.tree.map(jnp.zeros_like, params),
        jax.tree.map(jnp.zeros_like, params),
        jnp.array(0.0),
    )

    def run():
        nonlocal state
        state = jax.block_until_ready(step(*state))

    return work(run, lambda: state[0]["A"].T)
