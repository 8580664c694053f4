"""A small kernel to keep in a cache and find again, in this process and in others."""

import os
from pathlib import Path

import numpy as np
import pytest

from skrnn.backends.cpu import jit

PACKAGE = Path(jit.__file__).parents[2]
posix = pytest.mark.skipif(os.name != "posix", reason="modes and owners of POSIX")


def fresh(factor=3):
    """The kernel as a new process would have it: nothing compiled, nothing loaded."""

    @jit.kernel("probe", factor)
    def probe(x):
        total = x[0] * 0
        for value in x:
            total += factor * value
        return total

    return probe


def run(kernel, n=4):
    """Call a kernel; returns how often it was loaded, and how often compiled."""
    assert kernel(np.ones(n)) == 3 * n
    return sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values())


LOADED, COMPILED = (1, 0), (0, 1)


def files(directory):
    return sorted(directory.rglob("*.nbc"))


def environment(place=PACKAGE.parent, **others):
    """Of a process that imports the package from a place, and these tests."""
    path = os.pathsep.join([str(place), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path} | others
