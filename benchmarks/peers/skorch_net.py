"""skorch: PyTorch behind scikit-learn's interface. A whole fit, divided by its epochs."""

from __future__ import annotations

import time

import torch
from skorch import NeuralNetRegressor
from skorch.callbacks import GradientNormClipping

from benchmarks.peers.pytorch import Net
from benchmarks.shapes import BETAS, EPSILON, LEARNING_RATE, MAX_NORM, Shape, data
from benchmarks.work import Work

EPOCHS = 3


def estimator(cell: str, shape: Shape, epochs: int) -> NeuralNetRegressor:
    return NeuralNetRegressor(
        Net,
        module__cell=cell,
        module__shape=shape,
        module__batch_first=True,
        optimizer=torch.optim.Adam,
        optimizer__betas=BETAS,
        optimizer__eps=EPSILON,
        optimizer__fused=True,
        lr=LEARNING_RATE,
        batch_size=shape.B,
        max_epochs=epochs,
        iterator_train__shuffle=True,
        train_split=None,
        callbacks=[GradientNormClipping(MAX_NORM)],
        verbose=0,
    )


def epoch(cell: str, shape: Shape, n: int, threads: int) -> Work:
    torch.set_num_threads(threads)
    X, y = data(shape, n)
    model = estimator(cell, shape, EPOCHS)

    def sample(calls: int) -> float:
        start = time.perf_counter()
        model.fit(X, y[:, None])
        return calls * (time.perf_counter() - start) / EPOCHS

    return Work(sample, lambda: model.predict(X))
