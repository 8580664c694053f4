"""Texts as words and signs, and words and signs as texts."""

from __future__ import annotations

import re
from typing import Any

# Numbers, words, signs, ends of lines. A word that ends in an apostrophe or a hyphen and the one behind it
# belong together, as `tidy` knows.
WORDS = r"\d+(?:[.,]\d+)+|\w+(?:['’-](?=\w))?|[^\w\s]|\n"
ENCODERS: dict[str, dict[str, Any]] = {  # parameters of a `TokenEncoder`, by what a token is
    "char": {"analyzer": "char", "lowercase": False},
    "word": {"analyzer": "word", "lowercase": False, "token_pattern": WORDS},
    "tokens": {"analyzer": "tokens"},
}


def tidy(text: str) -> str:
    """Words and signs with the blanks that are usual between them."""
    text = re.sub(r" ?\n ?", "\n", text)
    text = re.sub(r" ([.,;:!?)\]}])", r"\1", text)
    text = re.sub(r"([(\[{]|\w['’-]) (?=\S)", r"\1", text)
    return re.sub(r'" ?([^"\n]*?) ?"', r'"\1"', text)
