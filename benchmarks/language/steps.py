"""Training steps and writing of language models, ours and PyTorch's."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from benchmarks.ours import FLOAT, new_trainer
from benchmarks.shapes import LEARNING_RATE, MAX_NORM
from benchmarks.work import Work, work
from skrnn import losses
from skrnn.decoding import Choices, Decoder
from skrnn.network import Network
from skrnn.recipe import language_network
from skrnn.sequences import Sequences, Targets
from skrnn.training import Data

CHUNKS = 16  # of T steps, in the text of each stream


class Model(NamedTuple):
    """An LSTM of `layers` layers of H units over V tokens with vectors of D numbers; B streams of T steps."""

    V: int
    D: int
    H: int
    layers: int
    B: int
    T: int
    tied: bool = False

    def network(self, threads: int) -> Network:
        return language_network(
            self.V, cell="lstm", hidden_size=self.H, num_layers=self.layers, embedding_size=self.D,
            tie_weights=self.tied, n_threads=threads,
        )  # fmt: skip

    def weights(self) -> dict[str, np.ndarray]:
        """What both begin with, by the names of ours."""
        return self.network(1).parameters.initial(np.random.RandomState(0))

    def tokens(self) -> np.ndarray:
        """(B, CHUNKS * T + 1), by Zipf's law."""
        p = 1 / np.arange(1, 1 + self.V) ** 1.1
        size = self.B, CHUNKS * self.T + 1
        return np.random.default_rng(0).choice(self.V, size, p=p / p.sum()).astype(np.int32)


def ours(model: Model, threads: int) -> Work:
    """Steps of truncated back-propagation; the result are the softmax's weights."""
    net, tokens = model.network(threads), model.tokens()
    sequences = Sequences.from_tokens(list(tokens[:, :-1]), FLOAT)
    y = Targets(np.ascontiguousarray(tokens[:, 1:]).reshape(-1, 1))
    trainer = new_trainer(
        net, net.pack(model.weights()), losses.multiclass_log_loss, Data(sequences, y, None), model.B, model.T
    )
    flops, done = net.flops(model.B * model.T, training=True), 0

    def step() -> None:
        nonlocal done
        if done % CHUNKS == 0:
            trainer.jobs.plan(np.arange(model.B))
        trainer.tape.run(1, flops)
        done += 1

    return work(step, lambda: net.unpack(trainer.params)["head.weight"])


def theirs(model: Model, threads: int) -> Work:
    """The same in PyTorch."""
    import torch

    from benchmarks.language.with_pytorch import CharacterNetwork

    torch.set_num_threads(threads)
    net = CharacterNetwork("lstm", model.V, model.D, model.H, model.layers, model.tied)
    net.load_state_dict(named(model.weights()))
    optimizer = torch.optim.Adam(net.parameters(), LEARNING_RATE, fused=True)
    tokens = torch.from_numpy(model.tokens().T.astype(np.int64)).contiguous()
    done, state = 0, None

    def step() -> None:
        nonlocal done, state
        if done % CHUNKS == 0:
            state = None
        at = done % CHUNKS * model.T
        read, after = tokens[at : at + model.T], tokens[at + 1 : at + 1 + model.T]
        scores, (h, c) = net(read, state)
        state = h.detach(), c.detach()
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), after.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), MAX_NORM)
        optimizer.step()
        done += 1

    return work(step, lambda: net.head.weight.detach().numpy())


def named(weights: dict[str, np.ndarray]) -> dict[str, Any]:
    """Arrays by the names of the network in PyTorch."""
    import torch

    found = {
        name if name.startswith(("embedding", "head")) else f"rnn.{name}": torch.from_numpy(array.copy())
        for name, array in weights.items()
    }
    if "embedding.weight" not in found:
        found["embedding.weight"] = found["head.weight"]
    return found


# --- writing ----------------------------------------------------------------------------------------
def writes(model: Model, n: int, length: int, threads: int) -> Work:
    """n texts of `length` tokens, drawn from the scores."""
    net = model.network(threads)
    choices = Choices(n, max_steps=length, temperature=1.0)
    decoder = Decoder(net, net.pack(model.weights()), choices)
    return work(lambda: decoder.write(np.zeros(n, np.int32)), lambda: np.zeros(1))


def writes_in_pytorch(model: Model, n: int, length: int, threads: int, cells: bool) -> Work:
    """The same by a loop over `LSTM`, or over `LSTMCell`."""
    import torch

    from benchmarks.language.with_pytorch import CharacterNetwork

    torch.set_num_threads(threads)
    net = CharacterNetwork("lstm", model.V, model.D, model.H, model.layers, model.tied)
    net.load_state_dict(named(model.weights()))
    cell = torch.nn.LSTMCell(model.D, model.H)
    cell.load_state_dict({name.removesuffix("_l0"): p for name, p in net.rnn.state_dict().items()})

    @torch.inference_mode()
    def write() -> None:
        token, state = torch.zeros(n, dtype=torch.long), None
        for _ in range(length):
            x = net.embedding(token)
            if cells:
                state = cell(x, state)
                scores = net.head(state[0])
            else:
                states, state = net.rnn(x[None], state)
                scores = net.head(states[0])
            token = torch.multinomial(torch.softmax(scores, dim=1), 1)[:, 0]

    return work(write, lambda: np.zeros(1))
