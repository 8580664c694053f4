"""The same networks in PyTorch, and the fit of an estimator's parameters as its users write it.

What differs: vectors begin as standard normal numbers and weights as each library has them; of tokens not
whole types are dropped but single numbers of their vectors; recurrent dropout, which PyTorch has not, is
left out; and there are as many outputs as classes, of two classes as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence, pad_sequence

from benchmarks.peers.pytorch import LAYERS
from benchmarks.work import Unavailable

SOLVERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
# Parameters that a fit follows; others must be as they are by default.
CARRIED = {
    "hidden_size", "num_layers", "bidirectional", "dropout", "head_dropout", "pooling", "return_sequences",
    "embedding_size", "embedding_updates", "embedding_dropout", "solver", "alpha", "batch_size",
    "learning_rate", "learning_rate_init", "max_grad_norm", "max_iter", "random_state", "loss",
    "class_weight",
}  # fmt: skip
WITHOUT = {"recurrent_dropout", "n_jobs", "tol", "n_iter_no_change"}  # it trains for all its epochs
MANY = 256  # sequences of a prediction


class TokenNetwork(torch.nn.Module):
    """Vectors of tokens, recurrent layers, pooling over time, a dense head.

    It reads tokens (T, B, n_columns) of sequences that are equally long, or packed ones, and answers with
    scores (B, n_out), or (T, B, n_out) per step.
    """

    def __init__(
        self, cell: str, tables: Sequence[tuple[int, int]], n_out: int, hidden_size: int, *,
        num_layers: int = 1, bidirectional: bool = False, pooling: str = "last",
        return_sequences: bool = False, crf: bool = False, dropout: float = 0.0, head_dropout: float = 0.0,
        embedding_dropout: float = 0.0, sparse: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if pooling not in ("last", "mean", "max"):
            raise Unavailable(f"pooling={pooling!r} is not written here")
        self.directions, self.pooling, self.return_sequences = 1 + bidirectional, pooling, return_sequences
        self.tables = torch.nn.ModuleList(torch.nn.Embedding(*table, sparse=sparse) for table in tables)
        self.vector_dropout = torch.nn.Dropout(embedding_dropout)
        self.rnn = LAYERS[cell](
            sum(width for _, width in tables), hidden_size, num_layers=num_layers,
            bidirectional=bidirectional, dropout=dropout if num_layers > 1 else 0.0,
        )  # fmt: skip
        self.head_dropout = torch.nn.Dropout(head_dropout)
        self.head = torch.nn.Linear(hidden_size * self.directions, n_out)
        self.chain = LinearChain(n_out) if crf else None

    def forward(self, tokens):
        packed = isinstance(tokens, PackedSequence)
        columns = (tokens.data if packed else tokens).unbind(-1)
        read = torch.cat([table(column) for table, column in zip(self.tables, columns)], dim=-1)
        read = self.vector_dropout(read)
        if packed:
            read = PackedSequence(read, tokens.batch_sizes, tokens.sorted_indices, tokens.unsorted_indices)
        states, last = self.rnn(read)
        if not self.return_sequences and self.pooling == "last":
            h = last[0] if isinstance(last, tuple) else last
            return self.head(self.head_dropout(torch.cat(tuple(h[-self.directions :]), dim=1)))
        lengths = None
        if packed:
            states, lengths = pad_packed_sequence(states)
        if not self.return_sequences:
            states = self._pooled(states, lengths)
        return self.head(self.head_dropout(states))

    def _pooled(self, states, lengths):
        """Over time; states (T, B, width) behind the end of a sequence are 0."""
        if lengths is None:
            return states.mean(dim=0) if self.pooling == "mean" else states.amax(dim=0)
        if self.pooling == "mean":
            return states.sum(dim=0) / lengths[:, None]
        return states.masked_fill(~mask_of(lengths)[:, :, None], -math.inf).amax(dim=0)


def mask_of(lengths):
    """Which steps (T, B) there are."""
    return torch.arange(int(lengths.max()))[:, None] < lengths


class LinearChain(torch.nn.Module):
    """pytorch-crf's algorithm: forward in logarithms, step by step, and Viterbi's with back pointers.

    The score of the labels, however, is looked up for all steps at once, which is faster. `mask` (T, B) says
    which steps there are; None: all.
    """

    def __init__(self, n_labels: int) -> None:
        super().__init__()
        self.transitions, self.start_transitions, self.end_transitions = (
            torch.nn.Parameter(torch.empty(size).uniform_(-0.1, 0.1))
            for size in ((n_labels, n_labels), n_labels, n_labels)
        )

    def loss(self, scores, labels, mask=None):
        """-log p of labels (T, B) for scores (T, B, K), the mean over steps."""
        T, B = labels.shape
        mask = torch.ones(T, B, dtype=torch.bool) if mask is None else mask
        each, last = torch.arange(B), mask.sum(dim=0) - 1
        own = scores.gather(2, labels[:, :, None])[:, :, 0]
        own = torch.cat([own[:1], own[1:] + self.transitions[labels[:-1], labels[1:]]])
        score = self.start_transitions[labels[0]] + (own * mask).sum(dim=0)
        score = score + self.end_transitions[labels[last, each]]
        alpha, whole = self.start_transitions + scores[0], mask.all(dim=1).tolist()
        for t in range(1, T):
            more = torch.logsumexp(alpha[:, :, None] + self.transitions + scores[t][:, None, :], dim=1)
            alpha = more if whole[t] else torch.where(mask[t][:, None], more, alpha)
        return (torch.logsumexp(alpha + self.end_transitions, dim=1) - score).sum() / mask.sum()

    def labels(self, scores, mask):
        """The best labels (T, B)."""
        best, came_from = self.start_transitions + scores[0], []
        stay = torch.arange(scores.shape[2])
        for t in range(1, len(scores)):
            more, where = (best[:, :, None] + self.transitions + scores[t][:, None, :]).max(dim=1)
            there = mask[t][:, None]
            best, where = torch.where(there, more, best), torch.where(there, where, stay)
            came_from.append(where)
        path = [(best + self.end_transitions).argmax(dim=1)]
        for where in reversed(came_from):
            path.append(where.gather(1, path[-1][:, None])[:, 0])
        return torch.stack(path[::-1])


class Learner:
    """``learn(loss, rate)``: backward pass, clipping, Adam, and SparseAdam for sparse tables.

    Biases and the scores of a chain do not decay. Only dense gradients are clipped where there are sparse
    ones.
    """

    def __init__(
        self, net: TokenNetwork, rate: float, *, solver: str = "adam", alpha: float = 0.0,
        max_norm: float | None = 1.0, epsilon: float = 1e-8, fused: bool = True,
    ) -> None:  # fmt: skip
        tables = [table.weight for table in net.tables if table.sparse]
        named = [(n, p) for n, p in net.named_parameters() if all(p is not table for table in tables)]
        without_decay = [p for n, p in named if "bias" in n or n.startswith("chain")]
        with_decay = [p for n, p in named if not ("bias" in n or n.startswith("chain"))]
        self.clipped, self.max_norm = with_decay + without_decay, max_norm
        groups = [
            {"params": with_decay, "weight_decay": alpha},
            {"params": without_decay, "weight_decay": 0.0},
        ]
        self.optimizers: list[Any] = [SOLVERS[solver](groups, lr=rate, eps=epsilon, fused=fused)]
        if tables:
            self.optimizers.append(torch.optim.SparseAdam(tables, lr=rate, eps=epsilon))

    def __call__(self, loss, rate: float | None = None) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        if self.max_norm is not None:
            clip_grad_norm_(self.clipped, self.max_norm)
        for optimizer in self.optimizers:
            if rate is not None:
                for group in optimizer.param_groups:
                    group["lr"] = rate
            optimizer.step()


# --- a fit ----------------------------------------------------------------------------------------
class Fitted:
    """A network that has learnt, and its classes."""

    def __init__(self, net: TokenNetwork, classes: np.ndarray) -> None:
        self.net, self.classes = net, classes

    def predict(self, X: Sequence[np.ndarray]) -> np.ndarray | list[np.ndarray]:
        self.net.eval()
        found: list[np.ndarray] = []
        with torch.inference_mode():
            for part in torch.arange(len(X)).split(MANY):
                tokens = [as_tensor(X[i]) for i in part]
                scores = self.net(pack_sequence(tokens, enforce_sorted=False))
                if self.net.chain is None:
                    found += self.classes[scores.argmax(dim=1).numpy()].tolist()
                    continue
                lengths = torch.tensor([len(row) for row in tokens])
                labels = self.net.chain.labels(scores, mask_of(lengths)).numpy()
                found += [self.classes[labels[:n, i]] for i, n in enumerate(lengths.tolist())]
        return np.array(found) if self.net.chain is None else found


def as_tensor(tokens: np.ndarray):
    """(T, n_columns); of a document without tokens one unknown, as the estimators have it."""
    tokens = tokens if len(tokens) else np.zeros((1, *np.shape(tokens)[1:]), np.int32)
    return torch.from_numpy(np.asarray(tokens, np.int64).reshape(len(tokens), -1))


def fit(classifier: Any, X: Sequence[np.ndarray], y: Sequence[Any]) -> Fitted:
    """Train on tokens and labels with the parameters of an estimator, which stays as it is.

    Raises
    ------
    Unavailable
        Where it has parameters that are not followed here.
    """
    given = parameters_of(classifier)
    torch.manual_seed(given["random_state"])
    per_step = given["return_sequences"]
    classes, codes = np.unique(np.concatenate(y) if per_step else y, return_inverse=True)
    tokens = [as_tensor(row) for row in X]
    labels = torch.from_numpy(codes).split([len(row) for row in tokens] if per_step else 1)
    most = torch.stack([row.amax(dim=0) for row in tokens]).amax(dim=0)
    sizes = given["embedding_size"]
    sizes = [sizes] * len(most) if isinstance(sizes, int) else sizes
    net = TokenNetwork(
        given["cell"], [(n + 1, size) for n, size in zip(most.tolist(), sizes)], len(classes),
        given["hidden_size"], crf=per_step, sparse=given["embedding_updates"] == "lazy",
        **{name: given[name] for name in (
            "num_layers", "bidirectional", "pooling", "return_sequences", "dropout", "head_dropout",
            "embedding_dropout",
        )},
    )  # fmt: skip
    weights = None
    if given["class_weight"] is not None:
        weights = torch.tensor([given["class_weight"][c] for c in classes], dtype=torch.float32)
    learn = Learner(
        net, given["learning_rate_init"], solver=given["solver"], alpha=given["alpha"],
        max_norm=given["max_grad_norm"],
    )  # fmt: skip
    net.train()
    for rate, batch in minibatches(len(tokens), given):
        scores = net(pack_sequence([tokens[i] for i in batch], enforce_sorted=False))
        right = [labels[i] for i in batch]
        if net.chain is None:
            loss = cross_entropy(scores, torch.cat(right), weight=weights)
        else:
            loss = net.chain.loss(scores, pad_sequence(right), mask_of(torch.tensor([*map(len, right)])))
        learn(loss, rate)
    return Fitted(net, classes)


def parameters_of(classifier: Any) -> dict[str, Any]:
    """Those that a fit follows, and the cell."""
    given, usual = classifier.get_params(), type(classifier)().get_params()
    lost = {name for name in given if given[name] != usual[name]} - CARRIED - WITHOUT
    chain = given["loss"] == "crf"
    if lost or given["learning_rate"] == "plateau" or given["return_sequences"] != chain:
        raise Unavailable(f"not written here: {', '.join(sorted(lost)) or 'this schedule, or this loss'}")
    cell = type(classifier).__name__.removesuffix("Classifier").lower()
    batch_size = 32 if given["batch_size"] == "auto" else given["batch_size"]
    return given | {"cell": cell, "batch_size": batch_size}


def minibatches(n: int, given: dict[str, Any]) -> Iterator[tuple[float, list[int]]]:
    """Learning rates and numbers of sequences, in a new order for each epoch."""
    epochs, first = given["max_iter"], given["learning_rate_init"]
    for epoch in range(epochs):
        batches = torch.randperm(n).split(given["batch_size"])
        for k, batch in enumerate(batches):
            share = (epoch + k / len(batches)) / epochs
            cosine = 0.5 * (1 + math.cos(math.pi * share)) if given["learning_rate"] == "cosine" else 1.0
            yield first * cosine, batch.tolist()
