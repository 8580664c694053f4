"""The kernel cache: never stale, never fatal, never mixed up."""

import ast
import gc
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest
from numba.core import config
from numba.core.caching import CompileResultCacheImpl
from numba.core.dispatcher import Dispatcher

from skrnn import losses
from skrnn.backends.cpu import (
    dense,
    directions,
    dropout,
    jit,
    layers,
    pooling,
    reading,
    recurrent,
    transposed,
    updates,
)
from skrnn.backends.cpu.objective import compile_loss
from skrnn.optimizers import RULES

PACKAGE = Path(jit.__file__).parents[2]
BACKEND = sorted((PACKAGE / "backends" / "cpu").glob("*.py"))
HASHED = {"batches", "cells", "counters", "losses", "optimizers"}  # beside the backend


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


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """An empty cache directory for this test alone."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    return tmp_path


def files(directory):
    return sorted(directory.rglob("*.nbc"))


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
    monkeypatch.setattr(jit, "source_hash", lambda backend="cpu": "of another source")
    assert run(fresh()) == COMPILED
    assert len(files(directory)) == 2
    assert run(fresh()) == LOADED


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


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_other_users_can_read(directory):
    """A shared directory: the files have the mode of any file."""
    run(fresh())
    (directory / "any").write_text("file")
    assert files(directory)[0].stat().st_mode == (directory / "any").stat().st_mode


# --- what the hash covers -------------------------------------------------------------------------
@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_every_source_of_a_kernel_is_hashed(backend, tmp_path, monkeypatch):
    copy = tmp_path / "skrnn"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(jit, "__file__", str(copy / "backends" / "cpu" / "jit.py"))
    source_hash = jit.source_hash.__wrapped__
    unchanged = source_hash(backend)
    sources = [*(copy / f"{name}.py" for name in HASHED), *(copy / "backends" / backend).glob("*.py")]
    assert len(sources) > len(HASHED) + 10
    for path in sources:
        text = path.read_bytes()
        path.write_bytes(text + b"\n# changed\n")
        assert source_hash(backend) != unchanged, path
        path.write_bytes(text)
    assert source_hash(backend) == unchanged
    (copy / "backends" / backend / "new.py").write_text("x = 1\n")
    assert source_hash(backend) != unchanged


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_a_backend_imports_no_other_source(backend):
    imported = set()
    for path in sorted((PACKAGE / "backends" / backend).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 3:
                imported |= {node.module} if node.module else {alias.name for alias in node.names}
    assert {"batches", "cells", "optimizers"} <= imported <= HASHED


@pytest.fixture(scope="module")
def every_kernel():
    """Every kernel of the package, by name and key; none of them is compiled for this."""
    every_loss = [loss for loss in vars(losses).values() if isinstance(loss, losses.Loss)]
    every_loss += [losses.huber(1.0), losses.quantile([0.1, 0.9])]
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        for *cell, units in (
            *(("rnn", f, True, units) for f in ("tanh", "relu", "sigmoid") for units in (1, 2, 3, 4)),
            ("lstm", "tanh", True, 1), ("gru", "tanh", True, 1), ("gru", "tanh", False, 1),
        ):  # fmt: skip
            for bf16 in {False, dtype == np.float32}:
                _, kernels = layers.compiled(*cell, dtype, units, bf16)
                for wide in (1, 2, 3, 4):
                    kernels.backward(wide)
        for wide in (1, 2, 3, 4):
            transposed.make_input_gradient(dtype, wide)
        (
            transposed.make_transpose(dtype),
            recurrent.layer_kernels(dtype),
            dense.dense_kernels(dtype),
            directions.direction_kernels(dtype),
        )
        pooling.pooling_kernels(dtype), reading.reading_kernels(dtype), dropout.dropout_kernels(dtype)
        updates.compile_squares(dtype)
        for solver in RULES:
            updates.compile_update(solver, dtype)
        for loss in every_loss:
            compile_loss(loss.name, loss.row, dtype)
    # By `type`: asking a dead weak reference for its class raises.
    dispatchers = [o for o in gc.get_objects() if issubclass(type(o), Dispatcher)]
    kernels = defaultdict(list)
    for o in dispatchers:
        if type(o._cache) is jit.KernelCache and o._cache._name.startswith("skrnn."):
            kernels[o._cache._name, o._cache._key].append(o.py_func)
    return kernels


def made_from(function):
    """A function's code and what it closes over, other functions by their names."""

    def describe(value):
        if issubclass(type(value), Dispatcher):
            value = value.py_func
        if isinstance(value, FunctionType):
            return value.__module__, value.__qualname__
        if isinstance(value, type | np.dtype | np.generic | int | float | str | tuple | None):
            return type(value), repr(value)
        return id(value)  # intrinsics: their factories are cached

    return function.__code__, *(describe(cell.cell_contents) for cell in function.__closure__ or ())


