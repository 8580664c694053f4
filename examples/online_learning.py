"""Learn from a stream while answering it: predict, see the truth, learn, go on.

A pump's eight sensors are read once a second; the flow to come depends on what the sensors did over the last
minute. After half of the stream a bearing is replaced, and the old relation no longer holds. Each minibatch
is first predicted and then learnt from with `partial_fit`, so that every error counted is one on data not yet
seen. A network that stops learning before the change shows what that is worth; scikit-learn's linear model,
which learns in the same way from the same numbers laid in one row, shows what the recurrence is worth.
"""

import time

import numpy as np
from sklearn.linear_model import SGDRegressor

from skrnn import GRURegressor

N_BATCHES, BATCH, STEPS, SENSORS = 2000, 16, 60, 8
rng = np.random.default_rng(0)


def minibatch(after_the_change):
    """Windows of the sensors, and the flow that follows each."""
    X = rng.standard_normal((BATCH, STEPS, SENSORS)).astype(np.float32)
    X[:, :, 0] = np.cumsum(X[:, :, 0], axis=1) / np.sqrt(STEPS)  # a pressure, which drifts
    strongest = np.abs(X[:, -20:, 1]).max(axis=1)  # the hardest knock of the last 20 seconds
    flow = X[:, -1, 0] + (-0.5 if after_the_change else 0.5) * strongest
    return X, flow + rng.normal(0, 0.1, BATCH)


online = GRURegressor(16, learning_rate_init=0.005, random_state=0)
stopped = GRURegressor(16, learning_rate_init=0.005, random_state=0)
linear = SGDRegressor(learning_rate="constant", eta0=1e-4, random_state=0)
errors, seconds = {"online": [], "stopped": [], "linear": []}, []
for i in range(N_BATCHES):
    X, flow = minibatch(after_the_change=i >= N_BATCHES // 2)
    rows = X.reshape(BATCH, -1)
    if i > 0:
        errors["online"].append(np.abs(online.predict(X) - flow).mean())
        errors["stopped"].append(np.abs(stopped.predict(X) - flow).mean())
        errors["linear"].append(np.abs(linear.predict(rows) - flow).mean())
    start = time.perf_counter()
    online.partial_fit(X, flow)
    seconds.append(time.perf_counter() - start)
    if i < N_BATCHES // 2:
        stopped.partial_fit(X, flow)
    linear.partial_fit(rows, flow)

print("mean absolute error on minibatches before they are learnt (the noise alone makes 0.08)")
print(f"{'minibatches':>16} {'online':>8} {'stopped':>8} {'linear':>8}")
for first in range(0, N_BATCHES, N_BATCHES // 8):
    last = first + N_BATCHES // 8
    found = [np.mean(errors[name][first:last]) for name in errors]
    print(f"{first:>7} to {last:>5} " + " ".join(f"{error:8.3f}" for error in found))
first, last = (np.median(part) * 1e3 for part in (seconds[1:200], seconds[-200:]))
print(f"a call of partial_fit: {first:.2f} ms among the first 200, {last:.2f} ms among the last 200")
