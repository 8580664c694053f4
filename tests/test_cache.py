"""The kernel cache: never stale, never fatal, never mixed up, and of nobody else's making."""

import ast
import compileall
import gc
import hashlib
import importlib
import os
import pickle
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FunctionType, SimpleNamespace

import numpy as np
import pytest
from numba.core import config
from numba.core.dispatcher import Dispatcher

from skrnn import losses
from skrnn.backends import disk, kernel_cache
from skrnn.backends.cpu import (
    attention,
    decoding,
    dense,
    directions,
    dropout,
    embedding,
    jit,
    layers,
    pooling,
    reading,
    recurrent,
    softmax,
    transposed,
    updates,
)
from skrnn.backends.cpu.objective import compile_loss
from skrnn.optimizers import RULES
from skrnn.sequences import TOKEN

PACKAGE = Path(jit.__file__).parents[2]
BACKEND = sorted((PACKAGE / "backends" / "cpu").glob("*.py"))
posix = pytest.mark.skipif(os.name != "posix", reason="modes and owners of POSIX")
HASHED = {"batches", "cells", "choosing", "counters", "losses", "optimizers"}  # beside the backend


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


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    """As in a new process, where every warning is still to come."""
    monkeypatch.setattr(kernel_cache, "said", set())
    monkeypatch.setattr(kernel_cache, "used", set())


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """An empty cache directory for this test alone."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Three empty places for kernels, the only ones."""
    made = [tmp_path / name / disk.FOLDER for name in ("first", "second", "third")]
    monkeypatch.setattr(disk, "places", lambda module: made)
    return made


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


# --- what the hash covers -------------------------------------------------------------------------
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
    for changed in (None, "cells", f"backends/{backend}/layers"):
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
from test_cache import fresh, run

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
        {"batches", "cells", "optimizers"} <= imported <= HASHED | {"interrupts", "parameters", "recording"}
    )  # of which no kernel is made


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
            softmax.input_kernel(dtype, wide)
        for vectors in softmax.BUSY:
            softmax.token_kernels(dtype, vectors)
        for vectors in {1, *softmax.BUSY}:
            dense.dense_kernels(dtype, vectors)
        (
            transposed.make_transpose(dtype),
            recurrent.layer_kernels(dtype),
            directions.direction_kernels(dtype),
        )
        attention.attention_kernels(dtype)
        softmax.softmax_kernel(dtype)
        embedding.embedding_kernels(dtype), decoding.decoding_kernels(dtype)
        pooling.pooling_kernels(dtype), reading.reading_kernels(dtype), dropout.dropout_kernels(dtype)
        updates.compile_squares(dtype)
        for solver in RULES:
            updates.compile_update(solver, dtype)
        for loss in every_loss:
            compile_loss(loss.name, loss.row, dtype)
    reading.reading_kernels(TOKEN)
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


# --- damage ---------------------------------------------------------------------------------------
def flip(data, at):
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: b"\0" * len(data),
        lambda data: data + b"\0",
        lambda data: pickle.dumps(42),
        lambda data: data[: data.index(b"\n") + 1],
        lambda data: flip(data, 10),
        lambda data: flip(data, data.index(b"\n") + 5),
        lambda data: flip(data, len(data) // 2),
        lambda data: flip(data, len(data) - 1),
    ],
    ids=[
        "half", "one byte short", "empty", "zeros", "one byte more", "a number", "a header",
        "a bit of the header", "a bit of the digest", "a bit of the kernel", "the last byte",
    ],
)  # fmt: skip
def test_a_damaged_file_is_compiled_again(directory, damage):
    run(fresh())
    (file,) = files(directory)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.warns(RuntimeWarning, match="compiling again"):
        assert run(fresh()) == COMPILED
    assert run(fresh()) == LOADED  # and the file is mended


def test_no_damage_goes_unnoticed(directory):
    """A bit of any byte, any length, any block of zeros: nothing of it is unpickled."""
    kernel = fresh()
    run(kernel)
    (file,) = files(directory)
    data = file.read_bytes()
    _, header = kernel._cache._file(kernel.signatures[0], kernel.targetctx.codegen())
    assert pickle.loads(kernel_cache.payload(data, header))
    rng = np.random.default_rng(0)
    damaged = [
        data[:at] + bytes([data[at] ^ 1 << rng.integers(8)]) + data[at + 1 :] for at in range(len(data))
    ]
    damaged += [data[:size] for size in range(0, len(data), 37)]
    damaged += [data[:at] + bytes(64) + data[at + 64 :] for at in range(0, len(data) - 64, 64)]
    for other in damaged:
        if other != data:
            with pytest.raises(ValueError, match="damaged"):
                kernel_cache.payload(other, header)


