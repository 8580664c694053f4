"""The page of results, of which each program writes a part."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "results" / "TOKENS.md"
HEAD = """\
# Networks that read tokens

Written by `python -m benchmarks.tokens.accuracy` and `python -m benchmarks.tokens.speed`.
"""
PARTS = ("accuracy", "speed")


def write(path: Path, part: str, text: str) -> None:
    """Write one part; the other stays as it is."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    parts = dict(re.findall(r"<!-- (\w+) -->\n(.*?)(?=<!-- |\Z)", before, re.DOTALL))
    parts[part] = text.strip() + "\n\n"
    whole = "".join(f"<!-- {name} -->\n{parts[name]}" for name in PARTS if name in parts)
    path.write_text(f"{HEAD}\n{whole}".rstrip() + "\n", encoding="utf-8")
    print(f"written to {path}")
