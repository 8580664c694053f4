"""What a network that ends in a `CTC` says: its best path, a search for the best label sequences, and where
their labels lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from . import backends
from .sequences import TOKEN

# For beginnings of label sequences, the weights of what comes next: log weights of shape (n, K).
Weigh = Callable[[list[list[int]]], np.ndarray]


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """Of each row (T, K), in float64."""
    scores = np.asarray(scores, np.float64)
    scores = scores - scores.max(axis=1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


class BestPath:
    """The most probable label of each step, read as label sequences, as far as they have come.

    Attributes
    ----------
    n_steps : int
        Read so far.
    """

    def __init__(self) -> None:
        self.n_steps, self._last = 0, np.zeros(1, np.intp)

    def read(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Labels that begin in the next steps (T, K), and the steps in which they do."""
        T, K = scores.shape
        labels, places = np.zeros((2, T), np.intp)
        flat = np.ascontiguousarray(scores, np.float64).reshape(-1)
        n = backends.get("cpu").labelling.best_path_labels(K, flat, self._last, labels, places)
        self.n_steps += T
        return labels[:n].astype(TOKEN), places[:n] + (self.n_steps - T)


class Found(NamedTuple):
    """A label sequence, and its log probability: of all paths that the search has kept."""

    labels: np.ndarray
    log_prob: float


def search(log_p: np.ndarray, width: int, weigh: Weigh | None = None) -> list[Found]:
    """The most probable label sequences, best first, of `width` beginnings that are kept at each step.

    Parameters
    ----------
    log_p : ndarray of shape (T, K)
        Log probabilities of the labels, of which 0 is the blank.
    width : int
    weigh : callable, optional
        Called with the beginnings that are kept: log weights of shape (n, K) by which what comes next counts
        more or less, such as a language model's. They are part of the log probabilities then.

    Returns
    -------
    list of at most `width` (labels, log_prob)
    """
    T, K = log_p.shape
    flat, room = np.ascontiguousarray(log_p, np.float64).reshape(-1), T * width + 1
    parent, label, child, sibling = np.full((4, room), -1, np.intp)
    label[0] = 0
    n_kept, n_nodes, node = np.ones(1, np.intp), np.ones(1, np.intp), np.zeros(width, np.intp)
    ends, said, log_scale = np.zeros(width), np.zeros(width), np.zeros(1)
    ends[0] = 1.0
    new_said, new_ends, came = np.zeros(2 * width), np.zeros(2 * width), np.zeros((2, width), np.intp)
    weights, totals, p = np.ones(width * K), np.zeros(width), np.zeros(K)

    def beginning(i: int) -> list[int]:
        found = []
        while i > 0:
            found.append(int(label[i]))
            i = parent[i]
        return found[::-1]

    for stretch in np.split(flat, T) if weigh is not None else [flat]:
        if weigh is not None and n_kept[0]:
            own = np.exp(weigh([beginning(i) for i in node[: n_kept[0]]]))
            weights[: own.size] = own.reshape(-1)
        backends.get("cpu").labelling.search_prefixes(
            K, width, stretch, weights, n_kept, n_nodes, parent, label, child, sibling, node, ends, said,
            log_scale, p, new_said, new_ends, *came, totals,
        )  # fmt: skip
    total = (ends + said)[: n_kept[0]]
    order = np.argsort(-total, kind="stable")
    return [Found(np.array(beginning(node[i]), TOKEN), float(np.log(total[i]) + log_scale[0])) for i in order]


def align(log_p: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first and the last step of each label on the most probable path that says them.

    Raises
    ------
    ValueError
        If no path does: there are too few steps, or a label has no probability.
    """
    T, K = log_p.shape
    S = len(labels)
    if S and not 1 <= np.min(labels) <= np.max(labels) < K:
        raise ValueError(f"labels are 1 to {K - 1}, got {np.min(labels)} to {np.max(labels)}")
    first, last = np.full((2, S), -1, np.intp)
    total = backends.get("cpu").labelling.align_labels(
        K, np.ascontiguousarray(log_p, np.float64).reshape(-1), np.asarray(labels, np.intp),
        np.empty(2 * (2 * S + 1)), np.empty(T * (2 * S + 1), np.int8), first, last,
    )  # fmt: skip
    if not total > -np.inf:
        raise ValueError(f"no path through {T} steps says these {S} labels")
    return first, last


def steps_needed(labels: np.ndarray) -> int:
    """By label sequences: one for each label, and one between two that are the same."""
    labels = np.asarray(labels)
    return max(1, len(labels) + int((labels[1:] == labels[:-1]).sum()))
