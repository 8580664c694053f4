"""A conditional random field over the labels of a sequence's steps, a linear chain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..layout import Place, Section
from ..recording import Recording, Rows, Weighed
from ..sequences import TOKEN, Targets
from .link import Link


def small(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(-0.1, 0.1, shape)


class CRF(Link):
    """Scores of label sequences (Lafferty, McCallum & Pereira 2001, "Conditional random fields"):

        score(y) = start[y_1] + sum of s_t[y_t] + sum of transitions[y_{t-1}, y_t] + end[y_T]

    with p(y) = exp(score(y)) / Z; s_t, the scores of labels at a step, are what it reads. What it makes is a
    promise, `Chain`: losses, probabilities, best paths.
    """

    whole = True  # the first labels depend on the last steps

    def __init__(self, name: str, read: str, n_labels: int) -> None:
        super().__init__(name, read)
        self.width = n_labels

    def sections(self) -> Iterator[Section]:
        """With pytorch-crf's names and first values; like biases, they do not decay."""
        K = self.width
        for name, shape in ("transitions", (K, K)), ("start_transitions", (K,)), ("end_transitions", (K,)):
            yield Section(f"{self.name}.{name}", shape, small, False)

    def places(self) -> Iterator[tuple[str, Iterator[Place]]]:
        K = self.width
        columns = {"transitions": K, "start_transitions": 1, "end_transitions": 1}
        yield (
            self.name,
            (
                Place(name, f"{self.name}.{name}", 1, (0,), (1, K, n), (0, 1, 2))
                for name, n in columns.items()
            ),
        )

    def forward(self, rec: Recording, value: Any) -> Chain:
        scores = value.rows(rec)
        return Chain(self, scores.copied(rec, self.name, self.width) if scores.past else scores)

    def backward(self, rec: Recording, *gradients: Rows, need: tuple[bool, ...]) -> tuple[Rows | None, ...]:
        """What comes in is the gradient of the scores: the loss has gone through the lattice already."""
        return gradients

    def flops(self, n_rows: float) -> float:
        return 2.0 * self.width**2 * n_rows


class Chain:
    """Label sequences, for scores (R, n_labels) of steps."""

    def __init__(self, link: CRF, scores: Rows) -> None:
        self.link, self.scores, self.per = link, scores, scores.per

    def rows(self, rec: Recording) -> Rows:
        """The scores of the steps."""
        return self.scores

    def objective(
        self, rec: Recording, y: Targets, w: np.ndarray | None = None, *, learns: bool = False
    ) -> tuple[Weighed, Rows]:
        """Record the losses of all sequences, -log p of their labels, and the gradient of the scores; if it
        learns, also those of the link's arrays.

        Labels of steps with a weight of zero are not known: -log of the sum over all of them. Other weights
        are equal within a sequence, of which one counts for all. Of the losses, the mean is that of a step
        with a label: the sum of w_i l_i by the sum of w_i n_i, where sequence i has n_i such steps.

        Raises
        ------
        ValueError
            If the targets are no labels.
        """
        least, most, n = y.values.min(initial=0), y.values.max(initial=0), self.link.width
        if not (least >= 0 and most < n) or y.width != 1:
            raise ValueError(f"the targets of a CRF are labels 0 to {n - 1}, got {least} to {most}")
        d = rec.new_rows(self.link.name, "d", row=self.scores.row)
        into = rec.gradients(self.link.name) if learns else None
        return rec.backend.chain_objective(rec, self.scores, self._arrays(rec), y, w, d, into), d

    def marginals(self, rec: Recording) -> Rows:
        """Record the probabilities of the labels at each step, rows (R, n_labels) in float64."""
        out = rec.new_rows(self.link.name, "marginals", row=self.link.width, dtype=np.dtype(np.float64))
        rec.backend.chain_marginals(rec, self.scores, self._arrays(rec), out)
        return out

    def labels(self, rec: Recording) -> Rows:
        """Record the labels of the best paths, rows (R, 1)."""
        out = rec.new_rows(self.link.name, "labels", row=1, dtype=TOKEN)
        rec.backend.best_path(rec, self.scores, self._arrays(rec), out)
        return out

    def _arrays(self, rec: Recording) -> dict[str, Any]:
        return rec.weights(self.link.name)
