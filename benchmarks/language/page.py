"""The page of results, of which each program writes a part."""

from __future__ import annotations

from benchmarks.page import RESULTS, Page

HEAD = """\
# Language models

Written by the programs named below, which say in their first lines what they do. Nats are those of a token:
the mean of -log p. State carried: the network reads the text from its begin; in blocks of 256 it forgets
after so many tokens what it has read, as networks are often scored that do not carry their state.

"""
PAGE = Page(RESULTS / "LANGUAGE.md", HEAD, ("characters", "words", "pretraining", "speed", "memory"))
