"""The sdist holds what the repository holds, so that the tests can be run from it."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BY_ITSELF = {"README.md", "LICENSE", "pyproject.toml", "MANIFEST.in"}  # what setuptools takes unasked


def grafted():
    """What MANIFEST.in includes: single files, and whole folders."""
    lines = [line.split() for line in (ROOT / "MANIFEST.in").read_text(encoding="utf-8").splitlines()]
    files = {path for line in lines if line[:1] == ["include"] for path in line[1:]}
    return files, {path for line in lines if line[:1] == ["graft"] for path in line[1:]}


def test_all_that_it_names_is_there():
    files, folders = grafted()
    assert files
    assert folders
    for path in files | folders:
        assert (ROOT / path).exists(), path


def test_all_that_git_tracks_is_in_it():
    try:
        top, *tracked = (
            subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=True).stdout
            for command in (["rev-parse", "--show-toplevel"], ["ls-files", "-z"])
        )
    except (OSError, subprocess.CalledProcessError):
        top = ""
    if not top or Path(top.strip()).resolve() != ROOT.resolve():
        pytest.skip("no git repository, as in an sdist itself")
    tracked = [path for path in tracked[0].split("\0") if path and (ROOT / path).exists()]
    files, folders = grafted()
    outside = [
        path
        for path in tracked
        if path not in files | BY_ITSELF
        and path.partition("/")[0] not in folders
        and not re.fullmatch(r"skrnn/.*\.(py|typed)", path)
    ]
    assert not outside, "MANIFEST.in leaves them out"
    assert "tests/reference.py" in tracked
