"""Linear maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from ..layout import Place, Section
from ..recording import Recording, Rows
from .initial import glorot, zeros
from .link import Link


class Dense(Link):
    """The sum of linear maps of what it reads: out = x W^T + b + x' W'^T + ...

    `maps` has, by the prefix of a map's arrays, the value that it reads and the width of that. The first has
    a bias, unless there is to be none; weights of the others begin at zero. With `onto`, the sum is added to
    that value, without a bias, and all weights begin at zero.
    """

    def __init__(
        self, backend: ModuleType, dtype: np.dtype, name: str, maps: Mapping[str, tuple[str, int]],
        n_out: int, *, bias: bool = True, onto: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(name, *(read for read, _ in maps.values()), *([] if onto is None else [onto]))
        self.width, self.bias, self.onto = n_out, bias and onto is None, onto
        self.maps = {prefix: backend.Dense(n_in, n_out, dtype) for prefix, (_, n_in) in maps.items()}

    def sections(self) -> Iterator[Section]:
        for k, (prefix, own) in enumerate(self.maps.items()):
            yield Section(
                f"{prefix}.weight",
                (self.width, own.n_in),
                zeros if k or self.onto is not None else glorot(self.width),
                True,
            )
            if k == 0 and self.bias:
                yield Section(f"{prefix}.bias", (self.width,), zeros, False)

    def places(self) -> Iterator[tuple[str, Iterator[Place]]]:
        for k, (prefix, own) in enumerate(self.maps.items()):
            columns = {"weight": own.n_in} | ({} if k or not self.bias else {"bias": 1})
            yield prefix, (own.place(name, f"{prefix}.{name}", n) for name, n in columns.items())

    def forward(self, rec: Recording, *values: Any) -> Rows:
        read, out = [value.rows(rec) for value in values], None
        if not self.bias:  # products are added to what is there
            first = next(iter(self.maps.values()))
            out = rec.new_rows(self.name, "out", row=first.width, per=read[0].per)
            if self.onto is None:
                rec.backend.clear_rows(rec, out)
            else:
                rec.backend.copy_rows(rec, read.pop(), 0, out, 0, self.width, pad=True)
        for (prefix, own), X in zip(self.maps.items(), read, strict=True):
            out = own.forward(rec, X, prefix, onto=out)
        return out

    def backward(self, rec: Recording, *gradients: Rows, need: tuple[bool, ...]) -> tuple[Rows | None, ...]:
        (d,), found = gradients, []
        for (prefix, own), name, needed in zip(self.maps.items(), self.reads, need, strict=False):
            if d.row != own.width:  # from a link that knows no padding
                given, d = d, rec.new_rows(self.name, "padded", row=own.width, per=d.per)
                rec.backend.copy_rows(rec, given, 0, d, 0, self.width, pad=True)
            found.append(own.backward(rec, rec.values[name].rows(rec), d, needed, prefix))
        return tuple(found if self.onto is None else [*found, d])
