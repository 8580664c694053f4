"""One pass through a network, while it is recorded on a tape."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from .batches import SIZE_R, Steps
from .parameters import Parameters

INPUT = "X"  # the name of a network's input among its values


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
    """

    array: Any
    row: int
    per: int = SIZE_R
    past: bool = False

    def rows(self, rec: Recording) -> Rows:
        """Itself: not all values of a network are rows."""
        return self


@dataclass
class Recording:
    """Where a pass is recorded, what it works on, and what it is for.

    Attributes
    ----------
    backend : module
    tape, work : the backend's
    steps : Steps
    parameters : Parameters
        Where the arrays lie in `params` and `grads`.
    params, grads : flat device arrays, or None
    dropout_seed : int or None
        Of the masks of a training pass, or None for no dropout; with the epoch in `steps` and the sequences'
        numbers it makes the masks.
    keep : bool
        Whether a backward pass will follow; without it memory stays small.
    carry : bool
        Whether the last states go where a later chunk of the same sequences takes them from.
    values : dict
        What links have made, by their names, and the network's input.
    kept : dict
        What else the backward pass of a link needs.
    """

    backend: ModuleType
    tape: Any
    work: Any
    steps: Steps
    parameters: Parameters
    params: Any = None
    grads: Any = None
    dropout_seed: int | None = None
    keep: bool = False
    carry: bool = False
    values: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)

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
        """Of a value's gradients: the sum of those per step, and of those per sequence."""
        total: dict[int, Rows] = {}
        for d in gradients:
            if d.per in total:
                self.backend.add(self, total[d.per], d)
            else:
                total[d.per] = d
        return list(total.values())

    def weights(self, part: str) -> dict[str, Any]:
        """The parameters of a part of the network, as the kernels keep them."""
        return self.parameters.views(part, self.params)

    def gradients(self, part: str) -> dict[str, Any]:
        """Where the gradients of `weights` go."""
        return self.parameters.views(part, self.grads)
