"""Connectionist temporal classification: labels that are fewer than steps, and of unknown places."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..batches import SIZE_B
from ..recording import Recording, Rows, Weighed
from ..sequences import Targets
from .link import Link

BLANK = 0  # the label of steps that say nothing


class CTC(Link):
    """Probabilities of label sequences (Graves et al. 2006, "Connectionist temporal classification"):

        p(y) = sum over all paths that say y of the product of p_t[path_t],    p_t = softmax(s_t)

    A path has a label at each step, of which 0 is the blank; it says what is left of it when labels that
    follow on their like, and then the blanks, are taken out. s_t are scores of the labels at a step, which it
    reads. What it makes is a promise, `Labelling`, one for each sequence.
    """

    per = SIZE_B
    whole = True  # where the first label lies depends on the last steps

    def __init__(self, name: str, read: str, n_labels: int) -> None:
        super().__init__(name, read)
        self.width = n_labels

    def forward(self, rec: Recording, value: Any) -> Labelling:
        return Labelling(self, value.rows(rec))

    def backward(self, rec: Recording, *gradients: Rows, need: tuple[bool, ...]) -> tuple[Rows | None, ...]:
        """What comes in is the gradient of the scores: the loss has gone through the paths already."""
        return gradients


class Labelling:
    """Of label sequences, for scores (R, n_labels) of steps."""

    def __init__(self, link: CTC, scores: Rows) -> None:
        self.link, self.scores, self.per = link, scores, SIZE_B

    def rows(self, rec: Recording) -> Rows:
        """The scores of the steps."""
        return self.scores

    def objective(
        self, rec: Recording, y: Targets, w: np.ndarray | None = None, *, learns: bool = False
    ) -> tuple[Weighed, Rows]:
        """Record the losses of all sequences, -log p of their labels, and, if it learns, the gradient of the
        scores of their mean.

        Raises
        ------
        ValueError
            If the targets are no sequences of labels.
        """
        n = self.link.width
        if y.lengths is None or y.values.min(initial=1) <= BLANK or y.values.max(initial=0) >= n:
            raise ValueError(f"the targets of a CTC are sequences of labels 1 to {n - 1}")
        d = rec.new_rows(self.link.name, "d", row=self.scores.row)
        return rec.backend.path_objective(rec, self.scores, n, y, w, d, learns), d
