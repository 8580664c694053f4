"""Vectors of tokens."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from ..batches import SIZE_R
from ..layout import Place, Section
from ..recording import TOKENS, Recording, Rows
from ..sequences import Sequences
from .link import Link
from .softmax import Softmax


class Embedding(Link):
    """A table with a vector for each token, which it reads in one `column` of the tokens.

    `tied`: the table is the weight of a softmax above (Press & Wolf 2017, "Using the output embedding to
    improve language models"). It lies as the product wants it, which takes more time than looking up does.

    Raises
    ------
    ValueError
        If a tied table would be of another shape.
    """

    per = SIZE_R

    def __init__(
        self, backend: ModuleType, dtype: np.dtype, name: str, n_tokens: int, width: int, *,
        read: str = TOKENS, column: int = 0, tied: Softmax | None = None,
    ) -> None:  # fmt: skip
        super().__init__(name, read)
        self.n_tokens, self.width, self.column = n_tokens, width, column
        if tied is None:
            self.place = Place("table", f"{name}.weight", 1, (0,), (1, n_tokens, width, 1), (0, 1, 3, 2))
        elif (tied.width, tied.product.n_in) == (n_tokens, width):
            self.place = tied.table._replace(name="table")
        else:
            raise ValueError(f"{name!r} is tied to {tied.width} tokens of {tied.product.n_in} numbers")

    def sections(self) -> Iterator[Section]:
        """Standard normal numbers, as PyTorch's; a tied table is the other link's."""
        if self.place.section == f"{self.name}.weight":
            shape = self.n_tokens, self.width
            yield Section(f"{self.name}.weight", shape, lambda rng, shape: rng.standard_normal(shape), True)

    def places(self) -> Iterator[tuple[str, Iterator[Place]]]:
        yield self.name, iter([self.place])

    def check(self, sequences: Sequences) -> None:
        """Raise a ValueError unless each token has a row."""
        tokens = sequences.tokens
        if tokens is None or tokens.shape[1] <= self.column:
            n = 0 if tokens is None else tokens.shape[1]
            raise ValueError(f"{self.name!r} reads column {self.column} of tokens, and there are {n}")
        least, most = sequences.token_range[:, self.column]
        if least >= 0 and most < self.n_tokens:
            return
        # rows of the table that no sequence reads may hold anything
        for i, (start, n) in enumerate(zip(sequences.starts, sequences.lengths, strict=True)):
            own = tokens[start : start + n, self.column]
            outside = (own < 0) | (own >= self.n_tokens)
            if outside.any():
                step = int(outside.argmax())
                raise ValueError(
                    f"sequence {i}, step {step}: token {own[step]} has no row in a table of {self.n_tokens}"
                )

    def forward(self, rec: Recording, tokens: Any) -> Rows:
        out = rec.new_rows(self.name, "out", row=self.width)
        table = rec.weights(self.name)["table"]
        rec.backend.look_up(rec, tokens, self.column, table, self.place.stored[-1], out)
        return out

    def backward(self, rec: Recording, *gradients: Rows, need: tuple[bool, ...]) -> tuple[Rows | None, ...]:
        (d,), (read,) = gradients, self.reads
        rec.backend.look_up_backward(
            rec, rec.values[read], self.column, d, self.width, self.place.stored[-1],
            rec.gradients(self.name)["table"],
        )  # fmt: skip
        return (None,)
