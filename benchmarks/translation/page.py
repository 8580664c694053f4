"""The page of results, of which each program writes a part."""

from __future__ import annotations

from benchmarks.page import RESULTS, Page

HEAD = """\
# Translation

Written by the programs named below. Sentences are those of Tatoeba, French to English, split by connected
components: no sentence of the test part, French or English, is in the training part (a random split would
leave half of them there). BLEU is sacrebleu's, 13a, cased, of whole sentences, against all known
translations of a sentence or, in the column "one", against the first of them. Settings were chosen on the
validation part.

"""
PAGE = Page(RESULTS / "TRANSLATION.md", HEAD, ("tutorial", "all", "sounds", "speed"))
