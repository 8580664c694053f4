"""Keras, on the JAX backend: on a CPU its fastest here, the one on PyTorch loops over steps in Python."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np

from benchmarks.shapes import BETAS, EPSILON, LEARNING_RATE, MAX_NORM, Shape, data, suffixes, weights
from benchmarks.work import Work, work

LAYERS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}


def layer_weights(cell: str, w: dict[str, np.ndarray], suffix: str) -> list[np.ndarray]:
    """Kernel, recurrent kernel and bias of one direction; Keras' GRU orders its gates zrh, not rzn."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    W, U, b, d = (w[name + suffix] for name in names)
    if cell != "gru":
        return [W.T, U.T, b + d]
    r, z, n = np.split(np.arange(len(b)), 3)
    order = np.concatenate([z, r, n])
    return [W[order].T, U[order].T, np.stack([b[order], d[order]])]


def network(cell: str, shape: Shape) -> keras.Model:
    model = keras.Sequential([keras.Input((shape.T, shape.F), batch_size=shape.B)])
    for k in range(shape.layers):
        layer = LAYERS[cell](shape.H, return_sequences=k < shape.layers - 1)
        model.add(layer if shape.directions == 1 else keras.layers.Bidirectional(layer))
    model.add(keras.layers.Dense(1))
    w = weights(cell, shape)
    for layer, endings in zip(model.layers, suffixes(shape)):
        layer.set_weights([array for s in endings for array in layer_weights(cell, w, s)])
    model.layers[-1].set_weights([w["head.weight"].T, w["head.bias"]])
    adam = keras.optimizers.Adam(LEARNING_RATE, *BETAS, EPSILON, global_clipnorm=MAX_NORM)
    model.compile(adam, loss="mse")
    return model


def forward(cell: str, shape: Shape, threads: int) -> Work:
    model, X = network(cell, shape), data(shape)[0]
    return work(lambda: model.predict_on_batch(X))


def training_step(cell: str, shape: Shape, threads: int) -> Work:
    model, (X, y) = network(cell, shape), data(shape)
    y = y[:, None]
    return work(lambda: model.train_on_batch(X, y), lambda: model.layers[-1].get_weights()[0].T)
