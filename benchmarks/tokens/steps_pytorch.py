"""The same training steps in PyTorch, in the form that is fastest for it: time-major, without packing."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from benchmarks.shapes import LEARNING_RATE, MAX_NORM
from benchmarks.tokens.steps import EPSILON, Reader, learnt
from benchmarks.tokens.with_pytorch import Learner, TokenNetwork
from benchmarks.work import Work, work


def step(reader: Reader, updates: str, drawn: str, threads: int, fused: bool = True) -> Work:
    """With "lazy" updates, a sparse table and SparseAdam; else Adam for all."""
    torch.set_num_threads(threads)
    net = TokenNetwork(
        "lstm", [(reader.V, reader.D)], reader.K, crf=reader.tagger, sparse=updates == "lazy",
        **reader.parameters,
    )  # fmt: skip
    load(net, reader.weights())
    net.train()
    learn = Learner(net, LEARNING_RATE, max_norm=MAX_NORM, epsilon=EPSILON, fused=fused)
    tokens, labels = reader.tokens(drawn), reader.labels()
    X = [torch.from_numpy(np.ascontiguousarray(own.T[:, :, None])) for own in tokens]
    y = [torch.from_numpy(np.ascontiguousarray(own.T)) for own in labels]
    minibatches = cycle(zip(X, y))

    def run() -> None:
        read, right = next(minibatches)
        scores = net(read)
        learn(cross_entropy(scores, right) if net.chain is None else net.chain.loss(scores, right))

    def result() -> np.ndarray:
        return learnt(net.head.weight.detach().numpy(), net.tables[0].weight.detach().numpy(), tokens)

    return work(run, result)


def load(net: TokenNetwork, weights: dict[str, np.ndarray]) -> None:
    """Arrays by the names of ours, of a network with one table."""
    names = {"embedding.weight": "tables.0.weight"}
    names |= {name: f"rnn.{name}" for name in weights if name.startswith(("weight_", "bias_"))}
    names |= {name: name.replace("crf.", "chain.") for name in weights if name.startswith("crf.")}
    net.load_state_dict(
        {names.get(name, name): torch.from_numpy(own.copy()) for name, own in weights.items()}
    )
