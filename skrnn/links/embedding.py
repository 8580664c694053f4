"""Vectors of tokens."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from ..batches import SIZE_B, SIZE_R
from ..layout import DENSE, LAZY, Place, Section
from ..recording import TOKENS, Distinct, Recording, Rows, TableGradient
from ..sequences import Sequences
from .link import Link
from .softmax import Softmax

# Of vectors before training. PyTorch's standard normal numbers are so large that words which occur a few
# times speak louder than what has been learnt (benchmarks/tokens/first_vectors.py).
DEVIATION = 0.3


def small_normal(rng: np.random.RandomState, shape: tuple[int, ...]) -> np.ndarray:
    return DEVIATION * rng.standard_normal(shape)


class Embedding(Link):
    """A table with a vector for each token, which it reads in one `column` of the tokens.

    `tied`: the table is the weight of a softmax above (Press & Wolf 2017, "Using the output embedding to
    improve language models"). It lies as the product wants it, which takes more time than looking up does.

    `updates`: what an update changes.

    - "dense": all rows. Those that the minibatch does not read have a gradient of zero, but the momentum of
      earlier ones goes on to move them, and decay shrinks them.
    - "lazy": the rows that the minibatch reads, their weights and moments; those of all others stay as they
      are, and are not decayed. The bias correction of Adam counts all updates. So do TensorFlow's LazyAdam
      and PyTorch's SparseAdam. An update costs time for the rows that are read, whatever their table's
      size. A plain SGD without momentum and decay does the same either way.
    - None: nothing. The table has no gradient.

    `dropout`: the share of tokens, by type, whose vectors become zero in training, drawn for each sequence
    and epoch: at all places of a sequence that read one token, or at none (Gal & Ghahramani 2016, "A
    theoretically grounded application of dropout in recurrent neural networks"). The others are divided by
    1 - dropout. `stream` numbers its random numbers.

    Raises
    ------
    ValueError
        If a tied table would be of another shape, or is not to be updated as the softmax is.
    """

    per = SIZE_R

    def __init__(
        self, backend: ModuleType, dtype: np.dtype, name: str, n_tokens: int, width: int, *,
        read: str = TOKENS, column: int = 0, tied: Softmax | None = None, updates: str | None = DENSE,
        dropout: float = 0.0, stream: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(name, read)
        self.n_tokens, self.width, self.column = n_tokens, width, column
        self.dropout, self.stream = dropout, stream
        # Whether one recurrent layer, and nothing else, reads it, as the network finds: that layer is then to
        # multiply the vector of each token once in a minibatch. Outputs are the same to the bit.
        self.folded = False
        if updates not in (DENSE, LAZY, None):
            raise ValueError(f"updates={updates!r} of {name!r} is none of {DENSE!r}, {LAZY!r} and None")
        if tied is None:
            shape = 1, n_tokens, width, 1
            self.place = Place("table", f"{name}.weight", 1, (0,), shape, (0, 1, 3, 2), updates)
        elif updates != DENSE:
            raise ValueError(
                f"updates={updates!r} of {name!r}, whose table is tied: scores have gradients of all its rows"
            )
        elif (tied.width, tied.product.n_in) == (n_tokens, width):
            self.place = tied.table._replace(name="table")
        else:
            raise ValueError(f"{name!r} is tied to {tied.width} tokens of {tied.product.n_in} numbers")

    def sections(self) -> Iterator[Section]:
        """Small normal numbers; a tied table is the other link's."""
        if self.place.section == f"{self.name}.weight":
            yield Section(f"{self.name}.weight", (self.n_tokens, self.width), small_normal, True)

    def places(self) -> Iterator[tuple[str, Iterator[Place]]]:
        yield self.name, iter([self.place])

    def check(self, sequences: Sequences) -> None:
        """Raise a ValueError unless each token has a row."""
        tokens = sequences.tokens
        if tokens is None or tokens.shape[1] <= self.column:
            n = 0 if tokens is None else tokens.shape[1]
            raise ValueError(f"{self.name!r} reads column {self.column} of tokens, and there are {n}")
        if (beyond := sequences.token_beyond(self.column, self.n_tokens)) is not None:
            i, step, token = beyond
            raise ValueError(
                f"sequence {i}, step {step}: token {token} has no row in a table of {self.n_tokens}"
            )

    def forward(self, rec: Recording, tokens: Any) -> Rows | Distinct:
        table, lanes = rec.weights(self.name)["table"], self.place.stored[-1]
        if self._folds(rec):
            folding = rec.backend.folding
            find = folding.distinct_tokens if rec.once is None else folding.every_token
            distinct = find(rec, tokens, self.column, self.n_tokens, self.name)
            of = rec.along(distinct.steps)
            out = of.new_rows(self.name, "out", row=self.width)
            with distinct.making(rec.tape):
                rec.backend.look_up(of, distinct.kept, 0, table, lanes, out)
            rec.kept[self.name] = distinct
            return distinct._replace(kept=out)
        out = rec.new_rows(self.name, "out", row=self.width)
        rec.backend.look_up(rec, tokens, self.column, table, lanes, out)
        self._drop(rec, out)
        return out

    def backward(self, rec: Recording, *gradients: Rows, need: tuple[bool, ...]) -> tuple[Rows | None, ...]:
        (d,), (read,) = gradients, self.reads
        backend, tokens, column, D = rec.backend, rec.values[read], self.column, self.width
        distinct = rec.kept.get(self.name)  # what d has the rows of, then
        self._drop(rec, d)
        if self.place.updates == DENSE:
            table, lanes = rec.gradients(self.name)["table"], self.place.stored[-1]
            if distinct is None:
                backend.look_up_backward(rec, tokens, column, d, D, lanes, table)
            else:
                backend.folding.write_table(rec, distinct, d, D, lanes, table)
            return (None,)
        if distinct is None:
            touched = backend.touched_gradient(rec, tokens, column, d, D, self.n_tokens, self.name)
        else:
            own = d._replace(per=SIZE_B).copied(rec.along(distinct.steps), self.name, D)
            touched = distinct.kept.array, distinct.steps.sizes, own.array
        at, section = rec.parameters.where(self.name, "table"), rec.parameters.sections[self.place.section]
        rec.tables[self.name] = TableGradient(at, D, section.decays, *touched)
        return (None,)

    def _folds(self, rec: Recording) -> bool:
        """Whether products are made of distinct tokens. Without a backward pass they take more memory than
        those of each few steps, which has to be worth it."""
        steps, few = rec.steps, rec.keep or 2 * self.n_tokens <= rec.steps.max_rows
        worth_it = few and steps.max_steps > 1 if rec.once is None else rec.side == 0
        return self.folded and worth_it and not self._drops(rec)

    def _drops(self, rec: Recording) -> bool:
        return rec.dropout_seed is not None and self.dropout > 0

    def _drop(self, rec: Recording, X: Rows) -> None:
        """Record dropout of its rows, or of their gradient."""
        if self._drops(rec):
            (read,) = self.reads
            rec.backend.drop_tokens(
                rec, X, rec.values[read], self.column, self.stream, self.width, self.dropout
            )
