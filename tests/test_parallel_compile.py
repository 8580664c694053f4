"""Kernels of a first fit, compiled by several processes."""

import os
import sys
import time
from signal import SIG_IGN, SIGCHLD, SIGINT, SIGKILL, SIGTERM, raise_signal, signal

import numpy as np
import pytest
from numba import types
from numba.core import config
from numba.core.errors import TypingError

from skrnn.backends import disk
from skrnn.backends.cpu import jit, parallel_compile
from skrnn.backends.cpu.tape import Tape
from skrnn.interrupts import deferred

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or bool(config.BOUNDSCHECK),
    reason="only a tape on Linux forks",
)
SIGNATURE = types.void(types.Array(types.float64, 1, "C"))


@pytest.fixture
def two_children(monkeypatch, tmp_path):
    """An empty cache, and two children whatever the processors."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(parallel_compile, "n_children", lambda n: 2 * (n > 0))
    forked, fork = [], os.fork

    def counted():
        child = fork()
        forked.append(child)
        return child

    monkeypatch.setattr(os, "fork", counted)
    return forked


def kernels(n, name):
    """Each adds its number plus one."""

    def make(number):
        def add(x):
            x[0] += number

        return jit.kernel("a test of compiling ahead", name, number)(add)

    return [make(number + 1.0) for number in range(n)]


def wanted(functions):
    return [(function, SIGNATURE) for function in functions]


def assert_gone(children):
    for child in children:
        with pytest.raises(ChildProcessError):
            os.waitpid(child, os.WNOHANG)


def test_a_tape_compiles_together(two_children, tmp_path):
    x, functions = np.zeros(1), kernels(7, "together")
    tape = Tape()
    for function in functions:
        tape.call(function, x)
    tape.run(2)
    assert x[0] == 2 * sum(range(1, 8))
    assert len(two_children) == 2
    assert_gone(two_children)
    assert len(list(tmp_path.rglob("*add*.nbc"))) == 7
    # What others have compiled has been loaded; nothing has been compiled twice.
    compiled = sum(sum(function.stats.cache_misses.values()) for function in functions)
    loaded = sum(sum(function.stats.cache_hits.values()) for function in functions)
    assert compiled + loaded == 7
    assert compiled < 7
    parallel_compile.compile_together(wanted(functions))  # in memory
    parallel_compile.compile_together(wanted(kernels(7, "together")))  # on disk
    assert len(two_children) == 2


def test_what_lies_where_it_is_not_looked_for_is_missing(two_children, monkeypatch, tmp_path):
    """A kernel is kept, and looked for, in the first place that can be written."""
    own, later = tmp_path / "own", tmp_path / "later"
    monkeypatch.setattr(disk, "places", lambda module: [later])
    parallel_compile.compile_together(wanted(kernels(3, "later")))
    monkeypatch.setattr(disk, "places", lambda module: [own, later])
    parallel_compile.compile_together(wanted(kernels(3, "later")))
    assert len(list(own.rglob("*.nbc"))) == len(list(later.rglob("*.nbc"))) == 3
    monkeypatch.setattr(disk, "places", lambda module: [])
    parallel_compile.compile_together(wanted(kernels(3, "nowhere")))  # children could not hand anything over
    assert len(two_children) == 4


def test_where_nothing_can_be_forked(two_children, monkeypatch):
    def refused():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)
    functions = kernels(3, "alone")
    parallel_compile.compile_together(wanted(functions))
    assert all(SIGNATURE.args in function.overloads for function in functions)


def test_an_error_is_raised_here(two_children):
    def wrong(x):
        x[0] = x.no_such_attribute

    functions = [jit.kernel("a wrong test of compiling ahead")(wrong), *kernels(3, "error")]
    tape = Tape()
    for function in functions:
        tape.call(function, np.zeros(1))
    with pytest.raises(TypingError, match="no_such_attribute"):
        tape.run()
    assert len(two_children) == 2
    assert_gone(two_children)


def test_an_interrupt_ends_the_children(two_children, monkeypatch):
    one = parallel_compile._compile_one

    def slow(*kernel):
        if not two_children or two_children[-1] == 0:
            time.sleep(60)  # a child
        raise_signal(SIGINT)
        one(*kernel)

    monkeypatch.setattr(parallel_compile, "_compile_one", slow)
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), deferred():
        parallel_compile.compile_together(wanted(kernels(6, "interrupt")))
    assert time.monotonic() - start < 30
    assert len(two_children) == 2
    assert_gone(two_children)


@pytest.mark.parametrize("end", ["hangs", "is killed"])
def test_a_child_that_does_not_end_is_given_up(two_children, monkeypatch, end):
    one = parallel_compile._compile_one

    def lost(*kernel):
        if two_children and two_children[-1] == 0:
            if end == "hangs":
                time.sleep(60)
            os.kill(os.getpid(), SIGKILL)
        time.sleep(0.1)  # so that children get some
        one(*kernel)

    monkeypatch.setattr(parallel_compile, "_compile_one", lost)
    monkeypatch.setattr(parallel_compile, "PATIENCE", 0.2)
    x, functions = np.zeros(1), kernels(8, end)
    tape, start = Tape(), time.monotonic()
    for function in functions:
        tape.call(function, x)
    tape.run()
    assert x[0] == sum(range(1, 9))
    assert time.monotonic() - start < 30
    assert len(two_children) == 2
    assert_gone(two_children)


def test_where_children_are_not_waited_for(two_children, monkeypatch):
    """With SIGCHLD ignored the system forgets them at once."""
    one, before = parallel_compile._compile_one, signal(SIGCHLD, SIG_IGN)

    def slow(*kernel):
        if two_children and two_children[-1] == 0:
            time.sleep(60)
        one(*kernel)

    monkeypatch.setattr(parallel_compile, "_compile_one", slow)
    monkeypatch.setattr(parallel_compile, "PATIENCE", 0.2)
    functions = kernels(6, "forgotten")
    try:
        parallel_compile.compile_together(wanted(functions))
    finally:
        signal(SIGCHLD, before)
    assert len(two_children) == 2
    assert any(SIGNATURE.args in function.overloads for function in functions)


def test_children_run_no_handler_of_the_application(two_children, monkeypatch, tmp_path):
    def terminate(*kernel):
        if two_children and two_children[-1] == 0:
            raise_signal(SIGTERM)
        time.sleep(0.1)
        one(*kernel)

    one, note = parallel_compile._compile_one, tmp_path / "note"
    before = signal(SIGTERM, lambda number, frame: note.write_text("once more"))
    monkeypatch.setattr(parallel_compile, "_compile_one", terminate)
    try:
        parallel_compile.compile_together(wanted(kernels(6, "terminated")))
    finally:
        signal(SIGTERM, before)
    assert len(two_children) == 2
    assert not note.exists()


@pytest.mark.parametrize("fault", ["pipe", "nowhere"])
def test_without_a_pipe_or_a_place_nobody_is_forked(two_children, monkeypatch, fault):
    def refused(*_):
        raise OSError(24, "Too many open files")

    if fault == "pipe":
        monkeypatch.setattr(os, "pipe", refused)
    else:
        monkeypatch.setattr(disk, "prepare", refused)
    parallel_compile.compile_together(wanted(kernels(6, fault)))
    assert two_children == []


def test_how_many_children(monkeypatch):
    monkeypatch.setattr(parallel_compile, "usable_processors", lambda: 64)
    assert [parallel_compile.n_children(n) for n in (0, 3, 4, 11, 25)] == [0, 0, 1, 2, 3]
    monkeypatch.setattr(parallel_compile, "usable_processors", lambda: 1)
    assert parallel_compile.n_children(25) == 0
    monkeypatch.setattr(parallel_compile, "usable_processors", lambda: 64)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert parallel_compile.n_children(25) == 0
