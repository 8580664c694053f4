"""The kernel cache: a kernel is compiled once, and never taken for another."""

import os
import shutil
import stat
import subprocess
import sys

import numpy as np
import pytest
from numba.core import config
from probe import COMPILED, LOADED, environment, files, fresh, posix, run

from skrnn.backends import kernel_cache
from skrnn.backends.cpu import jit

pytestmark = pytest.mark.usefixtures("nothing_said")


# --- hits and misses ------------------------------------------------------------------------------
def test_the_second_time_it_is_loaded(directory):
    assert run(fresh()) == COMPILED
    (file,) = files(directory)
    before = file.read_bytes()
    assert run(fresh()) == LOADED
    assert files(directory) == [file]
    assert file.read_bytes() == before
    assert not list(directory.rglob("*.tmp"))


def test_argument_types_have_their_own_files(directory):
    kernel = fresh()
    arrays = [np.ones(4), np.ones(4, np.float32), np.ones(8)[::2], np.ones(4)]
    arrays[3].flags.writeable = False
    assert [kernel(x) for x in arrays] == [12] * 4
    assert len(files(directory)) == 4
    again = fresh()
    assert [again(x) for x in arrays] == [12] * 4
    assert sum(again.stats.cache_hits.values()) == 4


def test_keys_have_their_own_files(directory):
    """Kernels from one factory close over different values: only their keys tell them apart."""
    for factor in (3, 5):
        assert fresh(factor)(np.ones(4)) == 4 * factor
    assert len(files(directory)) == 2
    for factor in (3, 5):
        kernel = fresh(factor)
        assert kernel(np.ones(4)) == 4 * factor
        assert sum(kernel.stats.cache_hits.values()) == 1


def test_a_kernel_that_calls_another_is_loaded_whole(directory):
    def caller():
        inner = fresh()

        @jit.kernel("caller")
        def outer(x):
            return inner(x) + inner(x)

        return outer, inner

    outer, _ = caller()
    assert outer(np.ones(4)) == 24
    outer, inner = caller()
    assert outer(np.ones(4)) == 24
    assert sum(outer.stats.cache_hits.values()) == 1
    assert not inner.overloads  # nor was what it calls compiled again


def test_changed_source_is_compiled_again(directory, monkeypatch):
    run(fresh())
    monkeypatch.setattr(kernel_cache, "source_hash", lambda backend: "of another source")
    assert run(fresh()) == COMPILED
    assert len(files(directory)) == 2
    assert run(fresh()) == LOADED


@pytest.mark.parametrize("option", kernel_cache.OPTIONS)
def test_an_option_of_the_compiler_has_its_own_files(directory, monkeypatch, option):
    kernel = fresh()
    run(kernel)
    signature, codegen = kernel.signatures[0], kernel.targetctx.codegen()
    before = kernel._cache._file(signature, codegen)
    assert before[0] == files(directory)[0].name
    value = getattr(config, option)
    monkeypatch.setattr(config, option, "none" if isinstance(value, str) else type(value)(not value))
    name, header = kernel._cache._file(signature, codegen)
    assert name != before[0]
    assert header != before[1]


def test_another_level_of_optimization_is_compiled(directory, monkeypatch):
    run(fresh())
    monkeypatch.setattr(config, "OPT", type(config.OPT)(0))
    assert run(fresh()) == COMPILED
    assert run(fresh()) == LOADED
    monkeypatch.undo()
    monkeypatch.setattr(config, "CACHE_DIR", str(directory))
    assert run(fresh()) == LOADED
    assert len(files(directory)) == 2


def test_a_checked_build_has_its_own_files(directory, monkeypatch):
    """With a warm cache of unchecked kernels, NUMBA_BOUNDSCHECK=1 must not load them."""
    monkeypatch.setattr(config, "BOUNDSCHECK", None)
    run(fresh())
    monkeypatch.setattr(config, "BOUNDSCHECK", 1)
    assert run(fresh()) == COMPILED
    assert run(fresh()) == LOADED
    monkeypatch.setattr(config, "BOUNDSCHECK", 0)
    assert run(fresh()) == LOADED
    assert len(files(directory)) == 2


def test_another_python_has_its_own_files(directory, monkeypatch):
    run(fresh())
    monkeypatch.setattr(sys.implementation, "cache_tag", "cpython-399")
    assert run(fresh()) == COMPILED


