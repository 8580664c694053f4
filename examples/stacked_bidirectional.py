"""Two layers, both directions: read the states of an ion channel from a noisy current.

A channel in a cell's membrane is closed, half open or open, and jumps between these states at
random; the amplifier's noise is half as large as the levels lie apart. The samples are labelled
after the recording is complete, so those that follow a sample tell as much as those before it: a
bidirectional network sees both. Printed is the accuracy over all samples of new recordings for one
sample at a time, a network that only reads forward, and a stacked bidirectional one. The loss curve
of the last one is saved under examples/output.
"""

from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from skrnn import LossCurveDisplay, LSTMClassifier, flat_accuracy_score

STATES = np.array(["closed", "half", "open"])


def record(rng, n_samples=200, stay=0.95, noise=0.5):
    """One recording: the current, (T, 1), and the state at each sample, (T,)."""
    state, states = rng.integers(3), []
    for _ in range(n_samples):
        if rng.random() > stay:
            state = (state + rng.integers(1, 3)) % 3
        states.append(state)
    current = np.array(states) - 1 + rng.normal(0, noise, n_samples)
    return current[:, None], STATES[states]


def record_many(n, rng):
    """Currents (n, T, 1) and states (n, T)."""
    currents, states = zip(*[record(rng) for _ in range(n)], strict=True)
    return np.array(currents), np.array(states)


rng = np.random.default_rng(0)
X, y = record_many(100, rng)
X_new, y_new = record_many(50, rng)

single = LogisticRegression().fit(X.reshape(-1, 1), y.ravel())
print(f"one sample at a time:   {single.score(X_new.reshape(-1, 1), y_new.ravel()):.3f}")

settings = dict(return_sequences=True, batch_size=10, max_iter=20, learning_rate_init=0.01, random_state=0)
forward = LSTMClassifier(16, **settings).fit(X, y)
print(f"forward, one layer:     {flat_accuracy_score(y_new, forward.predict(X_new)):.3f}")

both = LSTMClassifier(16, num_layers=2, bidirectional=True, dropout=0.1, **settings).fit(X, y)
print(f"both ways, two layers:  {flat_accuracy_score(y_new, both.predict(X_new)):.3f}")

shapes = {name: weight.shape for name, weight in both.weights_.items() if "weight_hh" in name}
print(f"recurrent weights, with PyTorch's names: {shapes}")

path = Path(__file__).parent / "output" / "stacked_bidirectional_loss.png"
path.parent.mkdir(exist_ok=True)
LossCurveDisplay.from_estimator(both).figure_.savefig(path, dpi=150)
print(f"loss curve saved: {path}")
