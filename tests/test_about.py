"""`show_versions`, and what the files around the package say of its version."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest

import skrnn

ROOT = Path(__file__).parent.parent


def test_show_versions(capsys):
    skrnn.show_versions()
    printed = capsys.readouterr().out
    assert re.search(r"^Python \d+\.\d+", printed)
    assert re.search(r"\bvectors of (128|256|512) bits\b", printed)
    for name in ("numpy", "numba", "scikit-learn"):
        assert f"\n{name} {version(name)}\n" in printed
    assert re.search(r"\nnumba-cuda (not installed|\d)", printed)


def test_the_citation_is_of_this_version():
    citation = ROOT / "CITATION.cff"
    if not citation.exists():
        pytest.skip("not in a checkout")
    assert f"\nversion: {skrnn.__version__}\n" in citation.read_text(encoding="utf-8")
