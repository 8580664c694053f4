"""scikit-learn's own network, a perceptron on all steps side by side; a whole fit, by its epochs."""

from __future__ import annotations

import time
import warnings

from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_limits

from benchmarks.shapes import LEARNING_RATE, Shape, data
from benchmarks.work import Work

EPOCHS = 3


def epoch(cell: str, shape: Shape, n: int, threads: int) -> Work:
    """The cell plays no part."""
    X, y = data(shape, n)
    X = X.reshape(n, -1)
    model = MLPRegressor(
        hidden_layer_sizes=(shape.H,),
        alpha=0.0,
        batch_size=shape.B,
        learning_rate_init=LEARNING_RATE,
        max_iter=EPOCHS,
    )

    def sample(calls: int) -> float:
        with warnings.catch_warnings(), threadpool_limits(threads):
            warnings.simplefilter("ignore", ConvergenceWarning)
            start = time.perf_counter()
            model.fit(X, y)
            return calls * (time.perf_counter() - start) / EPOCHS

    return Work(sample, lambda: model.predict(X))
