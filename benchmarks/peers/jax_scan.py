"""JAX: `lax.scan` over the steps, everything jitted, Adam written out."""

from __future__ import annotations

import os

import jax
import jax.numpy as jnp

from benchmarks.shapes import BETAS, EPSILON, LEARNING_RATE, MAX_NORM, Shape, suffixes, time_major, weights
from benchmarks.work import Work, work


# Each cell reads a step multiplied by W.
def lstm(p, state, x):
    h, c = state
    i, f, g, o = jnp.split(x + h @ p["U"] + p["b"] + p["d"], 4, axis=1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def gru(p, state, x):
    (h,) = state
    xr, xz, xn = jnp.split(x + p["b"], 3, axis=1)
    hr, hz, hn = jnp.split(h @ p["U"] + p["d"], 3, axis=1)
    r, z = jax.nn.sigmoid(xr + hr), jax.nn.sigmoid(xz + hz)
    h = (1 - z) * jnp.tanh(xn + r * hn) + z * h
    return (h,), h


def rnn(p, state, x):
    (h,) = state
    h = jnp.tanh(x + h @ p["U"] + p["b"] + p["d"])
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


def network(cell: str, shape: Shape, device: str):
    """``apply(params, X) -> y`` on X (T, B, F).

    A GPU multiplies all steps by W in advance. On a CPU that made XLA choose a slower product for the
    recurrent weights, half the speed, so each step is multiplied inside the loop there.
    """
    zeros = (jnp.zeros((shape.B, shape.H)),) * (2 if cell == "lstm" else 1)

    def layer(p, X, reverse):
        def step(state, x):
            return CELLS[cell](p, state, x @ p["W"] if device == "cpu" else x)

        return jax.lax.scan(step, zeros, X if device == "cpu" else X @ p["W"], reverse=reverse)

    def apply(params, X):
        for directions in params["layers"]:
            passes = [layer(p, X, d == 1) for d, p in enumerate(directions)]
            X = jnp.concatenate([states for _, states in passes], axis=2)
        last = jnp.concatenate([state[0] for state, _ in passes], axis=1)
        return last @ params["A"] + params["b"]

    return apply


def begin(device: str) -> None:
    """Work on this device, which others use too, in float32: on a GPU, JAX would multiply in TF32."""
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    jax.config.update("jax_platforms", device)
    jax.config.update("jax_default_matmul_precision", "highest")


def forward(cell: str, shape: Shape, threads: int, device: str = "cpu") -> Work:
    begin(device)
    return inference(network(cell, shape, device), parameters(cell, shape), time_major(shape)[0], device)


def training_step(cell: str, shape: Shape, threads: int, device: str = "cpu") -> Work:
    begin(device)
    return updates(network(cell, shape, device), parameters(cell, shape), *time_major(shape), device)


def waited_for(run, result, device: str) -> Work:
    """On a CPU every call is waited for; on a GPU the last one, as other libraries do there."""
    if device == "cpu":
        return work(lambda: jax.block_until_ready(run()), result)
    return work(run, result, lambda: jax.block_until_ready(result()))


def inference(apply, params, X, device: str) -> Work:
    X, apply, out = jnp.array(X), jax.jit(apply), None

    def run():
        nonlocal out
        out = apply(params, X)
        return out

    return waited_for(run, lambda: run() if out is None else out, device)


def updates(apply, params, X, y, device: str) -> Work:
    X, y = jnp.array(X), jnp.array(y)

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
    state = (
        params,
        jax.tree.map(jnp.zeros_like, params),
        jax.tree.map(jnp.zeros_like, params),
        jnp.array(0.0),
    )

    def run():
        nonlocal state
        state = step(*state)
        return state

    return waited_for(run, lambda: state[0]["A"].T, device)
