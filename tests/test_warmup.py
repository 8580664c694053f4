"""``python -m skrnn.warmup``: afterwards, fits compile nothing."""

import os
import subprocess
import sys

import pytest

FITS = """
import numpy as np
from numba.core.dispatcher import Dispatcher
from skrnn.backends import kernel_cache
from skrnn import LSTMClassifier, LSTMRegressor

missing, save = [], kernel_cache.KernelCache.save_overload

def compiled(self, *args):
    missing.append(self._name)
    return save(self, *args)

kernel_cache.KernelCache.save_overload = compiled
X = np.random.default_rng(0).standard_normal((40, 9, 3))
LSTMRegressor(5, max_iter=2).fit(X, X[:, 0, 0]).predict(X)
LSTMClassifier(5, max_iter=2, num_layers=2, bidirectional=True).fit(X, X[:, 0, 0] > 0).predict(X)
assert missing == [], missing
LSTMRegressor(5, max_iter=1, dtype="float64").fit(X, X[:, 0, 0])
assert missing  # so that what is asserted above can fail
"""


def run(*command, **environment):
    return subprocess.run(
        [sys.executable, *command], env=os.environ | environment, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip


@pytest.mark.long
def test_after_a_warmup_nothing_is_compiled(tmp_path):
    cache = {"NUMBA_CACHE_DIR": str(tmp_path)}
    result = run("-m", "skrnn.warmup", "lstm", "--hidden-sizes", "5", **cache)
    assert result.returncode == 0, result.stderr
    assert "compiled, or found compiled" in result.stdout
    assert str(tmp_path) in result.stdout  # where they are
    result = run("-c", FITS, **cache)
    assert result.returncode == 0, result.stderr


NOWHERE = """
from skrnn import warmup
from skrnn.backends import disk

disk.places = lambda module: [{place}]
warmup.main()
"""


@pytest.mark.parametrize("place", ["", "disk.Path(disk.__file__, 'skrnn')"])
def test_nowhere_to_write(place):
    """The first kernel that cannot be kept ends it."""
    result = run("-W", "error", "-c", NOWHERE.format(place=place))
    assert result.returncode == 1
    assert "compiled kernels are not kept" in result.stderr
    assert "NUMBA_CACHE_DIR" in result.stderr
    assert ("no home directory" in result.stderr) == (place == "")
    assert "Traceback" not in result.stderr
    assert "compiled, or found" not in result.stdout


def test_unknown_cells_are_refused():
    result = run("-m", "skrnn.warmup", "elman")
    assert result.returncode == 2
    assert "elman" in result.stderr


WITHOUT_DOCSTRINGS = """
import skrnn
import skrnn.forecasting
from skrnn import warmup

for module in (skrnn, skrnn.forecasting):
    for name in module.__all__:
        getattr(module, name)
assert warmup.main.__doc__ is None
warmup.main()
"""


def test_without_docstrings():
    """As by `python -OO -m skrnn.warmup`; nothing else of the package needs them either."""
    result = run("-OO", "-c", WITHOUT_DOCSTRINGS, "--help")
    assert result.returncode == 0, result.stderr
    assert "ahead of their first use" in result.stdout
