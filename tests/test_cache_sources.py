"""What kernels are kept under: the hash of all their sources, and names that tell them apart."""

import ast
import compileall
import gc
import importlib
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FunctionType, SimpleNamespace

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher
from probe import COMPILED, PACKAGE, environment, files, fresh, run

from skrnn import losses
from skrnn.backends import kernel_cache
from skrnn.backends.cpu import (
    attention,
    crf,
    cross_attention,
    ctc,
    decoding,
    dense,
    dropout,
    embedding,
    folding,
    lattice,
    log_lattice,
    log_paths,
    pooling,
    reading,
    recurrent,
    rows,
    softmax,
    tanh_rows,
    transposed,
    updates,
)
from skrnn.backends.cpu.objective import compile_loss
from skrnn.optimizers import RULES
from skrnn.sequences import TOKEN

BACKEND = sorted((PACKAGE / "backends" / "cpu").glob("*.py"))
HASHED = {"batches", "cells", "choosing", "counters", "losses", "optimizers"}  # beside the backend
pytestmark = pytest.mark.usefixtures("nothing_said")


def copied(folder, *subfolders):
    """A copy of the package, or of some of its folders without what is below."""
    copy = folder / "skrnn"
    if not subfolders:
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name in subfolders:
        (copy / name).mkdir(parents=True)
        for path in (PACKAGE / name).glob("*.py"):
            shutil.copy(path, copy / name)
    return copy


def without_sources(copy, form):
    """The place that Python imports a copy from, where it lies in an archive or as compiled modules."""
    if form == "zip":
        return Path(shutil.make_archive(str(copy), "zip", copy.parent, copy.name))
    assert compileall.compile_dir(copy, quiet=1, legacy=True)
    for path in copy.rglob("*.py"):
        path.unlink()
    return copy.parent


def hash_of(place, backend, monkeypatch):
    importlib.invalidate_caches()
    package = SimpleNamespace(__path__=[str(place / "skrnn")])
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "skrnn", package)
        return kernel_cache.source_hash.__wrapped__(backend)


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_every_source_of_a_kernel_is_hashed(backend, tmp_path, monkeypatch):
    copy, place = copied(tmp_path), tmp_path
    unchanged = hash_of(place, backend, monkeypatch)
    assert unchanged == kernel_cache.source_hash(backend)
    sources = [*(copy / f"{name}.py" for name in HASHED), *(copy / "backends" / backend).glob("*.py")]
    sources.append(copy / "backends" / "kernel_cache.py")
    assert len(sources) > len(HASHED) + 10
    for path in sources:
        text = path.read_bytes()
        path.write_bytes(text + b"\n# changed\n")
        assert hash_of(place, backend, monkeypatch) != unchanged, path
        path.write_bytes(text)
    assert hash_of(place, backend, monkeypatch) == unchanged
    (copy / "backends" / backend / "new.py").write_text("x = 1\n")
    assert hash_of(place, backend, monkeypatch) != unchanged


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
@pytest.mark.parametrize("form", ["zip", "pyc"])
def test_every_module_without_a_source_file_is_hashed(form, backend, tmp_path, monkeypatch):
    seen = {kernel_cache.source_hash(backend)}
    for changed in (None, "cells", f"backends/{backend}/recurrent"):
        folder = tmp_path / str(changed)
        copy = copied(folder, ".", "backends", f"backends/{backend}")
        if changed is not None:
            with open(copy / f"{changed}.py", "a") as file:
                file.write("\nx = 1\n")
        place = without_sources(copy, form)
        value = hash_of(place, backend, monkeypatch)
        assert re.fullmatch("[0-9a-f]{64}", value)
        assert value == hash_of(place, backend, monkeypatch)
        seen.add(value)
    assert len(seen) == (3 if form == "zip" else 4)  # the sources in an archive are the same sources


def test_the_code_of_a_frozen_application_is_hashed(monkeypatch):
    """Its loader shows code, and no data."""
    loader, find_spec = SimpleNamespace(), PathFinder.find_spec

    def get_code(name):
        parent = name.rpartition(".")[0].split(".")[1:]
        source = find_spec(name, [str(PACKAGE.joinpath(*parent))]).loader.get_source(name)
        return compile(source.replace("LSTM", word), f"/tmp/{os.urandom(4).hex()}", "exec")

    loader.get_code, word = get_code, "LSTM"
    finder = SimpleNamespace(find_spec=lambda name, path: ModuleSpec(name, loader))
    monkeypatch.setattr(kernel_cache, "PathFinder", finder)
    of_code = kernel_cache.source_hash.__wrapped__("cpu")
    assert re.fullmatch("[0-9a-f]{64}", of_code)
    assert of_code != kernel_cache.source_hash("cpu")
    assert kernel_cache.source_hash.__wrapped__("cpu") == of_code
    word = "GRU"
    assert kernel_cache.source_hash.__wrapped__("cpu") != of_code


DESCRIBED = """
import sys
from skrnn.backends import kernel_cache

print(kernel_cache.described(compile(sys.argv[1], "elsewhere", "exec")))
"""


