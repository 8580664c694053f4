"""The same job as a user of each library would write it: one script each, timed as whole processes.

4,000 sequences of 100 steps with 8 features, an LSTM of 64 units, 10 epochs of minibatches of 32, Adam,
gradients clipped to norm 1, then predictions for all. Each prints its mean squared error.
"""

N, T, F, H, EPOCHS, BATCH, LEARNING_RATE = 4000, 100, 8, 64, 10, 32, 1e-3


def data():
    """X (N, T, F) and y (N,), float32: a moving sum of two features at the end, so there is something
    to learn."""
    import numpy as np

    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, T, F), dtype=np.float32)
    y = X[:, -20:, 0].mean(axis=1) * 3 + 0.5 * X[:, -1, 1]
    return X, y
