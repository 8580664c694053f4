"""The page of results, of which each program writes a part."""

from __future__ import annotations

from benchmarks.page import RESULTS, Page

HEAD = """\
# Speech

Written by the programs named below. The recordings are those of the Free Spoken Digit Dataset (CC BY-SA
4.0), of four speakers: 50 of each digit by each, 8,000 samples a second. Settings were chosen by other splits
than those reported: of one digit on recordings 5 to 9, of unseen speakers by learning from two speakers and
validating on a third. What the tasks are, and the settings, is in `benchmarks/speech/digits.py`.

"""
PAGE = Page(RESULTS / "SPEECH.md", HEAD, ("one", "others", "strings", "strings_of_others", "speed"))