@posix
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o644), (0o000, 0o644), (0o077, 0o600)])
def test_other_users_may_read_and_not_write(directory, umask, mode):
    """Even with umask 002, the default where each user has a group, what is kept will be read again."""
    previous = os.umask(umask)
    try:
        assert run(fresh()) == COMPILED
    finally:
        os.umask(previous)
    (file,) = files(directory)
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert stat.S_IMODE(file.parent.stat().st_mode) == mode | (mode & 0o444) >> 2
    assert run(fresh()) == LOADED


# --- not compiled at all --------------------------------------------------------------------------
def test_a_disabled_compiler_is_named_when_a_kernel_is_used(monkeypatch):
    monkeypatch.setattr(config, "DISABLE_JIT", 1)
    kernel = fresh()
    for use in (kernel, kernel.get_compile_result):
        with pytest.raises(RuntimeError, match="NUMBA_DISABLE_JIT"):
            use(np.ones(4))


DISABLED = """
import numpy as np
import skrnn
import skrnn.forecasting

model = skrnn.LSTMRegressor(max_iter=1)
try:
    model.fit(np.zeros((4, 3, 1)), np.zeros(4))
except RuntimeError as error:
    print(error)
assert not [name for name in vars(model) if name.endswith("_")]
"""


def test_a_disabled_compiler_is_named_by_an_estimator():
    run = subprocess.run(
        [sys.executable, "-c", DISABLED], env=environment(NUMBA_DISABLE_JIT="1"), capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert "NUMBA_DISABLE_JIT" in run.stdout


# --- processes ------------------------------------------------------------------------------------
PROCESS = """
import sys
import numpy as np
from probe import fresh

hits = misses = 0
for factor in map(int, sys.argv[1:]):
    kernel = fresh(factor)
    assert kernel(np.ones(4)) == 4 * factor, factor
    hits += sum(kernel.stats.cache_hits.values())
    misses += sum(kernel.stats.cache_misses.values())
print(hits, misses)
"""


def start(cache, factors):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROCESS, *map(str, factors)],
        env=environment(NUMBA_CACHE_DIR=str(cache)),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process):
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return tuple(map(int, out.split()))


def test_processes_share_and_do_not_mix(tmp_path):
    """Three processes compile the same kernels at once, in different orders; a fourth loads all."""
    factors = [2, 3, 5, 7]
    orders = [factors, factors[::-1], [5, 2, 7, 3]]
    counts = [finish(p) for p in [start(tmp_path, order) for order in orders]]
    assert all(sum(count) == len(factors) for count in counts)
    assert sum(misses for _, misses in counts) >= len(factors)
    assert len(files(tmp_path)) == len(factors)
    assert not list(tmp_path.rglob("*.tmp"))
    assert finish(start(tmp_path, factors)) == (len(factors), 0)


FACTORY = """
import math
import sys

import numpy as np

from skrnn.backends.cpu import jit


def make(factor):
    @jit.kernel("inner", factor)
    def inner(x):  # too long to be inlined
        for _ in range(3):
            x = math.sin(x * factor) + math.cos(x) + math.sin(x + factor) + math.cos(x * 2)
            x = math.sin(x * factor) + math.cos(x) + math.sin(x + factor) + math.cos(x * 3)
            x = math.sin(x * factor) + math.cos(x) + math.sin(x + factor) + math.cos(x * 4)
            x = math.sin(x * factor) + math.cos(x) + math.sin(x + factor) + math.cos(x * 5)
        return x

    @jit.kernel("outer", factor)
    def outer(x):
        return inner(x[0])

    return outer


for factor in sys.argv[1:]:
    print(factor, make(int(factor))(np.ones(1)), flush=True)
"""


def test_kernels_of_two_processes_live_together(tmp_path):
    """Numba names the two `inner` alike, as each is the first that its process compiles: the process
    that loads both files must call either by its own name."""
    script = tmp_path / "factory.py"
    script.write_text(FACTORY)

    def values(folder, *factors):
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / folder)}
        command = [sys.executable, "-W", "error", str(script), *factors]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    expected = values("one", "2") + values("other", "3")
    for folder in ("one", "other"):
        shutil.copytree(tmp_path / folder, tmp_path / "both", dirs_exist_ok=True)
    assert values("both", "2", "3") == expected