def test_files_that_were_swapped_are_not_taken_for_each_other(directory):
    """By kernel, key or argument types; as a whole, or one's header before the other's code."""
    arrays = np.ones(4), np.ones(4, np.float32)

    def values():
        return [fresh(factor)(x) for factor in (3, 5) for x in arrays]

    expected = values()
    assert expected == [12, 12, 20, 20]
    kept = {file: file.read_bytes() for file in files(directory)}
    assert len(kept) == 4
    for one, other in zip(kept, [*kept][1:] + [*kept][:1]):
        header, behind = kept[one].index(b"\n") + 1, kept[other].index(b"\n") + 1
        for swapped in (kept[other], kept[one][:header] + kept[other][behind:]):
            one.write_bytes(swapped)
            kernel_cache.said.clear()
            with pytest.warns(RuntimeWarning, match="compiling again"):
                assert values() == expected
            assert one.read_bytes().startswith(kept[one][:header])  # mended


def test_of_many_damaged_files_the_first_is_told(directory):
    for factor in (3, 5, 7):
        fresh(factor)(np.ones(4))
    for file in files(directory):
        file.write_bytes(b"")
    with pytest.warns(RuntimeWarning, match="compiling again") as warned:
        assert [fresh(factor)(np.ones(4)) for factor in (3, 5, 7)] == [12, 20, 28]
    assert len(warned) == 1
    assert [fresh(factor)(np.ones(4)) for factor in (3, 5, 7)] == [12, 20, 28]


# --- places ---------------------------------------------------------------------------------------
@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home directory, and no NUMBA_CACHE_DIR."""
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(config, "CACHE_DIR", "")
    return tmp_path


HERE = Path(__file__).parent / "__pycache__" / "skrnn"


def test_places_in_order(home, monkeypatch):
    cache = home / disk.AT_HOME / "skrnn"
    assert disk.places(__name__) == [HERE, cache]
    monkeypatch.setattr(config, "CACHE_DIR", str(home / "kernels"))
    assert disk.places(__name__) == [home / "kernels" / "skrnn", HERE, cache]
    monkeypatch.setattr(config, "CACHE_DIR", "~/kernels")  # a Dockerfile's ENV expands nothing
    assert disk.places(__name__) == [home / "kernels" / "skrnn", HERE, cache]
    if disk.VARIABLE:
        monkeypatch.setenv(disk.VARIABLE, str(home / "mine"))
        assert disk.places(__name__)[-1] == home / "mine" / "skrnn"
        monkeypatch.setenv(disk.VARIABLE, "mine")  # to be ignored, says the specification
        assert disk.places(__name__)[-1] == cache


def test_nothing_is_kept_beside_a_module_without_a_source_file(home, monkeypatch):
    cache = [home / disk.AT_HOME / "skrnn"]
    module = SimpleNamespace(__file__=str(home / "module.py"))
    monkeypatch.setitem(sys.modules, "module", module)
    assert disk.places("module") == cache  # as in an archive, or written down at a compilation elsewhere
    (home / "module.py").write_text("")
    assert disk.places("module") == [home / "__pycache__" / "skrnn", *cache]
    monkeypatch.setattr(sys, "frozen", True, raising=False)  # it may have unpacked that for this run alone
    assert disk.places("module") == cache
    monkeypatch.delattr(sys, "frozen")
    (home / "module.pyc").write_bytes(b"")
    module.__file__ = str(home / "module.pyc")
    assert disk.places("module") == cache
    assert disk.places("no module") == cache


@pytest.mark.parametrize("value", ["/nowhere/at/all", "somewhere", "~", "."])
def test_without_a_home_there_is_no_place_for_it(home, monkeypatch, value):
    """Above all not `./~`, where anybody may have put files."""
    monkeypatch.chdir(home)
    (home / "~" / ".cache").mkdir(parents=True)
    (home / "somewhere" / ".cache").mkdir(parents=True)
    monkeypatch.setenv("HOME", value)
    monkeypatch.setenv("USERPROFILE", value)
    assert disk.places("no module") == []


@posix
def test_without_a_home_and_a_name(home, monkeypatch):
    import pwd

    def getpwuid(uid):
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", getpwuid)
    monkeypatch.setattr(config, "CACHE_DIR", "~/kernels")
    assert disk.places("no module") == []


@contextmanager
def reading_only(directory):
    """Nobody but root can write to a directory meanwhile, and this is not root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    else:
        directory.chmod(0o555)
    try:
        with pytest.raises(PermissionError):
            (directory / "file").touch()
        yield
    finally:
        if root:
            os.seteuid(0)
        else:
            directory.chmod(0o755)


