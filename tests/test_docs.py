"""docs/api.md is what the docstrings say, and the docstrings say what the signatures do."""

import importlib.util
import inspect
import re
from pathlib import Path

import pytest

import skrnn

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def test_the_reference_is_up_to_date():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    written = (DOCS / "api.md").read_text(encoding="utf-8")
    assert written == generate.api(), "run: python docs/generate.py"


@pytest.mark.parametrize(
    "page",
    sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), *ROOT.glob("benchmarks/**/*.md")]),
    ids=lambda p: p.name,
)
def test_links_lead_somewhere(page):
    """To files of the project, and to headings of this page."""
    text = page.read_text(encoding="utf-8")
    slugs = {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in slugs, target
        elif "://" not in target:
            assert (page.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("name", [n for n in skrnn.__all__ if inspect.isclass(getattr(skrnn, n))])
def test_every_parameter_is_described(name):
    cls = getattr(skrnn, name)
    section = inspect.getdoc(cls).split("Parameters\n----------\n")[1].split("\n\n")[0]
    described = [line.split(" :")[0] for line in section.splitlines() if not line.startswith(" ")]
    assert described == list(inspect.signature(cls).parameters)
