"""The network of a translator in PyTorch: its training as users write it, and a plain beam search."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from benchmarks.peers.pytorch import LAYERS

IGNORED = -100  # what pads targets


class EncoderDecoder(torch.nn.Module):
    """Both texts padded, (T, B)."""

    def __init__(
        self, n_source: int, n_target: int, *, cell: str, hidden_size: int, embedding_size: int,
        attention: str | None, num_layers: int = 1, dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        H, size = hidden_size, embedding_size
        self.layers, self.attention, between = num_layers, attention, dropout if num_layers > 1 else 0.0
        self.source = torch.nn.Embedding(n_source, size)
        self.target = torch.nn.Embedding(n_target, size)
        self.encoder = LAYERS[cell](size, H // 2, num_layers, bidirectional=True, dropout=between)
        self.decoder = LAYERS[cell](size, H, num_layers, dropout=between)
        self.keys = torch.nn.Linear(H, H, bias=False) if attention == "general" else None
        self.joined = torch.nn.Linear(2 * H, H) if attention else None
        self.head, self.dropped = torch.nn.Linear(H, n_target), torch.nn.Dropout(dropout)

    def encode(self, source: Any, lengths: Any) -> tuple[Any, Any]:
        """The states (B, S, H), zero beyond a source's end, and the decoder's first ones."""
        packed = pack_padded_sequence(self.dropped(self.source(source)), lengths, enforce_sorted=False)
        states, last = self.encoder(packed)
        memory, _ = pad_packed_sequence(states, batch_first=True)

        def joined(state: Any) -> Any:  # of directions, side by side
            n = state.shape[1]
            parts = state.reshape(self.layers, 2, n, -1).transpose(1, 2)
            return parts.reshape(self.layers, n, -1).contiguous()

        return memory, tuple(map(joined, last)) if isinstance(last, tuple) else joined(last)

    def decode(self, target: Any, state: Any, memory: Any, mask: Any) -> tuple[Any, Any]:
        """Scores (T, B, V) of the tokens behind these (T, B); mask (B, 1, S): where a source has ended."""
        states, state = self.decoder(self.dropped(self.target(target)), state)
        if self.joined is not None:
            queries, keys = states.transpose(0, 1), memory if self.keys is None else self.keys(memory)
            scores = torch.bmm(queries, keys.transpose(1, 2)).masked_fill(mask, -math.inf)
            context = torch.bmm(torch.softmax(scores, dim=2), memory)
            states = torch.tanh(self.joined(torch.cat([context, queries], dim=2))).transpose(0, 1)
        return self.head(self.dropped(states)), state

    def forward(self, source: Any, lengths: Any, target: Any) -> Any:
        memory, state = self.encode(source, lengths)
        return self.decode(target, state, memory, ended(lengths, memory.shape[1]))[0]


def ended(lengths: Any, n: int) -> Any:
    return (torch.arange(n)[None] >= lengths[:, None])[:, None]


NAMES = {  # of modules, by the beginnings of our arrays' names
    "encoder.embedding.weight": "source.weight",
    "decoder.embedding.weight": "target.weight",
    "attention.keys.weight": "keys.weight",
    "attention.weight": "joined.weight",
    "attention.bias": "joined.bias",
}


def load(net: EncoderDecoder, weights: dict[str, np.ndarray]) -> None:
    """The weights of ours."""
    found = {NAMES.get(name, name): torch.from_numpy(array.copy()) for name, array in weights.items()}
    net.load_state_dict(found)


def weights_of(net: EncoderDecoder, names: Any) -> dict[str, np.ndarray]:
    """By the names of ours."""
    own = net.state_dict()
    return {name: own[NAMES.get(name, name)].numpy().copy() for name in names}


def minibatches(sources: list[Any], targets: list[Any], size: int, rng: Any) -> Iterator[tuple[Any, ...]]:
    """Padded: source, its lengths, target from `begin` on, and what comes behind. In a new order."""
    order = rng.permutation(len(sources))
    for first in range(0, len(order), size):
        own = order[first : first + size]
        source = [torch.from_numpy(sources[i].astype(np.int64)) for i in own]
        read = [torch.from_numpy(targets[i][:-1].astype(np.int64)) for i in own]
        after = [torch.from_numpy(targets[i][1:].astype(np.int64)) for i in own]
        lengths = torch.tensor([len(tokens) for tokens in source])
        yield pad_sequence(source), lengths, pad_sequence(read), pad_sequence(after, padding_value=IGNORED)


def loss_of(net: EncoderDecoder, minibatch: tuple[Any, ...], smoothing: float) -> Any:
    *read, after = minibatch
    scores = net(*read)
    return cross_entropy(
        scores.flatten(0, 1), after.flatten(), ignore_index=IGNORED, label_smoothing=smoothing
    )


def train(
    net: EncoderDecoder, model: Any, sources: list[Any], targets: list[Any], seconds: float, seed: int,
    batch_size: int,
) -> tuple[int, float]:  # fmt: skip
    """As many whole passes as fit into the time, with a model's rates and smoothing: the passes, and the
    seconds that they took. `targets` from `begin` to end."""
    torch.manual_seed(seed)
    rng, n_updates, done = np.random.default_rng(seed), -(-len(sources) // batch_size), 0
    net.train()
    trial = torch.optim.Adam(net.parameters(), 0.0)
    start = time.perf_counter()
    for k, minibatch in enumerate(minibatches(sources, targets, batch_size, rng)):
        if k == 30:
            break
        trial.zero_grad()
        loss_of(net, minibatch, model.label_smoothing).backward()
        trial.step()
    passes = max(1, int(seconds / ((time.perf_counter() - start) / 30 * n_updates)))
    optimizer = torch.optim.Adam(net.parameters(), model.learning_rate_init)
    start = time.perf_counter()
    for _ in range(passes):
        for minibatch in minibatches(sources, targets, batch_size, rng):
            rate = 0.5 * (1 + math.cos(math.pi * done / (passes * n_updates)))
            for group in optimizer.param_groups:
                group["lr"] = model.learning_rate_init * rate
            optimizer.zero_grad()
            loss_of(net, minibatch, model.label_smoothing).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), model.max_grad_norm)
            optimizer.step()
            done += 1
    net.eval()
    return passes, time.perf_counter() - start


@torch.inference_mode()
def beam_search(
    net: EncoderDecoder, source: Any, lengths: Any, width: int, begin: int, end: int, most: int
) -> list[list[int]]:  # fmt: skip
    """All sentences at once, as tutorials write it: at each step the best of all continuations of a
    sentence's rows; a row that has ended goes on with `end` at no cost. The best by log p / length."""
    memory, state = net.encode(source, lengths)
    n, mask = len(lengths), ended(lengths, memory.shape[1])

    def repeated(rows: Any, axis: int) -> Any:
        return rows.repeat_interleave(width, axis)

    memory, mask = repeated(memory, 0), repeated(mask, 0)
    state = tuple(repeated(s, 1) for s in state) if isinstance(state, tuple) else repeated(state, 1)
    tokens = torch.full((n * width, 1), begin)
    total = torch.full((n, width), -math.inf)
    total[:, 0] = 0.0
    over = torch.zeros(n, width, dtype=torch.bool)
    of_end = torch.full((net.head.out_features,), -math.inf)
    of_end[end] = 0.0
    for _ in range(most):
        scores, state = net.decode(tokens[:, -1][None], state, memory, mask)
        log_p = torch.log_softmax(scores[0], dim=1).reshape(n, width, -1)
        log_p = torch.where(over[:, :, None], of_end, log_p)
        total, best = (total[:, :, None] + log_p).reshape(n, -1).topk(width, dim=1)
        parent, token = best // log_p.shape[2], best % log_p.shape[2]
        rows = (torch.arange(n)[:, None] * width + parent).flatten()
        tokens = torch.cat([tokens[rows], token.reshape(-1, 1)], dim=1)
        state = tuple(s[:, rows] for s in state) if isinstance(state, tuple) else state[:, rows]
        over = over.flatten()[rows].reshape(n, width) | (token == end)
        if over.all():
            break
    written = tokens[:, 1:].reshape(n, width, -1)
    lengths_ = (written != end).sum(dim=2) + 1
    chosen = (total / lengths_).argmax(dim=1)
    return [[t for t in written[i, k].tolist() if t != end] for i, k in enumerate(chosen.tolist())]
