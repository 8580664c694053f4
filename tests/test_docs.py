"""docs/api.md is what the docstrings say, and the docstrings say what the signatures do."""

import importlib.util
import inspect
from pathlib import Path

import pytest

import skrnn

DOCS = Path(__file__).parents[1] / "docs"


def test_the_reference_is_up_to_date():
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    written = (DOCS / "api.md").read_text(encoding="utf-8")
    assert written == generate.api(), "run: python docs/generate.py"


@pytest.mark.parametrize("name", [n for n in skrnn.__all__ if inspect.isclass(getattr(skrnn, n))])
def test_every_parameter_is_described(name):
    cls = getattr(skrnn, name)
    section = inspect.getdoc(cls).split("Parameters\n----------\n")[1].split("\n\n")[0]
    described = [line.split(" :")[0] for line in section.splitlines() if not line.startswith(" ")]
    assert described == list(inspect.signature(cls).parameters)
