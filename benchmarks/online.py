"""Learning from a stream of minibatches, call by call: what a call costs, and how that grows.

    python -m benchmarks.online
    python -m benchmarks.online --calls 2000 --cells gru

32 new sequences of 50 steps and 8 features a call: `partial_fit` here, a loop with a fused Adam in PyTorch,
if it is installed, and scikit-learn's MLPRegressor on the same numbers in one row, which has no recurrence
and is there as the cost of a `partial_fit`. All learn in turn, from the same minibatches, on one thread.
"predict" is the answer to one sequence after each of those calls.
"""

from __future__ import annotations

import argparse
import pickle
import time
from collections.abc import Callable

import numpy as np
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_limits

import skrnn

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

BATCH, STEPS, FEATURES, HIDDEN, RATE = 32, 50, 8, 32, 0.002
Learner = tuple[Callable[[np.ndarray, np.ndarray], object], Callable[[np.ndarray], object]]


def ours(cell: str) -> tuple[Learner, skrnn.RNNRegressor]:
    """What learns from a minibatch, what answers to one sequence; and the estimator."""
    est = skrnn.RNNRegressor(HIDDEN, cell=cell, learning_rate_init=RATE, n_jobs=1, random_state=0)
    return (est.partial_fit, est.predict), est


def theirs(cell: str) -> Learner:
    layer = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    rnn, head = layer(FEATURES, HIDDEN, batch_first=True), torch.nn.Linear(HIDDEN, 1)
    weights = [*rnn.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(weights, lr=RATE, fused=True)

    def answer(X: np.ndarray):
        return head(rnn(torch.from_numpy(X))[0][:, -1])[:, 0]

    def learn(X: np.ndarray, y: np.ndarray) -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.mse_loss(answer(X), torch.from_numpy(y)).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()

    def predict(X: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return answer(X).numpy()

    return learn, predict


def perceptron() -> Learner:
    est = MLPRegressor(
        hidden_layer_sizes=(HIDDEN,), batch_size=BATCH, learning_rate_init=RATE, random_state=0
    )

    def learn(X: np.ndarray, y: np.ndarray) -> object:
        return est.partial_fit(X.reshape(len(X), -1), y)

    return learn, lambda X: est.predict(X.reshape(len(X), -1))


def seconds(call: Callable[..., object], *arguments: np.ndarray) -> float:
    start = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - start


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--cells", nargs="+", default=["rnn", "lstm", "gru"])
    given = parser.parse_args(arguments)
    if torch is not None:
        torch.set_num_threads(1)
    rng, n, part = np.random.default_rng(0), given.calls, max(1, given.calls // 10)
    for cell in given.cells:
        mine, est = ours(cell)
        learners = {"skrnn": mine, "MLPRegressor": perceptron()}
        if torch is not None:
            learners["PyTorch"] = theirs(cell)
        times = {name: np.zeros((2, n)) for name in learners}
        sizes = []
        for i in range(n):
            X = rng.standard_normal((BATCH, STEPS, FEATURES)).astype(np.float32)
            y = X[:, -10:].mean(axis=(1, 2))
            for name, (learn, predict) in learners.items():
                times[name][:, i] = seconds(learn, X, y), seconds(predict, X[:1])
            if i + 1 in (part, n):
                sizes.append(len(pickle.dumps(est)))
        print(f"{cell}, {n} calls: median ms of the first and of the last {part}, seconds of all")
        for name, (learnt, predicted) in times.items():
            shown = [
                1e3 * np.median(own) for both in (learnt, predicted) for own in (both[:part], both[-part:])
            ]
            print(
                f"  {name:13} partial_fit {shown[0]:6.3f} {shown[1]:6.3f} {learnt.sum():7.1f} s"
                f"   predict {shown[2]:6.3f} {shown[3]:6.3f} {predicted.sum():7.1f} s"
            )
        print(f"  a pickle after {part} and {n} calls: {sizes[0]:,} and {sizes[-1]:,} bytes", flush=True)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
