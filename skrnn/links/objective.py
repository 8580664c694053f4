"""The objective, a mean loss: a link that training records behind a network's outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..losses import SMOOTHED, Loss, multiclass_log_loss
from ..recording import Recording, Rows
from ..sequences import Targets
from .crf import Chain
from .ctc import Labelling
from .link import Link
from .softmax import Scores


class Objective(Link):
    """The mean loss of a minibatch's outputs, `n_raw` in a row; for the rest see `objective` and `add_losses`
    in `skrnn.backends`."""

    def __init__(
        self, read: str, n_raw: int, loss: Loss, y: Targets, w: np.ndarray | None,
        statistics: np.ndarray, number: np.ndarray,
    ) -> None:  # fmt: skip
        super().__init__("loss", read)
        self.width, self.arguments = n_raw, (loss, y, w, statistics, number)

    def forward(self, rec: Recording, raw: Any) -> None:
        """What it makes are numbers in `statistics`; the gradient is found in the same pass."""
        loss, y, w, *to = self.arguments
        if isinstance(raw, Scores | Chain | Labelling):
            of_tokens = isinstance(raw, Scores)
            if loss.name not in {multiclass_log_loss.name, *([SMOOTHED] if of_tokens else [])}:
                what = "softmax over tokens" if of_tokens else type(raw.link).__name__
                raise ValueError(f"the loss of a {what} is the log loss, got {loss.name}")
            smoothing = {"smoothing": loss.parameters[0]} if loss.name == SMOOTHED else {}
            losses, d = raw.objective(rec, y, w, learns=True, **smoothing)
        else:
            d = rec.new_rows(self.name, "d", row=raw.row, per=raw.per)
            losses = rec.backend.objective(rec, loss, raw, d, self.width, y, w)
        rec.backend.add_losses(rec, losses, *to)
        rec.kept[self.name] = d

    def backward(self, rec: Recording, *gradients: Rows, need: tuple[bool, ...]) -> tuple[Rows | None, ...]:
        return (rec.kept[self.name],)
