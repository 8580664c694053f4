"""A page of results, of which each program writes a part."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path
from typing import NamedTuple

RESULTS = Path(__file__).parent / "results"


class Page(NamedTuple):
    """Its place, what stands above the parts, and their names in order."""

    path: Path
    head: str
    parts: tuple[str, ...]

    def write(self, part: str, text: str, path: Path | None = None) -> None:
        """Write one part, here or to another file; the others stay as they are."""
        path = self.path if path is None else path
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        found = dict(re.findall(r"<!-- (\w+) -->\n(.*?\n)(?=\n<!-- |\Z)", before, re.DOTALL))
        found[part] = text.strip() + "\n"
        whole = "\n".join(f"<!-- {name} -->\n{found[name]}" for name in self.parts if name in found)
        path.write_text(f"{self.head}\n{whole}".rstrip() + "\n", encoding="utf-8")
        print(f"written to {path}")


def measured_by(command: str) -> str:
    """The line that says what was run, and where."""
    return f"`python -m {command}`; {os.cpu_count()} cores, {platform.machine()}."
