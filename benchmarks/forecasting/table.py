"""A table of results, each beside what it has to reach."""

from __future__ import annotations

import math
from typing import Any


class Table:
    """Rows whose last cells are a figure, its target, and whether that is met.

    Parameters
    ----------
    title, text : str
        The heading, and what stands above the table.
    columns : list of str
        Names of the cells, the figure's last.
    """

    def __init__(self, title: str, text: str, columns: list[str]) -> None:
        self.title, self.text, self.columns = title, text.strip(), columns
        self.rows: list[list[str]] = []
        self.missed = 0

    def add(
        self, cells: list[Any], figure: float, at_most: float = math.inf, at_least: float = -math.inf
    ) -> None:
        """A row; without a bound it has no target."""
        bounds = [
            f"{sign} {bound:g}" for sign, bound in (("≥", at_least), ("≤", at_most)) if abs(bound) < math.inf
        ]
        met = at_least <= figure <= at_most
        self.missed += not met
        verdict = ("met" if met else "**missed**") if bounds else ""
        self.rows.append([*map(str, cells), f"{figure:.4g}", " and ".join(bounds), verdict])
        print("  " + " | ".join(self.rows[-1]), flush=True)

    def markdown(self) -> str:
        header = [*self.columns, "target", ""]
        lines = [header, ["---"] * len(header), *self.rows]
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return f"## {self.title}\n\n{self.text}\n\n{table}\n"
