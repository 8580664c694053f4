"""A softmax over many tokens, whose scores are not kept."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from ..layout import Place, Section
from ..recording import Recording, Rows, Weighed
from ..sequences import TOKEN, Targets
from .initial import glorot, zeros
from .link import Link


class Softmax(Link):
    """Scores of all tokens, s = W x + b, of which p(v) = exp(s_v) / sum of exp(s).

    For 32,768 rows and 50,000 tokens they would take 6.6 GB. So what it makes is a promise, `Scores`: a loss
    or log probabilities go through chunks of them, and who asks for the rows gets all. The names of its
    arrays begin with `prefix`, by default its own name.
    """

    def __init__(
        self, backend: ModuleType, dtype: np.dtype, name: str, read: str, width_below: int, n_tokens: int,
        prefix: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(name, read)
        self.width, self.prefix = n_tokens, prefix or name
        self.product = backend.Softmax(width_below, n_tokens, dtype)

    @property
    def table(self) -> Place:
        """How its weight is kept, which may be the table of an `Embedding` too."""
        return self.product.place("weight", f"{self.prefix}.weight", self.product.n_in)

    def sections(self) -> Iterator[Section]:
        yield Section(f"{self.prefix}.weight", (self.width, self.product.n_in), glorot(self.width), True)
        yield Section(f"{self.prefix}.bias", (self.width,), zeros, False)

    def places(self) -> Iterator[tuple[str, Iterator[Place]]]:
        yield self.prefix, iter([self.table, self.product.place("bias", f"{self.prefix}.bias", 1)])

    def forward(self, rec: Recording, value: Any) -> Scores:
        return Scores(self, value.rows(rec))

    def backward(self, rec: Recording, *gradients: Rows, need: tuple[bool, ...]) -> tuple[Rows | None, ...]:
        """What comes in is the gradient of what it reads: the loss has gone through the scores already."""
        return gradients

    def flops(self, n_rows: float) -> float:
        return 2.0 * self.width * self.product.n_in * n_rows


class Scores:
    """Those of all tokens, for rows X."""

    def __init__(self, link: Softmax, X: Rows) -> None:
        self.link, self.X, self.per = link, X, X.per

    def rows(self, rec: Recording) -> Rows:
        """All of them, as rows (M, n_tokens): for a few rows, such as those of one step."""
        return self.link.product.forward(rec, self.X, self.link.prefix)

    def objective(
        self, rec: Recording, y: Targets, w: np.ndarray | None = None, *, learns: bool = False,
        smoothing: float = 0.0,
    ) -> tuple[Weighed, Rows | None]:  # fmt: skip
        """Record the losses of all rows, -log p of their tokens; if it learns, also the gradients of their
        mean, of which that of X is returned. `smoothing`: see `skrnn.losses.smoothed_log_loss`.

        Raises
        ------
        TypeError, ValueError
            If the targets are no tokens.
        """
        if y.values.dtype != TOKEN:
            raise TypeError(f"the targets of a softmax are tokens, got {y.values.dtype}")
        least, most = y.values.min(initial=0), y.values.max(initial=-1)
        if least < 0 or most >= self.link.width:
            raise ValueError(f"target {least if least < 0 else most} is none of {self.link.width} tokens")
        return self.link.product.objective(
            rec, self.X, self.link.prefix, y, w, learns=learns, smoothing=smoothing
        )