def test_code_is_described_alike_by_every_process():
    """With the sets and names of a source, which `marshal` writes in one way or another."""
    source = "def f(x, *, y=2.0):\n    z = 1\n    return x in {'a', 'b', 'c', (2, 3)} and (lambda: z)() == y"

    def described(source):
        return repr(kernel_cache.described(compile(source, "x", "exec")))

    run = subprocess.run(
        [sys.executable, "-c", DESCRIBED, source],
        env=environment(PYTHONHASHSEED="7"), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout == described(source) + "\n"
    assert "0x" not in run.stdout  # no address of an object
    for this, that in (("2.0", "2"), ("'a'", "'d'"), ("z = 1", "z = 2"), ("==", "!="), ("x in", "y in")):
        assert described(source.replace(this, that)) != described(source)


@pytest.mark.parametrize("methods", [{}, {"get_code": lambda name: None}], ids=["no code", "code of none"])
def test_nothing_is_kept_where_the_sources_are_unknown(directory, monkeypatch, methods):
    loader = SimpleNamespace(**methods)
    finder = SimpleNamespace(find_spec=lambda name, path: ModuleSpec(name, loader))
    monkeypatch.setattr(kernel_cache, "PathFinder", finder)
    assert kernel_cache.source_hash.__wrapped__("cpu") is None
    monkeypatch.setattr(kernel_cache, "source_hash", lambda backend: None)
    with pytest.warns(RuntimeWarning, match="not kept.*loader of skrnn"):
        assert run(fresh()) == COMPILED
    assert run(fresh()) == COMPILED
    assert not list(directory.rglob("*"))


WITHOUT_SOURCES = """
import sys
from skrnn.backends.cpu import jit

sys.path.insert(1, sys.argv[1])
from probe import fresh, run

assert jit.__file__.endswith(".pyc") or "skrnn.zip" in jit.__file__, jit.__file__
assert run(fresh()) == (0, 1)
assert run(fresh()) == (1, 0)
"""


@pytest.mark.parametrize("form", ["zip", "pyc"])
def test_kernels_are_kept_without_source_files(form, tmp_path):
    place = without_sources(copied(tmp_path), form)
    subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", WITHOUT_SOURCES, str(Path(__file__).parent)],
        env=environment(place, NUMBA_CACHE_DIR=str(tmp_path / "kernels")), check=True,
    )  # fmt: skip
    assert len(files(tmp_path / "kernels")) == 1


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_a_backend_imports_no_other_source(backend):
    imported = set()
    for path in sorted((PACKAGE / "backends" / backend).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 3:
                imported |= {node.module} if node.module else {alias.name for alias in node.names}
    assert (
        {"batches", "cells", "optimizers"} <= imported <= HASHED | {"interrupts", "layout", "recording"}
    )  # of which no kernel is made


@pytest.fixture(scope="module")
def every_kernel():
    """Every kernel of the package, by name and key; none of them is compiled for this."""
    every_loss = [loss for loss in vars(losses).values() if isinstance(loss, losses.Loss)]
    every_loss += [losses.huber(1.0), losses.quantile([0.1, 0.9]), losses.smoothed_log_loss(0.1)]
    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        for *cell, units in (
            *(("rnn", f, True, units) for f in ("tanh", "relu", "sigmoid") for units in (1, 2, 3, 4)),
            ("lstm", "tanh", True, 1), ("gru", "tanh", True, 1), ("gru", "tanh", False, 1),
        ):  # fmt: skip
            for bf16 in {False, dtype == np.float32}:
                _, kernels = recurrent.compiled(*cell, dtype, units, bf16)
                for wide in (1, 2, 3, 4):
                    kernels.backward(wide)
        for wide in (1, 2, 3, 4):
            transposed.make_input_gradient(dtype, wide)
            softmax.input_kernel(dtype, wide)
        for vectors in softmax.BUSY:
            softmax.token_kernels(dtype, vectors)
        for vectors in {1, *softmax.BUSY}:
            dense.dense_kernels(dtype, vectors)
        (
            transposed.make_transpose(dtype),
            recurrent.layer_kernels(dtype),
            rows.row_kernels(dtype),
        )
        attention.attention_kernels(dtype), cross_attention.cross_attention_kernels(dtype)
        tanh_rows.tanh_kernels(dtype)
        softmax.softmax_kernel(dtype)
        embedding.embedding_kernels(dtype), decoding.decoding_kernels(dtype), folding.sum_alike_kernel(dtype)
        pooling.pooling_kernels(dtype), reading.reading_kernels(dtype), dropout.dropout_kernels(dtype)
        updates.square_kernels(dtype)
        ctc.ctc_kernel(dtype), log_paths.log_paths(dtype)
        for solver in RULES:
            updates.update_kernels(solver, dtype)
        for loss in every_loss:
            compile_loss(loss.name, loss.row, dtype)
    reading.reading_kernels(TOKEN)
    for vectors in (1, 2, 3, 4):
        lattice.lattice_kernels(vectors)
    assert crf.log_lattice is log_lattice.log_lattice  # whose kernels, like those of `crf`, are of no factory
    # By `type`: asking a dead weak reference for its class raises.
    dispatchers = [o for o in gc.get_objects() if issubclass(type(o), Dispatcher)]
    kernels = defaultdict(list)
    for o in dispatchers:
        if type(o._cache) is kernel_cache.KernelCache and o._cache._name.startswith("skrnn."):
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
    for path in (*BACKEND, PACKAGE / "choosing.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "kernel":
                in_source.add((path.stem, ast.literal_eval(node.args[0])))
    modules = r"skrnn\.(?:backends\.cpu\.)?(\w+)"
    assert {(re.match(modules, name)[1], key[0]) for name, key in every_kernel} == in_source  # all are here
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
