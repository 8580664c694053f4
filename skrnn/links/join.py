"""Values side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..recording import Recording, Rows
from .link import Link


class Join(Link):
    """The columns of all that it reads, in one row: vectors of several tokens, and numbers beside them.

    `values` has, by the names of what it reads, their widths.
    """

    def __init__(self, name: str, values: Mapping[str, int]) -> None:
        super().__init__(name, *values)
        self.widths = tuple(values.values())
        self.width = sum(self.widths)

    def forward(self, rec: Recording, *values: Any) -> Rows:
        parts = [value.rows(rec) for value in values]
        out, at = rec.new_rows(self.name, "out", row=self.width, per=parts[0].per), 0
        for part, width in zip(parts, self.widths, strict=True):
            rec.backend.copy_rows(rec, part, 0, out, at, width)
            at += width
        return out

    def backward(self, rec: Recording, *gradients: Rows, need: tuple[bool, ...]) -> tuple[Rows | None, ...]:
        (d,), found, at = gradients, list[Rows | None](), 0
        for read, width, needed in zip(self.reads, self.widths, need, strict=True):
            part = rec.new_rows(self.name, read, row=width, per=d.per) if needed else None
            if part is not None:
                rec.backend.copy_rows(rec, d, at, part, 0, width)
            found.append(part)
            at += width
        return tuple(found)
