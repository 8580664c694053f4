"""One pass through a network, while it is recorded on a tape."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from .batches import SIZE_R, Jobs, Steps
from .layout import Parameters
from .sequences import TOKEN, Sequences


class Inputs(NamedTuple):
    """Names of what a network reads among its values."""

    numbers: str
    tokens: str


# Of both sides of pairs, such as a sentence and its translation; without pairs there is the first.
INPUTS = Inputs("X", "tokens"), Inputs("mates' X", "mates' tokens")
(INPUT, TOKENS), (MATE_INPUT, MATE_TOKENS) = INPUTS


class Rows(NamedTuple):
    """A matrix inside a flat array of the device, as the kernels read and write it.

    Attributes
    ----------
    array : flat device array
    row : int
        Elements from one row to the next: a device may pad rows to its liking.
    per : {SIZE_R, SIZE_B}
        Where in `Steps.sizes` the number of rows is found: one for each step, or for each sequence.
    past : bool
        Whether the rows begin after B more, the first states.
    cell : bool
        Of last states and their gradients: whether they are the memory cells, c, and not h.
    """

    array: Any
    row: int
    per: int = SIZE_R
    past: bool = False
    cell: bool = False

    def rows(self, rec: Recording) -> Rows:
        """Itself: not all values of a network are rows."""
        return self

    def copied(self, rec: Recording, name: str, width: int) -> Rows:
        """The first columns, in a buffer of that name, to be changed in place."""
        out = rec.new_rows(name, "copied", row=width, per=self.per)
        rec.backend.copy_rows(rec, self, 0, out, 0, width)
        return out


class Distinct(NamedTuple):
    """The rows of a minibatch's steps, of which those that are alike are kept once.

    Attributes
    ----------
    kept : Rows
        As of sequences of one step.
    steps : Steps
        Of these sequences.
    which : flat device array of shape (R,)
        The row that each step has.
    once : ndarray of shape (1,) or None
        If the rows are the same in all replays: what is made of them is made while it is not 0.
    """

    kept: Rows
    steps: Steps
    which: Any
    once: np.ndarray | None = None

    def making(self, tape: Any) -> AbstractContextManager[None]:
        """Where calls are recorded that make something of the rows."""
        return nullcontext() if self.once is None else tape.only_if(self.once)

    def rows(self, rec: Recording) -> Distinct:
        """Itself: only a recurrent link reads it."""
        return self

    def mirrored(self, rec: Recording, name: str) -> Distinct:
        """Of every sequence from its own end."""
        which = rec.buffer(name, "mirrored", size=rec.steps.max_rows, dtype=self.which.dtype)
        rec.backend.folding.mirror(rec, self.which, which)
        return self._replace(which=which)


class Weighed(NamedTuple):
    """The losses of a minibatch's rows, as kernels write them in float64.

    Attributes
    ----------
    values : Rows
        (M, 1).
    weights : flat device array of shape (M,)
    total : flat device array of shape (1,)
        Sum of the weights.
    """

    values: Rows
    weights: Any
    total: Any


class TableGradient(NamedTuple):
    """The gradient of a row-major table, of the rows that a minibatch reads: those of all others are zero.

    Attributes
    ----------
    at : slice
        Where the table lies in the flat parameters.
    width : int
        Numbers in a row, D.
    decays : bool
        Whether the penalty on large weights counts it.
    touched : flat device array
        Numbers of the rows, each once, in the order in which the minibatch reads them first.
    n_touched : flat device array of shape (1,)
        How many there are; there may be room for more.
    gradient : flat device array
        Of these rows, (n_touched, D).
    """

    at: slice
    width: int
    decays: bool
    touched: Any
    n_touched: Any
    gradient: Any


class SharedGradients(NamedTuple):
    """Of arrays that several parts of a network use."""

    writers: dict[int, str]  # by where an array begins: the part that writes its gradient
    waiting: dict[tuple[str, str], tuple[Any, Any]]  # gradients, and what is to be added to them


@dataclass
class Recording:
    """Where a pass is recorded, what it works on, and what it is for."""

    backend: ModuleType
    tape: Any
    work: Any  # buffers
    steps: Steps
    parameters: Parameters  # where the arrays lie in the next two
    params: Any = None
    grads: Any = None
    dropout_seed: int | None = (
        None  # of the masks of a training pass, with the epoch and the sequences' numbers
    )
    keep: bool = False  # whether a backward pass will follow; without it memory stays small
    carry: bool = False  # whether a later chunk of the same sequences takes over the last states
    once: np.ndarray | None = None  # of texts that are written: not 0 in the replay that begins them
    values: dict[str, Any] = field(default_factory=dict)  # the inputs, and what links have made, by name
    kept: dict[str, Any] = field(default_factory=dict)  # what else the backward pass of a link needs
    # By part, of tables that are not in `grads`; see `layout.LAZY`.
    tables: dict[str, TableGradient] = field(default_factory=dict)
    # Of pairs: which side this is, and the recording of the other one, another order of the same sequences
    # on the same tape (see `Steps.mate`).
    side: int = 0
    mates: Recording | None = None
    _shared: SharedGradients = field(default_factory=lambda: SharedGradients({}, {}))

    def of(self, side: int) -> Recording:
        """Itself for side 0 of pairs, and `mates` for 1."""
        if side == 0:
            return self
        if self.mates is None:
            raise ValueError("this network reads pairs: the other side is missing")
        return self.mates

    def pair(self, steps: Steps) -> Recording:
        """Its other side, in the order of these steps: values and all else are shared."""
        self.mates = replace(self, steps=steps, side=1)
        return self.mates

    def along(self, steps: Steps) -> Recording:
        """The same with other steps."""
        return replace(self, steps=steps)

    def read(self, sequences: Sequences, jobs: Jobs) -> dict[str, Rows]:
        """Record the reading of the next of `jobs`, which fills the steps; the network's inputs.

        Raises
        ------
        TypeError
            If the numbers are of another type than the network.
        """
        self.backend.next_minibatch(self, sequences, jobs)
        (numbers, tokens), values = INPUTS[self.side], {}
        if sequences.n_features > 0:
            if sequences.values.dtype != self.work.dtype:
                raise TypeError(f"sequences of {sequences.values.dtype} for a network of {self.work.dtype}")
            values[numbers] = self.new_rows(numbers, row=sequences.n_features)
            self.backend.gather(self, sequences.values, values[numbers], sequences.shift, sequences.scale)
        if sequences.tokens is not None:
            values[tokens] = self.new_rows(tokens, row=sequences.tokens.shape[1], dtype=TOKEN)
            self.backend.gather(self, sequences.tokens, values[tokens], None, None)
        return values

    def room(self, per: int) -> int:
        """The most rows that there are for any minibatch."""
        return self.steps.max_rows if per == SIZE_R else self.steps.max_sequences

    def buffer(self, *name: Any, size: int, dtype: np.dtype | None = None) -> Any:
        """A flat array of `size` elements with arbitrary contents; the same memory for the same name."""
        return self.work.get(*name, size=size, dtype=dtype)

    def new_rows(self, *name: Any, row: int, per: int = SIZE_R, dtype: np.dtype | None = None) -> Rows:
        """A buffer of so many elements for each step or sequence."""
        return Rows(self.work.get(*name, size=self.room(per) * row, dtype=dtype), row, per)

    def sums(self, gradients: list[Rows]) -> list[Rows]:
        """Of a value's gradients: the sum of those per step, of last states, and of last memory cells."""
        total: dict[tuple[int, bool], Rows] = {}
        for d in gradients:
            of = d.per, d.cell
            if of in total:
                self.backend.add(self, total[of], d)
            else:
                total[of] = d
        return list(total.values())

    def weights(self, part: str) -> dict[str, Any]:
        """The parameters of a part of the network, as the kernels keep them."""
        return self.parameters.views(part, self.params)

    def gradients(self, part: str) -> dict[str, Any]:
        """Where the gradients of `weights` go.

        Of arrays that an earlier part of the backward pass has written, a buffer, which `add_shared` adds.
        """
        views = self.parameters.views(part, self.grads)
        for name, start in self.parameters.shared(part).items():
            writer = self._shared.writers.setdefault(start, part)
            if writer != part:
                own = self.buffer(part, "gradient of", name, size=len(views[name]))
                self._shared.waiting[part, name] = views[name], own
                views[name] = own
        return views

    def add_shared(self) -> None:
        """Record the sum of what several parts have to say about the same arrays."""
        for total, own in self._shared.waiting.values():
            self.backend.add_flat(self, total, own)
        self._shared.waiting.clear()