@pytest.fixture
def open_path():
    """A directory that every user can get to."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        yield Path(path)


@posix
def test_what_root_has_warmed_up_is_read(open_path, monkeypatch):
    """As in a container that was built by root, and runs as whoever has no home."""
    place = open_path / "skrnn"
    monkeypatch.setattr(disk, "places", lambda module: [place])
    assert run(fresh()) == COMPILED
    before = sorted(place.iterdir())
    with reading_only(place):
        assert run(fresh()) == LOADED
        with pytest.warns(RuntimeWarning, match=r"not kept.*Permission denied.*NUMBA_CACHE_DIR"):
            assert fresh(5)(np.ones(4)) == 20
        assert fresh(7)(np.ones(4)) == 28  # nothing more is said
    assert sorted(place.iterdir()) == before


def test_reading_here_and_writing_there(places, monkeypatch):
    first, second, third = places
    prepare, read_only = disk.prepare, []

    def refuse(directory):
        if directory in read_only:
            raise OSError(30, "Read-only file system")
        prepare(directory)

    monkeypatch.setattr(disk, "prepare", refuse)
    assert run(fresh()) == COMPILED
    assert kernel_cache.used == {first}
    read_only.append(first)
    assert run(fresh()) == LOADED
    for expected in ((0, 1), (1, 0)):
        kernel = fresh(5)
        assert kernel(np.ones(4)) == 20
        assert (sum(kernel.stats.cache_hits.values()), sum(kernel.stats.cache_misses.values())) == expected
    assert [len(files(place)) for place in places] == [1, 1, 0]
    assert kernel_cache.used == {first, second}
    read_only.remove(first)  # where kernels can be kept, there they are to be found
    assert fresh(5)(np.ones(4)) == 20
    assert [len(files(place)) for place in places] == [2, 1, 0]


def test_no_directory_can_be_written_to(monkeypatch):
    monkeypatch.setattr(disk, "places", lambda module: [])
    kernel = fresh()
    assert kernel.stats.cache_path is None
    with pytest.warns(RuntimeWarning, match="no home directory. Set NUMBA_CACHE_DIR"):
        assert run(kernel) == COMPILED
    assert run(fresh()) == COMPILED  # nothing more is said


def test_the_cache_directory_is_a_file(places):
    """Then the next one is taken."""
    places[0].parent.write_text("not a directory")
    assert run(fresh()) == COMPILED
    assert run(fresh()) == LOADED
    assert kernel_cache.used == {places[1]}


def test_the_directory_goes_away_before_the_kernel_is_kept(places, monkeypatch):
    kernel, write = fresh(), disk.write

    def away(path, *parts):
        if path.parent == places[0]:
            shutil.rmtree(path.parent)
            path.parent.write_text("in the way")
        write(path, *parts)

    monkeypatch.setattr(disk, "write", away)
    assert run(kernel) == COMPILED
    assert places[0].read_text() == "in the way"
    assert run(fresh()) == LOADED
    assert kernel_cache.used == {places[1]}


@pytest.mark.parametrize("name", ["replace", "open"])
def test_a_full_or_read_only_disk(places, monkeypatch, name):
    kernel = fresh()

    def fail(path, *args, **kwargs):
        if str(path).endswith(".tmp"):
            raise OSError(28, "No space left on device")
        return original(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        original = getattr(os, name)
        patch.setattr(os, name, fail)
        with pytest.warns(RuntimeWarning, match="not kept.*No space left on device"):
            assert run(kernel) == COMPILED
    assert not any(list(place.iterdir()) for place in places)


@pytest.mark.parametrize("name", ["replace", "open"])
def test_an_interrupt_while_a_kernel_is_kept(places, monkeypatch, name):
    kernel = fresh()

    def interrupted(path, *args, **kwargs):
        if str(path).endswith(".tmp"):
            raise KeyboardInterrupt
        return original(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        original = getattr(os, name)
        patch.setattr(os, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(kernel)
    assert not list(places[0].iterdir())
    assert run(fresh()) == COMPILED
    assert run(fresh()) == LOADED


def age(path, seconds):
    path.touch()
    os.utime(path, (time.time() - seconds,) * 2)
    return path


@pytest.mark.parametrize("expected", [LOADED, COMPILED])
def test_what_killed_processes_left_is_cleared_away(directory, expected):
    run(fresh())
    (file,) = files(directory)
    left = age(file.with_name(f"{file.name}.0123.tmp"), 2 * 3600)  # nobody writes for two hours
    running = age(file.with_name(f"{file.name}.4567.tmp"), 10)
    if expected == COMPILED:
        file.unlink()
    kernel_cache.used.clear()  # as in a new process
    assert run(fresh()) == expected
    assert not left.exists()
    assert running.exists()


def test_older_versions_are_cleared_away(directory):
    run(fresh())
    (file,) = files(directory)
    version = file.name.split("-")[1]
    old = age(file.with_name(file.name.replace(version, "01234567")), 2 * 86_400)
    beside = age(file.with_name(file.name.replace(version, "89abcdef")), 3600)
    stranger = age(file.with_name(f"stranger-01234567-{'0' * 24}.nbc"), 2 * 86_400)
    age(file, 2 * 86_400)
    fresh(5)(np.ones(4))  # of the same name, and another key
    assert not old.exists()
    assert beside.exists()
    assert stranger.exists()
    assert run(fresh()) == LOADED


# --- whose files ----------------------------------------------------------------------------------
def plant(file, mark):
    """A file that is right in all but who wrote it: unpickled, it makes a directory."""

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(mark),)

    data = file.read_bytes()
    header, evil = data[: data.index(b"\n") + 1], pickle.dumps(Evil())
    file.write_bytes(header + hashlib.sha256(header + evil).digest() + evil)


def widen(file, mode):
    file.chmod(mode)


def widen_directory(file, mode):
    file.parent.chmod(mode)


def link(file, _):
    file.rename(file.parent.parent / "elsewhere")
    file.symlink_to(file.parent.parent / "elsewhere")


def link_directory(file, _):
    file.parent.rename(file.parent.parent / "elsewhere")
    file.parent.symlink_to(file.parent.parent / "elsewhere")


def give_away(file, uid):
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    os.chown(file, uid, -1)


def give_directory_away(file, uid):
    give_away(file.parent, uid)


@posix
@pytest.mark.parametrize(
    ("expose", "how"),
    [
        (widen, 0o664), (widen, 0o646), (widen, 0o666), (widen_directory, 0o775), (widen_directory, 0o1777),
        (widen_directory, 0o777), (link, None), (link_directory, None), (give_away, 65534),
        (give_directory_away, 65534),
    ],
)  # fmt: skip
def test_what_others_can_write_to_is_not_loaded(places, expose, how):
    run(fresh())
    (file,) = files(places[0])
    plant(file, places[0].parent / "executed")
    expose(file, how)
    kernel_cache.used.clear()
    assert run(fresh()) == COMPILED
    assert not (places[0].parent / "executed").exists()
    assert run(fresh()) == LOADED
    # A file is replaced; a directory that others can write to is left alone, for the next place.
    assert kernel_cache.used == {places[0] if expose in (widen, link, give_away) else places[1]}


def test_what_is_planted_by_this_user_would_be_executed(places):
    """So that the test above can fail."""
    run(fresh())
    (file,) = files(places[0])
    plant(file, places[0].parent / "executed")
    with pytest.warns(RuntimeWarning, match="compiling again"):
        assert run(fresh()) == COMPILED
    assert (places[0].parent / "executed").exists()


@posix
@pytest.mark.parametrize(
    ("uid", "mode", "expected"),
    [
        (1000, 0o644, True), (0, 0o644, True), (0, 0o444, True), (1000, 0o600, True), (1000, 0o755, True),
        (1001, 0o644, False), (65534, 0o444, False), (1000, 0o664, False), (0, 0o646, False),
        (1000, 0o1777, False), (0, 0o1777, False),
    ],
)  # fmt: skip
def test_who_is_trusted(monkeypatch, uid, mode, expected):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert disk.trusted(SimpleNamespace(st_uid=uid, st_mode=stat.S_IFREG | mode)) is expected


@posix
def test_a_pipe_in_the_place_of_a_kernel_is_not_waited_for(places):
    run(fresh())
    (file,) = files(places[0])
    file.unlink()
    os.mkfifo(file)
    assert run(fresh()) == COMPILED
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
from test_cache import fresh

hits = misses = 0
for factor in map(int, sys.argv[1:]):
    kernel = fresh(factor)
    assert kernel(np.ones(4)) == 4 * factor, factor
    hits += sum(kernel.stats.cache_hits.values())
    misses += sum(kernel.stats.cache_misses.values())
print(hits, misses)
"""


def environment(place=PACKAGE.parent, **others):
    """Of a process that imports the package from a place, and these tests."""
    path = os.pathsep.join([str(place), str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path} | others


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
