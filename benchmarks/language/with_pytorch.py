"""The network of a language model in PyTorch, and its training as users write it."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from benchmarks.peers.pytorch import LAYERS
from skrnn.text.corpus import streams


class CharacterNetwork(torch.nn.Module):
    """Vectors of tokens, layers, scores of the next one; texts (T, B)."""

    def __init__(
        self, cell: str, n_tokens: int, size: int, hidden: int, layers: int = 1, tied: bool = False
    ) -> None:  # fmt: skip
        super().__init__()
        self.embedding = torch.nn.Embedding(n_tokens, size)
        self.rnn = LAYERS[cell](size, hidden, layers)
        self.head = torch.nn.Linear(hidden, n_tokens)
        if tied:
            self.embedding.weight = self.head.weight

    def forward(self, tokens: Any, state: Any = None) -> Any:
        states, state = self.rnn(self.embedding(tokens), state)
        return self.head(states), state


class Characters:
    """Trains the network of a fitted model on the same text with the same minibatches."""

    def __init__(
        self, model: Any, text: str, threads: int, n_streams: int = 16, solver: str = "adam", layers: int = 1
    ) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        (tokens,) = model.encoder_.transform([text])
        own, a = streams(tokens, n_streams), model._architecture
        n = min(map(len, own))  # some have a token more
        self.after = torch.from_numpy(np.stack([each[:n] for each in own], axis=1).astype(np.int64))
        begin = torch.full((1, n_streams), model._vocabulary.begin)
        self.read, self.steps = torch.cat([begin, self.after[:-1]]), int(model.tbptt_steps)
        self.net = CharacterNetwork(a["cell"], a["n_tokens"], a["embedding_size"], a["hidden_size"], layers)
        self.solver, self.rate, self.max_norm = solver, model.learning_rate_init, model.max_grad_norm

    def begin(self, model: Any) -> None:
        """With the weights that the model began with."""
        network = model._fitted_network(model._architecture, "cpu")
        rng = np.random.RandomState(model.random_state)
        rng.randint(np.iinfo(np.int32).max)  # of its dropout masks
        weights = network.parameters.initial(rng)
        names = {name: name if "." in name else f"rnn.{name}" for name in weights}
        self.net.load_state_dict({names[name]: torch.from_numpy(own) for name, own in weights.items()})

    def passes(self, n: int) -> float:
        """Seconds of n passes, the rate falling to zero."""
        make = torch.optim.SGD if self.solver == "sgd" else torch.optim.Adam
        optimizer = make(self.net.parameters(), self.rate)
        start, done = time.perf_counter(), 0
        n_updates = n * math.ceil(len(self.read) / self.steps)
        for _ in range(n):
            state = None
            for at in range(0, len(self.read), self.steps):
                for group in optimizer.param_groups:
                    group["lr"] = self.rate * 0.5 * (1 + math.cos(math.pi * done / n_updates))
                scores, state = self.net(self.read[at : at + self.steps], state)
                state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
                loss = cross_entropy(scores.flatten(0, 1), self.after[at : at + self.steps].flatten())
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.max_norm)
                optimizer.step()
                done += 1
        return time.perf_counter() - start

    @torch.inference_mode()
    def loss(self, text: str, model: Any) -> float:
        """Mean over the tokens of a text."""
        (tokens,) = model.encoder_.transform([text])
        tokens, state, total = np.concatenate([[model._vocabulary.begin], tokens]), None, 0.0
        own = torch.from_numpy(tokens.astype(np.int64))[:, None]
        for at in range(0, len(own) - 1, 1000):
            after = own[at + 1 : at + 1001]
            scores, state = self.net(own[at : at + len(after)], state)
            total += float(cross_entropy(scores.flatten(0, 1), after.flatten(), reduction="sum"))
        return total / (len(own) - 1)