def test_no_two_kernels_share_name_and_key(every_kernel):
    """Only the key tells apart kernels from one factory: it must name all that they close over."""
    in_source = set()
    for path in BACKEND:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "kernel":
                in_source.add((path.stem, ast.literal_eval(node.args[0])))
    assert {(name.split(".")[3], key[0]) for name, key in every_kernel} == in_source  # all are here
    assert len(every_kernel) > 250
    for name_and_key, functions in every_kernel.items():
        assert len({made_from(function) for function in functions}) == 1, name_and_key


def named_functions():
    """Functions that `jit.named` has named, by their names."""
    by_name = defaultdict(list)
    for o in gc.get_objects():
        if type(o) is not FunctionType or not str(o.__module__).startswith("skrnn."):
            continue
        if re.search(r"_[0-9a-f]{12}$", o.__qualname__):
            by_name[o.__module__, o.__qualname__].append(o)
    return by_name


def test_functions_of_one_name_are_the_same(every_kernel):
    """Compiled files call by name: what bears the same name must do the same."""
    by_name = named_functions()
    assert len(by_name) > len(every_kernel)
    for name, functions in by_name.items():
        assert len({made_from(function) for function in functions}) == 1, name


def test_kernels_are_built_from_no_other_source(every_kernel):
    hashed = {str(path) for path in BACKEND} | {str(PACKAGE / f"{name}.py") for name in HASHED}
    found = {f.__code__.co_filename for functions in named_functions().values() for f in functions}
    assert {str(PACKAGE / f"{name}.py") for name in HASHED - {"batches"}} < found <= hashed


# --- damage ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: b"\0" * len(data),
        lambda data: pickle.dumps(42),
        lambda data: pickle.dumps((1, 2, 3)),
    ],
    ids=["half", "one byte short", "empty", "zeros", "a number", "a tuple"],
)
def test_a_damaged_file_is_compiled_again(directory, damage):
    run(fresh())
    (file,) = files(directory)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.warns(RuntimeWarning, match="compiling again"):
        assert run(fresh()) == COMPILED
    assert run(fresh()) == LOADED  # and the file is mended


def test_no_directory_can_be_written_to(monkeypatch):
    monkeypatch.setattr(CompileResultCacheImpl, "_locator_classes", [])
    for _ in range(2):
        kernel = fresh()
        assert kernel.stats.cache_path is None
        assert run(kernel) == COMPILED


def test_the_cache_directory_is_a_file(tmp_path, monkeypatch):
    """Numba then looks for another directory, here the last of none."""
    (tmp_path / "file").write_text("not a directory")
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "file"))
    first, *_ = CompileResultCacheImpl._locator_classes
    monkeypatch.setattr(CompileResultCacheImpl, "_locator_classes", [first])
    assert run(fresh()) == COMPILED


def test_the_directory_goes_away_before_the_kernel_is_kept(directory):
    kernel = fresh()
    place = Path(kernel.stats.cache_path)
    shutil.rmtree(place)
    place.write_text("in the way")
    with pytest.warns(RuntimeWarning, match="compiling again") if os.name == "posix" else []:
        assert run(kernel) == COMPILED
    assert place.read_text() == "in the way"


@pytest.mark.parametrize("failing", [(os, "replace"), (Path, "write_bytes")])
def test_a_full_or_read_only_disk(directory, monkeypatch, failing):
    kernel = fresh()

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(*failing, fail)
        assert run(kernel) == COMPILED
    assert not files(directory)
    assert not list(directory.rglob("*.tmp"))


# --- processes ------------------------------------------------------------------------------------
PROCESS = """
import sys
import numpy as np
from test_cache import fresh

hits = misses = 0
for factor in map(int, sys.argv[1:]):
    kernel = fresh(factor)
    assert kernel(np.ones(4)) == 4 * factor, factor
    hits += sum(kernel.stats.cache_hits.values())
    misses += sum(kernel.stats.cache_misses.values())
print(hits, misses)
"""


def start(cache, factors):
    here = Path(__file__).parent
    path = os.pathsep.join([str(here.parent), str(here), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROCESS, *map(str, factors)],
        env=os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": path},
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
