"""Training steps of networks that read tokens, minibatch after minibatch; and of ours."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from benchmarks.ours import FLOAT, new_trainer
from benchmarks.work import Work, work
from skrnn import losses
from skrnn.network import Network
from skrnn.recipe import recurrent_network
from skrnn.sequences import Sequences, Targets
from skrnn.training import Data

BATCHES = 64  # different ones, so that a table is read all over
ZIPF = 1.1  # its exponent in a text
# PyTorch's SparseAdam adds it before the bias correction, its Adam and ours behind it: with the usual 1e-8,
# vectors with small gradients would differ.
EPSILON = 1e-16


class Reader(NamedTuple):
    """An LSTM that reads minibatches of tokens: B sequences of T steps, each of one of V tokens.

    D numbers in the vector of a token, H hidden units, K classes: of each sequence, from the last state; of
    a tagger, of each step, with states of both directions and a chain of labels.
    """

    B: int
    T: int
    V: int
    D: int
    H: int
    K: int = 2
    tagger: bool = False

    @property
    def parameters(self) -> dict[str, object]:
        """As of a network of an estimator."""
        return {"hidden_size": self.H, "bidirectional": self.tagger, "return_sequences": self.tagger}

    def tokens(self, drawn: str) -> np.ndarray:
        """(BATCHES, B, T), all as frequent as one another, or by Zipf's law, as in a text."""
        rng, size = np.random.default_rng(0), (BATCHES, self.B, self.T)
        if drawn == "uniform":
            return rng.integers(0, self.V, size, dtype=np.int32)
        p = 1 / np.arange(1, 1 + self.V) ** ZIPF
        return rng.choice(self.V, size, p=p / p.sum()).astype(np.int32)

    def labels(self) -> np.ndarray:
        """(BATCHES, B), or (BATCHES, B, T)."""
        size = (BATCHES, self.B, self.T) if self.tagger else (BATCHES, self.B)
        return np.random.default_rng(1).integers(0, self.K, size)

    def network(self, updates: str, threads: int) -> Network:
        return recurrent_network(
            0, self.K, cell="lstm", tables=((self.V, self.D),), embedding_updates=updates, crf=self.tagger,
            n_threads=threads, **self.parameters,
        )  # fmt: skip

    def weights(self) -> dict[str, np.ndarray]:
        """What all begin with, by the names of ours."""
        return self.network("dense", 1).parameters.initial(np.random.RandomState(0))


def ours(reader: Reader, updates: str, drawn: str, threads: int) -> Work:
    """The steps of a fit: minibatches are sorted, looked up and learnt from.

    The result are the head's weights and the vectors of the first minibatch's tokens.
    """
    net, tokens, labels = reader.network(updates, threads), reader.tokens(drawn), reader.labels()
    sequences = Sequences.from_tokens(list(tokens.reshape(-1, reader.T)), FLOAT)
    data = Data(sequences, Targets(labels.reshape(-1, 1).astype(FLOAT)), None)
    trainer = new_trainer(net, net.pack(reader.weights()), losses.multiclass_log_loss, data, reader.B)
    jobs, order = trainer.jobs, np.arange(len(sequences))
    flops = net.flops(reader.B * reader.T, training=True)
    done = 0

    def step() -> None:
        nonlocal done
        if done % BATCHES == 0:
            jobs.plan(order)
        trainer.tape.run(1, flops)
        done += 1

    def result() -> np.ndarray:
        found = net.unpack(trainer.params)
        return learnt(found["head.weight"], found["embedding.weight"], tokens)

    return work(step, result)


def learnt(head: np.ndarray, table: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """What is compared after some steps."""
    return np.concatenate([head.ravel(), table[np.unique(tokens[0])].ravel()])
