"""Networks and data of random shapes beside PyTorch, one thread each: what no table of chosen shapes shows.

    python -m benchmarks.random_shapes
    python -m benchmarks.random_shapes --seeds 1 2 3 --seconds 60

For each shape the median of an epoch by `partial_fit` and of `predict`, and those of PyTorch's module trained
by Adam with clipped gradients; interleaved. Prints PyTorch's time over ours, then where PyTorch is ahead.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import NamedTuple

import numpy as np
import torch

import skrnn
from benchmarks.online import seconds

LONGEST, MOST = 1.0, 50  # seconds and rounds of a shape; at least three rounds


class Shape(NamedTuple):
    """N sequences of T steps and F features, in minibatches of B; H units of each layer and direction."""

    cell: str
    N: int
    B: int
    T: int
    F: int
    H: int
    layers: int
    bidirectional: bool
    per_step: bool

    def __str__(self) -> str:
        sizes = " ".join(f"{name}{getattr(self, name)}" for name in "NBTFH")
        return f"{self.cell} {sizes} L{self.layers}{' bi' * self.bidirectional}{' per step' * self.per_step}"


def draw(rng: np.random.Generator) -> Shape:
    """Sizes uniform in their logarithm, of at most some seconds of work."""
    while True:
        cell = str(rng.choice(["LSTM", "GRU", "RNN"]))
        B, T, F, H = (int(2 ** rng.uniform(low, high)) for low, high in ((0, 8), (0, 10), (0, 9), (1, 9.2)))
        layers, bidirectional, per_step = int(rng.integers(1, 3)), *(bool(k) for k in rng.integers(0, 2, 2))
        work = B * T * H * (F + H) * layers * (1 + bidirectional)
        if work <= 4e9 and B * T * max(F, H) <= 3e7:
            N = max(B, min(4 * B, int(2e6 / (T * F)) // B * B))
            return Shape(cell, N, B, T, F, H, layers, bidirectional, per_step)


class Peer:
    """PyTorch's module with a linear head."""

    def __init__(self, shape: Shape, X: np.ndarray, y: np.ndarray) -> None:
        self.shape, self.X, self.y = shape, torch.from_numpy(X), torch.from_numpy(y)
        self.rnn = getattr(torch.nn, shape.cell)(
            shape.F, shape.H, shape.layers, batch_first=True, bidirectional=shape.bidirectional
        )
        self.head = torch.nn.Linear(shape.H * (1 + shape.bidirectional), 1)
        self.weights = [*self.rnn.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.Adam(self.weights, lr=1e-3, fused=True)

    def answer(self, X: torch.Tensor) -> torch.Tensor:
        states, last = self.rnn(X)
        if self.shape.per_step:
            return self.head(states)[..., 0]
        last = last[0] if self.shape.cell == "LSTM" else last
        return self.head(torch.cat([last[-2], last[-1]], 1) if self.shape.bidirectional else last[-1])[:, 0]

    def epoch(self) -> None:
        for rows in torch.randperm(self.shape.N).split(self.shape.B):
            self.optimizer.zero_grad(set_to_none=True)
            ((self.answer(self.X[rows]) - self.y[rows]) ** 2).mean().backward()
            torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
            self.optimizer.step()

    def predict(self) -> None:
        with torch.inference_mode():
            self.answer(self.X)


def measure(shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Medians: our epoch, theirs, our prediction, theirs."""
    X = rng.standard_normal((shape.N, shape.T, shape.F)).astype(np.float32)
    y = (X.sum(2) if shape.per_step else X[:, -1].sum(1)) / np.float32(np.sqrt(shape.F))
    peer, ours = Peer(shape, X, y), getattr(skrnn, f"{shape.cell}Regressor")(
        shape.H, num_layers=shape.layers, bidirectional=shape.bidirectional, return_sequences=shape.per_step,
        batch_size=shape.B, random_state=0, n_jobs=1,
    )  # fmt: skip
    calls = lambda: ours.partial_fit(X, y), peer.epoch, lambda: ours.predict(X), peer.predict
    for call in calls:
        call()
    rounds, start = [], time.perf_counter()
    while len(rounds) < 3 or (time.perf_counter() - start < LONGEST and len(rounds) < MOST):
        rounds.append([seconds(call) for call in calls])
    return np.median(rounds, axis=0)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of each seed")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    ratios, rows = [], []
    for seed in given.seeds:
        rng, end = np.random.default_rng(seed), time.perf_counter() + given.seconds
        while time.perf_counter() < end:
            shape = draw(rng)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of lone steps, which are drawn, too
                epoch, their_epoch, predict, their_predict = measure(shape, rng)
            ratios.append([their_epoch / epoch, their_predict / predict])
            rows.append(
                f"{shape}: epoch {epoch * 1e3:.2f} ms, {ratios[-1][0]:.2f}; "
                f"predict {predict * 1e3:.2f} ms, {ratios[-1][1]:.2f}"
            )
            print(rows[-1], flush=True)
    for name, column in zip(("epochs", "predictions"), np.transpose(ratios), strict=True):
        behind, far = np.sum(column < 1), np.sum(column < 1 / 1.1)
        print(
            f"{name}: PyTorch ahead in {behind} of {len(column)}, by more than a tenth in {far}; "
            f"its time over ours: median {np.median(column):.2f}, least {column.min():.2f}"
        )
    for row, pair in zip(rows, ratios, strict=True):
        if min(pair) < 1:
            print(row)


if __name__ == "__main__":
    main()
